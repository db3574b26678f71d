//! Firmware for QEMU's BBC micro:bit (nRF51822, Cortex-M0 at 16 MHz).
#![no_std]
#![no_main]

use board_support::uart::nrf51::Nrf51;
use board_support::{Board, Memory, entry};

/// The board.
struct Microbit;

// SAFETY: UART and line are those of QEMU's model of the board; memory.x has the symbols.
unsafe impl Board for Microbit {
    type Uart = Nrf51<Self>;
    const UART: u32 = 0x4000_2000;
    const UART_LINE: u16 = 2;
}

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();
    #[cfg(not(feature = "slots"))]
    board_support::run::<Microbit>(MEMORY);
    #[cfg(feature = "slots")]
    // SAFETY: QEMU's model of the board is an nRF51822 with 256 KiB of flash.
    unsafe {
        board_support::run_on_nvmc::<Microbit>(256 << 10, MEMORY)
    }
}
