//! `dW += dy x'`, `db += dy`: the kernel of the weights' derivative.

use core::ops::Range;

use pulp::{Simd, WithSimd};

use super::{Steps, count, parts};
use crate::numeric::{LANES, Lanes, Real, arch};

/// Inputs of one block of the weight gradient where there are 32 registers, a multiple of [`LANES`]; elsewhere half of it.
const WIDTH: usize = 4 * LANES;
/// Steps whose samples the weight gradient sums before it adds to what is there.
pub const GRADIENT_STEPS: usize = 8;

/// Gradient of a layer over steps and lanes:
/// `dw_oi += sum_t sum_lane dy_o(t) x_i(t)`, and that of its bias ([`bias_gradient`]) where `db` is given.
///
/// A weight's sum runs over the samples of up to [`GRADIENT_STEPS`] steps, steps ascending and lanes
/// ascending within a step, and is added to what is there; then over the next steps.
pub fn gradient<T: Real>(
    steps: Range<usize>,
    dy: Steps<'_, T>,
    x: Steps<'_, T>,
    dw: &mut [T],
    db: Option<&mut [T]>,
) {
    count(dy.len, x.len, steps.len());
    let rows = 0..dy.len;
    arch().dispatch(Gradient {
        steps: steps.clone(),
        samples: &[(dy, x)],
        rows,
        dw,
        fresh: false,
    });
    if let Some(db) = db {
        bias_gradient(steps, dy, db);
    }
}

/// `db_o += sum_t sum_lane dy_o(t)`: over all steps first, then over lanes in the fixed tree of [`Lanes::sum`].
pub fn bias_gradient<T: Real>(steps: Range<usize>, dy: Steps<'_, T>, db: &mut [T]) {
    arch().dispatch(Bias { steps, dy, db });
}

/// Rows `rows` of the gradient of a layer over several arrays of samples, `(dy, x)` each: `dw` `[rows x in]` becomes what
/// [`gradient`] makes of each array, from zeros, added in the order of the arrays. The bits are those, without a matrix for each array.
pub fn gradient_rows<T: Real>(
    steps: Range<usize>,
    samples: &[(Steps<'_, T>, Steps<'_, T>)],
    rows: Range<usize>,
    dw: &mut [T],
) {
    for (_, x) in samples {
        count(rows.len(), x.len, steps.len());
    }
    arch().dispatch(Gradient {
        steps,
        samples,
        rows,
        dw,
        fresh: true,
    });
}

/// The work of [`gradient`] and [`gradient_rows`].
pub(super) struct Gradient<'a, T> {
    pub steps: Range<usize>,
    /// Arrays of samples: `dy` and `x` of each.
    pub samples: &'a [(Steps<'a, T>, Steps<'a, T>)],
    /// Outputs whose weights `dw` holds.
    pub rows: Range<usize>,
    pub dw: &'a mut [T],
    /// Whether `dw` is to begin as zeros, and what is there to be forgotten.
    pub fresh: bool,
}

/// Samples of a stretch of steps, each with [`WIDTH`] inputs side by side.
type Samples<T> = [[[Lanes<T>; WIDTH / LANES]; LANES]; GRADIENT_STEPS];

