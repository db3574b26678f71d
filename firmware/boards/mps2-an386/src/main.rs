//! Firmware for QEMU's Arm MPS2 AN386 (Cortex-M4F, 25 MHz).
#![no_std]
#![no_main]

use board_support::uart::cmsdk::Cmsdk;
use board_support::{Board, Memory, entry, run};

/// The board.
struct An386;

// SAFETY: UART and line are those of QEMU's model of the board; memory.x has the symbols.
unsafe impl Board for An386 {
    type Uart = Cmsdk<Self>;
    const UART: u32 = 0x4000_4000;
    const UART_LINE: u16 = 0;
}

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();
    run::<An386>(MEMORY)
}
