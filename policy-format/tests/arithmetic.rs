//! tanh and the unit norm: what the specification promises of them.

use policy_format::{TANH_CLAMP, TANH_MAX, normalise, tanh};
use proptest::prelude::*;

/// Greatest distance from the true tanh over all binary32 values, measured once over all of them.
const TANH_ERROR: f64 = 3.93e-7;
/// Greatest fall of the computed values while the argument rises.
const TANH_FALL: f32 = 6.56e-7;

fn distance(x: f32) -> f64 {
    (f64::from(tanh(x)) - f64::from(x).tanh()).abs()
}

/// All 44 million floats from 1/4 to the clamp: where rounding works, no sampling is needed.
#[test]
fn tanh_over_every_float_of_its_upper_range() {
    let (mut error, mut fall, mut greatest, mut at) = (0.0_f64, 0.0_f32, 0.0_f32, 0.0_f32);
    for bits in 0.25_f32.to_bits()..=TANH_CLAMP.to_bits() {
        let x = f32::from_bits(bits);
        let y = tanh(x);
        fall = fall.max(greatest - y);
        if y > greatest {
            (greatest, at) = (y, x);
        }
        // The f64 tanh is slow: it is asked at every eleventh value and wherever the value is extreme.
        if bits % 11 == 0 || y > 1.0 {
            error = error.max(distance(x));
        }
    }
    assert!(error <= TANH_ERROR, "error {error:e}");
    assert!(fall <= TANH_FALL, "fall {fall:e}");
    assert_eq!(greatest.to_bits(), TANH_MAX.to_bits(), "at {at}");
}

#[test]
fn tanh_below_its_upper_range_and_beyond_the_clamp() {
    for bits in (0..0.25_f32.to_bits()).step_by(499) {
        let x = f32::from_bits(bits);
        assert!(distance(x) <= 4e-7 * f64::from(x) + 1e-45, "{x:e}");
    }
    for x in [TANH_CLAMP, 9.000_001, 88.0, f32::MAX, f32::INFINITY] {
        assert_eq!(tanh(x).to_bits(), tanh(TANH_CLAMP).to_bits());
    }
    assert_eq!(tanh(0.0).to_bits(), 0);
    assert_eq!(tanh(-0.0).to_bits(), (-0.0_f32).to_bits());
    assert!(tanh(f32::NAN).is_nan());
}

/// Computed with numpy in binary32 from the document: a wrong coefficient bit or another order shows here.
#[test]
fn tanh_values_are_pinned() {
    let pinned = [
        (1e-30_f32, 0x0da2_425f_u32),
        (0.1, 0x3dcc_1eba),
        (1.0, 0x3f42_f7d7),
        (2.5, 0x3f7c_92c1),
        (9.0, 0x3f80_0001),
    ];
    for (x, bits) in pinned {
        assert_eq!(
            tanh(x).to_bits(),
            bits,
            "tanh({x}) = {:#010x}",
            tanh(x).to_bits()
        );
    }
}

fn vector() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-1000.0_f32..1000.0, 1..40)
}

proptest! {
    #[test]
    fn tanh_is_odd(bits in any::<u32>()) {
        let x = f32::from_bits(bits);
        prop_assume!(!x.is_nan());
        prop_assert_eq!(tanh(-x).to_bits(), (-tanh(x)).to_bits());
        prop_assert!(tanh(x).abs() <= TANH_MAX);
        prop_assert!(distance(x) <= TANH_ERROR);
    }

    #[test]
    fn unit_norm_has_norm_one_and_gives_the_vector_back(x in vector()) {
        prop_assume!(x.iter().any(|v| v.abs() > 1e-3));
        let mut z = vec![0.0; x.len()];
        let rho = normalise(&x, &mut z);
        let norm: f64 = z.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        prop_assert!((norm - 1.0).abs() < 1e-6);
        for (&z, &x) in z.iter().zip(&x) {
            prop_assert!((f64::from(z) * f64::from(rho) - f64::from(x)).abs() <= 1e-6 * f64::from(rho));
        }
    }

    /// Scaling by a power of two changes no bit of z and only the exponent of rho: nothing overflows or underflows.
    #[test]
    fn unit_norm_scales_exactly(x in vector(), exponent in -120_i32..=120) {
        let x: Vec<f32> = x.iter().map(|v| v.round()).collect();
        prop_assume!(x.iter().any(|v| *v != 0.0));
        let factor = 2.0_f64.powi(exponent);
        let scaled: Vec<f32> = x.iter().map(|&v| (f64::from(v) * factor) as f32).collect();
        prop_assume!(scaled.iter().zip(&x).all(|(s, x)| *x == 0.0 || s.is_normal()));
        let (mut z, mut z_scaled) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let rho = normalise(&x, &mut z);
        let rho_scaled = normalise(&scaled, &mut z_scaled);
        prop_assert_eq!(z, z_scaled);
        prop_assert_eq!((f64::from(rho) * factor) as f32, rho_scaled);
    }
}

#[test]
fn unit_norm_at_the_ends_of_the_range() {
    let mut z = [0.0; 2];
    assert_eq!(normalise(&[0.0, -0.0], &mut z), 0.0);
    assert_eq!(z.map(f32::to_bits), [0, 0]);
    // The smallest subnormal has a direction like any other value.
    let least = f32::from_bits(1);
    assert_eq!(normalise(&[0.0, -least], &mut z), least);
    assert_eq!(z, [0.0, -1.0]);
    assert_eq!(normalise(&[3.0 * least, 4.0 * least], &mut z), 5.0 * least);
    assert!((z[0] - 0.6).abs() < 1e-6 && (z[1] - 0.8).abs() < 1e-6);
    assert_eq!(normalise(&[f32::MAX, 0.0], &mut z), f32::MAX);
    assert_eq!(z, [1.0, 0.0]);
    // Here the norm itself is beyond the range.
    assert_eq!(normalise(&[f32::MAX, f32::MAX], &mut z), f32::INFINITY);
}
