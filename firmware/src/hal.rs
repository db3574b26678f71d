//! What a board offers to the control loop, one small trait per part, in the manner of `embedded-hal`: fallible parts name their
//! error, nothing is assumed about threads or executors.

use crate::supervisor::{Command, RECORD_WORDS};

/// A clock that never goes back.
pub trait Clock {
    /// Microseconds since some fixed moment.
    fn now_us(&mut self) -> u64;
}

/// What measures the plant.
pub trait Sensors {
    /// Why a measurement failed.
    type Error;

    /// Writes the measurement to `measured` (length n of the policy, or that of the estimator's measurement) and gives the
    /// time at which it was taken, in microseconds of the [`Clock`].
    ///
    /// # Errors
    /// If nothing could be measured; the fallback law acts then.
    fn read(&mut self, measured: &mut [f32]) -> Result<u64, Self::Error>;
}

/// What moves the plant. It takes a [`Command`], and those come from the supervisor alone.
pub trait Actuators {
    /// Why a command was not taken.
    type Error;

    /// Applies mode and control. An empty control means zero for every actuator.
    ///
    /// # Errors
    /// If the actuators did not take the command.
    fn apply(&mut self, command: &Command<'_>) -> Result<(), Self::Error>;
}

/// Memory that a reset leaves alone: a section that start-up code does not write, or backup registers. Accesses are
/// volatile. What power-on leaves there may be anything.
pub trait RetainedMemory {
    /// The words as they are.
    fn load(&mut self) -> [u32; RECORD_WORDS];

    /// Replaces the words.
    fn store(&mut self, words: &[u32; RECORD_WORDS]);
}

/// A timer that resets the device unless it is fed in time.
pub trait Watchdog {
    /// Feeds it.
    fn feed(&mut self);
}

/// From measurements to the state that the policy wants.
pub trait Estimator {
    /// Length of the measurement, at most [`crate::CAPACITY`]`.state`.
    fn measurement_len(&self) -> usize;

    /// Takes a measurement and the command applied since the one before (`None` before the first one), and writes the
    /// estimate to `state` (length n of the policy). Gives `false` where there is none: the fallback law acts then.
    fn update(
        &mut self,
        measured: &[f32],
        applied: Option<&Command<'_>>,
        state: &mut [f32],
    ) -> bool;

    /// A period in which nothing was measured, and the command applied since the one before: the estimate goes on by the model alone. The
    /// fallback law acts.
    fn miss(&mut self, applied: Option<&Command<'_>>);
}
