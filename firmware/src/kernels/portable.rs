//! A policy's run-time form for cores without kernels of their own: the policy itself.

use core::marker::PhantomData;

use policy_format::{Constraints, DecideError, Decision, ModeHistory, Policy, inside};

use crate::boot::{CAPACITY, SCRATCH_LEN};

pub use policy_format::all_finite;

use super::{Seen, hash};

/// What a policy computes: [`Policy::decide_constrained`] of the policy itself.
#[derive(Debug)]
pub struct Plan<'p> {
    /// Whether mode rules and rate limits hold.
    constrained: bool,
    policy: PhantomData<&'p [u8]>,
}

impl<'p> Plan<'p> {
    /// A plan of no policy, for [`Plan::fill`].
    pub(crate) const fn new() -> Self {
        Self {
            constrained: false,
            policy: PhantomData,
        }
    }

    /// Becomes the plan of a policy; every policy has one.
    pub(crate) const fn fill(&mut self, _: &Policy<'p>) -> Option<()> {
        Some(())
    }

    /// From now on with the policy's rate limits and mode rules, which golden vectors know nothing of.
    pub(crate) const fn constrain(
        &mut self,
        _: &Policy<'p>,
        _: &mut [f32; SCRATCH_LEN],
    ) -> Option<()> {
        self.constrained = true;
        Some(())
    }

    /// The controls that there are of as many as there could be.
    #[inline(always)]
    pub(crate) fn controls<'c>(
        &self,
        policy: &Policy<'p>,
        control: &'c mut [f32; CAPACITY.control],
    ) -> &'c mut [f32] {
        control.get_mut(..policy.control_dim()).unwrap_or_default()
    }

    /// From how many states with the same bits in a row on the sensor counts as frozen; 0: never.
    #[inline(always)]
    pub(crate) fn frozen_after(&self, policy: &Policy<'p>) -> u32 {
        policy.safety().supervision.map_or(0, |s| s.frozen_after)
    }

    /// Looks at a state: `None` unless it has the policy's length, is finite, and lies inside the envelope.
    #[inline(always)]
    pub fn observe(
        &self,
        policy: &Policy<'p>,
        state: &[f32],
        scratch: &mut [f32; SCRATCH_LEN],
    ) -> Option<Seen> {
        if state.len() != policy.state_dim() {
            return None;
        }
        let typical = match policy.safety().envelope {
            Some(_) => self.compare(policy, state, scratch)?,
            None if all_finite(state) => true,
            None => return None,
        };
        let hash = if self.frozen_after(policy) > 0 {
            hash(state)
        } else {
            0
        };
        Some(Seen { typical, hash })
    }

    /// Whether a state of the policy's length is typical, `None` outside the envelope; without one it is typical.
    pub(crate) fn compare(
        &self,
        policy: &Policy<'p>,
        state: &[f32],
        _: &mut [f32; SCRATCH_LEN],
    ) -> Option<bool> {
        let Some(envelope) = &policy.safety().envelope else {
            return Some(true);
        };
        // Both, so that one period takes as long as another.
        let within = inside(envelope.lower, envelope.upper, state);
        let typical = inside(envelope.typical_lower, envelope.typical_upper, state);
        within.then_some(typical)
    }

    /// The part of [`Plan::observe`] that a decision needs, without a look at the envelope: `false` unless the state has the policy's
    /// length.
    #[must_use]
    pub fn prepare(&self, policy: &Policy<'p>, state: &[f32], _: &mut [f32; SCRATCH_LEN]) -> bool {
        state.len() == policy.state_dim()
    }

    /// [`Policy::accepts`].
    pub(crate) fn accepts(
        &self,
        policy: &Policy<'p>,
        state: &[f32],
        scratch: &mut [f32; SCRATCH_LEN],
    ) -> bool {
        policy.accepts(state, scratch)
    }

    /// [`Policy::decide`], and once constrained [`Policy::decide_constrained`] with the policy's own mode rules and rate limits, `history`
    /// being the modes so far. For the state that [`Plan::observe`] or [`Plan::prepare`] was given, with the same scratch.
    ///
    /// # Errors
    /// As [`Policy::decide`].
    #[inline(always)]
    pub fn decide(
        &self,
        policy: &Policy<'p>,
        state: &[f32],
        control: &mut [f32],
        scratch: &mut [f32; SCRATCH_LEN],
        history: &ModeHistory,
    ) -> Result<Decision, DecideError> {
        let safety = policy.safety();
        if let Some(limits) = &safety.limits
            && self.constrained
            && history.age() == 0
        {
            for (control, &start) in control.iter_mut().zip(limits.start) {
                *control = start;
            }
        }
        let constraints = self.constrained.then(|| Constraints {
            rules: safety.mode_rules.as_ref(),
            history: *history,
            rate: safety.limits.as_ref().map(|limits| limits.rate),
        });
        policy.decide_constrained(state, control, scratch, constraints.as_ref())
    }
}

/// [`policy_format::admit`] without bounds.
#[must_use]
pub fn admit(u: &[f32], rate: Option<&[f32]>, control: &mut [f32]) -> bool {
    policy_format::admit(u, None, rate, control)
}
