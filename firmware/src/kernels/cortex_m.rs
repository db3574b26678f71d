//! A policy's run-time form for Cortex-M cores with a single-precision FPU, and its control law in assembly.
//!
//! [`Plan::fill`] looks at a checked policy once, and checks again what its kernels rely on; [`Plan::decide`] then has addresses and
//! numbers, and compares no length.
#![expect(
    unsafe_code,
    reason = "assembly, and calls into it with pointers to checked slices"
)]

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr;
use core::slice;

#[cfg(feature = "regions")]
use policy_format::Regions;
use policy_format::{
    DecideError, Decision, InputKind, MAX_FACTORS, ModeHistory, ModeRules, Policy, padded_rows,
};

use super::network::{Network, PLACE};
use super::routines::{
    Bounds, Choices, Interval, Watch, hpo_admit_f32, hpo_choose_f32, hpo_greatest_f32,
    hpo_observe_f32, hpo_quadratic_f32, hpo_scale_f32, hpo_unit_norm_f32,
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
    envelope: Within,
    /// From how many equal states on the sensor counts as frozen; 0: never.
    frozen_after: u32,
    unit_norm: bool,
    scores: Scores<'p>,
    selector: Network<'p>,
    /// Logits of all factors; 0 where there is nothing to choose.
    logits: usize,
    /// Sizes of the factors where there are several.
    factors: heapless::Vec<u16, MAX_FACTORS, u8>,
    choice_modes: &'p [u16],
    choices: Choices,
    /// Number of modes where `choices` says all about the rules, else 0.
    direct: u32,
    /// Rules that `choices` does not hold.
    rules: Option<ModeRules<'p>>,
    law: Network<'p>,
    gains: Network<'p>,
    #[cfg(feature = "regions")]
    regions: Option<Regions<'p>>,
    bounds: Bounds,
}

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
#[derive(Debug)]
struct Scores<'p> {
    bias: *const f32,
    weights: *const f32,
    padded: usize,
    policy: PhantomData<&'p [f32]>,
}

/// What lets any mode follow any.
static ANY_MODE: u32 = u32::MAX;

impl Scores<'_> {
    /// Scores of `z`, n floats, to `y`, if there are any.
    ///
    /// # Safety
    /// `z` is good for reads of n floats, `y` for writes of the padded rows; they do not overlap.
    #[inline(always)]
    unsafe fn run(&self, z: *const f32, y: *mut f32, n: usize) {
        if self.padded > 0 {
            // SAFETY: the caller's promise; `fill` compared the lengths.
            unsafe { hpo_quadratic_f32(self.bias, self.weights, z, y, n, self.padded) };
        }
    }
}

