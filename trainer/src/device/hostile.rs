//! Hostile inputs: what a sensor may give, what it must never give, and the edges between.
//!
//! Half of them are states the plant visits under the device's own actions, a quarter lie within 2 units in the
//! last place of a place where the controller's answer changes (found by bisection on its outcome, whatever
//! the cause: a tie of scores, a bound, the range of a float), a quarter are raw bit patterns. Every input has a time, and
//! one in sixteen one that a monitor must refuse (`hostile_times.rs`). Where the policy watches for a sensor that is frozen, a visited
//! state is repeated now and then until its monitor must say so.

use firmware::{
    Controller, ControllerState, Fault, Observation, Outcome, SCRATCH_LEN, control_step, supervisor,
};
use serde::Serialize;

use super::hil::{HostPlant, Instructions, difference};
use super::hostile_times::{HostileTimes, Stamp};
use super::session::Session;
use super::transport::Transport;
use crate::numeric::{Purpose, Stream};
use crate::{Error, Result};
use policy_format::message::Action;

/// What hostile inputs found; the keys are stable.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HostileReport {
    /// Inputs given.
    pub inputs: u64,
    /// Of those, the ones that were decided by networks, scores and gains: no fault kept them away.
    pub reached_network: u64,
    /// Inputs beside a threshold that bisection found.
    pub at_thresholds: u64,
    /// Valid states with a time that a monitor must refuse: stale, later than now, back, at rest, past the deadline.
    pub bad_times: u64,
    /// Times that a visited state was repeated, bit for bit, until a monitor must say that the sensor is frozen.
    pub frozen: u64,
    /// Actions that were not finite, beyond the bounds, or of a mode, choice or length that does not exist.
    pub inadmissible: u64,
    /// Inputs that were not finite and were answered without a fault, bad times and frozen sensors without theirs.
    pub missed_faults: u64,
    /// Actions that differed from the host's.
    pub mismatches: u64,
    /// The first failure of the three kinds, in words.
    pub first_failure: Option<String>,
    /// Instructions per control step; `None` on a link without instruction-counted time.
    pub instructions: Option<Instructions>,
}

impl HostileReport {
    /// `Ok` if every action was the host's and admissible, no fault was missed, and at least half of the inputs
    /// reached the network.
    ///
    /// # Errors
    /// [`Error::Negative`] with the first failure, or the share that reached the network.
    pub fn verdict(&self) -> Result<()> {
        if let Some(failure) = &self.first_failure {
            return Err(Error::Negative(format!(
                "hostile inputs: {} actions differ from the host's, {} are not admissible, {} faults were missed; \
                 first: {failure}",
                self.mismatches, self.inadmissible, self.missed_faults
            )));
        }
        if 2 * self.reached_network < self.inputs {
            return Err(Error::Negative(format!(
                "hostile inputs: {} of {} reached the network; at least half must",
                self.reached_network, self.inputs
            )));
        }
        Ok(())
    }
}

/// Inputs from one frozen sensor to the next, and the longest one that is waited for, so that most inputs are others.
const FREEZE_EVERY: u64 = 512;
const LONGEST_FREEZE: u32 = 64;

/// Where the inputs go and who knows the right answer.
pub(super) struct Arena<'a, 'p, D> {
    pub session: &'a mut Session<D>,
    pub host: &'a Controller<'p>,
    pub scratch: &'a mut [f32; SCRATCH_LEN],
    pub plant: &'a mut dyn HostPlant,
    /// Steps of an episode of visited states.
    pub steps: u64,
    /// Instructions of an answer, where they are counted.
    pub count: &'a dyn Fn(u32) -> Option<u64>,
}

