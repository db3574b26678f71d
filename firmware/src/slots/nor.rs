//! A model of NOR flash in RAM, for tests on the host and for emulated boards.
//!
//! It enforces what flash enforces: sectors are erased whole, to ones; what is written must be aligned and erased, and is
//! written once. It charges the datasheet's times, and stalls the core where the part does. And it loses power: at any unit that is
//! programmed and any sector that is erased, with the torn place reading as one of [`Torn`].

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

use super::SlotFlash;

/// What a datasheet says of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Name.
    pub name: &'static str,
    /// Bytes that are programmed by one operation, which a power cut tears.
    pub unit: u32,
    /// Longest time to program a unit, in microseconds.
    pub program_us: u32,
    /// Longest time to erase a sector, in microseconds.
    pub erase_us: u32,
    /// Whether the core cannot fetch instructions from this flash meanwhile.
    pub stalls: bool,
}

/// STM32F405/407 (DS8626): words, 100 us at most; a sector of 128 KiB 2 s at most with 32-bit parallelism. One bank: the core stalls.
pub const STM32F4: Part = Part {
    name: "stm32f4",
    unit: 4,
    program_us: 100,
    erase_us: 2_000_000,
    stalls: true,
};

/// nRF52840 (product specification, NVMC): a word 41 us, a page of 4 KiB 85 ms. The core stalls if it runs from flash.
pub const NRF52840: Part = Part {
    name: "nrf52840",
    unit: 4,
    program_us: 41,
    erase_us: 85_000,
    stalls: true,
};

/// nRF51822 (product specification, NVMC): a word 46.3 us, a page of 1 KiB 22.3 ms. The core stalls.
pub const NRF51822: Part = Part {
    name: "nrf51822",
    unit: 4,
    program_us: 47,
    erase_us: 22_300,
    stalls: true,
};

/// RP2350 with a W25Q32JV as on the Pico 2: a page of 256 bytes 3 ms at most, a sector of 4 KiB 400 ms at most. The core cannot
/// run from that flash meanwhile.
pub const RP2350: Part = Part {
    name: "rp2350",
    unit: 256,
    program_us: 3_000,
    erase_us: 400_000,
    stalls: true,
};

/// What a place reads as after the power went while it was programmed or erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// As before. It was touched all the same and does not take data before it is erased again.
    Old,
    /// As meant.
    New,
    /// Programming: of the bits to clear, those set in this pattern are still ones (repeated over the unit). Erasing: of the
    /// bits to set, those set in this pattern are ones already.
    Part(u32),
    /// Not at all: an error until the place is erased (parts with error correction).
    Unreadable,
    /// As something else at each reading, between old and new.
    Unstable,
    /// Erasing: the front half of the sector as meant, the rest as before. Programming: as [`Torn::Old`].
    Half,
}

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NorError {
    /// Not aligned.
    NotAligned,
    /// Outside the flash.
    OutOfBounds,
    /// Something is to be written that is not erased: a mistake of the caller.
    NotErased,
    /// Torn data that cannot be read.
    Unreadable,
    /// The power is gone.
    PowerCut,
}

impl NorFlashError for NorError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            NorError::NotAligned => NorFlashErrorKind::NotAligned,
            NorError::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            _ => NorFlashErrorKind::Other,
        }
    }
}

/// A byte was programmed since it was erased.
const PROGRAMMED: u8 = 1;
/// A byte reads as an error.
const UNREADABLE: u8 = 2;
/// A byte reads as its value or with more ones.
const UNSTABLE: u8 = 4;
/// A byte was torn: programming it again makes it unreadable.
const WEAK: u8 = 8;

/// The model: `WRITE` bytes are the least that is written, `ERASE` bytes a sector.
#[derive(Debug)]
pub struct Nor<'m, const WRITE: usize, const ERASE: usize> {
    bytes: &'m mut [u8],
    marks: &'m mut [u8],
    part: Part,
    busy: fn(u32),
    cut: Option<(u64, Torn)>,
    powered: bool,
    operations: u64,
    busy_us: u64,
    mistakes: u32,
    noise: u32,
}

impl<'m, const WRITE: usize, const ERASE: usize> Nor<'m, WRITE, ERASE> {
    /// A flash over `bytes` as they are, with as many `marks` as they are left from the time before, zeros for a new one.
    /// `busy` is called with microseconds during which the core stalls.
    #[must_use]
    pub fn new(bytes: &'m mut [u8], marks: &'m mut [u8], part: Part, busy: fn(u32)) -> Self {
        Self {
            bytes,
            marks,
            part,
            busy,
            cut: None,
            powered: true,
            operations: 0,
            busy_us: 0,
            mistakes: 0,
            noise: 0x9E37_79B9,
        }
    }

