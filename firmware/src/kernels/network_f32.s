@ Networks in binary32 for ARMv7E-M and ARMv8-M mainline with a single-precision FPU.
@
@ The arithmetic is that of the policy format: accumulators start at the bias, columns ascend, product and
@ sum are rounded separately, tanh is the clamped rational of degree 9/8. Eight rows are accumulated together,
@ weights are read once from front to back, and the number of instructions depends on the shape alone.
@
@   void hpo_network_f32(const struct network *network, size_t head, const float *x, float *buffers)
@
@ `network` is `network.rs`'s `Network`: a header of six words, of which this reads the first three (number of layers, at least 1; bytes
@ from `buffers` to the first result, and to the second one; every other result comes to the first place), then eight words a layer:
@ bias, bytes from one head's bias to the next one's (0: the layer has no heads), padded rows (a multiple of 4), bytes of the columns in
@ eights, columns, and three of `hpo_routes_f32`: what follows the sums of a panel, what follows its columns in eights, where it begins.
@ The weights follow the bias: columns * padded rows. `x` holds the first layer's columns, each place the padded rows that come to
@ it and, of a layer with tanh, eight more that are lost; `x` and the places do not overlap. All are aligned to 4 bytes.
@
@ Registers: r0 bias, r1 weights, r3 y (all moving), r4 moving x, r5 panels of eight left, r6 end of the columns in
@ eights, r7 columns, r11 tanh beyond the clamp, r12 = 81.0, lr tanh's constants. s0-s7 sums, s8-s23 weights, then products, s24-s31 inputs.
@ Stack: +0 x, +4 what follows the sums, +8 what follows the columns in eights, +12 where a panel begins, +16 padded rows, +20 layer,
@ +24 layers left, +28 head, +32 y, +36 next y.

    .syntax unified
    .fpu fpv4-sp-d16
    .section .text.hpo_network_f32, "ax", %progbits
    .p2align 2
    .thumb

@ Adds one column of eight weights, in eight registers from \w on, times \x to the sums.
    .macro hpo_column8 w0 w1 w2 w3 w4 w5 w6 w7 x
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

    .macro hpo_two_columns xa xb
    vldmia r1!, {s8-s23}
    hpo_column8 s8, s9, s10, s11, s12, s13, s14, s15, \xa
    hpo_column8 s16, s17, s18, s19, s20, s21, s22, s23, \xb
    .endm

    .macro hpo_eight_columns
    vldmia r4!, {s24-s31}
    hpo_two_columns s24, s25
    hpo_two_columns s26, s27
    hpo_two_columns s28, s29
    hpo_two_columns s30, s31
    .endm

@ The same for a panel of four; its sums are s4-s7.
    .macro hpo_column4 w0 w1 w2 w3 x
    vmul.f32 \w0, \w0, \x
    vmul.f32 \w1, \w1, \x
    vmul.f32 \w2, \w2, \x
    vmul.f32 \w3, \w3, \x
    vadd.f32 s4, s4, \w0
    vadd.f32 s5, s5, \w1
    vadd.f32 s6, s6, \w2
    vadd.f32 s7, s7, \w3
    .endm

    .macro hpo_four_columns4 xa xb xc xd
    vldmia r1!, {s8-s23}
    hpo_column4 s8, s9, s10, s11, \xa
    hpo_column4 s12, s13, s14, s15, \xb
    hpo_column4 s16, s17, s18, s19, \xc
    hpo_column4 s20, s21, s22, s23, \xd
    .endm

@ One step of Horner's rule for two values: numerators in s26, s28, denominators in s27, s29.
    .macro hpo_horner2 ua ub p q
    vmul.f32 s26, s26, \ua
    vmul.f32 s27, s27, \ua
    vmul.f32 s28, s28, \ub
    vmul.f32 s29, s29, \ub
    vadd.f32 s26, s26, \p
    vadd.f32 s27, s27, \q
    vadd.f32 s28, s28, \p
    vadd.f32 s29, s29, \q
    .endm

