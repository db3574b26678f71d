//! The stack: its guard, and its use, by the paint that cortex-m-rt leaves on it before `main`.
#![expect(unsafe_code, reason = "the stack is read below its live part")]

unsafe extern "C" {
    /// Lowest address of the stack (memory.x).
    static _stack_end: u32;
    /// One past its highest address (memory.x).
    static _stack_start: u32;
}

/// Forbids every access to the 4 KiB below the stack, so that an overflow is a fault at once: memory
/// protection unit, region 0.
///
/// The stack lies at the start of the RAM, but QEMU lets accesses to addresses without memory pass
/// in silence, as a bus without a decoder may.
#[cfg(armv7m)]
pub fn guard() {
    use crate::registers::Register;
    // SAFETY: the unit's registers, the same on every Armv7-M core that has one (Armv7-M ARM, B3.5).
    let [control, base, attributes] =
        unsafe { [0xE000_ED94, 0xE000_ED9C, 0xE000_EDA0].map(|address| Register::at(address)) };
    const BYTES: u32 = 1 << 12;
    // The low bits: number valid, region 0.
    base.write(((&raw const _stack_end) as u32 - BYTES) | 1 << 4);
    // Execute never, no access, 2^(11 + 1) bytes, enabled.
    attributes.write(1 << 28 | 11 << 1 | 1);
    // Privileged code keeps the default map elsewhere; on.
    control.write(1 << 2 | 1);
    cortex_m::asm::dsb();
    cortex_m::asm::isb();
}

/// Sets the stack limit of the core: a push below it is a fault.
#[cfg(armv8m)]
pub fn guard() {
    // SAFETY: the limit is the stack's lowest address, which the pointer is above.
    unsafe { cortex_m::register::msplim::write((&raw const _stack_end) as u32) };
}

/// Armv6-M has neither a stack limit nor, as a rule, a protection unit: the stack ends where the RAM begins,
/// and the bus faults on what lies below it.
#[cfg(armv6m)]
pub fn guard() {}

/// Bytes of the stack.
pub fn size() -> u32 {
    let bytes = (&raw const _stack_start as usize).saturating_sub(&raw const _stack_end as usize);
    u32::try_from(bytes).unwrap_or(u32::MAX)
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
