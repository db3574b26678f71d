//! The evaluator against a straightforward one written from the document, on policies of every structure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use common::reference::{self, Refusal};
use common::{OwnedPolicy, Structure, generate, load};
use policy_format::{DecideError, InputKind};
use proptest::prelude::*;

prop_compose! {
    fn structures()(
        n in 1..12_usize,
        m in 1..11_usize,
        modes in 1..6_u16,
        factors in prop::collection::vec(1..5_u16, 1..4),
        unit_norm in any::<bool>(),
        selector_parts in 0..4_u8,
        selector_hidden in prop::collection::vec(1..20_usize, 0..5),
        control_parts in 1..4_u8,
        control_hidden in prop::collection::vec(1..20_usize, 0..5),
        head_per_choice in any::<bool>(),
        bounds in any::<bool>(),
        names in any::<bool>(),
        seed in any::<u64>(),
    ) -> Structure {
        let single = factors.iter().product::<u16>() == 1;
        let selector_parts = if single { selector_parts } else { selector_parts.max(1) };
        Structure {
            n, m, modes, factors, unit_norm,
            scores: selector_parts & 1 != 0,
            selector: (selector_parts & 2 != 0).then_some(selector_hidden),
            gains: control_parts & 1 != 0,
            control: (control_parts & 2 != 0).then_some(control_hidden),
            head_per_choice, bounds, names, seed,
        }
    }
}

/// Floats of every kind: ordinary, tiny, subnormal, huge, zero of either sign, and not finite.
fn any_state_value() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -10.0_f32..10.0,
        2 => any::<u32>().prop_map(f32::from_bits),
        1 => (0..0x80_0000_u32).prop_map(f32::from_bits),
        1 => prop::sample::select(vec![0.0, -0.0, f32::MAX, f32::MIN_POSITIVE, f32::INFINITY, f32::NAN]),
    ]
}

/// What the crate gives, with garbage in the buffers so that nothing can leak from call to call.
fn decide(policy: &OwnedPolicy, state: &[f32]) -> Result<(u16, u16, Vec<u32>), DecideError> {
    let file = policy.encode();
    let policy = load(file.bytes());
    let mut control = vec![123.0; policy.control_dim()];
    let mut scratch = vec![f32::NAN; policy.scratch_len()];
    let decision = policy.decide(state, &mut control, &mut scratch);
    if decision.is_err() {
        assert!(
            control.iter().all(|&u| u == 123.0),
            "control is untouched on error"
        );
    }
    decision.map(|d| (d.choice, d.mode, bits(&control)))
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn decide_equals_the_reference_bit_for_bit(
        structure in structures(),
        values in prop::collection::vec(-10.0_f32..10.0, 12),
    ) {
        let policy = generate(&structure);
        let state = &values[..structure.n];
        let expected = reference::decide(&policy, state).expect("ordinary states are harmless");
        let (choice, mode, control) = decide(&policy, state).unwrap();
        prop_assert_eq!((choice, mode), (expected.0, expected.1));
        prop_assert_eq!(control, bits(&expected.2));
    }

    #[test]
    fn decide_equals_the_reference_on_any_state(
        structure in structures(),
        values in prop::collection::vec(any_state_value(), 12),
    ) {
        let policy = generate(&structure);
        let state = &values[..structure.n];
        let expected = reference::decide(&policy, state)
            .map(|(choice, mode, control)| (choice, mode, bits(&control)))
            .map_err(|refusal| match refusal {
                Refusal::Input => DecideError::NonFiniteInput,
                Refusal::Value => DecideError::NonFiniteValue,
            });
        prop_assert_eq!(decide(&policy, state), expected);

        let file = policy.encode();
        let loaded = load(file.bytes());
        let mut control = vec![f32::NAN; structure.m];
        let mode = loaded.fallback(state, &mut control);
        let (expected_mode, expected_control) = reference::fallback(&policy, state);
        prop_assert_eq!((mode, bits(&control)), (expected_mode, bits(&expected_control)));
    }

    /// Against binary64 and the true tanh: the logit of the choice is the greatest up to rounding, and the control
    /// is that of the choice.
    #[test]
    fn decide_agrees_with_exact_arithmetic(
        structure in structures(),
        values in prop::collection::vec(-10.0_f32..10.0, 12),
    ) {
        let policy = generate(&structure);
        let state = &values[..structure.n];
        let (choice, _, control) = decide(&policy, state).unwrap();
        let (logits, mut expected) = reference::exact(&policy, state, choice.into());
        // Sums of at most 78 products of size 100 (monomials of |z| <= 11): an error bound of 78 * 2^-24 * sum.
        let scale = 1.0 + logits.iter().fold(0.0_f64, |a, l| a.max(l.abs()));
        let quadratic = if policy.input == InputKind::Affine { 1e4 } else { 20.0 };
        let tolerance = 5e-6 * (scale + quadratic);
        let (mut rest, mut digits) = (logits.as_slice(), usize::from(choice));
        let mut radix: usize = policy.factors.iter().map(|&f| usize::from(f)).product();
        for &size in &policy.factors {
            let (factor, behind) = rest.split_at(size.into());
            radix /= usize::from(size);
            let picked = factor[digits / radix];
            digits %= radix;
            let best = factor.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            prop_assert!(picked >= best - tolerance, "{picked} {best}");
            rest = behind;
        }
        if let Some((lower, upper)) = &policy.bounds {
            for (u, (&l, &h)) in expected.iter_mut().zip(lower.iter().zip(upper)) {
                *u = u.clamp(l.into(), h.into());
            }
        }
        for (found, expected) in control.iter().zip(&expected) {
            let found = f64::from(f32::from_bits(*found));
            prop_assert!((found - expected).abs() <= 2e-3 + 1e-4 * expected.abs(), "{found} {expected}");
        }
    }

    /// With unit norm, no bounds and no offsets the choice depends on the direction alone, and the control is
    /// homogeneous: exactly so for powers of two.
    #[test]
    fn unit_norm_policies_are_homogeneous(
        structure in structures(),
        values in prop::collection::vec(-10.0_f32..10.0, 12),
        exponent in -20_i32..=20,
    ) {
        let mut structure = structure;
        structure.unit_norm = true;
        structure.bounds = false;
        let mut policy = generate(&structure);
        for gain in policy.gains.iter_mut().flatten() {
            gain.bias.fill(0.0);
        }
        policy.fill_golden();
        let factor = 2.0_f32.powi(exponent);
        let state = &values[..structure.n];
        let scaled: Vec<f32> = state.iter().map(|s| s * factor).collect();
        prop_assume!(scaled.iter().all(|s| *s == 0.0 || s.abs() > 1e-20));
        let (choice, mode, control) = decide(&policy, state).unwrap();
        let (choice_scaled, mode_scaled, control_scaled) = decide(&policy, &scaled).unwrap();
        prop_assert_eq!((choice, mode), (choice_scaled, mode_scaled));
        for (u, scaled) in control.iter().zip(&control_scaled) {
            prop_assert_eq!(f32::from_bits(*u) * factor, f32::from_bits(*scaled));
        }
    }
}