@ x = (x * P(u)) / Q(u) for two values: 36 instructions.
    .macro hpo_rational2 xa ua xb ub
    vmul.f32 s26, s16, \ua
    vmul.f32 s27, s21, \ua
    vmul.f32 s28, s16, \ub
    vmul.f32 s29, s21, \ub
    vadd.f32 s26, s26, s17
    vadd.f32 s27, s27, s22
    vadd.f32 s28, s28, s17
    vadd.f32 s29, s29, s22
    hpo_horner2 \ua, \ub, s18, s23
    hpo_horner2 \ua, \ub, s19, s24
    hpo_horner2 \ua, \ub, s20, s25
    vmul.f32 s26, \xa, s26
    vmul.f32 s28, \xb, s28
    vdiv.f32 \xa, s26, s27
    vdiv.f32 \xb, s28, s29
    .endm

@ The same for one value: 18 instructions.
    .macro hpo_rational x u
    vmul.f32 s26, s16, \u
    vmul.f32 s27, s21, \u
    vadd.f32 s26, s26, s17
    vadd.f32 s27, s27, s22
    vmul.f32 s26, s26, \u
    vmul.f32 s27, s27, \u
    vadd.f32 s26, s26, s18
    vadd.f32 s27, s27, s23
    vmul.f32 s26, s26, \u
    vmul.f32 s27, s27, \u
    vadd.f32 s26, s26, s19
    vadd.f32 s27, s27, s24
    vmul.f32 s26, s26, \u
    vmul.f32 s27, s27, \u
    vadd.f32 s26, s26, s20
    vadd.f32 s27, s27, s25
    vmul.f32 s26, \x, s26
    vdiv.f32 \x, s26, s27
    .endm

@ One value beyond the clamp; \r holds the bits of its square. It becomes the constant with its sign, NaN stays NaN, and r2 counts both.
    .macro hpo_beyond x r
    cmp \r, #0x7f800000
    vmov \r, \x
    it ls
    bfils \r, r11, #0, #31
    vmov \x, \r
    adds r2, #1
    .endm

