//! What a policy computes, as fast as the core allows, all with the bits of the reference evaluator, `Policy::decide`.
//!
//! | target | kernels |
//! |---|---|
//! | `thumbv7em-none-eabihf` (Cortex-M4F, M7), `thumbv8m.main-none-eabihf` (M33, M55) | assembly: `network_f32.s`, `network_int8.s`, `quadratic_f32.s`, `elementwise_f32.s` |
//! | anything else, and with the feature `no-dsp` | [`policy_format::Policy`] itself |
//!
//! [`Plan`] is the run-time form of a policy: made once, at boot. `build.rs` chooses by the target.

#[cfg(hpo_kernels = "fpv4")]
mod cortex_m;
#[cfg(hpo_kernels = "fpv4")]
mod network;
#[cfg(not(hpo_kernels = "fpv4"))]
mod portable;
#[cfg(hpo_kernels = "fpv4")]
mod routines;

#[cfg(hpo_kernels = "fpv4")]
pub use cortex_m::{Plan, admit, all_finite};
#[cfg(not(hpo_kernels = "fpv4"))]
pub use portable::{Plan, admit, all_finite};

/// What [`Plan::observe`] found out about a state that a policy may act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether it lies where the states of training lay; true where the policy does not say.
    pub typical: bool,
    /// [`hash`] of it, where repeated states are counted.
    pub hash: u32,
}

/// Hash of the bits of a state: one multiply-accumulate a value.
#[inline(never)]
#[must_use]
pub fn hash(state: &[f32]) -> u32 {
    state.iter().fold(0, |hash: u32, value| {
        hash.wrapping_mul(0x9E37_79B1).wrapping_add(value.to_bits())
    })
}
