//! Plants given by ordinary differential equations, sampled with a held control.
//!
//! `dx/dt = f(x, d, u)` is integrated over one sample time by the classical Runge-Kutta method of order 4 in equal
//! substeps; the stage cost is that of state and control at the beginning of the step. The adjoint is that of the discrete map, exact up
//! to rounding (discretise, then differentiate), not an approximation of the continuous adjoint. A model is one file: its
//! numbers, its equations with their vector-Jacobian products ([`Equations`]), and its classical controller ([`Model`]).

mod buck_boost;
mod geared_car;
mod parameters;
mod rule;
mod satellite_axis;
mod three_tank;

use std::fmt::Debug;

use toml::Table;

use super::family::{BaselineSetting, Family, FamilyNames, Loaded, ReadAt, SafeLaw, Scaling};
use super::outlined::{self, outlined};
use super::{Baseline, Dims, Plant};
use crate::Result;
use crate::numeric::{Real, Scalar};

pub use buck_boost::BuckBoost;
pub use geared_car::GearedCar;
pub use satellite_axis::SatelliteAxis;
pub use three_tank::ThreeTank;

/// Greatest number of states of a model: vectors of the integrator live on the stack.
pub const MAX_STATE: usize = 4;
/// Greatest number of substeps in a sample time.
pub const MAX_SUBSTEPS: usize = 8;
/// Time of stage s from the start of the substep, and the stage whose slope leads there: the one before.
const REACH: [f64; 4] = [0.0, 0.5, 0.5, 1.0];
/// Weight of the slope of stage s.
const WEIGHT: [f64; 4] = [1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0];

/// Differential equations and stage cost over coefficients of type `T`; no allocation, no panic on slices of the stated
/// lengths (n states, m controls).
pub trait Equations<T: Real>: Clone + Debug + Send + Sync {
    /// Writes `dx/dt`, in the states' units per second.
    fn rate<S: Scalar<T>>(&self, mode: usize, x: &[S], u: &[S], rate: &mut [S]);
    /// Adds `(df/dx)' p` to `d_x` and `(df/du)' p` to `d_u`.
    fn rate_vjp<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        p: &[S],
        d_x: &mut [S],
        d_u: &mut [S],
    );
    /// The stage cost, 0 or more.
    fn cost<S: Scalar<T>>(&self, mode: usize, x: &[S], u: &[S]) -> S;
    /// Adds `d_cost` times the gradient of the stage cost.
    fn cost_vjp<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        d_cost: S,
        d_x: &mut [S],
        d_u: &mut [S],
    );
}

/// Numbers that a plant file gives by name.
pub trait Parameters: Sized {
    /// Reads and checks every key of `[dynamics]`.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for a key that is unknown, missing or out of range.
    fn read(table: Table, at: &ReadAt<'_>) -> Result<Self>;
    /// The table that [`Parameters::read`] reads back to an equal value.
    fn to_table(&self) -> Table;
    /// Multiplies every physical number by a factor of its own.
    fn scale(&mut self, factor: &mut dyn FnMut() -> f64);
}

/// A plant of differential equations: numbers in `f64` with all that goes with them.
pub trait Model: Parameters + Copy + Debug + PartialEq + Send + Sync + 'static {
    /// Value of `dynamics.kind`.
    const KIND: &'static str;
    /// Number of states, at most [`MAX_STATE`].
    const STATE: usize;
    /// Number of controls.
    const CONTROL: usize;
    /// Number of modes.
    const MODES: usize;
    /// Runge-Kutta substeps in one sample time, 1 to [`MAX_SUBSTEPS`].
    const SUBSTEPS: usize;
    /// Name of the classical controller.
    const RULE: &'static str;
    /// What it does, in one line.
    const RULE_TEXT: &'static str;
    /// Values from which its gains are tuned, all greater than 0.
    const RULE_START: &'static [f64];
    /// The equations over `T`.
    type Over<T: Real>: Equations<T>;

