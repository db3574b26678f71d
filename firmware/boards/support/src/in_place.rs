//! Two slots in the flash that the core runs from: policies run where they lie.

use firmware::serve::converse;
use firmware::slots::{Region, SlotSession, Slots, TrialRule, policy_in};
use firmware::{Fault, Instruments, Link, LinkClosed, Memory, SCRATCH_LEN};

use crate::window::Window;
use crate::{TARGET_CLASS, budget, slot};

/// Arms the policy that the records decide on, and serves the host: steps, installations, and what becomes of a policy on trial by `rule`.
/// Begins locked with `fault`, if there is one. Comes back when the host said goodbye, if `once`.
pub fn serve<D, F>(
    device: &mut D,
    flash: Window<F>,
    rule: TrialRule,
    fault: Option<Fault>,
    once: bool,
    memory: &mut Memory,
) where
    D: Link + Instruments,
    F: embedded_storage::nor_flash::NorFlash,
{
    let mut slots = Slots::new(flash);
    let scratch = &mut memory.scratch;
    let started = match &mut slots {
        // A check takes as long as a boot, and each is fed for by itself.
        Ok(slots) => slots.start(|flash, region| {
            flash.feed();
            Ok((region, check(region, scratch)?))
        }),
        Err(fault) => Err(*fault),
    };
    let on_trial = started.as_ref().is_ok_and(|started| started.on_trial);
    // Armed where it stays: moved about it would take a small stack several times its size.
    let mut controller = Err(Fault::EMPTY_SLOT);
    if let Ok(slots) = &slots {
        slots.flash().feed();
    }
    match started.and_then(|started| file(started.armed)) {
        Ok(file) => {
            let scratch = &mut memory.scratch;
            budget::offer().boot_in(&mut controller, file, TARGET_CLASS, scratch);
        }
        Err(fault) => controller = Err(fault),
    }
    let rule = on_trial.then_some(rule);
    let mut session = SlotSession::new(
        device,
        &controller,
        slots,
        rule,
        TARGET_CLASS,
        |flash, region, scratch| {
            flash.feed();
            check(region, scratch)
        },
    )
    .after_reset(fault);
    loop {
        let ended: Result<(), LinkClosed> = converse(device, &mut session, memory);
        // A host that said goodbye may come back.
        if once || ended.is_err() {
            return;
        }
    }
}

/// The policy in a slot, as the core sees it.
fn file(region: Region) -> Result<&'static [u8], Fault> {
    policy_in(slot::piece(region.offset, region.length))
}

/// Every check of a boot; the anti-rollback counter.
#[inline(never)]
fn check(region: Region, scratch: &mut [f32; SCRATCH_LEN]) -> Result<u32, Fault> {
    let file = file(region)?;
    let mut booted = Err(Fault::EMPTY_SLOT);
    budget::offer().boot_in(&mut booted, file, TARGET_CLASS, scratch);
    booted?;
    firmware::Trust::BUILT.counter(file)
}
