//! What actuators take.

use crate::fault::Fault;

/// A checked action: finite, inside the bounds and the rate limits of its policy.
///
/// There is no way to make one but [`crate::supervisor::step`], so what drives an actuator has been supervised:
///
/// ```compile_fail,E0451
/// let command = firmware::supervisor::Command { control: &[1.0], choice: 0, mode: 0, fault: None, typical: true };
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Command<'s> {
    pub(super) control: &'s [f32],
    pub(super) choice: u16,
    pub(super) mode: u16,
    pub(super) fault: Option<Fault>,
    pub(super) typical: bool,
}

impl<'s> Command<'s> {
    /// What an actuator gets without an armed policy.
    pub(super) const fn safe(fault: Option<Fault>) -> Self {
        Self {
            control: &[],
            choice: 0,
            mode: 0,
            fault,
            typical: false,
        }
    }

    /// The control in the plant's units, of the policy's length m; empty without an armed policy, which
    /// means zero for every actuator.
    #[must_use]
    pub const fn control(&self) -> &'s [f32] {
        self.control
    }

    /// The plant mode to apply.
    #[must_use]
    pub const fn mode(&self) -> u16 {
        self.mode
    }

    /// The choice that the policy made; 0 when the fallback law acts.
    #[must_use]
    pub const fn choice(&self) -> u16 {
        self.choice
    }

    /// Why the fallback law acts; `None` while the policy does.
    #[must_use]
    pub const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Whether the state lay where the states of training lay; true where the policy does not say.
    #[must_use]
    pub const fn in_distribution(&self) -> bool {
        self.typical
    }
}