/// Ties go to the lowest index, factor by factor; the first factor is the most significant digit.
#[test]
fn choice_is_mixed_radix_with_ties_to_the_lowest() {
    let mut policy = generate(&Structure {
        n: 1,
        m: 1,
        modes: 6,
        factors: vec![2, 3],
        unit_norm: false,
        scores: true,
        selector: None,
        gains: true,
        control: None,
        head_per_choice: false,
        bounds: false,
        names: false,
        seed: 6,
    });
    policy.choice_modes = vec![5, 4, 3, 2, 1, 0];
    for (logits, choice) in [
        ([0.0, 0.0, 0.0, 0.0, 0.0], 0),
        ([0.0, -0.0, -0.0, 0.0, -0.0], 0),
        ([0.0, 1.0, 0.0, 1.0, 1.0], 4),
        ([2.0, 1.0, 0.0, 1.0, 3.0], 2),
        ([-2.0, -1.0, -3.0, -4.0, -2.5], 5),
    ] {
        policy.scores = Some(common::OwnedBlock {
            bias: logits.to_vec(),
            weights: vec![0.0; 5],
        });
        let (found, mode, _) = decide(&policy, &[1.0]).unwrap();
        assert_eq!(found, choice, "{logits:?}");
        assert_eq!(mode, 5 - choice);
    }
}

#[test]
fn wrong_lengths_are_errors_and_fallback_still_acts() {
    let (_, policy) = common::golden_set::policies().remove(0);
    let file = policy.encode();
    let policy = load(file.bytes());
    let (n, m, s) = (
        policy.state_dim(),
        policy.control_dim(),
        policy.scratch_len(),
    );
    let run = |n: usize, m: usize, s: usize| {
        policy.decide(&vec![0.5; n], &mut vec![0.0; m], &mut vec![0.0; s])
    };
    assert!(run(n, m, s).is_ok());
    assert!(run(n, m, s + 7).is_ok());
    for (n, m, s) in [
        (n - 1, m, s),
        (n + 1, m, s),
        (n, m - 1, s),
        (n, m + 1, s),
        (n, m, s - 1),
        (n, m, 0),
    ] {
        assert_eq!(run(n, m, s), Err(DecideError::WrongLength), "{n} {m} {s}");
    }
    let mut control = vec![7.0; m + 1];
    let mode = policy.fallback(&vec![0.5; n], &mut control);
    assert_eq!(usize::from(mode), usize::from(policy.fallback_law().mode));
    assert_eq!(&control[..m], policy.fallback_law().constant);
    assert_eq!(control[m], 0.0);
}

/// Weights are read where they lie: every float of the policy is inside the buffer.
#[test]
fn weights_are_borrowed_from_the_bytes() {
    let (_, policy) = common::golden_set::policies().pop().unwrap();
    let file = policy.encode();
    let policy = load(file.bytes());
    let range = file.bytes().as_ptr_range();
    for block in policy
        .selector_blocks()
        .chain(policy.control_blocks())
        .chain(policy.scores())
    {
        assert!(range.contains(&block.panels().as_ptr().cast()));
        assert!(range.contains(&block.bias().as_ptr().cast()));
        assert_eq!(
            block.bias().as_ptr().addr() % 16,
            0,
            "every block starts 16-aligned"
        );
    }
}
