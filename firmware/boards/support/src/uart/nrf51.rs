//! The UART of the nRF51 (reference manual 3.0, 29.10).

use core::marker::PhantomData;

use crate::Board;
use crate::registers::Register;
use crate::uart::{Port, register};

/// The UART of a board.
pub struct Nrf51<B>(PhantomData<B>);

impl<B: Board> Nrf51<B> {
    const START_RECEIVE: Register = register::<B>(0x000);
    const START_TRANSMIT: Register = register::<B>(0x008);
    const RECEIVED: Register = register::<B>(0x108);
    const SENT: Register = register::<B>(0x11C);
    const ENABLE_INTERRUPTS: Register = register::<B>(0x304);
    const ENABLE: Register = register::<B>(0x500);
    const RECEIVE_DATA: Register = register::<B>(0x518);
    const TRANSMIT_DATA: Register = register::<B>(0x51C);
}

impl<B: Board> Port for Nrf51<B> {
    const LINE: u16 = B::UART_LINE;

    fn start() {
        Self::ENABLE.write(4);
        Self::START_RECEIVE.write(1);
        Self::START_TRANSMIT.write(1);
        // A received byte.
        Self::ENABLE_INTERRUPTS.write(1 << 2);
    }

    /// The event is cleared when its byte is taken: the UART holds further bytes back until then.
    fn acknowledge() {}

    fn take() -> Option<u8> {
        if Self::RECEIVED.read() == 0 {
            return None;
        }
        Self::RECEIVED.write(0);
        let [byte, ..] = Self::RECEIVE_DATA.read().to_le_bytes();
        Some(byte)
    }

    fn put(byte: u8) {
        Self::SENT.write(0);
        Self::TRANSMIT_DATA.write(byte.into());
        while Self::SENT.read() == 0 {}
    }
}
