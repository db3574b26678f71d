//! The laws' gradient by score function alone, as PPO and REINFORCE take it, beside the mixed one, both for the same
//! policy whose control is perturbed by Gaussian noise.

use rayon::prelude::*;

use super::report::PartReport;
use super::sample::{Case, Estimates, fill, part_report};
use crate::numeric::random::{Purpose, Stream};
use crate::numeric::{LANES, Scalar};
use crate::plant::{Dims, Plant};
use crate::train::advantage::Advantages;
use crate::train::estimator;
use crate::train::rollout::{Selection, Worker};
use crate::train::statistics::Spread;

/// What [`Case::perturbed`] measures.
pub(super) struct Perturbed {
    /// The score-function estimate of the laws' gradient, aligned with the mean of the mixed one.
    pub(super) score: PartReport,
    /// Its variance over that of the mixed estimate.
    pub(super) ratio: f64,
}

impl Case<'_> {
    /// Score function against mixed gradient of the laws, for a control perturbed with standard deviation
    /// `deviation` in every component. Both use the same samples and the critic as their baseline.
    pub(super) fn perturbed(&self, batches: usize, deviation: f64) -> Perturbed {
        let (score, mixed): (Estimates, Estimates) = (0..batches)
            .into_par_iter()
            .map(|batch| self.pair(batch, deviation))
            .unzip();
        let laws = self.setup.selector_parameters()..self.setup.model.parameters();
        let reference = Spread::new(&mixed, laws.clone());
        let what = "score function (laws)";
        let score = part_report(what, &score, laws, &reference.mean);
        Perturbed {
            ratio: score.variance / (reference.variance * LANES as f64),
            score,
        }
    }

    /// Both estimates of one batch.
    fn pair(&self, batch: usize, deviation: f64) -> (Vec<f64>, Vec<f64>) {
        let setup = self.setup;
        let plant = PerturbedControl {
            plant: &setup.dynamics,
            deviation,
        };
        let (model, parameters, steps) = (&setup.model, &self.parameters, setup.horizon());
        let own_noise = setup.dynamics.dims().noise;
        let mut worker = Worker::new(model, &setup.critic, steps, plant.dims().noise);
        let tape = &mut worker.tape;
        tape.state
            .at_mut(0)
            .copy_from_slice(setup.template.tape.state.at(0));
        let mut stream = Stream::new(setup.seed, Purpose::Choice, batch as u64);
        let disturbance = setup.plant.disturbance();
        let mut noise = vec![0.0; own_noise];
        for t in 0..steps {
            for lane in 0..LANES {
                tape.uniform.at_mut(t)[0].0[lane] = stream.uniform();
                disturbance.draw(&mut stream, &mut noise);
                let (own, control) = tape.noise.at_mut(t).split_at_mut(own_noise);
                for (w, &value) in own.iter_mut().zip(&noise) {
                    w.0[lane] = value;
                }
                for w in control {
                    w.0[lane] = stream.normal();
                }
            }
        }
        let look = Some(self.look_ahead());
        worker.rollout(&plant, model, parameters, Selection::Sample, look);
        let mut advantages = Advantages::new(&setup.critic, steps);
        let tape = &worker.tape;
        advantages.evaluate(&setup.critic, &self.critic_parameters, tape, false);
        advantages.monte_carlo(tape, setup.discount);
        let share = 1.0 / LANES as f64;
        let mut score = vec![0.0; model.parameters()];
        worker.score_function_of_laws(
            model,
            parameters,
            own_noise,
            |t| advantages.advantage.at(t)[0] * (share / deviation),
            &mut score,
        );
        estimator::estimate(&setup.train, &worker.tape, setup.discount, &mut advantages);
        fill(setup, &mut worker, &advantages, share);
        let objective = estimator::objective(&setup.train, setup.discount, share);
        let mut mixed = vec![0.0; model.parameters()];
        worker.sweep(&plant, model, parameters, objective, &mut mixed);
        (score, mixed)
    }
}

/// A plant whose control is perturbed by Gaussian noise: the last m noise components.
struct PerturbedControl<'a, P> {
    plant: &'a P,
    deviation: f64,
}

impl<P: Plant<f64>> Plant<f64> for PerturbedControl<'_, P> {
    fn dims(&self) -> Dims {
        let dims = self.plant.dims();
        Dims {
            noise: dims.noise + dims.control,
            ..dims
        }
    }

    fn step<S: Scalar<f64>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        next: &mut [S],
    ) -> S {
        let (own, perturbation) = noise.split_at(self.plant.dims().noise);
        let u = self.perturb(u, perturbation);
        self.plant.step(mode, x, &u, own, next)
    }

    fn vjp<S: Scalar<f64>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        next: &[S],
        d_next: &[S],
        d_cost: S,
        d_x: &mut [S],
        d_u: &mut [S],
    ) {
        let (own, perturbation) = noise.split_at(self.plant.dims().noise);
        let u = self.perturb(u, perturbation);
        self.plant
            .vjp(mode, x, &u, own, next, d_next, d_cost, d_x, d_u);
    }

    fn count_clamped<S: Scalar<f64>>(&self, next: &[S]) -> u32 {
        self.plant.count_clamped(next)
    }
}

impl<P> PerturbedControl<'_, P> {
    fn perturb<S: Scalar<f64>>(&self, u: &[S], w: &[S]) -> Vec<S> {
        u.iter()
            .zip(w)
            .map(|(&u, &w)| u.add_scaled(self.deviation, w))
            .collect()
    }
}
