//! The supervisor: the only way from a policy to an actuator.
//!
//! A [`Command`] is what actuators take, and only [`step`] makes one. Each step checks the measurement (length, finite
//! values, timestamps, envelope, a sensor that repeats itself), lets the policy decide under the mode rules, or the
//! fallback law act, checks the control against the bounds, and limits its rate against the last command.
//! What may act is a small state machine, [`Phase`]; its diagram stands in `docs/safety.md`. Parameters
//! are immutable ([`crate::Controller`]), everything that changes is in [`SupervisorState`].

mod command;
mod monitor;
mod phase;
mod record;
mod state;
mod step;

pub use command::Command;
pub use monitor::Observation;
pub use phase::Phase;
pub use record::{FaultRecord, RECORD_WORDS};
pub use state::SupervisorState;
pub use step::{Selection, step, step_by};
