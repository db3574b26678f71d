//! Hybrid Policy Optimization (Alvo, Russo, Kanoria, arXiv 2605.14297), read from top to bottom:
//! roll out, estimate, differentiate, step.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::numeric::dense::splat;
use crate::numeric::random::{Purpose, Stream};
use crate::numeric::{LANES, Lanes};
use crate::plant::Plant;
use crate::policy::Model;
use crate::train::adam::{Adam, clip_norm};
use crate::train::advantage::{self, Advantages};
use crate::train::critic::{Critic, CriticMemory};
use crate::train::rollout::{LookAhead, Objective, Selection, Worker};
use crate::train::settings::{Advantage, CrossTerm, Settings, TrainSettings};

/// One unit of parallel work: sixteen trajectories with everything computed from them.
///
/// The number of shards is the batch divided by [`LANES`], whatever the number of threads, and
/// shards are summed in order: that is why a seed gives the same bytes on any machine.
struct Shard {
    worker: Worker<f32>,
    advantages: Advantages<f32>,
    regression: CriticMemory<f32>,
    gradient: Vec<f32>,
    critic_gradient: Vec<f32>,
    calls: u64,
    spread: f32,
    cost: f32,
    entropy: f32,
    critic_loss: f32,
}

/// What training knows between two epochs: all that a checkpoint holds.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
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

/// Figures of one epoch, averaged over its updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct EpochMetrics {
    /// Mean cost per trajectory under the sampled selector.
    pub cost: f64,
    /// Mean entropy of the selector in nats.
    pub entropy: f64,
    /// Mean squared relative error of the critic.
    pub critic_loss: f64,
    /// Norm of the policy gradient before clipping.
    pub gradient_norm: f64,
    /// Coordinates at the state clamp.
    pub clamped: u64,
}

/// The learner: plant, model, settings, and the memory of its shards.
pub struct Hpo<'a, P> {
    plant: &'a P,
    model: &'a Model,
    critic: Critic,
    settings: &'a Settings,
    seed: u64,
    draw_initial: &'a (dyn Fn(&mut Stream, &mut [f64]) + Sync),
    shards: Vec<Shard>,
    arch: Arch,
}

impl<'a, P: Plant<f32>> Hpo<'a, P> {
    /// A learner for `horizon` steps of `plant`; `draw_initial` fills an initial state.
    pub fn new(
        plant: &'a P,
        model: &'a Model,
        settings: &'a Settings,
        horizon: usize,
        seed: u64,
        draw_initial: &'a (dyn Fn(&mut Stream, &mut [f64]) + Sync),
    ) -> Self {
        let critic = Critic::new(model.shape(), &settings.critic.hidden);
        let noise = plant.dims().noise;
        let shards = (0..settings.train.batch / LANES)
            .map(|_| Shard {
                worker: Worker::new(model, &critic, horizon, noise),
                advantages: Advantages::new(&critic, horizon),
                regression: CriticMemory::new(&critic, horizon),
                gradient: vec![0.0; model.parameters()],
                critic_gradient: vec![0.0; critic.parameters()],
                calls: 0,
                spread: 0.0,
                cost: 0.0,
                entropy: 0.0,
                critic_loss: 0.0,
            })
            .collect();
        Self {
            plant,
            model,
            critic,
            settings,
            seed,
            draw_initial,
            shards,
            arch: Arch::new(),
        }
    }

    /// The critic's structure.
    #[must_use]
    pub fn critic(&self) -> &Critic {
        &self.critic
    }

    /// Runs one epoch.
    pub fn epoch(&mut self, state: &mut State) -> EpochMetrics {
        let updates = self.settings.train.batches_per_epoch;
        let mut sum = EpochMetrics::default();
        for update in 0..updates {
            let metrics = self.update(state, state.epoch * updates + update);
            let share = 1.0 / updates as f64;
            sum.cost += metrics.cost * share;
            sum.entropy += metrics.entropy * share;
            sum.critic_loss += metrics.critic_loss * share;
            sum.gradient_norm += metrics.gradient_norm * share;
            sum.clamped += metrics.clamped;
        }
        state.epoch += 1;
        sum
    }