impl<D: Transport> Arena<'_, '_, D> {
    /// Gives `inputs` hostile inputs, the same for the same `seed`.
    ///
    /// A latched fault is cleared after each input but one in eight, so that the answers of a latched
    /// controller are met and most inputs still reach the network.
    pub fn run(&mut self, inputs: u64, seed: u64) -> Result<HostileReport> {
        let mut report = HostileReport::default();
        let mut stream = Stream::new(seed, Purpose::Evaluation, u64::MAX);
        let mut counted = Counted::default();
        let dims = self.plant.dims();
        let mut expected = vec![0.0; dims.control];
        let mut state = ControllerState::new();
        let supervision = self.host.as_ref().ok();
        let supervision = supervision.and_then(|armed| armed.policy().safety().supervision);
        let supervision = supervision.unwrap_or_default();
        let mut times = HostileTimes::new(&supervision);
        // Repetitions of the visited state left; the last one is due for a fault.
        let mut repeats = 0;
        let (mut episode, mut step) = (0, 0);
        self.plant.reset(episode);
        self.session.reset()?;
        for index in 0..inputs {
            let visited: Vec<f32> = self.plant.state().iter().map(|&x| x as f32).collect();
            if index % FREEZE_EVERY == 0 && (2..=LONGEST_FREEZE).contains(&supervision.frozen_after)
            {
                self.session.reset()?;
                state = ControllerState::new();
                times.forget();
                repeats = supervision.frozen_after;
            }
            let frozen = repeats > 0;
            repeats = repeats.saturating_sub(1);
            let measured = match index % 4 {
                _ if frozen => visited,
                0 | 2 => visited,
                1 => self.beside_a_threshold(visited, &mut stream, &mut report),
                _ => (0..dims.state)
                    .map(|_| f32::from_bits(stream.next_u64() as u32))
                    .collect(),
            };
            let latched_before = state.latched().is_some();
            let bad = if frozen {
                (repeats == 0).then(|| (times.in_order(), Fault::SENSOR_FROZEN))
            } else if index % 16 == 0 {
                times.bad(stream.below(5))
            } else {
                None
            };
            let (stamp, due) = bad.map_or_else(
                || (times.in_order(), None),
                |(stamp, fault)| (stamp, Some(fault)),
            );
            let Stamp {
                measured_us,
                now_us,
            } = stamp;
            let action = self
                .session
                .step_at(index as u32, measured_us, now_us, &measured)?;
            let observation = Observation::new(&measured, measured_us.into(), now_us.into());
            let command = supervisor::step(self.host, &mut state, &observation, self.scratch);
            let outcome = Outcome {
                choice: command.choice(),
                mode: command.mode(),
                fault: command.fault(),
            };
            expected.fill(0.0);
            for (value, &control) in expected.iter_mut().zip(command.control()) {
                *value = control;
            }
            report.inputs += 1;
            if let Some(fault) = due.filter(|_| !latched_before) {
                if frozen {
                    report.frozen += 1;
                } else {
                    report.bad_times += 1;
                }
                if action.fault != fault.code() {
                    report.missed_faults += 1;
                    report.first_failure.get_or_insert_with(|| {
                        format!("{stamp:?}: found fault {:#06x}, due {fault}", action.fault)
                    });
                }
            }
            let inside = matches!(outcome.fault, None | Some(Fault::NON_FINITE_VALUE));
            report.reached_network += u64::from(inside && !latched_before);
            if let Some(count) = (self.count)(action.ticks) {
                counted.add(count);
            }
            let admissible = self.judge(&mut report, &measured, &action, &outcome, &expected);
            if index % 2 == 0 && admissible && !frozen {
                self.plant.step(action.mode.into(), &action.control);
                step += 1;
            }
            if step == self.steps {
                episode += 1;
                step = 0;
                self.plant.reset(episode);
            }
            if (state.latched().is_some() && stream.below(8) != 0) || times.are_late() {
                // Another fault than the one that is waited for.
                repeats = 0;
                self.session.reset()?;
                state = ControllerState::new();
                times.forget();
            }
        }
        report.instructions = counted.instructions();
        Ok(report)
    }

    /// Counts what is wrong with an action; whether it may be applied.
    fn judge(
        &self,
        report: &mut HostileReport,
        measured: &[f32],
        action: &Action,
        outcome: &Outcome,
        expected: &[f32],
    ) -> bool {
        let mut failures = Vec::new();
        if let Some(difference) = difference(action, outcome, expected) {
            report.mismatches += 1;
            failures.push(difference);
        }
        let dims = self.plant.dims();
        let policy = self.host.as_ref().ok().map(|armed| armed.policy());
        let bounds = policy.and_then(|policy| policy.bounds());
        // The regions of the choice that was made; a fallback law keeps to those of its own.
        let regions = policy.filter(|_| action.fault == 0);
        let regions = regions.and_then(|policy| policy.regions());
        let first = usize::from(action.choice) * dims.control;
        let inside = |(i, u): (usize, &f32)| {
            let region = regions.and_then(|regions| regions.get(first + i));
            u.is_finite()
                && bounds.is_none_or(|b| b.lower[i] <= *u && *u <= b.upper[i])
                && region.is_none_or(|region| region.lower <= *u && *u <= region.upper)
        };
        let admissible = action.control.len() == dims.control
            && usize::from(action.mode) < dims.modes
            && action.control.iter().enumerate().all(inside);
        if !admissible {
            report.inadmissible += 1;
            failures.push(format!("not admissible: {action:?}"));
        }
        if action.fault == 0 && measured.iter().any(|x| !x.is_finite()) {
            report.missed_faults += 1;
            failures.push("no fault".to_string());
        }
        if let Some(failure) = failures.first() {
            let bits: Vec<_> = measured
                .iter()
                .map(|x| format!("{:08x}", x.to_bits()))
                .collect();
            report
                .first_failure
                .get_or_insert_with(|| format!("state {}: {failure}", bits.join(" ")));
        }
        admissible
    }

