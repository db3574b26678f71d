//! Requests and replies as bytes: postcard's encoding of their types, in the order of their fields.

use super::frame::FrameWriter;
use super::{Action, Hello, Reply, Request, Stats};
#[cfg(feature = "slots")]
use super::{SlotRequest, SlotStatus, Telemetry};
use crate::wire::Decoder;

/// What a frame carries: [`Request`] and [`Reply`].
pub trait Message: Sized {
    /// Writes the message.
    fn write(&self, to: &mut FrameWriter<'_>);

    /// Reads the message from the front of the bytes; `None` if it is none.
    fn read(from: &mut Decoder<'_>) -> Option<Self>;
}

impl Message for Request {
    fn write(&self, to: &mut FrameWriter<'_>) {
        match self {
            Request::Hello { protocol } => {
                to.byte(0);
                to.number((*protocol).into());
            }
            Request::Reset => to.byte(1),
            Request::Step { seq, state } => {
                to.byte(2);
                to.number(*seq);
                to.floats(state);
            }
            Request::Stats => to.byte(3),
            Request::Shutdown => to.byte(4),
            Request::StepAt {
                seq,
                measured_us,
                now_us,
                state,
            } => {
                to.byte(5);
                to.number(*seq);
                to.number(*measured_us);
                to.number(*now_us);
                to.floats(state);
            }
            #[cfg(feature = "slots")]
            Request::Slots(request) => {
                to.byte(6);
                request.write(to);
            }
            #[cfg(feature = "slots")]
            Request::Monitor => to.byte(7),
            // No reader takes it for anything.
            Request::Unsupported => to.byte(super::frame::MARK),
        }
    }

    #[inline(never)]
    fn read(from: &mut Decoder<'_>) -> Option<Self> {
        Some(match from.u32()? {
            0 => Request::Hello {
                protocol: from.u16()?,
            },
            1 => Request::Reset,
            2 => Request::Step {
                seq: from.u32()?,
                state: from.floats()?,
            },
            3 => Request::Stats,
            4 => Request::Shutdown,
            5 => Request::StepAt {
                seq: from.u32()?,
                measured_us: from.u32()?,
                now_us: from.u32()?,
                state: from.floats()?,
            },
            #[cfg(feature = "slots")]
            6 => match SlotRequest::read(from) {
                Some(request) if from.rest().is_empty() => Request::Slots(request),
                _ => unsupported(from),
            },
            #[cfg(feature = "slots")]
            7 if from.rest().is_empty() => Request::Monitor,
            #[cfg(not(feature = "slots"))]
            6 => unsupported(from),
            7 => unsupported(from),
            _ => return None,
        })
    }
}

/// Leaves the rest of the payload unread.
fn unsupported(from: &mut Decoder<'_>) -> Request {
    from.skip();
    Request::Unsupported
}

impl Message for Reply {
    fn write(&self, to: &mut FrameWriter<'_>) {
        match self {
            Reply::Hello(hello) => {
                to.byte(0);
                let (major, minor, patch) = hello.firmware;
                for number in [
                    hello.protocol.into(),
                    major.into(),
                    minor.into(),
                    patch.into(),
                    hello.target_class,
                    hello.boot_fault.into(),
                    hello.policy_crc32,
                    hello.policy_version,
                    hello.state_dim.into(),
                    hello.control_dim.into(),
                ] {
                    to.number(number);
                }
            }
            Reply::Ready => to.byte(1),
            Reply::Action(action) => {
                to.byte(2);
                to.number(action.seq);
                to.number(action.choice.into());
                to.number(action.mode.into());
                to.number(action.fault.into());
                to.floats(&action.control);
                to.number(action.ticks);
            }
            Reply::Stats(stats) => {
                to.byte(3);
                for number in [
                    stats.steps,
                    stats.fallback_steps,
                    stats.bad_frames,
                    stats.latched_fault.into(),
                    stats.stack_bytes,
                    stats.overhead_ticks,
                ] {
                    to.number(number);
                }
            }
            Reply::Bye => to.byte(4),
            Reply::Error { fault } => {
                to.byte(5);
                to.number((*fault).into());
            }
            #[cfg(feature = "slots")]
            Reply::Slots(status) => {
                to.byte(6);
                status.write(to);
            }
            #[cfg(feature = "slots")]
            Reply::Telemetry(telemetry) => {
                to.byte(7);
                telemetry.write(to);
            }
        }
    }

    #[inline(never)]
    fn read(from: &mut Decoder<'_>) -> Option<Self> {
        Some(match from.u32()? {
            0 => Reply::Hello(Hello {
                protocol: from.u16()?,
                firmware: (from.u16()?, from.u16()?, from.u16()?),
                target_class: from.u32()?,
                boot_fault: from.u16()?,
                policy_crc32: from.u32()?,
                policy_version: from.u32()?,
                state_dim: from.u16()?,
                control_dim: from.u16()?,
            }),
            1 => Reply::Ready,
            2 => Reply::Action(Action {
                seq: from.u32()?,
                choice: from.u16()?,
                mode: from.u16()?,
                fault: from.u16()?,
                control: from.floats()?,
                ticks: from.u32()?,
            }),
            3 => Reply::Stats(Stats {
                steps: from.u32()?,
                fallback_steps: from.u32()?,
                bad_frames: from.u32()?,
                latched_fault: from.u16()?,
                stack_bytes: from.u32()?,
                overhead_ticks: from.u32()?,
            }),
            4 => Reply::Bye,
            5 => Reply::Error { fault: from.u16()? },
            #[cfg(feature = "slots")]
            6 => Reply::Slots(SlotStatus::read(from)?),
            #[cfg(feature = "slots")]
            7 => Reply::Telemetry(Telemetry::read(from)?),
            _ => return None,
        })
    }
}