    /// The power will go in the `operation`-th unit programmed or sector erased from now on, counted from 0.
    pub fn cut_power_at(&mut self, operation: u64, torn: Torn) {
        self.cut = Some((self.operations + operation, torn));
    }

    /// Changes what unstable places read as from now on; a model always begins with the same seed.
    pub fn reseed(&mut self, seed: u32) {
        self.noise = seed | 1;
    }

    /// Whether the power is still there.
    #[must_use]
    pub const fn is_powered(&self) -> bool {
        self.powered
    }

    /// Units programmed and sectors erased, the torn one included.
    #[must_use]
    pub const fn operations(&self) -> u64 {
        self.operations
    }

    /// Time spent erasing and programming, in microseconds.
    #[must_use]
    pub const fn busy_us(&self) -> u64 {
        self.busy_us
    }

    /// Times that something was to be written that reads as not erased.
    #[must_use]
    pub const fn mistakes(&self) -> u32 {
        self.mistakes
    }

    /// The bytes as the core would read them through their addresses, of a place without torn data; `None` if it has any.
    #[must_use]
    pub fn mapped(&self, offset: u32, length: u32) -> Option<&[u8]> {
        let range = range(offset, length as usize);
        let marks = all(self.marks.get(range.clone())?);
        if marks & (UNREADABLE | UNSTABLE) != 0 {
            return None;
        }
        self.bytes.get(range)
    }

    /// xorshift32
    fn random(&mut self) -> u32 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 17;
        self.noise ^= self.noise << 5;
        self.noise
    }

    /// Counts an operation and its time; gives how it is torn if the power goes in it.
    fn operate(&mut self, us: u32) -> Option<Torn> {
        let torn = self
            .cut
            .filter(|(at, _)| *at == self.operations)
            .map(|(_, torn)| torn);
        self.operations += 1;
        self.busy_us += u64::from(us);
        if self.part.stalls {
            (self.busy)(us);
        }
        if torn.is_some() {
            self.powered = false;
        }
        torn
    }

    fn program(&mut self, at: usize, data: &[u8]) -> Result<(), NorError> {
        let torn = self.operate(self.part.program_us);
        let (bytes, marks) = self.places(at, data.len());
        if torn.is_none() && all(marks) & WEAK == 0 {
            // As always, and without a branch for each byte.
            for ((byte, mark), &new) in bytes.iter_mut().zip(marks).zip(data) {
                *byte &= new;
                *mark |= PROGRAMMED;
            }
            return Ok(());
        }
        let places = bytes.iter_mut().zip(marks);
        for (index, ((byte, mark), &new)) in places.zip(data).enumerate() {
            let weak = *mark & WEAK != 0;
            *mark |= PROGRAMMED;
            match torn {
                None if weak => *mark |= UNREADABLE,
                None | Some(Torn::New) => *byte &= new,
                Some(Torn::Old | Torn::Half) => {}
                Some(Torn::Part(left)) => *byte &= new | lane(left, index),
                Some(Torn::Unreadable) => *mark |= UNREADABLE,
                Some(Torn::Unstable) => {
                    *byte &= new;
                    *mark |= UNSTABLE;
                }
            }
            if torn.is_some() {
                *mark |= WEAK;
            }
        }
        torn.map_or(Ok(()), |_| Err(NorError::PowerCut))
    }

    fn erase_sector(&mut self, at: usize) -> Result<(), NorError> {
        let torn = self.operate(self.part.erase_us);
        let (bytes, marks) = self.places(at, ERASE);
        let Some(torn) = torn else {
            bytes.fill(0xFF);
            marks.fill(0);
            return Ok(());
        };
        for (index, (byte, mark)) in bytes.iter_mut().zip(marks).enumerate() {
            match torn {
                Torn::New => (*byte, *mark) = (0xFF, WEAK),
                Torn::Old => *mark |= WEAK,
                Torn::Half if index < ERASE / 2 => (*byte, *mark) = (0xFF, WEAK),
                Torn::Half => *mark |= WEAK,
                Torn::Part(set) => {
                    *byte |= lane(set, index);
                    *mark |= WEAK;
                }
                Torn::Unreadable => *mark |= WEAK | UNREADABLE,
                Torn::Unstable => *mark |= WEAK | UNSTABLE,
            }
        }
        Err(NorError::PowerCut)
    }

    /// Bytes and marks from `at` on.
    fn places(&mut self, at: usize, length: usize) -> (&mut [u8], &mut [u8]) {
        let range = at..at.saturating_add(length);
        let bytes = self.bytes.get_mut(range.clone()).unwrap_or_default();
        (bytes, self.marks.get_mut(range).unwrap_or_default())
    }

    fn check(&self, offset: u32, length: usize, align: usize) -> Result<(), NorError> {
        if !self.powered {
            return Err(NorError::PowerCut);
        }
        let start = offset as usize;
        if !start.is_multiple_of(align) || !length.is_multiple_of(align) {
            return Err(NorError::NotAligned);
        }
        if length > self.bytes.len() || start > self.bytes.len() - length {
            return Err(NorError::OutOfBounds);
        }
        Ok(())
    }
}

