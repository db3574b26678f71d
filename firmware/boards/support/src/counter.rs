//! Counters that time a control step: on emulated boards SysTick, on real ones the cycle counter.
//!
//! SysTick as a free-running counter: every Cortex-M has one, and QEMU's is exact under `-icount`.
//!
//! It counts 24 bits. They are given as the upper bits of a 32-bit number, so that differences are right
//! modulo 2^32 as [`firmware::Instruments`] asks: 256 to a clock of the core, and the least eight are 0.
//! Under `-icount shift=S` an instruction takes 2^S ns of virtual time, and a reading is exact to one clock.

#[cfg(not(feature = "qemu"))]
use cortex_m::peripheral::DWT;
#[cfg(feature = "qemu")]
use cortex_m::peripheral::{SYST, syst::SystClkSource};

/// The running SysTick.
#[cfg(feature = "qemu")]
pub struct Counter(());

#[cfg(feature = "qemu")]
impl Counter {
    /// Starts the counter from its greatest value.
    ///
    /// Call it once: it takes the core's peripherals.
    pub fn start() -> Self {
        if let Some(core) = cortex_m::Peripherals::take() {
            let mut syst: SYST = core.SYST;
            syst.set_clock_source(SystClkSource::Core);
            syst.set_reload(0x00FF_FFFF);
            syst.clear_current();
            syst.enable_counter();
        }
        Self(())
    }

    /// Ticks since the start, modulo 2^32.
    pub fn ticks(&self) -> u32 {
        !SYST::get_current() << 8
    }
}

/// The running cycle counter of the core (DWT CYCCNT): a tick is one clock. QEMU's stands still.
#[cfg(not(feature = "qemu"))]
pub struct Cycles(());

#[cfg(not(feature = "qemu"))]
impl Cycles {
    /// Starts the counter.
    ///
    /// Call it once: it takes the core's peripherals.
    pub fn start() -> Self {
        if let Some(mut core) = cortex_m::Peripherals::take() {
            core.DCB.enable_trace();
            core.DWT.enable_cycle_counter();
        }
        Self(())
    }

    /// Clocks since the start, modulo 2^32.
    pub fn ticks(&self) -> u32 {
        DWT::cycle_count()
    }
}
