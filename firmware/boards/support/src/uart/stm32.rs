//! The USART of the STM32F4 (reference manual RM0090, 30.6).

use core::marker::PhantomData;

use crate::Board;
use crate::registers::Register;
use crate::uart::{Port, register};

/// The USART of a board.
pub struct Stm32<B>(PhantomData<B>);

const RECEIVED: u32 = 1 << 5;
const TRANSMITTER_EMPTY: u32 = 1 << 7;

impl<B: Board> Stm32<B> {
    const STATE: Register = register::<B>(0x00);
    const DATA: Register = register::<B>(0x04);
    const BAUD: Register = register::<B>(0x08);
    /// Bit 2 receive, bit 3 transmit, bit 5 receive interrupt, bit 13 on.
    const CONTROL: Register = register::<B>(0x0C);
}

impl<B: Board> Port for Stm32<B> {
    const LINE: u16 = B::UART_LINE;

    fn start() {
        // Any rate: the emulator does not look.
        Self::BAUD.write(0x0683);
        Self::CONTROL.write(1 << 13 | 1 << 5 | 1 << 3 | 1 << 2);
    }

    /// Reading the byte does it.
    fn acknowledge() {}

    fn take() -> Option<u8> {
        if Self::STATE.read() & RECEIVED == 0 {
            return None;
        }
        let [byte, ..] = Self::DATA.read().to_le_bytes();
        Some(byte)
    }

    fn put(byte: u8) {
        while Self::STATE.read() & TRANSMITTER_EMPTY == 0 {}
        Self::DATA.write(byte.into());
    }
}
