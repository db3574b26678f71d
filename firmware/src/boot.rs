//! From bytes in a slot to a policy that may act.

use core::hint::black_box;

use policy_format::message::{MAX_CONTROL, MAX_STATE};
use policy_format::{Capacity, DecideError, ErrorCode, ModeHistory, Policy};

use crate::Fault;
use crate::kernels::Plan;
use crate::signature::Trust;

/// What this firmware has room for; a policy beyond it is refused.
pub const CAPACITY: Capacity = Capacity {
    state: MAX_STATE,
    control: MAX_CONTROL,
    modes: 256,
    choices: 256,
    logits: 256,
    width: 128,
};

/// Floats of scratch that any policy within [`CAPACITY`] needs.
pub const SCRATCH_LEN: usize = CAPACITY.scratch_len();

/// A policy that passed every check of [`boot`]; there is no other way to make one.
#[derive(Debug)]
pub struct Armed<'p> {
    policy: Policy<'p>,
    plan: Plan<'p>,
}

impl<'p> Armed<'p> {
    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy<'p> {
        &self.policy
    }

    /// Its run-time form.
    #[inline(always)]
    pub(crate) fn plan(&self) -> &Plan<'p> {
        &self.plan
    }
}

/// Checks the policy in `slot` and arms it.
///
/// `slot` is what was loaded, 16-aligned and whole: bytes behind the policy are a fault like missing ones.
/// Weights are read in place for as long as the result lives. Order of the checks: subnormal arithmetic,
/// empty slot, magic, format version, lengths, CRC-32, container, signature ([`Trust::BUILT`]), content against [`CAPACITY`],
/// `target_class`, golden vectors bit for bit. `scratch` is overwritten. Never panics.
///
/// # Errors
/// The [`Fault`] of the first check that fails.
pub fn boot<'p>(
    slot: &'p [u8],
    target_class: u32,
    scratch: &mut [f32; SCRATCH_LEN],
) -> Result<Armed<'p>, Fault> {
    boot_trusting(&Trust::BUILT, slot, target_class, scratch)
}

/// As [`boot()`], with an answer of one's own to who may say what runs. The signature is verified before anything in the
/// sections is read.
///
/// # Errors
/// As [`boot()`], and as [`Trust::check`].
pub fn boot_trusting<'p>(
    trust: &Trust<'_>,
    slot: &'p [u8],
    target_class: u32,
    scratch: &mut [f32; SCRATCH_LEN],
) -> Result<Armed<'p>, Fault> {
    let mut booted = Err(Fault::EMPTY_SLOT);
    boot_in(&mut booted, trust, slot, target_class, scratch);
    booted
}

/// [`boot_trusting`] where its result is to be: a policy with its plan is too large to be moved about on a small stack.
#[inline(never)]
pub(crate) fn boot_in<'p>(
    place: &mut Result<Armed<'p>, Fault>,
    trust: &Trust<'_>,
    slot: &'p [u8],
    target_class: u32,
    scratch: &mut [f32; SCRATCH_LEN],
) {
    if let Err(fault) = look_at(trust, slot) {
        *place = Err(fault);
        return;
    }
    load_in(place, slot);
    if let Ok(armed) = place
        && let Err(fault) = armed.arm(target_class, scratch)
    {
        *place = Err(fault);
    }
}

/// What is checked before anything in the sections is read.
fn look_at(trust: &Trust<'_>, slot: &[u8]) -> Result<(), Fault> {
    if !keeps_subnormals() {
        return Err(Fault::FLUSH_TO_ZERO);
    }
    let header = slot.get(..policy_format::HEADER_LEN).unwrap_or(slot);
    if header.iter().all(|&b| b == 0) || header.iter().all(|&b| b == 0xFF) {
        return Err(Fault::EMPTY_SLOT);
    }
    trust.check(slot)
}

/// The policy in `slot`, checked but not armed yet.
#[inline(never)]
fn load_in<'p>(place: &mut Result<Armed<'p>, Fault>, slot: &'p [u8]) {
    let loaded = Policy::load(slot, &CAPACITY);
    put(place, loaded);
}

/// On its own, so that its copies are not on the stack while the policy is checked.
#[inline(never)]
fn put<'p>(place: &mut Result<Armed<'p>, Fault>, loaded: Result<Policy<'p>, ErrorCode>) {
    match loaded {
        Ok(policy) => {
            *place = Ok(Armed {
                policy,
                plan: Plan::new(),
            });
        }
        Err(code) => *place = Err(code.into()),
    }
}

impl Armed<'_> {
    /// What [`boot()`] does with a policy whose content is in order.
    #[inline(never)]
    fn arm(&mut self, target_class: u32, scratch: &mut [f32; SCRATCH_LEN]) -> Result<(), Fault> {
        let Self { policy, plan } = self;
        if policy.target_class() != target_class {
            return Err(Fault::TARGET_CLASS);
        }
        plan.fill(policy).ok_or(Fault::WRONG_LENGTH)?;
        let mut control = [0.0; MAX_CONTROL];
        let control = control
            .get_mut(..policy.control_dim())
            .ok_or(Fault::WRONG_LENGTH)?;
        let agrees = policy.golden_agrees(control, |state, control| {
            if !plan.prepare(policy, state, scratch) {
                return Err(DecideError::NonFiniteInput);
            }
            plan.decide(policy, state, control, scratch, &ModeHistory::start())
        });
        if !agrees {
            return Err(Fault::GOLDEN_MISMATCH);
        }
        plan.constrain(policy, scratch).ok_or(Fault::WRONG_LENGTH)
    }
}

/// Whether the least subnormal number survives a product and a sum on this core.
fn keeps_subnormals() -> bool {
    let least = f32::from_bits(1);
    let product = black_box(least) * black_box(1.0);
    let sum = black_box(least) + black_box(least);
    product.to_bits() == 1 && sum.to_bits() == 2
}
