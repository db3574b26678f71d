//! The routines of `elementwise_f32.s` and `quadratic_f32.s`; contracts stand in the headers of these files.
#![expect(unsafe_code, reason = "assembly")]

use core::arch::global_asm;
use core::mem::MaybeUninit;

use crate::boot::CAPACITY;

/// Where a value may lie: key of the low end, and how far that of the high end is above it. An integer is a float's key whose order among
/// others is the floats' own: -0 below +0, NaN beyond the infinities.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    lower: i32,
    width: u32,
}

impl Interval {
    /// From `lower` to `upper`, which is not below.
    #[inline(always)]
    pub(super) fn new(lower: f32, upper: f32) -> Self {
        let key = |x: f32| {
            let bits = x.to_bits() as i32;
            bits ^ ((bits >> 31) as u32 >> 1) as i32
        };
        // Both zeros lie inside where one of them is an end: the low end is -0 then, the high one +0.
        let (lower, upper) = (key(-(0.0 - lower)), key(upper + 0.0));
        Self {
            lower,
            width: upper.wrapping_sub(lower) as u32,
        }
    }
}

/// The envelope of a value, and the typical one within: 16 bytes, which `hpo_observe_f32` reads at once.
pub(super) type Bracket = [Interval; 2];

/// What a state is compared with and shifted and scaled by: lists of `count` values, as `hpo_observe_f32` reads them; the boxes only
/// of a policy with an envelope.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) shift: *const f32,
    pub(super) scale: *const f32,
    pub(super) count: usize,
    pub(super) boxes: [MaybeUninit<Bracket>; CAPACITY.state],
}

/// What a choice is made among, and mode rules of at most 32 modes, as `hpo_decide_f32` reads it.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Choices {
    /// Number of modes where what follows says all about their rules and every choice has a logit, else 0.
    pub(super) direct: u32,
    /// Mode of each choice.
    pub(super) modes: *const u16,
    /// Choices.
    pub(super) count: usize,
    /// Dwell time of each mode.
    pub(super) dwell: *const u32,
    /// Words of the modes that may follow a mode, of which `mask` gives the mode's own.
    pub(super) follow: *const u32,
    pub(super) mask: u32,
    pub(super) hysteresis: f32,
}

/// Control bounds, both null where there are none, rate limits, null likewise, and what they start from, of `count` controls, as
/// `hpo_admit_f32` reads them.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) lower: *const f32,
    pub(super) upper: *const f32,
    pub(super) rate: *const f32,
    pub(super) count: usize,
    pub(super) start: *const f32,
}

impl Bounds {
    /// None, for so many controls.
    pub(super) const fn none(count: usize) -> Self {
        Self {
            lower: core::ptr::null(),
            upper: core::ptr::null(),
            rate: core::ptr::null(),
            count,
            start: core::ptr::null(),
        }
    }
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
    pub(super) fn hpo_observe_f32(watch: *const Watch, state: *const f32, xi: *mut f32) -> u64;
    pub(super) fn hpo_greatest_f32(x: *const f32, count: usize) -> u64;
    pub(super) fn hpo_unit_norm_f32(xi: *const f32, z: *mut f32, count: usize) -> f32;
    pub(super) fn hpo_admit_f32(
        u: *const f32,
        control: *mut f32,
        bounds: *const Bounds,
        age: u32,
    ) -> u32;
}

// SAFETY: as for `elementwise_f32.s`.
global_asm!(include_str!("quadratic_f32.s"), options(raw));

// SAFETY: as for `elementwise_f32.s`.
global_asm!(include_str!("decide_f32.s"), options(raw));

// SAFETY: the signature is that in the header of `decide_f32.s`, which calls the functions of the other two files.
unsafe extern "C" {
    pub(super) fn hpo_decide_f32(
        plan: *const u32,
        control: *mut f32,
        scratch: *mut f32,
        age: u32,
        mode: u32,
    ) -> u64;
}
