//! The supervisor under the hostile mixture: half valid states, a quarter within two units in the last place of a
//! threshold, a quarter raw bit patterns. Every command is admissible, and every fault is the one that an oracle
//! written from `docs/safety.md` expects.
//!
//! `HPO_HOSTILE_STEPS` sets the number of steps; 1,000,000 is the stated figure, the default a tenth of it.

mod support;

use firmware::supervisor::{Command, Observation, Phase, SupervisorState, step};
use firmware::{Fault, SCRATCH_LEN, boot};
use policy_format::constraint::limit_rate;
use policy_format::{DecideError, FallbackKind, ModeHistory, Policy, Supervision};
use support::common::Structure;
use support::common::generate::Rng;
use support::{OwnedSafety, policy_of, slot, structure};

const CLASS: u32 = 5;

fn steps() -> usize {
    match std::env::var("HPO_HOSTILE_STEPS") {
        Ok(text) => text.parse().expect("HPO_HOSTILE_STEPS is a number"),
        Err(_) => 100_000,
    }
}

/// `value` moved by `units` units in the last place, through zero and the subnormals.
fn nudged(value: f32, units: i32) -> f32 {
    let key = |v: f32| {
        let bits = v.to_bits() as i32;
        if bits < 0 { i32::MIN - bits } else { bits }
    };
    let moved = key(value).saturating_add(units);
    f32::from_bits(if moved < 0 { i32::MIN - moved } else { moved } as u32)
}

/// A source of hostile states for a policy.
struct Mixture {
    rng: Rng,
    n: usize,
    envelope: [Vec<f32>; 4],
    /// States on both sides of a switching surface, neighbours in binary32 along a line.
    surface: Vec<Vec<f32>>,
}

impl Mixture {
    fn new(policy: &Policy<'_>, safety: &OwnedSafety, seed: u64) -> Self {
        let mut mixture = Self {
            rng: Rng(seed),
            n: policy.state_dim(),
            envelope: safety.envelope.clone(),
            surface: Vec::new(),
        };
        let mut scratch = vec![0.0; policy.scratch_len()];
        let mut control = vec![0.0; policy.control_dim()];
        let mut choice = |state: &[f32]| {
            policy
                .decide(state, &mut control, &mut scratch)
                .unwrap()
                .choice
        };
        while mixture.surface.len() < 64 {
            let (mut a, mut b) = (mixture.valid(), mixture.valid());
            let (left, right) = (choice(&a), choice(&b));
            if left == right {
                continue;
            }
            // Bisection until no coordinate moves any more.
            for _ in 0..200 {
                let middle: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + (b - a) / 2.0).collect();
                if middle == a || middle == b {
                    break;
                }
                if choice(&middle) == left {
                    a = middle;
                } else {
                    b = middle;
                }
            }
            mixture.surface.extend([a, b]);
        }
        mixture
    }

    fn below(&mut self, count: usize) -> usize {
        (self.rng.next() % count as u64) as usize
    }

    fn valid(&mut self) -> Vec<f32> {
        let [lower, upper, ..] = &self.envelope;
        let span = lower.iter().zip(upper);
        span.map(|(low, high)| {
            let unit = (self.rng.next() >> 40) as f32 / 16_777_216.0;
            low + (high - low) * unit
        })
        .collect()
    }

    fn state(&mut self) -> Vec<f32> {
        match self.below(4) {
            0 | 1 => self.valid(),
            2 => self.threshold(),
            _ => (0..self.n)
                .map(|_| f32::from_bits(self.rng.next() as u32))
                .collect(),
        }
    }

    /// A state on a switching surface, or a valid one with some coordinates on a threshold; all moved by up to two units.
    fn threshold(&mut self) -> Vec<f32> {
        let nudge = |rng: &mut Rng| (rng.next() % 5) as i32 - 2;
        if self.below(2) == 0 {
            let index = self.below(self.surface.len());
            let mut state = self.surface[index].clone();
            for value in &mut state {
                *value = nudged(*value, nudge(&mut self.rng));
            }
            return state;
        }
        let mut state = self.valid();
        for i in 0..self.n {
            if self.below(2) == 0 {
                continue;
            }
            let special = [0.0, f32::MIN_POSITIVE, -f32::MIN_POSITIVE];
            let value = match self.below(7) {
                k @ 0..4 => self.envelope[k][i],
                k => special[k - 4],
            };
            state[i] = nudged(value, nudge(&mut self.rng));
        }
        state
    }
}

