//! Firmware for QEMU's mps2-an386 board (Cortex-M4F, 25 MHz).
//!
//! Thin on purpose: it gives the firmware library a policy slot, a link and instruments, and nothing
//! else. The link is chosen at run time by the last word of the semihosting command line
//! (`semihosting` or `uart`), so that one ELF serves both.
#![no_std]
#![no_main]

mod board;
mod exceptions;
mod registers;
mod semihosting;
mod slot;
mod stack;
mod timer;
mod uart;

use cortex_m_rt::entry;
use firmware::{Fault, Memory, boot, serve};

use board::{Board, Wire};

/// Plant and actuator set this firmware is built for: `HPO_TARGET_CLASS` at compile time, decimal;
/// 0 when it is not set.
const TARGET_CLASS: u32 = match option_env!("HPO_TARGET_CLASS") {
    Some(text) => match u32::from_str_radix(text, 10) {
        Ok(class) => class,
        Err(_) => panic!("HPO_TARGET_CLASS is not a decimal number below 2^32"),
    },
    None => 0,
};

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();

    stack::guard();
    let wire = match semihosting::last_argument(&mut [0; 80]) {
        Some(b"semihosting") => semihosting::Files::open().map(Wire::Semihosting),
        Some(b"uart") => Some(Wire::Uart(uart::Uart::start())),
        _ => None,
    };
    let Some(wire) = wire else {
        exceptions::stop(Fault::NO_LINK);
    };
    exceptions::remember(&wire);
    let mut board = Board {
        wire,
        timer: timer::Timer::start(),
    };
    let controller = boot(slot::bytes(), TARGET_CLASS, &mut MEMORY.scratch);
    serve(&mut board, &controller, TARGET_CLASS, MEMORY);
    semihosting::exit(0)
}
