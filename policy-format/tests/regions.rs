//! Section REGIONS: the map onto a region, its meaning in the evaluator, and what is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use common::{Aligned, OwnedPolicy, Structure, generate, load};
use policy_format::{
    Capacity, EncodeError, FormatError, Limits, PolicySpec, RawPolicy, Region, Regions, Safety,
    encode_supervised,
};
use proptest::prelude::*;

prop_compose! {
    fn regions()(
        a in -10.0_f64..10.0,
        width in prop_oneof![Just(0.0), 0.0_f64..20.0],
        share in prop_oneof![Just(0.0), 0.0_f64..0.5],
    ) -> Region<f64> {
        Region { lower: a, upper: a + width, corner: share * width }
    }
}

proptest! {
    #[test]
    fn the_map_is_onto_the_closed_region_and_smooth(region in regions(), v in -40.0_f64..40.0, w in -40.0_f64..40.0) {
        let Region { lower, upper, corner } = region;
        let u = region.onto(v);
        prop_assert!((lower..=upper).contains(&u));
        prop_assert_eq!(region.onto(lower - corner), lower);
        prop_assert_eq!(region.onto(upper + corner), upper);
        prop_assert_eq!(region.onto(f64::MIN), lower);
        prop_assert_eq!(region.onto(f64::MAX), upper);
        if lower + corner <= v && v <= upper - corner {
            prop_assert_eq!(u, v);
        }
        // It never falls, and never rises faster than its argument.
        let (low, high) = if v < w { (v, w) } else { (w, v) };
        let rise = region.onto(high) - region.onto(low);
        prop_assert!(rise >= -1e-12 && rise <= high - low + 1e-9);
        // The slope is that of differences, and continuous where there is rounding.
        let step = 1e-6;
        let ends = [lower - corner, lower + corner, upper - corner, upper + corner];
        if ends.iter().all(|end| (end - v).abs() > 2.0 * step) {
            let difference = (region.onto(v + step) - region.onto(v - step)) / (2.0 * step);
            prop_assert!((difference - region.slope(v, 0.0, 1.0)).abs() < 1e-5 + 1e-9 / corner.max(1e-9) * 1e-2);
        }
        if corner > 1e-3 {
            for end in ends {
                let jump = region.slope(end + 1e-9, 0.0, 1.0) - region.slope(end - 1e-9, 0.0, 1.0);
                prop_assert!(jump.abs() < 1e-5, "slope jumps by {jump} at {end}");
            }
        }
    }

    #[test]
    fn single_precision_stays_inside(
        a in any::<f32>(), b in any::<f32>(), corner in any::<f32>(), v in any::<f32>(),
    ) {
        prop_assume!(a.is_finite() && b.is_finite() && v.is_finite());
        let (lower, upper) = if a < b { (a, b) } else { (b, a) };
        let corner = corner.abs().min(upper * 0.5 - lower * 0.5);
        prop_assume!(corner.is_finite());
        let u = Region { lower, upper, corner }.onto(v);
        prop_assert!(lower <= u && u <= upper, "{u} of {v} in {lower}..{upper}, {corner}");
    }

    #[test]
    fn a_policy_with_regions_is_the_one_without_and_the_map(
        seed: u64, several: bool, gains: bool, head_per_choice: bool, state in prop::collection::vec(-3.0_f32..3.0, 3),
    ) {
        let policy = policy(seed, several, gains, head_per_choice);
        let lists = lists(&policy, seed);
        let file = encode(&policy, &lists, &Safety::NONE).unwrap();
        let (with, plain) = (load(file.bytes()), policy.encode());
        let plain = load(plain.bytes());
        let (mut control, mut law) = ([0.0_f32; 2], [0.0_f32; 2]);
        let mut scratch = vec![f32::NAN; with.scratch_len()];
        let decision = with.decide(&state, &mut control, &mut scratch).unwrap();
        prop_assert_eq!(decision, plain.decide(&state, &mut law, &mut scratch).unwrap());
        for i in 0..2 {
            let region = with.regions().unwrap().get(usize::from(decision.choice) * 2 + i).unwrap();
            prop_assert_eq!(control[i].to_bits(), region.onto(law[i]).to_bits());
        }
        // The fallback law keeps to the regions of the first choice of its mode.
        let mode = with.fallback(&state, &mut control);
        prop_assert_eq!(mode, plain.fallback(&state, &mut law));
        let choice = with.choice_modes().iter().position(|&m| m == mode).unwrap();
        for i in 0..2 {
            let region = with.regions().unwrap().get(choice * 2 + i).unwrap();
            prop_assert_eq!(control[i].to_bits(), region.onto(law[i]).to_bits());
        }
    }
}

fn policy(seed: u64, several: bool, gains: bool, head_per_choice: bool) -> OwnedPolicy {
    let factors = if several { vec![2, 2] } else { vec![4] };
    let mut policy = generate(&Structure {
        n: 3,
        m: 2,
        modes: 4,
        factors,
        unit_norm: false,
        scores: true,
        selector: Some(vec![5]),
        gains,
        control: Some(vec![4]),
        head_per_choice,
        bounds: false,
        names: false,
        seed,
    });
    // Every mode has a choice, and nothing cuts the law.
    policy.choice_modes = vec![0, 1, 2, 3];
    policy.fallback_constant = vec![0.0; 2];
    policy
}

