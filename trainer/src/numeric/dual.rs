//! Dual numbers: a value with its derivative along one direction, exact up to rounding.

use core::marker::PhantomData;
use core::ops::{Add, Mul, Neg, Sub};

use super::object::{Adjoint, Calls, Point};
use super::{Real, Scalar};

/// `value + tangent * e` with `e * e = 0`, over scalars `S` of coefficients `T`: what is computed with it carries its
/// derivative along (forward mode). Of first order: the derivative of a [`Scalar::gate`] and of a slope is taken as 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dual<T, S> {
    /// The value.
    pub value: S,
    /// Its derivative.
    pub tangent: S,
    real: PhantomData<T>,
}

impl<T: Real, S: Scalar<T>> Dual<T, S> {
    /// A value with its derivative.
    #[inline(always)]
    #[must_use]
    pub fn new(value: S, tangent: S) -> Self {
        Self {
            value,
            tangent,
            real: PhantomData,
        }
    }

    /// A value that does not depend on the direction.
    #[inline(always)]
    #[must_use]
    pub fn fixed(value: S) -> Self {
        Self::new(value, S::constant(T::default()))
    }
}

impl<T: Real, S: Scalar<T>> Add for Dual<T, S> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self::new(self.value + other.value, self.tangent + other.tangent)
    }
}

impl<T: Real, S: Scalar<T>> Sub for Dual<T, S> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self::new(self.value - other.value, self.tangent - other.tangent)
    }
}

impl<T: Real, S: Scalar<T>> Mul for Dual<T, S> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let tangent = self.tangent * other.value + self.value * other.tangent;
        Self::new(self.value * other.value, tangent)
    }
}

impl<T: Real, S: Scalar<T>> Mul<T> for Dual<T, S> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, factor: T) -> Self {
        Self::new(self.value * factor, self.tangent * factor)
    }
}

impl<T: Real, S: Scalar<T>> Neg for Dual<T, S> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self::new(-self.value, -self.tangent)
    }
}

impl<T: Real, S: Scalar<T>> Scalar<T> for Dual<T, S> {
    #[inline(always)]
    fn constant(value: T) -> Self {
        Self::fixed(S::constant(value))
    }
    #[inline(always)]
    fn add_scaled(self, a: T, b: Self) -> Self {
        let tangent = self.tangent.add_scaled(a, b.tangent);
        Self::new(self.value.add_scaled(a, b.value), tangent)
    }
    #[inline(always)]
    fn clamp(self, lower: T, upper: T) -> Self {
        let tangent = self.tangent * self.value.gate(lower, upper);
        Self::new(self.value.clamp(lower, upper), tangent)
    }
    #[inline(always)]
    fn gate(self, lower: T, upper: T) -> Self {
        Self::fixed(self.value.gate(lower, upper))
    }
    #[inline(always)]
    fn chain(self, value: impl Fn(T) -> T, slope: impl Fn(T) -> T) -> Self {
        let tangent = self.tangent * self.value.chain(&slope, |_| T::default());
        Self::new(self.value.chain(value, &slope), tangent)
    }
    #[inline(always)]
    fn count_outside(self, lower: T, upper: T) -> u32 {
        self.value.count_outside(lower, upper)
    }
    fn step_of(plant: &dyn Calls<T>, at: Point<'_, Self>, next: &mut [Self]) -> Self {
        Self::step_by_adjoints(plant, at, next)
    }
    fn vjp_of(
        plant: &dyn Calls<T>,
        at: Point<'_, Self>,
        back: Adjoint<'_, Self>,
        d_x: &mut [Self],
        d_u: &mut [Self],
    ) {
        Self::vjp_of_values(plant, at, back, d_x, d_u);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(value: f64) -> Dual<f64, f64> {
        Dual::new(value, 1.0)
    }

    #[test]
    fn derivatives_are_those_of_the_calculus() {
        let x = at(0.7);
        assert_eq!((x * x * x).tangent, 3.0 * 0.7 * 0.7);
        assert_eq!((-(x * 2.0) - x).tangent, -3.0);
        assert_eq!(at(0.5).add_scaled(3.0, x).tangent, 4.0);
        let root = x.chain(f64::sqrt, |v| 0.5 / f64::sqrt(v));
        assert_eq!(
            (root.value, root.tangent),
            (0.7_f64.sqrt(), 0.5 / 0.7_f64.sqrt())
        );
        // The square of a root is the number: the product rule and the chain rule together.
        assert!(((root * root).tangent - 1.0).abs() < 1e-15);
        // 0 where a clamp is active and at its ends.
        let slopes = [-1.0, 0.0, 0.5, 1.0, 2.0].map(|v| at(v).clamp(0.0, 1.0).tangent);
        assert_eq!(slopes, [0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(at(0.5).gate(0.0, 1.0), Dual::fixed(1.0));
        assert_eq!(at(0.5).count_outside(0.6, 1.0), 1);
    }
}
