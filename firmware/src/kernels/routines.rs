//! The routines of `elementwise_f32.s` and `quadratic_f32.s`; contracts stand in the headers of these files.
#![expect(unsafe_code, reason = "assembly")]

use core::arch::global_asm;

/// What a state is compared with and shifted and scaled by: lists of `count` floats, as `hpo_observe_f32` reads them; the last four only
/// of a policy with an envelope.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) count: usize,
    pub(super) shift: *const f32,
    pub(super) scale: *const f32,
    /// Lower and upper, typical lower and upper.
    pub(super) ends: [*const f32; 4],
}

// SAFETY: the text defines the functions below, whose contracts its header states, local labels, and
// macros that it removes again. It changes neither section nor instruction set for what follows.
global_asm!(include_str!("elementwise_f32.s"), options(raw));

// SAFETY: the signatures are those in the header of `elementwise_f32.s`.
unsafe extern "C" {
    pub(super) fn hpo_scale_f32(
        state: *const f32,
        shift: *const f32,
        scale: *const f32,
        xi: *mut f32,
        count: usize,
    ) -> u32;
    pub(super) fn hpo_unit_norm_f32(xi: *const f32, z: *mut f32, count: usize) -> f32;
    pub(super) fn hpo_observe_f32(watch: *const Watch, state: *const f32, xi: *mut f32) -> u64;
    pub(super) fn hpo_greatest_f32(x: *const f32, count: usize) -> u64;
    pub(super) fn hpo_choose_f32(
        x: *const f32,
        modes: *const u16,
        allowed: u32,
        held: u32,
        count: usize,
        hysteresis: f32,
    ) -> u64;
    pub(super) fn hpo_admit_f32(
        u: *const f32,
        control: *mut f32,
        lower: *const f32,
        upper: *const f32,
        rate: *const f32,
        count: usize,
    ) -> u32;
}

// SAFETY: as for `elementwise_f32.s`.
global_asm!(include_str!("quadratic_f32.s"), options(raw));

// SAFETY: the signature is that in the header of `quadratic_f32.s`.
unsafe extern "C" {
    pub(super) fn hpo_quadratic_f32(
        bias: *const f32,
        weights: *const f32,
        z: *const f32,
        y: *mut f32,
        inputs: usize,
        padded_rows: usize,
    );
}
