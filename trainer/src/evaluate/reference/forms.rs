//! Many quadratic forms at many points, as one matrix product.
//!
//! `x'Px` is linear in the n(n+1)/2 products `x_i x_j`, so the values of C forms at N points are the
//! product of an N x F and an F x C matrix.

use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

/// Forms per task: large enough to fill the matrix product, small enough to share out.
const CHUNK: usize = 32;

/// Points at which forms are evaluated: the products of their coordinates, N x n(n+1)/2.
#[derive(Clone, Debug)]
pub(super) struct Points {
    products: DMatrix<f64>,
}

impl Points {
    /// Points from states of length `n`.
    pub(super) fn new<'a>(n: usize, states: impl ExactSizeIterator<Item = &'a [f64]>) -> Self {
        let mut table = DMatrix::zeros(states.len(), n * (n + 1) / 2);
        for (row, x) in states.enumerate() {
            for (column, product) in products(x).into_iter().enumerate() {
                table[(row, column)] = product;
            }
        }
        Self { products: table }
    }

    /// Number of points.
    pub(super) fn len(&self) -> usize {
        self.products.nrows()
    }

    /// The N values of each form, form by form.
    pub(super) fn values(&self, forms: &[DMatrix<f64>]) -> Vec<Vec<f64>> {
        forms
            .par_chunks(CHUNK)
            .flat_map_iter(|chunk| {
                let packed = DMatrix::from_columns(&chunk.iter().map(pack).collect::<Vec<_>>());
                let values = &self.products * packed;
                (0..chunk.len())
                    .map(move |k| values.column(k).iter().copied().collect())
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// For each point the least value over the forms and the first form that attains it.
    pub(super) fn least(&self, forms: &[DMatrix<f64>]) -> Vec<(usize, f64)> {
        let parts: Vec<Vec<(usize, f64)>> = forms
            .par_chunks(CHUNK)
            .enumerate()
            .map(|(part, chunk)| {
                let packed = DMatrix::from_columns(&chunk.iter().map(pack).collect::<Vec<_>>());
                let values = &self.products * packed;
                let mut least = vec![(usize::MAX, f64::INFINITY); self.len()];
                for k in 0..chunk.len() {
                    for (entry, &value) in least.iter_mut().zip(values.column(k).iter()) {
                        if value < entry.1 {
                            *entry = (part * CHUNK + k, value);
                        }
                    }
                }
                least
            })
            .collect();
        // Folded in the order of the forms, so ties go to the first one on any thread count.
        let mut least = vec![(usize::MAX, f64::INFINITY); self.len()];
        for part in parts {
            for (entry, candidate) in least.iter_mut().zip(part) {
                if candidate.1 < entry.1 {
                    *entry = candidate;
                }
            }
        }
        least
    }
}

/// The coefficients of a symmetric form in the order of [`products`].
pub(super) fn pack(p: &DMatrix<f64>) -> DVector<f64> {
    let n = p.nrows();
    let mut packed = Vec::with_capacity(n * (n + 1) / 2);
    for i in 0..n {
        for j in 0..i {
            packed.push(2.0 * p[(i, j)]);
        }
        packed.push(p[(i, i)]);
    }
    DVector::from_vec(packed)
}

/// The products `x_i x_j`, `j <= i`, row by row.
pub(super) fn products(x: &[f64]) -> Vec<f64> {
    let n = x.len();
    let mut products = Vec::with_capacity(n * (n + 1) / 2);
    for i in 0..n {
        for j in 0..=i {
            products.push(x[i] * x[j]);
        }
    }
    products
}

/// The value of one packed form at one point.
pub(super) fn dot_packed(packed: &[f64], products: &[f64]) -> f64 {
    // Eight partial sums let the compiler use vector registers.
    let mut sums = [0.0; 8];
    let (left, right) = (packed.chunks_exact(8), products.chunks_exact(8));
    let rest: f64 = left
        .remainder()
        .iter()
        .zip(right.remainder())
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in left.zip(right) {
        for k in 0..8 {
            sums[k] += a[k] * b[k];
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::{Purpose, Stream};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_are_quadratic_forms(n in 1_usize..6, forms in 1_usize..80, seed: u64) {
            let mut stream = Stream::new(seed, Purpose::Evaluation, 0);
            let forms: Vec<_> = (0..forms)
                .map(|_| {
                    let m = DMatrix::from_fn(n, n, |_, _| stream.normal());
                    &m + m.transpose()
                })
                .collect();
            let states: Vec<Vec<f64>> = (0..7).map(|_| (0..n).map(|_| stream.normal()).collect()).collect();
            let points = Points::new(n, states.iter().map(Vec::as_slice));
            let values = points.values(&forms);
            let least = points.least(&forms);
            for (s, state) in states.iter().enumerate() {
                let x = nalgebra::DVector::from_row_slice(state);
                for (f, form) in forms.iter().enumerate() {
                    let expected = x.dot(&(form * &x));
                    prop_assert!((values[f][s] - expected).abs() < 1e-11 * (1.0 + x.norm_squared() * form.amax()));
                    prop_assert!(least[s].1 <= values[f][s]);
                }
                prop_assert_eq!(values[least[s].0][s], least[s].1);
            }
        }
    }
}
