//! A policy's run-time form for Cortex-M cores with a single-precision FPU, and its control law in assembly.
//!
//! [`Plan::fill`] looks at a checked policy once, and checks again what its kernels rely on; [`Plan::decide`] then has addresses and
//! numbers, and compares no length.
#![expect(
    unsafe_code,
    reason = "assembly, and calls into it with pointers to checked slices"
)]

use core::marker::PhantomData;
use core::ptr;
use core::slice;

#[cfg(feature = "regions")]
use policy_format::Regions;
use policy_format::{
    DecideError, Decision, InputKind, MAX_FACTORS, ModeHistory, ModeRules, Policy, padded_rows,
};

use super::network::{Network, PLACE};
use super::routines::{
    Watch, hpo_admit_f32, hpo_choose_f32, hpo_greatest_f32, hpo_observe_f32, hpo_quadratic_f32,
    hpo_scale_f32, hpo_unit_norm_f32,
};
use super::{Seen, hash};
use crate::boot::{CAPACITY, SCRATCH_LEN};

/// Floats from the start of the scratch to the network input with unit norm, and to the two places of the layers.
const UNIT: usize = CAPACITY.state;
const PLACES: usize = 2 * CAPACITY.state;

const _: () = assert!(PLACES + 2 * PLACE <= SCRATCH_LEN);

/// What a policy computes, worked out for the kernels: the same bits as [`Policy::decide_constrained`].
#[derive(Debug)]
pub struct Plan<'p> {
    watch: Watch,
    envelope: bool,
    /// Whether repeated states are counted.
    hashes: bool,
    control: usize,
    unit_norm: bool,
    scores: Scores<'p>,
    selector: Network<'p>,
    /// Logits of all factors; 0 where there is nothing to choose.
    logits: usize,
    /// Sizes of the factors where there are several.
    factors: heapless::Vec<u16, MAX_FACTORS, u8>,
    choice_modes: &'p [u16],
    rules: Option<Rules<'p>>,
    law: Network<'p>,
    gains: Network<'p>,
    #[cfg(feature = "regions")]
    regions: Option<Regions<'p>>,
    /// Lower and upper control bounds, null: none.
    bounds: [*const f32; 2],
    /// Rate limits, null: none.
    rate: *const f32,
}

// SAFETY: the pointers are into the policy's bytes, which are borrowed shared for 'p, and into constants: nothing writes there.
unsafe impl Send for Plan<'_> {}
// SAFETY: as above; a plan does not change.
unsafe impl Sync for Plan<'_> {}

/// Quadratic scores of the logits; without padded rows there are none.
#[derive(Debug)]
struct Scores<'p> {
    bias: *const f32,
    weights: *const f32,
    padded: usize,
    policy: PhantomData<&'p [f32]>,
}

/// Mode rules.
#[derive(Debug)]
struct Rules<'p> {
    rules: ModeRules<'p>,
    /// Whether there are at most 32 modes, and a logit for each choice.
    direct: bool,
}

