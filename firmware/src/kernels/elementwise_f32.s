@ What a control step does with each value beside the blocks, in binary32 for ARMv7E-M and ARMv8-M mainline with a
@ single-precision FPU.
@
@ Bit for bit the methods of the same names in policy-format's `Kernels`. The number of instructions depends on the lengths alone:
@ selections are conditional instructions, which take as many whether they act or not.
@
@   uint32_t hpo_finite_f32(const float *x, size_t count)                      0: all finite
@   uint32_t hpo_scale_f32 (const float *state, const float *shift, const float *scale, float *xi,
@                           size_t count)                                      0: all of xi finite
@   uint32_t hpo_inside_f32(const float *lower, const float *upper, const float *x, size_t count)
@                                                                              0: all inside
@   uint64_t hpo_greatest_f32(const float *x, size_t count)                    index; upper half 0: all finite
@   uint32_t hpo_admit_f32 (const float *u, float *control, const float *lower, const float *upper,
@                           const float *rate, size_t count)                   0: all of u finite
@
@ hpo_admit_f32 leaves `control` alone unless all of u is finite; `lower` and `rate` may be null: no bounds, no limit. Counts may be 0. Floats are aligned to 4 bytes; what is
@ written overlaps nothing that is read, but that `control` is both.
@
@ Finite: 0 times a value is NaN for what is not finite, else a zero; the sum, from +0 on, is +0 (all bits 0) or NaN.

    .syntax unified
    .fpu fpv4-sp-d16
    .section .text.hpo_finite_f32, "ax", %progbits
    .p2align 2
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

    .global hpo_finite_f32
    .type hpo_finite_f32, %function
    .thumb_func
hpo_finite_f32:
    hpo_zeros
    subs r1, #4
    blo 2f
1:  vldmia r0!, {s0-s3}
    vmla.f32 s15, s0, s14
    vmla.f32 s15, s1, s14
    vmla.f32 s15, s2, s14
    vmla.f32 s15, s3, s14
    subs r1, #4
    bhs 1b
2:  lsls r1, r1, #31            @ carry: two more, negative: one
    bcc 3f
    vldmia r0!, {s0-s1}
    vmla.f32 s15, s0, s14
    vmla.f32 s15, s1, s14
3:  bpl 4f
    vldmia r0, {s0}
    vmla.f32 s15, s0, s14
4:  vmov r0, s15
    bx lr
    .size hpo_finite_f32, . - hpo_finite_f32

    .section .text.hpo_scale_f32, "ax", %progbits
    .p2align 2
    .global hpo_scale_f32
    .type hpo_scale_f32, %function
    .thumb_func
hpo_scale_f32:
    hpo_zeros
    ldr.w r12, [sp]
    subs.w r12, r12, #4
    blo 2f
1:  vldmia r0!, {s0-s3}
    vldmia r1!, {s4-s7}
    vldmia r2!, {s8-s11}
    vsub.f32 s0, s0, s4
    vsub.f32 s1, s1, s5
    vsub.f32 s2, s2, s6
    vsub.f32 s3, s3, s7
    vmul.f32 s0, s0, s8
    vmul.f32 s1, s1, s9
    vmul.f32 s2, s2, s10
    vmul.f32 s3, s3, s11
    vmla.f32 s15, s0, s14
    vmla.f32 s15, s1, s14
    vmla.f32 s15, s2, s14
    vmla.f32 s15, s3, s14
    vstmia r3!, {s0-s3}
    subs.w r12, r12, #4
    bhs 1b
2:  lsls.w r12, r12, #31        @ carry: two more, negative: one (also of what is a four too low)
    bcc 3f
    vldmia r0!, {s0-s1}
    vldmia r1!, {s4-s5}
    vldmia r2!, {s8-s9}
    vsub.f32 s0, s0, s4
    vsub.f32 s1, s1, s5
    vmul.f32 s0, s0, s8
    vmul.f32 s1, s1, s9
    vmla.f32 s15, s0, s14
    vmla.f32 s15, s1, s14
    vstmia r3!, {s0-s1}
