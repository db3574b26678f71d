//! The fastest kernels for the core this is built for, all with the bits of the reference evaluator.
//!
//! | target | binary32 | 8 bits |
//! |---|---|---|
//! | `thumbv7em-none-eabihf` (Cortex-M4F, M7) | assembly: `dense_f32.s`, `quadratic_f32.s`, `elementwise_f32.s` | assembly: `int8.s` |
//! | `thumbv8m.main-none-eabihf` (M33, M55) | the same | portable: the DSP extension is an option there |
//! | anything else | [`policy_format::Portable`] | the same |
//!
//! [`Native`] is the one to use; `build.rs` chooses by the target.

#[cfg(hpo_kernels = "fpv4")]
mod cortex_m;

/// The kernels of this build.
#[cfg(hpo_kernels = "fpv4")]
pub use cortex_m::CortexM as Native;
/// The kernels of this build.
#[cfg(not(hpo_kernels = "fpv4"))]
pub use policy_format::Portable as Native;
