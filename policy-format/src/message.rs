//! Messages between host and device, and the frames that carry them.
//!
//! A frame is `COBS(payload ++ crc) ++ 0x00`: `payload` is the postcard encoding of one [`Request`]
//! or [`Reply`], `crc` the CRC-32 (ISO-HDLC) of the payload, little-endian. The zero byte occurs
//! only at the end of a frame, so a reader that lost its place finds it again at the next zero. The
//! host speaks first and sends one request at a time; the device answers each with one reply. A request may carry a number
//! ([`encode_numbered`]), which the reply repeats. `docs/messages.md` has the byte layouts.
//!
//! Nothing here panics or allocates, whatever the bytes are.

mod codec;
mod frame;
#[cfg(feature = "slots")]
mod slots;

use heapless::Vec;

pub use codec::Message;
pub use frame::{FrameReader, FrameWriter, encode_frame, encode_numbered};
#[cfg(feature = "slots")]
pub use slots::{MAX_DATA, MAX_TELEMETRY, SlotRequest, SlotStatus, Telemetry, TelemetryFlags};

/// Version of requests, replies and framing. Both sides name theirs in the greeting, whose bytes are the same in every version.
pub const PROTOCOL: u16 = 2;

/// Greatest length of a state vector in a message.
pub const MAX_STATE: usize = 64;

/// Greatest length of a control vector in a message.
pub const MAX_CONTROL: usize = 64;

/// Greatest length of payload and CRC: a number with its mark, then the longest message, an [`Action`] with a tag byte, five
/// integers of at most 5 bytes, a length byte and [`MAX_CONTROL`] floats, then 4 bytes of CRC.
pub const MAX_PAYLOAD: usize = 1 + 3 + 1 + 5 * 5 + 1 + 4 * MAX_CONTROL + 4;

/// Greatest length of a frame with its final zero: COBS adds one byte per started 254.
pub const MAX_FRAME: usize = MAX_PAYLOAD + MAX_PAYLOAD.div_ceil(254) + 1;

/// What the host asks.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
pub enum Request {
    /// Who are you? Answered by [`Reply::Hello`], whatever `protocol` is.
    Hello {
        /// The host's [`PROTOCOL`].
        protocol: u16,
    },
    /// An episode begins: the controller's state and its latched fault are cleared.
    /// Answered by [`Reply::Ready`].
    Reset,
    /// One control step. Answered by [`Reply::Action`].
    Step {
        /// Number of the step, copied into the answer.
        seq: u32,
        /// The measured state, in the plant's units.
        state: Vec<f32, MAX_STATE>,
    },
    /// Counters and stack use. Answered by [`Reply::Stats`].
    Stats,
    /// Stop serving. Answered by [`Reply::Bye`]; an emulated device then exits with code 0.
    Shutdown,
    /// One control step whose measurement has a time, so that the monitors of time act on the host's clock. Answered by
    /// [`Reply::Action`]; by firmware that does not know it by [`Reply::Error`].
    StepAt {
        /// Number of the step, copied into the answer.
        seq: u32,
        /// When the state was measured, in microseconds of the host's clock.
        measured_us: u32,
        /// The time at which the step happens, by the same clock.
        now_us: u32,
        /// The measured state, in the plant's units.
        state: Vec<f32, MAX_STATE>,
    },
    /// About the policy slots. Answered by [`Reply::Slots`], or by [`Reply::Error`] with the fault that refuses it.
    #[cfg(feature = "slots")]
    Slots(SlotRequest),
    /// What is the loop doing? Answered by [`Reply::Telemetry`] on a device that runs its own loop.
    #[cfg(feature = "slots")]
    Monitor,
    /// What a reader gives for a request about slots or telemetry that it does not know: it was built without the feature `slots`, or
    /// the host is newer. Never sent. Answered by [`Reply::Error`].
    #[cfg_attr(test, serde(skip))]
    Unsupported,
}

