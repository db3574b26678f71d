//! The stack: its guard, and its use, by the paint that cortex-m-rt leaves on it before `main`.
#![expect(unsafe_code, reason = "the stack is read below its live part")]

use crate::registers::{MPU_ATTRIBUTES, MPU_BASE, MPU_CONTROL};

unsafe extern "C" {
    /// Lowest address of the stack (memory.x).
    static _stack_end: u32;
    /// One past its highest address (memory.x).
    static _stack_start: u32;
}

/// Forbids every access to the 4 KiB below the stack, so that an overflow is a fault at once.
///
/// The stack lies at the start of the RAM, but QEMU lets accesses to addresses without memory pass
/// in silence, as a bus without a decoder may.
pub fn guard() {
    const BYTES: u32 = 1 << 12;
    let base = (&raw const _stack_end) as u32 - BYTES;
    MPU_BASE.write(base | 1 << 4);
    // Execute never, no access, 2^(11 + 1) bytes, enabled.
    MPU_ATTRIBUTES.write(1 << 28 | 11 << 1 | 1);
    MPU_CONTROL.write(1 << 2 | 1);
    cortex_m::asm::dsb();
    cortex_m::asm::isb();
}

/// Greatest use since reset, in bytes.
pub fn high_water() -> u32 {
    let mut address = (&raw const _stack_end) as usize;
    let top = (&raw const _stack_start) as usize;
    // SAFETY: every word between the two symbols is stack memory, mapped and aligned; volatile
    // because the compiler knows no writer of it.
    while address < top
        && unsafe { (address as *const u32).read_volatile() } == cortex_m_rt::STACK_PAINT_VALUE
    {
        address += size_of::<u32>();
    }
    u32::try_from(top.saturating_sub(address)).unwrap_or(u32::MAX)
}
