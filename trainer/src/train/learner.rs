//! What every training algorithm works with: its state, its batch of shards, its optimiser.
//!
//! A [`Learner`] owns the batch; what an algorithm does with it is the `update` in the file of its name: [`super::hpo`],
//! [`super::ppo`], [`super::reinforce`], [`super::gumbel`].

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::numeric::{LANES, arch};
use crate::plant::{Plant, PlantModel};
use crate::policy::Model;
use crate::policy::model::Group;
use crate::policy::network::Layers;
use crate::train::adam::{Adam, CHUNK, clip_norm};
use crate::train::critic::Critic;
use crate::train::cross_term::CrossTermFactor;
use crate::train::phases::{Phase, PhaseClock};
use crate::train::settings::{Algorithm, Settings, Variant};
use crate::train::shard::{Context, Regress, Shard, between};
use crate::train::{gumbel, hpo, initial, ppo, reinforce};

/// What training knows between two epochs: all that a checkpoint needs to continue with the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Policy parameters.
    pub parameters: Vec<f32>,
    /// Critic parameters.
    pub critic: Vec<f32>,
    /// Logarithm of the standard deviation of the control's noise `[m]`; empty for algorithms without.
    pub log_std: Vec<f32>,
    /// Optimiser of the policy.
    pub adam: Adam,
    /// Optimiser of the critic.
    pub critic_adam: Adam,
    /// Optimiser of `log_std`.
    pub noise_adam: Adam,
    /// What `cross_term = auto` has learned from earlier batches.
    pub cross_term: CrossTermFactor,
    /// Epochs done.
    pub epoch: usize,
    /// Simulator calls so far, look-ahead branches included.
    pub env_steps: u64,
}

impl State {
    /// Before the first epoch.
    #[must_use]
    pub fn new(model: &Model, critic: &Critic, settings: &Settings, seed: u64) -> Self {
        let noisy = matches!(settings.train.algo, Algorithm::Ppo | Algorithm::Reinforce);
        let controls = if noisy { model.shape().control } else { 0 };
        Self {
            parameters: initial::policy(model, seed, settings.policy.score_spread),
            critic: initial::critic(critic, seed),
            log_std: vec![libm::log(settings.train.noise_start) as f32; controls],
            adam: Adam::new(model.parameters()),
            critic_adam: Adam::new(critic.parameters()),
            noise_adam: Adam::new(controls),
            cross_term: CrossTermFactor::default(),
            epoch: 0,
            env_steps: 0,
        }
    }

    /// Whether every parameter is a finite number.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.parameters
            .iter()
            .chain(&self.critic)
            .chain(&self.log_std)
            .all(|v| v.is_finite())
    }
}

/// Figures of one epoch, averaged over its updates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EpochMetrics {
    /// Mean cost per trajectory under the sampled selector (and the control's noise, where the algorithm
    /// has some).
    pub cost: f64,
    /// Mean entropy of the selector in nats.
    pub entropy: f64,
    /// Root mean squared error of the critic, relative to |s|^2 where it is homogeneous; 0 without critic.
    pub critic_error: f64,
    /// Euclidean norm of the selector's gradient before clipping.
    pub selector_gradient: f64,
    /// Euclidean norm of the laws' gradient before clipping.
    pub law_gradient: f64,
    /// Coordinates at the state clamp, summed.
    pub clamped: u64,
    /// The update, from 0, whose cost or parameters were not finite; the epoch ends there.
    pub failed_update: Option<usize>,
}

/// Training by the algorithm that the settings ask for: the batch, and what is done with it.
pub struct Learner<'a, P> {
    batch: Batch<'a, P>,
}

impl<'a, P: Plant<f32>> Learner<'a, P> {
    /// A learner on `plant`, which is `description` built for `f32`. Random numbers are named by `seed`.
    #[must_use]
    pub fn new(
        plant: &'a P,
        description: &'a PlantModel,
        model: &'a Model,
        critic: &'a Critic,
        settings: &'a Settings,
        seed: u64,
    ) -> Self {
        let noise = plant.dims().noise;
        let shards = (0..settings.train.batch / LANES)
            .map(|_| {
                Shard::new(
                    model,
                    critic,
                    description.horizon(),
                    noise,
                    settings.train.algo,
                )
            })
            .collect();
        let batch = Batch {
            plant,
            description,
            model,
            critic,
            settings,
            shards,
            arch: Arch::new(),
            clock: None,
            seed,
        };
        Self { batch }
    }

