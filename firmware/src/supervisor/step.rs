//! One supervised control step.

use policy_format::constraint::joint_logit;
use policy_format::{
    Constraints, DecideError, Decision, FallbackKind, Kernels, ModeHistory, ModeRules, Policy,
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
    let measured = observation.state();
    supervise(
        controller,
        state,
        observation,
        scratch,
        |policy, _, control, constraints, scratch| {
            policy.decide_constrained_with::<Native>(measured, control, scratch, constraints)
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
    let measured = observation.state();
    supervise(
        controller,
        state,
        observation,
        scratch,
        |policy, history, control, constraints, scratch| {
            policy.decide_constrained_by_with::<Native>(
                measured,
                control,
                scratch,
                constraints,
                |logits| {
                    pick(&Selection {
                        policy,
                        rules: policy.safety().mode_rules.as_ref(),
                        history,
                        logits,
                    })
                },
            )
        },
    )
}

/// Everything around the policy's decision, which `decide` makes: finite, inside the bounds, within the rate limits.
#[inline(always)]
fn supervise<'s>(
    controller: &Controller<'_>,
    state: &'s mut SupervisorState,
    observation: &Observation<'_>,
    scratch: &mut [f32; SCRATCH_LEN],
    decide: impl FnOnce(
        &Policy<'_>,
        ModeHistory,
        &mut [f32],
        Option<&Constraints<'_>>,
        &mut [f32; SCRATCH_LEN],
    ) -> Result<Decision, DecideError>,
) -> Command<'s> {
    let Ok(armed) = controller else {
        return state.last(controller);
    };
    let policy = armed.policy();
    let safety = policy.safety();
    let supervision = safety.supervision.as_ref();
    let recover_after = || supervision.map_or(0, |supervision| supervision.recover_after);
    // Boot admits no policy beyond CAPACITY.
    let Some(control) = state.control.get_mut(..policy.control_dim()) else {
        return Command::safe(Some(Fault::WRONG_LENGTH));
    };
    let rate = match &safety.limits {
        Some(limits) => {
            if state.history.mode().is_none() {
                // Both have m floats; a copy of whole slices would hold code for a panic if they had not.
                for (control, &start) in control.iter_mut().zip(limits.start) {
                    *control = start;
                }
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
    let policy_acts = if policy_acts && check.is_ok() {
        true
    } else {
        let check = check.map(|_| ());
        state.phase = state.phase.observed(check, recover_after());
        state.phase == Phase::Policy
    };
    if policy_acts {
        let (history, rules) = (state.history, safety.mode_rules.as_ref());
        let decision = if rules.is_none() && rate.is_none() {
            decide(policy, history, control, None, scratch)
        } else {
            let constraints = Constraints {
                rules,
                history,
                rate,
            };
            decide(policy, history, control, Some(&constraints), scratch)
        };
        match decision {
            Ok(Decision { choice, mode }) => {
                state.history = history.then(mode);
                (state.choice, state.typical) = (choice, typical);
                return Command {
                    control,
                    choice,
                    mode,
                    fault: None,
                    typical,
                };
            }
            Err(error) => {
                state.phase = state.phase.tripped(error.into(), recover_after());
            }
        }
    }
    let wanted = scratch.get_mut(..control.len()).unwrap_or_default();
    let kind = supervision.map_or(FallbackKind::Gain, |supervision| supervision.fallback);
    let mode = fall_back(policy, kind, state.history, observation, control, wanted);
    // What the fallback law wants is finite.
    let _: bool = Native::admit(wanted, None, rate, control);
    state.history = state.history.then(mode);
    (state.choice, state.typical) = (0, typical);
    Command {
        control,
        choice: 0,
        mode,
        fault: state.phase.reason(),
        typical,
    }
}

/// The fallback law's control, to `wanted`; its mode.
#[inline(never)]
fn fall_back(
    policy: &Policy<'_>,
    kind: FallbackKind,
    history: ModeHistory,
    observation: &Observation<'_>,
    previous: &[f32],
    wanted: &mut [f32],
) -> u16 {
    match (kind, history.mode()) {
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