@ The way out: as many instructions as are missing, by the number of values beyond.
    .macro hpo_way_out
    tbh [pc, r2, lsl #1]
1:  .hword 0
    .hword (.Lhpo_joined_first - 1b) / 2
    .hword (.Lhpo_two_beyond - 1b) / 2
    .hword (.Lhpo_three_beyond - 1b) / 2
    .hword (.Lhpo_four_beyond - 1b) / 2
    .hword (.Lhpo_moved_second - 1b) / 2
    .hword (.Lhpo_two_beyond - 1b) / 2
    .hword (.Lhpo_three_beyond - 1b) / 2
    .hword (.Lhpo_four_beyond - 1b) / 2
    .endm

@ A group of four with at least one value beyond the clamp, in exactly as many instructions (72) as a group without: 3 to come here,
@ 4 * 2 comparisons and branches, 18 per value inside or 6 per value beyond, and the way out, which takes 1, 13, 25, 37 for one to four
@ values beyond. The second group comes to the registers of the first one: y has room for it.
.Lhpo_clamped_first:
    nop
    movs r2, #0
    b.n .Lhpo_clamped
.Lhpo_clamped_second:
    vstmia r3, {s4-s15}
    vldmia r3, {s0-s11}
    movs r2, #4
.Lhpo_clamped:
    cmp r4, r12
    bhs.w .Lhpo_beyond0
    hpo_rational s0, s8
    cmp r8, r12
    bhs.w .Lhpo_beyond1
.Lhpo_inside1:
    hpo_rational s1, s9
    cmp r9, r12
    bhs.w .Lhpo_beyond2
.Lhpo_inside2:
    hpo_rational s2, s10
    cmp r10, r12
    bhs.w .Lhpo_beyond3
.Lhpo_inside3:
    hpo_rational s3, s11
    hpo_way_out
.Lhpo_beyond0:
    hpo_beyond s0, r4
    cmp r8, r12
    blo.w .Lhpo_inside1
.Lhpo_beyond1:
    hpo_beyond s1, r8
    cmp r9, r12
    blo.w .Lhpo_inside2
.Lhpo_beyond2:
    hpo_beyond s2, r9
    cmp r10, r12
    blo.w .Lhpo_inside3
.Lhpo_beyond3:
    hpo_beyond s3, r10
    hpo_way_out

@ 36, 24, 12 instructions.
.Lhpo_four_beyond:
    movs r4, #15
    nop
    b.n 1f
.Lhpo_three_beyond:
    movs r4, #9
    nop
    b.n 1f
.Lhpo_two_beyond:
    movs r4, #4
1:  subs r4, #1
    bne.n 1b
    cmp r2, #4
    bhi.n 1f
    b.n .Lhpo_joined_first
1:  b.n .Lhpo_moved_second

@ tanh of a panel, and to the next one. |x| >= 9 exactly if x * x >= 81 in binary32, and positive floats
@ compare like integers; NaN compares as greater.
.Lhpo_tanh:
    vldmia lr, {s16-s25}
    vmul.f32 s8, s0, s0
    vmul.f32 s9, s1, s1
    vmul.f32 s10, s2, s2
    vmul.f32 s11, s3, s3
    vmul.f32 s12, s4, s4
    vmul.f32 s13, s5, s5
    vmul.f32 s14, s6, s6
    vmul.f32 s15, s7, s7
    vstmia r3, {s8-s15}
    ldmia r3, {r4, r8, r9, r10}
    cmp r4, r12
    ittt lo
    cmplo r8, r12
    cmplo r9, r12
    cmplo r10, r12
    bhs.w .Lhpo_clamped_first
    hpo_rational2 s0, s8, s1, s9
    hpo_rational2 s2, s10, s3, s11
.Lhpo_joined_first:
    vstmia r3!, {s0-s3}
.Lhpo_tanh_second:
    ldmia r3, {r4, r8, r9, r10}
    cmp r4, r12
    ittt lo
    cmplo r8, r12
    cmplo r9, r12
    cmplo r10, r12
    bhs.w .Lhpo_clamped_second
    hpo_rational2 s4, s12, s5, s13
    hpo_rational2 s6, s14, s7, s15
.Lhpo_joined_second:
    vstmia r3!, {s4-s7}
    subs r5, #1
    bgt.w .Lhpo_panel
    b.w .Lhpo_last
.Lhpo_moved_second:
    vstmia r3!, {s0-s3}
    subs r5, #1
    bgt.w .Lhpo_panel
    b.w .Lhpo_last

    .p2align 2
.Lhpo_constants:
    .word 0x32627b73, 0x37abb90b, 0x3b647e43, 0x3e08f0ec, 0x3f7ffffe @ P4 to P0
    .word 0x354ec0df, 0x39ab82a2, 0x3cd3b225, 0x3eef2314, 0x3f800000 @ Q4 to Q0
    .word 0x3f800001                                                 @ tanh beyond the clamp
    .word 0x42a20000                                                 @ 81

    .global hpo_routes_f32
hpo_routes_f32:
    .word .Lhpo_tanh + 1, .Lhpo_linear + 1          @ behind the sums
    .word .Lhpo_tail + 1, .Lhpo_tail_below_four + 1 @ behind the eights: four columns and more, fewer
    .word .Lhpo_sixteen + 1, .Lhpo_eight + 1        @ the beginning: an even number of eights, an odd one

    .global hpo_network_f32
    .type hpo_network_f32, %function
    .thumb_func
hpo_network_f32:
    push {r4-r11, lr}
    vpush {s16-s31}
    sub sp, #40
    adr.w lr, .Lhpo_constants
    ldr r12, [lr, #44]
    ldmia r0, {r4, r5, r6}
    adds r0, #24
    adds r5, r5, r3
    adds r6, r6, r3
    strd r0, r4, [sp, #20]
    strd r1, r5, [sp, #28]
    str r6, [sp, #36]
    mov r3, r5

@ A layer from r2 to r3.
.Lhpo_layer:
    ldr r8, [sp, #20]
    ldr r4, [sp, #28]
    ldmia r8!, {r0, r1, r5, r6, r7, r9, r10, r11}
    str r8, [sp, #20]
    mla r0, r4, r1, r0
    add r1, r0, r5, lsl #2
    adds r6, r6, r2
    stmia sp, {r2, r9-r11}
    ldr r11, [lr, #40]
    str r5, [sp, #16]
    lsrs r5, r5, #3
    beq.w .Lhpo_last

.Lhpo_panel:
    vldmia r0!, {s0-s7}
    ldr r4, [sp]
    ldr pc, [sp, #12]
.Lhpo_sixteen:
    hpo_eight_columns
.Lhpo_eight:
    hpo_eight_columns
    cmp r4, r6
    bne.w .Lhpo_sixteen
    ldr pc, [sp, #8]

@ One to seven columns beyond the eights.
.Lhpo_tail:
    lsls r8, r7, #30            @ carry: four of them
    bcc .Lhpo_tail_below_four
    movs r8, #2
3:  vldmia r4!, {s24-s25}
    hpo_two_columns s24, s25
    subs r8, #1
    bne.w 3b
.Lhpo_tail_below_four:
    lsls r8, r7, #31            @ carry: two of them, negative: one
    bcc 5f
    vldmia r4!, {s24-s25}
    hpo_two_columns s24, s25
5:  bpl 6f
    vldmia r4!, {s24}
    vldmia r1!, {s8-s15}
    hpo_column8 s8, s9, s10, s11, s12, s13, s14, s15, s24
6:  ldr pc, [sp, #4]

.Lhpo_linear:
    vstmia r3!, {s0-s7}
    subs r5, #1
    bgt.w .Lhpo_panel

@ After the panels of eight (r5 is 0) the one of four, if there is one; after that (r5 is -1) the end.
.Lhpo_last:
    bmi.w 9f
    ldr r8, [sp, #16]
    lsls r8, r8, #29
    bpl.w 9f
    vldmia r0!, {s4-s7}
    ldr r4, [sp]
    lsrs r8, r7, #2
    beq 2f
1:  vldmia r4!, {s24-s27}
    hpo_four_columns4 s24, s25, s26, s27
    subs r8, #1
    bne.w 1b
2:  lsls r8, r7, #31            @ carry: two more columns, negative: one
    bcc 3f
    vldmia r4!, {s24-s25}
    vldmia r1!, {s8-s15}
    hpo_column4 s8, s9, s10, s11, s24
    hpo_column4 s12, s13, s14, s15, s25
3:  bpl 5f
    vldmia r4!, {s24}
    vldmia r1!, {s8-s11}
    hpo_column4 s8, s9, s10, s11, s24
5:  ldr r7, [sp, #4]
    adr.w r8, .Lhpo_linear + 1
    cmp r7, r8
    beq 6f
    vldmia lr, {s16-s25}
    vmul.f32 s12, s4, s4
    vmul.f32 s13, s5, s5
    vmul.f32 s14, s6, s6
    vmul.f32 s15, s7, s7
    vstmia r3, {s12-s15}
    b.w .Lhpo_tanh_second
6:  vstmia r3!, {s4-s7}

@ To the next layer, if there is one: from y to the other place.
9:  ldr r8, [sp, #24]
    subs r8, #1
    beq 1f
    str r8, [sp, #24]
    ldrd r2, r3, [sp, #32]
    strd r3, r2, [sp, #32]
    b.w .Lhpo_layer
1:  add sp, #40
    vpop {s16-s31}
    pop {r4-r11, pc}
    .size hpo_network_f32, . - hpo_network_f32

    .purgem hpo_column8
    .purgem hpo_two_columns
    .purgem hpo_eight_columns
    .purgem hpo_column4
    .purgem hpo_four_columns4
    .purgem hpo_horner2
    .purgem hpo_rational2
    .purgem hpo_rational
    .purgem hpo_beyond
    .purgem hpo_way_out
    .text
