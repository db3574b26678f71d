//! Validation: the arg-max policy on states that the trainer drew for itself.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::numeric::random::{Purpose, Stream};
use crate::numeric::{LANES, Lanes};
use crate::plant::{Plant, PlantModel};
use crate::policy::Model;
use crate::train::critic::Critic;
use crate::train::rollout::{Selection, Worker};

/// Validation states and the memory to run them, sixteen at a time.
pub struct Validation {
    workers: Vec<(Worker<f32>, usize)>,
    states: usize,
    cost_from: usize,
    arch: Arch,
}

impl Validation {
    /// Draws `states` validation states of `plant`, with process noise of their own where it has some.
    #[must_use]
    pub fn new(
        plant: &PlantModel,
        model: &Model,
        critic: &Critic,
        states: usize,
        seed: u64,
    ) -> Self {
        let dims = plant.dims();
        let mut initial = vec![0.0; dims.state];
        let workers = (0..states.div_ceil(LANES))
            .map(|block| {
                let mut worker = Worker::new(model, critic, plant.horizon(), dims.noise);
                let used = LANES.min(states - block * LANES);
                for lane in 0..used {
                    let mut stream =
                        Stream::new(seed, Purpose::Validation, (block * LANES + lane) as u64);
                    plant.draw_initial(&mut stream, &mut initial);
                    for (x, &value) in worker.tape.state.at_mut(0).iter_mut().zip(&initial) {
                        x.0[lane] = value as f32;
                    }
                    let tape = &mut worker.tape;
                    tape.draw_noise(plant.disturbance(), &mut stream, lane);
                }
                (worker, used)
            })
            .collect();
        Self {
            workers,
            states,
            cost_from: plant.cost_from(),
            arch: Arch::new(),
        }
    }

    /// Mean cost per episode with the arg-max selector.
    pub fn cost<P: Plant<f32>>(&mut self, plant: &P, model: &Model, parameters: &[f32]) -> f64 {
        let (arch, cost_from) = (self.arch, self.cost_from);
        let costs: Vec<f64> = self
            .workers
            .par_iter_mut()
            .map(|(worker, used)| {
                arch.dispatch(Run {
                    worker,
                    plant,
                    model,
                    parameters,
                });
                let tape = &worker.tape;
                let mut cost = Lanes::default();
                for t in cost_from..tape.steps() {
                    cost = cost + tape.cost.at(t)[0];
                }
                cost.0[..*used].iter().map(|&c| f64::from(c)).sum()
            })
            .collect();
        costs.iter().sum::<f64>() / self.states as f64
    }
}

struct Run<'a, P> {
    worker: &'a mut Worker<f32>,
    plant: &'a P,
    model: &'a Model,
    parameters: &'a [f32],
}

impl<P: Plant<f32>> WithSimd for Run<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        self.worker.rollout(
            self.plant,
            self.model,
            self.parameters,
            Selection::ArgMax,
            None,
        );
    }
}
