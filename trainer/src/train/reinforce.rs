//! REINFORCE with a baseline (Williams 1992), read from top to bottom: one score-function step a batch for
//! choices and controls alike.
//!
//! The baseline is the critic's value (Sutton et al. 2000), which leaves the gradient unbiased with
//! `advantage = monte-carlo`. Advantages are divided by their spread and centred over the batch, the entropy bonus and
//! the norm clip are as for the other algorithms; those bias the gradient.

use pulp::Arch;

use crate::plant::{Plant, PlantModel};
use crate::policy::Model;
use crate::train::critic::Critic;
use crate::train::gaussian::{Explore, Surrogate, SurrogateWeights, normalisation};
use crate::train::learner::{Batch, EpochMetrics, Learner, State};
use crate::train::ppo::move_noise;
use crate::train::settings::Settings;

/// The learner: plant, model, settings, and the memory of its shards.
pub struct Reinforce<'a, P> {
    batch: Batch<'a, P>,
}

impl<'a, P: Plant<f32>> Reinforce<'a, P> {
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
}

impl<P: Plant<f32>> Learner for Reinforce<'_, P> {
    fn updates(&self) -> usize {
        self.batch.settings.train.batches_per_epoch
    }

    fn use_instructions(&mut self, arch: Arch) {
        self.batch.arch = arch;
    }

    fn update(&mut self, state: &mut State, index: usize) -> EpochMetrics {
        let batch = &mut self.batch;
        let schedule = batch.schedule(state);

        batch.draw(index);
        batch.for_each(state, |shard, context, arch| {
            arch.dispatch(Explore { shard, context });
        });
        state.env_steps += batch.calls();
        let (mean, scale) = normalisation(&batch.shards, batch.samples());

        let share = 1.0 / batch.samples();
        batch.for_each(state, |shard, context, arch| {
            arch.dispatch(Surrogate {
                shard,
                context,
                weights: SurrogateWeights {
                    mean,
                    scale,
                    share,
                    entropy: schedule.entropy as f32 * share,
                    // Before the first step every ratio is one: this is the score function itself.
                    clip: None,
                },
            });
        });
        let all = 0..batch.shards.len();
        let gradients = batch.step(all.clone(), state, schedule.step, true);
        move_noise(batch, all, state, schedule.step);

        let critic_loss = batch.regress(state, schedule.step);
        batch.metrics(critic_loss, gradients)
    }
}
