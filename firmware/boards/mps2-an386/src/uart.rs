//! UART 0 with one byte of buffer each way; the core sleeps while it waits.
#![expect(unsafe_code, reason = "unmasking an interrupt line is unsafe")]

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use firmware::LinkClosed;

use crate::registers::{UART_CONTROL, UART_DATA, UART_DIVIDER, UART_INTERRUPT, UART_STATE};

const RECEIVED: u32 = 1 << 1;
const TRANSMITTER_FULL: u32 = 1 << 0;

#[derive(Clone, Copy)]
struct ReceiveLine;

// SAFETY: interrupt line 0 of mps2-an386 is UART 0 receive, below the number of lines of the core.
unsafe impl InterruptNumber for ReceiveLine {
    fn number(self) -> u16 {
        0
    }
}

/// The running UART.
pub struct Uart(());

impl Uart {
    /// Switches transmitter, receiver and the receive line on.
    pub fn start() -> Self {
        UART_DIVIDER.write(16);
        UART_CONTROL.write(0b1011);
        // QEMU looks at a receiver that was off only after somebody read its data register. No byte is
        // lost: the host waits for the mark that the message loop sends.
        let _ = UART_DATA.read();
        // Masked, a pending line still ends WFI, but no handler runs.
        cortex_m::interrupt::disable();
        // SAFETY: interrupts are disabled for good one line above, so no critical section is broken
        // and no handler is entered.
        unsafe { NVIC::unmask(ReceiveLine) };
        Self(())
    }

    /// Waits for one byte, sleeping.
    ///
    /// # Errors
    /// Never: a UART cannot see that its host is gone.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, LinkClosed> {
        let Some(first) = buffer.first_mut() else {
            return Err(LinkClosed);
        };
        loop {
            // Cleared before the look: a byte that comes in between pends the line again.
            UART_INTERRUPT.write(RECEIVED);
            NVIC::unpend(ReceiveLine);
            if UART_STATE.read() & RECEIVED != 0 {
                let [byte, ..] = UART_DATA.read().to_le_bytes();
                *first = byte;
                return Ok(1);
            }
            cortex_m::asm::wfi();
        }
    }

    /// Sends all bytes, polling.
    pub fn send(&mut self, bytes: &[u8]) {
        send(bytes);
    }
}

/// Sends all bytes through UART 0, polling; for the exception handlers, which own no [`Uart`].
pub fn send(bytes: &[u8]) {
    for &byte in bytes {
        while UART_STATE.read() & TRANSMITTER_FULL != 0 {}
        UART_DATA.write(byte.into());
    }
}