/// What the page on safety says should happen, in its own words.
struct Oracle {
    supervision: Supervision,
    /// Of the last state that was measured, and of the last step.
    measured: Option<u64>,
    now: Option<u64>,
    last: Vec<u32>,
    same: u32,
    healthy: Option<u32>,
    locked: bool,
}

impl Oracle {
    fn measurement(
        &mut self,
        policy: &Policy<'_>,
        state: &[f32],
        measured: u64,
        now: u64,
    ) -> Option<Fault> {
        let last_measured = self.measured.replace(measured);
        let last_now = self.now.replace(now);
        if state.len() != policy.state_dim() {
            return Some(Fault::WRONG_LENGTH);
        }
        if state.iter().any(|v| !v.is_finite()) {
            return Some(Fault::NON_FINITE_INPUT);
        }
        if measured > now {
            return Some(Fault::FUTURE_MEASUREMENT);
        }
        if last_now.is_some_and(|last| now < last)
            || last_measured.is_some_and(|last| measured < last)
        {
            return Some(Fault::TIME_BACKWARDS);
        }
        if last_measured == Some(measured) {
            return Some(Fault::SENSOR_STOPPED);
        }
        if last_now.is_some_and(|last| now > last + u64::from(self.supervision.deadline_us)) {
            return Some(Fault::MISSED_DEADLINE);
        }
        if now > measured + u64::from(self.supervision.max_age_us) {
            return Some(Fault::STALE_MEASUREMENT);
        }
        let envelope = policy.safety().envelope.unwrap();
        if (0..state.len()).any(|i| state[i] < envelope.lower[i] || state[i] > envelope.upper[i]) {
            return Some(Fault::OUT_OF_ENVELOPE);
        }
        let bits: Vec<u32> = state.iter().map(|v| v.to_bits()).collect();
        self.same = if bits == self.last { self.same + 1 } else { 1 };
        self.last = bits;
        (self.same >= self.supervision.frozen_after).then_some(Fault::SENSOR_FROZEN)
    }

    /// A period in which the sensor gave nothing: its clock counts all the same, unless it ran back.
    fn nothing(&mut self, now: u64) -> Option<Fault> {
        self.now = self.now.max(Some(now));
        Some(Fault::SENSOR_FAILED)
    }

    /// Whether the policy may act after a measurement with or without fault.
    fn may_act(&mut self, fault: Option<Fault>) -> bool {
        if let Some(fault) = fault {
            if !fault.is_transient() || self.supervision.recover_after == 0 {
                self.locked = true;
            }
            self.healthy = Some(0);
        } else if let Some(healthy) = &mut self.healthy {
            *healthy += 1;
            if *healthy >= self.supervision.recover_after {
                self.healthy = None;
            }
        }
        if self.locked {
            return false;
        }
        self.healthy.is_none()
    }
}

fn assert_admissible(
    policy: &Policy<'_>,
    command: &Command<'_>,
    previous: &[f32],
    history: ModeHistory,
) {
    let (bounds, safety) = (policy.bounds().unwrap(), policy.safety());
    let (limits, rules) = (safety.limits.unwrap(), safety.mode_rules.unwrap());
    assert_eq!(command.control().len(), policy.control_dim());
    for (i, &u) in command.control().iter().enumerate() {
        assert!(
            bounds.lower[i] <= u && u <= bounds.upper[i],
            "control {i}: {u}"
        );
        let limited = limit_rate(u, previous[i], limits.rate[i]);
        assert_eq!(u.to_bits(), limited.to_bits(), "rate of control {i}");
    }
    assert!(usize::from(command.mode()) < policy.modes());
    if command.fault().is_none() {
        assert!(rules.allows(history, command.mode()));
        if rules.dwells(history) {
            assert_eq!(Some(command.mode()), history.mode());
        }
        assert_eq!(
            policy.choice_modes()[usize::from(command.choice())],
            command.mode()
        );
    }
}

