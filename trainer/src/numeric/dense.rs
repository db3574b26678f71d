//! Dense layers on [`Lanes`]: the arithmetic in which training spends its time.
//!
//! A layer is a weight matrix `[out x in]`, row-major, and a bias `[out]`; an input is `in` lanes,
//! one per feature. Every sum is taken in a stated order with fused multiply-add, so results
//! do not depend on the vector width of the machine. No function here allocates; all panic if a
//! slice is shorter than its stated length.

use super::{Lanes, Real};

/// Rows computed together in [`forward`]: independent sums that hide the latency of an addition.
const ROWS: usize = 8;
/// Columns computed together in [`backward_input`].
const COLUMNS: usize = 8;
/// Tile of the weight gradient: `TILE_OUT x TILE_IN` sums are held in registers.
const TILE_OUT: usize = 4;
const TILE_IN: usize = 2;

/// `y_o = b_o + sum_i w_oi x_i`, inputs ascending.
///
/// `w` `[out x in]`, `b` `[out]`, `x` `[in]`, `y` `[out]`.
#[inline(always)]
pub fn forward<T: Real>(w: &[T], b: &[T], x: &[Lanes<T>], y: &mut [Lanes<T>]) {
    let (out, inputs) = (b.len(), x.len());
    let mut row = 0;
    while row + ROWS <= out {
        forward_rows::<T, ROWS>(&w[row * inputs..], &b[row..], x, &mut y[row..]);
        row += ROWS;
    }
    while row < out {
        forward_rows::<T, 1>(&w[row * inputs..], &b[row..], x, &mut y[row..]);
        row += 1;
    }
}

#[inline(always)]
fn forward_rows<T: Real, const R: usize>(w: &[T], b: &[T], x: &[Lanes<T>], y: &mut [Lanes<T>]) {
    let inputs = x.len();
    let mut sums: [Lanes<T>; R] = core::array::from_fn(|r| splat(b[r]));
    let rows: [&[T]; R] = core::array::from_fn(|r| &w[r * inputs..(r + 1) * inputs]);
    for (i, &x) in x.iter().enumerate() {
        for r in 0..R {
            sums[r] = splat(rows[r][i]).mul_add(x, sums[r]);
        }
    }
    y[..R].copy_from_slice(&sums);
}

/// `dx_i += sum_o w_oi dy_o`, outputs ascending.
///
/// `w` `[out x in]`, `dy` `[out]`, `dx` `[in]`.
#[inline(always)]
pub fn backward_input<T: Real>(w: &[T], dy: &[Lanes<T>], dx: &mut [Lanes<T>]) {
    let inputs = dx.len();
    // Columns that are computed together stand a run-time distance apart: of neighbours the compiler
    // makes one vector across columns instead of one across lanes, and then gathers lane by lane.
    let distance = inputs / COLUMNS;
    for column in 0..distance {
        backward_columns::<T, COLUMNS>(w, column, distance, dy, dx);
    }
    for column in distance * COLUMNS..inputs {
        backward_columns::<T, 1>(w, column, 1, dy, dx);
    }
}

#[inline(always)]
fn backward_columns<T: Real, const C: usize>(
    w: &[T],
    first: usize,
    distance: usize,
    dy: &[Lanes<T>],
    dx: &mut [Lanes<T>],
) {
    let columns: [usize; C] = core::array::from_fn(|c| first + c * distance);
    let mut sums: [Lanes<T>; C] = core::array::from_fn(|c| dx[columns[c]]);
    for (row, &d) in w.chunks_exact(dx.len()).zip(dy) {
        for c in 0..C {
            sums[c] = splat(row[columns[c]]).mul_add(d, sums[c]);
        }
    }
    for c in 0..C {
        dx[columns[c]] = sums[c];
    }
}

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

/// Gradient of a layer over steps and lanes:
/// `dw_oi += sum_t sum_lane dy_o(t) x_i(t)`, `db_o += sum_t sum_lane dy_o(t)`.
///
/// Sums run over steps first, then over lanes in the fixed tree of [`Lanes::sum`].
#[inline(always)]
pub fn gradient<T: Real>(
    steps: core::ops::Range<usize>,
    dy: Steps<'_, T>,
    x: Steps<'_, T>,
    dw: &mut [T],
    db: Option<&mut [T]>,
) {
    let (out, inputs) = (dy.len, x.len);
    let mut row = 0;
    while row < out {
        let rows = TILE_OUT.min(out - row);
        let mut column = 0;
        while column < inputs {
            let columns = TILE_IN.min(inputs - column);
            if rows == TILE_OUT && columns == TILE_IN {
                tile::<T, TILE_OUT, TILE_IN>(steps.clone(), dy, x, row, column, dw);
            } else {
                for r in row..row + rows {
                    for c in column..column + columns {
                        tile::<T, 1, 1>(steps.clone(), dy, x, r, c, dw);
                    }
                }
            }
            column += columns;
        }
        row += rows;
    }
    if let Some(db) = db {
        for (o, db) in db.iter_mut().enumerate().take(out) {
            let mut sum = Lanes::default();
            for t in steps.clone() {
                sum = sum + dy.at(t)[o];
            }
            *db += sum.sum();
        }
    }
}

#[inline(always)]
fn tile<T: Real, const R: usize, const C: usize>(
    steps: core::ops::Range<usize>,
    dy: Steps<'_, T>,
    x: Steps<'_, T>,
    row: usize,
    column: usize,
    dw: &mut [T],
) {
    let mut sums = [[Lanes::<T>::default(); C]; R];
    for t in steps {
        let d: &[Lanes<T>] = &dy.at(t)[row..row + R];
        let x: &[Lanes<T>] = &x.at(t)[column..column + C];
        for r in 0..R {
            for c in 0..C {
                sums[r][c] = d[r].mul_add(x[c], sums[r][c]);
            }
        }
    }
    for r in 0..R {
        for c in 0..C {
            dw[(row + r) * x.len + column + c] += sums[r][c].sum();
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
