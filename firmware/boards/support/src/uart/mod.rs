//! UARTs with a byte of buffer each way; the core sleeps while it waits.
#![cfg(feature = "qemu")]
#![expect(
    unsafe_code,
    reason = "registers are reached through their addresses, and unmasking a line is unsafe"
)]

use core::marker::PhantomData;

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use firmware::LinkClosed;

use crate::Board;
use crate::registers::Register;

pub mod cmsdk;
pub mod nrf51;
pub mod stm32;

/// The register at an offset, a multiple of 4, from the board's UART; each driver names those of its kind.
///
/// A driver must not name one that moves memory by itself: no UART without DMA has such.
pub const fn register<B: Board>(offset: u32) -> Register {
    // SAFETY: by the contract of `Board`, `UART` is the address of a UART of the driver's kind, and none of the
    // driver's registers moves memory by itself.
    unsafe { Register::at(B::UART + offset) }
}

/// What a kind of UART differs in.
pub trait Port {
    /// Interrupt line of a received byte.
    const LINE: u16;

    /// Switches transmitter, receiver and the cause of the receive line on.
    fn start();

    /// Takes the cause of the line back; a byte that comes afterwards pends it again.
    fn acknowledge();

    /// The received byte, if there is one.
    fn take() -> Option<u8>;

    /// Sends a byte, polling.
    fn put(byte: u8);
}

/// The line of a port.
struct Line<P>(PhantomData<P>);

impl<P> Clone for Line<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Line<P> {}

// SAFETY: by the contract of `Board` the line is below the number of lines of the core.
unsafe impl<P: Port> InterruptNumber for Line<P> {
    fn number(self) -> u16 {
        P::LINE
    }
}

/// A running UART.
pub struct Uart<P>(PhantomData<P>);

impl<P: Port> Uart<P> {
    /// Switches it on. Interrupts are masked from here on.
    pub fn start() -> Self {
        P::start();
        // Masked, a pending line still ends WFI, but no handler runs.
        cortex_m::interrupt::disable();
        // SAFETY: interrupts are disabled for good one line above, so no critical section is broken
        // and no handler is entered.
        unsafe { NVIC::unmask(Line::<P>(PhantomData)) };
        Self(PhantomData)
    }

    /// Waits for one byte, sleeping.
    ///
    /// # Errors
    /// [`LinkClosed`] if `buffer` is empty; a UART cannot see that its host is gone.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, LinkClosed> {
        let Some(first) = buffer.first_mut() else {
            return Err(LinkClosed);
        };
        loop {
            // Cleared before the look: a byte that comes in between pends the line again.
            P::acknowledge();
            NVIC::unpend(Line::<P>(PhantomData));
            if let Some(byte) = P::take() {
                *first = byte;
                return Ok(1);
            }
            cortex_m::asm::wfi();
        }
    }
}

#[cfg(feature = "own-loop")]
impl<P: Port> Uart<P> {
    /// Enables interrupts, the receive line aside: from now on only [`Uart::poll`] looks for bytes.
    pub fn release(&mut self) {
        NVIC::mask(Line::<P>(PhantomData));
        // SAFETY: the receive line is masked, and every other interrupt that is enabled has its handler.
        unsafe { cortex_m::interrupt::enable() };
    }

    /// Takes a byte; if there is none, lets some time pass. It does not sleep: QEMU lets virtual time run on beyond a timer's
    /// end before a sleeping core wakes, and periods would be missed that no part would miss.
    pub fn poll(&mut self) -> Option<u8> {
        P::acknowledge();
        let byte = P::take();
        if byte.is_none() {
            cortex_m::asm::delay(PAUSE);
        }
        byte
    }
}

/// Clocks between two looks for a byte, so that the emulator has time for others.
#[cfg(feature = "own-loop")]
const PAUSE: u32 = 2000;

/// Sends all bytes, polling; also for the exception handlers, which own no [`Uart`].
pub fn send<P: Port>(bytes: &[u8]) {
    for &byte in bytes {
        P::put(byte);
    }
}
