//! One supervised control step.

use policy_format::constraint::{joint_logit, limit_rate};
use policy_format::{
    Bounds, DecideError, Decision, FallbackKind, ModeHistory, ModeRules, Policy, Supervision,
};

use super::command::Command;
use super::monitor::Observation;
use super::phase::Phase;
use super::state::SupervisorState;
use crate::boot::SCRATCH_LEN;
use crate::controller::Controller;
use crate::fault::Fault;
use crate::kernels::Native;

/// The logits of a step with the mode rules they stand under.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    policy: &'a Policy<'a>,
    rules: Option<&'a ModeRules<'a>>,
    history: ModeHistory,
    logits: &'a [f32],
}

impl Selection<'_> {
    /// Score of a choice (its logit with hysteresis); `None` where the mode rules forbid it, or beyond the last choice.
    #[must_use]
    pub fn score(&self, choice: usize) -> Option<f32> {
        let &mode = self.policy.choice_modes().get(choice)?;
        let logit = joint_logit(choice, self.policy.factors(), self.logits);
        match self.rules {
            None => Some(logit),
            Some(rules) => rules.score(self.history, mode, logit),
        }
    }
}

/// One control step: from an observation to the command that actuators take.
///
/// Whatever the values, lengths and times: the command is admissible, and a fault has its number. Without an armed
/// policy the command is the safe constant, mode 0 and control zero, with the boot fault. Never panics.
#[inline(never)]
pub fn step<'s>(
    controller: &Controller<'_>,
    state: &'s mut SupervisorState,
    observation: &Observation<'_>,
    scratch: &mut [f32; SCRATCH_LEN],
) -> Command<'s> {
    supervise(
        controller,
        state,
        observation,
        |policy, history, proposal| {
            let state = observation.state();
            match &policy.safety().mode_rules {
                None => policy.decide_with::<Native>(state, proposal, scratch),
                // Validation sees to it that some choice is always allowed; a number that is none is a fault.
                Some(rules) => {
                    policy.decide_by_with::<Native>(state, proposal, scratch, |logits| {
                        let (modes, factors) = (policy.choice_modes(), policy.factors());
                        rules
                            .choose(history, modes, factors, logits)
                            .unwrap_or(usize::MAX)
                    })
                }
            }
        },
    )
}

/// As [`step`], but the choice is taken by `pick`: a simulation draws it from the selector's distribution. A choice that does
/// not exist is the fault [`Fault::WRONG_LENGTH`]; one that the mode rules forbid is the caller's mistake.
pub fn step_by<'s>(
    controller: &Controller<'_>,
    state: &'s mut SupervisorState,
    observation: &Observation<'_>,
    scratch: &mut [f32; SCRATCH_LEN],
    pick: impl FnOnce(&Selection<'_>) -> usize,
) -> Command<'s> {
    supervise(
        controller,
        state,
        observation,
        |policy, history, proposal| {
            policy.decide_by_with::<Native>(observation.state(), proposal, scratch, |logits| {
                pick(&Selection {
                    policy,
                    rules: policy.safety().mode_rules.as_ref(),
                    history,
                    logits,
                })
            })
        },
    )
}

/// Everything around the policy's decision, which `decide` makes into the proposal.
#[inline(always)]
fn supervise<'s>(
    controller: &Controller<'_>,
    state: &'s mut SupervisorState,
    observation: &Observation<'_>,
    decide: impl FnOnce(&Policy<'_>, ModeHistory, &mut [f32]) -> Result<Decision, DecideError>,
) -> Command<'s> {
    let Ok(armed) = controller else {
        return state.last(controller);
    };
    let policy = armed.policy();
    let safety = policy.safety();
    let supervision = safety.supervision.unwrap_or_default();
    let first = state.history.mode().is_none();
    let previous = state.control.get_mut(..policy.control_dim());
    let proposal = state.proposal.get_mut(..policy.control_dim());
    // Boot admits no policy beyond CAPACITY.
    let (Some(previous), Some(proposal)) = (previous, proposal) else {
        return state.last(controller);
    };
    if first && let Some(limits) = &safety.limits {
        for (previous, &start) in previous.iter_mut().zip(limits.start) {
            *previous = start;
        }
    }

    let policy_acts = state.phase == Phase::Policy;
    let check = state
        .monitor
        .check(policy, &supervision, observation, policy_acts);
    let typical = check.unwrap_or(false);
    let recover_after = supervision.recover_after;
    let mut phase = state.phase.observed(check.map(|_| ()), recover_after);
    let mut decided = None;
    if phase.reason().is_none() {
        let decision = decide(policy, state.history, proposal);
        match decision {
            Ok(decision) if admissible(proposal, policy.bounds()) => decided = Some(decision),
            Ok(_) => phase = phase.tripped(Fault::INADMISSIBLE_CONTROL, recover_after),
            Err(error) => phase = phase.tripped(error.into(), recover_after),
        }
    }
    let (choice, mode) = match decided {
        Some(decision) => (decision.choice, decision.mode),
        None => (
            0,
            fall_back(
                policy,
                &supervision,
                state.history,
                observation,
                previous,
                proposal,
            ),
        ),
    };
    match &safety.limits {
        Some(limits) => {
            for ((last, &wanted), &rate) in previous.iter_mut().zip(&*proposal).zip(limits.rate) {
                *last = limit_rate(wanted, *last, rate);
            }
        }
        None => previous.copy_from_slice(proposal),
    }
    state.history = state.history.then(mode);
    (state.phase, state.choice, state.typical) = (phase, choice, typical);
    state.last(controller)
}

/// Whether every value is finite and inside the bounds: the last word, whatever the kernels did.
#[inline(always)]
fn admissible(control: &[f32], bounds: Option<Bounds<'_>>) -> bool {
    match bounds {
        Some(Bounds { lower, upper }) => {
            for ((&u, &lower), &upper) in control.iter().zip(lower).zip(upper) {
                if !(lower <= u && u <= upper) {
                    return false;
                }
            }
            true
        }
        None => control.iter().all(|u| u.is_finite()),
    }
}

/// The fallback law's control, to `proposal`; its mode.
#[inline(never)]
fn fall_back(
    policy: &Policy<'_>,
    supervision: &Supervision,
    history: ModeHistory,
    observation: &Observation<'_>,
    previous: &[f32],
    proposal: &mut [f32],
) -> u16 {
    match (supervision.fallback, history.mode()) {
        (FallbackKind::Hold, Some(mode)) => {
            for (wanted, &last) in proposal.iter_mut().zip(previous) {
                *wanted = last;
            }
            mode
        }
        (FallbackKind::Gain, _) => policy.fallback(observation.state(), proposal),
        // A state without length has no gain that fits: the constant.
        (FallbackKind::Hold | FallbackKind::Constant, _) => policy.fallback(&[], proposal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finite_controls_inside_the_bounds_are_admissible() {
        let bounds = Some(Bounds {
            lower: &[-1.0, -0.0],
            upper: &[1.0, 2.0],
        });
        assert!(admissible(&[1.0, 2.0], bounds));
        assert!(admissible(&[-1.0, 0.0], bounds));
        for bad in [f32::NAN, f32::INFINITY, -1.0000001, f32::NEG_INFINITY] {
            assert!(!admissible(&[bad, 0.0], bounds));
        }
        assert!(admissible(&[f32::MAX], None));
        assert!(!admissible(&[f32::NAN], None));
    }
}