impl<'p> Plan<'p> {
    /// A plan of no policy, for [`Plan::fill`].
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self {
            watch: Watch {
                shift: ptr::null(),
                scale: ptr::null(),
                count: 0,
                boxes: [[Interval::NONE; 2]; CAPACITY.state],
            },
            envelope: Within::Anywhere,
            frozen_after: 0,
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
            choices: Choices {
                modes: ptr::null(),
                count: 0,
                dwell: ptr::null(),
                follow: ptr::null(),
                mask: 0,
                hysteresis: 0.0,
            },
            direct: 0,
            rules: None,
            law: Network::NONE,
            gains: Network::NONE,
            #[cfg(feature = "regions")]
            regions: None,
            bounds: Bounds::none(0),
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
        if plan.scores.padded > 0 || plan.selector.exists() {
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
            let boxes = plan.watch.boxes.as_flattened_mut().as_mut_ptr();
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
            if modes <= 32 && policy.choices() == plan.logits {
                let choices = &mut plan.choices;
                choices.modes = address(policy.choice_modes(), plan.logits)?;
                choices.count = plan.logits;
                choices.dwell = rules.dwell.as_ptr();
                (choices.follow, choices.mask) = (&raw const ANY_MODE, 0);
                if !rules.follow.is_empty() {
                    (choices.follow, choices.mask) = (address(rules.follow, modes)?, u32::MAX);
                }
                choices.hysteresis = rules.hysteresis;
                plan.direct = modes as u32;
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
        // SAFETY: the length was compared, and the other pointers are of references.
        let packed = unsafe {
            let (control, scratch) = (control.as_mut_ptr(), scratch.as_mut_ptr());
            self.run(control, scratch, history.age(), history.last().into())
        };
        if packed >> 32 != 0 {
            return Err(refusal((packed >> 32) as u32));
        }
        Ok(Decision {
            choice: packed as u16,
            mode: (packed >> 16) as u16,
        })
    }

    /// One copy in an image. A decision in the low word, else an error in the high one.
    ///
    /// # Safety
    /// `control` is good for reads and writes of m floats, `scratch` for those of [`SCRATCH_LEN`]; they do not overlap.
    #[inline(never)]
    unsafe fn run(&self, control: *mut f32, scratch: *mut f32, age: u32, mode: u32) -> u64 {
        let xi = scratch;
        // SAFETY: the parts of the scratch lie one behind the other within SCRATCH_LEN, as is asserted above; n, m and the
        // logits are within CAPACITY, and the plan's lists have the lengths that `fill` and `constrain` compared. Choices are below their
        // number where `choice_modes` has one, and so are heads.
        unsafe {
            let (mut z, places) = (xi, scratch.add(PLACES));
            let mut rho = MaybeUninit::uninit();
            if self.unit_norm {
                z = scratch.add(UNIT);
                if !self.normalise(xi, z, rho.as_mut_ptr()) {
                    return error(NON_FINITE_INPUT);
                }
            }
            let mut choice = 0;
            if self.logits > 0 {
                if self.selector.run(0, z, places) {
                    if self.scores.padded > 0 {
                        let more = places.add(PLACE);
                        self.scores.run(z, more, self.watch.count);
                        add(places, more, self.logits);
                    }
                } else {
                    // Without scores the one choice's logit is 0.
                    *places = 0.0;
                    self.scores.run(z, places, self.watch.count);
                }
                let found = self.choose(places, age, mode);
                if found >> 32 != 0 {
                    return error(NON_FINITE_VALUE);
                }
                choice = found as usize;
            }
            let Some(&mode) = self.choice_modes.get(choice) else {
                return error(WRONG_LENGTH);
            };
            let head = if self.law.heads() == 1 { 0 } else { choice };
            if self.law.run(head, z, places) {
                if self.unit_norm {
                    times(places, rho.as_ptr(), self.bounds.count);
                }
                let more = places.add(PLACE);
                if self.gains.run(choice, xi, more) {
                    add(places, more, self.bounds.count);
                }
            } else {
                self.gains.run(choice, xi, places);
            }
            #[cfg(feature = "regions")]
            if let Some(regions) = &self.regions {
                let u = slice::from_raw_parts_mut(places, self.bounds.count);
                let finite = all_finite(u);
                regions.apply(choice, u);
                if !finite {
                    return error(NON_FINITE_VALUE);
                }
            }
            if hpo_admit_f32(places, control, &raw const self.bounds, age) != 0 {
                return error(NON_FINITE_VALUE);
            }
            choice as u64 | u64::from(mode) << 16
        }
    }

    /// Network input of unit norm from `xi` to `z`, and the norm; whether that is finite.
    ///
    /// # Safety
    /// `xi` is good for reads of n floats, `z` for writes, `rho` for one.
    #[inline(never)]
    unsafe fn normalise(&self, xi: *const f32, z: *mut f32, rho: *mut f32) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            *rho = hpo_unit_norm_f32(xi, z, self.watch.count);
            (*rho).is_finite()
        }
    }

    /// The choice for these logits, with something in the upper half unless all of them are finite; beyond all choices if the rules
    /// allow none.
    ///
    /// # Safety
    /// As many logits as the factors have can be read there, at least one.
    #[inline(always)]
    unsafe fn choose(&self, logits: *const f32, age: u32, mode: u32) -> u64 {
        if mode < self.direct {
            // SAFETY: the caller's promise; `constrain` compared the lists' lengths, and the mode is one of the rules'.
            return unsafe { hpo_choose_f32(logits, &raw const self.choices, age, mode) };
        }
        // SAFETY: the caller's promise.
        unsafe { self.choose_otherwise(logits, age, mode) }
    }

    /// # Safety
    /// As [`Plan::choose`].
    #[inline(never)]
    unsafe fn choose_otherwise(&self, logits: *const f32, age: u32, mode: u32) -> u64 {
        // SAFETY: the caller's promise.
        unsafe {
            if let Some(rules) = &self.rules {
                let history = ModeHistory::held(mode as u16, age);
                return self.choose_by_rules(rules, history, logits);
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
        NON_FINITE_VALUE => DecideError::NonFiniteValue,
        _ => DecideError::WrongLength,
    }
}

/// Where `count` entries are, if they are so many.
#[inline(always)]
fn address<T>(list: &[T], count: usize) -> Option<*const T> {
    (list.len() == count).then_some(list.as_ptr())
}

/// `count` floats times `factor`.
///
/// # Safety
/// `values` is good for reads and writes of `count` floats, `factor` for a read.
#[inline(never)]
unsafe fn times(values: *mut f32, factor: *const f32, count: usize) {
    for index in 0..count {
        // SAFETY: the caller's promise.
        unsafe { *values.add(index) *= *factor };
    }
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
