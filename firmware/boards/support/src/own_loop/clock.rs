//! Time: a CMSDK timer that counts down for ever.
#![expect(unsafe_code, reason = "boards vouch for their addresses")]

use core::sync::atomic::{AtomicU32, Ordering};

use super::Rig;
use crate::registers::Register;

/// Address of the timer and its clock in MHz; 0 before the start.
static TIMER: AtomicU32 = AtomicU32::new(0);
static MHZ: AtomicU32 = AtomicU32::new(1);

/// Starts the timer.
pub fn start<B: Rig>() {
    // SAFETY: by the contract of `Rig` these are the timer's registers: control, value, reload.
    let [control, value, reload] =
        unsafe { [0x00, 0x04, 0x08].map(|offset| Register::at(B::TIMER + offset)) };
    reload.write(u32::MAX);
    value.write(u32::MAX);
    control.write(1);
    MHZ.store(B::MHZ, Ordering::Relaxed);
    TIMER.store(B::TIMER, Ordering::Relaxed);
}

/// Ticks since the start, modulo 2^32; 0 before it.
fn ticks() -> u32 {
    match TIMER.load(Ordering::Relaxed) {
        0 => 0,
        // SAFETY: the value register of the timer that `start` was given.
        timer => unsafe { Register::at(timer + 0x04) }.read().wrapping_neg(),
    }
}

/// Lets the core stand still, interrupts and all, as one does that runs from the flash which is being written. Not before the start.
pub fn stall(us: u32) {
    if TIMER.load(Ordering::Relaxed) == 0 {
        return;
    }
    cortex_m::interrupt::free(|_| {
        let start = ticks();
        let length = us.saturating_mul(MHZ.load(Ordering::Relaxed));
        while ticks().wrapping_sub(start) < length {}
    });
}

/// The clock in microseconds. To be read at least every 2 minutes.
pub struct Clock {
    last: u32,
    ticks: u64,
}

impl Clock {
    /// At the start.
    pub const fn new() -> Self {
        Self { last: 0, ticks: 0 }
    }

    /// Microseconds since the start.
    pub fn now_us(&mut self) -> u64 {
        let now = ticks();
        self.ticks += u64::from(now.wrapping_sub(self.last));
        self.last = now;
        // Never 0; the compiler cannot know.
        let mhz = u64::from(MHZ.load(Ordering::Relaxed));
        self.ticks.checked_div(mhz).unwrap_or(0)
    }
}