    /// Moves one coordinate of `state` to within 2 units in the last place of a place where the answer changes.
    fn beside_a_threshold(
        &mut self,
        mut state: Vec<f32>,
        stream: &mut Stream,
        report: &mut HostileReport,
    ) -> Vec<f32> {
        let at = stream.below(state.len() as u64) as usize;
        let offset = stream.below(5) as i32 - 2;
        if stream.below(4) == 0 {
            // The edges of the number format itself.
            let edges = [
                0.0,
                f32::from_bits(1),
                f32::MIN_POSITIVE,
                f32::MAX,
                f32::INFINITY,
            ];
            let edge = edges[stream.below(edges.len() as u64) as usize];
            let signed = if stream.below(2) == 0 { edge } else { -edge };
            state[at] = from_key(key(signed).saturating_add(offset));
            return state;
        }
        let here = state[at];
        let other = match stream.below(3) {
            0 => f32::INFINITY,
            1 => -here,
            _ => here + 10.0 * stream.normal() as f32,
        };
        // At infinity the answer is a fault, so there is always a place between.
        for end in [other, f32::INFINITY] {
            state[at] = here;
            let mut answer = |value: f32| {
                state[at] = value;
                self.signature(&state)
            };
            let first = answer(here);
            if !here.is_finite() || answer(end) == first {
                continue;
            }
            let (mut low, mut high) = (key(here), key(end));
            while low.abs_diff(high) > 1 {
                let middle = i32::midpoint(low, high);
                if answer(from_key(middle)) == first {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            report.at_thresholds += 1;
            state[at] = from_key(low.saturating_add(offset));
            return state;
        }
        state
    }

    /// What a fresh controller on the host answers, without the values: choice, mode, fault, and which controls
    /// lie on a bound.
    fn signature(&mut self, measured: &[f32]) -> (u16, u16, u16, Vec<bool>) {
        let mut control = vec![0.0; self.plant.dims().control];
        let mut state = ControllerState::new();
        let outcome = control_step(self.host, &mut state, measured, &mut control, self.scratch);
        let bounds = self.host.as_ref().ok().and_then(|a| a.policy().bounds());
        let on_bound = control.iter().enumerate();
        let on_bound = on_bound
            .map(|(i, u)| bounds.is_some_and(|b| *u == b.lower[i] || *u == b.upper[i]))
            .collect();
        let fault = Fault::code_of(outcome.fault);
        (outcome.choice, outcome.mode, fault, on_bound)
    }
}

/// Floats in their order as integers: neighbours differ by 1, both zeros are 0.
fn key(value: f32) -> i32 {
    let bits = (value.to_bits() & 0x7FFF_FFFF) as i32;
    if value.is_sign_negative() {
        -bits
    } else {
        bits
    }
}

/// The float of a [`key`]; beyond infinity it is a NaN.
fn from_key(key: i32) -> f32 {
    let magnitude = f32::from_bits(key.unsigned_abs() & 0x7FFF_FFFF);
    if key < 0 { -magnitude } else { magnitude }
}

#[derive(Default)]
struct Counted {
    steps: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Counted {
    fn add(&mut self, count: u64) {
        self.min = if self.steps == 0 {
            count
        } else {
            self.min.min(count)
        };
        self.max = self.max.max(count);
        self.sum += count;
        self.steps += 1;
    }

    fn instructions(&self) -> Option<Instructions> {
        (self.steps > 0).then(|| Instructions {
            min: self.min,
            mean: self.sum as f64 / self.steps as f64,
            max: self.max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_keep_the_order_and_lead_back(a in any::<f32>(), b in any::<f32>()) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(key(a).cmp(&key(b)), a.partial_cmp(&b).unwrap());
            prop_assert_eq!(from_key(key(a)), a);
        }
    }

    #[test]
    fn neighbours_differ_by_one() {
        assert_eq!(from_key(key(1.0) + 1), 1.0_f32.next_up());
        assert_eq!(from_key(-1), -f32::from_bits(1));
        assert!(from_key(key(f32::INFINITY) + 1).is_nan());
        assert!(from_key(key(f32::NEG_INFINITY) - 2).is_nan());
    }

    #[test]
    fn too_few_inputs_at_the_network_are_no_pass() {
        let report = |reached_network| HostileReport {
            inputs: 10,
            reached_network,
            ..HostileReport::default()
        };
        assert!(report(5).verdict().is_ok());
        assert_eq!(report(4).verdict().unwrap_err().exit_code(), 1);
        let failed = HostileReport {
            first_failure: Some("x".into()),
            ..report(9)
        };
        assert!(failed.verdict().is_err());
    }
}
