//! The supervisor, case by case: phases, return, rate limits, dwell, hysteresis, masks, the fault record.

mod support;

use firmware::supervisor::{FaultRecord, Observation, Phase, RECORD_WORDS, SupervisorState, step};
use firmware::{Controller, Fault, SCRATCH_LEN, boot};
use policy_format::FallbackKind;
use policy_format::constraint::limit_rate;
use proptest::prelude::*;
use support::common::{Aligned, Structure};
use support::{OwnedSafety, policy_of, slot, structure};

const CLASS: u32 = 5;

struct Loaded {
    slot: Aligned,
}

impl Loaded {
    fn new(change: impl FnOnce(&mut OwnedSafety)) -> Self {
        let owned = policy_of(&structure(), CLASS);
        let mut safety = OwnedSafety::of(&owned);
        change(&mut safety);
        Self {
            slot: slot(&safety.file(&owned)),
        }
    }

    fn controller(&self) -> Controller<'_> {
        boot(self.slot.bytes(), CLASS, &mut [0.0; SCRATCH_LEN])
    }
}

/// Commands of the supervisor on states one by one, each a period later: control, mode, fault.
fn run(
    controller: &Controller<'_>,
    state: &mut SupervisorState,
    states: &[[f32; 8]],
) -> Vec<(Vec<f32>, u16, Option<Fault>)> {
    let mut scratch = [0.0; SCRATCH_LEN];
    states
        .iter()
        .map(|x| {
            let command = step(controller, state, &Observation::lockstep(x), &mut scratch);
            (command.control().to_vec(), command.mode(), command.fault())
        })
        .collect()
}

const WELL: [f32; 8] = [0.5; 8];

/// Finite states inside the envelope, no two alike.
fn moving(count: usize) -> Vec<[f32; 8]> {
    (0..count)
        .map(|k| core::array::from_fn(|i| ((k * 7 + i * 3) as f32).sin() * 2.0))
        .collect()
}

#[test]
fn a_transient_fault_returns_after_the_stated_number_of_healthy_periods() {
    let loaded = Loaded::new(|s| s.supervision.recover_after = 3);
    let controller = loaded.controller();
    let mut state = SupervisorState::new();
    let mut states = moving(8);
    states[1][2] = f32::NAN;
    states[3][0] = 1e9;
    let faults: Vec<_> = run(&controller, &mut state, &states)
        .into_iter()
        .map(|(_, _, fault)| fault)
        .collect();
    // The second fault starts the count again; the first one stays the reason.
    let nan = Some(Fault::NON_FINITE_INPUT);
    assert_eq!(faults, [None, nan, nan, nan, nan, nan, None, None]);
}

#[test]
fn without_a_rule_of_return_only_an_acknowledgement_ends_it() {
    let loaded = Loaded::new(|s| s.supervision.recover_after = 0);
    let controller = loaded.controller();
    let mut state = SupervisorState::new();
    let mut bad = WELL;
    bad[0] = f32::INFINITY;
    run(&controller, &mut state, &[bad]);
    let after = run(&controller, &mut state, &moving(50));
    assert!(after.iter().all(|c| c.2 == Some(Fault::NON_FINITE_INPUT)));
    assert_eq!(
        state.phase(),
        Phase::Locked {
            reason: Fault::NON_FINITE_INPUT
        }
    );
    let last = after.last().unwrap().0.clone();
    state.acknowledge();
    let command = &run(&controller, &mut state, &[WELL])[0];
    assert_eq!(command.2, None);
    // The rate limit holds across: it starts from the fallback's last control.
    let safety = controller.as_ref().unwrap().policy().safety();
    let rate = safety.limits.unwrap().rate;
    for i in 0..8 {
        assert!((command.0[i] - last[i]).abs() <= rate[i] * 1.0001);
    }
}

#[test]
fn after_a_reset_the_fallback_law_acts_in_the_first_period() {
    let loaded = Loaded::new(|s| s.supervision.recover_after = 1);
    let controller = loaded.controller();
    let mut state = SupervisorState::after_reset(Fault::WATCHDOG_RESET);
    let commands = run(&controller, &mut state, &moving(5));
    assert!(commands.iter().all(|c| c.2 == Some(Fault::WATCHDOG_RESET)));
    let policy = controller.as_ref().unwrap().policy();
    assert_eq!(commands[0].1, policy.fallback_law().mode);
}

