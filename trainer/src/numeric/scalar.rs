//! The scalar traits under which plants and policies are written once.
//!
//! A plant or policy equation is written for any [`Scalar`]: `f64` for checks and references,
//! [`Lanes<f32>`] for training (sixteen trajectories side by side), a dual number in tests.

use core::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};

use pulp::Simd;

use super::object::{Adjoint, Calls, Object, Point};

/// Trajectories processed side by side in one [`Lanes`] value.
pub const LANES: usize = 16;

/// A floating-point number of the host: `f32` (training) or `f64` (checks, references).
pub trait Real:
    Copy
    + Send
    + Sync
    + Default
    + PartialOrd
    + core::fmt::Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + Scalar<Self>
    + From<f32>
    + 'static
{
    /// Rounds an `f64` to this type.
    fn from_f64(value: f64) -> Self;
    /// Widens to `f64`, exactly.
    fn to_f64(self) -> f64;
    /// Correctly rounded square root.
    fn sqrt(self) -> Self;
    /// Fused `self * a + b`, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// `e^self` without the platform's library, so that every host gives the same bits: libm for
    /// `f64`, a vectorisable polynomial (relative error below 2e-7) for `f32`.
    fn exp(self) -> Self;
    /// Hyperbolic tangent: libm for `f64`, the policy format's rational for `f32`.
    fn tanh(self) -> Self;
    /// Natural logarithm through libm: the same bits on every host.
    fn ln(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// Whether the value is neither NaN nor infinite.
    fn is_finite(self) -> bool;
    /// The entries of `object` for this type.
    fn calls(object: &dyn Object) -> &dyn Calls<Self>;

    /// A vector register of the instruction set `S`: 1 to [`LANES`] numbers, a power of two.
    type Register<S: Simd>: Copy;
    /// Numbers as the registers that they fill, without a rest that does not fill one.
    fn registers<S: Simd>(values: &[Self]) -> &[Self::Register<S>];
    /// As [`Real::registers`], to be written.
    fn registers_mut<S: Simd>(values: &mut [Self]) -> &mut [Self::Register<S>];
    /// `value` in every element of a register.
    fn register_splat<S: Simd>(simd: S, value: Self) -> Self::Register<S>;
    /// `a + b`, element by element.
    fn register_add<S: Simd>(
        simd: S,
        a: Self::Register<S>,
        b: Self::Register<S>,
    ) -> Self::Register<S>;
    /// Fused `a * b + c`, element by element.
    fn register_mul_add<S: Simd>(
        simd: S,
        a: Self::Register<S>,
        b: Self::Register<S>,
        c: Self::Register<S>,
    ) -> Self::Register<S>;
}

/// What a plant equation may compute with: a value over the coefficients `T`.
///
/// Implemented by `f32`, `f64`, [`Lanes`] of either, and by dual numbers in tests.
pub trait Scalar<T>:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Mul<T, Output = Self>
    + Neg<Output = Self>
{
    /// The constant `value` (in every lane).
    fn constant(value: T) -> Self;
    /// `self + a * b` with a scalar coefficient `a`; fused where the type offers it.
    fn add_scaled(self, a: T, b: Self) -> Self;
    /// `min(max(self, lower), upper)`, lane by lane.
    fn clamp(self, lower: T, upper: T) -> Self;
    /// 1 where `lower < self < upper`, else 0 (the derivative of [`Scalar::clamp`]; 0 at equality).
    fn gate(self, lower: T, upper: T) -> Self;
    /// `value(self)`, lane by lane, for a function whose derivative is `slope`: division, roots, sines. Only types that
    /// carry derivatives call `slope`.
    fn chain(self, value: impl Fn(T) -> T, slope: impl Fn(T) -> T) -> Self;
    /// Number of lanes in which `self` lies outside `[lower, upper]`.
    fn count_outside(self, lower: T, upper: T) -> u32;
    /// Step of a plant that is known as an object alone.
    fn step_of(plant: &dyn Calls<T>, at: Point<'_, Self>, next: &mut [Self]) -> Self
    where
        T: Real;
    /// Vector-Jacobian product of a plant that is known as an object alone.
    fn vjp_of(
        plant: &dyn Calls<T>,
        at: Point<'_, Self>,
        back: Adjoint<'_, Self>,
        d_x: &mut [Self],
        d_u: &mut [Self],
    ) where
        T: Real;
}

macro_rules! real {
    ($t:ty, $sqrt:path, $exp:path, $ln:path, $tanh:path,
     $register:ident, $view:ident, $view_mut:ident, $splat:ident, $add:ident, $mul_add:ident) => {
        impl Real for $t {
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                <$t>::sqrt(self)
            }
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                <$t>::mul_add(self, a, b)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                $tanh(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $ln(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                <$t>::abs(self)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                <$t>::is_finite(self)
            }
            fn calls(object: &dyn Object) -> &dyn Calls<Self> {
                object
            }

            type Register<S: Simd> = S::$register;
            #[inline(always)]
            fn registers<S: Simd>(values: &[Self]) -> &[S::$register] {
                S::$view(values).0
            }
            #[inline(always)]
            fn registers_mut<S: Simd>(values: &mut [Self]) -> &mut [S::$register] {
                S::$view_mut(values).0
            }
            #[inline(always)]
            fn register_splat<S: Simd>(simd: S, value: Self) -> S::$register {
                simd.$splat(value)
            }
            #[inline(always)]
            fn register_add<S: Simd>(simd: S, a: S::$register, b: S::$register) -> S::$register {
                simd.$add(a, b)
            }
            #[inline(always)]
            fn register_mul_add<S: Simd>(
                simd: S,
                a: S::$register,
                b: S::$register,
                c: S::$register,
            ) -> S::$register {
                simd.$mul_add(a, b, c)
            }
        }

        impl Scalar<$t> for $t {
            #[inline(always)]
            fn constant(value: $t) -> Self {
                value
            }
            #[inline(always)]
            fn add_scaled(self, a: $t, b: Self) -> Self {
                <$t>::mul_add(a, b, self)
            }
            #[inline(always)]
            fn clamp(self, lower: $t, upper: $t) -> Self {
                let low = if self < lower { lower } else { self };
                if low > upper { upper } else { low }
            }
            #[inline(always)]
            fn gate(self, lower: $t, upper: $t) -> Self {
                if self > lower && self < upper {
                    1.0
                } else {
                    0.0
                }
            }
            #[inline(always)]
            fn chain(self, value: impl Fn($t) -> $t, _slope: impl Fn($t) -> $t) -> Self {
                value(self)
            }
            #[inline(always)]
            fn count_outside(self, lower: $t, upper: $t) -> u32 {
                u32::from(self < lower || self > upper)
            }
            fn step_of(plant: &dyn Calls<$t>, at: Point<'_, Self>, next: &mut [Self]) -> Self {
                plant.step_one(at, next)
            }
            fn vjp_of(
                plant: &dyn Calls<$t>,
                at: Point<'_, Self>,
                back: Adjoint<'_, Self>,
                d_x: &mut [Self],
                d_u: &mut [Self],
            ) {
                plant.vjp_one(at, back, d_x, d_u);
            }
        }
    };
}

real!(
    f32,
    f32::sqrt,
    super::elementary::exp,
    libm::logf,
    super::elementary::tanh,
    f32s,
    as_simd_f32s,
    as_mut_simd_f32s,
    splat_f32s,
    add_f32s,
    mul_add_f32s
);
real!(
    f64,
    f64::sqrt,
    libm::exp,
    libm::log,
    libm::tanh,
    f64s,
    as_simd_f64s,
    as_mut_simd_f64s,
    splat_f64s,
    add_f64s,
    mul_add_f64s
);

/// [`LANES`] numbers, one per trajectory, on which every operation acts element by element.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Lanes<T>(pub [T; LANES]);

impl<T: Real> Default for Lanes<T> {
    #[inline(always)]
    fn default() -> Self {
        Self([T::default(); LANES])
    }
}

impl<T: Real> Lanes<T> {
    /// Lane by lane `f(self)`.
    #[inline(always)]
    pub fn map(self, f: impl Fn(T) -> T) -> Self {
        let mut out = self;
        for lane in 0..LANES {
            out.0[lane] = f(self.0[lane]);
        }
        out
    }

    /// Lane by lane `f(self, other)`.
    #[inline(always)]
    pub fn zip(self, other: Self, f: impl Fn(T, T) -> T) -> Self {
        let mut out = self;
        for lane in 0..LANES {
            out.0[lane] = f(self.0[lane], other.0[lane]);
        }
        out
    }

    /// Fused `self * a + b` in every lane.
    #[inline(always)]
    pub fn mul_add(self, a: Self, b: Self) -> Self {
        let mut out = b;
        for lane in 0..LANES {
            out.0[lane] = self.0[lane].mul_add(a.0[lane], b.0[lane]);
        }
        out
    }

    /// Sum over the lanes, always in the same tree: halves are added until one value is left.
    #[inline(always)]
    pub fn sum(self) -> T {
        let mut values = self.0;
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                values[lane] += values[lane + width];
            }
            width /= 2;
        }
        values[0]
    }
}