impl<T: Real> WithSimd for Gradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            steps,
            samples,
            rows,
            dw,
            fresh,
        } = self;
        let Some(&(_, Steps { len: inputs, .. })) = samples.first() else {
            return;
        };
        let most = if S::REGISTER_COUNT >= 32 {
            WIDTH
        } else {
            WIDTH / 2
        };
        let mut side_by_side: Samples<T> =
            [[[Lanes::default(); WIDTH / LANES]; LANES]; GRADIENT_STEPS];
        // An array's own sum over several stretches has to be complete before it is added to the others'.
        let apart = fresh && steps.len() > GRADIENT_STEPS && samples.len() > 1;
        let mut own = vec![T::default(); if apart { rows.len() * WIDTH } else { 0 }];
        for from in (0..inputs).step_by(most) {
            let width = most.min(inputs - from);
            if fresh {
                for dw in dw.chunks_exact_mut(inputs) {
                    dw[from..from + width].fill(T::default());
                }
            }
            for &(dy, x) in samples {
                own.fill(T::default());
                for start in steps.clone().step_by(GRADIENT_STEPS) {
                    let stretch = start..steps.end.min(start + GRADIENT_STEPS);
                    for (t, sample) in stretch.clone().zip(&mut side_by_side) {
                        for (block, from) in (from..from + width).step_by(LANES).enumerate() {
                            let to = (from + width).min(from + LANES).min(inputs);
                            transpose(&x.at(t)[from..to], sample, block);
                        }
                    }
                    let block = Block {
                        dy,
                        stretch,
                        samples: &side_by_side,
                        rows: rows.clone(),
                        width,
                    };
                    if apart {
                        block.columns(simd, &mut own, WIDTH, 0);
                    } else {
                        block.columns(simd, dw, inputs, from);
                    }
                }
                if apart {
                    let own = own.chunks_exact(WIDTH);
                    for (dw, own) in dw.chunks_exact_mut(inputs).zip(own) {
                        for (dw, &own) in dw[from..from + width].iter_mut().zip(own) {
                            *dw += own;
                        }
                    }
                }
            }
        }
    }
}

/// The work of [`bias_gradient`].
struct Bias<'a, T> {
    steps: Range<usize>,
    dy: Steps<'a, T>,
    db: &'a mut [T],
}

impl<T: Real> WithSimd for Bias<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for (o, db) in self.db.iter_mut().enumerate().take(self.dy.len) {
            let mut sum = Lanes::default();
            for t in self.steps.clone() {
                sum = sum + self.dy.at(t)[o];
            }
            *db += sum.sum();
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
    /// Outputs.
    rows: Range<usize>,
    width: usize,
}

impl<T: Real> Block<'_, T> {
    /// Adds the block's sums to `dw`, whose rows are `stride` long and have the block's inputs from `from` on.
    #[inline(always)]
    fn columns<S: Simd>(&self, simd: S, dw: &mut [T], stride: usize, from: usize) {
        let registers = self.width.div_ceil(LANES / parts::<S, T>());
        let mut register = 0;
        let target = &mut Rows { dw, stride, from };
        if S::REGISTER_COUNT >= 32 {
            while register + 4 <= registers {
                self.rows::<S, 6, 4>(simd, register, target);
                register += 4;
            }
            while register + 2 <= registers {
                self.rows::<S, 8, 2>(simd, register, target);
                register += 2;
            }
        } else {
            while register + 2 <= registers {
                self.rows::<S, 4, 2>(simd, register, target);
                register += 2;
            }
        }
        if register < registers {
            self.rows::<S, 8, 1>(simd, register, target);
        }
    }

    #[inline(always)]
    fn rows<S: Simd, const R: usize, const C: usize>(
        &self,
        simd: S,
        register: usize,
        target: &mut Rows<'_, T>,
    ) {
        let rows = self.rows.len();
        let mut row = 0;
        // Eight rows are twice four rather than six and two ones.
        while row + R <= rows && (R != 6 || rows - row != 8) {
            self.tile::<S, R, C>(simd, row, register, target);
            row += R;
        }
        while row + 4 <= rows {
            self.tile::<S, 4, C>(simd, row, register, target);
            row += 4;
        }
        while row < rows {
            self.tile::<S, 1, C>(simd, row, register, target);
            row += 1;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const C: usize>(
        &self,
        simd: S,
        row: usize,
        register: usize,
        target: &mut Rows<'_, T>,
    ) {
        let parts = parts::<S, T>();
        let zero = T::register_splat(simd, T::default());
        let mut sums = [[zero; C]; R];
        for (t, samples) in self.stretch.clone().zip(self.samples) {
            let dy = &self.dy.at(t)[self.rows.start + row..][..R];
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
        for r in 0..R {
            for c in 0..C {
                let from = target.from + (register + c) * size;
                let to = (from + size).min(target.from + self.width);
                let dw = &mut target.dw[(row + r) * target.stride..][from..to];
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

/// Where a block's sums go.
struct Rows<'a, T> {
    dw: &'a mut [T],
    stride: usize,
    from: usize,
}
