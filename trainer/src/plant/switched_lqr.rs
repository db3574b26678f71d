//! The switched linear-quadratic plant, affine term, process noise and state clamp included.
//!
//! `x' = clamp(A_d x + B_d u + c_d + diag(std) w, +-clamp)`, stage cost `x' Q_d x + u' R_d u`.
//! The paper's family (Alvo, Russo, Kanoria, arXiv 2605.14297) has no `c_d` and no noise.

use nalgebra::{DMatrix, DVector};
use toml::{Table, Value};

use super::bank::Bank;
use super::dynamics::DynamicsTable;
use super::family::{Family, Loaded, ReadAt};
use super::values::{numbers, rows};
use super::{Dims, Plant};
use crate::Result;
use crate::numeric::{Real, Scalar};

/// The numbers of a switched linear-quadratic plant, in `f64`.
///
/// n states, m controls, M modes. A value made by the plant reader has been checked: every matrix
/// has its stated shape and finite entries, `q` is positive semidefinite and `r` positive definite
/// (both symmetric).
#[derive(Clone, Debug, PartialEq)]
pub struct SwitchedLqrData {
    /// System matrix of each mode, n x n.
    pub a: Vec<DMatrix<f64>>,
    /// Input matrix of each mode, n x m.
    pub b: Vec<DMatrix<f64>>,
    /// State cost of each mode, n x n.
    pub q: Vec<DMatrix<f64>>,
    /// Control cost of each mode, m x m.
    pub r: Vec<DMatrix<f64>>,
    /// Constant term of each mode (length n); empty where the plant has none.
    pub affine: Vec<DVector<f64>>,
    /// Standard deviation of the process noise on each state; empty where the plant has none.
    pub noise_std: Vec<f64>,
    /// Every coordinate of the next state is clamped to `+-state_clamp`; greater than 0.
    pub state_clamp: f64,
}

impl SwitchedLqrData {
    /// Sizes of the plant.
    ///
    /// # Panics
    /// If there is no mode, which the plant reader rules out.
    #[must_use]
    pub fn dims(&self) -> Dims {
        Dims {
            state: self.a[0].nrows(),
            control: self.b[0].ncols(),
            modes: self.a.len(),
            noise: self.noise_std.len(),
        }
    }
}

impl Family for SwitchedLqrData {
    const KIND: &'static str = "switched-lqr";
    type Simulator<T: Real> = SwitchedLqr<T>;

    fn read(table: Table, at: &ReadAt<'_>) -> Result<Loaded<Self>> {
        at.table::<DynamicsTable>(table)?.read(at)
    }

    fn to_table(&self) -> Table {
        let mut table = Table::new();
        for (key, matrices) in [
            ("A", &self.a),
            ("B", &self.b),
            ("Q", &self.q),
            ("R", &self.r),
        ] {
            let list = Value::Array(matrices.iter().map(rows).collect());
            table.insert(key.into(), list);
        }
        if !self.affine.is_empty() {
            let rows = self.affine.iter().map(|c| numbers(c.as_slice())).collect();
            table.insert("affine".into(), Value::Array(rows));
        }
        table
    }

    fn dims(&self) -> Dims {
        Self::dims(self)
    }

    fn build<T: Real>(&self) -> SwitchedLqr<T> {
        SwitchedLqr::from_data(self)
    }

    fn set_noise(&mut self, std: Vec<f64>) -> bool {
        self.noise_std = std;
        true
    }

    fn noise_std(&self) -> &[f64] {
        &self.noise_std
    }

    fn set_state_clamp(&mut self, clamp: f64) -> bool {
        self.state_clamp = clamp;
        true
    }

    fn state_clamp(&self) -> Option<f64> {
        Some(self.state_clamp)
    }

    /// Every entry of every distinct A and B, row by row.
    fn scale_parameters(&mut self, factor: &mut dyn FnMut() -> f64) {
        for matrices in [&mut self.a, &mut self.b] {
            let given = matrices.clone();
            for mode in 0..given.len() {
                let known = given[..mode].iter().position(|other| *other == given[mode]);
                if let Some(same) = known {
                    matrices[mode] = matrices[same].clone();
                    continue;
                }
                for i in 0..given[mode].nrows() {
                    for j in 0..given[mode].ncols() {
                        matrices[mode][(i, j)] *= factor();
                    }
                }
            }
        }
    }
}

