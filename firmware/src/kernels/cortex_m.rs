//! Kernels in assembly for Cortex-M cores with a single-precision FPU.
#![expect(
    unsafe_code,
    reason = "assembly, and calls into it with pointers to checked slices"
)]

use core::arch::global_asm;
use core::ptr;

use policy_format::{Block, Bounds, FloatNetwork, Kernels};
#[cfg(hpo_dsp)]
use policy_format::{INT8_TANH, Int8Block, int8_words};

// SAFETY: the text defines the two functions below, whose contracts its header states, local labels, and
// macros that it removes again. It changes neither section nor instruction set for what follows.
global_asm!(include_str!("dense_f32.s"), options(raw));

// SAFETY: the signatures are those in the header of `dense_f32.s`.
unsafe extern "C" {
    fn hpo_dense_f32(
        bias: *const f32,
        weights: *const f32,
        x: *const f32,
        y: *mut f32,
        columns: usize,
        padded_rows: usize,
    );
    fn hpo_dense_tanh_f32(
        bias: *const f32,
        weights: *const f32,
        x: *const f32,
        y: *mut f32,
        columns: usize,
        padded_rows: usize,
    );
}

/// Assembly for ARMv7E-M and ARMv8-M mainline with FPU.
#[derive(Clone, Copy, Debug)]
pub struct CortexM;

impl Kernels for CortexM {
    #[inline(always)]
    fn dense(block: &Block<'_>, x: &[f32], y: &mut [f32]) {
        if fits(block.bias().len(), block.columns(), x, y) {
            // SAFETY: a `Block` holds `bias().len()` (a multiple of 4) biases and that many times `columns`
            // weights, and `fits` checked `x` and `y`; `y` is borrowed mutably, so it overlaps nothing;
            // floats are aligned to 4 bytes.
            unsafe {
                hpo_dense_f32(
                    block.bias().as_ptr(),
                    block.panels().as_ptr(),
                    x.as_ptr(),
                    y.as_mut_ptr(),
                    block.columns(),
                    block.bias().len(),
                );
            }
        }
    }

    // One comparison for all layers.
    #[inline(always)]
    fn network(
        network: &FloatNetwork<'_>,
        head: usize,
        input: &[f32],
        buffers: &mut [f32],
    ) -> bool {
        let (heads, half) = (network.heads(), buffers.len() / 2);
        if head >= heads.count() || half < network.width() || input.len() < network.inputs() {
            return false;
        }
        let buffers = buffers.as_mut_ptr();
        // Where the next result comes to: so that the last of hidden().len() + 1 comes to the front.
        let mut at = network.hidden().len() % 2 * half;
        let mut from = input.as_ptr();
        // SAFETY: a `FloatNetwork`'s layers follow each other, the first with as many columns as it has inputs and every output block
        // with the last layer's rows; none has more rows than its width, which `input` and both halves were compared with. The halves
        // do not overlap, nor does `input`. Output block `head` is below their count, so `Blocks` holds it whole, bias first.
        unsafe {
            for layer in network.hidden() {
                let to = buffers.add(at);
                let (bias, weights) = (layer.bias(), layer.panels().as_ptr());
                let (columns, rows) = (layer.columns(), bias.len());
                hpo_dense_tanh_f32(bias.as_ptr(), weights, from, to, columns, rows);
                from = to;
                at = half - at;
            }
            let (rows, columns) = (heads.padded(), heads.columns());
            let bias = heads.floats().as_ptr().add(head * heads.length());
            hpo_dense_f32(bias, bias.add(rows), from, buffers, columns, rows);
        }
        true
    }

