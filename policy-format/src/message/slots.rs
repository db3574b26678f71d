//! Messages about policy slots, and the telemetry of a device that runs its own loop.

use heapless::Vec;

use super::frame::FrameWriter;
use crate::wire::Decoder;

/// Greatest number of bytes of a policy in one [`SlotRequest::Write`].
pub const MAX_DATA: usize = 256;

/// Greatest number of values in [`Telemetry`].
pub const MAX_TELEMETRY: usize = 59;

/// What the host asks of the policy slots. Each is answered by [`super::Reply::Slots`] with what holds afterwards, or refused by
/// [`super::Reply::Error`]; a refusal changes nothing, but that of `Finish` ends the installation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
#[allow(
    clippy::large_enum_variant,
    reason = "there is no heap to box the bytes on, and one message exists at a time"
)]
pub enum SlotRequest {
    /// How are the slots?
    Status,
    /// Begin to install a policy to the slot that is not confirmed, or go on with the same one where it was broken off.
    Begin {
        /// Bytes of the policy file.
        length: u32,
        /// Low and high half of a number by which the host knows the file again, by convention the first eight bytes of its SHA-256.
        /// The device does not compute it.
        digest: (u32, u32),
        /// Plant and actuator set of the policy.
        target_class: u32,
    },
    /// The next bytes.
    Write {
        /// Where they belong: [`SlotStatus::in_place`].
        offset: u32,
        /// The bytes.
        data: Vec<u8, MAX_DATA>,
    },
    /// All bytes are there: check the policy as a boot does; the next start tries it.
    Finish,
    /// Erase the slot that is not confirmed, so that an installation can begin while the loop is armed.
    Prepare,
    /// Stop acting: the safe constant from now on.
    Disarm,
    /// Act again.
    Arm,
    /// Start anew, after the reply, with what is installed. Refused while the loop is armed.
    Restart,
}

impl SlotRequest {
    pub(super) fn write(&self, to: &mut FrameWriter<'_>) {
        match self {
            SlotRequest::Status => to.byte(0),
            SlotRequest::Begin {
                length,
                digest: (low, high),
                target_class,
            } => {
                to.byte(1);
                for number in [*length, *low, *high, *target_class] {
                    to.number(number);
                }
            }
            SlotRequest::Write { offset, data } => {
                to.byte(2);
                to.number(*offset);
                to.bytes(data);
            }
            SlotRequest::Finish => to.byte(3),
            SlotRequest::Prepare => to.byte(4),
            SlotRequest::Disarm => to.byte(5),
            SlotRequest::Arm => to.byte(6),
            SlotRequest::Restart => to.byte(7),
        }
    }

    pub(super) fn read(from: &mut Decoder<'_>) -> Option<Self> {
        Some(match from.u32()? {
            0 => SlotRequest::Status,
            1 => SlotRequest::Begin {
                length: from.u32()?,
                digest: (from.u32()?, from.u32()?),
                target_class: from.u32()?,
            },
            2 => SlotRequest::Write {
                offset: from.u32()?,
                data: from.list(Decoder::byte)?,
            },
            3 => SlotRequest::Finish,
            4 => SlotRequest::Prepare,
            5 => SlotRequest::Disarm,
            6 => SlotRequest::Arm,
            7 => SlotRequest::Restart,
            _ => return None,
        })
    }
}

/// The policy slots and the loop, as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
pub struct SlotStatus {
    /// Bytes of a slot.
    pub slot_bytes: u32,
    /// The confirmed slot: 0 none, 1 A, 2 B.
    pub confirmed: u16,
    /// What the other slot is worth: 0 nothing, 1 ready, 2 on trial, 3 previous, 4 rejected, 5 being installed, 6 erased.
    pub other: u16,
    /// The fault for which it was rejected, or 0.
    pub reason: u16,
    /// Least anti-rollback counter that may be installed.
    pub floor: u32,
    /// The slot that runs: 0 none, 1 A, 2 B.
    pub running: u16,
    /// Whether what runs is on trial.
    pub on_trial: bool,
    /// Whether the loop acts.
    pub armed: bool,
    /// Whether the core stands still while the flash erases, so that this is refused while the loop is armed.
    pub stalls: bool,
    /// CRC-32 in the header of the policy in the slot that is not confirmed; 0 if it holds none.
    pub other_crc32: u32,
    /// Bytes of the policy being installed, 0 if none is.
    pub length: u32,
    /// Low and high half of the number it was begun with.
    pub digest: (u32, u32),
    /// Bytes of it that are in place, so the offset of the next ones. After a reset known once it is begun again.
    pub in_place: u32,
}