/// [`SwitchedLqrData`] rounded to `T` and laid out for fast steps; see [`Plant`].
#[derive(Clone, Debug)]
pub struct SwitchedLqr<T> {
    dims: Dims,
    a: Bank<T>,
    b: Bank<T>,
    q: Bank<T>,
    r: Bank<T>,
    /// M x n, or empty.
    affine: Vec<T>,
    noise_std: Vec<T>,
    clamp: T,
    /// The greatest number below `clamp`: beyond it a state stands at the clamp.
    inside: T,
}

impl<T: Real> SwitchedLqr<T> {
    /// Rounds checked data to `T`.
    ///
    /// # Panics
    /// If the data has no mode, which the plant reader rules out.
    #[must_use]
    pub fn from_data(data: &SwitchedLqrData) -> Self {
        let clamp = T::from_f64(data.state_clamp);
        Self {
            dims: data.dims(),
            a: Bank::new(&data.a),
            b: Bank::new(&data.b),
            q: Bank::new_symmetric(&data.q),
            r: Bank::new_symmetric(&data.r),
            affine: data
                .affine
                .iter()
                .flat_map(|c| c.iter().map(|&v| T::from_f64(v)))
                .collect(),
            noise_std: data.noise_std.iter().map(|&v| T::from_f64(v)).collect(),
            clamp,
            inside: just_below(data.state_clamp, clamp),
        }
    }
}

/// The greatest `T` below `clamp`, which is `value` rounded to `T`.
fn just_below<T: Real>(value: f64, clamp: T) -> T {
    // The first doubling that changes the rounded value lands on its lower neighbour.
    let mut step = value * 2.0_f64.powi(-60);
    loop {
        let below = T::from_f64(clamp.to_f64() - step);
        if below < clamp {
            return below;
        }
        step *= 2.0;
    }
}

impl<T: Real> Plant<T> for SwitchedLqr<T> {
    #[inline(always)]
    fn dims(&self) -> Dims {
        self.dims
    }

    #[inline(always)]
    fn step<S: Scalar<T>>(&self, mode: usize, x: &[S], u: &[S], noise: &[S], next: &mut [S]) -> S {
        let n = self.dims.state;
        let (x, u, next) = (&x[..n], &u[..self.dims.control], &mut next[..n]);
        if self.affine.is_empty() {
            self.a.multiply(mode, x, next);
        } else {
            let constant = &self.affine[mode * n..(mode + 1) * n];
            for i in 0..n {
                next[i] = S::constant(constant[i]);
            }
            self.a.multiply_add(mode, x, next);
        }
        self.b.multiply_add(mode, u, next);
        for (i, &std) in self.noise_std.iter().enumerate() {
            next[i] = next[i].add_scaled(std, noise[i]);
        }
        for value in next.iter_mut() {
            *value = value.clamp(-self.clamp, self.clamp);
        }
        self.q.quadratic(mode, x) + self.r.quadratic(mode, u)
    }

    #[inline(always)]
    fn vjp<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        _noise: &[S],
        next: &[S],
        d_next: &[S],
        d_cost: S,
        d_x: &mut [S],
        d_u: &mut [S],
    ) {
        let (n, m) = (self.dims.state, self.dims.control);
        let (x, u) = (&x[..n], &u[..m]);
        let (next, d_next) = (&next[..n], &d_next[..n]);
        let (d_x, d_u) = (&mut d_x[..n], &mut d_u[..m]);
        let passed = |i: usize| d_next[i] * next[i].gate(-self.clamp, self.clamp);
        self.q.quadratic_gradient(mode, x, d_cost, d_x);
        self.r.quadratic_gradient(mode, u, d_cost, d_u);
        self.a.transpose_multiply_add(mode, passed, d_x);
        self.b.transpose_multiply_add(mode, passed, d_u);
    }

    #[inline(always)]
    fn count_clamped<S: Scalar<T>>(&self, next: &[S]) -> u32 {
        next[..self.dims.state]
            .iter()
            .map(|value| value.count_outside(-self.inside, self.inside))
            .sum()
    }
}

#[cfg(test)]
#[path = "switched_lqr_tests.rs"]
mod tests;
