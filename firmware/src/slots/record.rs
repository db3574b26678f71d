//! The record that decides, as 32 bytes.

use policy_format::crc32;

use crate::Fault;

/// Bytes of a record.
pub const RECORD_LEN: usize = 32;

/// First word of a record: "HPR1".
const MAGIC: u32 = u32::from_le_bytes(*b"HPR1");

/// One of the two slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The first one.
    A,
    /// The second one.
    B,
}

impl Slot {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }
}

/// What the slot that is not confirmed is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// Nothing: never written, or being written.
    Void,
    /// A policy is installed and checked; the next start tries it.
    Ready,
    /// It is being tried; a start that finds this reverts.
    Trial,
    /// It was confirmed before; it stands in if the confirmed one is damaged.
    Previous,
    /// It was refused by a start or failed its trial, for this reason. It is not run again.
    Rejected(Fault),
    /// This policy is being installed, by a host that can go on with it after a reset.
    Installing(Identity),
    /// The whole slot was erased, and nothing written since.
    Erased,
}

/// By what a host knows a policy again that it began to install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Bytes of the file.
    pub length: u32,
    /// Any number that tells files of that length apart.
    pub digest: u64,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The slot to run; `None` on a device that never confirmed a policy.
    pub confirmed: Option<Slot>,
    /// The other slot: [`State::candidate`].
    pub other: Other,
    /// Least anti-rollback counter that may be installed and run.
    pub floor: u32,
}

impl State {
    /// A device without any record: whatever whole policy was flashed to slot A, else to slot B, is confirmed.
    pub const FACTORY: Self = Self {
        confirmed: None,
        other: Other::Void,
        floor: 0,
    };

    /// The slot that is not confirmed, to which policies are installed.
    #[must_use]
    pub const fn candidate(&self) -> Slot {
        match self.confirmed {
            None => Slot::A,
            Some(slot) => slot.other(),
        }
    }
}

/// The bytes of a record, and the sequence number it really has: a CRC of all ones is avoided by going on to the next number.
///
/// `None` when the numbers are used up.
pub fn encode(state: State, mut sequence: u32) -> Option<([u8; RECORD_LEN], u32)> {
    loop {
        let confirmed = match state.confirmed {
            None => 0,
            Some(Slot::A) => 1,
            Some(Slot::B) => 2,
        };
        let (other, reason) = match state.other {
            Other::Void => (0, 0),
            Other::Ready => (1, 0),
            Other::Trial => (2, 0),
            Other::Previous => (3, 0),
            Other::Rejected(fault) => (4, u32::from(fault.code())),
            Other::Installing(_) => (5, 0),
            Other::Erased => (6, 0),
        };
        let [length, low, high] = match state.other {
            Other::Installing(Identity { length, digest }) => {
                [length, digest as u32, (digest >> 32) as u32]
            }
            _ => [0; 3],
        };
        let words = [
            MAGIC,
            sequence,
            confirmed | other << 8 | reason << 16,
            state.floor,
            length,
            low,
            high,
        ];
        let mut bytes = [0; RECORD_LEN];
        let (content, sum) = bytes.split_last_chunk_mut::<4>()?;
        for (to, from) in content.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        let crc = crc32(content);
        if crc != u32::MAX {
            *sum = crc.to_le_bytes();
            return Some((bytes, sequence));
        }
        sequence = sequence.checked_add(1)?;
    }
}