    /// Rounds to `T`.
    fn over<T: Real>(&self) -> Self::Over<T>;
    /// Typical magnitudes.
    fn scaling(&self) -> Scaling;
    /// Names and units.
    fn names(&self) -> FamilyNames;
    /// The law of the device when the policy must not act.
    fn safe_law(&self) -> SafeLaw;
    /// The classical controller's mode for state `x`.
    fn rule_mode(&self, gains: &[f64], x: &[f64]) -> usize;
    /// Its control for state `x` in `mode`, wanted or not, before bounds; `u` is 0 on entry.
    fn rule_control(&self, gains: &[f64], mode: usize, x: &[f64], u: &mut [f64]);
}

/// Data of a sampled plant: the model and the sample time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampledData<M> {
    /// The model's numbers.
    pub model: M,
    /// Time between two control steps in seconds, greater than 0; set from the plant file's `sample_time_s`.
    pub sample_time_s: f64,
}

impl<M: Model> Family for SampledData<M> {
    const KIND: &'static str = M::KIND;
    type Simulator<T: Real> = Sampled<T, M::Over<T>>;

    fn read(table: Table, at: &ReadAt<'_>) -> Result<Loaded<Self>> {
        if at.seed.is_some() {
            return Err(crate::Error::Usage(format!(
                "seed: found a plant of kind \"{}\"; allowed: plants of the generator",
                M::KIND
            )));
        }
        let data = Self {
            model: M::read(table, at)?,
            sample_time_s: 1.0,
        };
        Ok(Loaded {
            data,
            horizon: None,
            seed: None,
        })
    }

    fn to_table(&self) -> Table {
        self.model.to_table()
    }

    fn dims(&self) -> Dims {
        Dims {
            state: M::STATE,
            control: M::CONTROL,
            modes: M::MODES,
            noise: 0,
        }
    }

    fn build<T: Real>(&self) -> Self::Simulator<T> {
        Sampled::new(
            Family::dims(self),
            self.model.over(),
            self.sample_time_s,
            M::SUBSTEPS,
        )
    }

    fn set_sample_time(&mut self, seconds: f64) {
        self.sample_time_s = seconds;
    }

    fn scale_parameters(&mut self, factor: &mut dyn FnMut() -> f64) {
        self.model.scale(factor);
    }

    fn baseline_names(&self) -> &'static [&'static str] {
        const { &[M::RULE] }
    }

    fn baseline(&self, name: &str, setting: &BaselineSetting<'_>) -> Result<Option<Baseline>> {
        Ok((name == M::RULE).then(|| rule::tuned(self, setting)))
    }

    fn scaling(&self) -> Scaling {
        self.model.scaling()
    }

    fn names(&self) -> FamilyNames {
        self.model.names()
    }

    fn safe_law(&self) -> SafeLaw {
        self.model.safe_law()
    }
}

/// A sampled plant over `T`; see [`Plant`].
#[derive(Clone, Debug)]
pub struct Sampled<T, E> {
    dims: Dims,
    equations: E,
    substeps: usize,
    /// [`REACH`] and [`WEIGHT`] times the length of a substep in seconds.
    reach: [T; 4],
    weight: [T; 4],
}

impl<T: Real, E: Equations<T>> Sampled<T, E> {
    /// The map of one sample time in `substeps` substeps.
    ///
    /// # Panics
    /// For more than [`MAX_STATE`] states or substeps out of 1 to [`MAX_SUBSTEPS`].
    #[must_use]
    pub fn new(dims: Dims, equations: E, sample_time_s: f64, substeps: usize) -> Self {
        assert!(dims.state <= MAX_STATE && (1..=MAX_SUBSTEPS).contains(&substeps));
        let length = sample_time_s / substeps as f64;
        Self {
            dims,
            equations,
            substeps,
            reach: REACH.map(|c| T::from_f64(c * length)),
            weight: WEIGHT.map(|c| T::from_f64(c * length)),
        }
    }

