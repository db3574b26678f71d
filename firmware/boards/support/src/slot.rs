//! The policy slot: the region between the symbols `_policy_slot` and `_policy_slot_end` of the board's
//! `memory.x`, which no section uses. The host reads the same symbols from the ELF.
#![expect(unsafe_code, reason = "the slot is memory outside every section")]

unsafe extern "C" {
    /// First byte of the slot; its address is a multiple of 16.
    static _policy_slot: u8;
    /// One past its last byte: the word in which a loader leaves the number of bytes it has put there.
    static _policy_slot_end: u32;
}

/// Where the slot starts and how many bytes it has.
fn place() -> (*const u8, usize) {
    let start = &raw const _policy_slot;
    let length = (&raw const _policy_slot_end as usize).saturating_sub(start as usize);
    (start, length)
}

/// The bytes that were loaded into the slot, all of them: what stands behind a policy is not overlooked.
/// For boards whose loader says how many there are.
#[cfg(all(feature = "qemu", not(feature = "nvmc")))]
pub fn loaded() -> &'static [u8] {
    let (start, length) = place();
    // SAFETY: the word is mapped memory, aligned, and written by the emulator before the core starts. Volatile,
    // since the compiler knows of no writer.
    let loaded = unsafe { (&raw const _policy_slot_end).read_volatile() } as usize;
    // SAFETY: the region is mapped, initialised by the emulator before the core starts, belongs to no
    // section of memory.x, and nothing on the board writes to it. The length is at most the slot's.
    unsafe { core::slice::from_raw_parts(start, loaded.min(length)) }
}

/// The policy that was flashed to the slot, as long as its header says it is and at most as long as the
/// slot; a slot without a policy's magic gives the bytes of a header.
#[cfg(not(feature = "qemu"))]
pub fn stored() -> &'static [u8] {
    use policy_format::{HEADER_LEN, MAGIC};
    let (start, length) = place();
    // SAFETY: the slot is mapped flash that belongs to no section of memory.x and is not written while the
    // firmware runs.
    let slot = unsafe { core::slice::from_raw_parts(start, length) };
    let header = slot.get(..HEADER_LEN).unwrap_or(slot);
    let total = header
        .strip_prefix(&MAGIC)
        .and_then(|rest| rest.get(4..)?.first_chunk::<4>())
        .map_or(HEADER_LEN, |bytes| u32::from_le_bytes(*bytes) as usize);
    slot.get(..total).unwrap_or(slot)
}

/// Address and length of the region.
#[cfg(all(feature = "slots", any(not(feature = "qemu"), feature = "nvmc")))]
pub fn region() -> (u32, u32) {
    let (start, length) = place();
    (start as u32, length as u32)
}

/// A piece of the region, empty if it does not lie inside.
#[cfg(all(feature = "slots", any(not(feature = "qemu"), feature = "nvmc")))]
pub fn piece(offset: u32, length: u32) -> &'static [u8] {
    let (start, whole) = place();
    // SAFETY: the region is mapped flash that belongs to no section of memory.x. A slot is written only while no policy runs
    // from it, and a policy found in it lives no longer than until then: `firmware::slots` erases the slot that is not
    // confirmed, and refuses to while a policy on trial runs from it.
    let region = unsafe { core::slice::from_raw_parts(start, whole) };
    let end = offset.saturating_add(length) as usize;
    region.get(offset as usize..end).unwrap_or_default()
}
