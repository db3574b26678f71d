//! The control step: the policy while all is well, the fallback law ever after a fault.

mod support;

use firmware::{Controller, ControllerState, Fault, SCRATCH_LEN, boot, control_step};
use policy_format::message::MAX_CONTROL;
use proptest::prelude::*;
use support::common::{Aligned, OwnedPolicy};
use support::{file, policy_of, slot, structure};

const CLASS: u32 = 5;

struct Loaded {
    slot: Aligned,
    scratch: [f32; SCRATCH_LEN],
}

impl Loaded {
    fn new(policy: &OwnedPolicy) -> Self {
        Self {
            slot: slot(&file(policy)),
            scratch: [f32::NAN; SCRATCH_LEN],
        }
    }

    fn controller(&self) -> Controller<'_> {
        let mut scratch = [0.0; SCRATCH_LEN];
        let controller = boot(self.slot.bytes(), CLASS, &mut scratch);
        assert!(controller.is_ok());
        controller
    }
}

fn good() -> OwnedPolicy {
    policy_of(&structure(), CLASS)
}

#[test]
fn a_sound_step_is_the_policys_decision() {
    let loaded = Loaded::new(&good());
    let mut scratch = loaded.scratch;
    let controller = loaded.controller();
    let policy = controller.as_ref().unwrap().policy();
    let mut state = ControllerState::new();
    for vector in policy.golden() {
        let mut control = [f32::NAN; 8];
        let outcome = control_step(
            &controller,
            &mut state,
            vector.state,
            &mut control,
            &mut scratch,
        );
        assert_eq!(outcome.fault, None);
        assert_eq!(u32::from(outcome.choice), vector.choice);
        assert_eq!(
            outcome.mode,
            policy.choice_modes()[usize::from(outcome.choice)]
        );
        assert_eq!(control.map(f32::to_bits).as_slice(), bits(vector.control));
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_fault_is_latched_until_the_next_episode() {
    let loaded = Loaded::new(&good());
    let controller = loaded.controller();
    let policy = controller.as_ref().unwrap().policy();
    let mut scratch = loaded.scratch;
    let mut state = ControllerState::new();
    let well = [0.5; 8];
    let mut broken = well;
    broken[3] = f32::NAN;
    let (mut control, mut law) = ([0.0; 8], [0.0; 8]);

    let outcome = control_step(&controller, &mut state, &broken, &mut control, &mut scratch);
    assert_eq!(outcome.fault, Some(Fault::NON_FINITE_INPUT));
    assert_eq!(outcome.mode, policy.fallback(&broken, &mut law));
    assert_eq!(bits(&control), bits(&law));
    assert!(control.iter().all(|u| u.is_finite()));

    // A sound state afterwards is answered by the fallback law as well.
    let outcome = control_step(&controller, &mut state, &well, &mut control, &mut scratch);
    assert_eq!(outcome.fault, Some(Fault::NON_FINITE_INPUT));
    assert_eq!(state.latched(), Some(Fault::NON_FINITE_INPUT));
    assert_eq!(outcome.mode, policy.fallback(&well, &mut law));
    assert_eq!(bits(&control), bits(&law));

    state = ControllerState::new();
    let outcome = control_step(&controller, &mut state, &well, &mut control, &mut scratch);
    assert_eq!(outcome.fault, None);
    assert_ne!(bits(&control), bits(&law));
}

#[test]
fn an_overflow_inside_the_policy_is_a_fault() {
    let mut policy = good();
    for block in policy.gains.as_mut().unwrap() {
        block.weights.iter_mut().for_each(|w| *w = 1.0e37);
    }
    policy.bounds = None;
    policy.fill_golden();
    let loaded = Loaded::new(&policy);
    let controller = loaded.controller();
    let mut scratch = loaded.scratch;
    let mut control = [0.0; 8];
    let mut state = ControllerState::new();
    let outcome = control_step(
        &controller,
        &mut state,
        &[1.0e4; 8],
        &mut control,
        &mut scratch,
    );
    assert_eq!(outcome.fault, Some(Fault::NON_FINITE_VALUE));
    assert!(control.iter().all(|u| u.is_finite()));
}

#[test]
fn a_state_of_another_length_is_a_fault() {
    let loaded = Loaded::new(&good());
    let controller = loaded.controller();
    let mut scratch = loaded.scratch;
    for length in [0, 7, 9] {
        let mut control = [f32::NAN; 8];
        let mut state = ControllerState::new();
        let measured = vec![0.0; length];
        let outcome = control_step(
            &controller,
            &mut state,
            &measured,
            &mut control,
            &mut scratch,
        );
        assert_eq!(outcome.fault, Some(Fault::WRONG_LENGTH));
        let constant = controller
            .as_ref()
            .unwrap()
            .policy()
            .fallback_law()
            .constant;
        assert_eq!(bits(&control), bits(constant));
    }
}

#[test]
fn without_a_policy_the_safe_constant_acts() {
    let controller: Controller<'_> = Err(Fault::EMPTY_SLOT);
    let mut control = [f32::NAN; 3];
    let mut state = ControllerState::new();
    let outcome = control_step(
        &controller,
        &mut state,
        &[1.0, 2.0],
        &mut control,
        &mut [0.0; SCRATCH_LEN],
    );
    assert_eq!((outcome.mode, outcome.choice), (0, 0));
    assert_eq!(outcome.fault, Some(Fault::EMPTY_SLOT));
    assert_eq!(control, [0.0; 3]);
}

proptest! {
    #[test]
    fn any_state_gives_an_admissible_action(
        states in prop::collection::vec(
            prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 0..10), 1..6),
        length in 0..MAX_CONTROL,
    ) {
        let loaded = Loaded::new(&good());
        let controller = loaded.controller();
        let policy = controller.as_ref().unwrap().policy();
        let bounds = policy.bounds().unwrap();
        let mut scratch = loaded.scratch;
        let mut state = ControllerState::new();
        for measured in &states {
            let mut control = vec![f32::NAN; 8];
            let outcome =
                control_step(&controller, &mut state, measured, &mut control, &mut scratch);
            prop_assert!(usize::from(outcome.mode) < policy.modes());
            for (i, &u) in control.iter().enumerate() {
                prop_assert!(bounds.lower[i] <= u && u <= bounds.upper[i]);
            }
            let mut other = vec![f32::NAN; length];
            let _ = control_step(&controller, &mut state, measured, &mut other, &mut scratch);
            prop_assert!(other.iter().all(|u| u.is_finite()));
        }
    }
}
