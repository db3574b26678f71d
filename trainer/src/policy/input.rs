//! Input transform of the policy: shift and scale, unit norm, monomials, each with its adjoint.

use crate::numeric::dense::splat;
use crate::numeric::{Lanes, Real};
use crate::policy::{InputKind, PolicyShape};

/// The whole input transform: from a state `[n]` to xi `[n]`, direction z `[n]` and monomials of z.
/// Returns (|xi|, 1/|xi|) for unit-norm input, (1, 1) for affine input.
#[inline(always)]
pub fn observe<T: Real>(
    shape: &PolicyShape,
    state: &[Lanes<T>],
    xi: &mut [Lanes<T>],
    z: &mut [Lanes<T>],
    products: &mut [Lanes<T>],
) -> (Lanes<T>, Lanes<T>) {
    for (i, &x) in state.iter().enumerate() {
        let shift = T::from_f64(shape.input_shift[i]);
        let scale = T::from_f64(shape.input_scale[i]);
        xi[i] = (x - splat(shift)) * scale;
    }
    let norms = match shape.input {
        InputKind::UnitNorm => unit_norm(xi, z),
        InputKind::Affine => {
            z.copy_from_slice(xi);
            (splat(T::from_f64(1.0)), splat(T::from_f64(1.0)))
        }
    };
    monomials(z, products);
    norms
}

/// z = xi / |xi| per lane; returns (|xi|, 1/|xi|), both 0 where xi is 0.
#[inline(always)]
pub fn unit_norm<T: Real>(xi: &[Lanes<T>], z: &mut [Lanes<T>]) -> (Lanes<T>, Lanes<T>) {
    let mut squares = Lanes::default();
    for &v in xi {
        squares = v.mul_add(v, squares);
    }
    let norm = squares.map(T::sqrt);
    let inverse = norm.map(|r| {
        if r > T::default() {
            T::from_f64(1.0) / r
        } else {
            T::default()
        }
    });
    for (z, &v) in z.iter_mut().zip(xi) {
        *z = v * inverse;
    }
    (norm, inverse)
}

/// Adjoint of [`unit_norm`]: adds to `d_xi` what `d_z` and `d_norm` contribute.
///
/// d_xi = (d_z - z (z . d_z)) / |xi| + z d_norm; nothing where xi is 0.
#[inline(always)]
pub fn unit_norm_adjoint<T: Real>(
    z: &[Lanes<T>],
    inverse: Lanes<T>,
    d_z: &[Lanes<T>],
    d_norm: Lanes<T>,
    d_xi: &mut [Lanes<T>],
) {
    let mut along = Lanes::default();
    for (&z, &d) in z.iter().zip(d_z) {
        along = z.mul_add(d, along);
    }
    for ((d_xi, &z), &d) in d_xi.iter_mut().zip(z).zip(d_z) {
        let tangential = (d - z * along) * inverse;
        *d_xi = *d_xi + z.mul_add(d_norm, tangential);
    }
}

/// Products z_i z_k with i <= k (none where `out` is empty), in the order (0,0), (0,1) .. (0,n-1), (1,1) ..
#[inline(always)]
pub fn monomials<T: Real>(z: &[Lanes<T>], out: &mut [Lanes<T>]) {
    if out.is_empty() {
        return;
    }
    let mut k = 0;
    for i in 0..z.len() {
        for j in i..z.len() {
            out[k] = z[i] * z[j];
            k += 1;
        }
    }
}

/// Adjoint of [`monomials`]: adds to `d_z`.
#[inline(always)]
pub fn monomials_adjoint<T: Real>(z: &[Lanes<T>], d_out: &[Lanes<T>], d_z: &mut [Lanes<T>]) {
    if d_out.is_empty() {
        return;
    }
    let mut k = 0;
    for i in 0..z.len() {
        for j in i..z.len() {
            let d = d_out[k];
            d_z[i] = d.mul_add(z[j], d_z[i]);
            d_z[j] = d.mul_add(z[i], d_z[j]);
            k += 1;
        }
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