#[test]
fn each_kind_of_fallback_is_what_it_says() {
    for kind in [
        FallbackKind::Gain,
        FallbackKind::Hold,
        FallbackKind::Constant,
    ] {
        let loaded = Loaded::new(|s| {
            s.supervision.fallback = kind;
            s.supervision.recover_after = 0;
            s.rate.fill(f32::MAX);
        });
        let controller = loaded.controller();
        let policy = controller.as_ref().unwrap().policy();
        let mut state = SupervisorState::new();
        let mut outside = WELL;
        outside[7] = 100.0;
        let commands = run(&controller, &mut state, &[WELL, outside]);
        assert_eq!(commands[1].2, Some(Fault::OUT_OF_ENVELOPE));
        let mut law = vec![0.0; 8];
        let (expected, mode) = match kind {
            FallbackKind::Gain => {
                let mode = policy.fallback(&outside, &mut law);
                (law, mode)
            }
            FallbackKind::Hold => (commands[0].0.clone(), commands[0].1),
            FallbackKind::Constant => (
                policy.fallback_law().constant.to_vec(),
                policy.fallback_law().mode,
            ),
        };
        assert_eq!(
            (&commands[1].0, commands[1].1),
            (&expected, mode),
            "{kind:?}"
        );
    }
}

#[test]
fn the_first_period_is_limited_against_the_start() {
    let loaded = Loaded::new(|s| s.rate.fill(1e-3));
    let controller = loaded.controller();
    let start = controller
        .as_ref()
        .unwrap()
        .policy()
        .safety()
        .limits
        .unwrap()
        .start;
    let commands = run(&controller, &mut SupervisorState::new(), &[WELL]);
    for i in 0..8 {
        assert!((commands[0].0[i] - start[i]).abs() <= 1.001e-3);
    }
}

/// Whoever acts first: the fallback law begins within a step of the start as well.
#[test]
fn the_first_period_of_the_fallback_law_is_limited_against_the_start() {
    let loaded = Loaded::new(|s| s.rate.fill(1e-3));
    let controller = loaded.controller();
    let policy = controller.as_ref().unwrap().policy();
    let limits = policy.safety().limits.unwrap();
    assert!(limits.start.iter().all(|&u| u != 0.0));
    for (mut state, x) in [
        (SupervisorState::new(), [f32::NAN; 8]),
        (SupervisorState::after_reset(Fault::WATCHDOG_RESET), WELL),
    ] {
        let commands = run(&controller, &mut state, &[x]);
        assert!(commands[0].2.is_some());
        let mut law = [0.0; 8];
        policy.fallback(&x, &mut law);
        for i in 0..8 {
            let expected = limit_rate(law[i], limits.start[i], limits.rate[i]);
            assert_eq!(commands[0].0[i].to_bits(), expected.to_bits(), "{i}");
        }
    }
}

/// Steps one observation after another, each fault acknowledged before the next: the faults.
fn faults_at(controller: &Controller<'_>, observations: &[Observation<'_>]) -> Vec<Option<Fault>> {
    let mut state = SupervisorState::new();
    let mut scratch = [0.0; SCRATCH_LEN];
    let mut fault_of = |observation| {
        let fault = step(controller, &mut state, observation, &mut scratch).fault();
        state.acknowledge();
        fault
    };
    observations.iter().map(&mut fault_of).collect()
}

