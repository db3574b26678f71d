//! What a board offers a policy, and the boot that refuses one that needs more.

use policy_format::{CoreClass, Policy};

#[cfg(doc)]
use crate::boot::boot;
use crate::boot::{Armed, SCRATCH_LEN, boot_in};
use crate::controller::Controller;
use crate::fault::Fault;
use crate::signature::Trust;

/// What a board has for the control step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Class of the board's core.
    pub core: CoreClass,
    /// Instructions that a control step may take.
    pub instructions: u32,
    /// Bytes of the stack.
    pub stack_bytes: u32,
}

impl Offer {
    /// Whether `policy` can do with this offer. A policy without a budget can.
    ///
    /// # Errors
    /// [`Fault::BUDGET_CORE`], [`Fault::BUDGET_INSTRUCTIONS`] or [`Fault::BUDGET_STACK`].
    pub fn admits(&self, policy: &Policy<'_>) -> Result<(), Fault> {
        let Some(budget) = policy.budget() else {
            return Ok(());
        };
        let need = budget.need(self.core).ok_or(Fault::BUDGET_CORE)?;
        if need.instructions > self.instructions {
            return Err(Fault::BUDGET_INSTRUCTIONS);
        }
        if need.stack_bytes > self.stack_bytes {
            return Err(Fault::BUDGET_STACK);
        }
        Ok(())
    }
}

impl Offer {
    /// As [`boot_on`], where the result is to be: for a small stack, where it takes 1.4 KiB less.
    #[inline(never)]
    pub fn boot_in<'p>(
        &self,
        place: &mut Controller<'p>,
        slot: &'p [u8],
        target_class: u32,
        scratch: &mut [f32; SCRATCH_LEN],
    ) {
        boot_in(place, &Trust::BUILT, slot, target_class, scratch);
        if let Ok(armed) = place
            && let Err(fault) = self.admits(armed.policy())
        {
            *place = Err(fault);
        }
    }
}

/// As [`boot()`], on a board that offers `offer`; the budget is compared last. Never panics.
///
/// # Errors
/// As [`boot()`], and as [`Offer::admits`].
pub fn boot_on<'p>(
    offer: &Offer,
    slot: &'p [u8],
    target_class: u32,
    scratch: &mut [f32; SCRATCH_LEN],
) -> Result<Armed<'p>, Fault> {
    let mut booted = Err(Fault::EMPTY_SLOT);
    offer.boot_in(&mut booted, slot, target_class, scratch);
    booted
}
