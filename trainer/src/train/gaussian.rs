//! Gaussian noise on the control, and the surrogate loss of score-function algorithms.
//!
//! The drawn control is u = mu(s, c) + sigma r w with w standard normal, sigma `[m]` per coordinate and r = |xi|
//! with unit-norm input (so that noise and control shrink together), else 1. The factor r and the
//! bounds behind u do not depend on the parameters and leave the ratio of probabilities alone:
//!
//!     ln p(c, u | s) = ln pi(c | s) - |z|^2 / 2 - sum_i ln sigma_i + const,   z = (u - mu) / (sigma r)

use pulp::{Simd, WithSimd};

use crate::numeric::{LANES, Lanes, Real};
use crate::plant::Plant;
use crate::policy::{InputKind, Model, Tape, Track};
use crate::train::advantage::{self, sample_weight};
use crate::train::rollout::Worker;
use crate::train::settings::Advantage;
use crate::train::shard::{Context, Shard};

/// What a rollout with noise remembers; empty for algorithms without.
#[derive(Clone, Debug)]
pub struct Gaussian<T> {
    /// Standard normal w `[m]`.
    pub perturbation: Track<T>,
    /// Drawn control before bounds `[m]`.
    control: Track<T>,
    /// Logarithm of the probability of choice and control at rollout, less constants `[1]`.
    log_probability: Track<T>,
    /// Loss derivative of ln sigma `[m]`.
    pub d_log_std: Vec<T>,
    z: Vec<Lanes<T>>,
}

impl<T: Real> Gaussian<T> {
    /// Memory for `steps` steps of `controls` control coordinates.
    #[must_use]
    pub fn new(steps: usize, controls: usize) -> Self {
        Self {
            perturbation: Track::new(steps, controls),
            control: Track::new(steps, controls),
            log_probability: Track::new(steps, 1),
            d_log_std: vec![T::default(); controls],
            z: vec![Lanes::default(); controls],
        }
    }
}

/// |xi| with unit-norm input, else 1; and its inverse (0 at the origin).
#[inline(always)]
fn radius<T: Real>(model: &Model, tape: &Tape<T>, t: usize) -> (Lanes<T>, Lanes<T>) {
    match model.shape().input {
        InputKind::UnitNorm => (
            tape.norm.at(t)[0],
            advantage::safe_inverse(tape.norm.at(t)[1]),
        ),
        InputKind::Affine => (
            Lanes([T::from_f64(1.0); LANES]),
            Lanes([T::from_f64(1.0); LANES]),
        ),
    }
}

/// Runs the policy with noise from `worker.tape.state[0]`; returns the number of simulator calls.
#[inline(always)]
pub fn rollout<T: Real, P: Plant<T>>(
    worker: &mut Worker<T>,
    memory: &mut Gaussian<T>,
    plant: &P,
    model: &Model,
    parameters: &[T],
    log_std: &[T],
) -> u64 {
    let steps = worker.tape.steps();
    worker.tape.clamped = 0;
    for t in 0..steps {
        model.observe(&mut worker.tape, t);
        model.select(parameters, &mut worker.tape, t);
        model.draw(&mut worker.tape, t);
        model.hidden(parameters, &mut worker.tape, t);
        worker.act(model, parameters, t);
        let tape = &mut worker.tape;
        let (radius, _) = radius(model, tape, t);
        let mut square = Lanes::default();
        let mut log_stds = T::default();
        let control = memory.control.at_mut(t);
        for (i, (u, &w)) in control
            .iter_mut()
            .zip(memory.perturbation.at(t))
            .enumerate()
        {
            *u = (w * radius).mul_add(Lanes([log_std[i].exp(); LANES]), tape.law.at(t)[i]);
            square = w.mul_add(w, square);
            log_stds += log_std[i];
        }
        tape.applied.at_mut(t).copy_from_slice(control);
        model.bound(tape.applied.at_mut(t));
        let choice = advantage::taken(tape.probability.at(t), &tape.choice[t]);
        memory.log_probability.at_mut(t)[0] = log_probability(choice, square, log_stds);
        worker.step_chosen(plant, model, t);
        worker.tape.clamped += plant.count_clamped(worker.tape.state.at(t + 1));
    }
    (steps * LANES) as u64
}

#[inline(always)]
fn log_probability<T: Real>(choice: Lanes<T>, square: Lanes<T>, log_stds: T) -> Lanes<T> {
    // A choice drawn through rounding may have had probability zero.
    let least = T::from_f64(1e-30);
    choice.map(|p| if p > least { p } else { least }.ln())
        - square * T::from_f64(0.5)
        - Lanes([log_stds; LANES])
}

/// Rollout of one shard with noise, critic values, targets and weighted advantages.
pub(super) struct Explore<'a, P> {
    pub shard: &'a mut Shard,
    pub context: Context<'a, P>,
}

