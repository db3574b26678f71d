@ A decision, for ARMv7E-M and ARMv8-M mainline with a single-precision FPU: networks, mode rules and control bounds of one period.
@
@   uint64_t hpo_decide_f32(const struct plan *plan, float *control, float *scratch, uint32_t age, uint32_t mode)
@                           by `plan` (`Plan`), where the state stands shifted and scaled at the front of `scratch`: choice and, above it, mode in the
@                           low word where the high one is 0; else the high word is 1 for an input that is not finite, 3 for no choice, anything else for
@                           another value that is not finite, and `control` is left alone. `mode` has been held for `age` periods
@
@ `kernels/cortex_m.rs` states what the scratch and the plan hold, and checks the offsets below. What few policies have is behind the function's end: then a bit of
@ `rare` says so. With an FPU the number of instructions depends on the plan alone, not on values.

    .syntax unified
    .fpu fpv4-sp-d16
    .thumb

    .equ HPO_SELECTOR_KERNEL, 184
    .equ HPO_LAW, 192
    .equ HPO_LAW_KERNEL, 376        @ and the number of its heads
    .equ HPO_GAINS, 384
    .equ HPO_GAINS_KERNEL, 568
    .equ HPO_CHOICES, 576           @ struct of seven words
    .equ HPO_MODES, 580
    .equ HPO_COUNT, 584
    .equ HPO_BOUNDS, 604
    .equ HPO_CONTROLS, 616
    .equ HPO_SCORES, 624
    .equ HPO_PADDED, 632
    .equ HPO_LOGITS, 636
    .equ HPO_RARE, 640              @ bit 31: unit norm; 30: more or less to choose by than a network; 29: more than a network gives the control
    .equ HPO_HOOK, 644
    .equ HPO_STATES, 656
    .equ HPO_UNIT, 256              @ bytes from the state to that of unit norm
    .equ HPO_PLACES, 512            @ bytes from the state to the first place
    .equ HPO_PLACE, 1024            @ and on to the second one

@ Registers: r4 plan, r5 network input, r6 first place, r7 choice, r8 its mode, r9 `rare`. Stack: control, scratch (the norm, where there is one), age.
    .section .text.hpo_decide_f32, "ax", %progbits
    .p2align 2
    .global hpo_decide_f32
    .type hpo_decide_f32, %function
    .thumb_func
