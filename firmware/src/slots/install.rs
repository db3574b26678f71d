//! Installing a policy to the slot that is not confirmed.

use crate::Fault;

use super::log::Erase;
use super::record::{Other, Slot, State};
use super::{Region, SlotFlash, Slots};

/// Bytes that are written at once: a page of the largest part, a multiple of what every part writes.
const BLOCK: usize = 256;

/// Whether actuators may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// The loop stands still, outputs are safe.
    Disarmed,
    /// The loop runs.
    Armed,
}

/// An installation under way: made by [`Slots::begin`], used up by [`Slots::finish`].
#[derive(Debug)]
pub struct Install {
    session: u32,
    slot: Slot,
    length: u32,
    written: u32,
    block: [u8; BLOCK],
    filled: usize,
}

impl Install {
    /// The slot that is written.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Bytes taken so far: the offset of the next one.
    #[must_use]
    pub const fn taken(&self) -> u32 {
        self.written.saturating_add(self.filled as u32)
    }
}

impl<F: SlotFlash> Slots<F> {
    /// Begins to install a policy of `length` bytes to the slot that is not confirmed, and erases what it needs of it.
    ///
    /// First a record says that this slot is worth nothing; only then it is erased. An earlier installation that was not finished is
    /// over. The policy that runs is not touched, nor is the confirmed one.
    ///
    /// # Errors
    /// Before anything is written: [`Fault::ON_TRIAL`], because the policy on trial runs from this slot (a reverted one until the next start);
    /// [`Fault::SLOT_TOO_SMALL`]; [`Fault::ARMED`] on a part whose core stands still while it erases;
    /// [`Fault::INCOMPLETE`] before [`Slots::start`]. Else [`Fault::FLASH_FAILED`].
    pub fn begin(&mut self, length: u32, activity: Activity) -> Result<Install, Fault> {
        if !self.started() {
            return Err(Fault::INCOMPLETE);
        }
        let slot = self.state.candidate();
        if self.runs_from(slot) {
            return Err(Fault::ON_TRIAL);
        }
        let region = self.layout.slot(slot);
        if length > region.length {
            return Err(Fault::SLOT_TOO_SMALL);
        }
        if activity == Activity::Armed && self.flash.stalls() {
            return Err(Fault::ARMED);
        }
        // Written even if the newest record says so already: that one may have been torn, and read well by chance.
        self.record(
            State {
                other: Other::Void,
                floor: self.state.floor.max(self.confirmed_counter()),
                ..self.state
            },
            Erase::Allowed,
        )?;
        self.erase(region, length)?;
        self.session = self.session.wrapping_add(1);
        Ok(Install {
            session: self.session,
            slot,
            length,
            written: 0,
            block: [0xFF; BLOCK],
            filled: 0,
        })
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Fault::INCOMPLETE`] for more bytes than announced or an installation that another one has ended;
    /// [`Fault::FLASH_FAILED`].
    pub fn write(&mut self, install: &mut Install, bytes: &[u8]) -> Result<(), Fault> {
        let left = install.length.saturating_sub(install.taken());
        if install.session != self.session || bytes.len() > left as usize {
            return Err(Fault::INCOMPLETE);
        }
        for &byte in bytes {
            if let Some(place) = install.block.get_mut(install.filled) {
                *place = byte;
                install.filled += 1;
            }
            if install.filled == BLOCK {
                self.flush(install)?;
            }
        }
        Ok(())
    }

    /// Ends an installation: the whole policy is read back and given to `check`, which does what the boot will do (signature, content,
    /// target class, golden vectors) and gives the policy's anti-rollback counter. Then a record says that it is ready; the
    /// next [`Slots::start`] tries it.
    ///
    /// # Errors
    /// [`Fault::INCOMPLETE`] if bytes are missing; the fault of `check`; [`Fault::ROLLBACK`] if its counter is below that of the
    /// policy confirmed last; [`Fault::FLASH_FAILED`]. The slot is worth nothing then.
    pub fn finish(
        &mut self,
        mut install: Install,
        mut check: impl FnMut(&F, Region) -> Result<u32, Fault>,
    ) -> Result<(), Fault> {
        if install.session != self.session || install.taken() != install.length {
            return Err(Fault::INCOMPLETE);
        }
        if install.filled > 0 {
            self.flush(&mut install)?;
        }
        self.session = self.session.wrapping_add(1);
        self.check_readable(install.slot)?;
        let counter = check(&self.flash, self.layout.slot(install.slot))?;
        if counter < self.state.floor {
            return Err(Fault::ROLLBACK);
        }
        self.record(
            State {
                other: Other::Ready,
                ..self.state
            },
            Erase::Allowed,
        )
    }

    /// Writes the block, filled up with what erased flash reads as to a multiple of what the part writes at once.
    fn flush(&mut self, install: &mut Install) -> Result<(), Fault> {
        let region = self.layout.slot(install.slot);
        let at = region.offset.saturating_add(install.written);
        let length = install.filled.next_multiple_of(F::WRITE_SIZE).min(BLOCK);
        let block = install.block.get(..length).unwrap_or_default();
        self.flash
            .write(at, block)
            .map_err(|_| Fault::FLASH_FAILED)?;
        install.written = install.taken();
        install.filled = 0;
        install.block = [0xFF; BLOCK];
        Ok(())
    }

    fn erase(&mut self, region: Region, length: u32) -> Result<(), Fault> {
        let sector = F::ERASE_SIZE as u32;
        let mut at = region.offset;
        let end = region.offset.saturating_add(length);
        while at < end {
            // One at a time, so that a watchdog that the flash driver feeds is fed between two.
            let next = at.saturating_add(sector);
            self.flash
                .erase(at, next)
                .map_err(|_| Fault::FLASH_FAILED)?;
            at = next;
        }
        Ok(())
    }
}
