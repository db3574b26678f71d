//! Installing a policy to the slot that is not confirmed.

use crate::Fault;

use super::log::Erase;
use super::record::{Identity, Other, RECORD_LEN, Slot, State};
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
        let (slot, region) = self.admit(length, activity)?;
        self.note(Other::Void, activity)?;
        self.erase(region, 0, length)?;
        Ok(self.installation(slot, length, 0))
    }

    /// As [`Slots::begin`], for a host that can go on after a reset: when the newest record says that the policy of this `identity` was
    /// being installed, everything in front of the sector written last is kept, and only what lies behind is erased.
    /// [`Install::taken`] says where to go on. From a slot that was erased ([`Slots::prepare`]) nothing is erased, so that this is
    /// allowed while the loop is armed.
    ///
    /// Only after the whole policy's room is erased does a record say that it is being installed: until then a power cut in the
    /// erasure leaves sectors of an older policy, which must not be taken for ones that this host has written.
    ///
    /// # Errors
    /// As [`Slots::begin`]; [`Fault::ARMED`] also if a sector of records would have to be erased.
    pub fn resume(&mut self, identity: Identity, activity: Activity) -> Result<Install, Fault> {
        let length = identity.length;
        let erased = self.state.other == Other::Erased;
        // An erased slot asks for no erasure.
        let admitted = if erased { Activity::Disarmed } else { activity };
        let (slot, region) = self.admit(length, admitted)?;
        let installing = Other::Installing(identity);
        let whole = if erased {
            self.note(installing, activity)?;
            0
        } else if self.state.other == installing {
            let whole = self.whole_sectors(region, length);
            // Written even if the newest record says so already, as by `begin`.
            self.note(installing, activity)?;
            self.erase(region, whole, length)?;
            whole
        } else {
            self.note(Other::Void, activity)?;
            self.erase(region, 0, length)?;
            self.note(installing, activity)?;
            0
        };
        Ok(self.installation(slot, length, whole))
    }

    /// Erases the whole slot that is not confirmed and notes it, so that the next installation can begin while the loop is armed.
    ///
    /// # Errors
    /// As [`Slots::begin`].
    pub fn prepare(&mut self, activity: Activity) -> Result<(), Fault> {
        let (_, region) = self.admit(0, activity)?;
        self.session = self.session.wrapping_add(1);
        self.note(Other::Void, activity)?;
        self.erase(region, 0, region.length)?;
        self.note(Other::Erased, activity)
    }

    /// The slot to install to, if a policy of this length may be installed now.
    fn admit(&self, length: u32, activity: Activity) -> Result<(Slot, Region), Fault> {
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
        Ok((slot, region))
    }

    /// Records what the other slot is worth from now on. Written even if the newest record says so already: that one may have
    /// been torn, and read well by chance.
    ///
    /// While a sector may be erased, room is made for the records that follow while none may be: the end of an installation into an
    /// armed device, a confirmation, a reversion.
    fn note(&mut self, other: Other, activity: Activity) -> Result<(), Fault> {
        let state = State {
            other,
            floor: self.floor(),
            ..self.state
        };
        if activity == Activity::Armed && self.flash.stalls() {
            if !self.log.has_room() {
                return Err(Fault::ARMED);
            }
            return self.record(state, Erase::Never);
        }
        self.log.reserve(&mut self.flash, self.state)?;
        self.record(state, Erase::Allowed)
    }

    fn installation(&mut self, slot: Slot, length: u32, written: u32) -> Install {
        self.session = self.session.wrapping_add(1);
        Install {
            session: self.session,
            slot,
            length,
            written,
            block: [0xFF; BLOCK],
            filled: 0,
        }
    }

    /// Bytes at the start of an installation broken off that are surely as they were written: the sectors in front of the last one
    /// that does not read as erased, as far as none of them ends erased.
    ///
    /// Bytes are written in order, so that what a write tore lies in that last sector, or reads as erased and lies behind. An erasure
    /// by [`Slots::resume`] goes from front to back as well: one that was cut leaves erased sectors in front of the torn one, and
    /// those end erased. A sector of a policy that ends in ones is taken for such a one, which costs its transfer only.
    fn whole_sectors(&mut self, region: Region, length: u32) -> u32 {
        let sector = F::ERASE_SIZE as u32;
        let mut at = length.next_multiple_of(RECORD_LEN as u32);
        loop {
            let Some(before) = at.checked_sub(RECORD_LEN as u32) else {
                return 0;
            };
            at = before;
            if self.reads_erased(region, at) != Some(true) {
                break;
            }
        }
        let last = at - at.checked_rem(sector).unwrap_or(at);
        let mut whole = 0;
        while whole < last {
            let next = whole.saturating_add(sector);
            if self.reads_erased(region, next.saturating_sub(RECORD_LEN as u32)) != Some(false) {
                break;
            }
            whole = next;
        }
        whole
    }

    /// Whether the piece of [`RECORD_LEN`] bytes at `at` of a region reads as erased; `None` if it cannot be read.
    fn reads_erased(&mut self, region: Region, at: u32) -> Option<bool> {
        let mut piece = [0; RECORD_LEN];
        let at = region.offset.saturating_add(at);
        self.flash.read(at, &mut piece).ok()?;
        Some(piece == [0xFF; RECORD_LEN])
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
        install: Install,
        check: impl FnMut(&F, Region) -> Result<u32, Fault>,
    ) -> Result<(), Fault> {
        self.finish_while(Activity::Disarmed, install, check)
    }

    /// As [`Slots::finish`], also while the loop is armed: nothing is erased then. A policy that `check` refuses is not gone on with.
    ///
    /// # Errors
    /// As [`Slots::finish`]; [`Fault::ARMED`] if a sector of records would have to be erased.
    pub fn finish_while(
        &mut self,
        activity: Activity,
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
        let checked = self.check_readable(install.slot).and_then(|()| {
            let counter = check(&self.flash, self.layout.slot(install.slot))?;
            if counter < self.state.floor {
                return Err(Fault::ROLLBACK);
            }
            Ok(())
        });
        if let Err(fault) = checked {
            if let Other::Installing(_) = self.state.other {
                // Should the record fail, the host goes on with bytes that are refused once more.
                let _ = self.note(Other::Void, activity);
            }
            return Err(fault);
        }
        self.note(Other::Ready, activity)
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

    /// Erases the sectors of a region from `from`, a multiple of theirs, until `length` bytes are.
    fn erase(&mut self, region: Region, from: u32, length: u32) -> Result<(), Fault> {
        let sector = F::ERASE_SIZE as u32;
        let mut at = region.offset.saturating_add(from);
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
