//! Equations as objects.
//!
//! A method that is generic over the scalar cannot be called on a trait object. [`Calls`] has one entry for each type that
//! computes, and [`Scalar`] finds the own one.

use super::{Dual, Lanes, Real, Scalar};

/// Where equations are evaluated: mode, state `[n]`, control `[m]`, noise `[w]`.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a, S> {
    /// Mode.
    pub mode: usize,
    /// State.
    pub x: &'a [S],
    /// Control.
    pub u: &'a [S],
    /// Noise.
    pub noise: &'a [S],
}

/// What flows back: derivatives by the next state `[n]` and by the cost.
#[derive(Clone, Copy, Debug)]
pub struct Adjoint<'a, S> {
    /// By the next state.
    pub d_next: &'a [S],
    /// By the cost.
    pub d_cost: S,
}

/// Step and vector-Jacobian product, as those of [`crate::plant::Plant`], for one number and for lanes.
pub trait Calls<T: Real>: Send + Sync {
    /// Writes the next state, returns the cost.
    fn step_one(&self, at: Point<'_, T>, next: &mut [T]) -> T;
    /// As [`Calls::step_one`].
    fn step_lanes(&self, at: Point<'_, Lanes<T>>, next: &mut [Lanes<T>]) -> Lanes<T>;
    /// Writes the derivatives by state and control.
    fn vjp_one(&self, at: Point<'_, T>, back: Adjoint<'_, T>, d_x: &mut [T], d_u: &mut [T]);
    /// As [`Calls::vjp_one`].
    fn vjp_lanes(
        &self,
        at: Point<'_, Lanes<T>>,
        back: Adjoint<'_, Lanes<T>>,
        d_x: &mut [Lanes<T>],
        d_u: &mut [Lanes<T>],
    );
}

/// Equations over both floating-point types.
pub trait Object: Calls<f32> + Calls<f64> + core::fmt::Debug {}

impl<T: Real, S: Scalar<T>> Dual<T, S> {
    /// [`Scalar::step_of`] by as many adjoint sweeps as there are outputs; derivatives by the noise are not known to an object and count as 0.
    pub(super) fn step_by_adjoints(
        plant: &dyn Calls<T>,
        at: Point<'_, Self>,
        next: &mut [Self],
    ) -> Self {
        let values = |list: &[Self]| -> Vec<S> { list.iter().map(|d| d.value).collect() };
        let (x, u, noise) = (values(at.x), values(at.u), values(at.noise));
        let point = Point {
            mode: at.mode,
            x: &x,
            u: &u,
            noise: &noise,
        };
        let (zero, one) = (S::constant(T::default()), S::constant(T::from(1.0)));
        let mut value = vec![zero; next.len()];
        let cost = S::step_of(plant, point, &mut value);
        let (mut d_x, mut d_u) = (vec![zero; x.len()], vec![zero; u.len()]);
        let mut tangent = |d_next: &[S], d_cost: S| -> S {
            S::vjp_of(plant, point, Adjoint { d_next, d_cost }, &mut d_x, &mut d_u);
            let state = d_x.iter().zip(at.x);
            let control = d_u.iter().zip(at.u);
            state
                .chain(control)
                .fold(zero, |sum, (&d, dual)| sum + d * dual.tangent)
        };
        let mut d_next = vec![zero; next.len()];
        let cost = Self::new(cost, tangent(&d_next, one));
        for i in 0..next.len() {
            d_next[i] = one;
            next[i] = Self::new(value[i], tangent(&d_next, zero));
            d_next[i] = zero;
        }
        cost
    }

    /// [`Scalar::vjp_of`]: the values; of first order, so the derivative of a derivative is 0.
    pub(super) fn vjp_of_values(
        plant: &dyn Calls<T>,
        at: Point<'_, Self>,
        back: Adjoint<'_, Self>,
        d_x: &mut [Self],
        d_u: &mut [Self],
    ) {
        let values = |list: &[Self]| -> Vec<S> { list.iter().map(|d| d.value).collect() };
        let (x, u, noise) = (values(at.x), values(at.u), values(at.noise));
        let point = Point {
            mode: at.mode,
            x: &x,
            u: &u,
            noise: &noise,
        };
        let back = Adjoint {
            d_next: &values(back.d_next),
            d_cost: back.d_cost.value,
        };
        let (mut by_x, mut by_u) = (values(d_x), values(d_u));
        S::vjp_of(plant, point, back, &mut by_x, &mut by_u);
        for (d, value) in d_x.iter_mut().zip(by_x).chain(d_u.iter_mut().zip(by_u)) {
            *d = Self::fixed(value);
        }
    }
}