    /// One batch: rollout, critic targets, gradient, step, critic regression.
    fn update(&mut self, state: &mut State, index: usize) -> EpochMetrics {
        let train = &self.settings.train;
        let progress = state.epoch as f64 / train.epochs as f64;
        let step_factor = train.step_final
            + (1.0 - train.step_final) * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * progress));
        let entropy = train.entropy_start
            * libm::pow(train.entropy_end / train.entropy_start.max(1e-12), progress);
        let batch = train.batch as f32;

        self.roll_out(state, index);
        let samples = (train.batch * self.shards[0].worker.tape.steps()) as f32;
        let scale = (self.shards.iter().map(|s| s.spread).sum::<f32>() / samples)
            .sqrt()
            .max(1e-12);
        self.differentiate(state, 1.0 / scale / samples, entropy as f32 / samples);

        let mut gradient = std::mem::take(&mut self.shards[0].gradient);
        for shard in &self.shards[1..] {
            for (sum, &g) in gradient.iter_mut().zip(&shard.gradient) {
                *sum += g;
            }
        }
        let norm = clip_norm(&mut gradient, train.gradient_norm as f32);
        let factor = step_factor as f32;
        let groups = self.model.groups();
        state.adam.step(
            &mut state.parameters,
            &gradient,
            groups
                .into_iter()
                .map(|(group, range)| (range, factor * train.step_size(group) as f32)),
        );
        self.shards[0].gradient = gradient;
        let critic_loss = self.regress(state, factor * train.step_critic as f32);
        state.env_steps += self.shards.iter().map(|s| s.calls).sum::<u64>();

        let total = |f: fn(&Shard) -> f32| self.shards.iter().map(f).sum::<f32>();
        EpochMetrics {
            cost: f64::from(total(|s| s.cost) / batch),
            entropy: f64::from(total(|s| s.entropy) / samples),
            critic_loss: f64::from(critic_loss),
            gradient_norm: f64::from(norm),
            clamped: self
                .shards
                .iter()
                .map(|s| u64::from(s.worker.tape.clamped))
                .sum(),
        }
    }

    /// Fresh trajectories, their look-ahead, critic values and targets.
    fn roll_out(&mut self, state: &State, index: usize) {
        let (plant, model, critic, arch) = (self.plant, self.model, &self.critic, self.arch);
        let train = &self.settings.train;
        let (seed, draw) = (self.seed, self.draw_initial);
        let shards = self.shards.len();
        self.shards
            .par_iter_mut()
            .enumerate()
            .for_each(|(number, shard)| {
                fill_random(&mut shard.worker, seed, (index * shards + number) as u64, draw);
                arch.dispatch(RollOut {
                    shard,
                    plant,
                    model,
                    critic,
                    train,
                    state,
                });
            });
    }

    /// Reverse sweeps: every shard's gradient.
    fn differentiate(&mut self, state: &State, choice_weight: f32, entropy: f32) {
        let (plant, model, arch) = (self.plant, self.model, self.arch);
        let train = &self.settings.train;
        self.shards.par_iter_mut().for_each(|shard| {
            arch.dispatch(Differentiate {
                shard,
                plant,
                model,
                train,
                state,
                choice_weight,
                entropy,
            });
        });
    }

    /// The critic's passes; returns the mean loss of the first.
    fn regress(&mut self, state: &mut State, step: f32) -> f32 {
        let train = &self.settings.train;
        let steps = self.shards[0].worker.tape.steps();
        let (critic, arch) = (&self.critic, self.arch);
        let mut first = 0.0;
        for pass in 0..train.critic_passes {
            for part in 0..train.minibatches {
                // A minibatch is a stretch of time of every trajectory.
                let range = part * steps / train.minibatches..(part + 1) * steps / train.minibatches;
                let parameters = &state.critic;
                self.shards.par_iter_mut().for_each(|shard| {
                    arch.dispatch(Regress {
                        shard,
                        critic,
                        parameters,
                        range: range.clone(),
                    });
                });
                let mut gradient = std::mem::take(&mut self.shards[0].critic_gradient);
                for shard in &self.shards[1..] {
                    for (sum, &g) in gradient.iter_mut().zip(&shard.critic_gradient) {
                        *sum += g;
                    }
                }
                if pass == 0 {
                    first += self.shards.iter().map(|s| s.critic_loss).sum::<f32>();
                }
                let whole = 0..gradient.len();
                state
                    .critic_adam
                    .step(&mut state.critic, &gradient, [(whole, step)].into_iter());
                self.shards[0].critic_gradient = gradient;
            }
        }
        first / (train.batch * steps) as f32
    }
}

/// Rollout of one shard, compiled for each instruction set.
struct RollOut<'a, P> {
    shard: &'a mut Shard,
    plant: &'a P,
    model: &'a Model,
    critic: &'a Critic,
    train: &'a TrainSettings,
    state: &'a State,
}

