//! Firmware for QEMU's Arm MPS2 AN386 (Cortex-M4F, 25 MHz).
#![no_std]
#![no_main]

use board_support::uart::cmsdk::Cmsdk;
use board_support::{Board, Memory, entry};

/// The board.
struct An386;

// SAFETY: UART and line are those of QEMU's model of the board; memory.x has the symbols.
unsafe impl Board for An386 {
    type Uart = Cmsdk<Self>;
    const UART: u32 = 0x4000_4000;
    const UART_LINE: u16 = 0;
}

// SAFETY: QEMU's model of the board has a CMSDK timer at 25 MHz there, and 16 MiB of RAM that memory.x does not name.
#[cfg(feature = "slots")]
unsafe impl board_support::own_loop::Rig for An386 {
    const TIMER: u32 = 0x4000_0000;
    const MHZ: u32 = 25;
    const SPARE: u32 = 0x2100_0000;
}

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();
    #[cfg(feature = "slots")]
    board_support::own_loop::run::<An386>(MEMORY);
    #[cfg(not(feature = "slots"))]
    board_support::run::<An386>(MEMORY)
}
