//! Hybrid Policy Optimization (Alvo, Russo, Kanoria, arXiv 2605.14297), read from top to bottom:
//! roll out, differentiate, step; then further passes on detached data and the critic's regression.

use pulp::Arch;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::plant::{Plant, PlantModel};
use crate::policy::Model;
use crate::policy::model::Group;
use crate::train::adam::{Adam, clip_norm};
use crate::train::critic::Critic;
use crate::train::estimator::ChoiceLoss;
use crate::train::initial;
use crate::train::settings::{Settings, Variant};
use crate::train::shard::{Context, Detached, Differentiate, Regress, RollOut, Shard};

/// What training knows between two epochs: all that a checkpoint needs to continue with the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Policy parameters.
    pub parameters: Vec<f32>,
    /// Critic parameters.
    pub critic: Vec<f32>,
    /// Optimiser of the policy.
    pub adam: Adam,
    /// Optimiser of the critic.
    pub critic_adam: Adam,
    /// Epochs done.
    pub epoch: usize,
    /// Simulator calls so far, look-ahead branches included.
    pub env_steps: u64,
}

impl State {
    /// Before the first epoch.
    #[must_use]
    pub fn new(model: &Model, critic: &Critic, settings: &Settings, seed: u64) -> Self {
        Self {
            parameters: initial::policy(model, seed, settings.policy.score_spread),
            critic: initial::critic(critic, seed),
            adam: Adam::new(model.parameters()),
            critic_adam: Adam::new(critic.parameters()),
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
            .all(|v| v.is_finite())
    }
}

/// Figures of one epoch, averaged over its updates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EpochMetrics {
    /// Mean cost per trajectory under the sampled selector.
    pub cost: f64,
    /// Mean entropy of the selector in nats.
    pub entropy: f64,
    /// Root mean squared error of the critic, relative to |s|^2 where it is homogeneous.
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

/// The learner: plant, model, settings, and the memory of its shards.
pub struct Hpo<'a, P> {
    plant: &'a P,
    description: &'a PlantModel,
    model: &'a Model,
    critic: &'a Critic,
    settings: &'a Settings,
    seed: u64,
    shards: Vec<Shard>,
    arch: Arch,
}