hpo_decide_f32:
    push {r1-r11, lr}
    mov r4, r0
    mov r5, r2
    add.w r6, r2, #HPO_PLACES
    ldr.w r9, [r4, #HPO_RARE]
    lsls.w r0, r9, #1
    bcs 20f
    bmi 21f
0:  ldr.w r12, [r4, #HPO_SELECTOR_KERNEL]
    mov r0, r4
    movs r1, #0
    mov r2, r5
    mov r3, r6
    blx r12

@ The greatest logit of those whose mode may follow, the held mode's with its hysteresis: bit 31 - k of r8 stands for mode k.
1:  ldr r3, [sp, #48]
    add.w r0, r4, #HPO_CHOICES
    ldmia.w r0, {r0, r1, r2, r7, r8, r10, r11}
    cmp r3, r0
    bhs 22f
    vmov s12, r11
    mov.w r12, #0
    vmov s14, s15, r12, r12
    ldr.w r11, [sp, #8]
    cmp.w r11, #0
    beq 23f
    and.w r10, r10, r3
    ldr.w r8, [r8, r10, lsl #2]
    ldr.w r7, [r7, r3, lsl #2]
    cmp r11, r7
    itt lo
    movlo.w r8, #1
    lsllo.w r8, r8, r3
2:  rbit r8, r8
    movt r12, #0xff80           @ -infinity; the lower half is zero
    vmov s13, r12
    mov r10, r2
    add.w r12, r2, #1
    mov r0, r6
3:  vldmia r0!, {s0}
    ldrh r7, [r1], #2
    vmla.f32 s15, s0, s14       @ +0 as long as all are finite
    cmp r7, r3
    it eq
    vaddeq.f32 s0, s0, s12
    lsls.w r7, r8, r7
    itttt mi
    vcmpmi.f32 s13, s0
    vmrsmi APSR_nzcv, fpscr
    vmovmi.f32 s13, s0
    movmi r12, r10
    subs.w r10, r10, #1
    bne 3b
    sub.w r7, r2, r12           @ all ones if there is none
    vmov r1, s15
    cmp r1, #0
    bne 28f

4:  cmp r7, r2
    bhs 27f
    ldr.w r0, [r4, #HPO_MODES]
    ldrh.w r8, [r0, r7, lsl #1]
    ldrd r12, r1, [r4, #HPO_LAW_KERNEL]
    cmp.w r12, #0
    beq 24f
    subs r1, #1
    it ne
    movne r1, r7
    add.w r0, r4, #HPO_LAW
    mov r2, r5
    mov r3, r6
    blx r12
    lsls.w r0, r9, #3
    bcs 25f
5:  mov r0, r6
    ldr r1, [sp]
    addw r2, r4, #HPO_BOUNDS
    ldr r3, [sp, #8]
    bl hpo_admit_f32
    mov r1, r0
    orr.w r0, r7, r8, lsl #16
28: add sp, #12
    pop {r4-r11, pc}

@ Before the first period: any mode, and none is held.
23: mvn.w r8, #0
    mov r3, r8
    b 2b

@ Rules that the struct does not hold, or none.
22: mov r0, r4
    mov r1, r6
    ldr r2, [sp, #8]
    bl hpo_choose_otherwise
    cmp r1, #0
    bne 28b
    mov r7, r0
6:  ldr.w r2, [r4, #HPO_COUNT]
    b 4b

26: movs r1, #1
    b 28b
27: movs r1, #3
    b 28b

@ Unit norm.
20: mov r0, r5
    add.w r5, r5, #HPO_UNIT
    mov r1, r5
    ldr.w r2, [r4, #HPO_STATES]
    bl hpo_unit_norm_f32
    vmov r0, s0
    str r0, [sp, #4]
    ubfx r0, r0, #23, #8
    cmp r0, #255
    beq 26b
    lsls.w r0, r9, #1
    bpl 0b

@ Nothing to choose, or scores, with a network or alone; without both the one logit is 0.
21: movs r7, #0
    ldr.w r0, [r4, #HPO_LOGITS]
    cmp r0, #0
    beq 6b
    str r7, [r6]
    mov r10, r6
    ldr.w r12, [r4, #HPO_SELECTOR_KERNEL]
    cmp.w r12, #0
    beq 7f
    mov r0, r4
    movs r1, #0
    mov r2, r5
    mov r3, r6
    blx r12
    add.w r10, r6, #HPO_PLACE
7:  add.w r0, r4, #HPO_SCORES
    ldmia.w r0, {r0, r1, r3}
    cmp r3, #0
    beq 1b
    ldr.w r2, [r4, #HPO_STATES]
    push {r2, r3}
    mov r2, r5
    mov r3, r10
    bl hpo_quadratic_f32
    add sp, #8
    ldr.w r2, [r4, #HPO_LOGITS]
    bl 9f
    b 1b

@ A gain alone, or with a network whose outputs the norm multiplies; and what else a policy does to its control.
24: mov r10, r6
    b 8f
25: add.w r10, r6, #HPO_PLACE
    lsls.w r0, r9, #1
    bcc 8f
    vldr s0, [sp, #4]
    mov r0, r6
    ldr.w r1, [r4, #HPO_CONTROLS]
3:  vldr s1, [r0]
    vmul.f32 s1, s1, s0
    vstmia r0!, {s1}
    subs r1, #1
    bne 3b
8:  ldr.w r12, [r4, #HPO_GAINS_KERNEL]
    cmp.w r12, #0
    beq 3f
    add.w r0, r4, #HPO_GAINS
    mov r1, r7
    sub.w r2, r6, #HPO_PLACES
    mov r3, r10
    blx r12
    ldr.w r2, [r4, #HPO_CONTROLS]
    bl 9f
3:  ldr.w r12, [r4, #HPO_HOOK]
    cmp.w r12, #0
    beq 5b
    mov r0, r4
    mov r1, r6
    mov r2, r7
    blx r12
    movs r1, r0
    beq 5b
    b 28b

@ Adds r2 floats at r10 to those at r6, if these are others.
9:  cmp r10, r6
    beq 3f
    mov r0, r6
2:  vldr s0, [r0]
    vldmia r10!, {s1}
    vadd.f32 s0, s0, s1
    vstmia r0!, {s0}
    subs r2, #1
    bne 2b
3:  bx lr
    .size hpo_decide_f32, . - hpo_decide_f32
    .text
