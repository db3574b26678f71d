//! From an implementation of [`OwnPlant`] to a plant of this crate.

use std::marker::PhantomData;
use std::sync::Arc;

use toml::{Table, Value};

use super::super::family::{FamilyNames, ReadAt, SafeLaw, Scaling};
use super::super::outlined::{self, Equations};
use super::super::values::MAX_SIZE;
use super::super::{Dims, Plant};
use super::{Described, MAX_OWN, OwnData, OwnPlant, refused, scale};
use crate::Result;
use crate::numeric::object::{Adjoint, Calls, Object, Point};
use crate::numeric::{Dual, Lanes, Real, Scalar};

/// See [`super::read`].
pub(super) fn read<P: OwnPlant>(table: Table, at: &ReadAt<'_>) -> Result<OwnData> {
    let plant: P = at.table(table)?;
    plant
        .check()
        .map_err(|(field, found, allowed)| at.place(field).error(found, allowed))?;
    let dims = plant.dims();
    for (what, found, least, most) in [
        ("states", dims.state, 1, MAX_OWN),
        ("controls", dims.control, 1, MAX_OWN),
        ("random numbers", dims.noise, 0, MAX_OWN),
        ("modes", dims.modes, 1, MAX_SIZE),
    ] {
        if !(least..=most).contains(&found) {
            let what = format!("found {found} {what}; allowed: {least} to {most}");
            return Err(refused(P::KIND, &what));
        }
    }
    let described = Wrapped(plant);
    // What a run directory is written from.
    if !matches!(Value::try_from(&described.0), Ok(Value::Table(_))) {
        return Err(refused(
            P::KIND,
            "its type is no TOML table; allowed: a struct of named fields",
        ));
    }
    Ok(OwnData {
        plant: Arc::new(described),
        sample_time_s: 1.0,
    })
}

#[derive(Debug)]
struct Wrapped<P>(P);

impl<P: OwnPlant> Described for Wrapped<P> {
    fn kind(&self) -> &'static str {
        P::KIND
    }
    fn dims(&self) -> Dims {
        self.0.dims()
    }
    fn table(&self) -> Table {
        // `read` has tried.
        Table::try_from(&self.0).unwrap_or_default()
    }
    fn scaling(&self) -> Scaling {
        self.0.scaling()
    }
    fn names(&self) -> FamilyNames {
        self.0.names()
    }
    fn safe_law(&self) -> SafeLaw {
        self.0.safe_law()
    }
    fn rule(&self, x: &[f64], must: Option<usize>, u: &mut [f64]) -> Option<usize> {
        self.0.rule(x, must, u)
    }
    fn scaled(&self, factor: &mut dyn FnMut() -> f64) -> Arc<dyn Described> {
        let mut table = self.table();
        scale(&mut table, P::UNCERTAIN, factor);
        // The table is the plant's own but for some numbers.
        let plant = Value::Table(table).try_into();
        Arc::new(Self(plant.unwrap_or_else(|_| self.0.clone())))
    }
    fn object(&self, seconds: f64) -> Arc<dyn Object> {
        Arc::new(Adapter {
            dims: self.0.dims(),
            plant: self.0.clone(),
            seconds,
        })
    }
}

/// The equations with their sample time.
#[derive(Debug)]
struct Adapter<P> {
    plant: P,
    dims: Dims,
    seconds: f64,
}

