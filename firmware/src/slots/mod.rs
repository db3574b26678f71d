//! Two policy slots and a log of small records: a policy is replaced in the field, and whatever happens to the power, the old or
//! the new one runs.
//!
//! `docs/slots.md` has the algorithm as a table. In short: the *newest valid record* decides. It says which slot is confirmed and
//! what the other one is worth ([`Other`]); it is written last word last, never over another one, and before an operation that
//! makes the other slot unusable a fresh record says so. Flash is reached through [`embedded_storage`]'s `NorFlash`.
//!
//! ```text
//! slots.start(arm)                       boot: arms the candidate on trial, or the confirmed policy
//! trial.observe(command.fault())         each period on trial: Continue, Confirm or Revert
//! slots.confirm() / slots.revert(fault)  a record each, nothing is erased
//! slots.begin(length, ..), write, finish(check)   installs to the slot that is not confirmed
//! slots.resume(identity, ..)             begins, or goes on with the same policy after a reset
//! slots.prepare(..)                      erases that slot, so that an installation can begin while the loop is armed
//! ```
//!
//! `Installer` (feature `slots`) does this for a host behind the link; `SlotSession` is a device whose steps the host asks for as well.
//!
//! Nothing here is called in the control step. Nothing panics.

#[cfg(feature = "slots")]
mod hosted;
mod install;
mod log;
#[cfg(feature = "nor-model")]
pub mod nor;
mod record;
#[cfg(feature = "slots")]
mod remote;
mod start;
mod trial;

use embedded_storage::nor_flash::NorFlash;

use crate::Fault;

#[cfg(feature = "slots")]
pub use hosted::{SHORT_TRIAL, SlotSession};
pub use install::{Activity, Install};
pub use record::{Identity, Other, RECORD_LEN, Slot, State};
#[cfg(feature = "slots")]
pub use remote::Installer;
pub use start::Started;
pub use trial::{Trial, TrialRule, Verdict};

use log::{Erase, Log};

/// Flash that slots may lie in.
pub trait SlotFlash: NorFlash {
    /// Whether the core stands still while this flash erases or programs, so that erasing is refused while the loop is armed.
    fn stalls(&self) -> bool;
}

/// A piece of the flash, offsets in bytes from the start of the [`SlotFlash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First byte.
    pub offset: u32,
    /// Number of bytes.
    pub length: u32,
}

/// Where slots and records lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    slots: [Region; 2],
    records: [Region; 2],
}

impl Layout {
    /// Divides a flash: slot A from its start, slot B behind it, both as long as can be, and one sector of records in each of the
    /// last two sectors.
    ///
    /// # Errors
    /// [`Fault::SLOT_LAYOUT`] if it has fewer than four sectors, a sector holds fewer than 16 records, or a record is no multiple
    /// of what is written at once.
    pub fn split<F: NorFlash>(flash: &F) -> Result<Self, Fault> {
        let sector = F::ERASE_SIZE;
        let sectors = flash.capacity().checked_div(sector).unwrap_or(0);
        let fits = sectors >= 4
            && sector >= 16 * RECORD_LEN
            && RECORD_LEN.checked_rem(F::WRITE_SIZE) == Some(0)
            && RECORD_LEN.checked_rem(F::READ_SIZE) == Some(0);
        let number = |value: usize| u32::try_from(value).map_err(|_| Fault::SLOT_LAYOUT);
        if !fits {
            return Err(Fault::SLOT_LAYOUT);
        }
        let slot = (sectors - 2) / 2 * sector;
        let region = |offset: usize, length: usize| -> Result<Region, Fault> {
            Ok(Region {
                offset: number(offset)?,
                length: number(length)?,
            })
        };
        Ok(Self {
            slots: [region(0, slot)?, region(slot, slot)?],
            records: [
                region((sectors - 2) * sector, sector)?,
                region((sectors - 1) * sector, sector)?,
            ],
        })
    }

    /// Where a slot lies.
    #[must_use]
    pub const fn slot(&self, slot: Slot) -> Region {
        let [a, b] = self.slots;
        match slot {
            Slot::A => a,
            Slot::B => b,
        }
    }
}

/// The slots of a device. It keeps the flash for itself.
#[derive(Debug)]
pub struct Slots<F> {
    flash: F,
    layout: Layout,
    log: Log,
    state: State,
    /// What [`Slots::start`] armed.
    running: Option<Running>,
    /// Number of the installation under way.
    session: u32,
}

/// The policy that runs.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// `None` if nothing does.
    slot: Option<Slot>,
    counter: u32,
    on_trial: bool,
}

