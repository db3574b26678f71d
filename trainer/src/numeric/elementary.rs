//! `f32` exponential and hyperbolic tangent that the compiler can vectorise, with the same bits
//! on every host. Training uses them; the device and every check use the policy format's own.

use policy_format::{TANH_CLAMP, TANH_DENOMINATOR, TANH_NUMERATOR};

/// `e^x` for `f32`: relative error below 2e-7 on [-87, 88]; 0 below, +inf above, NaN stays NaN.
///
/// Range reduction by powers of two with a two-part ln 2, then the degree-6 polynomial of
/// Cephes `expf`.
#[inline(always)]
#[must_use]
pub fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer without a library call.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x < -88.0 { -88.0 } else { x };
    let clamped = if clamped > 89.0 { 89.0 } else { clamped };
    let n = clamped.mul_add(core::f32::consts::LOG2_E, ROUND) - ROUND;
    let r = n.mul_add(-LN2_HIGH, clamped);
    let r = n.mul_add(-LN2_LOW, r);
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_2e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_6e-1);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r * r, r) + 1.0;
    // Two factors, since 2^n alone leaves the range of exponents at either end.
    let bits = (n + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = bits >> 1;
    let value = p * power_of_two(half) * power_of_two(bits - half);
    let value = if x > 88.8 { f32::INFINITY } else { value };
    let value = if x < -87.4 { 0.0 } else { value };
    if x.is_nan() { x } else { value }
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) << 23) as u32)
}

/// tanh by the rational of the policy format ([`policy_format::tanh`]), but with fused
/// multiply-add: within a few units in the last place of what the device computes. NaN stays NaN.
#[inline(always)]
#[must_use]
pub fn tanh(x: f32) -> f32 {
    let x = if x > TANH_CLAMP { TANH_CLAMP } else { x };
    let x = if x < -TANH_CLAMP { -TANH_CLAMP } else { x };
    let u = x * x;
    let (mut p, mut q) = (TANH_NUMERATOR[0], TANH_DENOMINATOR[0]);
    for k in 1..5 {
        p = p.mul_add(u, TANH_NUMERATOR[k]);
        q = q.mul_add(u, TANH_DENOMINATOR[k]);
    }
    x * p / q
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_libm() {
        let mut worst = 0.0_f64;
        for i in -87_000..88_000 {
            let x = i as f32 * 1e-3;
            let reference = libm::exp(f64::from(x));
            worst = worst.max((f64::from(exp(x)) / reference - 1.0).abs());
        }
        assert!(worst < 2e-7, "worst relative error {worst:e}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1000.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(1000.0), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_is_close_to_libm_and_odd() {
        for i in 0..40_000 {
            let x = i as f32 * 5e-4;
            let error = f64::from(tanh(x)) - libm::tanh(f64::from(x));
            assert!(error.abs() < 4e-7, "tanh({x}) is off by {error:e}");
            assert_eq!(tanh(-x), -tanh(x));
        }
        assert!(tanh(f32::NAN).is_nan());
    }
}
