@ 8-bit networks for ARMv7E-M (Cortex-M4, M7): integer sums in pairs of rows by SMLAD.
@
@ The arithmetic of the policy format, section 7. A 16-bit lane of the weights is 256 * odd + even for two rows;
@ SMLAD on the raw word sums 256 * D_odd + D_even modulo 2^32, on its sign-extended low bytes D_even.
@ Validation keeps |D| below 2^23, so both are exact whatever wraps on the way.
@
@   void hpo_int8_hidden(const uint32_t *words, const uint32_t *x, uint32_t *y, size_t groups,
@                        size_t panels, const uint32_t *tanh)
@   void hpo_int8_output(const uint32_t *words, const uint32_t *x, float *y, size_t groups,
@                        size_t panels, const uint32_t *tanh)
@   void hpo_int8_input (const float *z, const float *scale, uint32_t *x, size_t inputs)
@
@ `z` and `scale` hold `inputs` finite floats, `x` the words of that many activations, padded to a multiple
@ of four. Products beyond the range of integers are limited by the conversion, in the rounding mode of the core:
@ to nearest, as after reset.
@
@ `groups` of four columns and `panels` of four rows, both at least 1. `words` holds the block in file order:
@ per panel 4 biases, 4 * groups words of weights, then 2 words of multipliers or 4 scales. `x` holds
@ 2 * groups words, `y` 2 * panels words or 4 * panels floats, `tanh` points at the entry of interval 0, with
@ 64 before and 63 behind it (an output block does not read it). All are aligned to 4 bytes and `y` overlaps none of the others.
@
@ Registers: r0 words, r1 x, lr y (all moving), r12 end of x, r4 r6 sums of the even rows, r5 r7 those of
@ the pairs, r8-r11 weights, r2 r3 inputs. Stack: +0 x, +4 entry into the loop, +8 end of y, +12 tanh.

    .syntax unified
    .fpu fpv4-sp-d16
    .section .text.hpo_int8, "ax", %progbits
    .p2align 2
    .thumb

@ Four columns of four rows: 14 instructions for 16 products.
    .macro hpo_group
    ldmia r0!, {r8-r11}
    ldmia r1!, {r2, r3}
    smlad r5, r8, r2, r5
    sxtb16 r8, r8
    smlad r7, r9, r2, r7
    sxtb16 r9, r9
    smlad r4, r8, r2, r4
    smlad r6, r9, r2, r6
    smlad r5, r10, r3, r5
    sxtb16 r10, r10
    smlad r7, r11, r3, r7
    sxtb16 r11, r11
    smlad r4, r10, r3, r4
    smlad r6, r11, r3, r6
    .endm