impl<F: SlotFlash> Slots<F> {
    /// Reads the records. Writes nothing.
    ///
    /// # Errors
    /// [`Fault::SLOT_LAYOUT`].
    pub fn new(mut flash: F) -> Result<Self, Fault> {
        let layout = Layout::split(&flash)?;
        let (log, state) = Log::mount(&mut flash, layout.records);
        Ok(Self {
            flash,
            layout,
            log,
            state: state.unwrap_or(State::FACTORY),
            running: None,
            session: 0,
        })
    }

    /// What the newest record says; before the first record, what [`Slots::start`] found.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Where slots and records lie.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// The flash.
    #[must_use]
    pub const fn flash(&self) -> &F {
        &self.flash
    }

    /// The slot of the policy that runs, if one does.
    #[must_use]
    pub fn running(&self) -> Option<Slot> {
        self.running.and_then(|running| running.slot)
    }

    /// Whether the policy that runs is on trial.
    #[must_use]
    pub fn is_on_trial(&self) -> bool {
        self.on_trial().is_ok()
    }

    /// Least anti-rollback counter that may be installed.
    #[must_use]
    pub fn floor(&self) -> u32 {
        self.state.floor.max(self.confirmed_counter())
    }

    /// Gives the flash back.
    #[must_use]
    pub fn into_flash(self) -> F {
        self.flash
    }

    /// The policy on trial did well: it is the confirmed one from now on, and the anti-rollback counter rises to its counter. Writes
    /// one record of 32 bytes and erases nothing.
    ///
    /// # Errors
    /// [`Fault::NO_TRIAL`]; [`Fault::FLASH_FAILED`], and then the trial goes on, to be reverted by the next start.
    pub fn confirm(&mut self) -> Result<(), Fault> {
        let running = self.on_trial()?;
        self.record(
            State {
                confirmed: Some(self.state.candidate()),
                other: match self.state.confirmed {
                    Some(_) => Other::Previous,
                    None => Other::Void,
                },
                floor: self.state.floor.max(running.counter),
            },
            Erase::Never,
        )?;
        self.end_trial();
        Ok(())
    }

    /// The policy on trial did badly: the next [`Slots::start`] arms the confirmed one. Writes one record of 32 bytes and erases
    /// nothing. `reason` is kept in the record.
    ///
    /// # Errors
    /// [`Fault::NO_TRIAL`]; [`Fault::FLASH_FAILED`], and then the next start reverts all the same.
    pub fn revert(&mut self, reason: Fault) -> Result<(), Fault> {
        self.on_trial()?;
        self.record(
            State {
                other: Other::Rejected(reason),
                ..self.state
            },
            Erase::Never,
        )?;
        self.end_trial();
        Ok(())
    }

    fn on_trial(&self) -> Result<Running, Fault> {
        self.running
            .filter(|running| running.on_trial)
            .ok_or(Fault::NO_TRIAL)
    }

    fn end_trial(&mut self) {
        if let Some(running) = &mut self.running {
            running.on_trial = false;
        }
    }

    /// Appends a record, and only if that succeeded takes the state over.
    fn record(&mut self, state: State, erase: Erase) -> Result<(), Fault> {
        self.log.append(&mut self.flash, state, erase)?;
        self.state = state;
        Ok(())
    }

    /// Whether every byte of the policy in a slot can be read: on parts with error correction a torn word raises an exception
    /// when it is read through its address, but not here. The length is the header's.
    fn check_readable(&mut self, slot: Slot) -> Result<(), Fault> {
        let region = self.layout.slot(slot);
        let mut chunk = [0; RECORD_LEN];
        let read = |flash: &mut F, at: u32, chunk: &mut [u8; RECORD_LEN]| {
            flash
                .read(region.offset.saturating_add(at), chunk)
                .map_err(|_| Fault::FLASH_FAILED)
        };
        read(&mut self.flash, 0, &mut chunk)?;
        // A header that is none gives some length or other; what reads the policy refuses it.
        let [.., a, b, c, d] = *chunk.first_chunk::<16>().unwrap_or(&[0; 16]);
        let length = u32::from_le_bytes([a, b, c, d]).min(region.length);
        let mut at = 0;
        while at < length {
            read(&mut self.flash, at, &mut chunk)?;
            at = at.saturating_add(RECORD_LEN as u32);
        }
        Ok(())
    }
}

/// The policy at the start of a slot's bytes, as long as its header says.
///
/// # Errors
/// [`Fault::EMPTY_SLOT`], or the fault of a bad header.
pub fn policy_in(slot: &[u8]) -> Result<&[u8], Fault> {
    let header = slot.get(..policy_format::HEADER_LEN).unwrap_or(slot);
    if header.iter().all(|&b| b == 0) || header.iter().all(|&b| b == 0xFF) {
        return Err(Fault::EMPTY_SLOT);
    }
    let length = policy_format::RawPolicy::length_in_header(slot)?;
    slot.get(..length).ok_or(Fault::SLOT_TOO_SMALL)
}
