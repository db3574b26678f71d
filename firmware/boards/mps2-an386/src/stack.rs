//! Stack use, by the paint that cortex-m-rt leaves on the stack before `main`.
#![expect(unsafe_code, reason = "the stack is read below its live part")]

unsafe extern "C" {
    /// Lowest address of the stack (memory.x).
    static _stack_end: u32;
    /// One past its highest address (memory.x).
    static _stack_start: u32;
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
