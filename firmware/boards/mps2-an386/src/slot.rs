//! The policy slot.
#![expect(unsafe_code, reason = "the slot is memory outside every section")]

/// Where a policy is loaded to; the host's table of boards has the same number.
const ADDRESS: usize = 0x0030_0000;
/// Bytes of the slot: the rest of the 4 MiB of flash, less the word behind it.
const LENGTH: usize = 0x000F_FFF0;
/// Where the loader writes how many bytes it has put into the slot.
const LOADED: usize = ADDRESS + LENGTH;

/// The bytes that were loaded into the slot, all of them: what stands behind a policy is not overlooked.
pub fn bytes() -> &'static [u8] {
    // SAFETY: the word is mapped RAM, aligned, and written by the emulator before the core starts. Volatile,
    // since the compiler knows of no writer.
    let loaded = unsafe { core::ptr::read_volatile(LOADED as *const u32) } as usize;
    // SAFETY: the region is mapped, initialised by the emulator before the core starts, belongs to no
    // section of memory.x, and nothing on this board writes to it. Its address is a multiple of 16, and the
    // length is at most the slot's.
    unsafe { core::slice::from_raw_parts(ADDRESS as *const u8, loaded.min(LENGTH)) }
}
