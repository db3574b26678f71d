//! Firmware for QEMU's Arm MPS2 AN505 (Cortex-M33, 20 MHz), in the secure state it starts in.
#![no_std]
#![no_main]

use board_support::uart::cmsdk::Cmsdk;
use board_support::{Board, Memory, entry, run};

/// The board.
struct An505;

// SAFETY: UART and line are those of QEMU's model of the board; memory.x has the symbols.
unsafe impl Board for An505 {
    type Uart = Cmsdk<Self>;
    const UART: u32 = 0x5020_0000;
    const UART_LINE: u16 = 32;
}

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();
    run::<An505>(MEMORY)
}
