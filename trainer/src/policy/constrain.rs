//! Constraints in the training simulator: mode rules on the logits, rate limits on the control, and their adjoint.
//!
//! The rules are those of `policy_format::constraint`, lane by lane: the code that runs on the device. The state that they
//! add (last mode, its age, last control) is on the tape already: choices and applied controls of the step before.

use std::ops::Range;

use policy_format::ModeHistory;
use policy_format::constraint::{limit_rate, rate_is_active};

use crate::numeric::{LANES, Lanes, Real, Scalar};
use crate::policy::tape::Choices;
use crate::policy::{Model, Tape, Track};

/// Logit of a choice that the mode rules forbid: its probability is exactly 0, and 0 times it is 0.
const FORBIDDEN: f64 = -1e30;

impl Model {
    /// Whether the plant has rate limits.
    #[inline(always)]
    #[must_use]
    pub fn has_rate_limits(&self) -> bool {
        self.shape.constraints.rate.is_some()
    }

    /// Turns the logits of `steps` into scores: hysteresis for the held mode, [`FORBIDDEN`] where a mode may not come. While a
    /// dwell time runs, only choices of the held mode are left: with one law per mode its probability is 1, and
    /// the score function's term vanishes.
    #[inline(always)]
    pub(super) fn apply_mode_rules<T: Real>(&self, tape: &mut Tape<T>, steps: Range<usize>) {
        let Some(rules) = &self.shape.constraints.modes else {
            return;
        };
        let rules = rules.view();
        let modes = &self.shape.choice_modes;
        for t in steps {
            for lane in 0..LANES {
                let history = match t.checked_sub(1) {
                    None => ModeHistory::start(),
                    Some(before) => {
                        let choice = usize::from(tape.choice[before][lane]);
                        tape.history[before][lane].then(modes[choice] as u16)
                    }
                };
                tape.history[t][lane] = history;
                for (logit, &mode) in tape.logit.at_mut(t).iter_mut().zip(modes) {
                    logit.0[lane] = rules
                        .score(history, mode as u16, logit.0[lane])
                        .unwrap_or(T::from_f64(FORBIDDEN));
                }
            }
        }
    }

    /// Moves draws that fell through rounding behind the last allowed choice back onto it.
    #[inline(always)]
    pub(super) fn keep_draw_allowed<T: Real>(&self, tape: &mut Tape<T>, t: usize) {
        if self.shape.constraints.modes.is_none() {
            return;
        }
        let probabilities = tape.probability.at(t);
        for (lane, choice) in tape.choice[t].iter_mut().enumerate() {
            while *choice > 0 && probabilities[usize::from(*choice)].0[lane] <= T::default() {
                *choice -= 1;
            }
        }
    }

    /// Regions of `choice` or bounds, and rate limits, on a control `[m]` that may be applied at step `t`, in place; `applied` holds what was applied
    /// before.
    #[inline(always)]
    pub fn constrain<T: Real>(
        &self,
        applied: &Track<T>,
        t: usize,
        choice: usize,
        control: &mut [Lanes<T>],
    ) {
        match &self.shape.regions {
            None => self.bound(control),
            Some(regions) => {
                let first = choice * control.len();
                for (i, u) in control.iter_mut().enumerate() {
                    let region = regions.get::<T>(first + i);
                    *u = u.map(|u| region.onto(u));
                }
            }
        }
        if self.has_rate_limits() {
            let before = t.checked_sub(1).map(|before| applied.at(before));
            self.limit(before, control);
        }
    }

    /// [`Model::constrain`] on the tape's applied control of step `t` itself.
    #[inline(always)]
    pub fn constrain_applied<T: Real>(&self, applied: &mut Track<T>, choices: &Choices, t: usize) {
        match &self.shape.regions {
            None => self.bound(applied.at_mut(t)),
            Some(regions) => {
                let control = applied.at_mut(t);
                for lane in 0..LANES {
                    let first = usize::from(choices[lane]) * control.len();
                    for (i, u) in control.iter_mut().enumerate() {
                        u.0[lane] = regions.get::<T>(first + i).onto(u.0[lane]);
                    }
                }
            }
        }
        if !self.has_rate_limits() {
            return;
        }
        match t.checked_sub(1) {
            None => self.limit(None, applied.at_mut(0)),
            Some(before) => {
                let (before, control) = applied.pair(before);
                self.limit(Some(before), control);
            }
        }
    }

    /// Adjoint of regions or bounds at step `t`: on entry `d_law` `[m]` is the loss derivative of the control that they give, on
    /// exit that of the law.
    #[inline(always)]
    pub(super) fn region_adjoint<T: Real>(&self, tape: &mut Tape<T>, t: usize) {
        let (d_law, law) = (tape.d_law.at_mut(t), tape.law.at(t));
        if let Some(regions) = &self.shape.regions {
            let (zero, one) = (T::from_f64(0.0), T::from_f64(1.0));
            for lane in 0..LANES {
                let first = usize::from(tape.choice[t][lane]) * law.len();
                for (i, (d, u)) in d_law.iter_mut().zip(law).enumerate() {
                    let slope = regions.get::<T>(first + i).slope(u.0[lane], zero, one);
                    d.0[lane] = d.0[lane] * slope;
                }
            }
        } else if let Some((lower, upper)) = &self.shape.bounds {
            for (i, (d, &u)) in d_law.iter_mut().zip(law).enumerate() {
                *d = *d * u.gate(T::from_f64(lower[i]), T::from_f64(upper[i]));
            }
        }
    }

    /// The rate limit against the control before, or against the start.
    #[inline(always)]
    fn limit<T: Real>(&self, before: Option<&[Lanes<T>]>, control: &mut [Lanes<T>]) {
        let Some(rate) = &self.shape.constraints.rate else {
            return;
        };
        for (i, u) in control.iter_mut().enumerate() {
            let step = T::from(rate.step[i]);
            let previous = match before {
                Some(before) => before[i],
                None => Lanes([T::from(rate.start[i]); LANES]),
            };
            *u = u.zip(previous, |u, p| limit_rate(u, p, step));
        }
    }

    /// Adjoint of the rate limit at step `t`. On entry `d_control` `[m]` is the derivative through the plant, `d_previous` what
    /// step t + 1 sends back to this step's control; on exit `d_control` is the derivative of the bounded control and
    /// `d_previous` that of the control applied at step t - 1. At equality the limit counts as active.
    #[inline(always)]
    pub fn rate_adjoint<T: Real>(
        &self,
        tape: &Tape<T>,
        t: usize,
        d_control: &mut [Lanes<T>],
        d_previous: &mut [Lanes<T>],
        bounded: &mut [Lanes<T>],
    ) {
        let Some(rate) = &self.shape.constraints.rate else {
            return;
        };
        bounded.copy_from_slice(tape.law.at(t));
        self.bound(bounded);
        let before = t.checked_sub(1).map(|before| tape.applied.at(before));
        for i in 0..d_control.len() {
            let step = T::from(rate.step[i]);
            for lane in 0..LANES {
                let previous = match before {
                    Some(before) => before[i].0[lane],
                    None => T::from(rate.start[i]),
                };
                let total = d_control[i].0[lane] + d_previous[i].0[lane];
                let active = rate_is_active(bounded[i].0[lane], previous, step);
                let (here, back) = if active {
                    (T::default(), total)
                } else {
                    (total, T::default())
                };
                d_control[i].0[lane] = here;
                d_previous[i].0[lane] = back;
            }
        }
    }
}
