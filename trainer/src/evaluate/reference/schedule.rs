//! Policies with a mode schedule fixed in advance: one mode, round robin, any sequence.

use nalgebra::DMatrix;

use super::riccati::{Lift, RiccatiModes};
use super::simulate::ReferencePolicy;

/// A mode sequence with the gains that are optimal for it (finite-horizon Riccati recursion).
#[derive(Clone, Debug)]
pub struct Schedule {
    lift: Lift,
    sequence: Vec<usize>,
    gains: Vec<DMatrix<f64>>,
    value: DMatrix<f64>,
}

impl Schedule {
    /// The optimal controls for `sequence`, one mode per step, at least one step; no terminal cost.
    ///
    /// # Panics
    /// If a mode is out of range or the sequence is empty.
    #[must_use]
    pub fn new(modes: &RiccatiModes, sequence: Vec<usize>) -> Self {
        assert!(!sequence.is_empty(), "a schedule has at least one step");
        let n = modes.state();
        let mut value = DMatrix::zeros(n, n);
        let mut gains = Vec::with_capacity(sequence.len());
        for &mode in sequence.iter().rev() {
            gains.push(modes.gain(mode, &value));
            value = modes.map(mode, &value);
        }
        gains.reverse();
        Self {
            lift: modes.lift(),
            sequence,
            gains,
            value,
        }
    }

    /// One mode for ever: linear-quadratic regulation of that mode over `horizon` steps.
    ///
    /// # Panics
    /// As [`Schedule::new`].
    #[must_use]
    pub fn fixed_mode(modes: &RiccatiModes, mode: usize, horizon: usize) -> Self {
        Self::new(modes, vec![mode; horizon])
    }

    /// Mode `t mod M` at step t.
    ///
    /// # Panics
    /// As [`Schedule::new`].
    #[must_use]
    pub fn round_robin(modes: &RiccatiModes, horizon: usize) -> Self {
        Self::new(modes, (0..horizon).map(|t| t % modes.count()).collect())
    }

    /// The matrix P of the cost `x'Px` from the first step (homogeneous state), without clamp,
    /// bounds and noise.
    #[must_use]
    pub fn value(&self) -> &DMatrix<f64> {
        &self.value
    }
}

impl ReferencePolicy for Schedule {
    fn act(&self, t: usize, x: &[f64], u: &mut [f64]) -> usize {
        let t = t.min(self.sequence.len() - 1);
        let control = &self.gains[t] * self.lift.lift(x);
        for (u, control) in u.iter_mut().zip(control.iter()) {
            *u = -control;
        }
        self.sequence[t]
    }
}
