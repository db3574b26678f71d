@ Quadratic forms in binary32 for ARMv7E-M and ARMv8-M mainline with a single-precision FPU.
@
@ The arithmetic of the policy format: sums start at the bias; the columns are the products z_i * z_j with
@ i <= j in the order (0,0), (0,1)..(0,n-1), (1,1)..; every product and sum is rounded separately.
@
@   void hpo_quadratic_f32(const float *bias, const float *weights, const float *z, float *y,
@                          size_t inputs, size_t padded_rows)
@
@ `z` holds `inputs` floats, at least 1; `y` and `bias` `padded_rows` (a multiple of 4), `weights`
@ inputs * (inputs + 1) / 2 times as many. All are aligned to 4 bytes and `y` overlaps none of the others.
@
@ Registers: r0 bias, r1 weights, r2 z, r3 y, r4 z_i, r5 panels of eight left, r6 z_j, r7 end of z,
@ r8 end of the pairs of z_j. s0-s7 sums, s8-s23 weights, s24-s25 products, s26 z_i.

    .syntax unified
    .fpu fpv4-sp-d16
    .section .text.hpo_quadratic_f32, "ax", %progbits
    .p2align 2
    .thumb

    .macro hpo_add8 w0 w1 w2 w3 w4 w5 w6 w7 x
    vmul.f32 \w0, \w0, \x
    vmul.f32 \w1, \w1, \x
    vmul.f32 \w2, \w2, \x
    vmul.f32 \w3, \w3, \x
    vmul.f32 \w4, \w4, \x
    vmul.f32 \w5, \w5, \x
    vmul.f32 \w6, \w6, \x
    vmul.f32 \w7, \w7, \x
    vadd.f32 s0, s0, \w0
    vadd.f32 s1, s1, \w1
    vadd.f32 s2, s2, \w2
    vadd.f32 s3, s3, \w3
    vadd.f32 s4, s4, \w4
    vadd.f32 s5, s5, \w5
    vadd.f32 s6, s6, \w6
    vadd.f32 s7, s7, \w7
    .endm

    .macro hpo_add4 w0 w1 w2 w3 x
    vmul.f32 \w0, \w0, \x
    vmul.f32 \w1, \w1, \x
    vmul.f32 \w2, \w2, \x
    vmul.f32 \w3, \w3, \x
    vadd.f32 s0, s0, \w0
    vadd.f32 s1, s1, \w1
    vadd.f32 s2, s2, \w2
    vadd.f32 s3, s3, \w3
    .endm

@ From z_i: its pairs of columns end where an even number of them does.
    .macro hpo_line
    vldmia r4, {s26}
    mov r6, r4
    sub r8, r7, r4
    bic r8, r8, #7
    add r8, r8, r4
    cmp r6, r8
    .endm

    .macro hpo_products
    vldmia r6!, {s24-s25}
    vmul.f32 s24, s26, s24
    vmul.f32 s25, s26, s25
    .endm

    .global hpo_quadratic_f32
    .type hpo_quadratic_f32, %function
    .thumb_func
hpo_quadratic_f32:
    push {r4-r8, lr}
    vpush {s16-s26}
    ldrd r7, r5, [sp, #68]
    mov lr, r5
    add r7, r2, r7, lsl #2
    lsrs r5, r5, #3
    beq.w 6f
1:  vldmia r0!, {s0-s7}
    mov r4, r2
2:  hpo_line
    beq.w 4f
3:  hpo_products
    vldmia r1!, {s8-s23}
    hpo_add8 s8, s9, s10, s11, s12, s13, s14, s15, s24
    hpo_add8 s16, s17, s18, s19, s20, s21, s22, s23, s25
    cmp r6, r8
    bne.w 3b
4:  cmp r6, r7
    beq 5f
    vldmia r6!, {s24}
    vmul.f32 s24, s26, s24
    vldmia r1!, {s8-s15}
    hpo_add8 s8, s9, s10, s11, s12, s13, s14, s15, s24
5:  adds r4, #4
    cmp r4, r7
    bne.w 2b
    vstmia r3!, {s0-s7}
    subs r5, #1
    bne.w 1b
6:  tst lr, #4
    beq 9f
    vldmia r0!, {s0-s3}
    mov r4, r2
2:  hpo_line
    beq 4f
3:  hpo_products
    vldmia r1!, {s8-s15}
    hpo_add4 s8, s9, s10, s11, s24
    hpo_add4 s12, s13, s14, s15, s25
    cmp r6, r8
    bne 3b
4:  cmp r6, r7
    beq 5f
    vldmia r6!, {s24}
    vmul.f32 s24, s26, s24
    vldmia r1!, {s8-s11}
    hpo_add4 s8, s9, s10, s11, s24
5:  adds r4, #4
    cmp r4, r7
    bne 2b
    vstmia r3!, {s0-s3}
9:  vpop {s16-s26}
    pop {r4-r8, pc}
    .size hpo_quadratic_f32, . - hpo_quadratic_f32

    .purgem hpo_add8
    .purgem hpo_add4
    .purgem hpo_line
    .purgem hpo_products
    .text
