//! Hybrid Policy Optimization (Alvo, Russo, Kanoria, arXiv 2605.14297), read from top to bottom:
//! roll out, differentiate, step; then further passes on detached data and the critic's regression.
//!
//! Tricks beyond the paper, each a setting: a look-ahead over all choices as advantage, where it is a control variate in the exact
//! variant (the expected policy gradient of Ciosek and Whiteson 2018, arXiv 1706.05374, over a model's one step), else generalised advantages (Schulman et al. 2016, arXiv
//! 1506.02438); advantages divided by their spread, norm of the gradient clipped, step sizes and entropy bonus annealed (Huang et al.
//! 2022, "The 37 implementation details of PPO", details 4, 7, 10, 11); the ratio of further passes clipped (Schulman et al. 2017, arXiv 1707.06347); `cross_term =
//! auto`, ours (docs/algorithm.md).

use crate::plant::Plant;
use crate::policy::network::Layers;
use crate::train::estimator::ChoiceLoss;
use crate::train::learner::{Batch, EpochMetrics, State};
use crate::train::phases::Phase;
use crate::train::settings::{CrossTerm, Variant};
use crate::train::shard::{Detached, Differentiate, RollOut};

/// Learns from batch `index` of the run.
pub(super) fn update<P: Plant<f32>>(
    batch: &mut Batch<'_, P>,
    state: &mut State,
    index: usize,
) -> EpochMetrics {
    let train = &batch.settings.train;
    let schedule = batch.schedule(state);
    batch.lap(Phase::Other);
    batch.draw(index);
    batch.for_each(state, |shard, context, arch| {
        arch.dispatch(RollOut { shard, context });
    });
    batch.lap(Phase::Rollout);
    state.env_steps += batch.calls();
    if batch.is_warming_up(state) {
        return batch.finish(state, schedule, (0.0, 0.0));
    }
    let loss = choice_loss(batch, schedule.entropy);
    let first = index.is_multiple_of(train.batches_per_epoch);
    let layers = differentiate(batch, state, loss, first);
    batch.lap(Phase::Attached);
    let all = 0..batch.shards.len();
    let gradients = batch.step(all, state, schedule.step, true, layers);
    for _ in 1..train.passes {
        detached_pass(batch, state, schedule.step, loss);
    }
    batch.finish(state, schedule, gradients)
}

/// Scale of the selector's loss. Exact: the mean over trajectories, nothing else. Practical: the
/// mean over samples in units of the advantages' spread in this batch.
fn choice_loss<P: Plant<f32>>(batch: &Batch<'_, P>, entropy: f64) -> ChoiceLoss<f32> {
    let samples = batch.samples();
    match batch.settings.train.variant {
        Variant::Exact => ChoiceLoss {
            advantage: 1.0 / batch.settings.train.batch as f32,
            entropy: 0.0,
        },
        Variant::Practical => {
            let spread = batch.shards.iter().map(|s| s.spread).sum::<f32>() / samples;
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
/// `cross_term = auto` measures. Returns the layers whose gradients the shards still have to sum.
fn differentiate<P: Plant<f32>>(
    batch: &mut Batch<'_, P>,
    state: &mut State,
    loss: ChoiceLoss<f32>,
    first: bool,
) -> Layers {
    let sweep = |batch: &mut Batch<'_, P>, state: &State, cross_term: f32, layers: Layers| {
        batch.for_each(state, |shard, context, arch| {
            arch.dispatch(Differentiate {
                shard,
                context,
                loss,
                cross_term,
                layers,
            });
        });
    };
    let factor = match batch.settings.train.cross_term {
        CrossTerm::On => 1.0,
        CrossTerm::Off => 0.0,
        CrossTerm::Auto => state.cross_term.factor(),
    };
    let measured = batch.settings.train.cross_term == CrossTerm::Auto && first;
    if !measured {
        sweep(batch, state, factor, Layers::Narrow);
        batch.wide_gradient(0..batch.description.horizon(), true);
        return Layers::Narrow;
    }
    // The sweep is linear in the cross term: with the gradient without it and the one with it, the one
    // with any share of it is known too.
    sweep(batch, state, 0.0, Layers::All);
    let without: Vec<Vec<f32>> = batch.shards.iter().map(|s| s.gradient.clone()).collect();
    sweep(batch, state, 1.0, Layers::All);
    for (shard, without) in batch.shards.iter_mut().zip(&without) {
        for (with, &without) in shard.gradient.iter_mut().zip(without) {
            *with -= without;
        }
    }
    let parts: Vec<&[f32]> = batch.shards.iter().map(|s| s.gradient.as_slice()).collect();
    state.cross_term.observe(&parts);
    for (shard, without) in batch.shards.iter_mut().zip(&without) {
        for (cross, &without) in shard.gradient.iter_mut().zip(without) {
            *cross = factor.mul_add(*cross, without);
        }
    }
    Layers::All
}

/// A later pass: the selector alone, in minibatches that are stretches of time of every trajectory.
fn detached_pass<P: Plant<f32>>(
    batch: &mut Batch<'_, P>,
    state: &mut State,
    factor: f32,
    loss: ChoiceLoss<f32>,
) {
    for range in batch.stretches() {
        let share = batch.description.horizon() as f32 / range.len() as f32;
        let loss = ChoiceLoss {
            advantage: loss.advantage * share,
            entropy: loss.entropy * share,
        };
        batch.for_each(state, |shard, context, arch| {
            arch.dispatch(Detached {
                shard,
                context,
                loss,
                range: range.clone(),
            });
        });
        batch.wide_gradient(range, false);
        batch.lap(Phase::Detached);
        let all = 0..batch.shards.len();
        batch.step(all, state, factor, false, Layers::Narrow);
    }
}

#[cfg(test)]
#[path = "hpo_tests.rs"]
mod tests;
