//! What the boards share. A board's own crate states addresses ([`Board`]) and calls [`run`].
//!
//! The stack lies below all statics, painted and, where the core can, guarded, so that an overflow is a
//! fault and its greatest use can be read; every processor fault is a numbered last word on the link.
//! The feature `qemu` makes it an emulated board;
//! without it, `real` is the way in.
#![no_std]

mod budget;
pub mod counter;
#[cfg(feature = "qemu")]
mod emulated;
pub mod exceptions;
#[cfg(all(feature = "slots", any(not(feature = "qemu"), feature = "nvmc")))]
mod in_place;
#[cfg(feature = "nvmc")]
mod nvmc;
#[cfg(feature = "own-loop")]
pub mod own_loop;
#[cfg(not(feature = "qemu"))]
pub mod real;
#[cfg(any(feature = "qemu", armv7m))]
mod registers;
#[cfg(feature = "qemu")]
mod semihosting;
pub mod slot;
pub mod stack;
#[cfg(feature = "qemu")]
pub mod uart;
#[cfg(all(feature = "slots", any(not(feature = "qemu"), feature = "nvmc")))]
mod window;

pub use cortex_m_rt::entry;
#[cfg(feature = "qemu")]
pub use emulated::Board;
#[cfg(all(feature = "qemu", not(feature = "nvmc")))]
pub use emulated::run;
#[cfg(feature = "nvmc")]
pub use emulated::run_on_nvmc;
pub use firmware::Memory;
#[cfg(feature = "qemu")]
pub use registers::Register;

/// Plant and actuator set this firmware is built for: `HPO_TARGET_CLASS` at compile time, decimal;
/// 0 when it is not set.
pub const TARGET_CLASS: u32 = match option_env!("HPO_TARGET_CLASS") {
    Some(text) => match u32::from_str_radix(text, 10) {
        Ok(class) => class,
        Err(_) => panic!("HPO_TARGET_CLASS is not a decimal number below 2^32"),
    },
    None => 0,
};