/// Runs `count` hostile steps of a policy and returns how many reached its networks, and the faults seen.
fn run(
    structure: &Structure,
    kind: FallbackKind,
    recover_after: u32,
    count: usize,
) -> (usize, Vec<Fault>) {
    let owned = policy_of(structure, CLASS);
    let mut safety = OwnedSafety::of(&owned);
    safety.supervision.fallback = kind;
    safety.supervision.recover_after = recover_after;
    let slot = slot(&safety.file(&owned));
    let mut scratch = [f32::NAN; SCRATCH_LEN];
    let controller = boot(slot.bytes(), CLASS, &mut scratch);
    let policy = controller.as_ref().unwrap().policy();
    let mut mixture = Mixture::new(policy, &safety, 77);
    let mut state = SupervisorState::new();
    let mut oracle = Oracle {
        supervision: safety.supervision,
        measured: None,
        now: None,
        last: Vec::new(),
        same: 0,
        healthy: None,
        locked: false,
    };
    let (mut reached, mut seen) = (0, Vec::new());
    let mut previous = safety.start.clone();
    let mut other = vec![0.0; policy.scratch_len()];
    let mut raw = vec![0.0; policy.control_dim()];
    let (mut measured, mut now) = (1_000_000_u64, 1_000_000_u64);
    let mut x = mixture.state();
    for _ in 0..count {
        // Times: sound as a rule, now and then one of each fault, and each threshold exactly.
        (measured, now) = match mixture.below(64) {
            0 => (measured, now + 10_000),
            1 => (measured + 1, now + 10_000),
            2 => (now + 10_001, now + 10_000),
            3 => (measured + 1, now.wrapping_sub(5)),
            4 => (now + 20_000, now + 20_001),
            5 => (now + 15_000, now + 15_000),
            6 => (now + 15_001, now + 15_001),
            7 => (now + 1_999, now + 9_999),
            8 => (now + 1_999, now + 10_000),
            9 => (measured.saturating_sub(1), now + 10_000),
            _ => (now + 9_000, now + 10_000),
        };
        // A sensor that repeats itself now and then, long enough to be noticed.
        if mixture.below(8) != 0 {
            x = mixture.state();
        }
        let length = if mixture.below(512) == 0 {
            x.len() - 1
        } else {
            x.len()
        };
        let history = state.history();
        let nothing = mixture.below(64) == 0;
        let observation = if nothing {
            Observation::missing(Fault::SENSOR_FAILED, now)
        } else {
            Observation::new(&x[..length], measured, now)
        };
        let command = step(&controller, &mut state, &observation, &mut scratch);
        assert_admissible(policy, &command, &previous, history);

        let bad = if nothing {
            oracle.nothing(now)
        } else {
            oracle.measurement(policy, &x[..length], measured, now)
        };
        let mut expected = bad;
        if oracle.may_act(bad) {
            reached += 1;
            let rules = policy.safety().mode_rules.unwrap();
            let result = policy.decide_by(&x[..length], &mut raw, &mut other, |logits| {
                rules
                    .choose(history, policy.choice_modes(), policy.factors(), logits)
                    .unwrap()
            });
            match result {
                Ok(decision) => assert_eq!(decision.choice, command.choice()),
                Err(error) => {
                    let fault = match error {
                        DecideError::NonFiniteInput => Fault::NON_FINITE_INPUT,
                        DecideError::NonFiniteValue => Fault::NON_FINITE_VALUE,
                        DecideError::WrongLength => Fault::WRONG_LENGTH,
                    };
                    assert!(!oracle.may_act(Some(fault)) || recover_after > 0);
                    expected = Some(fault);
                }
            }
            assert_eq!(command.fault(), expected);
        } else {
            // In the fallback phase the first reason stays; a fault is never missed.
            assert!(command.fault().is_some());
            if recover_after == 1 && !oracle.locked {
                assert_eq!(command.fault().is_some(), expected.is_some());
            }
        }
        if let Some(fault) = expected
            && !seen.contains(&fault)
        {
            seen.push(fault);
        }
        previous = command.control().to_vec();
        if matches!(state.phase(), Phase::Locked { .. }) {
            assert!(oracle.locked);
            state.acknowledge();
            (oracle.locked, oracle.healthy) = (false, None);
        } else {
            assert!(!oracle.locked);
        }
    }
    (reached, seen)
}

