//! One unit of parallel work of HPO: sixteen trajectories with everything computed from them.
//!
//! The number of shards is the batch divided by [`LANES`], whatever the number of threads, and
//! shards are summed in order: that is why a seed gives the same bytes on any machine. Each piece of
//! work is a [`WithSimd`] value, so that it is compiled for every instruction set.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::numeric::random::{Purpose, Stream};
use crate::numeric::{LANES, Lanes};
use crate::plant::{Plant, PlantModel};
use crate::policy::network::Layers;
use crate::policy::{Model, Track};
use crate::train::advantage::{self, Advantages};
use crate::train::critic::{Critic, CriticMemory};
use crate::train::estimator::{self, ChoiceLoss};
use crate::train::gaussian::Gaussian;
use crate::train::learner::State;
use crate::train::rollout::{LookAhead, Selection, Worker};
use crate::train::settings::{Advantage, Algorithm, TrainSettings};

/// Memory and results of sixteen trajectories.
pub(super) struct Shard {
    pub worker: Worker<f32>,
    pub advantages: Advantages<f32>,
    pub regression: CriticMemory<f32>,
    /// Noise on the control; empty for algorithms without.
    pub gaussian: Gaussian<f32>,
    /// Gumbel noise on the logits `[C]`; empty for algorithms without.
    pub gumbel: Track<f32>,
    /// Selector probabilities at rollout, for the ratio of detached passes.
    old_probability: Track<f32>,
    pub gradient: Vec<f32>,
    pub critic_gradient: Vec<f32>,
    /// Simulator calls of the last rollout.
    pub calls: u64,
    /// Sum over samples of the squared, weighted advantage (spread over the choices with look-ahead).
    pub spread: f32,
    /// Sum of costs.
    pub cost: f32,
    /// Sum over samples of the selector's entropy in nats.
    pub entropy: f32,
    /// Loss of the last critic minibatch.
    pub critic_loss: f32,
    /// Samples that the last detached minibatch clipped.
    pub clipped: u32,
    /// Sum over samples of the weighted advantage.
    pub advantage: f32,
    /// Sum over samples of (r - 1) - ln r, r the ratio of probabilities: an estimate of the divergence.
    pub divergence: f32,
}

impl Shard {
    pub fn new(
        model: &Model,
        critic: &Critic,
        horizon: usize,
        noise: usize,
        algo: Algorithm,
    ) -> Self {
        let (controls, choices) = match algo {
            Algorithm::Hpo => (0, 0),
            Algorithm::Ppo | Algorithm::Reinforce => (model.shape().control, 0),
            Algorithm::Gumbel => (0, model.shape().choices()),
        };
        Self {
            worker: Worker::new(model, critic, horizon, noise),
            advantages: Advantages::new(critic, horizon),
            regression: CriticMemory::new(critic, horizon),
            old_probability: Track::new(horizon, model.shape().logits()),
            gradient: vec![0.0; model.parameters()],
            critic_gradient: vec![0.0; critic.parameters()],
            calls: 0,
            spread: 0.0,
            cost: 0.0,
            entropy: 0.0,
            critic_loss: 0.0,
            clipped: 0,
            advantage: 0.0,
            divergence: 0.0,
            gaussian: Gaussian::new(horizon, controls),
            gumbel: Track::new(horizon, choices),
        }
    }

    /// Fills initial states, uniform numbers and noise, each trajectory from its own streams.
    pub fn draw(&mut self, plant: &PlantModel, seed: u64, index: u64, initial: &mut [f64]) {
        let tape = &mut self.worker.tape;
        for lane in 0..LANES {
            let trajectory = index * LANES as u64 + lane as u64;
            let mut stream = Stream::new(seed, Purpose::InitialState, trajectory);
            plant.draw_initial(&mut stream, initial);
            for (x, &value) in tape.state.at_mut(0).iter_mut().zip(&*initial) {
                x.0[lane] = value as f32;
            }
            let mut stream = Stream::new(seed, Purpose::Choice, trajectory);
            for t in 0..tape.steps() {
                for uniform in tape.uniform.at_mut(t) {
                    uniform.0[lane] = stream.uniform() as f32;
                }
            }
            if !self.gaussian.perturbation.at(0).is_empty() {
                let mut stream = Stream::new(seed, Purpose::Exploration, trajectory);
                for t in 0..tape.steps() {
                    for w in self.gaussian.perturbation.at_mut(t) {
                        w.0[lane] = stream.normal() as f32;
                    }
                }
            }
            if !self.gumbel.at(0).is_empty() {
                let mut stream = Stream::new(seed, Purpose::Relaxation, trajectory);
                for t in 0..tape.steps() {
                    for g in self.gumbel.at_mut(t) {
                        // Above 0 and below 1, so that both logarithms are finite.
                        let uniform = stream.uniform().max(f64::EPSILON);
                        g.0[lane] = -libm::log(-libm::log(uniform)) as f32;
                    }
                }
            }
            let mut stream = Stream::new(seed, Purpose::Noise, trajectory);
            tape.draw_noise(plant.disturbance(), &mut stream, lane);
        }
    }
}

/// What every piece of work reads.
pub(super) struct Context<'a, P> {
    pub plant: &'a P,
    pub model: &'a Model,
    pub critic: &'a Critic,
    pub train: &'a TrainSettings,
    pub discount: f32,
    pub state: &'a State,
}

impl<P> Clone for Context<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Context<'_, P> {}

/// Rollout, critic values, targets and advantages of one shard.
pub(super) struct RollOut<'a, P> {
    pub shard: &'a mut Shard,
    pub context: Context<'a, P>,
}

