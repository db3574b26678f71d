//! Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347), read from top to bottom: a
//! categorical selector and Gaussian noise on the control, all gradients by the score function.
//!
//! Tricks beyond the paper's algorithm 1, each a setting: generalised advantages (Schulman et al. 2016, arXiv
//! 1506.02438), advantages normalised over the batch, norm of the gradient clipped, step sizes and entropy bonus
//! annealed (Huang et al. 2022, "The 37 implementation details of PPO", details 4, 7, 10, 11), several
//! passes in minibatches of whole trajectories, passes ended by a limit on the divergence (Spinning Up's and
//! Stable-Baselines' `target_kl`), standard deviation independent of the state (Andrychowicz et al. 2021, arXiv 2006.05990,
//! section 3.2), learned or fixed.

use crate::plant::Plant;
use crate::policy::network::Layers;
use crate::train::gaussian::{Explore, Surrogate, SurrogateWeights, normalisation};
use crate::train::learner::{Batch, EpochMetrics, State, sum_in_order};

/// Learns from batch `index` of the run.
pub(super) fn update<P: Plant<f32>>(
    batch: &mut Batch<'_, P>,
    state: &mut State,
    index: usize,
) -> EpochMetrics {
    let train = &batch.settings.train;
    let schedule = batch.schedule(state);

    let (mean, scale) = explore(batch, state, index);
    if batch.is_warming_up(state) {
        return batch.finish(state, schedule, (0.0, 0.0));
    }

    let mut gradients = None;
    for _ in 0..train.passes {
        let mut divergence = 0.0;
        for range in batch.groups() {
            let share = batch.shards.len() as f32 / (range.len() as f32 * batch.samples());
            batch.for_each_in(range.clone(), state, |shard, context, arch| {
                arch.dispatch(Surrogate {
                    shard,
                    context,
                    weights: SurrogateWeights {
                        mean,
                        scale,
                        share,
                        entropy: schedule.entropy as f32 * share,
                        clip: Some(train.clip as f32),
                    },
                });
            });
            divergence += batch.shards[range.clone()]
                .iter()
                .map(|s| f64::from(s.divergence))
                .sum::<f64>();
            let norms = batch.step(range.clone(), state, schedule.step, true, Layers::All);
            gradients.get_or_insert(norms);
            move_noise(batch, range, state, schedule.step);
        }
        let mean_divergence = divergence / f64::from(batch.samples());
        if train.target_kl > 0.0 && mean_divergence > train.target_kl {
            break;
        }
    }

    batch.finish(state, schedule, gradients.unwrap_or_default())
}

/// Fresh trajectories of the noisy policy with advantages and critic targets; mean and scale that normalise the advantages.
pub(super) fn explore<P: Plant<f32>>(
    batch: &mut Batch<'_, P>,
    state: &mut State,
    index: usize,
) -> (f32, f32) {
    batch.draw(index);
    batch.for_each(state, |shard, context, arch| {
        arch.dispatch(Explore { shard, context });
    });
    state.env_steps += batch.calls();
    normalisation(&batch.shards, batch.samples())
}

/// A step of the noise's standard deviations, which stay at or above `noise_least`.
pub(super) fn move_noise<P: Plant<f32>>(
    batch: &mut Batch<'_, P>,
    range: std::ops::Range<usize>,
    state: &mut State,
    factor: f32,
) {
    let train = &batch.settings.train;
    if train.step_noise == 0.0 {
        return;
    }
    let first = range.start;
    let gradient = sum_in_order(
        &mut batch.shards[range],
        std::slice::from_ref(&(0..state.log_std.len())),
        |s| &mut s.gaussian.d_log_std,
        |s| &s.gaussian.d_log_std,
    );
    let all = 0..gradient.len();
    let step = factor * train.step_noise as f32;
    state
        .noise_adam
        .step(&mut state.log_std, &gradient, [(all, step)].into_iter());
    let least = libm::log(train.noise_least) as f32;
    for value in &mut state.log_std {
        *value = value.max(least);
    }
    batch.shards[first].gaussian.d_log_std = gradient;
}
