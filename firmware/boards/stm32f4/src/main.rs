//! Firmware for STM32F405 and STM32F407 boards: 8 MHz crystal, 168 MHz core, USART2 on PA2 (TX) and PA3 (RX)
//! at 115200 baud, independent watchdog. Built in CI; it was never run.
#![no_std]
#![no_main]

use board_support::real::{Hardware, WATCHDOG_US};
use board_support::{Memory, entry};
use embassy_stm32::mode::Blocking;
use embassy_stm32::pac::{RCC, USART2};
use embassy_stm32::peripherals::IWDG;
use embassy_stm32::time::Hertz;
use embassy_stm32::usart::{Config as UartConfig, Uart};
use embassy_stm32::wdg::IndependentWatchdog;
use embassy_stm32::{Config, rcc};
use embedded_hal_nb::serial::Read;

struct Stm32F4 {
    uart: Uart<'static, Blocking>,
    watchdog: IndependentWatchdog<'static, IWDG>,
    by_watchdog: bool,
}

impl Hardware for Stm32F4 {
    fn receive(&mut self) -> Option<u8> {
        self.uart.read().ok()
    }

    fn send(&mut self, bytes: &[u8]) {
        // The driver only fails on a configuration it would not have accepted.
        let _ = self.uart.blocking_write(bytes);
    }

    fn feed_watchdog(&mut self) {
        self.watchdog.pet();
    }

    fn reset_by_watchdog(&mut self) -> bool {
        self.by_watchdog
    }
}

/// 8 MHz / 4 * 168 / 2 = 168 MHz.
fn clocks() -> Config {
    let mut config = Config::default();
    config.rcc.hse = Some(rcc::Hse {
        freq: Hertz(8_000_000),
        mode: rcc::HseMode::Oscillator,
    });
    config.rcc.pll_src = rcc::PllSource::HSE;
    config.rcc.pll = Some(rcc::Pll {
        prediv: rcc::PllPreDiv::DIV4,
        mul: rcc::PllMul::MUL168,
        divp: Some(rcc::PllPDiv::DIV2),
        divq: Some(rcc::PllQDiv::DIV7),
        divr: None,
    });
    config.rcc.ahb_pre = rcc::AHBPrescaler::DIV1;
    config.rcc.apb1_pre = rcc::APBPrescaler::DIV4;
    config.rcc.apb2_pre = rcc::APBPrescaler::DIV2;
    config.rcc.sys = rcc::Sysclk::PLL1_P;
    config
}

fn last_words(bytes: &[u8]) {
    for &byte in bytes {
        while !USART2.sr().read().txe() {}
        USART2.dr().write(|word| word.set_dr(byte.into()));
    }
    while !USART2.sr().read().tc() {}
}

/// Feeds the watchdog from where its driver is not at hand.
#[cfg(feature = "slots")]
fn feed() {
    use embassy_stm32::pac::iwdg::vals::Key;
    embassy_stm32::pac::IWDG
        .kr()
        .write(|word| word.set_key(Key::RESET));
}

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();

    let by_watchdog = RCC.csr().read().wdgrstf();
    // The flags of all causes add up until they are cleared.
    RCC.csr().modify(|flags| flags.set_rmvf(true));
    let peripherals = embassy_stm32::init(clocks());
    let mut watchdog = IndependentWatchdog::new(peripherals.IWDG, WATCHDOG_US);
    watchdog.unleash();
    let Ok(uart) = Uart::new_blocking(
        peripherals.USART2,
        peripherals.PA3,
        peripherals.PA2,
        UartConfig::default(),
    ) else {
        // The watchdog ends it; the default configuration is accepted at these clocks.
        loop {}
    };
    let board = Stm32F4 {
        uart,
        watchdog,
        by_watchdog,
    };
    #[cfg(feature = "slots")]
    {
        use embassy_stm32::flash::Flash;
        let flash = Flash::new_blocking(peripherals.FLASH);
        board_support::real::serve_slots_on(board, last_words, MEMORY, flash, 0x0800_0000, feed)
    }
    #[cfg(not(feature = "slots"))]
    board_support::real::serve_on(board, last_words, MEMORY)
}