    /// The four points at which slopes are taken, and the state at the end of the substep.
    #[inline(always)]
    fn stages<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S; MAX_STATE],
        u: &[S],
    ) -> ([[S; MAX_STATE]; 4], [S; MAX_STATE]) {
        let n = self.dims.state;
        let zero = S::constant(T::default());
        let (mut points, mut slope, mut end) = ([[zero; MAX_STATE]; 4], [zero; MAX_STATE], *x);
        for stage in 0..4 {
            for i in 0..n {
                points[stage][i] = x[i].add_scaled(self.reach[stage], slope[i]);
            }
            self.equations
                .rate(mode, &points[stage][..n], u, &mut slope[..n]);
            for i in 0..n {
                end[i] = end[i].add_scaled(self.weight[stage], slope[i]);
            }
        }
        (points, end)
    }
}

impl<T: Real, E: Equations<T>> outlined::Equations<T> for Sampled<T, E> {
    #[inline(always)]
    fn step_inline<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        _noise: &[S],
        next: &mut [S],
    ) -> S {
        let n = self.dims.state;
        let (x, u) = (&x[..n], &u[..self.dims.control]);
        let mut now = [S::constant(T::default()); MAX_STATE];
        now[..n].copy_from_slice(x);
        for _ in 0..self.substeps {
            now = self.stages(mode, &now, u).1;
        }
        next[..n].copy_from_slice(&now[..n]);
        self.equations.cost(mode, x, u)
    }

    #[inline(always)]
    fn vjp_inline<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        _noise: &[S],
        _next: &[S],
        d_next: &[S],
        d_cost: S,
        d_x: &mut [S],
        d_u: &mut [S],
    ) {
        let n = self.dims.state;
        let (x, u) = (&x[..n], &u[..self.dims.control]);
        let (d_x, d_u) = (&mut d_x[..n], &mut d_u[..self.dims.control]);
        let zero = S::constant(T::default());
        d_u.fill(zero);
        let mut starts = [[zero; MAX_STATE]; MAX_SUBSTEPS];
        starts[0][..n].copy_from_slice(x);
        for k in 1..self.substeps {
            starts[k] = self.stages(mode, &starts[k - 1], u).1;
        }
        // Adjoint of the state at the end of the substep.
        let mut p = [zero; MAX_STATE];
        p[..n].copy_from_slice(&d_next[..n]);
        for k in (0..self.substeps).rev() {
            let (points, _) = self.stages(mode, &starts[k], u);
            let (mut d_start, mut carried) = (p, [zero; MAX_STATE]);
            for stage in (0..4).rev() {
                let (mut d_slope, mut d_point) = ([zero; MAX_STATE], [zero; MAX_STATE]);
                for i in 0..n {
                    d_slope[i] = carried[i].add_scaled(self.weight[stage], p[i]);
                }
                let (point, slope) = (&points[stage][..n], &d_slope[..n]);
                self.equations
                    .rate_vjp(mode, point, u, slope, &mut d_point[..n], d_u);
                for i in 0..n {
                    d_start[i] = d_start[i] + d_point[i];
                    carried[i] = d_point[i] * self.reach[stage];
                }
            }
            p = d_start;
        }
        d_x.copy_from_slice(&p[..n]);
        self.equations.cost_vjp(mode, x, u, d_cost, d_x, d_u);
    }
}

impl<T: Real, E: Equations<T>> Plant<T> for Sampled<T, E> {
    #[inline(always)]
    fn dims(&self) -> Dims {
        self.dims
    }

    outlined!();

    /// No state is clamped.
    #[inline(always)]
    fn count_clamped<S: Scalar<T>>(&self, _next: &[S]) -> u32 {
        0
    }
}

/// (name, unit) pairs.
fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|&(name, unit)| (name.to_owned(), unit.to_owned()))
        .collect()
}

/// Mode names.
fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[cfg(test)]
mod tests;