impl Request {
    /// A [`Request::Step`], or `None` if `state` is longer than [`MAX_STATE`]. Never panics.
    #[must_use]
    pub fn step(seq: u32, state: &[f32]) -> Option<Self> {
        let state = Vec::from_slice(state).ok()?;
        Some(Request::Step { seq, state })
    }

    /// A [`Request::StepAt`], or `None` if `state` is longer than [`MAX_STATE`]. Never panics.
    #[must_use]
    pub fn step_at(seq: u32, measured_us: u32, now_us: u32, state: &[f32]) -> Option<Self> {
        let state = Vec::from_slice(state).ok()?;
        Some(Request::StepAt {
            seq,
            measured_us,
            now_us,
            state,
        })
    }
}

/// What the device answers.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
#[allow(
    clippy::large_enum_variant,
    reason = "there is no heap to box the vector on, and one message exists at a time"
)]
pub enum Reply {
    /// The device's identity and how its boot ended.
    Hello(Hello),
    /// The controller is ready for the first step of an episode.
    Ready,
    /// The action for one step.
    Action(Action),
    /// Counters and stack use.
    Stats(Stats),
    /// The device stops serving.
    Bye,
    /// The request was not understood, or the device met an exception.
    Error {
        /// Number of the fault (`firmware::fault`), never 0.
        fault: u16,
    },
    /// The policy slots as they are now.
    #[cfg(feature = "slots")]
    Slots(SlotStatus),
    /// The newest control period.
    #[cfg(feature = "slots")]
    Telemetry(Telemetry),
}

/// Identity of a device and its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
pub struct Hello {
    /// The device's [`PROTOCOL`].
    pub protocol: u16,
    /// Firmware version: major, minor, patch.
    pub firmware: (u16, u16, u16),
    /// Plant and actuator set the firmware was built for.
    pub target_class: u32,
    /// Number of the fault that ended the boot, or 0 when the policy is armed.
    pub boot_fault: u16,
    /// CRC-32 in the armed policy's header; 0 without one.
    pub policy_crc32: u32,
    /// `policy_version` of the armed policy; 0 without one.
    pub policy_version: u32,
    /// Length of the state vector; 0 without a policy.
    pub state_dim: u16,
    /// Length of the control vector; 0 without a policy.
    pub control_dim: u16,
}

/// The answer to one control step.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
pub struct Action {
    /// `seq` of the request.
    pub seq: u32,
    /// Index of the choice made; 0 when the fallback law acted.
    pub choice: u16,
    /// Plant mode to apply.
    pub mode: u16,
    /// Number of the latched fault, or 0. Not 0 means that the fallback law acted.
    pub fault: u16,
    /// Control to apply, in the plant's units; empty without a policy.
    pub control: Vec<f32, MAX_CONTROL>,
    /// Ticks of the board's counter from decoded state to action, without the counter's own cost.
    pub ticks: u32,
}

/// What the device counted since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
pub struct Stats {
    /// Control steps answered.
    pub steps: u32,
    /// Control steps that the fallback law answered.
    pub fallback_steps: u32,
    /// Frames that did not decode.
    pub bad_frames: u32,
    /// Number of the latched fault, or 0.
    pub latched_fault: u16,
    /// Greatest stack use in bytes so far.
    pub stack_bytes: u32,
    /// Ticks that an empty measurement takes; already subtracted from [`Action::ticks`].
    pub overhead_ticks: u32,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// More bytes than [`MAX_FRAME`] without a zero.
    TooLong,
    /// The zero came in the middle of a COBS run, or before any payload.
    Framing,
    /// The CRC does not fit the payload.
    Crc,
    /// The payload is no message of this protocol, or bytes follow the message.
    Payload,
    /// The message does not fit into [`MAX_PAYLOAD`].
    Encode,
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            FrameError::TooLong => "frame longer than the limit",
            FrameError::Framing => "frame ended too early",
            FrameError::Crc => "frame with a wrong CRC",
            FrameError::Payload => "frame whose payload is no message",
            FrameError::Encode => "message too long for a frame",
        })
    }
}

impl core::error::Error for FrameError {}

#[cfg(test)]
mod tests;
