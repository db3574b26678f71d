//! Parts of a decision that few policies have, which `hpo_decide_f32` calls by name or by [`Plan`]'s hook: several factors, rules on modes
//! that its masks do not hold, control regions.

use core::slice;

use policy_format::{ModeHistory, ModeRules};

use super::super::routines::hpo_greatest_f32;
use super::{Plan, all_finite};

impl<'p> Plan<'p> {
    /// # Safety
    /// As [`hpo_choose_otherwise`].
    #[inline(always)]
    unsafe fn choose_by_rules(
        &self,
        rules: &ModeRules<'p>,
        history: ModeHistory,
        logits: *const f32,
    ) -> u64 {
        // SAFETY: the caller's promise.
        let logits = unsafe { slice::from_raw_parts(logits, self.logits) };
        if !all_finite(logits) {
            return u64::MAX;
        }
        let one = [self.choices.count as u16];
        let factors = if self.factors.is_empty() {
            one.as_slice()
        } else {
            &self.factors
        };
        // SAFETY: the modes of the choices, whose number `fill` compared.
        let modes = unsafe { slice::from_raw_parts(self.choices.modes, self.choices.count) };
        let choice = rules.choose(history, modes, factors, logits);
        u64::from(choice.map_or(u32::MAX, |choice| choice as u32))
    }

    /// # Safety
    /// As [`hpo_choose_otherwise`].
    #[inline(always)]
    unsafe fn choose_by_factor(&self, mut logits: *const f32) -> u64 {
        let (mut choice, mut not_finite) = (0_u32, 0);
        for &size in &self.factors {
            // SAFETY: the factors' sizes add up to the logits.
            let found = unsafe { hpo_greatest_f32(logits, size.into()) };
            // SAFETY: as above.
            logits = unsafe { logits.add(size.into()) };
            not_finite |= found >> 32;
            choice = choice.wrapping_mul(size.into()).wrapping_add(found as u32);
        }
        u64::from(choice) | not_finite << 32
    }
}

/// The choice for these logits where mode rules are none or not in [`Choices`], with something in the upper half unless all of them are
/// finite; beyond all choices if the rules allow none.
///
/// # Safety
/// As many logits as the factors have can be read there, at least one.
#[unsafe(no_mangle)]
unsafe extern "C" fn hpo_choose_otherwise(
    plan: &Plan<'_>,
    logits: *const f32,
    age: u32,
    mode: u32,
) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(rules) = &plan.rules {
            return plan.choose_by_rules(rules, ModeHistory::held(mode as u16, age), logits);
        }
        if plan.factors.is_empty() {
            return hpo_greatest_f32(logits, plan.logits);
        }
        plan.choose_by_factor(logits)
    }
}

/// The control of the region that the choice's control lies in; not 0 unless that is finite.
///
/// # Safety
/// `control` is good for reads and writes of m floats.
#[cfg(feature = "regions")]
pub(super) unsafe extern "C" fn hpo_regions(
    plan: &Plan<'_>,
    control: *mut f32,
    choice: usize,
) -> u32 {
    // SAFETY: the caller's promise.
    let u = unsafe { slice::from_raw_parts_mut(control, plan.bounds.count) };
    let finite = all_finite(u);
    if let Some(regions) = &plan.regions {
        regions.apply(choice, u);
    }
    if finite { 0 } else { u32::MAX }
}
