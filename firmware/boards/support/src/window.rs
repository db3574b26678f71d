//! The flash that policy slots and records lie in: the part of a chip's flash that `memory.x` calls SLOT.

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use firmware::slots::SlotFlash;

use crate::slot;

/// A chip's flash, of which only the region of the slots can be reached.
pub struct Window<F> {
    flash: F,
    /// Offset of the region in the flash.
    base: u32,
    length: u32,
    /// Feeds the watchdog.
    feed: fn(),
}

impl<F: NorFlash> Window<F> {
    /// The slots' region of `flash`, whose first byte the core sees at `address`. `feed` feeds the watchdog before each sector is
    /// erased: an erasure that hangs is not fed, and many sectors take longer than it waits.
    pub fn new(flash: F, address: u32, feed: fn()) -> Self {
        let (start, length) = slot::region();
        Self {
            flash,
            base: start.saturating_sub(address),
            length,
            feed,
        }
    }

    /// Feeds the watchdog.
    pub fn feed(&self) {
        (self.feed)();
    }

    /// Where a place of the region lies in the flash; beyond it every flash refuses.
    fn place(&self, offset: u32, length: usize) -> u32 {
        let end = u32::try_from(length)
            .ok()
            .and_then(|l| offset.checked_add(l));
        match end {
            Some(end) if end <= self.length => self.base.saturating_add(offset),
            _ => u32::MAX,
        }
    }
}

impl<F: NorFlash> ErrorType for Window<F> {
    type Error = NorFlashErrorKind;
}

impl<F: NorFlash> ReadNorFlash for Window<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        let at = self.place(offset, bytes.len());
        self.flash.read(at, bytes).map_err(kind)
    }

    fn capacity(&self) -> usize {
        self.length as usize
    }
}

impl<F: NorFlash> NorFlash for Window<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        let length = to.saturating_sub(from);
        let at = self.place(from, length as usize);
        // `firmware::slots` erases one sector at a time.
        self.feed();
        let end = at.checked_add(length).unwrap_or(u32::MAX);
        self.flash.erase(at, end).map_err(kind)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        let at = self.place(offset, bytes.len());
        self.flash.write(at, bytes).map_err(kind)
    }
}

/// All boards of this project run from the flash that they write: the core stands still meanwhile.
impl<F: NorFlash> SlotFlash for Window<F> {
    fn stalls(&self) -> bool {
        true
    }
}

fn kind<E: embedded_storage::nor_flash::NorFlashError>(error: E) -> NorFlashErrorKind {
    error.kind()
}
