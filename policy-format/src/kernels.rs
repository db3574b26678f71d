//! The seam between what a policy computes and how fast: the operations that take nearly all of the time.

use crate::arithmetic::tanh;
use crate::block::Block;

/// The operations of [`crate::Policy::decide`] that take nearly all of its time.
///
/// The provided methods are the specification. An implementation replaces those it is faster at and gives
/// **the same bits** for every input, infinities and NaN included where they decide whether a value is finite
/// (which NaN it is does not matter).
pub trait Kernels {
    /// Applies a block: `y_r = bias_r + sum_k w_rk x_k`, k ascending, product and sum rounded separately.
    ///
    /// `x` holds `columns` floats (more are not read) and `y` at least [`crate::padded_rows`], what stands there
    /// before is overwritten; outputs of padding rows carry no meaning.
    #[inline(always)]
    fn dense(block: &Block<'_>, x: &[f32], y: &mut [f32]) {
        block.apply(x, y);
    }

    /// A hidden layer: [`Kernels::dense`], then [`crate::tanh`] of every row.
    #[inline(always)]
    fn dense_tanh(block: &Block<'_>, x: &[f32], y: &mut [f32]) {
        block.apply(x, y);
        for y in y.iter_mut().take(block.rows()) {
            *y = tanh(*y);
        }
    }

    /// The square root, correctly rounded, of a finite number that is not negative.
    #[inline(always)]
    fn sqrt(x: f32) -> f32 {
        libm::sqrtf(x)
    }

    /// Applies a block to the monomials of `z`, see [`Block::apply_to_monomials`]; `y` as in [`Kernels::dense`].
    #[inline(always)]
    fn quadratic(block: &Block<'_>, z: &[f32], y: &mut [f32]) {
        block.apply_to_monomials(z, y);
    }
}

/// The provided methods themselves: portable, and the meaning of every policy file.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Kernels for Portable {}
