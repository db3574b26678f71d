//! The CMSDK APB UART of Arm's MPS2 and MPS3 boards.

use core::marker::PhantomData;

use crate::Board;
use crate::registers::Register;
use crate::uart::{Port, register};

/// The UART of a board.
pub struct Cmsdk<B>(PhantomData<B>);

const RECEIVED: u32 = 1 << 1;
const TRANSMITTER_FULL: u32 = 1 << 0;

impl<B: Board> Cmsdk<B> {
    const DATA: Register = register::<B>(0x00);
    /// Bit 0 transmitter full, bit 1 receiver full.
    const STATE: Register = register::<B>(0x04);
    /// Bit 0 transmit, bit 1 receive, bit 3 receive interrupt.
    const CONTROL: Register = register::<B>(0x08);
    /// Cleared by writing ones; bit 1 receive.
    const INTERRUPT: Register = register::<B>(0x0C);
    /// Baud rate divider, at least 16.
    const DIVIDER: Register = register::<B>(0x10);
}

impl<B: Board> Port for Cmsdk<B> {
    const LINE: u16 = B::UART_LINE;

    fn start() {
        Self::DIVIDER.write(16);
        Self::CONTROL.write(0b1011);
        // QEMU looks at a receiver that was off only after somebody read its data register. No byte is
        // lost: the host waits for the mark that the message loop sends.
        let _ = Self::DATA.read();
    }

    fn acknowledge() {
        Self::INTERRUPT.write(RECEIVED);
    }

    fn take() -> Option<u8> {
        if Self::STATE.read() & RECEIVED == 0 {
            return None;
        }
        let [byte, ..] = Self::DATA.read().to_le_bytes();
        Some(byte)
    }

    fn put(byte: u8) {
        while Self::STATE.read() & TRANSMITTER_FULL != 0 {}
        Self::DATA.write(byte.into());
    }
}
