//! `dW += dy x'`, `db += dy`: the kernel of the weights' derivative.

use core::ops::Range;

use pulp::{Simd, WithSimd};

use super::{Steps, count, parts};
use crate::numeric::{LANES, Lanes, Real, arch};

/// Inputs of one block of the weight gradient, a multiple of [`LANES`].
const WIDTH: usize = 2 * LANES;
/// Steps whose samples the weight gradient sums before it adds to what is there.
pub const GRADIENT_STEPS: usize = 8;

/// Gradient of a layer over steps and lanes:
/// `dw_oi += sum_t sum_lane dy_o(t) x_i(t)`, `db_o += sum_t sum_lane dy_o(t)`.
///
/// A weight's sum runs over the samples of up to [`GRADIENT_STEPS`] steps, steps ascending and lanes
/// ascending within a step, and is added to what is there; then over the next steps. A bias's sum runs
/// over all steps first, then over lanes in the fixed tree of [`Lanes::sum`].
pub fn gradient<T: Real>(
    steps: Range<usize>,
    dy: Steps<'_, T>,
    x: Steps<'_, T>,
    dw: &mut [T],
    db: Option<&mut [T]>,
) {
    count(dy.len, x.len, steps.len());
    arch().dispatch(Gradient {
        steps,
        dy,
        x,
        dw,
        db,
    });
}

/// The work of [`gradient`].
pub(super) struct Gradient<'a, T> {
    pub steps: Range<usize>,
    pub dy: Steps<'a, T>,
    pub x: Steps<'a, T>,
    pub dw: &'a mut [T],
    pub db: Option<&'a mut [T]>,
}

/// Samples of a stretch of steps, each with [`WIDTH`] inputs side by side.
type Samples<T> = [[[Lanes<T>; WIDTH / LANES]; LANES]; GRADIENT_STEPS];

impl<T: Real> WithSimd for Gradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            steps,
            dy,
            x,
            dw,
            db,
        } = self;
        let mut samples: Samples<T> = [[[Lanes::default(); WIDTH / LANES]; LANES]; GRADIENT_STEPS];
        for start in steps.clone().step_by(GRADIENT_STEPS) {
            let stretch = start..steps.end.min(start + GRADIENT_STEPS);
            for from in (0..x.len).step_by(WIDTH) {
                let width = WIDTH.min(x.len - from);
                for (t, sample) in stretch.clone().zip(&mut samples) {
                    for (block, from) in (from..from + width).step_by(LANES).enumerate() {
                        let to = (from + width).min(from + LANES).min(x.len);
                        transpose(&x.at(t)[from..to], sample, block);
                    }
                }
                let block = Block {
                    dy,
                    stretch: stretch.clone(),
                    samples: &samples,
                    inputs: x.len,
                    from,
                    width,
                };
                if S::REGISTER_COUNT >= 32 {
                    block.rows::<S, 8>(simd, dw);
                } else {
                    block.rows::<S, 4>(simd, dw);
                }
            }
        }
        if let Some(db) = db {
            for (o, db) in db.iter_mut().enumerate().take(dy.len) {
                let mut sum = Lanes::default();
                for t in steps.clone() {
                    sum = sum + dy.at(t)[o];
                }
                *db += sum.sum();
            }
        }
    }
}

/// Lane `l` of input `i` to entry `i` of sample `l`, zeros behind the last input.
#[inline(always)]
fn transpose<T: Real>(
    x: &[Lanes<T>],
    samples: &mut [[Lanes<T>; WIDTH / LANES]; LANES],
    block: usize,
) {
    let mut padded = [Lanes::<T>::default(); LANES];
    let x: &[Lanes<T>; LANES] = match x.try_into() {
        Ok(x) => x,
        Err(_) => {
            padded[..x.len()].copy_from_slice(x);
            &padded
        }
    };
    // Four perfect shuffles exchange the four bits of the row with those of the column.
    let (mut a, mut b) = (
        [Lanes::<T>::default(); LANES],
        [Lanes::<T>::default(); LANES],
    );
    shuffle(x, &mut a);
    shuffle(&a, &mut b);
    shuffle(&b, &mut a);
    shuffle(&a, &mut b);
    for (sample, &row) in samples.iter_mut().zip(&b) {
        sample[block] = row;
    }
}