#[test]
fn every_command_is_admissible_and_no_fault_is_missed() {
    let count = steps();
    let (reached, seen) = run(&structure(), FallbackKind::Gain, 1, count);
    assert!(
        2 * reached >= count,
        "{reached} of {count} reached the policy"
    );
    for fault in [
        Fault::WRONG_LENGTH,
        Fault::NON_FINITE_INPUT,
        Fault::OUT_OF_ENVELOPE,
        Fault::STALE_MEASUREMENT,
        Fault::TIME_BACKWARDS,
        Fault::MISSED_DEADLINE,
        Fault::SENSOR_STOPPED,
        Fault::SENSOR_FROZEN,
        Fault::FUTURE_MEASUREMENT,
        Fault::SENSOR_FAILED,
    ] {
        assert!(seen.contains(&fault), "{fault} never came up");
    }
}

#[test]
fn every_kind_of_fallback_and_return_is_admissible() {
    let networks = Structure {
        scores: false,
        selector: Some(vec![12]),
        control: Some(vec![12]),
        head_per_choice: true,
        factors: vec![2, 3],
        n: 3,
        m: 2,
        ..structure()
    };
    for structure in [structure(), networks] {
        for kind in [
            FallbackKind::Gain,
            FallbackKind::Hold,
            FallbackKind::Constant,
        ] {
            for recover_after in [0, 1, 3] {
                run(&structure, kind, recover_after, steps() / 20);
            }
        }
    }
}

#[test]
fn subnormal_and_huge_states_inside_the_envelope_are_no_fault() {
    let owned = policy_of(&structure(), CLASS);
    let mut safety = OwnedSafety::of(&owned);
    for (list, bound) in safety.envelope.iter_mut().zip([-1.0, 1.0, -1.0, 1.0]) {
        list.fill(bound * f32::MAX);
    }
    let slot = slot(&safety.file(&owned));
    let mut scratch = [0.0; SCRATCH_LEN];
    let controller = boot(slot.bytes(), CLASS, &mut scratch);
    let mut state = SupervisorState::new();
    let tiny = [f32::from_bits(1); 8];
    let command = step(
        &controller,
        &mut state,
        &Observation::lockstep(&tiny),
        &mut scratch,
    );
    assert_eq!(command.fault(), None);
    // Huge: the policy's own arithmetic overflows, which is a fault of its own; the fallback law acts at once.
    let huge = [f32::MAX; 8];
    let command = step(
        &controller,
        &mut state,
        &Observation::lockstep(&huge),
        &mut scratch,
    );
    let fault = command.fault().unwrap();
    assert!([Fault::NON_FINITE_INPUT, Fault::NON_FINITE_VALUE].contains(&fault));
    assert!(command.control().iter().all(|u| u.is_finite()));
}

#[test]
fn nudging_crosses_zero_by_subnormals() {
    assert_eq!(nudged(0.0, 1), f32::from_bits(1));
    assert_eq!(nudged(f32::from_bits(1), -2), -f32::from_bits(1));
    assert_eq!(nudged(1.0, 1), 1.0 + f32::EPSILON);
}
