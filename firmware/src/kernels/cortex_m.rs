//! Kernels in assembly for Cortex-M cores with a single-precision FPU.
#![expect(
    unsafe_code,
    reason = "assembly, and calls into it with pointers to checked slices"
)]

use core::arch::global_asm;

use policy_format::{Block, Kernels};

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
        if fits(block, x, y) {
            // SAFETY: `fits` checked every length that the function asks for; `y` is borrowed mutably, so
            // it overlaps nothing; floats are aligned to 4 bytes.
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

    #[inline(always)]
    fn dense_tanh(block: &Block<'_>, x: &[f32], y: &mut [f32]) {
        if fits(block, x, y) {
            // SAFETY: as in `dense`.
            unsafe {
                hpo_dense_tanh_f32(
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
}

/// Whether the kernels may run. The evaluator never asks for anything else; a caller that does reads NaN, which no
/// step lets through.
#[inline(always)]
fn fits(block: &Block<'_>, x: &[f32], y: &mut [f32]) -> bool {
    let rows = block.bias().len();
    let fits = x.len() >= block.columns()
        && y.len() >= rows
        // By construction; asked because memory safety rests on it.
        && rows.is_multiple_of(4)
        && block.panels().len() == rows * block.columns();
    if !fits {
        y.fill(f32::NAN);
    }
    fits
}
