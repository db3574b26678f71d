@ Networks in 8 bits for ARMv7E-M, and for ARMv8-M mainline with the DSP extension: integer sums in pairs of rows by SMLAD.
@
@ The arithmetic of the policy format, section 8. A 16-bit lane of the weights is 256 * odd + even for two rows;
@ SMLAD on the raw word sums 256 * D_odd + D_even modulo 2^32, on its sign-extended low bytes D_even.
@ Validation keeps |D| below 2^23, so both are exact whatever wraps on the way.
@
@   void hpo_network_int8(const struct network *network, size_t head, const float *x, float *buffers)
@
@ `network` is `network.rs`'s `Network`: a header of six words (number of layers, which this does not read; bytes from `buffers` to the
@ first result, and to the second one; scales of the inputs; inputs; the entry of tanh's table for interval 0, with 64 before and 63
@ behind it), then eight words a layer: its words, bytes from one head's words to the next one's (0: the layer has no heads), bytes of
@ its result, bytes of its groups of four columns (at least 8), one that is not read, what follows the sums of a panel, one that is not
@ read, and where a panel enters the loop; two of these are of `hpo_routes_int8`. The words of a layer are, per panel of four rows, 4 biases, 4 a group of
@ weights, then 2 of multipliers or, in an output block, 4 scales. Hidden layers come first, then one output block.
@
@ `x` and the scales hold `inputs` finite floats. They are quantised to the first place, and every other result comes there; activations are
@ packed two to a word and padded to a multiple of four. Products beyond the range of integers are limited by the conversion, in the
@ rounding mode of the core: to nearest, as after reset. `x` and the places do not overlap. All are aligned to 4 bytes.
@
@ Registers: r0 words, r1 x, lr y (all moving), r12 end of x, r4 r6 sums of the even rows, r5 r7 those of
@ the pairs, r8-r11 weights, r2 r3 inputs. Stack: +0 x, +4 end of y, +8 entry into the loop, +12 tanh, +16 layer, +20 head, +24 y,
@ +28 next y, +32 what follows the sums.

    .syntax unified
    .fpu fpv4-sp-d16
    .section .text.hpo_network_int8, "ax", %progbits
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

@ The activation of t in the upper half of \t: limited interval, fraction, table, line.
    .macro hpo_line_tanh t
    ssat r2, #7, \t, asr #14
    ubfx r3, \t, #6, #8
    ldr r2, [r10, r2, lsl #2]
    smlabb \t, r2, r3, r2
    .endm

    .global hpo_routes_int8
hpo_routes_int8:
    .word .Lhpo_hidden + 1, .Lhpo_output + 1                    @ what follows the sums of a panel
    .word .Lhpo_g4 + 1, .Lhpo_g1 + 1, .Lhpo_g2 + 1, .Lhpo_g3 + 1  @ entries by groups modulo 4

    .global hpo_network_int8
    .type hpo_network_int8, %function
    .thumb_func
hpo_network_int8:
    push {r4-r11, lr}
    sub sp, #36
    ldmia r0!, {r4-r9}
    adds r5, r5, r3
    adds r6, r6, r3
    str r9, [sp, #12]
    strd r0, r1, [sp, #16]
    strd r6, r5, [sp, #24]
    mov r1, r5

@ The inputs, from r2 with scales at r7 to r5.
    subs r3, r8, #2
    blo 2f
1:  vldmia r2!, {s0-s1}
    vldmia r7!, {s2-s3}
    vmul.f32 s0, s0, s2
    vmul.f32 s1, s1, s3
    vcvtr.s32.f32 s0, s0
    vcvtr.s32.f32 s1, s1
    vmov r4, r12, s0, s1
    ssat r4, #11, r4
    ssat r12, #11, r12
    pkhbt r4, r4, r12, lsl #16
    str r4, [r5], #4
    subs r3, #2
    bhs 1b
2:  lsls r3, r8, #31
    beq 3f
    vldmia r2!, {s0}
    vldmia r7!, {s2}
    vmul.f32 s0, s0, s2
    vcvtr.s32.f32 s0, s0
    vmov r4, s0
    ssat r4, #11, r4
    uxth r4, r4
    str r4, [r5], #4
3:  add r8, #1
    lsls r8, r8, #30
    bpl .Lhpo_layer_int8
    movs r4, #0
    str r4, [r5]

@ A layer from r1 to y.
.Lhpo_layer_int8:
    ldrd r8, r3, [sp, #16]
    ldr lr, [sp, #24]
    ldmia r8!, {r0, r2, r4, r5, r6, r7, r9, r10}
    str r8, [sp, #16]
    mla r0, r3, r2, r0
    add r12, r1, r5
    add r4, lr
    stmia sp, {r1, r4, r10}
    str r7, [sp, #32]

@ The sums of a panel.
.Lhpo_panel_int8:
    ldmia r0!, {r4-r7}
    ldr r1, [sp]
    ldr pc, [sp, #8]
.Lhpo_g4:
    hpo_group
.Lhpo_g3:
    hpo_group
.Lhpo_g2:
    hpo_group
.Lhpo_g1:
    hpo_group
    cmp r1, r12
    bne.w .Lhpo_g4
    sub r5, r5, r4
    sub r7, r7, r6
    ldr pc, [sp, #32]

.Lhpo_hidden:
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
    ldr r2, [sp, #4]
    cmp lr, r2
    bne.w .Lhpo_panel_int8
    ldrd r1, r4, [sp, #24]
    strd r4, r1, [sp, #24]
    b.w .Lhpo_layer_int8

.Lhpo_output:
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
    ldr r2, [sp, #4]
    cmp lr, r2
    bne.w .Lhpo_panel_int8
    add sp, #36
    pop {r4-r11, pc}
    .size hpo_network_int8, . - hpo_network_int8

    .purgem hpo_group
    .purgem hpo_line_tanh
    .text