    /// Takes another instruction set than the machine's best; the bits do not depend on it.
    pub fn use_instructions(&mut self, arch: Arch) {
        self.batch.arch = arch;
    }

    /// Where the time goes, for whoever measures it: with `None` no clock is read.
    pub fn clock(&mut self) -> &mut Option<PhaseClock> {
        &mut self.batch.clock
    }

    /// Runs one epoch on the current thread pool; the result does not depend on its size.
    pub fn epoch(&mut self, state: &mut State) -> EpochMetrics {
        let train = &self.batch.settings.train;
        let updates = train.batches_per_epoch;
        // The whole difference between the algorithms.
        let learn = match train.algo {
            Algorithm::Hpo => hpo::update::<P>,
            Algorithm::Ppo => ppo::update,
            Algorithm::Reinforce => reinforce::update,
            Algorithm::Gumbel => gumbel::update,
        };
        let mut sum = EpochMetrics::default();
        for update in 0..updates {
            let metrics = learn(&mut self.batch, state, state.epoch * updates + update);
            let share = 1.0 / updates as f64;
            sum.cost += metrics.cost * share;
            sum.entropy += metrics.entropy * share;
            sum.critic_error += metrics.critic_error * share;
            sum.selector_gradient += metrics.selector_gradient * share;
            sum.law_gradient += metrics.law_gradient * share;
            sum.clamped += metrics.clamped;
            if !metrics.cost.is_finite() || !state.is_finite() {
                sum.failed_update = Some(update);
                break;
            }
        }
        state.epoch += 1;
        sum
    }
}

/// Step size factor and entropy weight of an epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// Fraction of the run that is done, in [0, 1).
    pub progress: f64,
    /// Factor of all step sizes: cosine from 1 to `step_final`.
    pub step: f32,
    /// Entropy bonus: geometric from `entropy_start` to `entropy_end`.
    pub entropy: f64,
}

/// The plant, the policy's and critic's structure, and the shards of one batch.
pub(super) struct Batch<'a, P> {
    pub plant: &'a P,
    pub description: &'a PlantModel,
    pub model: &'a Model,
    pub critic: &'a Critic,
    pub settings: &'a Settings,
    pub shards: Vec<Shard>,
    pub arch: Arch,
    /// Where the time goes, for whoever measures it; `None`: no clock is read.
    pub clock: Option<PhaseClock>,
    seed: u64,
}

