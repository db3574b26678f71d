//! Firmware for QEMU's Arm MPS2 AN385 (Cortex-M3, 25 MHz).
#![no_std]
#![no_main]

use board_support::uart::cmsdk::Cmsdk;
use board_support::{Board, Memory, entry, run};

/// The board.
struct An385;

// SAFETY: UART and line are those of QEMU's model of the board; memory.x has the symbols.
unsafe impl Board for An385 {
    type Uart = Cmsdk<Self>;
    const UART: u32 = 0x4000_4000;
    const UART_LINE: u16 = 0;
}

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();
    run::<An385>(MEMORY)
}
