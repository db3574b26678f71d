//! A plant with jumps in its control, in one of their treatments.

use super::{Jumps, Treatment};
use crate::numeric::{Real, Scalar};
use crate::plant::outlined::{Equations, outlined};
use crate::plant::{Dims, Plant};

/// Most controls of a plant one of whose jumps changes the effective control.
pub(super) const MAX_EFFECTIVE: usize = 32;

/// One region, rounded to `T`.
#[derive(Clone, Debug)]
struct Piece<T> {
    /// Open intervals that hold the closed cover and no other number.
    around: Vec<(T, T)>,
    /// Ends of the cover in the first coordinate, for smoothing; absent where it has none.
    ends: (Option<T>, Option<T>),
    gain: T,
    cost: T,
    price: T,
}

#[derive(Clone, Debug)]
struct Pieces<T> {
    controls: Vec<usize>,
    list: Vec<Piece<T>>,
}

/// A plant of coefficients `T` with its jumps.
#[derive(Clone, Debug)]
pub struct Jumping<T, P> {
    base: P,
    dims: Dims,
    jumps: Vec<Pieces<T>>,
    /// With recast jumps: own mode of every mode, then the region of each jump, row by row.
    table: Vec<usize>,
    recast: bool,
    /// Half width of smooth steps; 0: none.
    width: T,
    /// Whether some region changes the effective control.
    effective: bool,
}

impl<T: Real, P: Plant<T>> Jumping<T, P> {
    /// `base` with `jumps`, which fit it.
    #[must_use]
    pub fn new(base: P, jumps: &Jumps) -> Self {
        let own = base.dims();
        let dims = jumps.dims(own);
        let table = (0..dims.modes)
            .flat_map(|mode| {
                let (base, regions) = jumps.decode(mode, own.modes);
                std::iter::once(base).chain(regions)
            })
            .collect();
        let pieces = jumps.list.iter().map(|jump| Pieces {
            controls: jump.controls.clone(),
            list: jump
                .regions
                .iter()
                .map(|region| {
                    let (lower, upper) = region.cover[0];
                    let end = |v: f64| v.is_finite().then(|| T::from_f64(v));
                    Piece {
                        around: region.cover.iter().map(|&c| around(c)).collect(),
                        ends: (end(lower), end(upper)),
                        gain: T::from_f64(region.gain),
                        cost: T::from_f64(region.cost),
                        price: T::from_f64(region.price),
                    }
                })
                .collect(),
        });
        Self {
            base,
            dims,
            jumps: pieces.collect(),
            table,
            recast: jumps.treatment == Treatment::Regions,
            width: match jumps.treatment {
                Treatment::Smoothed(width) => T::from_f64(width),
                Treatment::Regions | Treatment::Raw => T::default(),
            },
            effective: jumps
                .list
                .iter()
                .flat_map(|jump| &jump.regions)
                .any(|region| region.gain != 1.0),
        }
    }

    /// The plant's own mode.
    #[inline(always)]
    fn own_mode(&self, mode: usize) -> usize {
        if self.recast {
            self.table[mode * (self.jumps.len() + 1)]
        } else {
            mode
        }
    }

    /// Gain, cost and price of a jump at `u`, and the derivatives of gain and cost in the first coordinate.
    #[inline(always)]
    fn effect<S: Scalar<T>>(&self, mode: usize, jump: usize, u: &[S]) -> Effect<S> {
        let pieces = &self.jumps[jump];
        let zero = S::constant(T::default());
        if self.recast {
            let region = self.table[mode * (self.jumps.len() + 1) + 1 + jump];
            let piece = &pieces.list[region];
            return Effect {
                gain: S::constant(piece.gain),
                cost: S::constant(piece.cost),
                price: S::constant(piece.price),
                d_gain: zero,
                d_cost: zero,
                d_price: zero,
            };
        }
        let mut effect = Effect {
            gain: zero,
            cost: zero,
            price: zero,
            d_gain: zero,
            d_cost: zero,
            d_price: zero,
        };
        if self.width > T::default() {
            let value = u[pieces.controls[0]];
            for piece in &pieces.list {
                let rise = |end: Option<T>, beyond: T| match end {
                    Some(end) => smooth_step(value, end, self.width),
                    None => (S::constant(beyond), zero),
                };
                let (low, d_low) = rise(piece.ends.0, T::from_f64(1.0));
                let (high, d_high) = rise(piece.ends.1, T::default());
                effect.add(piece, low - high, d_low - d_high);
            }
            return effect;
        }
        // The first region that has the value owns it.
        let mut free = S::constant(T::from_f64(1.0));
        for piece in &pieces.list {
            let mut inside = free;
            for (&i, &(lower, upper)) in pieces.controls.iter().zip(&piece.around) {
                inside = inside * u[i].gate(lower, upper);
            }
            effect.add(piece, inside, zero);
            free = free - inside;
        }
        effect
    }
}

