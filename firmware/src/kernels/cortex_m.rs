//! A policy's run-time form for Cortex-M cores with a single-precision FPU, and its control law in assembly.
//!
//! [`Plan::fill`] looks at a checked policy once, and checks again what its kernels rely on; [`Plan::decide`] then has addresses and
//! numbers, and compares no length.
#![expect(
    unsafe_code,
    reason = "assembly, and calls into it with pointers to checked slices"
)]

mod rare;

use core::marker::PhantomData;
use core::mem::{MaybeUninit, offset_of};
use core::ptr;

#[cfg(feature = "regions")]
use policy_format::Regions;
use policy_format::{
    DecideError, Decision, InputKind, MAX_FACTORS, ModeHistory, ModeRules, Policy, padded_rows,
};

use super::network::{HEADS, KERNEL, Network, PLACE};
use super::routines::{
    Bounds, Choices, Interval, Watch, hpo_admit_f32, hpo_decide_f32, hpo_greatest_f32,
    hpo_observe_f32, hpo_scale_f32, hpo_unit_norm_f32,
};
use super::{Seen, hash};
use crate::boot::{CAPACITY, SCRATCH_LEN};

/// Floats from the start of the scratch to the network input with unit norm, and to the two places of the layers.
const UNIT: usize = CAPACITY.state;
const PLACES: usize = 2 * CAPACITY.state;

const _: () = assert!(PLACES + 2 * PLACE <= SCRATCH_LEN);

/// What a policy computes, worked out for the kernels: the same bits as [`Policy::decide_constrained`]. `hpo_decide_f32` reads the fields
/// in front.
#[repr(C)]
#[derive(Debug)]
pub struct Plan<'p> {
    selector: Network<'p>,
    law: Network<'p>,
    gains: Network<'p>,
    choices: Choices,
    bounds: Bounds,
    scores: Scores<'p>,
    /// Logits of all factors; 0 where there is nothing to choose.
    logits: usize,
    /// Which parts are not those of most policies.
    rare: u32,
    /// What is done to the control of a choice before it is checked: 0 if all is well.
    hook: Option<unsafe extern "C" fn(&Plan<'p>, *mut f32, usize) -> u32>,
    watch: Watch,
    /// From how many equal states on the sensor counts as frozen; 0: never.
    frozen_after: u32,
    envelope: Within,
    /// Sizes of the factors where there are several.
    factors: heapless::Vec<u16, MAX_FACTORS, u8>,
    /// The policy's mode rules, whether or not `choices` holds them too.
    rules: Option<ModeRules<'p>>,
    #[cfg(feature = "regions")]
    regions: Option<Regions<'p>>,
}

/// Bits of [`Plan::rare`], which stand in the header of `decide_f32.s`.
const UNIT_NORM: u32 = 1 << 31;
const SCORED: u32 = 1 << 30;
const MORE: u32 = 1 << 29;