impl SlotStatus {
    pub(super) fn write(&self, to: &mut FrameWriter<'_>) {
        for number in [
            self.slot_bytes,
            self.confirmed.into(),
            self.other.into(),
            self.reason.into(),
            self.floor,
            self.running.into(),
            self.on_trial.into(),
            self.armed.into(),
            self.stalls.into(),
            self.other_crc32,
            self.length,
            self.digest.0,
            self.digest.1,
            self.in_place,
        ] {
            to.number(number);
        }
    }

    pub(super) fn read(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self {
            slot_bytes: from.u32()?,
            confirmed: from.u16()?,
            other: from.u16()?,
            reason: from.u16()?,
            floor: from.u32()?,
            running: from.u16()?,
            on_trial: flag(from)?,
            armed: flag(from)?,
            stalls: flag(from)?,
            other_crc32: from.u32()?,
            length: from.u32()?,
            digest: (from.u32()?, from.u32()?),
            in_place: from.u32()?,
        })
    }
}

fn flag(from: &mut Decoder<'_>) -> Option<bool> {
    match from.byte()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// The newest control period of a device that runs its own loop.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
pub struct Telemetry {
    /// Number of the period, from 1 on; 0 before the first one. It wraps at 2^32; gaps are periods that were not asked for.
    pub period: u32,
    /// High and low half of the time of the step, in microseconds of the device's clock.
    pub time: (u32, u32),
    /// Index of the choice made; 0 when the fallback law acted.
    pub choice: u16,
    /// Plant mode applied.
    pub mode: u16,
    /// Number of the fault for which the fallback law acted, or 0.
    pub fault: u16,
    /// [`TelemetryFlags`].
    pub flags: u16,
    /// Periods whose deadline was missed while the loop was armed, since the start.
    pub missed: u32,
    /// Greatest time from when a period was due until its step began while the loop was armed, since the start, in microseconds.
    pub late_us: u32,
    /// Length of the state.
    pub state_dim: u16,
    /// Length of the control.
    pub control_dim: u16,
    /// State and then control, in the plant's units, as far as there is room.
    pub values: Vec<f32, MAX_TELEMETRY>,
}

/// Bits of [`Telemetry::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelemetryFlags;

impl TelemetryFlags {
    /// The loop acts.
    pub const ARMED: u16 = 1;
    /// The policy is on trial.
    pub const ON_TRIAL: u16 = 1 << 1;
    /// The fallback law acted.
    pub const FALLBACK: u16 = 1 << 2;
    /// And does until somebody acknowledges the fault or the device starts anew.
    pub const LOCKED: u16 = 1 << 3;
}

impl Telemetry {
    /// Time of the step, in microseconds of the device's clock.
    #[must_use]
    pub fn time_us(&self) -> u64 {
        u64::from(self.time.0) << 32 | u64::from(self.time.1)
    }

    /// The state, as much of it as there was room for. Never panics.
    #[must_use]
    pub fn state(&self) -> &[f32] {
        let length = self.values.len().min(self.state_dim.into());
        self.values.get(..length).unwrap_or_default()
    }

    /// The control, as much of it as there was room for. Never panics.
    #[must_use]
    pub fn control(&self) -> &[f32] {
        let from = self.values.len().min(self.state_dim.into());
        self.values.get(from..).unwrap_or_default()
    }

    pub(super) fn write(&self, to: &mut FrameWriter<'_>) {
        for number in [
            self.period,
            self.time.0,
            self.time.1,
            self.choice.into(),
            self.mode.into(),
            self.fault.into(),
            self.flags.into(),
            self.missed,
            self.late_us,
            self.state_dim.into(),
            self.control_dim.into(),
        ] {
            to.number(number);
        }
        to.floats(&self.values);
    }

    pub(super) fn read(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self {
            period: from.u32()?,
            time: (from.u32()?, from.u32()?),
            choice: from.u16()?,
            mode: from.u16()?,
            fault: from.u16()?,
            flags: from.u16()?,
            missed: from.u32()?,
            late_us: from.u32()?,
            state_dim: from.u16()?,
            control_dim: from.u16()?,
            values: from.floats()?,
        })
    }
}
