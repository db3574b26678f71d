//! Averaged Riccati: one matrix, one-step look-ahead, no training.

use nalgebra::DMatrix;

use super::riccati::{Lift, RiccatiModes};
use super::simulate::ReferencePolicy;

/// `P` solves the algebraic Riccati equation of the averaged matrices; at every step
/// `d = argmin_d x' rho_d(P) x` (lowest index on ties) and `u = -K_d(P) x`.
#[derive(Clone, Debug)]
pub struct AveragedRiccati {
    lift: Lift,
    p: DMatrix<f64>,
    values: Vec<DMatrix<f64>>,
    gains: Vec<DMatrix<f64>>,
}

impl AveragedRiccati {
    /// The controller for a plant; `None` where the averaged equation has no solution (an affine
    /// plant whose cost grows for ever, or a mean that cannot be stabilised).
    #[must_use]
    pub fn new(modes: &RiccatiModes) -> Option<Self> {
        let p = modes.averaged().algebraic(0)?;
        Some(Self {
            values: (0..modes.count()).map(|d| modes.map(d, &p)).collect(),
            gains: (0..modes.count()).map(|d| modes.gain(d, &p)).collect(),
            p,
            lift: modes.lift(),
        })
    }

    /// Why there is none, for people; `affine`: whether the plant has affine terms.
    #[must_use]
    pub fn missing(affine: bool) -> &'static str {
        if affine {
            "the plant has affine terms, under which an endless run costs more with every step, so that its equation \
             has no solution"
        } else {
            "the averaged equation has no stabilising solution"
        }
    }

    /// The solution P, n x n.
    #[must_use]
    pub fn p(&self) -> &DMatrix<f64> {
        &self.p
    }

    /// `rho_d(P)` of each mode: the mode at x is the arg-min of `x' rho_d(P) x`.
    #[must_use]
    pub fn values(&self) -> &[DMatrix<f64>] {
        &self.values
    }

    /// `K_d(P)` of each mode, m x n: the control is `-K_d x`.
    #[must_use]
    pub fn gains(&self) -> &[DMatrix<f64>] {
        &self.gains
    }
}

impl ReferencePolicy for AveragedRiccati {
    fn act(&self, _t: usize, x: &[f64], u: &mut [f64]) -> usize {
        let x = self.lift.lift(x);
        let mut best = (0, f64::INFINITY);
        for (mode, value) in self.values.iter().enumerate() {
            let cost = x.dot(&(value * &x));
            if cost < best.1 {
                best = (mode, cost);
            }
        }
        let control = &self.gains[best.0] * &x;
        for (u, control) in u.iter_mut().zip(control.iter()) {
            *u = -control;
        }
        best.0
    }
}