/// Offsets and lengths that stand in `decide_f32.s`.
const _: () = assert!(
    offset_of!(Plan<'_>, selector) == 0
        && KERNEL == 184
        && HEADS == KERNEL + 4
        && offset_of!(Plan<'_>, law) == 192
        && offset_of!(Plan<'_>, gains) == 384
        && offset_of!(Plan<'_>, choices) == 576
        && offset_of!(Choices, modes) == 4
        && offset_of!(Choices, count) == 8
        && offset_of!(Plan<'_>, bounds) == 604
        && offset_of!(Bounds, count) == 12
        && offset_of!(Plan<'_>, scores) == 624
        && offset_of!(Scores<'_>, padded) == 8
        && offset_of!(Plan<'_>, logits) == 636
        && offset_of!(Plan<'_>, rare) == 640
        && offset_of!(Plan<'_>, hook) == 644
        && offset_of!(Plan<'_>, watch) + offset_of!(Watch, count) == 656
        && UNIT * size_of::<f32>() == 256
        && PLACES * size_of::<f32>() == 512
        && PLACE * size_of::<f32>() == 1024
);

/// How a state is compared with the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// There is none.
    Anywhere,
    /// By the brackets.
    Boxes,
    /// Not at first sight: somewhere within the envelope a shifted and scaled value is not finite.
    Unclear,
}

// SAFETY: the pointers are into the policy's bytes, which are borrowed shared for 'p, and into constants: nothing writes there.
unsafe impl Send for Plan<'_> {}
// SAFETY: as above; a plan does not change.
unsafe impl Sync for Plan<'_> {}

/// Quadratic scores of the logits; without padded rows there are none.
#[repr(C)]
#[derive(Debug)]
struct Scores<'p> {
    bias: *const f32,
    weights: *const f32,
    padded: usize,
    policy: PhantomData<&'p [f32]>,
}

/// What lets any mode follow any.
static ANY_MODE: u32 = u32::MAX;

impl<'p> Plan<'p> {
    /// A plan of no policy, for [`Plan::fill`].
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self {
            selector: Network::NONE,
            law: Network::NONE,
            gains: Network::NONE,
            choices: Choices {
                direct: 0,
                modes: ptr::null(),
                count: 0,
                dwell: ptr::null(),
                follow: ptr::null(),
                mask: 0,
                hysteresis: 0.0,
            },
            bounds: Bounds::none(0),
            scores: Scores {
                bias: ptr::null(),
                weights: ptr::null(),
                padded: 0,
                policy: PhantomData,
            },
            logits: 0,
            rare: 0,
            hook: None,
            watch: Watch {
                shift: ptr::null(),
                scale: ptr::null(),
                count: 0,
                boxes: [const { MaybeUninit::uninit() }; CAPACITY.state],
            },
            frozen_after: 0,
            envelope: Within::Anywhere,
            factors: heapless::Vec::new(),
            rules: None,
            #[cfg(feature = "regions")]
            regions: None,
        }
    }

    /// Becomes the plan of a policy, in place: it is too large to be moved about on a small stack. `None` if the policy is beyond
    /// [`CAPACITY`] or not what validation admits; the plan is of no use then.
    #[inline(never)]
    pub(crate) fn fill(&mut self, policy: &Policy<'p>) -> Option<()> {
        let plan = self;
        let (n, m, choices) = (policy.state_dim(), policy.control_dim(), policy.choices());
        let logits = policy.logits();
        if n > CAPACITY.state || m > CAPACITY.control || logits > CAPACITY.logits {
            return None;
        }
        plan.watch.count = n;
        plan.watch.shift = address(policy.input_shift(), n)?;
        plan.watch.scale = address(policy.input_scale(), n)?;
        plan.bounds.count = m;
        plan.choices.modes = address(policy.choice_modes(), choices)?;
        plan.choices.count = choices;
        if policy.input_kind() == InputKind::UnitNorm {
            plan.rare |= UNIT_NORM | MORE;
        }
        #[cfg(feature = "regions")]
        if let Some(regions) = policy.regions() {
            plan.regions = Some(regions);
            plan.hook = Some(rare::hpo_regions);
            plan.rare |= MORE;
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
            plan.rare |= MORE;
        }
        // Of a law one head for all choices, or one for each; of gains one for each.
        let heads = plan.law.heads();
        if (heads > 1 && heads != choices) || (plan.gains.exists() && plan.gains.heads() != choices)
        {
            return None;
        }
        if plan.scores.padded > 0 || plan.selector.exists() {
            plan.logits = logits;
        }
        if plan.scores.padded > 0 || !plan.selector.exists() {
            plan.rare |= SCORED;
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
            plan.bounds.lower = address(bounds.lower, m)?;
            plan.bounds.upper = address(bounds.upper, m)?;
        }
        Some(())
    }

    /// From now on with the policy's rate limits, mode rules, envelope and supervision, which golden vectors know nothing of. `None` as
    /// [`Plan::fill`].
    #[inline(never)]
    pub(crate) fn constrain(
        &mut self,
        policy: &Policy<'p>,
        scratch: &mut [f32; SCRATCH_LEN],
    ) -> Option<()> {
        let (plan, safety) = (self, policy.safety());
        let n = plan.watch.count;
        plan.frozen_after = safety.supervision.map_or(0, |s| s.frozen_after);
        if let Some(limits) = &safety.limits {
            plan.bounds.rate = address(limits.rate, plan.bounds.count)?;
            plan.bounds.start = address(limits.start, plan.bounds.count)?;
        }
        if let Some(envelope) = &safety.envelope {
            let (lower, upper) = (envelope.lower, envelope.upper);
            // A shifted and scaled value lies between those of the ends, for rounding keeps the order.
            let finite =
                plan.prepare(policy, lower, scratch) && plan.prepare(policy, upper, scratch);
            plan.envelope = if finite {
                Within::Boxes
            } else {
                Within::Unclear
            };
            let typical = [envelope.typical_lower, envelope.typical_upper];
            let boxes = plan.watch.boxes.as_mut_ptr().cast::<Interval>();
            for (place, [lower, upper]) in [[lower, upper], typical].into_iter().enumerate() {
                let (lower, upper) = (address(lower, n)?, address(upper, n)?);
                // SAFETY: n lower and as many upper ends, and n boxes or more of two intervals each.
                unsafe { intervals(boxes.add(place), lower, upper, n) };
            }
        }
        if let Some(rules) = safety.mode_rules {
            let modes = rules.dwell.len();
            // Without scores there is one choice, which its rules may forbid still.
            plan.logits = policy.logits();
            // With several factors a choice is no logit, even where there are as many of both.
            if modes <= 32 && plan.factors.is_empty() {
                let choices = &mut plan.choices;
                choices.direct = modes as u32;
                choices.dwell = rules.dwell.as_ptr();
                (choices.follow, choices.mask) = (&raw const ANY_MODE, 0);
                if !rules.follow.is_empty() {
                    (choices.follow, choices.mask) = (address(rules.follow, modes)?, u32::MAX);
                }
                choices.hysteresis = rules.hysteresis;
            }
            plan.rules = Some(rules);
        }
        Some(())
    }

    /// The controls that there are of as many as there could be.
    #[inline(always)]
    pub(crate) fn controls<'c>(
        &self,
        _: &Policy<'p>,
        control: &'c mut [f32; CAPACITY.control],
    ) -> &'c mut [f32] {
        // SAFETY: `fill` admits no more.
        unsafe { control.get_unchecked_mut(..self.bounds.count) }
    }

    /// From how many states with the same bits in a row on the sensor counts as frozen; 0: never.
    #[inline(always)]
    pub(crate) fn frozen_after(&self, _: &Policy<'p>) -> u32 {
        self.frozen_after
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
        if self.envelope == Within::Boxes {
            // SAFETY: all lists have the state's length, which the scratch has room for.
            return seen(unsafe { hpo_observe_f32(&raw const self.watch, from, xi) });
        }
        self.observe_otherwise(state, scratch)
    }

    /// [`Plan::observe`] where values may be inside the envelope and not finite shifted and scaled.
    #[inline(never)]
    fn observe_otherwise(&self, state: &[f32], scratch: &mut [f32; SCRATCH_LEN]) -> Option<Seen> {
        let (shift, scale) = (self.watch.shift, self.watch.scale);
        let (from, xi) = (state.as_ptr(), scratch.as_mut_ptr());
        // SAFETY: as above.
        if unsafe { hpo_scale_f32(from, shift, scale, xi, state.len()) } != 0 {
            return None;
        }
        if self.envelope == Within::Unclear {
            // SAFETY: as above.
            return seen(unsafe { hpo_observe_f32(&raw const self.watch, from, xi) });
        }
        Some(Seen {
            typical: true,
            hash: if self.frozen_after > 0 {
                hash(state)
            } else {
                0
            },
        })
    }

    /// Whether a state of the policy's length is typical, `None` outside the envelope, which the policy has.
    #[inline(never)]
    pub(crate) fn compare(
        &self,
        _: &Policy<'p>,
        state: &[f32],
        scratch: &mut [f32; SCRATCH_LEN],
    ) -> Option<bool> {
        if state.len() != self.watch.count {
            return None;
        }
        let (from, xi) = (state.as_ptr(), scratch.as_mut_ptr());
        // SAFETY: as above.
        seen(unsafe { hpo_observe_f32(&raw const self.watch, from, xi) }).map(|seen| seen.typical)
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

    /// [`Policy::accepts`]. The state stands shifted and scaled in `scratch` then, as [`Plan::prepare`] leaves it.
    #[inline(never)]
    pub(crate) fn accepts(
        &self,
        policy: &Policy<'p>,
        state: &[f32],
        scratch: &mut [f32; SCRATCH_LEN],
    ) -> bool {
        if !self.prepare(policy, state, scratch) {
            return false;
        }
        if self.rare & UNIT_NORM == 0 {
            return true;
        }
        let xi = scratch.as_mut_ptr();
        // SAFETY: n floats stand at both places, UNIT apart, and those of the first one are finite; n is at least 1.
        unsafe { hpo_unit_norm_f32(xi, xi.add(UNIT), self.watch.count) }.is_finite()
    }

    /// [`Policy::decide`], and once constrained [`Policy::decide_constrained`] with the policy's own mode rules and rate limits, `history`
    /// being the modes so far. For the state that [`Plan::observe`] or [`Plan::prepare`] was given, with the same scratch.
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
        history: &ModeHistory,
    ) -> Result<Decision, DecideError> {
        if control.len() != self.bounds.count {
            return Err(DecideError::WrongLength);
        }
        // SAFETY: the length was compared, the scratch is long enough, and `fill` and `constrain` compared all lengths of the plan.
        let packed = unsafe {
            let (control, scratch) = (control.as_mut_ptr(), scratch.as_mut_ptr());
            let plan = ptr::from_ref(self).cast();
            hpo_decide_f32(plan, control, scratch, history.age(), history.last().into())
        };
        if packed >> 32 != 0 {
            return Err(refusal((packed >> 32) as u32));
        }
        Ok(Decision {
            choice: packed as u16,
            mode: (packed >> 16) as u16,
        })
    }
}

const NON_FINITE_INPUT: u32 = 1;
const WRONG_LENGTH: u32 = 3;

/// What `hpo_observe_f32` found.
#[inline(always)]
fn seen(found: u64) -> Option<Seen> {
    let (hash, outside) = (found as u32, (found >> 32) as u32);
    (outside < 2).then_some(Seen {
        typical: outside == 0,
        hash,
    })
}

/// What an error's number stands for.
#[cold]
#[inline(never)]
const fn refusal(number: u32) -> DecideError {
    match number {
        NON_FINITE_INPUT => DecideError::NonFiniteInput,
        WRONG_LENGTH => DecideError::WrongLength,
        _ => DecideError::NonFiniteValue,
    }
}

/// Where `count` entries are, if they are so many.
#[inline(always)]
fn address<T>(list: &[T], count: usize) -> Option<*const T> {
    (list.len() == count).then_some(list.as_ptr())
}

/// Intervals from `count` lower to upper ends, to every other place.
///
/// # Safety
/// The ends are good for reads, the places for writes: of twice as many.
#[inline(never)]
unsafe fn intervals(places: *mut Interval, lower: *const f32, upper: *const f32, count: usize) {
    for index in 0..count {
        // SAFETY: the caller's promise.
        unsafe {
            *places.add(2 * index) = Interval::new(*lower.add(index), *upper.add(index));
        }
    }
}

/// [`policy_format::admit`] without bounds; `false` also unless the lengths are equal.
#[must_use]
pub fn admit(u: &[f32], rate: Option<&[f32]>, control: &mut [f32]) -> bool {
    let count = control.len();
    if u.len() != count || rate.is_some_and(|rate| rate.len() != count) {
        return false;
    }
    let mut bounds = Bounds::none(count);
    bounds.rate = rate.map_or(ptr::null(), <[f32]>::as_ptr);
    // SAFETY: what is not null has as many floats as `control`, which is borrowed mutably and overlaps nothing.
    unsafe { hpo_admit_f32(u.as_ptr(), control.as_mut_ptr(), &raw const bounds, 1) == 0 }
}

/// [`policy_format::all_finite`].
#[must_use]
pub fn all_finite(values: &[f32]) -> bool {
    // SAFETY: reads as many floats as the slice has.
    unsafe { hpo_greatest_f32(values.as_ptr(), values.len()) >> 32 == 0 }
}
