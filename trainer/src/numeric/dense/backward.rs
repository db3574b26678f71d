//! `dx += W' dy`: the kernel of the input's derivative.

use core::ops::Range;

use pulp::{Simd, WithSimd};

use super::{Source, Steps, Target, columns_next, count, parts};
use crate::numeric::{Lanes, Real, arch};

/// Outputs summed in one visit of a tile: the weights that two neighbouring tiles read stay in the first-level cache.
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
        match (S::REGISTER_COUNT >= 32, single) {
            (true, true) => self.blocks::<S, 16, 1>(simd),
            (true, false) => self.blocks::<S, 8, 3>(simd),
            (false, true) => self.blocks::<S, 8, 1>(simd),
            (false, false) => self.blocks::<S, 4, 2>(simd),
        }
    }
}

impl<T: Real> Backward<'_, T> {
    #[inline(always)]
    fn blocks<S: Simd, const R: usize, const C: usize>(mut self, simd: S) {
        let columns = self.steps.len() * parts::<S, T>();
        for from in (0..self.out).step_by(DEPTH_BACK) {
            let depth = from..self.out.min(from + DEPTH_BACK);
            let mut column = 0;
            while column < columns {
                let width = columns_next(columns - column, C);
                match width {
                    3 => self.rows::<S, R, 3>(simd, depth.clone(), column),
                    2 => self.rows::<S, R, 2>(simd, depth.clone(), column),
                    _ => self.rows::<S, R, 1>(simd, depth.clone(), column),
                }
                column += width;
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
        let mut input = 0;
        while input + R <= self.inputs {
            self.tile::<S, R, C>(simd, depth.clone(), column, input);
            input += R;
        }
        while input + 4 <= self.inputs {
            self.tile::<S, 4, C>(simd, depth.clone(), column, input);
            input += 4;
        }
        while input < self.inputs {
            self.tile::<S, 1, C>(simd, depth.clone(), column, input);
            input += 1;
        }
    }

    /// Adds the products of a stretch of outputs to `R` inputs of `C` columns. The sums stand in registers; of a row of
    /// weights `R` neighbours are read at one address.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const C: usize>(
        &mut self,
        simd: S,
        depth: Range<usize>,
        column: usize,
        input: usize,
    ) {
        let parts = parts::<S, T>();
        let mut place = [(0, 0); C];
        for c in 0..C {
            let column = column + c;
            place[c] = (self.steps.start + column / parts, column % parts);
        }
        let zero = T::register_splat(simd, T::default());
        let mut sums = [[zero; C]; R];
        for c in 0..C {
            let (t, part) = place[c];
            let dx = &self.dx.at_mut(t, self.inputs)[input..input + R];
            for r in 0..R {
                sums[r][c] = T::registers::<S>(&dx[r].0)[part % parts];
            }
        }
        let dy = self.dx.read(self.dy, self.out);
        let mut columns: [&[Lanes<T>]; C] = [&[]; C];
        for c in 0..C {
            columns[c] = &dy.at(place[c].0)[depth.clone()][..depth.len()];
        }
        let weights = &self.w[depth.start * self.inputs..depth.end * self.inputs];
        let rows = weights.chunks_exact(self.inputs);
        for (o, weights) in rows.enumerate().take(depth.len()) {
            let weights = &weights[input..input + R];
            let mut d = [zero; C];
            for c in 0..C {
                d[c] = T::registers::<S>(&columns[c][o].0)[place[c].1 % parts];
            }
            for r in 0..R {
                let w = T::register_splat(simd, weights[r]);
                for c in 0..C {
                    sums[r][c] = T::register_mul_add(simd, w, d[c], sums[r][c]);
                }
            }
        }
        for c in 0..C {
            let (t, part) = place[c];
            let dx = &mut self.dx.at_mut(t, self.inputs)[input..input + R];
            for r in 0..R {
                T::registers_mut::<S>(&mut dx[r].0)[part % parts] = sums[r][c];
            }
        }
    }
}