impl<'p> Plan<'p> {
    /// A plan of no policy, for [`Plan::fill`].
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self {
            watch: Watch {
                count: 0,
                shift: ptr::null(),
                scale: ptr::null(),
                ends: [ptr::null(); 4],
            },
            envelope: false,
            hashes: false,
            control: 0,
            unit_norm: false,
            scores: Scores {
                bias: ptr::null(),
                weights: ptr::null(),
                padded: 0,
                policy: PhantomData,
            },
            selector: Network::NONE,
            logits: 0,
            factors: heapless::Vec::new(),
            choice_modes: &[],
            rules: None,
            law: Network::NONE,
            gains: Network::NONE,
            #[cfg(feature = "regions")]
            regions: None,
            bounds: [ptr::null(); 2],
            rate: ptr::null(),
        }
    }

    /// Becomes the plan of a policy, in place: it is too large to be moved about on a small stack. `None` if the policy is beyond
    /// [`CAPACITY`] or not what validation admits; the plan is of no use then.
    #[inline(never)]
    pub(crate) fn fill(&mut self, policy: &Policy<'p>) -> Option<()> {
        let plan = self;
        let (n, m, choices) = (policy.state_dim(), policy.control_dim(), policy.choices());
        let (logits, safety) = (policy.logits(), policy.safety());
        if n > CAPACITY.state || m > CAPACITY.control || logits > CAPACITY.logits {
            return None;
        }
        plan.watch.count = n;
        plan.watch.shift = address(policy.input_shift(), n)?;
        plan.watch.scale = address(policy.input_scale(), n)?;
        plan.hashes = safety.supervision.is_some_and(|s| s.frozen_after > 0);
        plan.control = m;
        plan.unit_norm = policy.input_kind() == InputKind::UnitNorm;
        plan.choice_modes = policy.choice_modes();
        #[cfg(feature = "regions")]
        {
            plan.regions = policy.regions();
        }
        if let Some(scores) = policy.scores() {
            if scores.bias().len() != padded_rows(logits) || scores.columns() != n * (n + 1) / 2 {
                return None;
            }
            plan.scores.bias = scores.bias().as_ptr();
            plan.scores.weights = scores.panels().as_ptr();
            plan.scores.padded = scores.bias().len();
        }
        if let Some(selector) = policy.selector_network() {
            plan.selector.set(selector, n, logits)?;
        }
        if let Some(law) = policy.control_network() {
            plan.law.set(law, n, m)?;
        }
        if let Some(gains) = policy.gains() {
            plan.gains.set_blocks(gains, n, m)?;
        }
        // Of a law one head for all choices, or one for each; of gains one for each.
        let heads = plan.law.heads();
        if (heads > 1 && heads != choices) || (plan.gains.exists() && plan.gains.heads() != choices)
        {
            return None;
        }
        let scored = plan.scores.padded > 0 || plan.selector.exists();
        // Without scores there is one choice, which its rules may forbid still.
        if scored || safety.mode_rules.is_some() {
            plan.logits = logits;
        }
        let factors = policy.factors();
        let sum = factors.iter().fold(0, |all, &size| all + usize::from(size));
        if sum != logits {
            return None;
        }
        if factors.len() > 1 {
            plan.factors.extend_from_slice(factors).ok()?;
        }
        if let Some(bounds) = policy.bounds() {
            plan.bounds = [address(bounds.lower, m)?, address(bounds.upper, m)?];
        }
        if let Some(limits) = &safety.limits {
            plan.rate = address(limits.rate, m)?;
        }
        if let Some(envelope) = &safety.envelope {
            plan.envelope = true;
            let (lower, upper) = (envelope.lower, envelope.upper);
            let typical = [envelope.typical_lower, envelope.typical_upper];
            let lists = [lower, upper, typical[0], typical[1]];
            for (end, floats) in plan.watch.ends.iter_mut().zip(lists) {
                *end = address(floats, n)?;
            }
        }
        if let Some(rules) = safety.mode_rules {
            let direct = rules.dwell.len() <= 32 && choices == logits;
            plan.rules = Some(Rules { rules, direct });
        }
        Some(())
    }

    /// Looks at a state: `None` unless it has the policy's length, is finite shifted and scaled, and lies inside the envelope. It
    /// stands shifted and scaled in `scratch` then, for [`Plan::decide`].
    #[inline(always)]
    pub fn observe(
        &self,
        _: &Policy<'p>,
        state: &[f32],
        scratch: &mut [f32; SCRATCH_LEN],
    ) -> Option<Seen> {
        if state.len() != self.watch.count {
            return None;
        }
        let (from, xi) = (state.as_ptr(), scratch.as_mut_ptr());
        if self.envelope {
            // SAFETY: all lists have the state's length, which the scratch has room for.
            let found = unsafe { hpo_observe_f32(&raw const self.watch, from, xi) };
            let (flags, hash) = (found as u32, (found >> 32) as u32);
            return (flags < 2).then_some(Seen {
                typical: flags == 0,
                hash,
            });
        }
        let (shift, scale) = (self.watch.shift, self.watch.scale);
        // SAFETY: as above.
        let finite = unsafe { hpo_scale_f32(from, shift, scale, xi, state.len()) == 0 };
        finite.then(|| Seen {
            typical: true,
            hash: if self.hashes { hash(state) } else { 0 },
        })
    }

    /// The part of [`Plan::observe`] that a decision needs, without a look at the envelope: `false` unless the state has the policy's
    /// length and is finite shifted and scaled.
    #[inline(never)]
    pub fn prepare(&self, _: &Policy<'p>, state: &[f32], scratch: &mut [f32; SCRATCH_LEN]) -> bool {
        let (shift, scale) = (self.watch.shift, self.watch.scale);
        let (from, xi) = (state.as_ptr(), scratch.as_mut_ptr());
        state.len() == self.watch.count
            // SAFETY: both lists have the state's length, which the scratch has room for.
            && unsafe { hpo_scale_f32(from, shift, scale, xi, state.len()) == 0 }
    }

    /// [`Policy::decide_constrained`] with the policy's own mode rules and rate limits, `history` being the modes so far; `None`:
    /// without either. For the state that [`Plan::observe`] or [`Plan::prepare`] was given, with the same scratch.
    ///
    /// # Errors
    /// As [`Policy::decide`].
    #[inline(always)]
    pub fn decide(
        &self,
        _: &Policy<'p>,
        _: &[f32],
        control: &mut [f32],
        scratch: &mut [f32; SCRATCH_LEN],
        history: Option<&ModeHistory>,
    ) -> Result<Decision, DecideError> {
        if control.len() != self.control {
            return Err(DecideError::WrongLength);
        }
        let history = history.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the length was compared, and the other pointers are of references.
        let packed = unsafe { self.run(control.as_mut_ptr(), scratch.as_mut_ptr(), history) };
        match (packed >> 32) as u32 {
            0 => Ok(Decision {
                choice: packed as u16,
                mode: (packed >> 16) as u16,
            }),
            NON_FINITE_INPUT => Err(DecideError::NonFiniteInput),
            NON_FINITE_VALUE => Err(DecideError::NonFiniteValue),
            _ => Err(DecideError::WrongLength),
        }
    }

    /// One copy in an image. A decision in the low word, else an error in the high one.
    ///
    /// # Safety
    /// `control` is good for reads and writes of m floats, `scratch` for those of [`SCRATCH_LEN`]; they do not overlap. `history` is
    /// null or good for a read.
    #[inline(never)]
    unsafe fn run(&self, control: *mut f32, scratch: *mut f32, history: *const ModeHistory) -> u64 {
        let (n, m, xi) = (self.watch.count, self.control, scratch);
        // SAFETY: the parts of the scratch lie one behind the other within SCRATCH_LEN, as is asserted above; n, m and the
        // logits are within CAPACITY, and the plan's lists have the lengths that `fill` compared. Choices are below their
        // number where `choice_modes` has one, and so are heads.
        unsafe {
            let (mut z, places) = (xi, scratch.add(PLACES));
            let mut rho = 1.0;
            if self.unit_norm {
                z = scratch.add(UNIT);
                rho = hpo_unit_norm_f32(xi, z, n);
                if !rho.is_finite() {
                    return error(NON_FINITE_INPUT);
                }
            }
            let mut choice = 0;
            if self.logits > 0 {
                // Without scores the one choice's logit is 0.
                *places = 0.0;
                let mut scored = places;
                if self.selector.run(0, z, places) {
                    scored = places.add(PLACE);
                }
                let Scores {
                    bias,
                    weights,
                    padded,
                    ..
                } = self.scores;
                if padded > 0 {
                    hpo_quadratic_f32(bias, weights, z, scored, n, padded);
                    if scored != places {
                        add(places, scored, self.logits);
                    }
                }
                let found = self.choose(places, history);
                if found >> 32 != 0 {
                    return error(NON_FINITE_VALUE);
                }
                choice = found as usize;
            }
            let Some(&mode) = self.choice_modes.get(choice) else {
                return error(WRONG_LENGTH);
            };
            let mut gain = places;
            let head = if self.law.heads() == 1 { 0 } else { choice };
            if self.law.run(head, z, places) {
                if self.unit_norm {
                    for index in 0..m {
                        *places.add(index) *= rho;
                    }
                }
                gain = places.add(PLACE);
            }
            if self.gains.run(choice, xi, gain) && gain != places {
                add(places, gain, m);
            }
            #[cfg(feature = "regions")]
            if let Some(regions) = &self.regions {
                let u = slice::from_raw_parts_mut(places, m);
                let finite = all_finite(u);
                regions.apply(choice, u);
                if !finite {
                    return error(NON_FINITE_VALUE);
                }
            }
            let rate = if history.is_null() {
                ptr::null()
            } else {
                self.rate
            };
            let [lower, upper] = self.bounds;
            if hpo_admit_f32(places, control, lower, upper, rate, m) != 0 {
                return error(NON_FINITE_VALUE);
            }
            choice as u64 | u64::from(mode) << 16
        }
    }

    /// The choice for these logits, with something in the upper half unless all of them are finite; beyond all choices if the rules
    /// allow none.
    ///
    /// # Safety
    /// As many logits as the factors have can be read there, at least one; `history` is null or good for a read.
    #[inline(always)]
    unsafe fn choose(&self, logits: *const f32, history: *const ModeHistory) -> u64 {
        // SAFETY: the caller's promise.
        unsafe {
            if let (Some(rules), Some(&history)) = (&self.rules, history.as_ref()) {
                if rules.direct
                    && let Some(allowed) = rules.rules.allowed_set(history)
                {
                    // No choice is this one.
                    let held = history.mode().map_or(u32::MAX, u32::from);
                    let hysteresis = rules.rules.hysteresis;
                    let modes = self.choice_modes.as_ptr();
                    return hpo_choose_f32(logits, modes, allowed, held, self.logits, hysteresis);
                }
                return self.choose_by_rules(&rules.rules, history, logits);
            }
            if self.factors.is_empty() {
                return hpo_greatest_f32(logits, self.logits);
            }
            self.choose_by_factor(logits)
        }
    }

    /// # Safety
    /// As [`Plan::choose`].
    #[inline(never)]
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
        let one = [self.choice_modes.len() as u16];
        let factors = if self.factors.is_empty() {
            one.as_slice()
        } else {
            &self.factors
        };
        let choice = rules.choose(history, self.choice_modes, factors, logits);
        u64::from(choice.map_or(u32::MAX, |choice| choice as u32))
    }

    /// # Safety
    /// As [`Plan::choose`].
    #[inline(never)]
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

