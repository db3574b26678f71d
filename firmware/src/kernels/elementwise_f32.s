@ What a control step does with each value beside the blocks, in binary32 for ARMv7E-M and ARMv8-M mainline with a
@ single-precision FPU.
@
@ Bit for bit what policy-format's evaluator does, functions of its `elementwise.rs` mostly. The number of instructions depends on the lengths alone:
@ selections are conditional instructions, which take as many whether they act or not.
@
@   uint32_t hpo_scale_f32 (const float *state, const float *shift, const float *scale, float *xi,
@                           size_t count)                                      0: all of xi finite; at least 1
@   uint64_t hpo_observe_f32(const struct watch *watch, const float *state, float *xi)
@                           shifts and scales by the lists in `watch` (shift, scale, count, then the boxes), and compares with its boxes: for each value
@                           keys of the low ends and widths of envelope and typical box (`Bracket`). Upper word 0: the state inside both
@                           boxes; 1: but not inside the typical one; else: outside. Lower word: hash of the state's bits. At least 1 value
@   uint64_t hpo_greatest_f32(const float *x, size_t count)                    index; upper half 0: all finite
@   float hpo_unit_norm_f32(const float *xi, float *z, size_t count)           the norm; at least 1, all of xi finite
@   uint32_t hpo_admit_f32 (const float *u, float *control, const struct bounds *bounds, uint32_t age)
@                           by the lists in `bounds` (`Bounds`): u within the bounds and then the rate limits from the previous control, which is
@                           `control`, or `start` where `age` is 0. 0: all of u finite
@
@ hpo_admit_f32 leaves `control` alone unless all of u is finite; `lower` and `rate` may be null: no bounds, no limit. Counts may be 0. Floats are aligned to 4 bytes; what is
@ written overlaps nothing that is read, but that `control` is both.
@
@ Finite: 0 times a value is NaN for what is not finite, else a zero; the sum, from +0 on, is +0 (all bits 0) or NaN.

    .syntax unified
    .fpu fpv4-sp-d16
    .thumb

@ s14 = s15 = +0; r12 is lost.
    .macro hpo_zeros
    mov.w r12, #0
    vmov s14, s15, r12, r12
    .endm

@ The low bound \low or the high one \high in place of \u where it lies beyond.
    .macro hpo_at_least u low
    vcmp.f32 \u, \low
    vmrs APSR_nzcv, fpscr
    it mi
    vmovmi.f32 \u, \low
    .endm

    .macro hpo_at_most u high
    vcmp.f32 \u, \high
    vmrs APSR_nzcv, fpscr
    it gt
    vmovgt.f32 \u, \high
    .endm

    .macro hpo_within u low high
    hpo_at_least \u, \low
    hpo_at_most \u, \high
    .endm

    .section .text.hpo_scale_f32, "ax", %progbits
    .p2align 2
    .global hpo_scale_f32
    .type hpo_scale_f32, %function
    .thumb_func
hpo_scale_f32:
    hpo_zeros
    ldr.w r12, [sp]
    add r12, r0, r12, lsl #2
1:  vldmia r0!, {s0}
    vldmia r1!, {s1}
    vldmia r2!, {s2}
    vsub.f32 s0, s0, s1
    vmul.f32 s0, s0, s2
    vmla.f32 s15, s0, s14
    vstmia r3!, {s0}
    cmp r0, r12
    bne 1b
    vmov r0, s15
    bx lr
    .size hpo_scale_f32, . - hpo_scale_f32

@ One value of a state: its bits to the hash in r0, and its key, which is ordered as floats are, against both boxes: a value inside adds 1
@ to r7, or to r8. A value less the low end, as an unsigned number, is at most the width for a value inside and for no other; keys of NaN lie
@ beyond those of the infinities.
    .macro hpo_boxes
    ldr lr, [r1], #4
    asr r9, lr, #31
    mla r0, r0, r6, lr
    eor lr, lr, r9, lsr #1
    ldmia r3!, {r9-r12}
    sub r9, lr, r9
    cmp r10, r9
    adc r7, r7, #0
    sub r11, lr, r11
    cmp r12, r11
    adc r8, r8, #0
    .endm