    #[inline(always)]
    fn quadratic(block: &Block<'_>, z: &[f32], y: &mut [f32]) {
        // The inputs are read at their products: their number must be the block's.
        let matches = z.len() * (z.len() + 1) / 2 == block.columns();
        if fits(
            block.bias().len(),
            if matches { 0 } else { usize::MAX },
            z,
            y,
        ) {
            // SAFETY: as in `dense`, with the columns that `z` has products.
            unsafe {
                hpo_quadratic_f32(
                    block.bias().as_ptr(),
                    block.panels().as_ptr(),
                    z.as_ptr(),
                    y.as_mut_ptr(),
                    z.len(),
                    block.bias().len(),
                );
            }
        }
    }

    #[cfg(hpo_dsp)]
    #[inline(always)]
    fn int8_input(z: &[f32], scale: &[f32], x: &mut [u32]) {
        if scale.len() >= z.len() && x.len() >= int8_words(z.len()) {
            // SAFETY: the lengths were checked; `x` is borrowed mutably, so it overlaps nothing.
            unsafe { hpo_int8_input(z.as_ptr(), scale.as_ptr(), x.as_mut_ptr(), z.len()) }
        }
    }

    #[cfg(hpo_dsp)]
    #[inline(always)]
    fn int8_hidden(block: &Int8Block<'_>, x: &[u32], y: &mut [u32]) {
        let (rows, columns) = (block.rows(), block.columns());
        if block.is_output() || rows == 0 || columns == 0 {
            return;
        }
        if x.len() >= int8_words(columns) && y.len() >= int8_words(rows) {
            // SAFETY: an `Int8Block` of a hidden layer holds its panels with two words of multipliers each, `x` and
            // `y` were checked above, and the table has 64 entries on either side of the address given. The
            // intervals are limited to those by the kernel itself, whatever the sums.
            unsafe {
                hpo_int8_hidden(
                    block.words().as_ptr(),
                    x.as_ptr(),
                    y.as_mut_ptr(),
                    int8_words(columns) / 2,
                    int8_words(rows) / 2,
                    INT8_TANH.as_ptr().add(64),
                );
            }
        }
    }

    #[cfg(hpo_dsp)]
    #[inline(always)]
    fn int8_output(block: &Int8Block<'_>, x: &[u32], y: &mut [f32]) {
        let (rows, columns) = (block.rows(), block.columns());
        let fits = x.len() >= int8_words(columns) && y.len() >= 2 * int8_words(rows);
        if !fits || !block.is_output() || rows == 0 || columns == 0 {
            y.fill(f32::NAN);
            return;
        }
        // SAFETY: as in `int8_hidden`, for a block with four scales per panel.
        unsafe {
            hpo_int8_output(
                block.words().as_ptr(),
                x.as_ptr(),
                y.as_mut_ptr(),
                int8_words(columns) / 2,
                int8_words(rows) / 2,
                INT8_TANH.as_ptr(),
            );
        }
    }

    #[inline(always)]
    fn sqrt(x: f32) -> f32 {
        // SAFETY: computes with its argument alone.
        unsafe { hpo_sqrt_f32(x) }
    }

    #[inline(always)]
    fn shift_and_scale(state: &[f32], shift: &[f32], scale: &[f32], xi: &mut [f32]) -> bool {
        let count = xi.len();
        if state.len() != count || shift.len() != count || scale.len() != count {
            return false;
        }
        // SAFETY: all four have `count` floats; `xi` is borrowed mutably, so it overlaps nothing.
        unsafe {
            let (state, shift, scale) = (state.as_ptr(), shift.as_ptr(), scale.as_ptr());
            hpo_scale_f32(state, shift, scale, xi.as_mut_ptr(), count) == 0
        }
    }

    #[inline(always)]
    fn all_finite(values: &[f32]) -> bool {
        // SAFETY: reads as many floats as the slice has.
        unsafe { hpo_finite_f32(values.as_ptr(), values.len()) == 0 }
    }

    #[inline(always)]
    fn greatest(values: &[f32]) -> Option<usize> {
        // SAFETY: reads as many floats as the slice has.
        let found = unsafe { hpo_greatest_f32(values.as_ptr(), values.len()) };
        (found >> 32 == 0).then_some(found as usize)
    }

