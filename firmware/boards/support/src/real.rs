//! A real board: link, watchdog and cycle counter around the HAL the board's crate has set up.
//!
//! What is here runs on no machine of the project: the boards are built in CI, not run.

use firmware::{Fault, Instruments, Link, LinkClosed, Memory};
#[cfg(not(feature = "slots"))]
use firmware::{
    boot_on,
    serve::{Session, converse},
};

use crate::counter::Cycles;
#[cfg(not(feature = "slots"))]
use crate::{TARGET_CLASS, budget, slot};
use crate::{exceptions, stack};

/// What a board's crate wires up with its HAL.
pub trait Hardware {
    /// A byte that has arrived, `None` if none has. Bytes with errors are dropped: the frame's CRC shows it.
    fn receive(&mut self) -> Option<u8>;

    /// Sends all bytes.
    fn send(&mut self, bytes: &[u8]);

    /// Gives the watchdog its next period. Called while the board waits for its host and never
    /// within a control step: a step that hangs ends in a reset.
    fn feed_watchdog(&mut self);

    /// Whether the watchdog caused the last reset; asked once.
    fn reset_by_watchdog(&mut self) -> bool;
}

/// Period of the watchdog in microseconds: longer than the boot of the longest policy that a slot holds, and than a sector takes to be erased while the core
/// stands still. CRC-32, checks and 64 golden vectors take below 200 cycles a byte, a signature below 200 more and 5 million for
/// its equation (docs/benchmarks.md): at 64 MHz below 1.7 s and 3.4 s for 512 KiB. 128 KiB of the STM32F405 take 4 s at most to be erased byte by byte, as its
/// driver does (datasheet, flash memory programming), and its watchdog's oscillator of 32 kHz may run at 47: 8 s are 5.4 then.
pub const WATCHDOG_US: u32 = if cfg!(any(feature = "signed", feature = "slots")) {
    8_000_000
} else {
    4_000_000
};

/// Boots the policy in the slot and serves the host for ever. After a reset by the watchdog the fallback law acts, with that fault, until the
/// host begins an episode. (No fault record is kept: the host sees every fault as it comes.)
///
/// `last_words` sends bytes without interrupts, for the exception handlers. Call it once, with the watchdog
/// running with [`WATCHDOG_US`]: a boot that hangs ends in a reset too.
#[cfg(not(feature = "slots"))]
pub fn serve_on<H: Hardware>(hardware: H, last_words: fn(&[u8]), memory: &mut Memory) -> ! {
    let mut device = Device::start(hardware, last_words);
    let fault = device.reset_fault();
    let controller = boot_on(
        &budget::offer(),
        slot::stored(),
        TARGET_CLASS,
        &mut memory.scratch,
    );
    let session = Session::new(&mut device, &controller, TARGET_CLASS);
    let mut session = session.after_reset(fault);
    loop {
        // A host that said goodbye may come back, to the device as it left it.
        let _: Result<(), LinkClosed> = converse(&mut device, &mut session, memory);
    }
}

/// As [`serve_on`], with two slots in `flash`, whose first byte the core sees at `address`: arms the policy that the records
/// decide on, takes installations over the link, confirms a policy on trial after its good periods, and reverts it with a reset
/// otherwise. `feed` feeds the watchdog.
#[cfg(feature = "slots")]
pub fn serve_slots_on<H: Hardware, F: embedded_storage::nor_flash::NorFlash>(
    hardware: H,
    last_words: fn(&[u8]),
    memory: &mut Memory,
    flash: F,
    address: u32,
    feed: fn(),
) -> ! {
    let mut device = Device::start(hardware, last_words);
    let fault = device.reset_fault();
    let flash = crate::window::Window::new(flash, address, feed);
    let rule = firmware::slots::TrialRule::default();
    crate::in_place::serve(&mut device, flash, rule, fault, false, memory);
    // A link that is never closed does not come here.
    cortex_m::peripheral::SCB::sys_reset()
}

struct Device<H> {
    hardware: H,
    cycles: Cycles,
}

impl<H: Hardware> Device<H> {
    fn start(hardware: H, last_words: fn(&[u8])) -> Self {
        stack::guard();
        exceptions::report_to(exceptions::Reporter::Port(last_words));
        Self {
            hardware,
            cycles: Cycles::start(),
        }
    }

    fn reset_fault(&mut self) -> Option<Fault> {
        let by_watchdog = self.hardware.reset_by_watchdog();
        by_watchdog.then_some(Fault::WATCHDOG_RESET)
    }
}

impl<H: Hardware> Link for Device<H> {
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, LinkClosed> {
        let first = buffer.first_mut().ok_or(LinkClosed)?;
        loop {
            self.hardware.feed_watchdog();
            if let Some(byte) = self.hardware.receive() {
                *first = byte;
                return Ok(1);
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), LinkClosed> {
        self.hardware.send(bytes);
        Ok(())
    }
}

impl<H> Instruments for Device<H> {
    fn ticks(&mut self) -> u32 {
        self.cycles.ticks()
    }

    fn stack_bytes(&mut self) -> u32 {
        stack::high_water()
    }

    fn restart(&mut self) {
        cortex_m::peripheral::SCB::sys_reset();
    }
}
