//! `f32` exponential and hyperbolic tangent that the compiler can vectorise, with the same bits
//! on every host. Training uses them; the device and every check use the policy format's own.

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

/// Coefficients of the rational tanh, highest power first: numerator (odd part divided by x).
const TANH_P: [f32; 5] = [
    1.318_300_044e-8,
    2.047_095_646e-5,
    3.486_529_593e-3,
    1.337_315_406e-1,
    9.999_999_065e-1,
];
/// Denominator, highest power first.
const TANH_Q: [f32; 5] = [
    7.702_164_637e-7,
    3.271_299_197e-4,
    2.584_178_140e-2,
    4.670_645_095e-1,
    1.0,
];

/// tanh by the 9/8 rational of the policy format, but with fused multiply-add: within 1 ulp of
/// what the device computes. NaN stays NaN.
#[inline(always)]
#[must_use]
pub fn tanh(x: f32) -> f32 {
    let x = if x > 9.0 { 9.0 } else { x };
    let x = if x < -9.0 { -9.0 } else { x };
    let u = x * x;
    let (mut p, mut q) = (TANH_P[0], TANH_Q[0]);
    for k in 1..5 {
        p = p.mul_add(u, TANH_P[k]);
        q = q.mul_add(u, TANH_Q[k]);
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
            assert!(error.abs() < 3e-7, "tanh({x}) is off by {error:e}");
            assert_eq!(tanh(-x), -tanh(x));
        }
        assert!(tanh(f32::NAN).is_nan());
    }
}
