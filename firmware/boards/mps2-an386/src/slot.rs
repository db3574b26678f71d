//! The policy slot.
#![expect(unsafe_code, reason = "the slot is memory outside every section")]

/// Where a policy is loaded to; the host's table of boards has the same number.
const ADDRESS: usize = 0x0030_0000;
/// Bytes of the slot: the rest of the 4 MiB of flash.
const LENGTH: usize = 0x0010_0000;

/// The slot's bytes.
pub fn bytes() -> &'static [u8] {
    // SAFETY: the region is mapped, initialised by the emulator before the core starts, belongs to no
    // section of memory.x, and nothing on this board writes to it. Its address is a multiple of 16.
    unsafe { core::slice::from_raw_parts(ADDRESS as *const u8, LENGTH) }
}