/// What a jump does at one control.
struct Effect<S> {
    gain: S,
    cost: S,
    price: S,
    d_gain: S,
    d_cost: S,
    d_price: S,
}

impl<S: Copy> Effect<S> {
    #[inline(always)]
    fn add<T: Real>(&mut self, piece: &Piece<T>, weight: S, d_weight: S)
    where
        S: Scalar<T>,
    {
        self.gain = self.gain.add_scaled(piece.gain, weight);
        self.cost = self.cost.add_scaled(piece.cost, weight);
        self.price = self.price.add_scaled(piece.price, weight);
        self.d_gain = self.d_gain.add_scaled(piece.gain, d_weight);
        self.d_cost = self.d_cost.add_scaled(piece.cost, d_weight);
        self.d_price = self.d_price.add_scaled(piece.price, d_weight);
    }
}

/// `1/2 + 3/4 y - 1/4 y^3` with y = (u - end) / width kept to [-1, 1], and its derivative in u.
#[inline(always)]
fn smooth_step<T: Real, S: Scalar<T>>(u: S, end: T, width: T) -> (S, S) {
    let one = T::from_f64(1.0);
    let inverse = one / width;
    let free = (u - S::constant(end)) * inverse;
    let y = free.clamp(-one, one);
    let square = y * y;
    let value = S::constant(T::from_f64(0.5))
        + y * (S::constant(T::from_f64(0.75)).add_scaled(T::from_f64(-0.25), square));
    let slope = (S::constant(T::from_f64(0.75)).add_scaled(T::from_f64(-0.75), square)) * inverse;
    (value, slope * free.gate(-one, one))
}

/// The greatest number below and the least above a closed interval, in `T`.
fn around<T: Real>((lower, upper): (f64, f64)) -> (T, T) {
    let beyond = |value: f64, sign: f64| {
        if !value.is_finite() {
            return T::from_f64(value);
        }
        let rounded = T::from_f64(value);
        if !rounded.to_f64().is_finite() {
            return rounded;
        }
        let mut step = (value.abs() * 2.0_f64.powi(-60)).max(f64::from_bits(1));
        loop {
            let next = T::from_f64(rounded.to_f64() + sign * step);
            if (sign < 0.0 && next < rounded) || (sign > 0.0 && next > rounded) {
                return next;
            }
            step *= 2.0;
        }
    };
    (beyond(lower, -1.0), beyond(upper, 1.0))
}

impl<T: Real, P: Plant<T>> Equations<T> for Jumping<T, P> {
    #[inline(always)]
    fn step_inline<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        next: &mut [S],
    ) -> S {
        let own = self.own_mode(mode);
        let mut added = S::constant(T::default());
        let mut effective = [S::constant(T::default()); MAX_EFFECTIVE];
        if self.effective {
            effective[..u.len()].copy_from_slice(u);
        }
        for (index, jump) in self.jumps.iter().enumerate() {
            let effect = self.effect(mode, index, u);
            added = added + effect.cost;
            for &i in &jump.controls {
                added = added + effect.price * u[i];
                if self.effective {
                    effective[i] = effect.gain * u[i];
                }
            }
        }
        let cost = if self.effective {
            self.base.step(own, x, &effective[..u.len()], noise, next)
        } else {
            self.base.step(own, x, u, noise, next)
        };
        cost + added
    }

    #[inline(always)]
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
    ) {
        let own = self.own_mode(mode);
        let mut effective = [S::constant(T::default()); MAX_EFFECTIVE];
        if self.effective {
            effective[..u.len()].copy_from_slice(u);
            for (index, jump) in self.jumps.iter().enumerate() {
                let effect = self.effect(mode, index, u);
                for &i in &jump.controls {
                    effective[i] = effect.gain * u[i];
                }
            }
            let seen = &effective[..u.len()];
            self.base
                .vjp(own, x, seen, noise, next, d_next, d_cost, d_x, d_u);
        } else {
            self.base
                .vjp(own, x, u, noise, next, d_next, d_cost, d_x, d_u);
        }
        for (index, jump) in self.jumps.iter().enumerate() {
            let effect = self.effect(mode, index, u);
            let first = jump.controls[0];
            // Only jumps of one coordinate are smoothed: the derivatives of the weights belong to it.
            let through = effect.d_gain * u[first] * d_u[first]
                + (effect.d_cost + effect.d_price * u[first]) * d_cost;
            for &i in &jump.controls {
                let passed = if self.effective {
                    d_u[i] * effect.gain
                } else {
                    d_u[i]
                };
                d_u[i] = passed + effect.price * d_cost;
            }
            d_u[first] = d_u[first] + through;
        }
    }
}

impl<T: Real, P: Plant<T>> Plant<T> for Jumping<T, P> {
    #[inline(always)]
    fn dims(&self) -> Dims {
        self.dims
    }

    outlined!();

    #[inline(always)]
    fn count_clamped<S: Scalar<T>>(&self, next: &[S]) -> u32 {
        self.base.count_clamped(next)
    }
}
