//! REINFORCE with a baseline (Williams 1992), read from top to bottom: one score-function step a batch for
//! choices and controls alike.
//!
//! The baseline is the critic's value (Sutton et al. 2000), which leaves the gradient unbiased with
//! `advantage = monte-carlo`. Advantages are divided by their spread and centred over the batch, the entropy bonus and
//! the norm clip are as for the other algorithms; those bias the gradient.

use crate::plant::Plant;
use crate::policy::network::Layers;
use crate::train::gaussian::{Surrogate, SurrogateWeights};
use crate::train::learner::{Batch, EpochMetrics, State};
use crate::train::ppo::{explore, move_noise};

/// Learns from batch `index` of the run.
pub(super) fn update<P: Plant<f32>>(
    batch: &mut Batch<'_, P>,
    state: &mut State,
    index: usize,
) -> EpochMetrics {
    let schedule = batch.schedule(state);

    let (mean, scale) = explore(batch, state, index);
    if batch.is_warming_up(state) {
        return batch.finish(state, schedule, (0.0, 0.0));
    }

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
    let gradients = batch.step(all.clone(), state, schedule.step, true, Layers::All);
    move_noise(batch, all, state, schedule.step);

    batch.finish(state, schedule, gradients)
}
