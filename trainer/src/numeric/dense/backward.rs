//! `dx += W' dy`: the kernel of the input's derivative.

use core::ops::Range;

use pulp::{Simd, WithSimd};

use super::{Source, Steps, Target, count, parts};
use crate::numeric::{Lanes, Real, arch};

/// Inputs of one visit of the backward tile, which also writes them.
const DEPTH_BACK: usize = 128;

/// `dx_i += sum_o w_oi dy_o`, outputs ascending, for one step.
///
/// `w` `[out x in]`, `dy` `[out]`, `dx` `[in]`.
#[inline]
pub fn backward_input<T: Real>(w: &[T], dy: &[Lanes<T>], dx: &mut [Lanes<T>]) {
    let dy = Steps {
        data: dy,
        stride: 0,
        offset: 0,
        len: dy.len(),
    };
    let inputs = dx.len();
    let dx = Target {
        data: dx,
        stride: 0,
        offset: 0,
    };
    backward_input_steps(w, Source::Apart(dy), dy.len, dx, inputs, 0..1);
}

/// `dx_i(t) += sum_o w_oi dy_o(t)`, outputs ascending.
///
/// `w` `[out x inputs]`, `dy` `[out]` and `dx` `[inputs]` at every step of `steps`.
pub fn backward_input_steps<T: Real>(
    w: &[T],
    dy: Source<'_, T>,
    out: usize,
    dx: Target<'_, T>,
    inputs: usize,
    steps: Range<usize>,
) {
    count(out, inputs, steps.len());
    arch().dispatch(Backward {
        w,
        dy,
        out,
        dx,
        inputs,
        steps,
    });
}

/// The work of [`backward_input_steps`].
pub(super) struct Backward<'a, T> {
    pub w: &'a [T],
    pub dy: Source<'a, T>,
    pub out: usize,
    pub dx: Target<'a, T>,
    pub inputs: usize,
    pub steps: Range<usize>,
}

impl<T: Real> WithSimd for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let single = self.steps.len() * parts::<S, T>() == 1;
        if single {
            self.blocks::<S, 16, 1>(simd);
        } else if S::REGISTER_COUNT >= 32 {
            self.blocks::<S, 8, 2>(simd);
        } else {
            self.blocks::<S, 4, 2>(simd);
        }
    }
}

impl<T: Real> Backward<'_, T> {
    #[inline(always)]
    fn blocks<S: Simd, const R: usize, const C: usize>(mut self, simd: S) {
        let columns = self.steps.len() * parts::<S, T>();
        for from in (0..self.inputs).step_by(DEPTH_BACK) {
            let depth = from..self.inputs.min(from + DEPTH_BACK);
            let mut column = 0;
            while column + C <= columns {
                if C == 2 && column + 3 == columns {
                    self.rows::<S, R, 3>(simd, depth.clone(), column);
                    column += 1;
                } else {
                    self.rows::<S, R, C>(simd, depth.clone(), column);
                }
                column += C;
            }
            while column < columns {
                self.rows::<S, R, 1>(simd, depth.clone(), column);
                column += 1;
            }
        }
    }

    #[inline(always)]
    fn rows<S: Simd, const R: usize, const C: usize>(
        &mut self,
        simd: S,
        depth: Range<usize>,
        column: usize,
    ) {
        let mut row = 0;
        while row + R <= self.out {
            self.tile::<S, R, C>(simd, depth.clone(), column, row);
            row += R;
        }
        while row + 4 <= self.out {
            self.tile::<S, 4, C>(simd, depth.clone(), column, row);
            row += 4;
        }
        while row < self.out {
            self.tile::<S, 1, C>(simd, depth.clone(), column, row);
            row += 1;
        }
    }

    /// Adds the products of `R` outputs to a stretch of inputs of `C` columns. The outputs stand in
    /// registers and the sums in the cache, so that weights are read along their rows.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const C: usize>(
        &mut self,
        simd: S,
        depth: Range<usize>,
        column: usize,
        row: usize,
    ) {
        let parts = parts::<S, T>();
        let mut place = [(0, 0); C];
        for c in 0..C {
            let column = column + c;
            place[c] = (self.steps.start + column / parts, column % parts);
        }
        let len = depth.len();
        let mut weights: [&[T]; R] = [&[]; R];
        for r in 0..R {
            weights[r] = &self.w[(row + r) * self.inputs..][depth.clone()][..len];
        }
        let zero = T::register_splat(simd, T::default());
        let mut d = [[zero; C]; R];
        let dy = self.dx.read(self.dy, self.out);
        for c in 0..C {
            let (t, part) = place[c];
            let dy = &dy.at(t)[row..row + R];
            for r in 0..R {
                d[r][c] = T::registers::<S>(&dy[r].0)[part % parts];
            }
        }
        if C == 1 || parts > 1 {
            // Columns one after the other: registers of one step cannot be borrowed side by side.
            for c in 0..C {
                let (t, part) = place[c];
                let dx = &mut self.dx.at_mut(t, self.inputs)[depth.clone()][..len];
                for i in 0..len {
                    let slot = &mut T::registers_mut::<S>(&mut dx[i].0)[part % parts];
                    let mut sum = *slot;
                    for r in 0..R {
                        let w = T::register_splat(simd, weights[r][i]);
                        sum = T::register_mul_add(simd, w, d[r][c], sum);
                    }
                    *slot = sum;
                }
            }
        } else {
            let stride = self.dx.stride;
            let first = place[0].0 * stride + self.dx.offset + depth.start;
            let window = &mut self.dx.data[first..][..(C - 1) * stride + len];
            for i in 0..len {
                let mut sums = [zero; C];
                for c in 0..C {
                    sums[c] = T::registers::<S>(&window[c * stride + i].0)[0];
                }
                for r in 0..R {
                    let w = T::register_splat(simd, weights[r][i]);
                    for c in 0..C {
                        sums[c] = T::register_mul_add(simd, w, d[r][c], sums[c]);
                    }
                }
                for c in 0..C {
                    T::registers_mut::<S>(&mut window[c * stride + i].0)[0] = sums[c];
                }
            }
        }
    }
}
