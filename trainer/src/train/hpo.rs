//! Hybrid Policy Optimization (Alvo, Russo, Kanoria, arXiv 2605.14297), read from top to bottom:
//! roll out, differentiate, step; then further passes on detached data and the critic's regression.

use pulp::Arch;

use crate::plant::{Plant, PlantModel};
use crate::policy::Model;
use crate::train::critic::Critic;
use crate::train::estimator::ChoiceLoss;
use crate::train::learner::{Batch, EpochMetrics, Learner, State};
use crate::train::phases::{Phase, PhaseClock};
use crate::train::settings::{CrossTerm, Settings, Variant};
use crate::train::shard::{Detached, Differentiate, RollOut};

/// The learner: plant, model, settings, and the memory of its shards.
pub struct Hpo<'a, P> {
    pub(super) batch: Batch<'a, P>,
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
        Self {
            batch: Batch::new(plant, description, model, critic, settings, seed),
        }
    }

    /// Where the time goes, for whoever measures it: with `None` no clock is read.
    pub fn clock(&mut self) -> &mut Option<PhaseClock> {
        &mut self.batch.clock
    }

    /// Fresh trajectories with advantages and critic targets.
    fn roll_out(&mut self, state: &State, index: usize) {
        self.batch.draw(index);
        self.batch.for_each(state, |shard, context, arch| {
            arch.dispatch(RollOut { shard, context });
        });
    }

    /// Scale of the selector's loss. Exact: the mean over trajectories, nothing else. Practical: the
    /// mean over samples in units of the advantages' spread in this batch.
    fn choice_loss(&self, entropy: f64) -> ChoiceLoss<f32> {
        let samples = self.batch.samples();
        match self.batch.settings.train.variant {
            Variant::Exact => ChoiceLoss {
                advantage: 1.0 / self.batch.settings.train.batch as f32,
                entropy: 0.0,
            },
            Variant::Practical => {
                let spread = self.batch.shards.iter().map(|s| s.spread).sum::<f32>() / samples;
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

    /// The pass with gradients attached; `first` says whether it is the first update of an epoch, in which
    /// `cross_term = auto` measures.
    fn differentiate(&mut self, state: &mut State, loss: ChoiceLoss<f32>, first: bool) {
        let sweep = |batch: &mut Batch<'a, P>, state: &State, cross_term: f32| {
            batch.for_each(state, |shard, context, arch| {
                arch.dispatch(Differentiate {
                    shard,
                    context,
                    loss,
                    cross_term,
                });
            });
        };
        let factor = match self.batch.settings.train.cross_term {
            CrossTerm::On => 1.0,
            CrossTerm::Off => 0.0,
            CrossTerm::Auto => state.cross_term.factor(),
        };
        let measured = self.batch.settings.train.cross_term == CrossTerm::Auto && first;
        if !measured {
            return sweep(&mut self.batch, state, factor);
        }
        // The sweep is linear in the cross term: with the gradient without it and the one with it, the one
        // with any share of it is known too.
        sweep(&mut self.batch, state, 0.0);
        let without: Vec<Vec<f32>> = self
            .batch
            .shards
            .iter()
            .map(|s| s.gradient.clone())
            .collect();
        sweep(&mut self.batch, state, 1.0);
        for (shard, without) in self.batch.shards.iter_mut().zip(&without) {
            for (with, &without) in shard.gradient.iter_mut().zip(without) {
                *with -= without;
            }
        }
        let parts: Vec<&[f32]> = self
            .batch
            .shards
            .iter()
            .map(|s| s.gradient.as_slice())
            .collect();
        state.cross_term.observe(&parts);
        for (shard, without) in self.batch.shards.iter_mut().zip(&without) {
            for (cross, &without) in shard.gradient.iter_mut().zip(without) {
                *cross = factor.mul_add(*cross, without);
            }
        }
    }

    /// A later pass: the selector alone, in minibatches that are stretches of time of every trajectory.
    fn detached_pass(&mut self, state: &mut State, factor: f32, loss: ChoiceLoss<f32>) {
        for range in self.batch.stretches() {
            let share = self.batch.description.horizon() as f32 / range.len() as f32;
            let loss = ChoiceLoss {
                advantage: loss.advantage * share,
                entropy: loss.entropy * share,
            };
            self.batch.for_each(state, |shard, context, arch| {
                arch.dispatch(Detached {
                    shard,
                    context,
                    loss,
                    range: range.clone(),
                });
            });
            self.batch.lap(Phase::Detached);
            let all = 0..self.batch.shards.len();
            self.batch.step(all, state, factor, false);
        }
    }
}

impl<P: Plant<f32>> Learner for Hpo<'_, P> {
    fn updates(&self) -> usize {
        self.batch.settings.train.batches_per_epoch
    }

    fn use_instructions(&mut self, arch: Arch) {
        self.batch.arch = arch;
    }

    fn update(&mut self, state: &mut State, index: usize) -> EpochMetrics {
        let schedule = self.batch.schedule(state);
        self.batch.lap(Phase::Other);
        self.roll_out(state, index);
        self.batch.lap(Phase::Rollout);
        state.env_steps += self.batch.calls();
        let train = &self.batch.settings.train;
        if 100 * state.epoch < train.critic_warmup * train.epochs {
            let critic_loss = self.batch.regress(state, schedule.step);
            return self.batch.metrics(critic_loss, (0.0, 0.0));
        }
        let loss = self.choice_loss(schedule.entropy);
        self.differentiate(state, loss, index.is_multiple_of(self.updates()));
        self.batch.lap(Phase::Attached);
        let all = 0..self.batch.shards.len();
        let gradients = self.batch.step(all, state, schedule.step, true);
        for _ in 1..self.batch.settings.train.passes {
            self.detached_pass(state, schedule.step, loss);
        }
        let critic_loss = self.batch.regress(state, schedule.step);
        self.batch.metrics(critic_loss, gradients)
    }
}

#[cfg(test)]
#[path = "hpo_tests.rs"]
mod tests;
