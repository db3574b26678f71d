//! Dense layers on [`Lanes`]: the arithmetic in which training spends its time.
//!
//! A layer is a weight matrix `[out x in]`, row-major, and a bias `[out]`; an input is `in` lanes,
//! one per feature, for each of a range of steps. Every sum is taken in a stated order with fused
//! multiply-add, so results do not depend on the vector width of the machine, on the size of a tile or
//! on how many steps are given at once.
//!
//! How it is fast: a tile of sums is held in registers, and one loaded number serves a whole row or
//! column of the tile, so that multiply-adds and not loads are the limit. Blocks keep what a tile reads again
//! and again in the first-level cache. Each kernel is compiled for every instruction set and picks one at
//! run time, once per call. No function here allocates; all panic if a slice is shorter than its
//! stated length.

use core::ops::Range;

use pulp::{Simd, WithSimd};

use super::{LANES, Lanes, Real, arch};

/// Inputs summed in one visit of a tile: what three columns read stays in a first-level cache of 48 KiB.
const DEPTH: usize = 192;
/// Inputs of one visit of the backward tile, which also writes them.
const DEPTH_BACK: usize = 128;
/// Inputs of one block of the weight gradient, a multiple of [`LANES`].
const WIDTH: usize = 2 * LANES;
/// Steps whose samples the weight gradient sums before it adds to what is there.
pub const GRADIENT_STEPS: usize = 8;

/// Per-step arrays of lanes: step `t` is `data[t * stride + offset..][..len]`.
#[derive(Clone, Copy)]
pub struct Steps<'a, T> {
    /// The backing array.
    pub data: &'a [Lanes<T>],
    /// Lanes per step in the backing array.
    pub stride: usize,
    /// Where the vector starts inside a step.
    pub offset: usize,
    /// Length of the vector.
    pub len: usize,
}

impl<'a, T: Real> Steps<'a, T> {
    /// The vector of step `t`.
    #[inline(always)]
    #[must_use]
    pub fn at(&self, t: usize) -> &'a [Lanes<T>] {
        &self.data[t * self.stride + self.offset..][..self.len]
    }
}

#[cfg(test)]
thread_local! {
    static OPERATIONS: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
}

/// Floating-point operations that this thread has given to kernels.
#[cfg(test)]
pub(crate) fn operations() -> u64 {
    OPERATIONS.get()
}

/// Counts the products of a layer at every step and lane, in tests.
#[inline(always)]
fn count(outputs: usize, inputs: usize, steps: usize) {
    let _ = (outputs, inputs, steps);
    #[cfg(test)]
    OPERATIONS.set(OPERATIONS.get() + (2 * outputs * inputs * steps * LANES) as u64);
}

/// Where a kernel finds the vectors that it reads.
#[derive(Clone, Copy)]
pub enum Source<'a, T> {
    /// In an array of their own.
    Apart(Steps<'a, T>),
    /// Beside the vectors that it writes, from this offset of every step on.
    Beside(usize),
}

/// Per-step vectors that a kernel writes: step `t` is `data[t * stride + offset..]`.
pub struct Target<'a, T> {
    /// The backing array.
    pub data: &'a mut [Lanes<T>],
    /// Lanes per step in the backing array.
    pub stride: usize,
    /// Where the vector starts inside a step.
    pub offset: usize,
}

impl<T: Real> Target<'_, T> {
    #[inline(always)]
    fn read<'b>(&'b self, source: Source<'b, T>, len: usize) -> Steps<'b, T> {
        match source {
            Source::Apart(steps) => steps,
            Source::Beside(offset) => Steps {
                data: self.data,
                stride: self.stride,
                offset,
                len,
            },
        }
    }

    #[inline(always)]
    fn at_mut(&mut self, t: usize, len: usize) -> &mut [Lanes<T>] {
        &mut self.data[t * self.stride + self.offset..][..len]
    }
}

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
                rows::<S, T, 8, 2>(simd, &layer, &mut y, steps.clone());
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

/// Registers that one [`Lanes`] fills.
#[inline(always)]
fn parts<S: Simd, T: Real>() -> usize {
    T::registers::<S>(&[T::default(); LANES]).len()
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
    while column + C <= columns {
        // Three at the end rather than two and one: a lone column waits for loads.
        if C == 2 && column + 3 == columns {
            row_blocks::<S, T, R, 3>(simd, layer, y, steps.start, column);
            return;
        }
        row_blocks::<S, T, R, C>(simd, layer, y, steps.start, column);
        column += C;
    }
    while column < columns {
        row_blocks::<S, T, R, 1>(simd, layer, y, steps.start, column);
        column += 1;
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
        for i in 0..len {
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

/// `value` in every lane.
#[inline(always)]
pub fn splat<T: Real>(value: T) -> Lanes<T> {
    Lanes([value; super::LANES])
}

#[cfg(test)]
#[path = "dense_tests.rs"]
mod tests;
