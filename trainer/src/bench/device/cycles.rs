//! Instructions of a Cortex-M4 weighted with its published cycle table: an estimate, not a measurement.
//!
//! Source: Arm, Cortex-M4 Technical Reference Manual (DDI 0439), tables of the instruction set and of the FPU's
//! instruction set. Not counted: waiting for flash, a stall where a result of the FPU is used by the very next instruction (the
//! kernels avoid it), and what an interrupt takes. A branch taken refills the pipeline in 1 to 3 cycles.

/// Cycles of a pipeline refill, the middle of the table's 1 to 3.
const REFILL: u64 = 2;

/// Bytes of the instruction that begins with `first`.
pub fn size(first: u16) -> u32 {
    if first >> 11 >= 0b11101 { 4 } else { 2 }
}

/// Cycles of one executed instruction; `taken` tells whether the next one executed is not the next one in memory.
pub fn cycles(first: u16, second: u16, taken: bool) -> u64 {
    let refill = if taken { REFILL } else { 0 };
    if size(first) == 2 {
        return refill + narrow(first);
    }
    refill + wide(first, second)
}

fn narrow(code: u16) -> u64 {
    let low = u64::from((code & 0xff).count_ones());
    match code >> 8 {
        // PUSH, POP: the ninth register is LR or PC.
        0xb4 | 0xbc => 1 + low,
        0xb5 | 0xbd => 2 + low,
        // LDM, STM.
        0xc0..=0xcf => 1 + low,
        // Loads and stores of one register.
        0x48..=0x9f => 2,
        _ => 1,
    }
}

fn wide(first: u16, second: u16) -> u64 {
    let coprocessor = first & 0xec00 == 0xec00 && second & 0x0e00 == 0x0a00;
    if coprocessor {
        return fpu(first, second);
    }
    match first & 0xfe00 {
        // LDM and STM; then LDRD, STRD, TBB, TBH.
        0xe800 if first & 0x40 == 0 => 1 + u64::from(second.count_ones()),
        0xe800 if first & 0xfff0 == 0xe8d0 && second & 0xffe0 == 0xf000 => 2,
        0xe800 => 3,
        // Loads and stores of one register.
        0xf800 => 2,
        // SDIV, UDIV: 2 to 12.
        0xfa00 if first & 0xffd0 == 0xfb90 => 12,
        _ => 1,
    }
}

fn fpu(first: u16, second: u16) -> u64 {
    if first & 0xfe00 == 0xec00 {
        return match first & 0x01e0 {
            // VMOV of two registers; then VLDR and VSTR; else VLDM and VSTM of so many words.
            0x0040 => 2,
            0x0100 | 0x0180 => 2,
            _ => 1 + u64::from(second & 0xff),
        };
    }
    if second & 0x10 != 0 {
        return 1;
    }
    match first & 0xffb0 {
        // VMLA and its kind, VFMA and its kind.
        0xee00 | 0xee10 | 0xee90 | 0xeea0 => 3,
        // VDIV.
        0xee80 => 14,
        // VSQRT among the operations of one operand.
        0xeeb0 if first & 0xf == 1 && second & 0xc0 == 0xc0 => 14,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_instructions_have_their_weights() {
        // Encodings as llvm-mc gives them for the source beside.
        for (first, second, taken, expected) in [
            (0xecb1, 0x4a10, false, 17), // vldmia r1!, {s8-s23}
            (0xee24, 0x4a2c, false, 1),  // vmul.f32 s8, s8, s25
            (0xee30, 0x0a04, false, 1),  // vadd.f32 s0, s0, s8
            (0xee8d, 0x0a2d, false, 14), // vdiv.f32 s0, s26, s27
            (0xeeb1, 0x0ac0, false, 14), // vsqrt.f32 s0, s0
            (0xec54, 0x5a10, false, 2),  // vmov r5, r4, s0, s1
            (0xfb28, 0x5502, false, 1),  // smlad r5, r8, r2, r5
            (0xe8b0, 0x0f00, false, 5),  // ldm r0!, {r8-r11}
            (0xf8dd, 0xf00c, true, 4),   // ldr pc, [sp, #12]
            (0xe8df, 0xf017, true, 4),   // tbh [pc, r7, lsl #1]
            (0xe92d, 0x4ff0, false, 10), // push {r4-r11, lr}
            (0xbd70, 0x0000, true, 7),   // pop {r4, r5, r6, pc}
            (0xd1fe, 0x0000, true, 3),   // bne, taken
            (0xd1fe, 0x0000, false, 1),  // bne, not taken
        ] {
            assert_eq!(
                cycles(first, second, taken),
                expected,
                "{first:#06x} {second:#06x}"
            );
        }
    }
}