macro_rules! lanewise {
    ($trait:ident, $method:ident) => {
        impl<T: Real> $trait for Lanes<T> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                self.zip(other, |a, b| a.$method(b))
            }
        }
    };
}
lanewise!(Add, add);
lanewise!(Sub, sub);
lanewise!(Mul, mul);
lanewise!(Div, div);

impl<T: Real> Mul<T> for Lanes<T> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, factor: T) -> Self {
        self.map(|a| a * factor)
    }
}

impl<T: Real> Neg for Lanes<T> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.map(|a| -a)
    }
}

impl<T: Real> Scalar<T> for Lanes<T> {
    #[inline(always)]
    fn constant(value: T) -> Self {
        Self([value; LANES])
    }
    #[inline(always)]
    fn add_scaled(self, a: T, b: Self) -> Self {
        self.zip(b, |acc, b| a.mul_add(b, acc))
    }
    #[inline(always)]
    fn clamp(self, lower: T, upper: T) -> Self {
        self.map(|a| Scalar::clamp(a, lower, upper))
    }
    #[inline(always)]
    fn gate(self, lower: T, upper: T) -> Self {
        self.map(|a| a.gate(lower, upper))
    }
    #[inline(always)]
    fn chain(self, value: impl Fn(T) -> T, _slope: impl Fn(T) -> T) -> Self {
        self.map(value)
    }
    #[inline(always)]
    fn count_outside(self, lower: T, upper: T) -> u32 {
        let mut outside = 0;
        for lane in 0..LANES {
            outside += self.0[lane].count_outside(lower, upper);
        }
        outside
    }
    fn step_of(plant: &dyn Calls<T>, at: Point<'_, Self>, next: &mut [Self]) -> Self {
        plant.step_lanes(at, next)
    }
    fn vjp_of(
        plant: &dyn Calls<T>,
        at: Point<'_, Self>,
        back: Adjoint<'_, Self>,
        d_x: &mut [Self],
        d_u: &mut [Self],
    ) {
        plant.vjp_lanes(at, back, d_x, d_u);
    }
}

#[cfg(test)]
#[path = "scalar_tests.rs"]
mod tests;