@ Registers: r0 hash, r1 state, r2 xi, r3 boxes, r4 shift, r5 scale, r6 the hash's factor, r7 values left in the upper half and those inside the
@ envelope in the lower one, r8 those inside the typical box less all.
    .section .text.hpo_observe_f32, "ax", %progbits
    .p2align 2
    .global hpo_observe_f32
    .type hpo_observe_f32, %function
    .thumb_func
hpo_observe_f32:
    push {r4-r11, lr}
    ldmia r0!, {r4, r5, r7}
    mov r3, r0
    movw r6, #0x79b1
    movt r6, #0x9e37
    movs r0, #0
    rsb r8, r7, #0
    sub r9, r7, #0x10000
    vmov s12, r9
    lsls r7, r7, #16
    subs r7, r7, #0x40000
    blo 2f
1:  vldmia r1, {s0-s3}
    hpo_boxes
    hpo_boxes
    hpo_boxes
    hpo_boxes
    vldmia r4!, {s4-s7}
    vldmia r5!, {s8-s11}
    vsub.f32 s4, s0, s4
    vsub.f32 s5, s1, s5
    vsub.f32 s6, s2, s6
    vsub.f32 s7, s3, s7
    vmul.f32 s4, s4, s8
    vmul.f32 s5, s5, s9
    vmul.f32 s6, s6, s10
    vmul.f32 s7, s7, s11
    vstmia r2!, {s4-s7}
    subs r7, r7, #0x40000
    bhs 1b
2:  adds r7, r7, #0x30000
    blo 4f
3:  vldmia r1, {s0}
    hpo_boxes
    vldmia r4!, {s4}
    vldmia r5!, {s8}
    vsub.f32 s4, s0, s4
    vmul.f32 s4, s4, s8
    vstmia r2!, {s4}
    subs r7, r7, #0x10000
    bhs 3b
4:  vmov r9, s12
    subs r1, r7, r9
    it eq
    lsreq r1, r8, #31
    pop {r4-r11, pc}
    .size hpo_observe_f32, . - hpo_observe_f32

    .section .text.hpo_greatest_f32, "ax", %progbits
    .p2align 2
    .global hpo_greatest_f32
    .type hpo_greatest_f32, %function
    .thumb_func
hpo_greatest_f32:
    hpo_zeros
    movt r12, #0xff80           @ -infinity; the lower half is zero
    vmov s13, r12
    movs r2, #0
    movs r3, #0
    cbz r1, 2f
1:  vldmia r0!, {s0}
    vmla.f32 s15, s0, s14
    vcmp.f32 s0, s13
    vmrs APSR_nzcv, fpscr
    itt gt
    vmovgt.f32 s13, s0
    movgt r2, r3
    adds r3, #1
    cmp r3, r1
    bne 1b
2:  mov r0, r2
    vmov r1, s15
    bx lr
    .size hpo_greatest_f32, . - hpo_greatest_f32

@ In the order of the format: a power of two brings the greatest magnitude near 1, and back. Where it is 0, all of z is +0: the inverse
@ is 0 then, and +0 is added in place of -0, which changes nothing.
    .section .text.hpo_unit_norm_f32, "ax", %progbits
    .p2align 2
    .global hpo_unit_norm_f32
    .type hpo_unit_norm_f32, %function
    .thumb_func
hpo_unit_norm_f32:
    push {r4, lr}
    movs r3, #0
    mov r4, r2
1:  ldr r12, [r0], #4
    bic r12, r12, #0x80000000
    cmp r12, r3
    it hi
    movhi r3, r12
    subs r4, #1
    bne 1b
    sub.w r0, r0, r2, lsl #2
    lsrs r4, r3, #23
    it eq
    moveq r4, #1
    cmp r4, #253
    it hi
    movhi r4, #253
    rsb r12, r4, #254
    lsl r12, r12, #23
    vmov s2, r12                @ down
    lsls r4, r4, #23
    vmov s3, r4                 @ up
    movs r4, #0
    vmov s0, r4
    vmov s4, r4
    mov r4, r2
2:  vldmia r0!, {s1}
    vmul.f32 s1, s1, s2
    vstmia r1!, {s1}
    vmul.f32 s1, s1, s1
    vadd.f32 s0, s0, s1
    subs r4, #1
    bne 2b
    sub.w r1, r1, r2, lsl #2
    vsqrt.f32 s0, s0
    vmov.f32 s1, #1.0
    vdiv.f32 s1, s1, s0
    mov.w r12, #0x80000000
    vmov s5, r12
    cmp r3, #0
    ite eq
    vmoveq.f32 s1, s4
    vmovne.f32 s4, s5
