//! Timer 0 as a free-running counter.
//!
//! Under `-icount shift=6` one instruction takes 64 ns of virtual time and a tick 40 ns: 1.6 ticks per
//! instruction, and a reading is exact to one tick. Without icount ticks follow the host's clock.

use crate::registers::{TIMER_CONTROL, TIMER_RELOAD, TIMER_VALUE};

/// The running timer.
pub struct Timer(());

impl Timer {
    /// Starts the timer from its greatest value.
    pub fn start() -> Self {
        TIMER_CONTROL.write(0);
        TIMER_RELOAD.write(u32::MAX);
        TIMER_VALUE.write(u32::MAX);
        TIMER_CONTROL.write(1);
        Self(())
    }

    /// Ticks since the start, modulo 2^32.
    pub fn ticks(&self) -> u32 {
        !TIMER_VALUE.read()
    }
}
