//! The scalar functions of format version 1: tanh and the unit norm, bit for bit.
//!
//! Every operation is binary32 rounded to nearest even; multiply and add are never fused.

/// Numerator coefficients of [`tanh`], highest power of `x^2` first.
///
/// Source: Lawson-weighted least squares fit of `tanh` by an odd rational of degree 9/8 on (0, 9].
pub const TANH_NUMERATOR: [f32; 5] = [
    f32::from_bits(0x3262_7b73), // 1.318_300_05e-8
    f32::from_bits(0x37ab_b90b), // 2.047_095_6e-5
    f32::from_bits(0x3b64_7e43), // 3.486_529_7e-3
    f32::from_bits(0x3e08_f0ec), // 0.133_731_54
    f32::from_bits(0x3f7f_fffe), // 0.999_999_9
];
/// Denominator coefficients of [`tanh`], highest power of `x^2` first.
pub const TANH_DENOMINATOR: [f32; 5] = [
    f32::from_bits(0x354e_c0df), // 7.702_164_5e-7
    f32::from_bits(0x39ab_82a2), // 3.271_299_2e-4
    f32::from_bits(0x3cd3_b225), // 2.584_178_2e-2
    f32::from_bits(0x3eef_2314), // 0.467_064_5
    f32::from_bits(0x3f80_0000), // 1
];
/// Arguments of [`tanh`] beyond this magnitude are moved onto it.
pub const TANH_CLAMP: f32 = 9.0;
/// The greatest magnitude [`tanh`] returns: three units in the last place above 1, at x = 8.927642.
pub const TANH_MAX: f32 = f32::from_bits(0x3f80_0003);

/// The hyperbolic tangent of format version 1: clamp to +-9, then `(x * P(x^2)) / Q(x^2)` by Horner's rule.
///
/// Odd to the bit, magnitude at most [`TANH_MAX`], at most 3.93e-7 from the true value for every binary32
/// argument (measured over all of them). NaN gives NaN.
// Comparisons written out: they are the specification, and `clamp` holds an assertion.
#[allow(clippy::manual_clamp)]
#[inline(always)]
#[must_use]
pub fn tanh(x: f32) -> f32 {
    let [p4, p3, p2, p1, p0] = TANH_NUMERATOR;
    let [q4, q3, q2, q1, q0] = TANH_DENOMINATOR;
    let c = if x > TANH_CLAMP {
        TANH_CLAMP
    } else if x < -TANH_CLAMP {
        -TANH_CLAMP
    } else {
        x
    };
    let u = c * c;
    let p = (((p4 * u + p3) * u + p2) * u + p1) * u + p0;
    let q = (((q4 * u + q3) * u + q2) * u + q1) * u + q0;
    (c * p) / q
}

/// Unit norm: writes `xi / |xi|` to `z` (same length) and returns `rho = |xi|`.
///
/// The values are scaled by a power of two first, so neither the squares of large nor those of tiny inputs
/// leave the range of binary32. A zero vector gives zeros and 0. `rho` is infinite where the norm itself is;
/// callers refuse it. Inputs are finite.
pub fn normalise(xi: &[f32], z: &mut [f32]) -> f32 {
    let mut greatest = 0.0_f32;
    for &x in xi {
        let magnitude = x.abs();
        if magnitude > greatest {
            greatest = magnitude;
        }
    }
    if greatest == 0.0 {
        z.fill(0.0);
        return 0.0;
    }
    // Biased exponent field, kept where both powers of two below are normal numbers.
    let field = (greatest.to_bits() >> 23).clamp(1, 253);
    let down = f32::from_bits((254 - field) << 23);
    let up = f32::from_bits(field << 23);
    let mut sum = 0.0_f32;
    for (z, &x) in z.iter_mut().zip(xi) {
        let y = x * down;
        *z = y;
        sum += y * y;
    }
    let root = libm::sqrtf(sum);
    let inverse = 1.0 / root;
    for z in z {
        *z *= inverse;
    }
    root * up
}