impl<P: Plant<f32>> WithSimd for RollOut<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { shard, context } = self;
        let Context {
            plant,
            model,
            critic,
            train,
            discount,
            state,
        } = context;
        let look = (train.advantage == Advantage::LookAhead).then_some(LookAhead {
            critic,
            parameters: &state.critic,
            discount,
        });
        let parameters = &state.parameters;
        shard.calls = shard
            .worker
            .rollout(plant, model, parameters, Selection::Sample, look);
        if look.is_none() {
            shard.worker.value_last(model, critic, &state.critic);
        }
        let tape = &shard.worker.tape;
        let advantages = &mut shard.advantages;
        advantages.evaluate(critic, &state.critic, tape, train.bootstrap);
        let lambda = train.gae_lambda as f32;
        advantages.targets(critic, tape, discount, lambda, &mut shard.regression);
        estimator::estimate(train, tape, discount, advantages);
        let (mut cost, mut entropy) = (Lanes::default(), Lanes::default());
        let mut spread = Lanes::default();
        for t in 0..tape.steps() {
            cost = cost + tape.cost.at(t)[0];
            entropy = entropy + advantage::entropy(tape, t);
            let weight = advantage::sample_weight(tape.norm.at(t), train.choice_weight);
            let square = if look.is_some() {
                advantage::spread(tape, t, weight)
            } else {
                let a = advantages.advantage.at(t)[0] * weight;
                a * a
            };
            spread = spread + square;
            shard
                .old_probability
                .at_mut(t)
                .copy_from_slice(tape.probability.at(t));
        }
        shard.cost = cost.sum();
        shard.entropy = entropy.sum();
        shard.spread = spread.sum();
    }
}

/// Reverse sweep of one shard with gradients attached.
pub(super) struct Differentiate<'a, P> {
    pub shard: &'a mut Shard,
    pub context: Context<'a, P>,
    pub loss: ChoiceLoss<f32>,
    /// Share of the cross term.
    pub cross_term: f32,
    /// Layers whose gradients are taken shard by shard.
    pub layers: Layers,
}

impl<P: Plant<f32>> WithSimd for Differentiate<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self {
            shard,
            context,
            loss,
            cross_term,
            layers,
        } = self;
        let train = context.train;
        let tape = &mut shard.worker.tape;
        for t in 0..tape.steps() {
            estimator::fill_logits(
                train,
                tape,
                context.discount,
                &shard.advantages,
                loss,
                None,
                t,
            );
        }
        clear(&mut shard.gradient, layers, &context.model.wide(true));
        let mut objective = estimator::objective(train, context.discount, 1.0 / train.batch as f64);
        objective.cross_term = cross_term;
        objective.layers = layers;
        shard.worker.sweep(
            context.plant,
            context.model,
            &context.state.parameters,
            objective,
            &mut shard.gradient,
        );
    }
}

/// Zeros, except in the weights of `wide` layers where their gradients are not taken here.
fn clear(gradient: &mut [f32], layers: Layers, wide: &[Range<usize>]) {
    match layers {
        Layers::All => gradient.fill(0.0),
        Layers::Narrow => {
            for range in between(gradient.len(), wide) {
                gradient[range].fill(0.0);
            }
        }
    }
}

/// What is left of `0..len` between `ranges`, which ascend.
pub(super) fn between(len: usize, ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let starts = std::iter::once(0).chain(ranges.iter().map(|range| range.end));
    let ends = ranges.iter().map(|range| range.start).chain([len]);
    starts.zip(ends).map(|(start, end)| start..end).collect()
}

/// Selector gradient of one shard on detached data, but for the weights of wide layers: a stretch of time of a later pass.
pub(super) struct Detached<'a, P> {
    pub shard: &'a mut Shard,
    pub context: Context<'a, P>,
    pub loss: ChoiceLoss<f32>,
    pub range: Range<usize>,
}

impl<P: Plant<f32>> WithSimd for Detached<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self {
            shard,
            context,
            loss,
            range,
        } = self;
        let (model, train, parameters) = (context.model, context.train, &context.state.parameters);
        // The laws' part is not touched and not summed.
        let selector_end = model.groups()[1].1.end;
        let wide = model.wide(false);
        clear(&mut shard.gradient[..selector_end], Layers::Narrow, &wide);
        shard.clipped = 0;
        let tape = &mut shard.worker.tape;
        model.select_steps(parameters, tape, range.clone());
        for t in range.clone() {
            let tape = &mut shard.worker.tape;
            let old = Some(shard.old_probability.at(t));
            shard.clipped += estimator::fill_logits(
                train,
                tape,
                context.discount,
                &shard.advantages,
                loss,
                old,
                t,
            );
        }
        shard
            .worker
            .detached_selector_adjoint(model, parameters, range.clone());
        model.selector_gradient(
            &shard.worker.tape,
            range,
            Layers::Narrow,
            &mut shard.gradient,
        );
    }
}

/// One minibatch of the critic's regression on one shard, but for the weights of wide layers.
pub(super) struct Regress<'a> {
    pub shard: &'a mut Shard,
    pub critic: &'a Critic,
    pub parameters: &'a [f32],
    pub range: Range<usize>,
}

impl WithSimd for Regress<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let shard = self.shard;
        clear(
            &mut shard.critic_gradient,
            Layers::Narrow,
            &self.critic.wide(),
        );
        shard.critic_loss = self.critic.gradient(
            self.parameters,
            &shard.worker.tape,
            self.range,
            &mut shard.regression,
            Layers::Narrow,
            &mut shard.critic_gradient,
        );
    }
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