/// Regions that hold 0: three vectors of eight numbers.
fn lists(policy: &OwnedPolicy, seed: u64) -> [Vec<f32>; 3] {
    let count = policy.choice_modes.len() * 2;
    let number = |k: usize| ((seed >> (k % 60)) & 7) as f32 * 0.1;
    let lower: Vec<f32> = (0..count).map(|k| -number(k)).collect();
    let upper: Vec<f32> = (0..count)
        .map(|k| if k % 3 == 0 { f32::MAX } else { number(k + 3) })
        .collect();
    let corner = lower.iter().zip(&upper);
    let corner = corner
        .map(|(a, b)| 0.2_f32.min(b * 0.5 - a * 0.5))
        .collect();
    [lower, upper, corner]
}

fn encode(
    policy: &OwnedPolicy,
    [lower, upper, corner]: &[Vec<f32>; 3],
    safety: &Safety<'_>,
) -> Result<Aligned, EncodeError> {
    policy.with_spec(|spec| {
        let spec = PolicySpec {
            regions: Some(Regions {
                lower,
                upper,
                corner,
            }),
            ..*spec
        };
        let mut file = Aligned::zeros(1 << 16);
        let length = encode_supervised(&spec, safety, file.bytes_mut())?;
        Ok(Aligned::from(&file.bytes()[..length]))
    })
}

fn refusal(change: impl FnOnce(&mut OwnedPolicy, &mut [Vec<f32>; 3])) -> EncodeError {
    let mut policy = policy(1, false, true, true);
    let mut lists = [vec![-1.0; 8], vec![1.0; 8], vec![0.25; 8]];
    change(&mut policy, &mut lists);
    encode(&policy, &lists, &Safety::NONE)
        .err()
        .expect("must be refused")
}

#[test]
fn bad_regions_are_refused() {
    let format = EncodeError::Invalid;
    let found = refusal(|_, lists| lists[0][5] = 2.0);
    assert_eq!(found, format(FormatError::RegionOrder { entry: 5 }));
    for bad in [-0.25, 1.5] {
        let found = refusal(|_, lists| lists[2][3] = bad);
        assert_eq!(found, format(FormatError::RegionCorner { entry: 3 }));
    }
    let found = refusal(|policy, _| policy.bounds = Some((vec![-1.0, -1.0], vec![1.0, 0.5])));
    assert_eq!(found, format(FormatError::RegionBounds { entry: 1 }));
    let found = refusal(|policy, _| {
        policy.fallback_mode = 3;
        policy.choice_modes = vec![0, 1, 2, 2];
    });
    assert_eq!(found, format(FormatError::RegionFallbackMode { found: 3 }));
    let found = refusal(|policy, _| policy.fallback_constant[1] = 1.5);
    let outside = FormatError::RegionFallbackConstant {
        index: 1,
        found: 1.5,
    };
    assert_eq!(found, format(outside));
    assert!(matches!(
        refusal(|_, lists| lists[1].truncate(7)),
        EncodeError::Shape {
            field: "regions.upper",
            found: 7,
            expected: 8
        }
    ));
    assert!(matches!(
        refusal(|_, lists| lists[1][2] = f32::NAN),
        EncodeError::Invalid(FormatError::NonFinite { .. } | FormatError::RegionCorner { .. })
    ));
    let limits = Safety {
        limits: Some(Limits {
            rate: &[1.0, 1.0],
            start: &[0.0, 0.0],
        }),
        ..Safety::NONE
    };
    let lists = [vec![-1.0; 8], vec![1.0; 8], vec![0.25; 8]];
    let found = encode(&policy(1, false, true, true), &lists, &limits)
        .err()
        .expect("rate limits");
    assert_eq!(found, format(FormatError::RegionLimits));
}

/// What a writer would not write, a reader does not read: the same checks stand in both.
#[test]
fn damaged_regions_are_refused_by_the_reader() {
    let policy = policy(2, true, true, false);
    let lists = [vec![-1.0; 8], vec![1.0; 8], vec![0.25; 8]];
    let file = encode(&policy, &lists, &Safety::NONE).unwrap();
    let needle: Vec<u8> = [[-1.0_f32; 8], [1.0; 8]]
        .concat()
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let at = file
        .bytes()
        .windows(needle.len())
        .position(|w| w == needle)
        .unwrap();
    for (word, value, code) in [(2, 2.0_f32, 100), (16 + 4, 5.0, 101), (9, f32::INFINITY, 0)] {
        let mut damaged = Aligned::from(file.bytes());
        let place = at + 4 * word;
        damaged.bytes_mut()[place..place + 4].copy_from_slice(&value.to_le_bytes());
        policy_format::reseal(damaged.bytes_mut());
        let error = RawPolicy::parse(damaged.bytes())
            .and_then(|raw| raw.validate(&Capacity::FORMAT))
            .expect_err("damaged");
        if code > 0 {
            assert_eq!(error.code(), code);
        } else {
            assert!(matches!(error, FormatError::NonFinite { .. }));
        }
        assert!(!error.to_string().is_empty());
    }
}
