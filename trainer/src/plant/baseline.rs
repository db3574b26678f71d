//! Controllers that a plant family brings along: what a learned policy is to be measured against.

use policy_format::ModeHistory;
use policy_format::constraint::limit_rate;

use super::{Constraints, ControlBounds};

/// A controller that needs only time and state.
pub trait ReferencePolicy: Sync {
    /// Writes the control (length m) for state `x` (length n) at step `t` and returns the mode.
    ///
    /// Beyond the horizon for which a time-varying policy was made it acts as at its last step.
    fn act(&self, t: usize, x: &[f64], u: &mut [f64]) -> usize;

    /// Writes the control for state `x` in `mode`, which the plant's mode rules have put in the place of the one that
    /// [`ReferencePolicy::act`] asked for. False, the default: the controller has none for other modes than its own, and
    /// is simulated without mode rules and rate limits.
    fn act_in(&self, _mode: usize, _x: &[f64], _u: &mut [f64]) -> bool {
        false
    }
}

/// A classical controller of a plant family, by the name that `hpo eval` takes.
pub struct Baseline {
    /// Its name: lower case, no spaces.
    pub name: &'static str,
    /// What it is in one line, with the numbers it was tuned to.
    pub description: String,
    /// The controller.
    pub policy: Box<dyn ReferencePolicy + Send>,
}

impl std::fmt::Debug for Baseline {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Baseline({}: {})", self.name, self.description)
    }
}

/// What stands between a reference controller and the plant in one episode: the plant's mode rules and rate limits, as
/// for a policy (for controllers that have [`ReferencePolicy::act_in`]), and the control bounds.
#[derive(Debug)]
pub struct Obedience<'a> {
    bounds: Option<&'a ControlBounds>,
    constraints: &'a Constraints,
    history: ModeHistory,
    /// Control of the period before `[m]`; empty before the first.
    before: Vec<f32>,
}

impl<'a> Obedience<'a> {
    /// Before the first period of an episode.
    #[must_use]
    pub fn new(bounds: Option<&'a ControlBounds>, constraints: &'a Constraints) -> Self {
        Self {
            bounds,
            constraints,
            history: ModeHistory::start(),
            before: Vec::new(),
        }
    }

    /// The controller's control (length m) and mode for state `x` (length n) under what binds it; the second value is the
    /// number of controls that the bounds cut.
    ///
    /// Where the mode rules forbid the wanted mode, the allowed mode whose number is nearest to it takes its place.
    pub fn act<P: ReferencePolicy + ?Sized>(
        &mut self,
        policy: &P,
        t: usize,
        x: &[f64],
        u: &mut [f64],
    ) -> (usize, u32) {
        let wanted = policy.act(t, x, u);
        let mode = self.allowed(wanted);
        let obeys = !self.constraints.is_empty() && policy.act_in(mode, x, u);
        let mode = if obeys { mode } else { wanted };
        let mut limited = 0;
        if let Some(bounds) = self.bounds {
            for (i, u) in u.iter_mut().enumerate() {
                let cut = u.clamp(bounds.lower[i], bounds.upper[i]);
                limited += u32::from(cut != *u);
                *u = cut;
            }
        }
        if let (true, Some(rate)) = (obeys, &self.constraints.rate) {
            for (i, u) in u.iter_mut().enumerate() {
                // In binary32, as on the device: else a step could be too long by a rounding.
                let before = self.before.get(i).copied().unwrap_or(rate.start[i]);
                *u = f64::from(limit_rate(*u as f32, before, rate.step[i]));
            }
            self.before.clear();
            self.before.extend(u.iter().map(|&u| u as f32));
        }
        // Modes are fewer than 2^16 (`MAX_SIZE` of plant files).
        self.history = self.history.then(mode as u16);
        (mode, limited)
    }

    fn allowed(&self, wanted: usize) -> usize {
        let Some(rules) = &self.constraints.modes else {
            return wanted;
        };
        let view = rules.view();
        (0..rules.dwell.len())
            .filter(|&mode| view.allows(self.history, mode as u16))
            .min_by_key(|mode| mode.abs_diff(wanted))
            .unwrap_or(wanted)
    }
}