@ Saves registers and lays out the stack; the first round of the loop does groups modulo 4 of them.
    .macro hpo_enter g1 g2 g3 g4 width
    push {r4-r11, lr}
    ldrd r4, r5, [sp, #36]
    add r6, r2, r4, lsl #\width
    mov lr, r2
    add r12, r1, r3, lsl #3
    adr.w r2, \g4 + 1
    ands r3, r3, #3
    beq 1f
    adr.w r2, \g1 + 1
    cmp r3, #2
    it eq
    adreq.w r2, \g2 + 1
    it hi
    adrhi.w r2, \g3 + 1
1:  push {r1, r2, r6, r7}
    str r5, [sp, #12]
    .endm

@ The sums of a panel.
    .macro hpo_sums g1 g2 g3 g4
    ldmia r0!, {r4-r7}
    ldr r1, [sp]
    ldr pc, [sp, #4]
\g4: hpo_group
\g3: hpo_group
\g2: hpo_group
\g1: hpo_group
    cmp r1, r12
    bne.w \g4
    sub r5, r5, r4
    sub r7, r7, r6
    .endm

@ The activation of t in the upper half of \t: limited interval, fraction, table, line.
    .macro hpo_line_tanh t
    ssat r2, #7, \t, asr #14
    ubfx r3, \t, #6, #8
    ldr r2, [r10, r2, lsl #2]
    smlabb \t, r2, r3, r2
    .endm

    .global hpo_int8_hidden
    .type hpo_int8_hidden, %function
    .thumb_func
hpo_int8_hidden:
    hpo_enter .Lhpo_h1, .Lhpo_h2, .Lhpo_h3, .Lhpo_h4, 3
2:  hpo_sums .Lhpo_h1, .Lhpo_h2, .Lhpo_h3, .Lhpo_h4
    lsls r4, r4, #8
    lsls r6, r6, #8
    ldmia r0!, {r8, r9}
    ldr r10, [sp, #12]
    smulwb r4, r4, r8
    smulwt r5, r5, r8
    smulwb r6, r6, r9
    smulwt r7, r7, r9
    hpo_line_tanh r4
    hpo_line_tanh r5
    hpo_line_tanh r6
    hpo_line_tanh r7
    pkhtb r4, r5, r4, asr #16
    pkhtb r6, r7, r6, asr #16
    stmia lr!, {r4, r6}
    ldr r2, [sp, #8]
    cmp lr, r2
    bne.w 2b
    add sp, #16
    pop {r4-r11, pc}
    .size hpo_int8_hidden, . - hpo_int8_hidden

    .global hpo_int8_output
    .type hpo_int8_output, %function
    .thumb_func
hpo_int8_output:
    hpo_enter .Lhpo_o1, .Lhpo_o2, .Lhpo_o3, .Lhpo_o4, 4
2:  hpo_sums .Lhpo_o1, .Lhpo_o2, .Lhpo_o3, .Lhpo_o4
    asrs r5, r5, #8
    asrs r7, r7, #8
    vmov s0, s1, r4, r5
    vmov s2, s3, r6, r7
    vldmia r0!, {s4-s7}
    vcvt.f32.s32 s0, s0
    vcvt.f32.s32 s1, s1
    vcvt.f32.s32 s2, s2
    vcvt.f32.s32 s3, s3
    vmul.f32 s0, s0, s4
    vmul.f32 s1, s1, s5
    vmul.f32 s2, s2, s6
    vmul.f32 s3, s3, s7
    vstmia lr!, {s0-s3}
    ldr r2, [sp, #8]
    cmp lr, r2
    bne.w 2b
    add sp, #16
    pop {r4-r11, pc}
    .size hpo_int8_output, . - hpo_int8_output

    .global hpo_int8_input
    .type hpo_int8_input, %function
    .thumb_func
hpo_int8_input:
    push {r4, r5}
    mov r5, r3
    subs r3, #2
    blo 2f
1:  vldmia r0!, {s0-s1}
    vldmia r1!, {s2-s3}
    vmul.f32 s0, s0, s2
    vmul.f32 s1, s1, s3
    vcvtr.s32.f32 s0, s0
    vcvtr.s32.f32 s1, s1
    vmov r4, r12, s0, s1
    ssat r4, #11, r4
    ssat r12, #11, r12
    pkhbt r4, r4, r12, lsl #16
    str r4, [r2], #4
    subs r3, #2
    bhs 1b
2:  lsls r3, r5, #31
    beq 3f
    vldmia r0!, {s0}
    vldmia r1!, {s2}
    vmul.f32 s0, s0, s2
    vcvtr.s32.f32 s0, s0
    vmov r4, s0
    ssat r4, #11, r4
    uxth r4, r4
    str r4, [r2], #4
3:  adds r5, #1
    lsls r5, r5, #30
    bpl 4f
    movs r4, #0
    str r4, [r2]
4:  pop {r4, r5}
    bx lr
    .size hpo_int8_input, . - hpo_int8_input

    .purgem hpo_group
    .purgem hpo_enter
    .purgem hpo_sums
    .purgem hpo_line_tanh
    .text
