//! The fault record: what is known after a reset.

use crate::fault::Fault;

/// Words of a [`FaultRecord`] in memory.
pub const RECORD_WORDS: usize = 6;

/// `HPO` and the layout's version.
const MAGIC: u32 = 0x0148_504F;

/// First and last fault with counters, to be kept in memory that a reset leaves alone.
///
/// A board keeps [`RECORD_WORDS`] words where no start-up code writes (a `.uninit` section, backup registers), reads them with
/// volatile accesses at the start, and writes them back whenever [`FaultRecord::note`] changed something. What power-on left
/// there is told from a record by magic and CRC-32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRecord {
    first: Option<Fault>,
    last: Option<Fault>,
    pending: Option<Fault>,
    faults: u32,
    resets: u32,
}

impl FaultRecord {
    /// A record without faults.
    pub const EMPTY: Self = Self {
        first: None,
        last: None,
        pending: None,
        faults: 0,
        resets: 0,
    };

    /// The record in `words`, or an empty one if they do not hold any.
    ///
    /// Words: magic, first fault with the last one in the upper half, number of faults, number of resets, pending fault,
    /// CRC-32 of the others.
    #[must_use]
    pub fn load(words: &[u32; RECORD_WORDS]) -> Self {
        let &[magic, codes, faults, resets, pending, crc] = words;
        if magic != MAGIC || crc != crc_of(words) {
            return Self::default();
        }
        let fault = |code: u32| u16::try_from(code).ok().and_then(Fault::from_code);
        Self {
            first: fault(codes & 0xFFFF),
            last: fault(codes >> 16),
            pending: fault(pending),
            faults,
            resets,
        }
    }

    /// The record as words.
    #[must_use]
    pub fn words(&self) -> [u32; RECORD_WORDS] {
        let code = |fault| u32::from(Fault::code_of(fault));
        let codes = code(self.first) | code(self.last) << 16;
        let mut words = [
            MAGIC,
            codes,
            self.faults,
            self.resets,
            code(self.pending),
            0,
        ];
        let crc = crc_of(&words);
        if let Some(last) = words.last_mut() {
            *last = crc;
        }
        words
    }

    /// Adds a fault.
    pub fn note(&mut self, fault: Fault) {
        self.first.get_or_insert(fault);
        self.last = Some(fault);
        self.faults = self.faults.saturating_add(1);
    }

    /// Adds a fault that lasts: the next start begins with it, until it is acknowledged.
    pub fn latch(&mut self, fault: Fault) {
        self.note(fault);
        self.pending.get_or_insert(fault);
    }

    /// Somebody has seen the pending fault.
    pub fn acknowledge(&mut self) {
        self.pending = None;
    }

    /// The fault that the next start begins with.
    #[must_use]
    pub const fn pending(&self) -> Option<Fault> {
        self.pending
    }

    /// Adds a reset that `fault` caused; it is pending then. For the watchdog's reset, and for fault handlers that end in
    /// one.
    pub fn note_reset(&mut self, fault: Fault) {
        self.note(fault);
        self.pending = Some(fault);
        self.resets = self.resets.saturating_add(1);
    }

    /// The first fault since the record was cleared (by power-on or by hand).
    #[must_use]
    pub const fn first(&self) -> Option<Fault> {
        self.first
    }

    /// The last fault.
    #[must_use]
    pub const fn last(&self) -> Option<Fault> {
        self.last
    }

    /// Number of faults.
    #[must_use]
    pub const fn faults(&self) -> u32 {
        self.faults
    }

    /// Number of resets that a fault caused.
    #[must_use]
    pub const fn resets(&self) -> u32 {
        self.resets
    }
}

/// CRC-32 (ISO-HDLC) of all words but the last, little-endian, bit by bit: it is needed a few times in a device's life.
fn crc_of(words: &[u32; RECORD_WORDS]) -> u32 {
    let mut crc = u32::MAX;
    for word in words.iter().take(RECORD_WORDS - 1) {
        for byte in word.to_le_bytes() {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
            }
        }
    }
    !crc
}