#[test]
fn a_period_without_a_state_hides_no_fault_of_time() {
    let loaded = Loaded::new(|s| s.supervision.recover_after = 1);
    let controller = loaded.controller();
    let states = moving(4);
    let missing = |now| Observation::missing(Fault::SENSOR_FAILED, now);
    let seen = |k: usize, now| Observation::new(&states[k], now - 1, now);
    let failed = Some(Fault::SENSOR_FAILED);
    // The first period of all; the deadline is 15 ms.
    for (now, fault) in [
        (1_015_000, None),
        (1_015_001, Some(Fault::MISSED_DEADLINE)),
        (999_999, Some(Fault::TIME_BACKWARDS)),
    ] {
        let faults = faults_at(&controller, &[missing(1_000_000), seen(0, now)]);
        assert_eq!(faults, [failed, fault], "{now}");
    }
    // Behind a state; a clock that runs back meanwhile is noticed, and one that goes on is not.
    for (between, now, fault) in [
        (1_010_000, 1_020_000, None),
        (1_010_000, 1_025_001, Some(Fault::MISSED_DEADLINE)),
        (1_010_000, 1_009_999, Some(Fault::TIME_BACKWARDS)),
        (500_000, 999_999, Some(Fault::TIME_BACKWARDS)),
        (500_000, 1_015_000, None),
    ] {
        let faults = faults_at(
            &controller,
            &[seen(0, 1_000_000), missing(between), seen(1, now)],
        );
        assert_eq!(faults, [None, failed, fault], "{between}, {now}");
    }
    // The state before the gap is still the one that a sensor which stopped repeats.
    let again = Observation::new(&states[1], 999_999, 1_004_000);
    let faults = faults_at(
        &controller,
        &[seen(0, 1_000_000), missing(1_002_000), again],
    );
    assert_eq!(faults, [None, failed, Some(Fault::SENSOR_STOPPED)]);
}

/// The policy's own arithmetic is looked at while the fallback law acts, too: what the policy would refuse is no step towards its return.
#[test]
fn a_state_that_the_policy_would_refuse_is_no_period_without_a_fault() {
    for (unit_norm, huge) in [(false, f32::MAX), (true, 2e38)] {
        let owned = policy_of(
            &Structure {
                unit_norm,
                ..structure()
            },
            CLASS,
        );
        let mut safety = OwnedSafety::of(&owned);
        safety.envelope = Default::default();
        safety.supervision.recover_after = 3;
        safety.supervision.frozen_after = 0;
        let slot = slot(&safety.file(&owned));
        let controller = boot(slot.bytes(), CLASS, &mut [0.0; SCRATCH_LEN]);
        let mut states = moving(8);
        for state in &mut states[1..4] {
            *state = [huge; 8];
        }
        let mut state = SupervisorState::new();
        let commands = run(&controller, &mut state, &states);
        let faults: Vec<_> = commands.iter().map(|c| c.2).collect();
        let refused = Some(Fault::NON_FINITE_INPUT);
        let expected = [
            None, refused, refused, refused, refused, refused, None, None,
        ];
        assert_eq!(faults, expected, "unit norm: {unit_norm}");
    }
}

/// In the order of the table, whoever acts: what is not finite is named so, however often it comes.
#[test]
fn a_value_that_is_not_finite_comes_before_a_sensor_that_stands_still() {
    let loaded = Loaded::new(|s| {
        s.envelope = Default::default();
        s.supervision.frozen_after = 2;
        s.supervision.recover_after = 0;
    });
    let controller = loaded.controller();
    let mut state = SupervisorState::new();
    for _ in 0..3 {
        let commands = run(&controller, &mut state, &[[f32::NAN; 8]]);
        assert_eq!(commands[0].2, Some(Fault::NON_FINITE_INPUT));
        state.acknowledge();
    }
}

#[test]
fn a_dwelling_mode_is_held_and_masks_bind_after_it() {
    let loaded = Loaded::new(|s| {
        s.dwell = vec![4; 4];
        s.rate.fill(f32::MAX);
    });
    let controller = loaded.controller();
    let rules = controller
        .as_ref()
        .unwrap()
        .policy()
        .safety()
        .mode_rules
        .unwrap();
    let states = moving(400);
    let modes: Vec<u16> = run(&controller, &mut SupervisorState::new(), &states)
        .iter()
        .map(|c| {
            assert_eq!(c.2, None);
            c.1
        })
        .collect();
    let mut runs: Vec<(u16, usize)> = Vec::new();
    for &mode in &modes {
        match runs.last_mut() {
            Some((held, count)) if *held == mode => *count += 1,
            _ => runs.push((mode, 1)),
        }
    }
    assert!(runs.len() > 10, "{runs:?}");
    runs.pop();
    assert!(runs.iter().all(|&(_, count)| count >= 4), "{runs:?}");
    for pair in runs.windows(2) {
        assert!(rules.may_follow(pair[0].0, pair[1].0));
        // Opposite modes of the ring of four never follow each other.
        assert_ne!((pair[0].0 + 2) % 4, pair[1].0);
    }
}