    #[inline(always)]
    fn admit(
        u: &[f32],
        bounds: Option<Bounds<'_>>,
        rate: Option<&[f32]>,
        control: &mut [f32],
    ) -> bool {
        let count = control.len();
        let (mut lower, mut upper, mut limits) = (ptr::null(), ptr::null(), ptr::null());
        if u.len() < count {
            return false;
        }
        if let Some(bounds) = bounds {
            if bounds.lower.len() < count || bounds.upper.len() < count {
                return false;
            }
            (lower, upper) = (bounds.lower.as_ptr(), bounds.upper.as_ptr());
        }
        if let Some(rate) = rate {
            if rate.len() < count {
                return false;
            }
            limits = rate.as_ptr();
        }
        // SAFETY: what is not null has at least as many floats as `control`, which is borrowed mutably and overlaps nothing.
        unsafe {
            hpo_admit_f32(
                u.as_ptr(),
                control.as_mut_ptr(),
                lower,
                upper,
                limits,
                count,
            ) == 0
        }
    }

    #[inline(always)]
    fn inside(lower: &[f32], upper: &[f32], x: &[f32]) -> bool {
        let count = x.len();
        if lower.len() != count || upper.len() != count {
            return false;
        }
        // SAFETY: all three have `count` floats.
        unsafe { hpo_inside_f32(lower.as_ptr(), upper.as_ptr(), x.as_ptr(), count) == 0 }
    }
}

// SAFETY: as for `dense_f32.s`.
global_asm!(include_str!("elementwise_f32.s"), options(raw));

// SAFETY: the signatures are those in the header of `elementwise_f32.s`.
unsafe extern "C" {
    fn hpo_finite_f32(x: *const f32, count: usize) -> u32;
    fn hpo_scale_f32(
        state: *const f32,
        shift: *const f32,
        scale: *const f32,
        xi: *mut f32,
        count: usize,
    ) -> u32;
    fn hpo_inside_f32(lower: *const f32, upper: *const f32, x: *const f32, count: usize) -> u32;
    fn hpo_greatest_f32(x: *const f32, count: usize) -> u64;
    fn hpo_admit_f32(
        u: *const f32,
        control: *mut f32,
        lower: *const f32,
        upper: *const f32,
        rate: *const f32,
        count: usize,
    ) -> u32;
}

// SAFETY: as for `dense_f32.s`.
global_asm!(include_str!("quadratic_f32.s"), options(raw));

// SAFETY: the signatures are those in the header of `quadratic_f32.s`.
unsafe extern "C" {
    fn hpo_quadratic_f32(
        bias: *const f32,
        weights: *const f32,
        z: *const f32,
        y: *mut f32,
        inputs: usize,
        padded_rows: usize,
    );
    fn hpo_sqrt_f32(x: f32) -> f32;
}

// SAFETY: as for `dense_f32.s`.
#[cfg(hpo_dsp)]
global_asm!(include_str!("int8.s"), options(raw));

#[cfg(hpo_dsp)]
// SAFETY: the signatures are those in the header of `int8.s`.
unsafe extern "C" {
    fn hpo_int8_input(z: *const f32, scale: *const f32, x: *mut u32, inputs: usize);
    fn hpo_int8_hidden(
        words: *const u32,
        x: *const u32,
        y: *mut u32,
        groups: usize,
        panels: usize,
        tanh: *const u32,
    );
    fn hpo_int8_output(
        words: *const u32,
        x: *const u32,
        y: *mut f32,
        groups: usize,
        panels: usize,
        tanh: *const u32,
    );
}

/// Whether the kernels may run; a `Block` keeps its own lengths. The evaluator never asks for anything else, and a
/// caller that does reads NaN, which no step lets through.
#[inline(always)]
fn fits(rows: usize, columns: usize, x: &[f32], y: &mut [f32]) -> bool {
    let fits = x.len() >= columns && y.len() >= rows;
    if !fits {
        y.fill(f32::NAN);
    }
    fits
}
