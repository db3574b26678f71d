//! What RTIC asks a device crate for. The periodic task is bound to SysTick, an exception of every core, so no interrupt of the
//! device has a name here.

/// Bits of a priority that MPS2 boards have.
pub const NVIC_PRIO_BITS: u8 = 3;

/// No interrupt.
pub enum Interrupt {}
