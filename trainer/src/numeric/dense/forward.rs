//! `y = b + W x` and tanh: the forward kernel.

use core::ops::Range;

use pulp::{Simd, WithSimd};

use super::{Source, Steps, Target, columns_next, count, parts};
use crate::numeric::{Lanes, Real, arch};

/// Inputs summed in one visit of a tile: what three columns read, 24 KiB, stays in the first-level cache.
pub(super) const DEPTH: usize = 128;
/// Inputs of one turn of the innermost loop: the addresses of a tile's rows are worked out once a turn, by units that
/// would multiply.
const UNROLL: usize = 4;

/// `y_o = b_o + sum_i w_oi x_i`, inputs ascending, for one step.
///
/// `w` `[out x in]`, `b` `[out]`, `x` `[in]`, `y` `[out]`.
#[inline]
pub fn forward<T: Real>(w: &[T], b: &[T], x: &[Lanes<T>], y: &mut [Lanes<T>]) {
    let x = Steps {
        data: x,
        stride: 0,
        offset: 0,
        len: x.len(),
    };
    let y = Target {
        data: y,
        stride: 0,
        offset: 0,
    };
    forward_steps(w, b, Source::Apart(x), x.len, y, 0..1, false);
}

/// `y_o(t) = b_o + sum_i w_oi x_i(t)`, inputs ascending, then tanh if `tanh` is set.
///
/// `w` `[out x inputs]`, `b` `[out]`, `x` `[inputs]` and `y` `[out]` at every step of `steps`.
pub fn forward_steps<T: Real>(
    w: &[T],
    b: &[T],
    x: Source<'_, T>,
    inputs: usize,
    y: Target<'_, T>,
    steps: Range<usize>,
    tanh: bool,
) {
    count(b.len(), inputs, steps.len());
    arch().dispatch(Forward {
        w,
        b,
        x,
        inputs,
        y,
        steps,
        tanh,
    });
}

/// The work of [`forward_steps`].
pub(super) struct Forward<'a, T> {
    pub w: &'a [T],
    pub b: &'a [T],
    pub x: Source<'a, T>,
    pub inputs: usize,
    pub y: Target<'a, T>,
    pub steps: Range<usize>,
    pub tanh: bool,
}

impl<T: Real> WithSimd for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            w,
            b,
            x,
            inputs,
            mut y,
            steps,
            tanh,
        } = self;
        let out = b.len();
        for from in (0..inputs).step_by(DEPTH) {
            let depth = from..inputs.min(from + DEPTH);
            let layer = Layer {
                w,
                b,
                inputs,
                out,
                x,
                depth,
            };
            if out == 1 {
                rows::<S, T, 1, 8>(simd, &layer, &mut y, steps.clone());
            } else if steps.len() * parts::<S, T>() == 1 {
                rows::<S, T, 16, 1>(simd, &layer, &mut y, steps.clone());
            } else if S::REGISTER_COUNT >= 32 {
                rows::<S, T, 8, 3>(simd, &layer, &mut y, steps.clone());
            } else {
                rows::<S, T, 4, 2>(simd, &layer, &mut y, steps.clone());
            }
        }
        if tanh {
            for t in steps {
                for y in y.at_mut(t, out) {
                    *y = y.map(T::tanh);
                }
            }
        }
    }
}

struct Layer<'a, T> {
    w: &'a [T],
    b: &'a [T],
    inputs: usize,
    out: usize,
    x: Source<'a, T>,
    depth: Range<usize>,
}

/// All rows, `R` at a time, of all columns (a register of a step each), `C` at a time.
#[inline(always)]
fn rows<S: Simd, T: Real, const R: usize, const C: usize>(
    simd: S,
    layer: &Layer<'_, T>,
    y: &mut Target<'_, T>,
    steps: Range<usize>,
) {
    let columns = steps.len() * parts::<S, T>();
    let mut column = 0;
    while column < columns {
        let width = columns_next(columns - column, C);
        match width {
            8 => row_blocks::<S, T, R, 8>(simd, layer, y, steps.start, column),
            4 => row_blocks::<S, T, R, 4>(simd, layer, y, steps.start, column),
            3 => row_blocks::<S, T, R, 3>(simd, layer, y, steps.start, column),
            2 => row_blocks::<S, T, R, 2>(simd, layer, y, steps.start, column),
            _ => row_blocks::<S, T, R, 1>(simd, layer, y, steps.start, column),
        }
        column += width;
    }
}

