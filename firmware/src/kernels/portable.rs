//! A policy's run-time form for cores without kernels of their own: the policy itself.

use core::marker::PhantomData;

use policy_format::{Constraints, DecideError, Decision, ModeHistory, Policy, inside};

use crate::boot::SCRATCH_LEN;

pub use policy_format::all_finite;

use super::{Seen, hash};

/// What a policy computes: [`Policy::decide_constrained`] of the policy itself.
#[derive(Debug)]
pub struct Plan<'p> {
    policy: PhantomData<&'p [u8]>,
}

impl<'p> Plan<'p> {
    /// A plan of no policy, for [`Plan::fill`].
    pub(crate) const fn new() -> Self {
        Self {
            policy: PhantomData,
        }
    }

    /// Becomes the plan of a policy; every policy has one.
    pub(crate) const fn fill(&mut self, _: &Policy<'p>) -> Option<()> {
        Some(())
    }

    /// Looks at a state: `None` unless it has the policy's length and lies inside the envelope.
    #[inline(always)]
    pub fn observe(
        &self,
        policy: &Policy<'p>,
        state: &[f32],
        _: &mut [f32; SCRATCH_LEN],
    ) -> Option<Seen> {
        if state.len() != policy.state_dim() {
            return None;
        }
        let safety = policy.safety();
        let mut typical = true;
        if let Some(envelope) = &safety.envelope {
            typical = inside(envelope.typical_lower, envelope.typical_upper, state);
            if !inside(envelope.lower, envelope.upper, state) {
                return None;
            }
        }
        let hashes = safety.supervision.is_some_and(|s| s.frozen_after > 0);
        let hash = if hashes { hash(state) } else { 0 };
        Some(Seen { typical, hash })
    }

    /// The part of [`Plan::observe`] that a decision needs, without a look at the envelope: `false` unless the state has the policy's
    /// length.
    #[must_use]
    pub fn prepare(&self, policy: &Policy<'p>, state: &[f32], _: &mut [f32; SCRATCH_LEN]) -> bool {
        state.len() == policy.state_dim()
    }

    /// [`Policy::decide_constrained`] with the policy's own mode rules and rate limits, `history` being the modes so far; `None`:
    /// without either. For the state that [`Plan::observe`] or [`Plan::prepare`] was given, with the same scratch.
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
        history: Option<&ModeHistory>,
    ) -> Result<Decision, DecideError> {
        let safety = policy.safety();
        let constraints = history.map(|&history| Constraints {
            rules: safety.mode_rules.as_ref(),
            history,
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
