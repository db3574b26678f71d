//! One supervised control step.

use policy_format::constraint::joint_logit;
use policy_format::{
    Constraints, DecideError, Decision, FallbackKind, ModeHistory, ModeRules, Policy,
};

use super::command::Command;
use super::monitor::Observation;
use super::phase::Phase;
use super::state::SupervisorState;
use crate::boot::{Armed, SCRATCH_LEN};
use crate::controller::Controller;
use crate::fault::Fault;
use crate::kernels::admit;

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
    let Ok(armed) = controller else {
        return state.last(controller);
    };
    let (policy, plan) = (armed.policy(), armed.plan());
    // Nearly every period passes at first sight; anything else is looked at once more, check by check.
    let first = if state.phase == Phase::Policy {
        state.monitor.pass(armed, observation, scratch)
    } else {
        None
    };
    let typical = match first {
        Some(typical) => typical,
        None => match look_closely(armed, state, observation, scratch) {
            Closer::Acts { typical } => typical,
            Closer::Falls { typical } => {
                return fall_back(armed, state, observation, scratch, typical);
            }
        },
    };
    let control = plan.controls(policy, &mut state.control);
    match plan.decide(
        policy,
        observation.state(),
        control,
        scratch,
        &state.history,
    ) {
        Ok(decision) => act(armed, state, decision, typical),
        Err(error) => {
            refuse(armed, state, error);
            fall_back(armed, state, observation, scratch, typical)
        }
    }
}

/// Who acts in this period, and whether the state lies in the training distribution.
enum Closer {
    /// The policy, on the state that stands in the scratch.
    Acts { typical: bool },
    /// The fallback law.
    Falls { typical: bool },
}

/// The checks of [`step`] one by one, for an observation that does not pass at first sight.
#[cold]
#[inline(never)]
fn look_closely(
    armed: &Armed<'_>,
    state: &mut SupervisorState,
    observation: &Observation<'_>,
    scratch: &mut [f32; SCRATCH_LEN],
) -> Closer {
    let closer = watch(armed, state, observation, scratch);
    if let Closer::Acts { typical } = closer
        && !armed
            .plan()
            .prepare(armed.policy(), observation.state(), scratch)
    {
        refuse(armed, state, DecideError::NonFiniteInput);
        return Closer::Falls { typical };
    }
    closer
}

/// The monitors' checks and what follows from them.
fn watch(
    armed: &Armed<'_>,
    state: &mut SupervisorState,
    observation: &Observation<'_>,
    scratch: &mut [f32; SCRATCH_LEN],
) -> Closer {
    let acts = state.phase == Phase::Policy;
    let check = state.monitor.check(armed, observation, scratch, acts);
    let typical = check.unwrap_or(false);
    state.phase = state
        .phase
        .observed(check.map(|_| ()), recover_after(armed));
    if state.phase == Phase::Policy {
        Closer::Acts { typical }
    } else {
        Closer::Falls { typical }
    }
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
    let Ok(armed) = controller else {
        return state.last(controller);
    };
    let (policy, measured) = (armed.policy(), observation.state());
    begin(policy, state);
    let typical = match watch(armed, state, observation, scratch) {
        Closer::Acts { typical } => typical,
        Closer::Falls { typical } => {
            return fall_back(armed, state, observation, scratch, typical);
        }
    };
    let Some(control) = state.control.get_mut(..policy.control_dim()) else {
        return Command::safe(Some(Fault::WRONG_LENGTH));
    };
    let (safety, history) = (policy.safety(), state.history);
    let rules = safety.mode_rules.as_ref();
    let constraints = Constraints {
        rules,
        history,
        rate: safety.limits.as_ref().map(|limits| limits.rate),
    };
    let pick = |logits: &[f32]| {
        pick(&Selection {
            policy,
            rules,
            history,
            logits,
        })
    };
    match policy.decide_constrained_by(measured, control, scratch, Some(&constraints), pick) {
        Ok(decision) => act(armed, state, decision, typical),
        Err(error) => {
            refuse(armed, state, error);
            fall_back(armed, state, observation, scratch, typical)
        }
    }
}

/// Before the first period of an episode the rate limits have their own start.
fn begin(policy: &Policy<'_>, state: &mut SupervisorState) {
    if let Some(limits) = &policy.safety().limits
        && state.history.age() == 0
    {
        // A copy of whole slices would hold code for a panic if their lengths differed.
        for (control, &start) in state.control.iter_mut().zip(limits.start) {
            *control = start;
        }
    }
}

/// The policy acts: `state` holds its control.
#[inline(always)]
fn act<'s>(
    armed: &Armed<'_>,
    state: &'s mut SupervisorState,
    decision: Decision,
    typical: bool,
) -> Command<'s> {
    let Decision { choice, mode } = decision;
    state.history = state.history.then(mode);
    (state.choice, state.typical) = (choice, typical);
    Command {
        control: armed.plan().controls(armed.policy(), &mut state.control),
        choice,
        mode,
        fault: None,
        typical,
    }
}

/// The policy's own arithmetic refused the state.
#[cold]
#[inline(never)]
fn refuse(armed: &Armed<'_>, state: &mut SupervisorState, error: DecideError) {
    state.phase = state.phase.tripped(error.into(), recover_after(armed));
}

fn recover_after(armed: &Armed<'_>) -> u32 {
    let supervision = armed.policy().safety().supervision.as_ref();
    supervision.map_or(0, |supervision| supervision.recover_after)
}

/// The fallback law acts: its control within the rate limits.
#[inline(never)]
fn fall_back<'s>(
    armed: &Armed<'_>,
    state: &'s mut SupervisorState,
    observation: &Observation<'_>,
    scratch: &mut [f32; SCRATCH_LEN],
    typical: bool,
) -> Command<'s> {
    let policy = armed.policy();
    let safety = policy.safety();
    begin(policy, state);
    let Some(control) = state.control.get_mut(..policy.control_dim()) else {
        return Command::safe(Some(Fault::WRONG_LENGTH));
    };
    let wanted = scratch.get_mut(..control.len()).unwrap_or_default();
    let kind = safety
        .supervision
        .map_or(FallbackKind::Gain, |s| s.fallback);
    let mode = wanted_control(policy, kind, state.history, observation, control, wanted);
    let rate = safety.limits.as_ref().map(|limits| limits.rate);
    // What the fallback law wants is finite.
    let _: bool = admit(wanted, rate, control);
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
fn wanted_control(
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
        (FallbackKind::Gain, _) => policy.fallback(observation.state(), wanted),
        // A state without length has no gain that fits: the constant.
        (FallbackKind::Hold | FallbackKind::Constant, _) => policy.fallback(&[], wanted),
    }
}
