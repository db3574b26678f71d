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
        on_period: None,
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
/// decide on, confirms one on trial after its good periods, and reverts it with a reset otherwise.
#[cfg(feature = "slots")]
pub fn serve_slots_on<H: Hardware, F: embedded_storage::nor_flash::NorFlash>(
    hardware: H,
    last_words: fn(&[u8]),
    memory: &mut Memory,
    flash: F,
    address: u32,
) -> ! {
    use firmware::slots::{Slots, Trial, TrialRule, policy_in};

    stack::guard();
    exceptions::report_to(exceptions::Reporter::Port(last_words));
    let mut slots = Slots::new(crate::window::Window::new(flash, address));
    let mut device = Device {
        hardware,
        cycles: Cycles::start(),
        on_period: None,
    };
    let started = match &mut slots {
        Ok(slots) => slots.start(|_, region| {
            let file = policy_in(slot::piece(region.offset, region.length))?;
            let armed = boot_on(&budget::offer(), file, TARGET_CLASS, &mut memory.scratch)?;
            Ok((armed, firmware::signature::security_counter(file)?))
        }),
        Err(fault) => Err(*fault),
    };
    let on_trial = started.as_ref().is_ok_and(|started| started.on_trial);
    let controller = started.map(|started| started.armed);
    let mut trial = on_trial.then(|| Trial::new(TrialRule::default()));
    let mut on_period = |fault| {
        if let (Some(running), Ok(slots)) = (&mut trial, &mut slots)
            && judge(slots, running.observe(fault))
        {
            trial = None;
        }
    };
    device.on_period = Some(&mut on_period);
    loop {
        serve(&mut device, &controller, TARGET_CLASS, memory);
    }
}

/// Acts on a verdict; whether the trial is over.
#[cfg(feature = "slots")]
fn judge<F: firmware::slots::SlotFlash>(
    slots: &mut firmware::slots::Slots<F>,
    verdict: firmware::slots::Verdict,
) -> bool {
    use firmware::slots::Verdict;
    match verdict {
        Verdict::Continue => false,
        // If the record fails, the next start reverts.
        Verdict::Confirm => {
            let _ = slots.confirm();
            true
        }
        Verdict::Revert(fault) => {
            let _ = slots.revert(fault);
            cortex_m::peripheral::SCB::sys_reset()
        }
    }
}

struct Device<'d, H> {
    hardware: H,
    cycles: Cycles,
    /// Called with the fault of each period.
    on_period: Option<&'d mut dyn FnMut(Option<firmware::Fault>)>,
}

impl<H: Hardware> Link for Device<'_, H> {
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

impl<H> Instruments for Device<'_, H> {
    fn period(&mut self, fault: Option<firmware::Fault>) {
        if let Some(on_period) = &mut self.on_period {
            on_period(fault);
        }
    }

    fn ticks(&mut self) -> u32 {
        self.cycles.ticks()
    }

    fn stack_bytes(&mut self) -> u32 {
        stack::high_water()
    }
}
