//! The bytes in front of the slot, by which a firmware says whose it is and what it runs.
//!
//! `firmware/boards/build.rs` writes them into every board's image. The 32 bytes next to the slot are magic, a word (version 2 in its low
//! byte, what the firmware is in the next, the number of its public keys in the third), target class, and the board's name padded
//! with zeros, all little-endian. The keys lie before them, 32 bytes each, the first one last. A debugger can read them whatever the
//! firmware does.

use std::path::Path;

use firmware::{PublicKey, Trust};
use policy_format::RawPolicy;

use super::super::board::Board;
use super::super::image::Image;
use crate::export::PolicyBuffer;
use crate::train::run::hex;
use crate::{Error, Result};

/// Most keys that a firmware can say it has.
pub const MOST_KEYS: usize = 4;
/// Bytes that are read: the record with as many keys as there may be. A firmware with fewer has anything else before them.
pub const IDENTITY_LEN: usize = OWN_LEN + MOST_KEYS * KEY_LEN;
/// Bytes of the record without keys.
const OWN_LEN: usize = 32;
/// Bytes of a key.
const KEY_LEN: usize = 32;
/// Its first bytes.
const MAGIC: [u8; 8] = *b"HPOBOARD";
/// Version of its layout.
const VERSION: u32 = 2;
/// Kind: runs signed policies only.
const SIGNED: u32 = 1;
/// Kind: has two slots and a log that says which one counts.
const SLOTS: u32 = 2;

/// Where the bytes of a board lie.
#[must_use]
pub fn address(board: &Board) -> u64 {
    board.policy_address - IDENTITY_LEN as u64
}

/// What a firmware says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The board that it was built for.
    pub board: String,
    /// Plant and actuator set.
    pub target_class: u32,
    /// The keys of a firmware that runs signed policies only; `None` if it runs any.
    pub keys: Option<Vec<PublicKey>>,
    /// It has two slots and a log that says which one counts.
    pub slots: bool,
}

impl Identity {
    /// What the firmware in the file `elf` says of itself; `None` if it does not.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Input`] if it is no firmware beside the slot of `board`.
    pub fn of_elf(board: &'static Board, elf: &Path) -> Result<Option<Self>> {
        // An image has a policy; any will do.
        let image = Image::of_policy(board, &[0; 16])?.with_firmware(elf)?;
        let mut bytes = [0xFF; IDENTITY_LEN];
        for segment in image.segments() {
            for (address, byte) in (segment.address..).zip(&segment.bytes) {
                let at = address.checked_sub(self::address(board));
                let at = at.and_then(|at| usize::try_from(at).ok());
                if let Some(place) = at.and_then(|at| bytes.get_mut(at)) {
                    *place = *byte;
                }
            }
        }
        Ok(Self::parse(&bytes))
    }

    /// Reads the [`IDENTITY_LEN`] bytes in front of a slot. `None` if they are not of this project, or of another version of it.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (before, own) = bytes.split_at_checked(bytes.len().checked_sub(OWN_LEN)?)?;
        let word = |at: usize| Some(u32::from_le_bytes(own.get(at..at + 4)?.try_into().ok()?));
        let (word, target_class) = (own.starts_with(&MAGIC).then_some(word(8)?)?, word(12)?);
        let (version, kind, count) = (word & 0xFF, word >> 8 & 0xFF, (word >> 16) as usize);
        let known = version == VERSION && kind & !(SIGNED | SLOTS) == 0;
        let signed = kind & SIGNED != 0;
        if !known || count > MOST_KEYS || (count > 0) != signed {
            return None;
        }
        let keys = before.rchunks_exact(KEY_LEN).take(count);
        let keys: Vec<_> = keys
            .filter_map(|key| Some(PublicKey(key.try_into().ok()?)))
            .collect();
        if keys.len() != count {
            return None;
        }
        let name = String::from_utf8_lossy(own.get(16..)?);
        Some(Self {
            board: name.trim_end_matches('\0').to_owned(),
            target_class,
            keys: signed.then_some(keys),
            slots: kind & SLOTS != 0,
        })
    }
}

/// `Ok` if the firmware whose bytes were read from the board is that of `board` and runs the policy from the slot that is to be
/// written.
///
/// # Errors
/// [`Error::Usage`] that says what firmware is there, or why it would not run the policy.
pub fn check(bytes: &[u8], board: &Board, policy: &PolicyBuffer) -> Result<()> {
    let refuse = |what: String| Err(Error::Usage(format!("{what}; nothing was written")));
    let Some(found) = Identity::parse(bytes) else {
        return refuse(format!(
            "board: found no firmware of this project and version in front of the slot at {:#010x}; allowed: {} with its firmware, \
             or --firmware to write that as well",
            board.policy_address, board.name
        ));
    };
    if found.board != board.name {
        return refuse(format!(
            "--board: found the firmware of {} on the board; allowed: that of {}, or --firmware to replace it",
            found.board, board.name
        ));
    }
    let class = RawPolicy::parse(policy.bytes()).map(|raw| raw.target_class());
    if class != Ok(found.target_class) {
        let class = class.map_or_else(|error| error.to_string(), |class| class.to_string());
        return refuse(format!(
            "target_class: found a policy for {class}; allowed: {}, which the firmware on the board is built for, or --firmware to \
             replace it",
            found.target_class
        ));
    }
    if found.slots {
        return refuse(format!(
            "board: found firmware with two slots on {}, whose log says which slot counts; allowed: `hpo push` over its link, or \
             --firmware to replace it by firmware with one slot",
            board.name
        ));
    }
    check_signature(policy, found.keys.as_deref(), "the firmware on the board")
}

/// `Ok` if a firmware with these `keys` trusts the policy; `None` trusts anybody. `whose` names the firmware.
///
/// # Errors
/// [`Error::Usage`] with the fault that its boot would name.
pub fn check_signature(
    policy: &PolicyBuffer,
    keys: Option<&[PublicKey]>,
    whose: &str,
) -> Result<()> {
    let Some(keys) = keys else {
        return Ok(());
    };
    Trust::keys(keys).check(policy.bytes()).map_err(|fault| {
        let parts = RawPolicy::parse(policy.bytes()).and_then(|raw| raw.signature());
        let found = match parts {
            Ok(Some(parts)) => format!("a signature by key {}", hex(&parts.key_id())),
            _ => "no signature".to_owned(),
        };
        let known: Vec<_> = keys
            .iter()
            .map(|key| hex(&firmware::signature::key_id(key)))
            .collect();
        Error::Usage(format!(
            "policy: found {found} ({fault}); allowed: a policy signed by key {}, since {whose} runs no other (`hpo export --sign`); \
             nothing was written",
            known.join(" or ")
        ))
    })
}