const NON_FINITE_INPUT: u32 = 1;
const NON_FINITE_VALUE: u32 = 2;
const WRONG_LENGTH: u32 = 3;

const fn error(number: u32) -> u64 {
    (number as u64) << 32
}

/// Where `count` floats are, if they are so many.
#[inline(never)]
fn address(floats: &[f32], count: usize) -> Option<*const f32> {
    (floats.len() == count).then_some(floats.as_ptr())
}

/// Adds `count` floats to others.
///
/// # Safety
/// `sum` is good for reads and writes of `count` floats, `more` for reads; they do not overlap.
#[inline(never)]
unsafe fn add(sum: *mut f32, more: *const f32, count: usize) {
    for index in 0..count {
        // SAFETY: the caller's promise.
        unsafe { *sum.add(index) += *more.add(index) };
    }
}

/// [`policy_format::admit`] without bounds; `false` also unless the lengths are equal.
#[must_use]
pub fn admit(u: &[f32], rate: Option<&[f32]>, control: &mut [f32]) -> bool {
    let count = control.len();
    if u.len() != count || rate.is_some_and(|rate| rate.len() != count) {
        return false;
    }
    let (none, rate) = (ptr::null(), rate.map_or(ptr::null(), <[f32]>::as_ptr));
    // SAFETY: what is not null has as many floats as `control`, which is borrowed mutably and overlaps nothing.
    unsafe { hpo_admit_f32(u.as_ptr(), control.as_mut_ptr(), none, none, rate, count) == 0 }
}

/// [`policy_format::all_finite`].
#[must_use]
pub fn all_finite(values: &[f32]) -> bool {
    // SAFETY: reads as many floats as the slice has.
    unsafe { hpo_greatest_f32(values.as_ptr(), values.len()) >> 32 == 0 }
}
