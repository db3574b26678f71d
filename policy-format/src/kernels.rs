//! The seam between what a policy computes and how fast: the operations that take nearly all of the time.

use crate::arithmetic::tanh;
use crate::block::Block;
use crate::elementwise;
use crate::int8::{Int8Block, int8_input};
use crate::network::FloatNetwork;
use crate::policy::Bounds;

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

    /// Runs the hidden layers of a network and its output block `head` on `input`, each layer from one half of `buffers` to the
    /// other; the outputs (with those of padding rows) are at the front of the first half then. `false` if there is no such block,
    /// or if `input` or a half is too short.
    #[inline(always)]
    fn network(
        network: &FloatNetwork<'_>,
        head: usize,
        input: &[f32],
        buffers: &mut [f32],
    ) -> bool {
        network.apply::<Self>(head, input, buffers)
    }

    /// The square root, correctly rounded, of a finite number that is not negative.
    #[inline(always)]
    fn sqrt(x: f32) -> f32 {
        libm::sqrtf(x)
    }

    /// Quantises an input for an 8-bit network ([`int8_input`]) and packs it two to a word, padded with zeros to a
    /// multiple of four activations. `x` is used as far as it goes.
    #[inline(always)]
    fn int8_input(z: &[f32], scale: &[f32], x: &mut [u32]) {
        let mut inputs = z
            .iter()
            .zip(scale)
            .map(|(&z, &scale)| u32::from(int8_input(z, scale) as u16));
        for x in x.iter_mut().take(crate::int8_words(z.len())) {
            let low = inputs.next().unwrap_or_default();
            *x = low | (inputs.next().unwrap_or_default() << 16);
        }
    }

    /// A hidden layer in 8 bits, see [`Int8Block::apply_hidden`].
    #[inline(always)]
    fn int8_hidden(block: &Int8Block<'_>, x: &[u32], y: &mut [u32]) {
        block.apply_hidden(x, y);
    }

    /// An output block in 8 bits, see [`Int8Block::apply_output`].
    #[inline(always)]
    fn int8_output(block: &Int8Block<'_>, x: &[u32], y: &mut [f32]) {
        block.apply_output(x, y);
    }

    /// Applies a block to the monomials of `z`, see [`Block::apply_to_monomials`]; `y` as in [`Kernels::dense`].
    #[inline(always)]
    fn quadratic(block: &Block<'_>, z: &[f32], y: &mut [f32]) {
        block.apply_to_monomials(z, y);
    }

    /// Writes `(s - shift) * scale` to `xi`, difference and product rounded separately; whether all of it is finite. The
    /// slices have one length.
    #[inline(always)]
    fn shift_and_scale(state: &[f32], shift: &[f32], scale: &[f32], xi: &mut [f32]) -> bool {
        elementwise::shift_and_scale(state, shift, scale, xi)
    }

    /// Whether no value is NaN or infinite.
    #[inline(always)]
    fn all_finite(values: &[f32]) -> bool {
        elementwise::all_finite(values)
    }

    /// Index of the greatest value, the lowest one on ties; 0 for an empty slice. `None` if one of them is not finite.
    #[inline(always)]
    fn greatest(values: &[f32]) -> Option<usize> {
        elementwise::greatest(values)
    }

    /// Writes `u` to `control`, each value moved onto the bound it lies beyond, then to within `rate` of what `control` held
    /// ([`crate::constraint::limit_rate`]); `false`, and `control` as it was, if a value of `u` is not finite. Everything else is
    /// finite and the slices have one length.
    #[inline(always)]
    fn admit(
        u: &[f32],
        bounds: Option<Bounds<'_>>,
        rate: Option<&[f32]>,
        control: &mut [f32],
    ) -> bool {
        elementwise::admit(u, bounds, rate, control)
    }

    /// Whether every value lies between its bounds; NaN does not. The slices have one length.
    #[inline(always)]
    fn inside(lower: &[f32], upper: &[f32], x: &[f32]) -> bool {
        elementwise::inside(lower, upper, x)
    }
}

/// The provided methods themselves: portable, and the meaning of every policy file.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Kernels for Portable {}
