//! The log of records in two sectors: appended to one of them until it is full, then the other one is erased and taken.

use embedded_storage::nor_flash::NorFlash;

use crate::Fault;

use super::Region;
use super::record::{RECORD_LEN, State, decode, encode};

/// Places that a start leaves free in the sector in use, so that nothing is erased until the next one: a trial needs two, and a
/// record that does not read back takes one more.
const RESERVE: u32 = 8;
/// Records that are tried, each in a place of its own, until one reads back.
const ATTEMPTS: u32 = 4;
/// Times that a record has to read the same before a start believes it: one that the power cut tore may read well by chance.
const READINGS: u32 = 16;

/// Whether a sector may be erased to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erase {
    /// If need be.
    Allowed,
    /// The loop may be armed.
    Never,
}

/// Where the next record goes.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    sectors: [Region; 2],
    /// The sector in use; `None` before the first record.
    sector: Option<usize>,
    /// The sector that holds the newest valid record, which is never erased.
    holder: Option<usize>,
    /// First place behind everything that was touched in the sector in use.
    next: u32,
    /// Greatest sequence number that a place in the sector in use may hold.
    sequence: u32,
}

impl Log {
    /// Reads both sectors; gives the state of the newest valid record, if there is one. A place that cannot be read is one
    /// that was touched.
    pub fn mount<F: NorFlash>(flash: &mut F, sectors: [Region; 2]) -> (Self, Option<State>) {
        let mut log = Self {
            sectors,
            sector: None,
            holder: None,
            next: 0,
            sequence: 0,
        };
        let mut newest: Option<(State, u32)> = None;
        for (index, sector) in sectors.iter().enumerate() {
            let (best, touched) = steadiest(flash, *sector);
            if let Some((state, sequence, place)) = best
                && newest.is_none_or(|(_, least)| sequence > least)
            {
                newest = Some((state, sequence));
                log.sector = Some(index);
                log.holder = Some(index);
                log.next = touched;
                // Every place behind the newest record may have been meant for one more number, and so may the attempts that were
                // made in the other sector. A torn record that becomes readable later must not have the number of another one.
                let behind = touched.saturating_sub(place + 1).saturating_add(ATTEMPTS);
                log.sequence = sequence.saturating_add(2 * behind);
            }
        }
        (log, newest.map(|(state, _)| state))
    }

    /// Whether there is no record yet.
    pub const fn is_empty(&self) -> bool {
        self.holder.is_none()
    }

    /// Appends a record and reads it back; a place that does not take it is left, and the next one tried, in the end, if it may be
    /// erased, in the other sector.
    ///
    /// # Errors
    /// [`Fault::FLASH_FAILED`] if no attempt succeeded, or a sector would have to be erased and may not.
    pub fn append<F: NorFlash>(
        &mut self,
        flash: &mut F,
        state: State,
        erase: Erase,
    ) -> Result<(), Fault> {
        for attempt in 1..=ATTEMPTS {
            if attempt == ATTEMPTS
                && erase == Erase::Allowed
                && let Some(sector) = self.in_use()
            {
                // An erasure that the power cut short may have left a whole sector that takes no data beside a record that reads well.
                self.next = places(sector);
            }
            let sector = self.room(flash, erase)?;
            let (record, sequence) =
                encode(state, self.sequence.saturating_add(1)).ok_or(Fault::FLASH_FAILED)?;
            let at = offset(sector, self.next);
            self.next += 1;
            self.sequence = sequence;
            let written = flash.write(at, &record).is_ok();
            let mut back = [0; RECORD_LEN];
            if written && flash.read(at, &mut back).is_ok() && back == record {
                self.holder = self.sector;
                return Ok(());
            }
        }
        Err(Fault::FLASH_FAILED)
    }

    /// Whether a record, and another one should it not read back, can be written without erasing anything.
    pub fn has_room(&self) -> bool {
        self.in_use()
            .is_some_and(|sector| self.next.saturating_add(2) <= places(sector))
    }

    /// Takes the other sector for the present state if fewer than [`RESERVE`] places are left in this one.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn reserve<F: NorFlash>(&mut self, flash: &mut F, state: State) -> Result<(), Fault> {
        let Some(sector) = self.in_use() else {
            return Ok(());
        };
        if self.next.saturating_add(RESERVE) <= places(sector) {
            return Ok(());
        }
        self.next = places(sector);
        self.append(flash, state, Erase::Allowed)
    }

    /// The sector for the next record, with a free place.
    ///
    /// The other sector is erased whatever it reads as: an erasure that the power cut short may leave words that read as erased
    /// and do not take a record. Only older records are lost, because this is followed by a newer one or done again.
    fn room<F: NorFlash>(&mut self, flash: &mut F, erase: Erase) -> Result<Region, Fault> {
        if let Some(sector) = self.in_use()
            && self.next < places(sector)
        {
            return Ok(sector);
        }
        if erase == Erase::Never {
            return Err(Fault::FLASH_FAILED);
        }
        let index = match self.holder {
            Some(0) => 1,
            _ => 0,
        };
        if self.holder.is_none()
            && let Some(other) = self.sectors.get(index ^ 1)
        {
            // Numbers begin anew: nothing that does not read as a record today may do so later, with a greater one.
            erase_all(flash, *other)?;
        }
        let sector = *self.sectors.get(index).ok_or(Fault::SLOT_LAYOUT)?;
        erase_all(flash, sector)?;
        self.sector = Some(index);
        self.next = 0;
        Ok(sector)
    }

    fn in_use(&self) -> Option<Region> {
        self.sectors.get(self.sector?).copied()
    }
}

/// The newest record of a sector that reads the same again and again, with number and place, and the first place behind everything
/// that was touched.
fn steadiest<F: NorFlash>(flash: &mut F, sector: Region) -> (Option<(State, u32, u32)>, u32) {
    let mut touched = 0;
    let mut below = u32::MAX;
    loop {
        let mut best: Option<(State, u32, u32)> = None;
        for place in 0..places(sector) {
            let mut bytes = [0; RECORD_LEN];
            let readable = flash.read(offset(sector, place), &mut bytes).is_ok();
            if readable && bytes == [0xFF; RECORD_LEN] {
                continue;
            }
            touched = touched.max(place + 1);
            if let Some((state, sequence)) = decode(&bytes).filter(|_| readable)
                && sequence < below
                && best.is_none_or(|(_, least, _)| sequence > least)
            {
                best = Some((state, sequence, place));
            }
        }
        let Some((state, sequence, place)) = best else {
            return (None, touched);
        };
        let steady = (1..READINGS).all(|_| {
            let mut bytes = [0; RECORD_LEN];
            flash.read(offset(sector, place), &mut bytes).is_ok()
                && decode(&bytes) == Some((state, sequence))
        });
        if steady {
            return (best, touched);
        }
        below = sequence;
    }
}

fn erase_all<F: NorFlash>(flash: &mut F, sector: Region) -> Result<(), Fault> {
    let end = sector.offset.saturating_add(sector.length);
    let erased = flash.erase(sector.offset, end);
    erased.map_err(|_| Fault::FLASH_FAILED)
}

fn places(sector: Region) -> u32 {
    sector.length / RECORD_LEN as u32
}

fn offset(sector: Region, place: u32) -> u32 {
    sector
        .offset
        .saturating_add(place.saturating_mul(RECORD_LEN as u32))
}
