//! Firmware for QEMU's Arm MPS3 AN547 (Cortex-M55, 32 MHz), in the secure state it starts in.
#![no_std]
#![no_main]

use board_support::uart::cmsdk::Cmsdk;
use board_support::{Board, Memory, entry, run};

/// The board.
struct An547;

// SAFETY: UART and line are those of QEMU's model of the board; memory.x has the symbols.
unsafe impl Board for An547 {
    type Uart = Cmsdk<Self>;
    const UART: u32 = 0x5930_3000;
    const UART_LINE: u16 = 33;
}

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();
    run::<An547>(MEMORY)
}
