//! Firmware for nRF52840 boards: 32 MHz crystal, 64 MHz core, UARTE0 on P0.06 (TX) and P0.08 (RX) at 115200
//! baud, watchdog. Built in CI; it was never run.
#![no_std]
#![no_main]

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use board_support::real::{Hardware, WATCHDOG_US};
use board_support::{Memory, entry};
use embassy_nrf::buffered_uarte::{self, BufferedUarte};
use embassy_nrf::config::{Config, HfclkSource};
use embassy_nrf::pac::{POWER, UARTE0 as REGISTERS};
use embassy_nrf::wdt::{self, Watchdog, WatchdogHandle};
use embassy_nrf::{bind_interrupts, peripherals, uarte};

bind_interrupts!(struct Interrupts {
    UARTE0 => buffered_uarte::InterruptHandler<peripherals::UARTE0>;
});

/// The watchdog's period in ticks of 32768 Hz.
const WATCHDOG_TICKS: u32 = (WATCHDOG_US as u64 * 32_768 / 1_000_000) as u32;

struct Nrf52840 {
    uart: BufferedUarte<'static>,
    watchdog: WatchdogHandle,
    by_watchdog: bool,
}

impl Hardware for Nrf52840 {
    fn receive(&mut self) -> Option<u8> {
        let mut byte = [0];
        match now(self.uart.read(&mut byte)) {
            Some(Ok(1)) => Some(byte[0]),
            _ => None,
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.uart.try_write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                // Full: the interrupt empties it.
                Err(_) => self.watchdog.pet(),
            }
        }
    }

    fn feed_watchdog(&mut self) {
        self.watchdog.pet();
    }

    fn reset_by_watchdog(&mut self) -> bool {
        self.by_watchdog
    }
}

/// What a future gives at once, if it does.
fn now<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// The DMA reads RAM only; the frames of a fault lie on the stack.
fn last_words(bytes: &[u8]) {
    REGISTERS.intenclr().write(|all| all.0 = u32::MAX);
    REGISTERS.events_dma().tx().end().write_value(0);
    REGISTERS
        .dma()
        .tx()
        .ptr()
        .write_value(bytes.as_ptr() as u32);
    REGISTERS
        .dma()
        .tx()
        .maxcnt()
        .write(|count| count.set_maxcnt(bytes.len() as u16));
    REGISTERS.tasks_dma().tx().start().write_value(1);
    while REGISTERS.events_dma().tx().end().read() == 0 {}
}

/// Feeds the watchdog from where its driver is not at hand.
#[cfg(feature = "slots")]
fn feed() {
    use embassy_nrf::pac::wdt::vals::Rr;
    embassy_nrf::pac::WDT
        .rr(0)
        .write(|word| word.set_rr(Rr::Reload));
}

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();
    static mut RECEIVED: [u8; 512] = [0; 512];
    static mut TO_SEND: [u8; 512] = [0; 512];

    let by_watchdog = POWER.resetreas().read().dog();
    // The reasons add up until they are cleared, each by a one.
    POWER.resetreas().write(|all| all.0 = u32::MAX);
    let mut config = Config::default();
    config.hfclk_source = HfclkSource::ExternalXtal;
    let peripherals = embassy_nrf::init(config);
    let mut period = wdt::Config::default();
    period.timeout_ticks = WATCHDOG_TICKS;
    let Ok((_, [watchdog])) = Watchdog::try_new(peripherals.WDT, period) else {
        // Only a watchdog of another period that survived the reset; it ends this loop.
        loop {}
    };
    let uart = BufferedUarte::new(
        peripherals.UARTE0,
        peripherals.TIMER1,
        peripherals.PPI_CH0,
        peripherals.PPI_CH1,
        peripherals.PPI_GROUP0,
        peripherals.P0_08,
        peripherals.P0_06,
        Interrupts,
        uarte::Config::default(),
        RECEIVED,
        TO_SEND,
    );
    let board = Nrf52840 {
        uart,
        watchdog,
        by_watchdog,
    };
    #[cfg(feature = "slots")]
    {
        let flash = embassy_nrf::nvmc::Nvmc::new(peripherals.NVMC);
        board_support::real::serve_slots_on(board, last_words, MEMORY, flash, 0, feed)
    }
    #[cfg(not(feature = "slots"))]
    board_support::real::serve_on(board, last_words, MEMORY)
}
