//! What a device may answer in a faulty loop.

use firmware::{Controller, SCRATCH_LEN, boot, boot_on};
use policy_format::message::{Action, MAX_CONTROL};

use super::run::Course;
use crate::Result;
use crate::device::hil::{HostPlant, fits};
use crate::export::PolicyBuffer;

/// What the device may answer, by the policy in its slot and its last command.
pub(super) struct Limits {
    modes: usize,
    control_dim: usize,
    bounds: Option<(Vec<f32>, Vec<f32>)>,
    rate: Option<(Vec<f32>, Vec<f32>)>,
    last: Vec<f32>,
    /// The policy was armed.
    armed: bool,
}

/// Boots `slot` on the host.
///
/// # Errors
/// [`Error::Usage`] if it is armed and does not fit the plant.
pub(super) fn check_file(course: &Course<'_>, slot: &[u8], plant: &dyn HostPlant) -> Result<()> {
    let buffer = PolicyBuffer::new(slot);
    let mut scratch = Box::new([0.0; SCRATCH_LEN]);
    match controller(course, &buffer, &mut scratch) {
        Ok(armed) => fits(&armed, plant.dims()),
        Err(_) => Ok(()),
    }
}

fn controller<'p>(
    course: &Course<'_>,
    slot: &'p PolicyBuffer,
    scratch: &mut [f32; SCRATCH_LEN],
) -> Controller<'p> {
    match &course.offer {
        Some(offer) => boot_on(offer, slot.bytes(), course.target_class, scratch),
        None => boot(slot.bytes(), course.target_class, scratch),
    }
}

/// What the device may answer with the policy in `slot`.
pub(super) fn limits(course: &Course<'_>, slot: &[u8]) -> Limits {
    let buffer = PolicyBuffer::new(slot);
    let mut scratch = Box::new([0.0; SCRATCH_LEN]);
    let Ok(armed) = controller(course, &buffer, &mut scratch) else {
        return Limits {
            modes: 1,
            control_dim: 0,
            bounds: None,
            rate: None,
            last: Vec::new(),
            armed: false,
        };
    };
    let policy = armed.policy();
    let pair = |one: &[f32], other: &[f32]| (one.to_vec(), other.to_vec());
    Limits {
        modes: policy.modes(),
        control_dim: policy.control_dim(),
        bounds: policy.bounds().map(|b| pair(b.lower, b.upper)),
        rate: policy.safety().limits.map(|l| pair(l.rate, l.start)),
        last: Vec::new(),
        armed: true,
    }
}

impl Limits {
    /// The device begins an episode or was reset.
    pub(super) fn restart(&mut self) {
        self.last = self
            .rate
            .as_ref()
            .map_or_else(Vec::new, |(_, start)| start.clone());
    }

    /// Why an action may not go to an actuator; it becomes the last command.
    pub(super) fn refuse(&mut self, action: &Action) -> Option<String> {
        let control = &action.control;
        let exists = usize::from(action.mode) < self.modes
            && control.len() == self.control_dim
            && control.len() <= MAX_CONTROL;
        let inside = |(i, u): (usize, &f32)| {
            let bounds = self.bounds.as_ref();
            let rate = self
                .rate
                .as_ref()
                .filter(|_| self.last.len() == control.len());
            u.is_finite()
                && bounds.is_none_or(|(lower, upper)| lower[i] <= *u && *u <= upper[i])
                && rate.is_none_or(|(step, _)| {
                    self.last[i] - step[i] <= *u && *u <= self.last[i] + step[i]
                })
        };
        let named = self.armed || action.fault != 0;
        let admissible = exists && named && control.iter().enumerate().all(inside);
        if self.rate.is_some() {
            self.last = control.to_vec();
        }
        (!admissible).then(|| format!("not admissible: {action:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(control: &[f32]) -> Action {
        Action {
            seq: 1,
            choice: 0,
            mode: 0,
            fault: 0,
            control: control.iter().copied().collect(),
            ticks: 0,
        }
    }

    #[test]
    fn what_may_not_be_applied_is_refused() {
        let mut limits = Limits {
            modes: 2,
            control_dim: 1,
            bounds: Some((vec![-1.0], vec![1.0])),
            rate: Some((vec![0.5], vec![0.0])),
            last: Vec::new(),
            armed: true,
        };
        limits.restart();
        let mut refused = |control: &[f32]| limits.refuse(&action(control)).is_some();
        assert!(!refused(&[0.5]));
        assert!(!refused(&[1.0]));
        assert!(refused(&[0.25]), "beyond the rate");
        assert!(!refused(&[0.5]));
        assert!(refused(&[f32::NAN]), "not finite");
        limits.restart();
        limits.last = vec![0.9];
        assert!(
            limits.refuse(&action(&[1.1])).is_some(),
            "beyond the bounds"
        );
        assert!(limits.refuse(&action(&[])).is_some(), "no control");
        let mode = Action {
            mode: 2,
            ..action(&[1.0])
        };
        assert!(limits.refuse(&mode).is_some(), "no such mode");
        // Without a policy only the safe constant may come, with its reason.
        let mut none = Limits {
            modes: 1,
            control_dim: 0,
            bounds: None,
            rate: None,
            last: Vec::new(),
            armed: false,
        };
        assert!(none.refuse(&action(&[])).is_some());
        let constant = Action {
            fault: 1,
            ..action(&[])
        };
        assert!(none.refuse(&constant).is_none());
    }
}
