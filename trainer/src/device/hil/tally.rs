//! The loop without faults, and what it counts.

use std::time::Instant;

use firmware::{Controller, ControllerState, Outcome, SCRATCH_LEN, control_step};
use policy_format::message::Action;

use super::super::session::Session;
use super::super::transport::Transport;
use super::{HilConfig, HilReport, HostPlant, Instructions, StepRecord, difference};
use crate::{Error, Result};

/// What the loop counts.
#[derive(Default)]
pub(super) struct Tally {
    steps: u64,
    mismatches: u64,
    first_mismatch: Option<String>,
    cost: f64,
    instructions_min: u64,
    instructions_max: u64,
    instructions_sum: u64,
    seconds: f64,
}

impl Tally {
    #[expect(
        clippy::too_many_arguments,
        reason = "the two ends of the loop and what is between them"
    )]
    pub fn run<D: Transport>(
        &mut self,
        config: &HilConfig,
        count: &dyn Fn(u32) -> Option<u64>,
        session: &mut Session<D>,
        host: &Controller<'_>,
        scratch: &mut [f32; SCRATCH_LEN],
        plant: &mut dyn HostPlant,
        observe: &mut dyn FnMut(&StepRecord<'_>),
    ) -> Result<()> {
        let dims = plant.dims();
        let mut measured = vec![0.0_f32; dims.state];
        let mut expected = vec![0.0_f32; dims.control];
        self.instructions_min = u64::MAX;
        let start = Instant::now();
        for episode in 0..config.episodes {
            plant.reset(episode);
            session.reset()?;
            let mut state = ControllerState::new();
            for step in 0..config.steps {
                for (sensor, &value) in measured.iter_mut().zip(plant.state()) {
                    // A sensor of binary32: rounding to nearest is the measurement.
                    *sensor = value as f32;
                }
                // Only names the answer, so wrapping around is harmless.
                let action = session.step(self.steps as u32, &measured)?;
                let outcome = control_step(host, &mut state, &measured, &mut expected, scratch);
                self.compare(episode, step, &action, &outcome, &expected);
                let instructions = count(action.ticks);
                self.count(instructions);
                if action.control.len() != dims.control || usize::from(action.mode) >= dims.modes {
                    return Err(Error::Negative(format!(
                        "episode {episode} step {step}: the device's action has mode {} and {} \
                         controls; the plant has {} modes and {} controls",
                        action.mode,
                        action.control.len(),
                        dims.modes,
                        dims.control
                    )));
                }
                let cost = plant.step(action.mode.into(), &action.control);
                self.cost += cost;
                self.steps += 1;
                observe(&StepRecord {
                    episode,
                    step,
                    measured: &measured,
                    action: &action,
                    instructions,
                    cost,
                });
            }
        }
        self.seconds = start.elapsed().as_secs_f64();
        Ok(())
    }

    fn count(&mut self, instructions: Option<u64>) {
        if let Some(count) = instructions {
            self.instructions_min = self.instructions_min.min(count);
            self.instructions_max = self.instructions_max.max(count);
            self.instructions_sum += count;
        }
    }

    fn compare(
        &mut self,
        episode: u64,
        step: u64,
        action: &Action,
        outcome: &Outcome,
        expected: &[f32],
    ) {
        if let Some(difference) = difference(action, outcome, expected) {
            self.mismatches += 1;
            self.first_mismatch
                .get_or_insert_with(|| format!("episode {episode} step {step}: {difference}"));
        }
    }

    pub fn write_to(self, report: &mut HilReport, config: &HilConfig, counted: bool) {
        report.episodes = config.episodes;
        report.steps = self.steps;
        report.mismatches = self.mismatches;
        report.bit_exact = self.mismatches == 0;
        report.first_mismatch = self.first_mismatch;
        report.mean_cost = Some(self.cost / config.episodes as f64);
        report.steps_per_second = self.steps as f64 / self.seconds;
        report.instructions = counted.then(|| Instructions {
            min: self.instructions_min,
            mean: self.instructions_sum as f64 / self.steps as f64,
            max: self.instructions_max,
        });
    }
}