impl<'a, P: Plant<f32>> Hpo<'a, P> {
    /// A learner on `plant`, which is `description` built for `f32`.
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
        let shards = (0..settings.train.batch / crate::numeric::LANES)
            .map(|_| Shard::new(model, critic, description.horizon(), noise))
            .collect();
        Self {
            plant,
            description,
            model,
            critic,
            settings,
            seed,
            shards,
            arch: Arch::new(),
        }
    }

    /// Runs one epoch on the current thread pool; the result does not depend on its size.
    pub fn epoch(&mut self, state: &mut State) -> EpochMetrics {
        let updates = self.settings.train.batches_per_epoch;
        let mut sum = EpochMetrics::default();
        for update in 0..updates {
            let metrics = self.update(state, state.epoch * updates + update);
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

    /// One batch.
    fn update(&mut self, state: &mut State, index: usize) -> EpochMetrics {
        let train = &self.settings.train;
        let progress = state.epoch as f64 / train.epochs as f64;
        let cosine = 0.5 * (1.0 + libm::cos(std::f64::consts::PI * progress));
        let step = (train.step_final + (1.0 - train.step_final) * cosine) as f32;
        let decay = train.entropy_end / train.entropy_start;
        let entropy = train.entropy_start * libm::pow(decay, progress);

        self.roll_out(state, index);
        state.env_steps += self.shards.iter().map(|s| s.calls).sum::<u64>();
        let loss = self.choice_loss(entropy);
        self.for_each_shard(state, |shard, context, arch| {
            arch.dispatch(Differentiate {
                shard,
                context,
                loss,
            });
        });
        let (selector_gradient, law_gradient) = self.step(state, step, true);
        for _ in 1..train.passes {
            self.detached_pass(state, step, loss);
        }
        let critic_loss = self.regress(state, step * train.step_critic as f32);

        let samples = self.samples();
        let total = |f: fn(&Shard) -> f32| self.shards.iter().map(f).sum::<f32>();
        EpochMetrics {
            cost: f64::from(total(|s| s.cost) / train.batch as f32),
            entropy: f64::from(total(|s| s.entropy) / samples),
            critic_error: f64::from(2.0 * critic_loss / samples).sqrt(),
            selector_gradient,
            law_gradient,
            clamped: self
                .shards
                .iter()
                .map(|s| u64::from(s.worker.tape.clamped))
                .sum(),
            failed_update: None,
        }
    }

    /// Number of states visited by a batch.
    fn samples(&self) -> f32 {
        (self.settings.train.batch * self.description.horizon()) as f32
    }

    /// Scale of the selector's loss. Exact: the mean over trajectories, nothing else. Practical: the
    /// mean over samples in units of the advantages' spread in this batch.
    fn choice_loss(&self, entropy: f64) -> ChoiceLoss<f32> {
        let samples = self.samples();
        match self.settings.train.variant {
            Variant::Exact => ChoiceLoss {
                advantage: 1.0 / self.settings.train.batch as f32,
                entropy: 0.0,
            },
            Variant::Practical => {
                let spread = self.shards.iter().map(|s| s.spread).sum::<f32>() / samples;
                // Without a finite spread there is no scale, and no step of the selector is better than
                // one of any size.
                let scale = if spread.is_finite() {
                    1.0 / (spread.sqrt().max(1e-12) * samples)
                } else {
                    0.0
                };
                ChoiceLoss {
                    advantage: scale,
                    entropy: entropy as f32 / samples,
                }
            }
        }
    }

    /// Runs `work` on every shard in parallel; shards do not see each other.
    fn for_each_shard(
        &mut self,
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
        self.shards
            .par_iter_mut()
            .for_each(|shard| work(shard, context, arch));
    }

    /// Fresh trajectories with advantages and critic targets. A trajectory's random numbers depend on its own
    /// number only.
    fn roll_out(&mut self, state: &State, index: usize) {
        let (description, seed, shards) = (self.description, self.seed, self.shards.len());
        self.shards.par_iter_mut().enumerate().for_each_init(
            || vec![0.0; description.dims().state],
            |initial, (number, shard)| {
                shard.draw(description, seed, (index * shards + number) as u64, initial);
            },
        );
        self.for_each_shard(state, |shard, context, arch| {
            arch.dispatch(RollOut { shard, context });
        });
    }

    /// Sums the shards' gradients in order, clips selector and laws apart, takes an Adam step. Returns the
    /// two norms before clipping. Without `laws` only the selector moves.
    fn step(&mut self, state: &mut State, factor: f32, laws: bool) -> (f64, f64) {
        let train = &self.settings.train;
        let mut gradient = sum_in_order(&mut self.shards, |s| &mut s.gradient);
        let groups = self.model.groups();
        let selector_end = groups[1].1.end;
        let limit = match train.variant {
            Variant::Exact => f32::INFINITY,
            Variant::Practical => train.gradient_norm as f32,
        };
        let (selector, law) = gradient.split_at_mut(selector_end);
        let norms = (clip_norm(selector, limit), clip_norm(law, limit));
        state.adam.step(
            &mut state.parameters,
            &gradient,
            groups
                .into_iter()
                .filter(|(group, _)| laws || matches!(group, Group::Scores | Group::Selector))
                .map(|(group, range)| (range, factor * train.step_size(group) as f32)),
        );
        self.shards[0].gradient = gradient;
        (f64::from(norms.0), f64::from(norms.1))
    }

    /// A later pass: the selector alone, in minibatches that are stretches of time of every trajectory.
    fn detached_pass(&mut self, state: &mut State, factor: f32, loss: ChoiceLoss<f32>) {
        for range in self.minibatches() {
            let share = self.description.horizon() as f32 / range.len() as f32;
            let loss = ChoiceLoss {
                advantage: loss.advantage * share,
                entropy: loss.entropy * share,
            };
            self.for_each_shard(state, |shard, context, arch| {
                arch.dispatch(Detached {
                    shard,
                    context,
                    loss,
                    range: range.clone(),
                });
            });
            self.step(state, factor, false);
        }
    }

    /// The critic's passes; returns the loss of the first, summed over the samples.
    fn regress(&mut self, state: &mut State, step: f32) -> f32 {
        let mut first = 0.0;
        for pass in 0..self.settings.train.critic_passes {
            for range in self.minibatches() {
                self.for_each_shard(state, |shard, context, arch| {
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
                let gradient = sum_in_order(&mut self.shards, |s| &mut s.critic_gradient);
                let all = 0..gradient.len();
                state
                    .critic_adam
                    .step(&mut state.critic, &gradient, [(all, step)].into_iter());
                self.shards[0].critic_gradient = gradient;
            }
        }
        first
    }

    /// The stretches of time that minibatches are.
    fn minibatches(&self) -> Vec<std::ops::Range<usize>> {
        let (steps, parts) = (self.description.horizon(), self.settings.train.minibatches);
        (0..parts)
            .map(|part| part * steps / parts..(part + 1) * steps / parts)
            .collect()
    }
}

/// Takes the first shard's vector and adds the others to it, in order.
fn sum_in_order(shards: &mut [Shard], vector: impl Fn(&mut Shard) -> &mut Vec<f32>) -> Vec<f32> {
    let mut sum = std::mem::take(vector(&mut shards[0]));
    for shard in &mut shards[1..] {
        for (sum, &g) in sum.iter_mut().zip(vector(shard).iter()) {
            *sum += g;
        }
    }
    sum
}

#[cfg(test)]
#[path = "hpo_tests.rs"]
mod tests;
