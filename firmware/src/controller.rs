//! The control step: measured state in, action out.

use crate::boot::{Armed, SCRATCH_LEN};
use crate::fault::Fault;
use crate::kernels::Native;

/// The controller: an armed policy, or the fault that kept it from being armed. It does not change
/// while it runs.
pub type Controller<'p> = Result<Armed<'p>, Fault>;

/// What the controller remembers from step to step within an episode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControllerState {
    latched: Option<Fault>,
}

impl ControllerState {
    /// The state at the start of an episode.
    #[must_use]
    pub const fn new() -> Self {
        Self { latched: None }
    }

    /// The first fault since the start of the episode.
    #[must_use]
    pub const fn latched(&self) -> Option<Fault> {
        self.latched
    }
}

/// What one step decided, beside the control vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The choice; 0 when the fallback law acted.
    pub choice: u16,
    /// The plant mode to apply.
    pub mode: u16,
    /// Why the fallback law acted, if it did.
    pub fault: Option<Fault>,
}

/// One control step.
///
/// `measured` is the state in the plant's units, `control` receives the control and has the policy's
/// length (any length without a policy). A step the policy cannot decide (a value that is not finite, a wrong
/// length) is answered by the policy's fallback law, and the fault is latched: the fallback law acts
/// until a new [`ControllerState`] begins the next episode, because a sensor or a policy that failed
/// once is not trusted again by itself. Without an armed policy the answer is the safe constant, mode
/// 0 and control zero, with the boot fault. Never panics, whatever the values and lengths.
#[inline(never)]
pub fn control_step(
    controller: &Controller<'_>,
    state: &mut ControllerState,
    measured: &[f32],
    control: &mut [f32],
    scratch: &mut [f32; SCRATCH_LEN],
) -> Outcome {
    let policy = match controller {
        Ok(armed) => armed.policy(),
        Err(fault) => {
            control.fill(0.0);
            return Outcome {
                choice: 0,
                mode: 0,
                fault: Some(*fault),
            };
        }
    };
    let fault = match state.latched {
        Some(fault) => fault,
        None => match policy.decide_with::<Native>(measured, control, scratch) {
            Ok(decision) => {
                return Outcome {
                    choice: decision.choice,
                    mode: decision.mode,
                    fault: None,
                };
            }
            Err(error) => error.into(),
        },
    };
    state.latched = Some(fault);
    let mode = policy.fallback(measured, control);
    Outcome {
        choice: 0,
        mode,
        fault: Some(fault),
    }
}
