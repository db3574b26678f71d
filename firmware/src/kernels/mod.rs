//! The fastest kernels for the core this is built for, all with the bits of the reference evaluator.
//!
//! | target | binary32 |
//! |---|---|
//! | `thumbv7em-none-eabihf` (Cortex-M4F, M7), `thumbv8m.main-none-eabihf` (M33, M55) | assembly, `dense_f32.s` |
//! | anything else | [`policy_format::Portable`] |
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
