//! A plant file's plant as the host's half of hardware in the loop.

use super::hil::HostPlant;
use crate::numeric::{Purpose, Stream};
use crate::plant::{BuiltPlant, Plant, PlantModel};

/// A plant in `f64` with initial states and noise drawn by seed and episode.
///
/// Episode `i` starts at the same state and meets the same noise whatever ran before it. The shipped
/// test states are not used: only evaluation and references may read them.
#[derive(Debug)]
pub struct PlantLoop<'a> {
    model: &'a PlantModel,
    plant: BuiltPlant<f64>,
    seed: u64,
    noise: Stream,
    /// Steps of the episode so far.
    time: usize,
    state: Vec<f64>,
    next: Vec<f64>,
    control: Vec<f64>,
    disturbance: Vec<f64>,
}

impl<'a> PlantLoop<'a> {
    /// The plant of `model` with the random numbers of `seed`.
    #[must_use]
    pub fn new(model: &'a PlantModel, seed: u64) -> Self {
        let dims = model.dims();
        Self {
            model,
            plant: model.build(),
            seed,
            noise: Stream::new(seed, Purpose::Noise, 0),
            time: 0,
            state: vec![0.0; dims.state],
            next: vec![0.0; dims.state],
            control: vec![0.0; dims.control],
            disturbance: vec![0.0; dims.noise],
        }
    }
}

impl HostPlant for PlantLoop<'_> {
    fn dims(&self) -> crate::plant::Dims {
        self.model.dims()
    }

    fn reset(&mut self, episode: u64) {
        let mut initial = Stream::new(self.seed, Purpose::Evaluation, episode);
        self.model.draw_initial(&mut initial, &mut self.state);
        self.noise = Stream::new(self.seed, Purpose::Noise, episode);
        self.time = 0;
    }

    fn state(&self) -> &[f64] {
        &self.state
    }

    fn step(&mut self, mode: usize, control: &[f32]) -> f64 {
        for (wide, &value) in self.control.iter_mut().zip(control) {
            *wide = value.into();
        }
        let disturbance = self.model.disturbance();
        disturbance.draw(&mut self.noise, &mut self.disturbance);
        let cost = self.plant.step(
            mode,
            &self.state,
            &self.control,
            &self.disturbance,
            &mut self.next,
        );
        std::mem::swap(&mut self.state, &mut self.next);
        self.time += 1;
        // What comes before is warm-up.
        if self.time > self.model.cost_from() {
            cost
        } else {
            0.0
        }
    }
}