impl<const WRITE: usize, const ERASE: usize> ErrorType for Nor<'_, WRITE, ERASE> {
    type Error = NorError;
}

impl<const WRITE: usize, const ERASE: usize> ReadNorFlash for Nor<'_, WRITE, ERASE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorError> {
        self.check(offset, bytes.len(), 1)?;
        let range = range(offset, bytes.len());
        let marks = all(self.marks.get(range.clone()).unwrap_or_default());
        if marks & UNREADABLE != 0 {
            return Err(NorError::Unreadable);
        }
        let noise = (marks & UNSTABLE != 0).then(|| self.random());
        let marks = self.marks.get(range.clone()).unwrap_or_default();
        let stored = self.bytes.get(range).unwrap_or_default();
        let Some(noise) = noise else {
            for (to, from) in bytes.iter_mut().zip(stored) {
                *to = *from;
            }
            return Ok(());
        };
        for (index, ((to, from), mark)) in bytes.iter_mut().zip(stored).zip(marks).enumerate() {
            *to = match noise % 3 {
                _ if mark & UNSTABLE == 0 => *from,
                // As meant a third of the time, as before a third, in between a third.
                0 => *from,
                1 => 0xFF,
                _ => *from | lane(noise, index),
            };
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WRITE: usize, const ERASE: usize> NorFlash for Nor<'_, WRITE, ERASE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorError> {
        let length = to.checked_sub(from).ok_or(NorError::OutOfBounds)? as usize;
        self.check(from, length, ERASE)?;
        (0..length / ERASE).try_for_each(|sector| self.erase_sector(from as usize + sector * ERASE))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorError> {
        self.check(offset, bytes.len(), WRITE)?;
        let range = range(offset, bytes.len());
        let places = self.bytes.get(range.clone()).unwrap_or_default();
        let marks = self.marks.get(range).unwrap_or_default();
        // What was torn may read as erased: nobody can know.
        let written = |any, (byte, mark): (&u8, &u8)| {
            let was = (mark & (WEAK | PROGRAMMED) == PROGRAMMED)
                | ((mark & UNSTABLE == 0) & (*byte != 0xFF));
            any | was
        };
        if places.iter().zip(marks).fold(false, written) {
            self.mistakes += 1;
            return Err(NorError::NotErased);
        }
        // Operations end at multiples of the unit.
        let unit = (self.part.unit as usize).max(1);
        let (mut at, mut rest) = (offset as usize, bytes);
        while !rest.is_empty() {
            let room = unit - at % unit;
            let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            self.program(at, now)?;
            at += now.len();
            rest = later;
        }
        Ok(())
    }
}

impl<const WRITE: usize, const ERASE: usize> SlotFlash for Nor<'_, WRITE, ERASE> {
    fn stalls(&self) -> bool {
        self.part.stalls
    }
}

/// The marks of all the bytes together.
fn all(marks: &[u8]) -> u8 {
    marks.iter().fold(0, |all, mark| all | mark)
}

fn range(offset: u32, length: usize) -> core::ops::Range<usize> {
    let start = offset as usize;
    start..start.saturating_add(length)
}

/// The byte of a repeated pattern of four at `index`.
fn lane(pattern: u32, index: usize) -> u8 {
    let [a, b, c, d] = pattern.to_le_bytes();
    match index % 4 {
        0 => a,
        1 => b,
        2 => c,
        _ => d,
    }
}
