//! Dense layers on [`Lanes`]: the arithmetic in which training spends its time.
//!
//! A layer is a weight matrix `[out x in]`, row-major, and a bias `[out]`; an input is `in` lanes,
//! one per feature, for each of a range of steps. Every sum is taken in a stated order with fused
//! multiply-add, so results do not depend on the vector width of the machine, on the size of a tile or
//! on how many steps are given at once.
//!
//! How it is fast: a tile of sums is held in registers, and one loaded number serves a whole row or
//! column of the tile, so that multiply-adds and not loads are the limit. Blocks keep what a tile reads again
//! and again in the first-level cache. The gradient of a large layer over several arrays of samples is a kernel of its own, which sums
//! them where a copy of the weights for each would go through memory. Each kernel is compiled for every instruction set and picks one at
//! run time, once per call. Only [`gradient_rows`] allocates, where an array's own sum has to be
//! complete before it is added; all panic if a slice is shorter than its stated length.

mod backward;
mod forward;
mod gradient;

pub use backward::{backward_input, backward_input_steps};
pub use forward::{forward, forward_steps};
pub use gradient::{GRADIENT_STEPS, bias_gradient, gradient, gradient_rows};

use pulp::Simd;

use super::{LANES, Lanes, Real};

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

/// Registers that one [`Lanes`] fills.
#[inline(always)]
fn parts<S: Simd, T: Real>() -> usize {
    T::registers::<S>(&[T::default(); LANES]).len()
}

/// How many of the `left` columns a kernel whose tiles have at most `most` columns takes next: no lone column at the
/// end where there can be two, for a lone one waits for loads.
#[inline(always)]
fn columns_next(left: usize, most: usize) -> usize {
    match (left, most) {
        (4, 3) => 2,
        (3, 2) => 3,
        (4..8, 8) => 4,
        (2..4, 8) => 2,
        _ => left.min(most),
    }
}

/// `value` in every lane.
#[inline(always)]
pub fn splat<T: Real>(value: T) -> Lanes<T> {
    Lanes([value; LANES])
}

#[cfg(test)]
mod tests;
