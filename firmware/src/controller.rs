//! The control step: measured state in, action out.

use crate::boot::{Armed, SCRATCH_LEN};
use crate::fault::Fault;
use crate::supervisor::{self, Observation};

/// The controller: an armed policy, or the fault that kept it from being armed. It does not change
/// while it runs.
pub type Controller<'p> = Result<Armed<'p>, Fault>;

/// What the controller remembers from step to step within an episode: the supervisor's state.
pub use crate::supervisor::SupervisorState as ControllerState;

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

/// One control step in lockstep with a simulated plant: [`supervisor::step`] without timestamps, its command copied out.
///
/// `measured` is the state in the plant's units, `control` receives the control and has the policy's
/// length (values beyond it become 0, values that it has no room for are dropped). A step that the policy may not take
/// is answered by the fallback law, and the fault is latched: the fallback law acts until a new [`ControllerState`] begins the next
/// episode, or until the policy's own rule of return is met. Without an armed policy the answer is the safe constant, mode
/// 0 and control zero, with the boot fault. Never panics, whatever the values and lengths.
#[inline(never)]
pub fn control_step(
    controller: &Controller<'_>,
    state: &mut ControllerState,
    measured: &[f32],
    control: &mut [f32],
    scratch: &mut [f32; SCRATCH_LEN],
) -> Outcome {
    let observation = Observation::lockstep(measured);
    let command = supervisor::step(controller, state, &observation, scratch);
    let values = command
        .control()
        .iter()
        .copied()
        .chain(core::iter::repeat(0.0));
    for (control, value) in control.iter_mut().zip(values) {
        *control = value;
    }
    Outcome {
        choice: command.choice(),
        mode: command.mode(),
        fault: command.fault(),
    }
}
