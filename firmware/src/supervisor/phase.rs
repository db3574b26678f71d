//! Who acts: the supervisor's state machine.

use crate::fault::Fault;

/// Who acts. Its three values are all there is: a fallback law without a reason, or a policy that acts
/// while a fault is pending, cannot be expressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// The policy acts.
    #[default]
    Policy,
    /// The fallback law acts until `healthy` periods in a row had no fault.
    Fallback {
        /// The first fault since the policy acted.
        reason: Fault,
        /// Periods without a fault so far.
        healthy: u32,
    },
    /// The fallback law acts until somebody acknowledges the fault.
    Locked {
        /// The fault.
        reason: Fault,
    },
}

impl Phase {
    /// The phase after a fault: locked if it is lasting or the policy knows no return, else fallback.
    #[inline(never)]
    #[must_use]
    pub fn tripped(self, fault: Fault, recover_after: u32) -> Self {
        match self {
            Self::Locked { .. } => self,
            _ if recover_after == 0 || !fault.is_transient() => Self::Locked { reason: fault },
            Self::Policy => Self::Fallback {
                reason: fault,
                healthy: 0,
            },
            // The first reason is the cause; what follows may be its consequence.
            Self::Fallback { reason, .. } => Self::Fallback { reason, healthy: 0 },
        }
    }

    /// The phase after one period whose measurement passed or failed the checks.
    #[must_use]
    pub fn observed(self, check: Result<(), Fault>, recover_after: u32) -> Self {
        match (self, check) {
            (_, Err(fault)) => self.tripped(fault, recover_after),
            (Self::Fallback { reason, healthy }, Ok(())) => {
                let healthy = healthy.saturating_add(1);
                if healthy >= recover_after {
                    Self::Policy
                } else {
                    Self::Fallback { reason, healthy }
                }
            }
            (Self::Policy | Self::Locked { .. }, Ok(())) => self,
        }
    }

    /// Why the fallback law acts, `None` while the policy does.
    #[must_use]
    pub const fn reason(self) -> Option<Fault> {
        match self {
            Self::Policy => None,
            Self::Fallback { reason, .. } | Self::Locked { reason } => Some(reason),
        }
    }
}
