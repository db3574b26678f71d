//! What the supervisor remembers from period to period.

use policy_format::ModeHistory;
use policy_format::message::MAX_CONTROL;

use super::command::Command;
use super::monitor::Monitor;
use super::phase::Phase;
use crate::controller::Controller;
use crate::fault::Fault;

/// What the supervisor remembers from period to period within an episode.
///
/// A fresh one begins an episode: it forgets latched faults, the last command and all times, so making one is how an
/// operator (or a simulation) acknowledges a fault.
#[derive(Clone, Debug, PartialEq)]
pub struct SupervisorState {
    pub(super) phase: Phase,
    pub(super) monitor: Monitor,
    /// Modes of the commands so far; nothing before the first one.
    pub(super) history: ModeHistory,
    /// The last command; before the first one the start of the rate limits.
    pub(super) control: [f32; MAX_CONTROL],
    /// Of the last command.
    pub(super) choice: u16,
    /// Whether the last state lay in the training distribution.
    pub(super) typical: bool,
}

impl SupervisorState {
    /// The state at the start of an episode.
    #[must_use]
    pub const fn new() -> Self {
        Self::in_phase(Phase::Policy)
    }

    /// The state after a reset that `fault` caused: the fallback law acts from the first period on, until the
    /// fault is acknowledged.
    #[must_use]
    pub const fn after_reset(fault: Fault) -> Self {
        Self::in_phase(Phase::Locked { reason: fault })
    }

    const fn in_phase(phase: Phase) -> Self {
        Self {
            phase,
            monitor: Monitor::new(),
            history: ModeHistory::start(),
            control: [0.0; MAX_CONTROL],
            choice: 0,
            typical: true,
        }
    }

    /// Who acts.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Why the fallback law acts; `None` while the policy does.
    #[must_use]
    pub const fn latched(&self) -> Option<Fault> {
        self.phase.reason()
    }

    /// Mode of the last command and for how many periods it has been held.
    #[must_use]
    pub const fn history(&self) -> ModeHistory {
        self.history
    }

    /// The last command; before the first step, and without a policy, the safe constant. `controller` is the one of the
    /// steps so far.
    #[must_use]
    pub fn last(&self, controller: &Controller<'_>) -> Command<'_> {
        match (controller, self.history.mode()) {
            (Ok(armed), Some(mode)) => Command {
                control: self
                    .control
                    .get(..armed.policy().control_dim())
                    .unwrap_or_default(),
                choice: self.choice,
                mode,
                fault: self.phase.reason(),
                typical: self.typical,
            },
            (armed, _) => Command::safe(armed.as_ref().err().copied().or(self.phase.reason())),
        }
    }

    /// Takes a fault from outside the control step (a sensor or an estimator that failed): the fallback law acts
    /// from the next step on. `recover_after` is the policy's.
    pub(crate) fn trip(&mut self, fault: Fault, recover_after: u32) {
        self.phase = self.phase.tripped(fault, recover_after);
    }

    /// An operator has seen the fault: the policy acts again from the next step on. The last command, the mode's age
    /// and the times stay, so that rate limits and dwell times hold across.
    pub fn acknowledge(&mut self) {
        self.phase = Phase::Policy;
    }
}

impl Default for SupervisorState {
    fn default() -> Self {
        Self::new()
    }
}