#[test]
fn hysteresis_makes_switches_rarer_and_never_changes_a_mode_alone() {
    let switches = |hysteresis: f32| {
        let loaded = Loaded::new(|s| {
            s.hysteresis = hysteresis;
            s.dwell.fill(1);
            s.follow.clear();
        });
        let controller = loaded.controller();
        // Slow enough that neighbours are close to each other.
        let states: Vec<[f32; 8]> = (0..3000)
            .map(|k| core::array::from_fn(|i| (k as f32 * 0.02 + i as f32).sin() * 2.0))
            .collect();
        let commands = run(&controller, &mut SupervisorState::new(), &states);
        commands.windows(2).filter(|w| w[0].1 != w[1].1).count()
    };
    let (none, some, much) = (switches(0.0), switches(1.0), switches(1e9));
    assert!(none > some && some > much, "{none} {some} {much}");
    assert_eq!(much, 0);
}

#[test]
fn leaving_the_training_distribution_is_flagged_and_no_fault() {
    let loaded = Loaded::new(|_| {});
    let controller = loaded.controller();
    let mut state = SupervisorState::new();
    let mut scratch = [0.0; SCRATCH_LEN];
    let mut x = WELL;
    for (value, typical) in [(2.5, true), (2.500_001, false), (4.0, false), (-2.5, true)] {
        x[0] = value;
        let command = step(
            &controller,
            &mut state,
            &Observation::lockstep(&x),
            &mut scratch,
        );
        assert_eq!(
            (command.fault(), command.in_distribution()),
            (None, typical)
        );
    }
}

proptest! {
    #[test]
    fn a_record_survives_and_damage_is_noticed(
        codes in prop::collection::vec(1..=u16::MAX, 0..6),
        resets in 0..3,
        word in 0..RECORD_WORDS,
        bit in 0..32,
    ) {
        let mut record = FaultRecord::default();
        for &code in &codes {
            record.note(Fault::from_code(code).unwrap());
        }
        for _ in 0..resets {
            record.note_reset(Fault::WATCHDOG_RESET);
        }
        let words = record.words();
        prop_assert_eq!(FaultRecord::load(&words), record);
        let count = codes.len() as u32 + resets as u32;
        prop_assert_eq!((record.faults(), record.resets()), (count, resets as u32));
        if let Some(&first) = codes.first() {
            prop_assert_eq!(record.first(), Fault::from_code(first));
        }
        let mut damaged = words;
        damaged[word] ^= 1_u32 << bit;
        prop_assert_eq!(FaultRecord::load(&damaged), FaultRecord::default());
    }

    #[test]
    fn phases_follow_their_diagram(
        events in prop::collection::vec(prop::option::of(0_usize..3), 0..60),
        recover_after in 0_u32..4,
    ) {
        // Transient, transient, lasting.
        let faults = [Fault::OUT_OF_ENVELOPE, Fault::NON_FINITE_INPUT, Fault::NON_FINITE_VALUE];
        let mut phase = Phase::Policy;
        for event in events {
            let before = phase;
            let check = event.map_or(Ok(()), |k| Err(faults[k]));
            phase = phase.observed(check, recover_after);
            match (before, check, phase) {
                (Phase::Locked { .. }, _, after) => prop_assert_eq!(before, after),
                (Phase::Policy, Ok(()), after) => prop_assert_eq!(after, Phase::Policy),
                (_, Err(fault), Phase::Locked { reason }) => {
                    prop_assert_eq!(fault, reason);
                    prop_assert!(recover_after == 0 || !fault.is_transient());
                }
                (_, Err(fault), Phase::Fallback { reason, healthy }) => {
                    prop_assert_eq!(healthy, 0);
                    prop_assert!(recover_after > 0 && fault.is_transient());
                    prop_assert_eq!(reason, before.reason().unwrap_or(fault));
                }
                (Phase::Fallback { reason, healthy }, Ok(()), after) => {
                    let healthy = healthy + 1;
                    let expected = if healthy >= recover_after {
                        Phase::Policy
                    } else {
                        Phase::Fallback { reason, healthy }
                    };
                    prop_assert_eq!(after, expected);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