3:  bpl 4f
    vldmia r0, {s0}
    vldmia r1, {s4}
    vldmia r2, {s8}
    vsub.f32 s0, s0, s4
    vmul.f32 s0, s0, s8
    vmla.f32 s15, s0, s14
    vstmia r3, {s0}
4:  vmov r0, s15
    bx lr
    .size hpo_scale_f32, . - hpo_scale_f32

@ The flags say "lower or same" as long as every value so far lay inside: then no comparison sets them otherwise. After a value
@ outside, or a NaN, they say "higher", and no comparison is made any more.
    .section .text.hpo_inside_f32, "ax", %progbits
    .p2align 2
    .macro hpo_both low high x
    itttt ls
    vcmpls.f32 \low, \x
    vmrsls APSR_nzcv, fpscr
    vcmpls.f32 \x, \high
    vmrsls APSR_nzcv, fpscr
    .endm

    .global hpo_inside_f32
    .type hpo_inside_f32, %function
    .thumb_func
hpo_inside_f32:
    mov.w r12, #0
    subs r3, #4
    blo 2f
1:  vldmia r0!, {s0-s3}
    vldmia r1!, {s4-s7}
    vldmia r2!, {s8-s11}
    cmp.w r12, #0
    hpo_both s0, s4, s8
    hpo_both s1, s5, s9
    hpo_both s2, s6, s10
    hpo_both s3, s7, s11
    it hi
    movhi.w r12, #1
    subs r3, #4
    bhs 1b
2:  lsls r3, r3, #30            @ two more: negative
    bpl 3f
    vldmia r0!, {s0-s1}
    vldmia r1!, {s4-s5}
    vldmia r2!, {s8-s9}
    cmp.w r12, #0
    hpo_both s0, s4, s8
    hpo_both s1, s5, s9
    it hi
    movhi.w r12, #1
3:  lsls r3, r3, #1             @ one more: negative
    bpl 4f
    vldmia r0, {s0}
    vldmia r1, {s4}
    vldmia r2, {s8}
    cmp.w r12, #0
    hpo_both s0, s4, s8
    it hi
    movhi.w r12, #1
4:  mov r0, r12
    bx lr
    .size hpo_inside_f32, . - hpo_inside_f32

    .section .text.hpo_greatest_f32, "ax", %progbits
    .p2align 2
@ Takes value \x as the greatest so far; its index is r3 + \lane.
    .macro hpo_look x lane
    vmla.f32 s15, \x, s14
    vcmp.f32 \x, s13
    vmrs APSR_nzcv, fpscr
    itt gt
    vmovgt.f32 s13, \x
    addgt.w r2, r3, #\lane
    .endm

    .global hpo_greatest_f32
    .type hpo_greatest_f32, %function
    .thumb_func
hpo_greatest_f32:
    hpo_zeros
    movt r12, #0xff80           @ -infinity; the lower half is zero
    vmov s13, r12
    movs r2, #0
    movs r3, #0
    subs r1, #4
    blo 2f
1:  vldmia r0!, {s0-s3}
    hpo_look s0, 0
    hpo_look s1, 1
    hpo_look s2, 2
    hpo_look s3, 3
    adds r3, #4
    subs r1, #4
    bhs 1b
2:  lsls r1, r1, #30            @ two more: negative
    bpl 3f
    vldmia r0!, {s0-s1}
    hpo_look s0, 0
    hpo_look s1, 1
    adds r3, #2
3:  lsls r1, r1, #1             @ one more: negative
    bpl 4f
    vldmia r0, {s0}
    hpo_look s0, 0
4:  mov r0, r2
    vmov r1, s15
    bx lr
    .size hpo_greatest_f32, . - hpo_greatest_f32

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
    .purgem hpo_both
    .purgem hpo_look
    .text