/// State and sequence number of a record, `None` if the bytes are none.
///
/// The CRC stands last and is never all ones. So a record whose words are written in order and of which the power cut tore one
/// word is never valid, whatever that word reads as: either the CRC's word is still erased, or it is the torn one.
pub fn decode(bytes: &[u8; RECORD_LEN]) -> Option<(State, u32)> {
    let (words, _) = bytes.as_chunks::<4>();
    let [magic, sequence, what, floor, length, low, high, crc] =
        core::array::from_fn(|i| words.get(i).map_or(0, |word| u32::from_le_bytes(*word)));
    let content = bytes.get(..RECORD_LEN - 4)?;
    if magic != MAGIC || crc == u32::MAX || crc != crc32(content) {
        return None;
    }
    let [confirmed, other, reason @ ..] = what.to_le_bytes();
    let reason = Fault::from_code(u16::from_le_bytes(reason));
    let state = State {
        confirmed: match confirmed {
            0 => None,
            1 => Some(Slot::A),
            2 => Some(Slot::B),
            _ => return None,
        },
        other: match (other, reason) {
            (0, None) => Other::Void,
            (1, None) => Other::Ready,
            (2, None) => Other::Trial,
            (3, None) => Other::Previous,
            (4, Some(fault)) => Other::Rejected(fault),
            (5, None) => Other::Installing(Identity {
                length,
                digest: u64::from(high) << 32 | u64::from(low),
            }),
            (6, None) => Other::Erased,
            _ => return None,
        },
        floor,
    };
    // Only an installation has something to say there.
    if !matches!(state.other, Other::Installing(_)) && (length, low, high) != (0, 0, 0) {
        return None;
    }
    Some((state, sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states() -> std::vec::Vec<State> {
        let mut states = std::vec::Vec::new();
        for confirmed in [None, Some(Slot::A), Some(Slot::B)] {
            for other in [
                Other::Void,
                Other::Ready,
                Other::Trial,
                Other::Previous,
                Other::Rejected(Fault::BAD_SIGNATURE),
                Other::Installing(Identity {
                    length: 40_960,
                    digest: 0x0123_4567_89AB_CDEF,
                }),
                Other::Erased,
            ] {
                for floor in [0, 7, u32::MAX] {
                    states.push(State {
                        confirmed,
                        other,
                        floor,
                    });
                }
            }
        }
        states
    }

    #[test]
    fn records_come_back_and_their_bytes_are_pinned() {
        for state in states() {
            for sequence in [1, 2, 0x1234_5678, u32::MAX - 9] {
                let (bytes, used) = encode(state, sequence).unwrap();
                assert_eq!(decode(&bytes), Some((state, used)));
                assert!(used == sequence || used == sequence + 1);
            }
        }
        let state = State {
            confirmed: Some(Slot::B),
            other: Other::Rejected(Fault::ROLLBACK),
            floor: 5,
        };
        let (bytes, _) = encode(state, 9).unwrap();
        assert_eq!(
            bytes[..28],
            [
                b'H', b'P', b'R', b'1', 9, 0, 0, 0, 2, 4, 0x04, 0x06, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0, 0, 0, 0, 0, 0
            ]
        );
    }

    #[test]
    fn a_damaged_record_is_none() {
        for state in states() {
            let (bytes, _) = encode(state, 77).unwrap();
            for bit in 0..8 * RECORD_LEN {
                let mut damaged = bytes;
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&damaged), None);
            }
        }
        assert_eq!(decode(&[0xFF; RECORD_LEN]), None);
        assert_eq!(decode(&[0; RECORD_LEN]), None);
    }

    #[test]
    fn a_record_torn_in_one_word_is_none_whatever_that_word_reads_as() {
        for state in states() {
            let (bytes, _) = encode(state, 3).unwrap();
            for word in 0..8 {
                // Words in front are written, those behind erased; in the torn one any of the bits to clear may be left set.
                for left in 0..2_u32.pow(12) {
                    let spread = left.wrapping_mul(0x9E37_79B9) | left;
                    let mut torn = [0xFF; RECORD_LEN];
                    torn[..4 * word].copy_from_slice(&bytes[..4 * word]);
                    for i in 0..4 {
                        torn[4 * word + i] = bytes[4 * word + i] | spread.to_le_bytes()[i];
                    }
                    if torn == bytes {
                        continue;
                    }
                    assert_eq!(decode(&torn), None, "word {word}");
                }
            }
        }
    }
}