impl<P: Plant<f32>> Batch<'_, P> {
    /// Books the time since the last call on `phase`.
    pub fn lap(&mut self, phase: Phase) {
        if let Some(clock) = &mut self.clock {
            clock.lap(phase);
        }
    }

    pub fn schedule(&self, state: &State) -> Schedule {
        let train = &self.settings.train;
        let progress = state.epoch as f64 / train.epochs as f64;
        let cosine = 0.5 * (1.0 + libm::cos(std::f64::consts::PI * progress));
        let decay = train.entropy_end / train.entropy_start;
        Schedule {
            progress,
            step: (train.step_final + (1.0 - train.step_final) * cosine) as f32,
            entropy: train.entropy_start * libm::pow(decay, progress),
        }
    }

    /// Whether the epoch is one of the first, in which the critic alone learns (`critic_warmup` percent of the epochs).
    pub fn is_warming_up(&self, state: &State) -> bool {
        let train = &self.settings.train;
        100 * state.epoch < train.critic_warmup * train.epochs
    }

    /// The end of an update: the critic's regression, and the figures. `gradients` are the norms that
    /// [`Batch::step`] gave, zeros where the policy did not move.
    pub fn finish(
        &mut self,
        state: &mut State,
        schedule: Schedule,
        gradients: (f64, f64),
    ) -> EpochMetrics {
        let critic_loss = self.regress(state, schedule.step);
        self.metrics(critic_loss, gradients)
    }

    /// Number of states visited by a batch.
    pub fn samples(&self) -> f32 {
        (self.settings.train.batch * self.description.horizon()) as f32
    }

    /// Draws the random numbers of batch `index`. A trajectory's numbers depend on its own number only.
    pub fn draw(&mut self, index: usize) {
        let (description, seed, shards) = (self.description, self.seed, self.shards.len());
        self.shards.par_iter_mut().enumerate().for_each_init(
            || vec![0.0; description.dims().state],
            |initial, (number, shard)| {
                shard.draw(description, seed, (index * shards + number) as u64, initial);
            },
        );
    }

    /// Runs `work` on the shards of `range` in parallel; shards do not see each other.
    pub fn for_each_in(
        &mut self,
        range: Range<usize>,
        state: &State,
        work: impl Fn(&mut Shard, Context<'_, P>, Arch) + Sync,
    ) {
        let context = Context {
            plant: self.plant,
            model: self.model,
            critic: self.critic,
            train: &self.settings.train,
            discount: self.description.discount() as f32,
            state,
        };
        let arch = self.arch;
        self.shards[range]
            .par_iter_mut()
            .for_each(|shard| work(shard, context, arch));
    }

    /// Runs `work` on every shard in parallel.
    pub fn for_each(
        &mut self,
        state: &State,
        work: impl Fn(&mut Shard, Context<'_, P>, Arch) + Sync,
    ) {
        self.for_each_in(0..self.shards.len(), state, work);
    }

    /// Simulator calls of the last rollout and sweep.
    pub fn calls(&self) -> u64 {
        self.shards.iter().map(|s| s.calls).sum()
    }

    /// Gradients of wide layers over `steps` of all shards at once, to the first shard's vector: of the selector, and with `laws` of
    /// the laws.
    pub fn wide_gradient(&mut self, steps: Range<usize>, laws: bool) {
        let mut gradient = std::mem::take(&mut self.shards[0].gradient);
        let tapes: Vec<_> = self.shards.iter().map(|s| &s.worker.tape).collect();
        self.model.wide_gradient(&tapes, steps, laws, &mut gradient);
        self.shards[0].gradient = gradient;
    }

    /// Sums the gradients of the shards in `range` in order, clips selector and laws apart, takes an Adam step.
    /// Returns the two norms before clipping. Without `laws` only the selector moves. With [`Layers::Narrow`] the first shard has the
    /// sum of wide layers already ([`Batch::wide_gradient`]).
    pub fn step(
        &mut self,
        range: Range<usize>,
        state: &mut State,
        factor: f32,
        laws: bool,
        layers: Layers,
    ) -> (f64, f64) {
        let train = &self.settings.train;
        let first = range.start;
        let groups = self.model.groups();
        let selector_end = groups[1].1.end;
        let summed = if laws {
            self.model.parameters()
        } else {
            selector_end
        };
        let summed_before = match layers {
            Layers::Narrow => self.model.wide(laws),
            Layers::All => Vec::new(),
        };
        let mut gradient = sum_in_order(
            &mut self.shards[range],
            &between(summed, &summed_before),
            |s| &mut s.gradient,
            |s| &s.gradient,
        );
        let limit = match train.variant {
            Variant::Exact => f32::INFINITY,
            Variant::Practical => train.gradient_norm as f32,
        };
        let (selector, law) = gradient[..summed].split_at_mut(selector_end);
        let norms = (clip_norm(selector, limit), clip_norm(law, limit));
        state.adam.step(
            &mut state.parameters,
            &gradient,
            self.model
                .step_ranges()
                .into_iter()
                .filter(|(group, ..)| laws || matches!(group, Group::Scores | Group::Selector))
                .map(|(group, range, scale)| {
                    (range, factor * (train.step_size(group) * scale) as f32)
                }),
        );
        self.shards[first].gradient = gradient;
        self.lap(Phase::Step);
        (f64::from(norms.0), f64::from(norms.1))
    }

    /// The critic's passes; returns the loss of the first, summed over the samples.
    fn regress(&mut self, state: &mut State, factor: f32) -> f32 {
        let step = factor * self.settings.train.step_critic as f32;
        let mut first = 0.0;
        for pass in 0..self.settings.train.critic_passes {
            for range in self.stretches() {
                self.for_each(state, |shard, context, arch| {
                    arch.dispatch(Regress {
                        shard,
                        critic: context.critic,
                        parameters: &context.state.critic,
                        range: range.clone(),
                    });
                });
                if pass == 0 {
                    first += self.shards.iter().map(|s| s.critic_loss).sum::<f32>();
                }
                let mut gradient = std::mem::take(&mut self.shards[0].critic_gradient);
                let memories: Vec<_> = self
                    .shards
                    .iter()
                    .map(|s| (&s.worker.tape, &s.regression))
                    .collect();
                self.critic.wide_gradient(&memories, range, &mut gradient);
                self.shards[0].critic_gradient = gradient;
                self.lap(Phase::Critic);
                let gradient = sum_in_order(
                    &mut self.shards,
                    &between(state.critic.len(), &self.critic.wide()),
                    |s| &mut s.critic_gradient,
                    |s| &s.critic_gradient,
                );
                let all = 0..gradient.len();
                state
                    .critic_adam
                    .step(&mut state.critic, &gradient, [(all, step)].into_iter());
                self.shards[0].critic_gradient = gradient;
                self.lap(Phase::Step);
            }
        }
        first
    }

    /// Minibatches that are stretches of time of every trajectory.
    pub fn stretches(&self) -> Vec<Range<usize>> {
        parts(self.description.horizon(), self.settings.train.minibatches)
    }

    /// Minibatches that are whole trajectories: ranges of shards, at most one per shard.
    pub fn groups(&self) -> Vec<Range<usize>> {
        let shards = self.shards.len();
        parts(shards, self.settings.train.minibatches.min(shards))
    }

    /// Figures of the last batch.
    pub fn metrics(&self, critic_loss: f32, gradients: (f64, f64)) -> EpochMetrics {
        let samples = self.samples();
        let total = |f: fn(&Shard) -> f32| self.shards.iter().map(f).sum::<f32>();
        EpochMetrics {
            cost: f64::from(total(|s| s.cost) / self.settings.train.batch as f32),
            entropy: f64::from(total(|s| s.entropy) / samples),
            critic_error: f64::from(2.0 * critic_loss / samples).sqrt(),
            selector_gradient: gradients.0,
            law_gradient: gradients.1,
            clamped: self
                .shards
                .iter()
                .map(|s| u64::from(s.worker.tape.clamped))
                .sum(),
            failed_update: None,
        }
    }
}

/// `0..total` in `parts` near-equal ranges, in order.
fn parts(total: usize, parts: usize) -> Vec<Range<usize>> {
    (0..parts)
        .map(|part| part * total / parts..(part + 1) * total / parts)
        .collect()
}

/// Takes the first shard's vector and adds the entries of the others' in `ranges` to it, in order.
pub(super) fn sum_in_order(
    shards: &mut [Shard],
    ranges: &[Range<usize>],
    take: impl Fn(&mut Shard) -> &mut Vec<f32>,
    read: impl Fn(&Shard) -> &Vec<f32> + Sync,
) -> Vec<f32> {
    let mut sum = std::mem::take(take(&mut shards[0]));
    let others: Vec<&[f32]> = shards[1..].iter().map(|s| read(s).as_slice()).collect();
    for range in ranges {
        let add = |(index, sum): (usize, &mut [f32])| {
            arch().dispatch(Sum {
                others: &others,
                from: range.start + index * CHUNK,
                sum,
            });
        };
        let sum = &mut sum[range.clone()];
        if sum.len() < 2 * CHUNK {
            sum.chunks_mut(CHUNK).enumerate().for_each(add);
        } else {
            sum.par_chunks_mut(CHUNK).enumerate().for_each(add);
        }
    }
    sum
}

/// Adds a stretch of the other shards' vectors to the first one's.
struct Sum<'a> {
    others: &'a [&'a [f32]],
    from: usize,
    sum: &'a mut [f32],
}

impl WithSimd for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        // Short enough that the sum stays in the first-level cache.
        for (index, sum) in self.sum.chunks_mut(2048).enumerate() {
            let from = self.from + index * 2048;
            for other in self.others {
                for (sum, &g) in sum.iter_mut().zip(&other[from..]) {
                    *sum += g;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "learner_tests.rs"]
mod tests;