3:  vldmia r1, {s5}
    vmul.f32 s5, s5, s1
    vadd.f32 s5, s5, s4
    vstmia r1!, {s5}
    subs r2, #1
    bne 3b
    vmul.f32 s0, s0, s3
    pop {r4, pc}
    .size hpo_unit_norm_f32, . - hpo_unit_norm_f32

    .section .text.hpo_admit_f32, "ax", %progbits
    .p2align 2
    .global hpo_admit_f32
    .type hpo_admit_f32, %function
    .thumb_func
hpo_admit_f32:
    push {r4-r6}
    mov r12, r3
    ldmia r2, {r2-r6}
    cmp.w r12, #0
    it ne
    movne r6, r1
    hpo_zeros
    subs.w r12, r5, #4
    blo 2f
1:  vldmia r0!, {s0-s3}
    vmla.f32 s15, s0, s14
    vmla.f32 s15, s1, s14
    vmla.f32 s15, s2, s14
    vmla.f32 s15, s3, s14
    subs.w r12, r12, #4
    bhs 1b
2:  lsls.w r12, r12, #31        @ carry: two more, negative: one
    bcc 3f
    vldmia r0!, {s0-s1}
    vmla.f32 s15, s0, s14
    vmla.f32 s15, s1, s14
3:  bpl 4f
    vldmia r0!, {s0}
    vmla.f32 s15, s0, s14
4:  vmov r12, s15
    sub.w r0, r0, r5, lsl #2
    cmp.w r12, #0
    bne 4f
    subs r5, #4
    blo 2f
1:  vldmia r0!, {s0-s3}
    cbz r2, 10f
    vldmia r2!, {s4-s7}
    hpo_at_least s0, s4
    hpo_at_least s1, s5
    hpo_at_least s2, s6
    hpo_at_least s3, s7
    vldmia r3!, {s4-s7}
    hpo_at_most s0, s4
    hpo_at_most s1, s5
    hpo_at_most s2, s6
    hpo_at_most s3, s7
10: cbnz r4, 12f
11: vstmia r1!, {s0-s3}
    subs r5, #4
    bhs 1b
    b 2f
12: vldmia r6!, {s4-s7}
    vldmia r4!, {s8-s11}
    vsub.f32 s12, s4, s8
    vsub.f32 s13, s5, s9
    vsub.f32 s14, s6, s10
    vsub.f32 s15, s7, s11
    vadd.f32 s4, s4, s8
    vadd.f32 s5, s5, s9
    vadd.f32 s6, s6, s10
    vadd.f32 s7, s7, s11
    hpo_within s0, s12, s4
    hpo_within s1, s13, s5
    hpo_within s2, s14, s6
    hpo_within s3, s15, s7
    b 11b
2:  adds r5, #4
    beq 4f
    cbz r2, 3f
    cbz r4, 3f
5:  vldmia r0!, {s0}
    vldmia r2!, {s4}
    vldmia r3!, {s5}
    vldmia r6!, {s6}
    vldmia r4!, {s7}
    hpo_within s0, s4, s5
    vsub.f32 s4, s6, s7
    vadd.f32 s5, s6, s7
    hpo_within s0, s4, s5
    vstmia r1!, {s0}
    subs r5, #1
    bne 5b
    b 4f
3:  vldmia r0!, {s0}
    cbz r2, 10f
    vldmia r2!, {s4}
    hpo_at_least s0, s4
    vldmia r3!, {s4}
    hpo_at_most s0, s4
10: cbz r4, 11f
    vldmia r6!, {s4}
    vldmia r4!, {s8}
    vsub.f32 s12, s4, s8
    vadd.f32 s4, s4, s8
    hpo_within s0, s12, s4
11: vstmia r1!, {s0}
    subs r5, #1
    bne 3b
4:  mov r0, r12
    pop {r4-r6}
    bx lr
    .size hpo_admit_f32, . - hpo_admit_f32

    .purgem hpo_zeros
    .purgem hpo_at_least
    .purgem hpo_at_most
    .purgem hpo_within
    .purgem hpo_boxes
    .text
