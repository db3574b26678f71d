//! Firmware for RP2350 boards (Pico 2): 12 MHz crystal, 150 MHz core, UART0 on GPIO 0 (TX) and 1 (RX) at
//! 115200 baud, watchdog. Built in CI; it was never run.
#![no_std]
#![no_main]

use board_support::real::{Hardware, WATCHDOG_US};
use board_support::{Memory, entry};
use embassy_rp::clocks::ClockConfig;
use embassy_rp::config::Config;
use embassy_rp::pac::UART0;
use embassy_rp::uart::{Blocking, Config as UartConfig, Uart, UartRx, UartTx};
use embassy_rp::watchdog::{ResetReason, Watchdog};
use embassy_time::Duration;
use embedded_hal_nb::serial::Read;

/// The watchdog's period.
const WATCHDOG: Duration = Duration::from_micros(WATCHDOG_US as u64);
/// In the watchdog's fifth scratch word, which lives through its reset: this firmware started it. The value is the one that Raspberry Pi's SDK uses for the same.
const STARTED: u32 = 0x6ab7_3121;
/// Bytes of the board's flash.
#[cfg(feature = "slots")]
const FLASH_SIZE: usize = 4 << 20;

struct Rp2350 {
    receiver: UartRx<'static, Blocking>,
    transmitter: UartTx<'static, Blocking>,
    watchdog: Watchdog,
    by_watchdog: bool,
}

impl Hardware for Rp2350 {
    fn receive(&mut self) -> Option<u8> {
        self.receiver.read().ok()
    }

    fn send(&mut self, bytes: &[u8]) {
        // A blocking write waits for room and has no other way to fail.
        let _ = self.transmitter.blocking_write(bytes);
    }

    fn feed_watchdog(&mut self) {
        self.watchdog.feed(WATCHDOG);
    }

    fn reset_by_watchdog(&mut self) -> bool {
        self.by_watchdog
    }
}

fn last_words(bytes: &[u8]) {
    for &byte in bytes {
        while UART0.uartfr().read().txff() {}
        UART0.uartdr().write(|word| word.set_data(byte));
    }
    while UART0.uartfr().read().busy() {}
}

/// Feeds the watchdog from where its driver is not at hand.
#[cfg(feature = "slots")]
fn feed() {
    use embassy_rp::pac::watchdog::regs::Load;
    embassy_rp::pac::WATCHDOG
        .load()
        .write_value(Load(WATCHDOG.as_micros() as u32));
}

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();

    let peripherals = embassy_rp::init(Config::new(ClockConfig::crystal(12_000_000)));
    let mut watchdog = Watchdog::new(peripherals.WATCHDOG);
    // The boot ROM reboots by the watchdog too, after an image was dragged on: only what this firmware started is its own.
    let by_watchdog = watchdog.reset_reason() == Some(ResetReason::TimedOut)
        && watchdog.get_scratch(4) == STARTED;
    watchdog.set_scratch(4, STARTED);
    watchdog.start(WATCHDOG);
    let (transmitter, receiver) = Uart::new_blocking(
        peripherals.UART0,
        peripherals.PIN_0,
        peripherals.PIN_1,
        UartConfig::default(),
    )
    .split();
    let board = Rp2350 {
        receiver,
        transmitter,
        watchdog,
        by_watchdog,
    };
    #[cfg(feature = "slots")]
    {
        use embassy_rp::flash::{Blocking as Wait, Flash};
        let flash = Flash::<_, Wait, FLASH_SIZE>::new_blocking(peripherals.FLASH);
        board_support::real::serve_slots_on(board, last_words, MEMORY, flash, 0x1000_0000, feed)
    }
    #[cfg(not(feature = "slots"))]
    board_support::real::serve_on(board, last_words, MEMORY)
}