impl<P: Plant<f32>> WithSimd for RollOut<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self {
            shard,
            plant,
            model,
            critic,
            train,
            state,
        } = self;
        let discount = train.discount as f32;
        let look = LookAhead {
            critic,
            parameters: &state.critic,
            discount,
        };
        let look = (train.advantage == Advantage::LookAhead).then_some(look);
        shard.calls =
            shard
                .worker
                .rollout(plant, model, &state.parameters, Selection::Sample, look);
        if look.is_none() {
            shard.worker.value_last(model, critic, &state.critic);
        }
        let tape = &shard.worker.tape;
        shard
            .advantages
            .evaluate(critic, &state.critic, tape, train.bootstrap);
        let lambda = train.gae_lambda as f32;
        shard
            .advantages
            .targets(critic, tape, discount, lambda, &mut shard.regression);
        if look.is_none() {
            shard.advantages.generalised(tape, discount, lambda);
        }
        let (mut cost, mut entropy) = (Lanes::default(), Lanes::default());
        let mut spread = Lanes::default();
        for t in 0..tape.steps() {
            cost = cost + tape.cost.at(t)[0];
            entropy = entropy + advantage::entropy(tape, t);
            let weight = sample_weight(tape.norm.at(t), train.choice_weight);
            let square = if look.is_some() {
                advantage::spread(model, tape, t)
            } else {
                let a = shard.advantages.advantage.at(t)[0];
                a * a
            };
            spread = (weight * weight).mul_add(square, spread);
        }
        shard.cost = cost.sum();
        shard.entropy = entropy.sum();
        shard.spread = spread.sum();
    }
}

/// Reverse sweep of one shard, compiled for each instruction set.
struct Differentiate<'a, P> {
    shard: &'a mut Shard,
    plant: &'a P,
    model: &'a Model,
    train: &'a TrainSettings,
    state: &'a State,
    choice_weight: f32,
    entropy: f32,
}

impl<P: Plant<f32>> WithSimd for Differentiate<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let train = self.train;
        let shard = self.shard;
        let tape = &mut shard.worker.tape;
        for t in 0..tape.steps() {
            tape.d_logits.at_mut(t).fill(Lanes::default());
            let weight = sample_weight(tape.norm.at(t), train.choice_weight) * self.choice_weight;
            match train.advantage {
                Advantage::LookAhead => advantage::add_expected(tape, t, weight),
                Advantage::Gae | Advantage::MonteCarlo => {
                    let a = shard.advantages.advantage.at(t)[0] * weight;
                    advantage::add_sampled(tape, t, a);
                }
            }
            advantage::add_entropy(tape, t, self.entropy);
        }
        shard.gradient.fill(0.0);
        let objective = Objective {
            cost_weight: (train.pathwise_weight / train.batch as f64) as f32,
            discount: train.discount as f32,
            cross_term: match train.cross_term {
                CrossTerm::On => 1.0,
                CrossTerm::Off => 0.0,
            },
        };
        shard.worker.sweep(
            self.plant,
            self.model,
            &self.state.parameters,
            objective,
            &mut shard.gradient,
        );
    }
}

/// One minibatch of the critic's regression on one shard.
struct Regress<'a> {
    shard: &'a mut Shard,
    critic: &'a Critic,
    parameters: &'a [f32],
    range: std::ops::Range<usize>,
}

impl WithSimd for Regress<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let shard = self.shard;
        shard.critic_gradient.fill(0.0);
        shard.critic_loss = self.critic.gradient(
            self.parameters,
            &shard.worker.tape,
            self.range,
            &mut shard.regression,
            &mut shard.critic_gradient,
        );
    }
}

/// |xi|^(exponent - 2): how much a sample's choice counts (unit norm input; else 1).
#[inline(always)]
fn sample_weight(norms: &[Lanes<f32>], exponent: f64) -> Lanes<f32> {
    if exponent == 2.0 {
        return splat(1.0);
    }
    if exponent == 0.0 {
        return norms[1] * norms[1];
    }
    norms[1]
}

/// Fills initial states, uniform numbers and noise of sixteen trajectories, each from its own
/// streams.
fn fill_random(
    worker: &mut Worker<f32>,
    seed: u64,
    index: u64,
    draw_initial: &(dyn Fn(&mut Stream, &mut [f64]) + Sync),
) {
    let tape = &mut worker.tape;
    let steps = tape.steps();
    let n = tape.state.at(0).len();
    let mut initial = vec![0.0; n];
    for lane in 0..LANES {
        let trajectory = index * LANES as u64 + lane as u64;
        let mut stream = Stream::new(seed, Purpose::InitialState, trajectory);
        draw_initial(&mut stream, &mut initial);
        for (x, &value) in tape.state.at_mut(0).iter_mut().zip(&initial) {
            x.0[lane] = value as f32;
        }
        let mut stream = Stream::new(seed, Purpose::Choice, trajectory);
        for t in 0..steps {
            tape.uniform.at_mut(t)[0].0[lane] = stream.uniform() as f32;
        }
        if !tape.noise.at(0).is_empty() {
            let mut stream = Stream::new(seed, Purpose::Noise, trajectory);
            for t in 0..steps {
                for w in tape.noise.at_mut(t) {
                    w.0[lane] = stream.normal() as f32;
                }
            }
        }
    }
}