#[inline(always)]
fn row_blocks<S: Simd, T: Real, const R: usize, const C: usize>(
    simd: S,
    layer: &Layer<'_, T>,
    y: &mut Target<'_, T>,
    start: usize,
    column: usize,
) {
    let mut row = 0;
    while row + R <= layer.out {
        forward_tile::<S, T, R, C>(simd, layer, y, start, column, row);
        row += R;
    }
    while row + 4 <= layer.out {
        forward_tile::<S, T, 4, C>(simd, layer, y, start, column, row);
        row += 4;
    }
    while row < layer.out {
        forward_tile::<S, T, 1, C>(simd, layer, y, start, column, row);
        row += 1;
    }
}

/// Adds the products of one stretch of inputs to `R` rows of `C` columns.
#[inline(always)]
fn forward_tile<S: Simd, T: Real, const R: usize, const C: usize>(
    simd: S,
    layer: &Layer<'_, T>,
    y: &mut Target<'_, T>,
    start: usize,
    column: usize,
    row: usize,
) {
    let parts = parts::<S, T>();
    let mut place = [(0, 0); C];
    for c in 0..C {
        place[c] = (start + (column + c) / parts, (column + c) % parts);
    }
    let (depth, len) = (layer.depth.clone(), layer.depth.len());
    let mut weights: [&[T]; R] = [&[]; R];
    for r in 0..R {
        weights[r] = &layer.w[(row + r) * layer.inputs..][depth.clone()][..len];
    }
    let zero = T::register_splat(simd, T::default());
    let mut sums = [[zero; C]; R];
    if depth.start == 0 {
        let b = &layer.b[row..row + R];
        for r in 0..R {
            sums[r] = [T::register_splat(simd, b[r]); C];
        }
    } else {
        for c in 0..C {
            let (t, part) = place[c];
            let y = &y.at_mut(t, layer.out)[row..row + R];
            for r in 0..R {
                sums[r][c] = T::registers::<S>(&y[r].0)[part % parts];
            }
        }
    }
    {
        let source = y.read(layer.x, layer.inputs);
        let mut columns: [&[Lanes<T>]; C] = [&[]; C];
        for c in 0..C {
            columns[c] = &source.at(place[c].0)[depth.clone()][..len];
        }
        let mut bundled_weights: [&[[T; UNROLL]]; R] = [&[]; R];
        for r in 0..R {
            bundled_weights[r] = &weights[r].as_chunks().0[..len / UNROLL];
        }
        let mut bundles: [&[[Lanes<T>; UNROLL]]; C] = [&[]; C];
        for c in 0..C {
            bundles[c] = &columns[c].as_chunks().0[..len / UNROLL];
        }
        for k in 0..len / UNROLL {
            for j in 0..UNROLL {
                let mut x = [zero; C];
                for c in 0..C {
                    x[c] = T::registers::<S>(&bundles[c][k][j].0)[place[c].1 % parts];
                }
                for r in 0..R {
                    let w = T::register_splat(simd, bundled_weights[r][k][j]);
                    for c in 0..C {
                        sums[r][c] = T::register_mul_add(simd, w, x[c], sums[r][c]);
                    }
                }
            }
        }
        for i in len / UNROLL * UNROLL..len {
            let mut x = [zero; C];
            for c in 0..C {
                x[c] = T::registers::<S>(&columns[c][i].0)[place[c].1 % parts];
            }
            for r in 0..R {
                let w = T::register_splat(simd, weights[r][i]);
                for c in 0..C {
                    sums[r][c] = T::register_mul_add(simd, w, x[c], sums[r][c]);
                }
            }
        }
    }
    for c in 0..C {
        let (t, part) = place[c];
        let y = &mut y.at_mut(t, layer.out)[row..row + R];
        for r in 0..R {
            T::registers_mut::<S>(&mut y[r].0)[part % parts] = sums[r][c];
        }
    }
}
