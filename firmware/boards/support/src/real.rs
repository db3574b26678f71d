//! A real board: link, watchdog and cycle counter around the HAL the board's crate has set up.
//!
//! What is here runs on no machine of the project: the boards are built in CI, not run.

use firmware::{Instruments, Link, LinkClosed, Memory, boot_on, serve};

use crate::counter::Cycles;
use crate::{TARGET_CLASS, budget, exceptions, slot, stack};

/// What a board's crate wires up with its HAL.
pub trait Hardware {
    /// A byte that has arrived, `None` if none has. Bytes with errors are dropped: the frame's CRC shows it.
    fn receive(&mut self) -> Option<u8>;

    /// Sends all bytes.
    fn send(&mut self, bytes: &[u8]);

    /// Gives the watchdog its next period. Called while the board waits for its host and never
    /// within a control step: a step that hangs ends in a reset.
    fn feed_watchdog(&mut self);
}

/// Boots the policy in the slot and serves the host for ever.
///
/// `last_words` sends bytes without interrupts, for the exception handlers. Call it once, with the watchdog
/// running: a boot that hangs ends in a reset too.
pub fn serve_on<H: Hardware>(hardware: H, last_words: fn(&[u8]), memory: &mut Memory) -> ! {
    stack::guard();
    exceptions::report_to(exceptions::Reporter::Port(last_words));
    let mut device = Device {
        hardware,
        cycles: Cycles::start(),
    };
    let controller = boot_on(
        &budget::offer(),
        slot::stored(),
        TARGET_CLASS,
        &mut memory.scratch,
    );
    loop {
        // A host that said goodbye may come back.
        serve(&mut device, &controller, TARGET_CLASS, memory);
    }
}

/// As [`serve_on`], with two slots in `flash`, whose first byte the core sees at `address`: arms the policy that the records
/// decide on, takes installations over the link, confirms a policy on trial after its good periods, and reverts it with a reset
/// otherwise. `feed` feeds the watchdog, which has to wait longer than a sector takes to be erased.
#[cfg(feature = "slots")]
pub fn serve_slots_on<H: Hardware, F: embedded_storage::nor_flash::NorFlash>(
    hardware: H,
    last_words: fn(&[u8]),
    memory: &mut Memory,
    flash: F,
    address: u32,
    feed: fn(),
) -> ! {
    stack::guard();
    exceptions::report_to(exceptions::Reporter::Port(last_words));
    let mut device = Device {
        hardware,
        cycles: Cycles::start(),
    };
    let flash = crate::window::Window::new(flash, address, feed);
    let rule = firmware::slots::TrialRule::default();
    crate::in_place::serve(&mut device, flash, rule, false, memory);
    // A link that is never closed does not come here.
    cortex_m::peripheral::SCB::sys_reset()
}

struct Device<H> {
    hardware: H,
    cycles: Cycles,
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