impl<T: Real, P: OwnPlant> Equations<T> for Adapter<P> {
    #[inline(always)]
    fn step_inline<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        next: &mut [S],
    ) -> S {
        self.plant.step(self.seconds, mode, x, u, noise, next)
    }

    /// One evaluation with dual numbers for each state and control.
    #[inline(always)]
    fn vjp_inline<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        _next: &[S],
        d_next: &[S],
        d_cost: S,
        d_x: &mut [S],
        d_u: &mut [S],
    ) {
        let (n, m, w) = (self.dims.state, self.dims.control, self.dims.noise);
        let zero = S::constant(T::default());
        let one = S::constant(T::from(1.0));
        let fixed = |from: &[S]| {
            let mut out = [Dual::fixed(zero); MAX_OWN];
            for (out, &value) in out.iter_mut().zip(from) {
                *out = Dual::fixed(value);
            }
            out
        };
        let (mut x, mut u, noise) = (fixed(&x[..n]), fixed(&u[..m]), fixed(&noise[..w]));
        for i in 0..n + m {
            let along = |x: &mut [Dual<T, S>], u: &mut [Dual<T, S>], tangent: S| {
                if i < n {
                    x[i].tangent = tangent;
                } else {
                    u[i - n].tangent = tangent;
                }
            };
            along(&mut x, &mut u, one);
            let mut next = [Dual::fixed(zero); MAX_OWN];
            let (state, control, random) = (&x[..n], &u[..m], &noise[..w]);
            let plant = &self.plant;
            let cost = plant.step(self.seconds, mode, state, control, random, &mut next[..n]);
            along(&mut x, &mut u, zero);
            let mut sum = cost.tangent * d_cost;
            for (next, &d) in next.iter().zip(&d_next[..n]) {
                sum = sum + next.tangent * d;
            }
            if i < n {
                d_x[i] = sum;
            } else {
                d_u[i - n] = sum;
            }
        }
    }
}

impl<T: Real, P: OwnPlant> Calls<T> for Adapter<P> {
    fn step_one(&self, at: Point<'_, T>, next: &mut [T]) -> T {
        outlined::step(self, at.mode, at.x, at.u, at.noise, next)
    }
    fn step_lanes(&self, at: Point<'_, Lanes<T>>, next: &mut [Lanes<T>]) -> Lanes<T> {
        outlined::step(self, at.mode, at.x, at.u, at.noise, next)
    }
    fn vjp_one(&self, at: Point<'_, T>, back: Adjoint<'_, T>, d_x: &mut [T], d_u: &mut [T]) {
        let (next, cost) = (back.d_next, back.d_cost);
        outlined::vjp(
            self,
            at.mode,
            at.x,
            at.u,
            at.noise,
            &[],
            next,
            cost,
            d_x,
            d_u,
        );
    }
    fn vjp_lanes(
        &self,
        at: Point<'_, Lanes<T>>,
        back: Adjoint<'_, Lanes<T>>,
        d_x: &mut [Lanes<T>],
        d_u: &mut [Lanes<T>],
    ) {
        let (next, cost) = (back.d_next, back.d_cost);
        outlined::vjp(
            self,
            at.mode,
            at.x,
            at.u,
            at.noise,
            &[],
            next,
            cost,
            d_x,
            d_u,
        );
    }
}

impl<P: OwnPlant> Object for Adapter<P> {}

/// An own plant over coefficients of type `T`; see [`Plant`].
#[derive(Clone, Debug)]
pub struct Own<T> {
    dims: Dims,
    object: Arc<dyn Object>,
    real: PhantomData<T>,
}

impl<T> Own<T> {
    pub(super) fn new(dims: Dims, object: Arc<dyn Object>) -> Self {
        Self {
            dims,
            object,
            real: PhantomData,
        }
    }
}

impl<T: Real> Plant<T> for Own<T> {
    #[inline(always)]
    fn dims(&self) -> Dims {
        self.dims
    }

    #[inline(always)]
    fn step<S: Scalar<T>>(&self, mode: usize, x: &[S], u: &[S], noise: &[S], next: &mut [S]) -> S {
        let at = Point {
            mode,
            x: &x[..self.dims.state],
            u: &u[..self.dims.control],
            noise: &noise[..self.dims.noise],
        };
        S::step_of(
            T::calls(self.object.as_ref()),
            at,
            &mut next[..self.dims.state],
        )
    }

    #[inline(always)]
    fn vjp<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        _next: &[S],
        d_next: &[S],
        d_cost: S,
        d_x: &mut [S],
        d_u: &mut [S],
    ) {
        let at = Point {
            mode,
            x: &x[..self.dims.state],
            u: &u[..self.dims.control],
            noise: &noise[..self.dims.noise],
        };
        let back = Adjoint {
            d_next: &d_next[..self.dims.state],
            d_cost,
        };
        let (d_x, d_u) = (&mut d_x[..self.dims.state], &mut d_u[..self.dims.control]);
        S::vjp_of(T::calls(self.object.as_ref()), at, back, d_x, d_u);
    }

    /// No state is clamped.
    #[inline(always)]
    fn count_clamped<S: Scalar<T>>(&self, _next: &[S]) -> u32 {
        0
    }
}
