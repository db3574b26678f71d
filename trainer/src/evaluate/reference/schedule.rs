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
    /// Whether the sequence begins again after its end; otherwise its last step goes on.
    periodic: bool,
}

/// Cycles after which a periodic schedule counts as one without a stationary cost.
const MAX_CYCLES: usize = 20_000;

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
            periodic: false,
        }
    }

    /// `cycle` repeated for ever, with the gains that are optimal for that (the periodic Riccati equation, by
    /// iteration from 0 until a cycle changes no entry by more than 1e-12 of the largest).
    ///
    /// `None` if that takes more than 20,000 cycles: the cycle cannot be stabilised, or its cost grows without bound.
    ///
    /// # Panics
    /// As [`Schedule::new`].
    #[must_use]
    pub fn periodic(modes: &RiccatiModes, cycle: Vec<usize>) -> Option<Self> {
        assert!(!cycle.is_empty(), "a schedule has at least one step");
        let n = modes.state();
        let mut value = DMatrix::zeros(n, n);
        for _ in 0..MAX_CYCLES {
            let mut gains = Vec::with_capacity(cycle.len());
            let mut next = value.clone();
            for &mode in cycle.iter().rev() {
                gains.push(modes.gain(mode, &next));
                next = modes.map(mode, &next);
            }
            let (change, scale) = ((&next - &value).amax(), next.amax());
            if !scale.is_finite() || scale > 1e15 {
                return None;
            }
            value = next;
            if change <= 1e-12 * scale {
                gains.reverse();
                return Some(Self {
                    lift: modes.lift(),
                    sequence: cycle,
                    gains,
                    value,
                    periodic: true,
                });
            }
        }
        None
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
    /// bounds and noise. Of a periodic schedule: the cost for ever.
    #[must_use]
    pub fn value(&self) -> &DMatrix<f64> {
        &self.value
    }
}

impl ReferencePolicy for Schedule {
    fn act(&self, t: usize, x: &[f64], u: &mut [f64]) -> usize {
        let length = self.sequence.len();
        let t = if self.periodic {
            t % length
        } else {
            t.min(length - 1)
        };
        let control = &self.gains[t] * self.lift.lift(x);
        for (u, control) in u.iter_mut().zip(control.iter()) {
            *u = -control;
        }
        self.sequence[t]
    }
}
