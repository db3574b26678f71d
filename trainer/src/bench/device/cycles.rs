//! Instructions weighted with the cycle tables that Arm publishes: an estimate, not a measurement.
//!
//! Sources: the tables of the instruction sets in Arm's Technical Reference Manuals of Cortex-M0 (DDI 0432, with the multiplier of one
//! cycle that the nRF51 has), Cortex-M3 (DDI 0337) and Cortex-M4 (DDI 0439, and its FPU's). Not counted: waiting for flash, a
//! stall where a result of the FPU is used by the very next instruction (the kernels avoid it), loads that follow one another and overlap, and what an
//! interrupt takes. Where a table has a range, the greatest value counts (division, M3's long products), but for a
//! branch taken, which refills the pipeline in 1 to 3 cycles, and MRS, MSR and barriers of M3 and M4, which a step has none of.

use crate::device::board::Core;

/// A published table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Cortex-M0.
    M0,
    /// Cortex-M3.
    M3,
    /// Cortex-M4 with its FPU.
    M4,
}

impl Table {
    /// The table of a core; for M7, M33 and M55, of which Arm publishes none, that of the M4.
    pub const fn of(core: Core) -> Self {
        match core {
            Core::M0 => Table::M0,
            Core::M3 => Table::M3,
            Core::M4F | Core::M7 | Core::M33 | Core::M55 => Table::M4,
        }
    }

    /// Cycles of one executed instruction; `taken` tells whether the next one executed is not the next one in memory.
    pub fn cycles(self, first: u16, second: u16, taken: bool) -> u64 {
        let refill = if taken { REFILL } else { 0 };
        let narrow = size(first) == 2;
        refill
            + match self {
                Table::M0 if narrow => narrow_m0(first),
                Table::M0 => wide_m0(second),
                Table::M3 | Table::M4 if narrow => self::narrow(first),
                Table::M3 => long_product(first, second).unwrap_or_else(|| wide(first, second)),
                Table::M4 => wide(first, second),
            }
    }
}

/// Cycles of a pipeline refill, the middle of the table's 1 to 3.
const REFILL: u64 = 2;

/// Bytes of the instruction that begins with `first`.
pub fn size(first: u16) -> u32 {
    if first >> 11 >= 0b11101 { 4 } else { 2 }
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

/// As the others, but POP with PC: 4 and one for each register, of which a refill is 2.
fn narrow_m0(code: u16) -> u64 {
    narrow(code) + if code >> 8 == 0xbd { 1 } else { 0 }
}

/// BL takes 4, 2 of them the refill; MRS, MSR and barriers take 4.
fn wide_m0(second: u16) -> u64 {
    if second & 0xd000 == 0xd000 { 2 } else { 4 }
}

/// What the M3 multiplies in more than the M4's one cycle: MLA and MLS, long products, and long ones with a sum.
fn long_product(first: u16, second: u16) -> Option<u64> {
    match first & 0xfff0 {
        0xfb00 if second >> 12 != 0xf => Some(2),
        0xfb80 | 0xfba0 => Some(5),
        0xfbc0 | 0xfbe0 => Some(7),
        _ => None,
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
                Table::M4.cycles(first, second, taken),
                expected,
                "{first:#06x} {second:#06x}"
            );
        }
    }

    #[test]
    fn cores_without_an_fpu_have_their_own_weights() {
        for (first, second, taken, m0, m3) in [
            (0x4359, 0x0000, false, Some(1), 1), // muls r1, r3, r1
            (0x6808, 0x0000, false, Some(2), 2), // ldr r0, [r1]
            (0xc907, 0x0000, false, Some(4), 4), // ldm r1, {r0-r2}
            (0xb510, 0x0000, false, Some(3), 3), // push {r4, lr}
            (0xbd10, 0x0000, true, Some(6), 5),  // pop {r4, pc}
            (0xd1fe, 0x0000, true, Some(3), 3),  // bne, taken
            (0xd1fe, 0x0000, false, Some(1), 1), // bne, not taken
            (0x4770, 0x0000, true, Some(3), 3),  // bx lr
            (0xf000, 0xf800, true, Some(4), 3),  // bl
            (0xf3ef, 0x8010, false, Some(4), 1), // mrs r0, primask
            (0xf3bf, 0x8f5f, false, Some(4), 1), // dmb sy
            (0xfb00, 0xf001, false, None, 1),    // mul r0, r0, r1
            (0xfb00, 0x2001, false, None, 2),    // mla r0, r0, r1, r2
            (0xfb00, 0x2011, false, None, 2),    // mls r0, r0, r1, r2
            (0xfba0, 0x0101, false, None, 5),    // umull r0, r1, r0, r1
            (0xfbe0, 0x2301, false, None, 7),    // umlal r2, r3, r0, r1
            (0xfbb0, 0xf0f1, false, None, 12),   // udiv r0, r0, r1
            (0xe92d, 0x4ff0, false, None, 10),   // push {r4-r11, lr}
        ] {
            let what = format!("{first:#06x} {second:#06x}");
            assert_eq!(Table::M3.cycles(first, second, taken), m3, "{what}");
            if let Some(m0) = m0 {
                assert_eq!(Table::M0.cycles(first, second, taken), m0, "{what}");
            }
        }
    }
}
