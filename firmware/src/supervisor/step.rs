//! One supervised control step.

use policy_format::constraint::joint_logit;
use policy_format::{
    DecideError, Decision, FallbackKind, Kernels, ModeHistory, ModeRules, Policy, Supervision,
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
    supervise(controller, state, observation, scratch, |policy, period| {
        let (state, rate) = (observation.state(), period.rate);
        match &policy.safety().mode_rules {
            None => {
                policy.decide_limited_with::<Native>(state, period.control, period.scratch, rate)
            }
            // Validation sees to it that some choice is always allowed; a number that is none is a fault.
            Some(rules) => policy.decide_limited_by_with::<Native>(
                state,
                period.control,
                period.scratch,
                rate,
                |logits| {
                    let (modes, factors) = (policy.choice_modes(), policy.factors());
                    rules
                        .choose(period.history, modes, factors, logits)
                        .unwrap_or(usize::MAX)
                },
            ),
        }
    })
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
    supervise(controller, state, observation, scratch, |policy, period| {
        policy.decide_limited_by_with::<Native>(
            observation.state(),
            period.control,
            period.scratch,
            period.rate,
            |logits| {
                pick(&Selection {
                    policy,
                    rules: policy.safety().mode_rules.as_ref(),
                    history: period.history,
                    logits,
                })
            },
        )
    })
}

/// What a decision has to work with.
struct Period<'a> {
    history: ModeHistory,
    /// The last control; the decision replaces it by one that is admissible, or leaves it.
    control: &'a mut [f32],
    rate: Option<&'a [f32]>,
    scratch: &'a mut [f32; SCRATCH_LEN],
}

/// Everything around the policy's decision, which `decide` makes: finite, inside the bounds, within the rate limits.
#[inline(always)]
fn supervise<'s>(
    controller: &Controller<'_>,
    state: &'s mut SupervisorState,
    observation: &Observation<'_>,
    scratch: &mut [f32; SCRATCH_LEN],
    decide: impl FnOnce(&Policy<'_>, Period<'_>) -> Result<Decision, DecideError>,
) -> Command<'s> {
    let Ok(armed) = controller else {
        return state.last(controller);
    };
    let policy = armed.policy();
    let safety = policy.safety();
    let supervision = safety.supervision.as_ref().unwrap_or(&Supervision::NONE);
    // Boot admits no policy beyond CAPACITY.
    let Some(control) = state.control.get_mut(..policy.control_dim()) else {
        return Command::safe(Some(Fault::WRONG_LENGTH));
    };
    let rate = match &safety.limits {
        Some(limits) => {
            if state.history.mode().is_none() {
                control.copy_from_slice(limits.start);
            }
            Some(limits.rate)
        }
        None => None,
    };

    let policy_acts = state.phase == Phase::Policy;
    let check = state
        .monitor
        .check(policy, supervision, observation, policy_acts);
    let typical = check.unwrap_or(false);
    if !policy_acts || check.is_err() {
        let check = check.map(|_| ());
        state.phase = state.phase.observed(check, supervision.recover_after);
    }
    let mut decided = None;
    if state.phase == Phase::Policy {
        let period = Period {
            history: state.history,
            control,
            rate,
            scratch,
        };
        match decide(policy, period) {
            Ok(decision) => decided = Some(decision),
            Err(error) => {
                state.phase = state.phase.tripped(error.into(), supervision.recover_after);
            }
        }
    }
    let (choice, mode) = match decided {
        Some(decision) => (decision.choice, decision.mode),
        None => {
            let wanted = scratch.get_mut(..control.len()).unwrap_or_default();
            let mode = fall_back(
                policy,
                supervision,
                state.history,
                observation,
                control,
                wanted,
            );
            limit(control, wanted, rate);
            (0, mode)
        }
    };
    state.history = state.history.then(mode);
    (state.choice, state.typical) = (choice, typical);
    Command {
        control,
        choice,
        mode,
        fault: state.phase.reason(),
        typical,
    }
}

/// The fallback law's control, to `wanted`; its mode.
#[inline(never)]
fn fall_back(
    policy: &Policy<'_>,
    supervision: &Supervision,
    history: ModeHistory,
    observation: &Observation<'_>,
    previous: &[f32],
    wanted: &mut [f32],
) -> u16 {
    match (supervision.fallback, history.mode()) {
        (FallbackKind::Hold, Some(mode)) => {
            for (wanted, &last) in wanted.iter_mut().zip(previous) {
                *wanted = last;
            }
            mode
        }
        (FallbackKind::Gain, _) => policy.fallback_with::<Native>(observation.state(), wanted),
        // A state without length has no gain that fits: the constant.
        (FallbackKind::Hold | FallbackKind::Constant, _) => {
            policy.fallback_with::<Native>(&[], wanted)
        }
    }
}

/// Moves `control` to what is wanted, as far as the rate limits let it.
#[inline(never)]
fn limit(control: &mut [f32], wanted: &[f32], rate: Option<&[f32]>) {
    Native::admit(wanted, None, rate, control);
}
