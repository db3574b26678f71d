//! The 32 bytes in front of the slot, by which a firmware says whose it is.
//!
//! `firmware/boards/build.rs` writes them into every board's image: magic, version 1, target class, and the board's name padded with
//! zeros, all little-endian. A debugger can read them whatever the firmware does.

use super::super::board::Board;
use crate::{Error, Result};

/// Bytes of the record.
pub const IDENTITY_LEN: usize = 32;
/// Its first bytes.
const MAGIC: [u8; 8] = *b"HPOBOARD";
/// Version of its layout.
const VERSION: u32 = 1;

/// Where the record of a board lies.
#[must_use]
pub fn address(board: &Board) -> u64 {
    board.policy_address - IDENTITY_LEN as u64
}

/// `Ok` if `record`, as read from the board, is that of `board` with `target_class`.
///
/// # Errors
/// [`Error::Usage`] that says what firmware is there.
pub fn check(record: &[u8], board: &Board, target_class: u32) -> Result<()> {
    let word = |at: usize| {
        let bytes = record.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let known = record.starts_with(&MAGIC) && word(8) == Some(VERSION);
    let (Some(class), Some(name), true) = (word(12), record.get(16..IDENTITY_LEN), known) else {
        return Err(Error::Usage(format!(
            "board: found no firmware of this project in front of the slot at {:#010x}; nothing was written; allowed: {} with \
             its firmware, or --firmware to write that as well",
            board.policy_address, board.name
        )));
    };
    let name = String::from_utf8_lossy(name);
    let name = name.trim_end_matches('\0');
    if name != board.name {
        return Err(Error::Usage(format!(
            "--board: found the firmware of {name} on the board; allowed: that of {}, or --firmware to replace it; nothing was \
             written",
            board.name
        )));
    }
    if class != target_class {
        return Err(Error::Usage(format!(
            "target_class: found a policy for {target_class}; allowed: {class}, which the firmware on the board is built for, or \
             --firmware to replace it; nothing was written"
        )));
    }
    Ok(())
}
