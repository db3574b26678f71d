//! Straight-through Gumbel-softmax (Jang, Gu, Poole 2017, arXiv 1611.01144, section 2.2), read from top to
//! bottom: pathwise gradients throughout, with the choice's one-hot vector h relaxed in the reverse sweep alone.
//!
//! Forward the choice is arg-max_k (logit_k + g_k), g_k standard Gumbel: an exact draw from the selector. The plant sees
//! sum_c h_c f(s, d_c, u_c), so the sweep needs what every branch would have led to; the derivative of h is
//! replaced by that of y = softmax((logits + g) / tau). The gradient is biased (one draw's branches
//! are treated as if they could be mixed) and there is no critic. Every branch counts as a simulator call, the
//! taken one once. The temperature tau is annealed (ibid., section 3). Entropy bonus and norm clip are those of the other algorithms (Huang et al. 2022, "The 37
//! implementation details of PPO", details 10, 11).

use pulp::{Simd, WithSimd};

use crate::numeric::{LANES, Lanes, Real};
use crate::plant::Plant;
use crate::policy::model::softmax;
use crate::policy::network::Layers;
use crate::policy::{Model, Track};
use crate::train::advantage;
use crate::train::learner::{Batch, EpochMetrics, State};
use crate::train::rollout::{Objective, Worker};
use crate::train::shard::{Context, Shard};

/// Learns from batch `index` of the run.
pub(super) fn update<P: Plant<f32>>(
    batch: &mut Batch<'_, P>,
    state: &mut State,
    index: usize,
) -> EpochMetrics {
    let train = &batch.settings.train;
    let schedule = batch.schedule(state);
    let cooling = libm::pow(
        train.temperature_end / train.temperature_start,
        schedule.progress,
    );
    let temperature = (train.temperature_start * cooling) as f32;
    // Costs are not scaled here, so the entropy bonus is in units of the cost.
    let share = 1.0 / train.batch as f32;

    batch.draw(index);
    batch.for_each(state, |shard, context, arch| {
        arch.dispatch(Relaxed {
            shard,
            context,
            temperature,
            share,
            entropy: schedule.entropy as f32,
        });
    });
    state.env_steps += batch.calls();
    let all = 0..batch.shards.len();
    let gradients = batch.step(all, state, schedule.step, true, Layers::All);
    batch.metrics(0.0, gradients)
}

/// Rollout and reverse sweep of one shard.
struct Relaxed<'a, P> {
    shard: &'a mut Shard,
    context: Context<'a, P>,
    temperature: f32,
    share: f32,
    entropy: f32,
}

impl<P: Plant<f32>> WithSimd for Relaxed<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let (shard, plant, model) = (self.shard, self.context.plant, self.context.model);
        let parameters = &self.context.state.parameters;
        let forward = rollout(&mut shard.worker, &shard.gumbel, plant, model, parameters);
        let tape = &shard.worker.tape;
        let (mut cost, mut entropy) = (Lanes::default(), Lanes::default());
        for t in 0..tape.steps() {
            cost = cost + tape.cost.at(t)[0];
            entropy = entropy + advantage::entropy(tape, t);
        }
        shard.cost = cost.sum();
        shard.entropy = entropy.sum();
        shard.gradient.fill(0.0);
        let backward = sweep(
            &mut shard.worker,
            &shard.gumbel,
            plant,
            model,
            parameters,
            Relaxation {
                objective: Objective {
                    cost_weight: Lanes([self.share; LANES]),
                    discount: self.context.discount,
                    cross_term: 1.0,
                    layers: Layers::All,
                },
                temperature: self.temperature,
                entropy: self.entropy * self.share,
            },
            &mut shard.gradient,
        );
        shard.calls = forward + backward;
    }
}

/// What [`sweep`] differentiates.
#[derive(Clone, Copy, Debug)]
pub struct Relaxation<T> {
    /// Weights of the costs.
    pub objective: Objective<T>,
    /// Temperature of the relaxed choice.
    pub temperature: T,
    /// Weight of the entropy bonus of a step.
    pub entropy: T,
}

/// Runs the policy from `worker.tape.state[0]`, each choice the arg-max of logits plus `noise` `[C]`; returns the
/// number of simulator calls.
#[inline(always)]
pub fn rollout<T: Real, P: Plant<T>>(
    worker: &mut Worker<T>,
    noise: &Track<T>,
    plant: &P,
    model: &Model,
    parameters: &[T],
) -> u64 {
    let steps = worker.tape.steps();
    worker.tape.clamped = 0;
    for t in 0..steps {
        model.observe(&mut worker.tape, t);
        model.select(parameters, &mut worker.tape, t);
        draw(model, &mut worker.tape, noise.at(t), t);
        model.hidden(parameters, &mut worker.tape, t);
        worker.act(model, parameters, t);
        worker.step_chosen(plant, model, t);
        worker.tape.clamped += plant.count_clamped(worker.tape.state.at(t + 1));
    }
    (steps * LANES) as u64
}

#[inline(always)]
fn draw<T: Real>(model: &Model, tape: &mut crate::policy::Tape<T>, noise: &[Lanes<T>], t: usize) {
    let logits = tape.logit.at(t);
    let mut best = logits[0] + noise[0];
    let mut choice = [0_u16; LANES];
    for index in 1..model.shape().choices() {
        let value = logits[index] + noise[index];
        for lane in 0..LANES {
            if value.0[lane] > best.0[lane] {
                best.0[lane] = value.0[lane];
                choice[lane] = index as u16;
            }
        }
    }
    tape.choice[t] = choice;
}

/// The reverse sweep; adds to `gradient` and returns the number of simulator calls: the branches that were not
/// taken. The taken one has been called by the rollout; that it is computed again here asks nothing new of the simulator.
#[inline(always)]
pub fn sweep<T: Real, P: Plant<T>>(
    worker: &mut Worker<T>,
    noise: &Track<T>,
    plant: &P,
    model: &Model,
    parameters: &[T],
    relaxation: Relaxation<T>,
    gradient: &mut [T],
) -> u64 {
    let steps = worker.tape.steps();
    let inverse = T::from_f64(1.0) / relaxation.temperature;
    let choices = model.shape().choices();
    worker.sweep_with(
        plant,
        model,
        parameters,
        relaxation.objective,
        gradient,
        |worker, t, d_cost| {
            worker.branch_values(plant, model, parameters, t, d_cost);
            let tape = &mut worker.tape;
            // y = softmax((logits + g) / tau), in place of the logits' derivative until it is known.
            let soft = tape.d_logits.at_mut(t);
            for (k, y) in soft.iter_mut().enumerate() {
                *y = (tape.logit.at(t)[k] + noise.at(t)[k]) * inverse;
            }
            softmax(soft);
            let values = tape.look_ahead.at(t);
            let mut mean = Lanes::default();
            for (&y, &q) in soft.iter().zip(values) {
                mean = y.mul_add(q, mean);
            }
            for (y, &q) in soft.iter_mut().zip(values) {
                *y = *y * (q - mean) * inverse;
            }
            advantage::add_entropy(tape, t, relaxation.entropy);
            worker.selector_adjoint(model, parameters, t);
        },
    );
    (steps * LANES * (choices - 1)) as u64
}

#[cfg(test)]
#[path = "gumbel_tests.rs"]
mod tests;
