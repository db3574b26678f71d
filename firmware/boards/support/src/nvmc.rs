//! The nRF51's flash by its controller, the NVMC, which QEMU's microbit has a model of: pages of 1 KiB are erased to ones, words are
//! programmed from ones to zeros. The core stands still meanwhile on the chip; the emulator takes no time for it.
#![expect(
    unsafe_code,
    reason = "registers, and flash that belongs to no section, are reached through their addresses"
)]

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};

use crate::registers::Register;

// SAFETY: by the reference manual of the nRF51 these are the registers READY, CONFIG and ERASEPAGE of its NVMC, which move no memory; what
// they write is flash, and the only flash that is written through them belongs to no section ([`crate::window::Window`]).
const READY: Register = unsafe { Register::at(0x4001_E400) };
// SAFETY: as above.
const CONFIG: Register = unsafe { Register::at(0x4001_E504) };
// SAFETY: as above.
const ERASE_PAGE: Register = unsafe { Register::at(0x4001_E508) };

const READ_ONLY: u32 = 0;
const WRITE: u32 = 1;
const ERASE: u32 = 2;

/// Bytes of a page.
const PAGE: u32 = 1024;

/// The flash from address 0 on, of which nothing below `from` is erased or written.
#[derive(Debug)]
pub struct Nvmc {
    from: u32,
    length: u32,
}

impl Nvmc {
    /// The flash of a chip with `length` bytes of it; what may be written is the policy slot, from `from` on.
    ///
    /// # Safety
    /// The board has an nRF51, and its flash between `from` and `length` belongs to no section of `memory.x`.
    pub const unsafe fn new(from: u32, length: u32) -> Self {
        Self { from, length }
    }

    fn check(
        &self,
        from: u32,
        offset: u32,
        length: usize,
        align: u32,
    ) -> Result<u32, NorFlashErrorKind> {
        let length = u32::try_from(length).map_err(|_| NorFlashErrorKind::OutOfBounds)?;
        let end = offset.checked_add(length);
        if offset < from || end.is_none_or(|end| end > self.length) {
            return Err(NorFlashErrorKind::OutOfBounds);
        }
        if !offset.is_multiple_of(align) || !length.is_multiple_of(align) {
            return Err(NorFlashErrorKind::NotAligned);
        }
        Ok(length)
    }
}

/// Waits until the controller has done what it was told to.
fn wait() {
    while READY.read() & 1 == 0 {}
}

impl ErrorType for Nvmc {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Nvmc {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        self.check(0, offset, bytes.len(), 1)?;
        for (place, to) in (offset..).zip(bytes) {
            // SAFETY: mapped flash, inside the bounds. Volatile, since it changes behind the compiler's back.
            *to = unsafe { (place as *const u8).read_volatile() };
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.length as usize
    }
}

impl NorFlash for Nvmc {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        let length = to.checked_sub(from).ok_or(NorFlashErrorKind::OutOfBounds)?;
        self.check(self.from, from, length as usize, PAGE)?;
        CONFIG.write(ERASE);
        let mut page = from;
        while page < to {
            ERASE_PAGE.write(page);
            wait();
            page += PAGE;
        }
        CONFIG.write(READ_ONLY);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        self.check(self.from, offset, bytes.len(), 4)?;
        CONFIG.write(WRITE);
        let (words, _) = bytes.as_chunks::<4>();
        for (place, word) in (offset..).step_by(4).zip(words) {
            // SAFETY: flash that belongs to no section, by the contract of `new`; aligned, inside the bounds.
            unsafe { Register::at(place) }.write(u32::from_le_bytes(*word));
            wait();
        }
        CONFIG.write(READ_ONLY);
        Ok(())
    }
}
