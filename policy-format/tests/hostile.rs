//! Files with a right checksum and wrong content: refused by name, or harmless.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use common::{Aligned, golden_set};
use policy_format::{Capacity, FormatError, Policy, RawPolicy, reseal};
use proptest::prelude::*;

/// What plants and broken sensors may hand over: each value alone in an ordinary state, and everywhere.
const VALUES: [f32; 9] = [
    0.0,
    1.5,
    -3.0e-40,
    1e-38,
    1e20,
    -3.4e38,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

/// Whatever validation accepts must act admissibly on any state.
fn assert_admissible(policy: &Policy<'_>) {
    let (n, m) = (policy.state_dim(), policy.control_dim());
    let mut control = vec![f32::NAN; m];
    let mut scratch = vec![f32::NAN; policy.scratch_len()];
    let admissible = |control: &[f32]| {
        control.iter().enumerate().all(|(i, u)| {
            u.is_finite()
                && policy
                    .bounds()
                    .is_none_or(|b| *u >= b.lower[i] && *u <= b.upper[i])
        })
    };
    for (turn, &value) in VALUES.iter().enumerate() {
        let mut single = vec![0.25; n];
        single[turn % n] = value;
        for state in [single, vec![value; n]] {
            control.fill(f32::NAN);
            if let Ok(decision) = policy.decide(&state, &mut control, &mut scratch) {
                assert!(usize::from(decision.choice) < policy.choices());
                assert!(usize::from(decision.mode) < policy.modes());
                assert!(state.iter().all(|s| s.is_finite()));
                assert!(admissible(&control), "{state:?} {control:?}");
            }
            control.fill(f32::NAN);
            let mode = policy.fallback(&state, &mut control);
            assert!(usize::from(mode) < policy.modes());
            assert!(admissible(&control), "{state:?} {control:?}");
        }
    }
    // Golden vectors may be false now; checking them must still end in an answer.
    let _ = policy.check_golden(&mut control, &mut scratch);
    assert!(policy.names().count() <= policy.total_len());
}

/// Whether the bytes were accepted; every error is a known one with a message.
fn examine(bytes: &[u8]) -> bool {
    match RawPolicy::parse(bytes).and_then(|raw| raw.validate(&Capacity::FORMAT)) {
        Ok(policy) => {
            assert_admissible(&policy);
            true
        }
        Err(error) => {
            assert_eq!(FormatError::name_of(error.code()), Some(error.name()));
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

#[test]
fn golden_policies_are_admissible() {
    for (name, policy) in golden_set::policies() {
        assert!(examine(policy.encode().bytes()), "{name}");
    }
}

#[test]
fn every_single_bit_flipped_with_the_crc_repaired_is_refused_or_harmless() {
    for (name, policy) in golden_set::policies() {
        let mut file = policy.encode();
        let (mut accepted, mut refused) = (0, 0);
        for bit in 0..8 * file.bytes().len() {
            file.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
            reseal(file.bytes_mut());
            if examine(file.bytes()) {
                accepted += 1;
            } else {
                refused += 1;
            }
            file.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
        }
        // Weights may be any finite numbers; headers, padding and dimensions may not. Both kinds are met.
        assert!(
            accepted > 500 && refused > 500,
            "{name}: {accepted} {refused}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn random_mutations_are_refused_or_harmless(
        which in 0..5_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut file = files()[which].clone();
        for (index, value) in edits {
            let length = file.bytes().len();
            file.bytes_mut()[index.index(length)] = value;
        }
        reseal(file.bytes_mut());
        examine(file.bytes());
    }

    /// Words that are numbers of something: counts, lengths, exponents.
    #[test]
    fn random_words_are_refused_or_harmless(
        which in 0..5_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
            any::<u32>(), 0..40_u32, prop::sample::select(vec![0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 1, 0x8000_0000, 0x7f7f_ffff])
        ]), 1..6),
    ) {
        let mut file = files()[which].clone();
        for (index, value) in edits {
            let words = file.bytes().len() / 4;
            let offset = 4 * index.index(words);
            file.bytes_mut()[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        }
        reseal(file.bytes_mut());
        examine(file.bytes());
    }

    #[test]
    fn noise_behind_a_sound_header_is_refused_or_harmless(
        noise in prop::collection::vec(any::<u8>(), 0..400),
        sections in 0..9_u32,
    ) {
        let length = 32 + noise.len().next_multiple_of(16);
        let mut file = Aligned::zeros(length);
        let bytes = file.bytes_mut();
        bytes[..8].copy_from_slice(&policy_format::MAGIC);
        bytes[8] = 1;
        bytes[12..16].copy_from_slice(&(length as u32).to_le_bytes());
        bytes[20..24].copy_from_slice(&sections.to_le_bytes());
        bytes[32..32 + noise.len()].copy_from_slice(&noise);
        reseal(bytes);
        prop_assert!(!examine(file.bytes()));
    }
}

fn files() -> &'static [Aligned] {
    static FILES: std::sync::OnceLock<Vec<Aligned>> = std::sync::OnceLock::new();
    FILES.get_or_init(|| {
        golden_set::policies()
            .iter()
            .map(|(_, policy)| policy.encode())
            .collect()
    })
}
