//! One matrix per mode, stored once where modes share it, diagonal where it is diagonal.
//!
//! The kernels take vectors of any [`Scalar`] and treat four rows at a time, so that each
//! coordinate of a vector of lanes is loaded once per four rows. The order of additions depends
//! on the shape alone, hence lanes and scalars give the same bits.

use nalgebra::DMatrix;

use crate::numeric::{Real, Scalar};

/// A matrix in the cheapest of its exact forms.
#[derive(Clone, Debug, PartialEq)]
enum Matrix<T> {
    /// Square with zeros off the diagonal: the diagonal.
    Diagonal(Vec<T>),
    /// Any shape: row by row, `columns` entries each.
    Dense { columns: usize, rows: Vec<T> },
}

/// The matrices of all modes.
#[derive(Clone, Debug)]
pub(super) struct Bank<T> {
    distinct: Vec<Matrix<T>>,
    of_mode: Vec<usize>,
}

impl<T: Real> Bank<T> {
    /// Rounds one matrix per mode to `T` and classifies it.
    pub(super) fn new(matrices: &[DMatrix<f64>]) -> Self {
        let mut distinct: Vec<Matrix<T>> = Vec::new();
        let mut of_mode = Vec::with_capacity(matrices.len());
        for matrix in matrices {
            let matrix = classify(matrix);
            let place = distinct.iter().position(|known| *known == matrix);
            of_mode.push(place.unwrap_or_else(|| {
                distinct.push(matrix);
                distinct.len() - 1
            }));
        }
        Self { distinct, of_mode }
    }

    /// As [`Bank::new`], of the symmetric parts: the quadratic form is the same.
    pub(super) fn new_symmetric(matrices: &[DMatrix<f64>]) -> Self {
        let symmetric: Vec<_> = matrices.iter().map(|q| (q + q.transpose()) * 0.5).collect();
        Self::new(&symmetric)
    }

    #[inline(always)]
    fn get(&self, mode: usize) -> &Matrix<T> {
        &self.distinct[self.of_mode[mode]]
    }

    /// `out = M x`.
    #[inline(always)]
    pub(super) fn multiply<S: Scalar<T>>(&self, mode: usize, x: &[S], out: &mut [S]) {
        match self.get(mode) {
            Matrix::Diagonal(diagonal) => {
                for i in 0..out.len() {
                    out[i] = x[i] * diagonal[i];
                }
            }
            Matrix::Dense { .. } => {
                for value in out.iter_mut() {
                    *value = S::constant(T::default());
                }
                self.multiply_add(mode, x, out);
            }
        }
    }

    /// `out += M x`.
    #[inline(always)]
    pub(super) fn multiply_add<S: Scalar<T>>(&self, mode: usize, x: &[S], out: &mut [S]) {
        match self.get(mode) {
            Matrix::Diagonal(diagonal) => {
                for i in 0..out.len() {
                    out[i] = out[i].add_scaled(diagonal[i], x[i]);
                }
            }
            Matrix::Dense { columns, rows } => {
                let x = &x[..*columns];
                let mut i = 0;
                while i + 4 <= out.len() {
                    let (r0, rest) = rows[i * columns..(i + 4) * columns].split_at(*columns);
                    let (r1, rest) = rest.split_at(*columns);
                    let (r2, r3) = rest.split_at(*columns);
                    let (mut s0, mut s1, mut s2, mut s3) =
                        (out[i], out[i + 1], out[i + 2], out[i + 3]);
                    for j in 0..*columns {
                        s0 = s0.add_scaled(r0[j], x[j]);
                        s1 = s1.add_scaled(r1[j], x[j]);
                        s2 = s2.add_scaled(r2[j], x[j]);
                        s3 = s3.add_scaled(r3[j], x[j]);
                    }
                    (out[i], out[i + 1], out[i + 2], out[i + 3]) = (s0, s1, s2, s3);
                    i += 4;
                }
                while i < out.len() {
                    let row = &rows[i * columns..(i + 1) * columns];
                    let mut sum = out[i];
                    for j in 0..*columns {
                        sum = sum.add_scaled(row[j], x[j]);
                    }
                    out[i] = sum;
                    i += 1;
                }
            }
        }
    }

    /// `out += M' g` for the vector with coordinates `g(i)`; `g` is called once per row.
    #[inline(always)]
    pub(super) fn transpose_multiply_add<S: Scalar<T>>(
        &self,
        mode: usize,
        g: impl Fn(usize) -> S,
        out: &mut [S],
    ) {
        match self.get(mode) {
            Matrix::Diagonal(diagonal) => {
                for i in 0..out.len() {
                    out[i] = out[i].add_scaled(diagonal[i], g(i));
                }
            }
            Matrix::Dense { columns, rows } => {
                let out = &mut out[..*columns];
                let count = rows.len() / columns;
                let mut i = 0;
                while i + 4 <= count {
                    let (r0, rest) = rows[i * columns..(i + 4) * columns].split_at(*columns);
                    let (r1, rest) = rest.split_at(*columns);
                    let (r2, r3) = rest.split_at(*columns);
                    let (g0, g1, g2, g3) = (g(i), g(i + 1), g(i + 2), g(i + 3));
                    for j in 0..*columns {
                        out[j] = out[j]
                            .add_scaled(r0[j], g0)
                            .add_scaled(r1[j], g1)
                            .add_scaled(r2[j], g2)
                            .add_scaled(r3[j], g3);
                    }
                    i += 4;
                }
                while i < count {
                    let row = &rows[i * columns..(i + 1) * columns];
                    let gi = g(i);
                    for j in 0..*columns {
                        out[j] = out[j].add_scaled(row[j], gi);
                    }
                    i += 1;
                }
            }
        }
    }

    /// `x' M x` of a symmetric matrix.
    #[inline(always)]
    pub(super) fn quadratic<S: Scalar<T>>(&self, mode: usize, x: &[S]) -> S {
        let mut sum = S::constant(T::default());
        match self.get(mode) {
            Matrix::Diagonal(diagonal) => {
                for i in 0..x.len() {
                    sum = sum.add_scaled(diagonal[i], x[i] * x[i]);
                }
            }
            Matrix::Dense { columns, rows } => {
                for i in 0..x.len() {
                    // Upper triangle only: each pair of symmetric entries counts twice.
                    let row = &rows[i * columns..(i + 1) * columns];
                    let mut half = S::constant(T::default());
                    for j in i + 1..x.len() {
                        half = half.add_scaled(row[j], x[j]);
                    }
                    sum = sum + x[i] * (half + half).add_scaled(row[i], x[i]);
                }
            }
        }
        sum
    }

    /// `out = 2 M x * scale` of a symmetric matrix.
    #[inline(always)]
    pub(super) fn quadratic_gradient<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        scale: S,
        out: &mut [S],
    ) {
        self.multiply(mode, x, out);
        let double = scale + scale;
        for value in out.iter_mut() {
            *value = *value * double;
        }
    }
}

/// Rounds a matrix to `T`; diagonal if it is square with exact zeros elsewhere.
fn classify<T: Real>(matrix: &DMatrix<f64>) -> Matrix<T> {
    let (n, m) = matrix.shape();
    let diagonal = n == m && (0..n).all(|i| (0..n).all(|j| i == j || matrix[(i, j)] == 0.0));
    if diagonal {
        Matrix::Diagonal((0..n).map(|i| T::from_f64(matrix[(i, i)])).collect())
    } else {
        Matrix::Dense {
            columns: m,
            rows: (0..n * m)
                .map(|k| T::from_f64(matrix[(k / m, k % m)]))
                .collect(),
        }
    }
}
