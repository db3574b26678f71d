//! Installations by a host behind the link.

use embedded_storage::nor_flash::ReadNorFlash;
use policy_format::message::{SlotRequest, SlotStatus};
use policy_format::{HEADER_LEN, MAGIC};

use crate::Fault;

use super::install::{Activity, Install};
use super::record::{Identity, Other, Slot};
use super::{Region, SlotFlash, Slots};

/// Answers what a host asks of the slots, and keeps the installation that it began. A host that was interrupted begins again with
/// the same policy and goes on where it was: while the device runs at the very byte, after a reset at a sector.
#[derive(Debug, Default)]
pub struct Installer {
    install: Option<(Identity, Install)>,
}

impl Installer {
    /// Nothing is being installed.
    #[must_use]
    pub const fn new() -> Self {
        Self { install: None }
    }

    /// Answers one request; gives how the slots are then. [`SlotRequest::Disarm`], `Arm` and `Restart` are the board's to do: here
    /// they are `Status`. `activity` is that of the loop, `target_class` the one the firmware was built for, `check` as for
    /// [`Slots::finish`]. Not to be called in the control step.
    ///
    /// # Errors
    /// The fault that refuses the request: those of [`Slots::resume`], [`Slots::write`], [`Slots::finish_while`],
    /// [`Slots::prepare`]; [`Fault::TARGET_CLASS`] for a policy of another class; [`Fault::INCOMPLETE`] for bytes that are not the next ones.
    pub fn answer<F: SlotFlash>(
        &mut self,
        slots: &mut Slots<F>,
        request: &SlotRequest,
        activity: Activity,
        target_class: u32,
        check: impl FnMut(&F, Region) -> Result<u32, Fault>,
    ) -> Result<SlotStatus, Fault> {
        match request {
            SlotRequest::Begin {
                length,
                digest: (low, high),
                target_class: class,
            } => {
                if *class != target_class {
                    return Err(Fault::TARGET_CLASS);
                }
                let identity = Identity {
                    length: *length,
                    digest: u64::from(*high) << 32 | u64::from(*low),
                };
                if !self.install.as_ref().is_some_and(|(i, _)| *i == identity) {
                    let install = slots.resume(identity, activity)?;
                    self.install = Some((identity, install));
                }
            }
            SlotRequest::Write { offset, data } => {
                let (_, install) = self.install.as_mut().ok_or(Fault::INCOMPLETE)?;
                if install.taken() != *offset {
                    return Err(Fault::INCOMPLETE);
                }
                let written = slots.write(install, data);
                if written == Err(Fault::FLASH_FAILED) {
                    // What is in place is uncertain; beginning again finds out.
                    self.install = None;
                }
                written?;
            }
            SlotRequest::Finish => {
                let whole =
                    |(identity, install): &(Identity, Install)| install.taken() == identity.length;
                if !self.install.as_ref().is_some_and(whole) {
                    return Err(Fault::INCOMPLETE);
                }
                if let Some((_, install)) = self.install.take() {
                    slots.finish_while(activity, install, check)?;
                }
            }
            SlotRequest::Prepare => {
                slots.prepare(activity)?;
                self.install = None;
            }
            SlotRequest::Status | SlotRequest::Disarm | SlotRequest::Arm | SlotRequest::Restart => {
            }
        }
        Ok(self.status(slots, activity))
    }

    /// How the slots are.
    fn status<F: SlotFlash>(&self, slots: &mut Slots<F>, activity: Activity) -> SlotStatus {
        let state = slots.state();
        let region = slots.layout().slot(state.candidate());
        let number = |slot: Option<Slot>| match slot {
            None => 0,
            Some(Slot::A) => 1,
            Some(Slot::B) => 2,
        };
        let (other, reason) = match state.other {
            Other::Void => (0, 0),
            Other::Ready => (1, 0),
            Other::Trial => (2, 0),
            Other::Previous => (3, 0),
            Other::Rejected(fault) => (4, fault.code()),
            Other::Installing(_) => (5, 0),
            Other::Erased => (6, 0),
        };
        let begun = match (&self.install, state.other) {
            (Some((identity, install)), _) => Some((*identity, install.taken())),
            (None, Other::Installing(identity)) => Some((identity, 0)),
            _ => None,
        };
        SlotStatus {
            slot_bytes: region.length,
            confirmed: number(state.confirmed),
            other,
            reason,
            floor: slots.floor(),
            running: number(slots.running()),
            on_trial: slots.is_on_trial(),
            armed: activity == Activity::Armed,
            stalls: slots.flash().stalls(),
            other_crc32: slots.header_crc32(region),
            length: begun.map_or(0, |(identity, _)| identity.length),
            digest: begun.map_or((0, 0), |(identity, _)| {
                (identity.digest as u32, (identity.digest >> 32) as u32)
            }),
            in_place: begun.map_or(0, |(_, taken)| taken),
        }
    }
}

impl<F: SlotFlash> Slots<F> {
    /// The CRC-32 that the header of the policy in a slot states, 0 if none can be read there.
    fn header_crc32(&mut self, region: Region) -> u32 {
        let mut header = [0; HEADER_LEN];
        let read = ReadNorFlash::read(&mut self.flash, region.offset, &mut header);
        match header.get(16..20).and_then(<[u8]>::first_chunk) {
            Some(crc) if read.is_ok() && header.starts_with(&MAGIC) => u32::from_le_bytes(*crc),
            _ => 0,
        }
    }
}