impl<P: Plant<f32>> WithSimd for Explore<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { shard, context } = self;
        let (train, state) = (context.train, context.state);
        shard.calls = rollout(
            &mut shard.worker,
            &mut shard.gaussian,
            context.plant,
            context.model,
            &state.parameters,
            &state.log_std,
        );
        shard
            .worker
            .value_last(context.model, context.critic, &state.critic);
        let tape = &shard.worker.tape;
        let advantages = &mut shard.advantages;
        advantages.evaluate(context.critic, &state.critic, tape, train.bootstrap);
        let lambda = train.gae_lambda as f32;
        advantages.targets(
            context.critic,
            tape,
            context.discount,
            lambda,
            &mut shard.regression,
        );
        match train.advantage {
            Advantage::MonteCarlo => advantages.monte_carlo(tape, context.discount),
            Advantage::Gae | Advantage::LookAhead => {
                advantages.generalised(tape, context.discount, lambda);
            }
        }
        let (mut sum, mut square) = (Lanes::default(), Lanes::default());
        let (mut cost, mut entropy) = (Lanes::default(), Lanes::default());
        for t in 0..tape.steps() {
            let weight = sample_weight(tape.norm.at(t), train.choice_weight);
            let a = &mut advantages.advantage.at_mut(t)[0];
            *a = *a * weight;
            sum = sum + *a;
            square = a.mul_add(*a, square);
            cost = cost + tape.cost.at(t)[0];
            entropy = entropy + advantage::entropy(tape, t);
        }
        shard.advantage = sum.sum();
        shard.spread = square.sum();
        shard.cost = cost.sum();
        shard.entropy = entropy.sum();
    }
}

/// Gradient of the surrogate loss `mean of A r` on one shard's own trajectories, states detached, with
/// A normalised and r the ratio of present and rollout probabilities; PPO's clip where `clip` is given.
pub(super) struct Surrogate<'a, P> {
    pub shard: &'a mut Shard,
    pub context: Context<'a, P>,
    /// Mean of the weighted advantages, and the factor that makes their spread one.
    pub mean: f32,
    /// Inverse of the advantages' spread.
    pub scale: f32,
    /// Weight of one sample.
    pub share: f32,
    /// Weight of the entropy bonus.
    pub entropy: f32,
    /// Greatest change of the ratio that is still rewarded.
    pub clip: Option<f32>,
}

impl<P: Plant<f32>> WithSimd for Surrogate<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let (shard, model) = (self.shard, self.context.model);
        let state = self.context.state;
        let parameters = &state.parameters;
        shard.gradient.fill(0.0);
        shard.clipped = 0;
        let memory = &mut shard.gaussian;
        memory.d_log_std.fill(0.0);
        let log_stds: f32 = state.log_std.iter().sum();
        let mut divergence = Lanes::default();
        for t in 0..shard.worker.tape.steps() {
            let tape = &mut shard.worker.tape;
            model.select(parameters, tape, t);
            model.hidden(parameters, tape, t);
            shard.worker.act(model, parameters, t);
            let tape = &mut shard.worker.tape;
            let (_, inverse) = radius(model, tape, t);
            let mut square = Lanes::default();
            for (i, z) in memory.z.iter_mut().enumerate() {
                let per_std = inverse * (-state.log_std[i]).exp();
                // d ln p / d mu = z / (sigma r); the sample's factor comes below, when it is known.
                *z = (memory.control.at(t)[i] - tape.law.at(t)[i]) * per_std;
                square = z.mul_add(*z, square);
                tape.d_law.at_mut(t)[i] = *z * per_std;
            }
            let choice = advantage::taken(tape.probability.at(t), &tape.choice[t]);
            let log_ratio =
                log_probability(choice, square, log_stds) - memory.log_probability.at(t)[0];
            let a = (shard.advantages.advantage.at(t)[0] - Lanes([self.mean; LANES])) * self.scale;
            let mut factor = Lanes::<f32>::default();
            for lane in 0..LANES {
                // Far beyond any clip, and short of overflow.
                let log_ratio = log_ratio.0[lane].clamp(-20.0, 20.0);
                let ratio = Real::exp(log_ratio);
                divergence.0[lane] += (ratio - 1.0) - log_ratio;
                // Cost is minimised: a positive advantage asks for a smaller probability.
                let done = self.clip.is_some_and(|clip| {
                    if a.0[lane] > 0.0 {
                        ratio < 1.0 - clip
                    } else {
                        ratio > 1.0 + clip
                    }
                });
                shard.clipped += u32::from(done);
                factor.0[lane] = if done {
                    0.0
                } else {
                    ratio * a.0[lane] * self.share
                };
            }
            for d in tape.d_law.at_mut(t) {
                *d = *d * factor;
            }
            for (d, z) in memory.d_log_std.iter_mut().zip(&memory.z) {
                *d += ((*z * *z - Lanes([1.0; LANES])) * factor).sum();
            }
            tape.d_logits.at_mut(t).fill(Lanes::default());
            advantage::add_sampled(tape, t, factor);
            advantage::add_entropy(tape, t, self.entropy);
            shard.worker.detached_adjoint(model, parameters, t);
        }
        shard.divergence = divergence.sum();
        let steps = shard.worker.tape.steps();
        model.selector_gradient(&shard.worker.tape, 0..steps, &mut shard.gradient);
        shard.worker.law_gradient(model, &mut shard.gradient);
    }
}

/// Clip and scale of a batch's advantages: their mean and the inverse of their spread.
pub(super) fn normalisation(shards: &[Shard], samples: f32) -> (f32, f32) {
    let mean = shards.iter().map(|s| s.advantage).sum::<f32>() / samples;
    let square = shards.iter().map(|s| s.spread).sum::<f32>() / samples;
    let spread = (square - mean * mean).max(0.0).sqrt();
    let scale = if spread.is_finite() && mean.is_finite() {
        1.0 / spread.max(1e-12)
    } else {
        0.0
    };
    (if mean.is_finite() { mean } else { 0.0 }, scale)
}

#[cfg(test)]
#[path = "gaussian_tests.rs"]
mod tests;
