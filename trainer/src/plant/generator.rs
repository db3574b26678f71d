//! The paper's family of switched linear-quadratic plants, for any size and seed.

use nalgebra::DMatrix;

use super::SwitchedLqrData;
use crate::numeric::{Purpose, Stream};

/// Actuator gain of a mode on the coordinates of its own group.
const STRONG: f64 = 1.0;
/// Actuator gain of a mode on all other coordinates.
const WEAK: f64 = 0.15;
/// Factor of the identity in the control cost R.
pub(super) const CONTROL_COST: f64 = 0.1;
/// Clamp of every state coordinate.
pub(super) const STATE_CLAMP: f64 = 100.0;
/// Number of steps.
pub(super) const HORIZON: usize = 20;
/// Initial states are uniform on `[-HALF_WIDTH, HALF_WIDTH]^n / sqrt(n)`.
pub(super) const HALF_WIDTH: f64 = 10.0;

/// A plant of the paper's "switched actuators" family with `n` states, as many controls and
/// `modes` modes (`1 <= modes <= n`).
///
/// `A = 1.1 I + 0.05 S` for all modes, `S = (Z + Z')/2` divided by its largest absolute entry, Z
/// standard normal; `B_d` diagonal, 1.0 on group d of `modes` consecutive groups of near-equal size
/// (the first groups one larger), 0.15 elsewhere; `Q = I`, `R = 0.1 I`, states clamped to +-100.
/// Source: Alvo, Russo, Kanoria, arXiv 2605.14297; Z from this crate's own [`Stream`].
///
/// # Panics
/// If `modes` is 0.
#[must_use]
pub fn switched_actuators(n: usize, modes: usize, seed: u64) -> SwitchedLqrData {
    let mut stream = Stream::new(seed, Purpose::Generator, 0);
    // Row by row: the order of the draws is part of the plant's definition.
    let draws: Vec<f64> = (0..n * n).map(|_| stream.normal()).collect();
    let z = DMatrix::from_row_slice(n, n, &draws);
    let symmetric = (&z + z.transpose()) * 0.5;
    let a = DMatrix::identity(n, n) * 1.1 + &symmetric * (0.05 / symmetric.amax());
    let gains: Vec<Vec<f64>> = (0..modes)
        .map(|mode| {
            let group = group_range(n, modes, mode);
            (0..n)
                .map(|i| if group.contains(&i) { STRONG } else { WEAK })
                .collect()
        })
        .collect();
    from_shared(&a, &gains, CONTROL_COST, STATE_CLAMP)
}

/// A plant with one A, one diagonal of B per mode, `Q = I` and `R = control_cost I`.
pub(super) fn from_shared(
    a: &DMatrix<f64>,
    b_diagonals: &[Vec<f64>],
    control_cost: f64,
    state_clamp: f64,
) -> SwitchedLqrData {
    let n = a.nrows();
    let modes = b_diagonals.len();
    SwitchedLqrData {
        a: vec![a.clone(); modes],
        b: b_diagonals
            .iter()
            .map(|gains| DMatrix::from_fn(n, n, |i, j| if i == j { gains[i] } else { 0.0 }))
            .collect(),
        q: vec![DMatrix::identity(n, n); modes],
        r: vec![DMatrix::identity(n, n) * control_cost; modes],
        affine: Vec::new(),
        noise_std: Vec::new(),
        state_clamp,
    }
}

/// Coordinates of group `index` when `n` are cut into `groups` consecutive near-equal parts, the
/// first `n % groups` one larger (numpy's `array_split`).
fn group_range(n: usize, groups: usize, index: usize) -> std::ops::Range<usize> {
    let (size, larger) = (n / groups, n % groups);
    let start = index * size + index.min(larger);
    start..start + size + usize::from(index < larger)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn family_properties(n in 1_usize..20, modes in 1_usize..6, seed: u64) {
            prop_assume!(modes <= n);
            let data = switched_actuators(n, modes, seed);
            let offset = &data.a[0] - DMatrix::identity(n, n) * 1.1;
            prop_assert!((offset.amax() - 0.05).abs() < 1e-15);
            prop_assert_eq!(&data.a[0], &data.a[0].transpose());
            // Every coordinate is strong in exactly one mode and groups are near-equal.
            for i in 0..n {
                let strong = (0..modes).filter(|&d| data.b[d][(i, i)] == STRONG).count();
                prop_assert_eq!(strong, 1);
            }
            let sizes: Vec<usize> = (0..modes).map(|d| group_range(n, modes, d).len()).collect();
            prop_assert_eq!(sizes.iter().sum::<usize>(), n);
            prop_assert!(sizes.windows(2).all(|w| w[0] >= w[1]));
            prop_assert!(sizes[0] - sizes[modes - 1] <= 1);
        }
    }

    #[test]
    fn matrices_are_pinned() {
        let data = switched_actuators(2, 2, 3);
        let other = switched_actuators(2, 2, 4);
        assert_ne!(data.a[0], other.a[0]);
        let bits: Vec<u64> = data.a[0].iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, PINNED);
    }
    const PINNED: [u64; 4] = [
        4607407598781385933,
        13805595708524293610,
        13805595708524293610,
        4607623240372783005,
    ];
}