/// Row `j` and row `j + 8` element by element in turn, to rows `2 j` and `2 j + 1`.
#[inline(always)]
fn shuffle<T: Real>(from: &[Lanes<T>; LANES], to: &mut [Lanes<T>; LANES]) {
    for j in 0..LANES / 2 {
        let (a, b) = (&from[j].0, &from[j + LANES / 2].0);
        for k in 0..LANES / 2 {
            to[2 * j].0[2 * k] = a[k];
            to[2 * j].0[2 * k + 1] = b[k];
            to[2 * j + 1].0[2 * k] = a[k + LANES / 2];
            to[2 * j + 1].0[2 * k + 1] = b[k + LANES / 2];
        }
    }
}

/// A block of inputs of the weight gradient.
struct Block<'a, T> {
    dy: Steps<'a, T>,
    stretch: Range<usize>,
    samples: &'a Samples<T>,
    inputs: usize,
    from: usize,
    width: usize,
}

impl<T: Real> Block<'_, T> {
    #[inline(always)]
    fn rows<S: Simd, const R: usize>(&self, simd: S, dw: &mut [T]) {
        let mut row = 0;
        while row + R <= self.dy.len {
            self.columns::<S, R>(simd, row, dw);
            row += R;
        }
        while row + 4 <= self.dy.len {
            self.columns::<S, 4>(simd, row, dw);
            row += 4;
        }
        while row < self.dy.len {
            self.columns::<S, 1>(simd, row, dw);
            row += 1;
        }
    }

    #[inline(always)]
    fn columns<S: Simd, const R: usize>(&self, simd: S, row: usize, dw: &mut [T]) {
        let parts = parts::<S, T>();
        let registers = self.width.div_ceil(LANES / parts);
        let mut register = 0;
        while register + 2 <= registers {
            self.tile::<S, R, 2>(simd, row, register, dw);
            register += 2;
        }
        if register < registers {
            self.tile::<S, R, 1>(simd, row, register, dw);
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const C: usize>(
        &self,
        simd: S,
        row: usize,
        register: usize,
        dw: &mut [T],
    ) {
        let parts = parts::<S, T>();
        let zero = T::register_splat(simd, T::default());
        let mut sums = [[zero; C]; R];
        for (t, samples) in self.stretch.clone().zip(self.samples) {
            let dy = &self.dy.at(t)[row..row + R];
            for (lane, sample) in samples.iter().enumerate() {
                let mut x = [zero; C];
                for c in 0..C {
                    let j = register + c;
                    x[c] = T::registers::<S>(&sample[j / parts % (WIDTH / LANES)].0)[j % parts];
                }
                for r in 0..R {
                    let d = T::register_splat(simd, dy[r].0[lane]);
                    for c in 0..C {
                        sums[r][c] = T::register_mul_add(simd, d, x[c], sums[r][c]);
                    }
                }
            }
        }
        let size = LANES / parts;
        for c in 0..C {
            let from = self.from + (register + c) * size;
            let to = (from + size).min(self.from + self.width);
            for r in 0..R {
                let dw = &mut dw[(row + r) * self.inputs..][from..to];
                match T::registers_mut::<S>(dw) {
                    [dw] => *dw = T::register_add(simd, *dw, sums[r][c]),
                    _ => {
                        let mut values = [T::default(); LANES];
                        T::registers_mut::<S>(&mut values)[0] = sums[r][c];
                        for (dw, v) in dw.iter_mut().zip(&values) {
                            *dw += *v;
                        }
                    }
                }
            }
        }
    }
}
