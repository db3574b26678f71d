//! What runs on the device: boot, control step and message loop, without a HAL and without a heap.
//!
//! A board calls [`boot::boot`] once on the memory its policy was loaded to, and [`serve::serve`] for
//! ever. Weights stay where they were loaded. Every failure becomes a numbered [`Fault`]: a boot that
//! fails leaves a device that answers the greeting with that number and every step with the safe
//! constant; a step that fails latches the fallback law. Nothing in this crate panics, and the
//! trainer runs this same crate on the host.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

#[cfg(test)]
extern crate std;

pub mod boot;
pub mod budget;
pub mod control_loop;
pub mod controller;
pub mod fault;
pub mod hal;
pub mod kernels;
pub mod link;
pub mod serve;
pub mod signature;
pub mod slots;
pub mod supervisor;

pub use boot::{Armed, CAPACITY, SCRATCH_LEN, boot, boot_trusting};
pub use budget::{Offer, boot_on};
pub use control_loop::{ControlLoop, ResetCause};
pub use controller::{Controller, ControllerState, Outcome, control_step};
pub use fault::Fault;
pub use hal::{Actuators, Clock, Estimator, RetainedMemory, Sensors, Watchdog};
pub use link::{Instruments, Link, LinkClosed};
pub use serve::{Memory, serve};
pub use signature::{PublicKey, Trust};
pub use supervisor::{Command, Observation};
