//! Plant equations as functions of their own, compiled once for each instruction set.
//!
//! What is inlined into every rollout is compiled as often as there are rollouts. A plant whose equations are called through
//! `Step` and `Vjp` is compiled once, and still for the instruction set of the machine.

use pulp::{Simd, WithSimd};
use std::marker::PhantomData;

use crate::numeric::{Real, Scalar, arch};

/// A plant whose equations stand in functions of their own.
pub trait Equations<T: Real>: Send + Sync {
    /// As [`step`](super::Plant::step) of a plant, inlined.
    fn step_inline<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        next: &mut [S],
    ) -> S;

    /// As [`vjp`](super::Plant::vjp) of a plant, inlined.
    #[expect(clippy::too_many_arguments, reason = "those of Plant::vjp")]
    fn vjp_inline<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        next: &[S],
        d_next: &[S],
        d_cost: S,
        d_x: &mut [S],
        d_u: &mut [S],
    );
}

struct Step<'a, T, S, E> {
    plant: &'a E,
    mode: usize,
    x: &'a [S],
    u: &'a [S],
    noise: &'a [S],
    next: &'a mut [S],
    real: PhantomData<T>,
}

impl<T: Real, S: Scalar<T>, E: Equations<T>> WithSimd for Step<'_, T, S, E> {
    type Output = S;

    #[inline(always)]
    fn with_simd<I: Simd>(self, _simd: I) -> S {
        let plant = self.plant;
        plant.step_inline(self.mode, self.x, self.u, self.noise, self.next)
    }
}

/// [`Equations::step_inline`] as a call.
#[inline(never)]
pub fn step<T: Real, S: Scalar<T>, E: Equations<T>>(
    plant: &E,
    mode: usize,
    x: &[S],
    u: &[S],
    noise: &[S],
    next: &mut [S],
) -> S {
    arch().dispatch(Step {
        plant,
        mode,
        x,
        u,
        noise,
        next,
        real: PhantomData::<T>,
    })
}

struct Vjp<'a, T, S, E> {
    plant: &'a E,
    mode: usize,
    x: &'a [S],
    u: &'a [S],
    noise: &'a [S],
    next: &'a [S],
    d_next: &'a [S],
    d_cost: S,
    d_x: &'a mut [S],
    d_u: &'a mut [S],
    real: PhantomData<T>,
}

impl<T: Real, S: Scalar<T>, E: Equations<T>> WithSimd for Vjp<'_, T, S, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<I: Simd>(self, _simd: I) {
        self.plant.vjp_inline(
            self.mode,
            self.x,
            self.u,
            self.noise,
            self.next,
            self.d_next,
            self.d_cost,
            self.d_x,
            self.d_u,
        );
    }
}

/// [`Equations::vjp_inline`] as a call.
#[expect(clippy::too_many_arguments, reason = "those of Plant::vjp")]
#[inline(never)]
pub fn vjp<T: Real, S: Scalar<T>, E: Equations<T>>(
    plant: &E,
    mode: usize,
    x: &[S],
    u: &[S],
    noise: &[S],
    next: &[S],
    d_next: &[S],
    d_cost: S,
    d_x: &mut [S],
    d_u: &mut [S],
) {
    arch().dispatch(Vjp {
        plant,
        mode,
        x,
        u,
        noise,
        next,
        d_next,
        d_cost,
        d_x,
        d_u,
        real: PhantomData::<T>,
    });
}

/// `step` and `vjp` of an implementation of `Plant` by calls, for a type with [`Equations`].
macro_rules! outlined {
    () => {
        #[inline(always)]
        fn step<S: Scalar<T>>(
            &self,
            mode: usize,
            x: &[S],
            u: &[S],
            noise: &[S],
            next: &mut [S],
        ) -> S {
            crate::plant::outlined::step::<T, S, Self>(self, mode, x, u, noise, next)
        }

        #[inline(always)]
        fn vjp<S: Scalar<T>>(
            &self,
            mode: usize,
            x: &[S],
            u: &[S],
            noise: &[S],
            next: &[S],
            d_next: &[S],
            d_cost: S,
            d_x: &mut [S],
            d_u: &mut [S],
        ) {
            crate::plant::outlined::vjp::<T, S, Self>(
                self, mode, x, u, noise, next, d_next, d_cost, d_x, d_u,
            );
        }
    };
}
pub(in crate::plant) use outlined;
