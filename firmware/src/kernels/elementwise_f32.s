@ What a control step does with each value beside the blocks, in binary32 for ARMv7E-M and ARMv8-M mainline with a
@ single-precision FPU.
@
@ Bit for bit what policy-format's evaluator does, functions of its `elementwise.rs` mostly. The number of instructions depends on the lengths alone:
@ selections are conditional instructions, which take as many whether they act or not.
@
@   uint32_t hpo_scale_f32 (const float *state, const float *shift, const float *scale, float *xi,
@                           size_t count)                                      0: all of xi finite; at least 1
@   uint64_t hpo_observe_f32(const struct watch *watch, const float *state, float *xi)
@                           hpo_scale_f32 of the lists in `watch` (count, shift, scale, lower and upper end, typical lower and upper
@                           end). Low word 0: all of xi finite, the state inside both boxes; 1: but not inside the typical one; else: not
@                           finite, or outside. Upper word: hash of the state's bits
@   uint64_t hpo_greatest_f32(const float *x, size_t count)                    index; upper half 0: all finite
@   uint64_t hpo_choose_f32(const float *x, const uint16_t *modes, uint32_t allowed, uint32_t held, size_t count, float hysteresis)
@                           index of the greatest of those whose mode has its bit in `allowed`, where mode `held` counts `hysteresis`
@                           more, the lowest one on ties, all ones if there is none; upper half 0: all finite. At least one value,
@                           modes below 32
@   float hpo_unit_norm_f32(const float *xi, float *z, size_t count)           the norm; at least 1, all of xi finite
@   uint32_t hpo_admit_f32 (const float *u, float *control, const float *lower, const float *upper,
@                           const float *rate, size_t count)                   0: all of u finite
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

@ "Lower or same" as long as every value so far lies inside: then no comparison sets the flags otherwise. After a value outside, or a
@ NaN, they say "higher", and no comparison is made any more. Sets bit \bit of r11 then.
    .macro hpo_below low x
    vcmp.f32 \low, \x
    vmrs APSR_nzcv, fpscr
    .endm

    .macro hpo_box low x high next_low next_x
    itttt ls
    vcmpls.f32 \x, \high
    vmrsls APSR_nzcv, fpscr
    vcmpls.f32 \next_low, \next_x
    vmrsls APSR_nzcv, fpscr
    .endm

    .macro hpo_last_box x high bit
    itt ls
    vcmpls.f32 \x, \high
    vmrsls APSR_nzcv, fpscr
    it hi
    orrhi.w r11, r11, #\bit
    .endm

    .macro hpo_four_boxes bit
    hpo_below s4, s0
    hpo_box s4, s0, s8, s5, s1
    hpo_box s5, s1, s9, s6, s2
    hpo_box s6, s2, s10, s7, s3
    hpo_last_box s3, s11, \bit
    .endm

    .macro hpo_mix x
    eors r0, \x
    mul r0, r0, r10
    .endm

@ Registers: r0 hash, r1 state, r2 xi, r3 values left, r4-r9 the lists of the struct, r10 the hash's factor, r11 bits 0 and 1.
    .section .text.hpo_observe_f32, "ax", %progbits
    .p2align 2
    .global hpo_observe_f32
    .type hpo_observe_f32, %function
    .thumb_func
hpo_observe_f32:
    push {r4-r11, lr}
    ldmia r0, {r3-r9}
    hpo_zeros
    mov r11, r12
    movw r10, #0x79b1
    movt r10, #0x9e37
    movw r0, #0x9dc5
    movt r0, #0x811c
    subs r3, #4
    blo 2f
1:  vldmia r1!, {s0-s3}
    vldmia r6!, {s4-s7}
    vldmia r7!, {s8-s11}
    hpo_four_boxes 2
    vldmia r8!, {s4-s7}
    vldmia r9!, {s8-s11}
    hpo_four_boxes 1
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
    vmov r12, lr, s0, s1
    vmla.f32 s15, s4, s14
    vmla.f32 s15, s5, s14
    vmla.f32 s15, s6, s14
    vmla.f32 s15, s7, s14
    vstmia r2!, {s4-s7}
    hpo_mix r12
    hpo_mix lr
    vmov r12, lr, s2, s3
    hpo_mix r12
    hpo_mix lr
    subs r3, #4
    bhs 1b
2:  adds r3, #4
    beq 4f
3:  vldmia r1!, {s0}
    vldmia r6!, {s4}
    vldmia r7!, {s8}
    hpo_below s4, s0
    hpo_last_box s0, s8, 2
    vldmia r8!, {s4}
    vldmia r9!, {s8}
    hpo_below s4, s0
    hpo_last_box s0, s8, 1
    vldmia r4!, {s4}
    vldmia r5!, {s8}
    vsub.f32 s4, s0, s4
    vmov r12, s0
    vmul.f32 s4, s4, s8
    hpo_mix r12
    vmla.f32 s15, s4, s14
    vstmia r2!, {s4}
    subs r3, #1
    bne 3b
4:  mov r1, r0
    vmov r0, s15
    orrs r0, r11
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

    .section .text.hpo_choose_f32, "ax", %progbits
    .p2align 2
    .global hpo_choose_f32
    .type hpo_choose_f32, %function
    .thumb_func
hpo_choose_f32:
    push {r4-r6, lr}
    ldr r4, [sp, #16]
    vmov.f32 s12, s0
    hpo_zeros
    mov r5, r12
    movt r12, #0xff80           @ -infinity
    vmov s13, r12
    vmov s11, r12
    mvn.w r12, #0
1:  vldmia r0!, {s0}
    ldrh r6, [r1], #2
    vmla.f32 s15, s0, s14
    cmp r6, r3
    it eq
    vaddeq.f32 s0, s0, s12
    lsr.w r6, r2, r6
    lsls r6, r6, #31
    it pl
    vmovpl.f32 s0, s11
    vcmp.f32 s0, s13
    vmrs APSR_nzcv, fpscr
    itt gt
    vmovgt.f32 s13, s0
    movgt.w r12, r5
    adds r5, #1
    cmp r5, r4
    bne 1b
    mov r0, r12
    vmov r1, s15
    pop {r4-r6, pc}
    .size hpo_choose_f32, . - hpo_choose_f32

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
    push {r4, r5}
    ldrd r4, r5, [sp, #8]
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
12: vldmia r1, {s4-s7}
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
3:  vldmia r0!, {s0}
    cbz r2, 10f
    vldmia r2!, {s4}
    hpo_at_least s0, s4
    vldmia r3!, {s4}
    hpo_at_most s0, s4
10: cbz r4, 11f
    vldmia r1, {s4}
    vldmia r4!, {s8}
    vsub.f32 s12, s4, s8
    vadd.f32 s4, s4, s8
    hpo_within s0, s12, s4
11: vstmia r1!, {s0}
    subs r5, #1
    bne 3b
4:  mov r0, r12
    pop {r4, r5}
    bx lr
    .size hpo_admit_f32, . - hpo_admit_f32

    .purgem hpo_zeros
    .purgem hpo_at_least
    .purgem hpo_at_most
    .purgem hpo_within
    .purgem hpo_below
    .purgem hpo_box
    .purgem hpo_last_box
    .purgem hpo_four_boxes
    .purgem hpo_mix
    .text
