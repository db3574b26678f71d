//! Firmware for QEMU's Netduino Plus 2 (STM32F405, Cortex-M4F at 168 MHz).
#![no_std]
#![no_main]

use board_support::uart::stm32::Stm32;
use board_support::{Board, Memory, entry, run};

/// The board.
struct NetduinoPlus2;

// SAFETY: UART and line are those of QEMU's model of the board; memory.x has the symbols.
unsafe impl Board for NetduinoPlus2 {
    type Uart = Stm32<Self>;
    const UART: u32 = 0x4001_1000;
    const UART_LINE: u16 = 37;
}

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();
    run::<NetduinoPlus2>(MEMORY)
}
