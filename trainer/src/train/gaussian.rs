//! Gaussian noise on the control, and the surrogate loss of score-function algorithms.
//!
//! The drawn control is u = mu(s, c) + sigma a r w with w standard normal, sigma `[m]` per coordinate in units of a, the control's
//! typical magnitude, and r the root mean square |xi| / sqrt(n) with unit-norm input (so that noise and control shrink together), else 1.
//! The factors a and r and the bounds behind u do not depend on the parameters and leave the ratio of probabilities alone:
//!
//! ```text
//! ln p(c, u | s) = ln pi(c | s) - |z|^2 / 2 - sum_i ln sigma_i + const,   z = (u - mu) / (sigma a r)
//! ```
//!
//! Where the region of choice c is a single point in coordinate i (no order: 0), the control there is that point whatever is drawn.
//! Such a coordinate has no noise and no term in the sums: a density of what has no effect would be noise in every gradient and
//! in every ratio.

use pulp::{Simd, WithSimd};

use crate::numeric::{LANES, Lanes, Real, Scalar};
use crate::plant::Plant;
use crate::policy::network::Layers;
use crate::policy::tape::Choices;
use crate::policy::{InputKind, Model, Tape, Track};
use crate::train::advantage::{self, sample_weight};
use crate::train::rollout::Worker;
use crate::train::settings::Advantage;
use crate::train::shard::{Context, Shard};

/// What a rollout with noise remembers; empty for algorithms without.
#[derive(Clone, Debug)]
pub struct Gaussian<T> {
    /// Standard normal w `[m]`.
    pub perturbation: Track<T>,
    /// Drawn control before bounds `[m]`.
    control: Track<T>,
    /// Logarithm of the probability of choice and control at rollout, less constants `[1]`.
    log_probability: Track<T>,
    /// Loss derivative of ln sigma `[m]`.
    pub d_log_std: Vec<T>,
    z: Vec<Lanes<T>>,
}

impl<T: Real> Gaussian<T> {
    /// Memory for `steps` steps of `controls` control coordinates.
    #[must_use]
    pub fn new(steps: usize, controls: usize) -> Self {
        Self {
            perturbation: Track::new(steps, controls),
            control: Track::new(steps, controls),
            log_probability: Track::new(steps, 1),
            d_log_std: vec![T::default(); controls],
            z: vec![Lanes::default(); controls],
        }
    }
}

/// |xi| / sqrt(n) with unit-norm input, else 1; and its inverse (0 at the origin).
#[inline(always)]
fn radius<T: Real>(model: &Model, tape: &Tape<T>, t: usize) -> (Lanes<T>, Lanes<T>) {
    match model.shape().input {
        InputKind::UnitNorm => {
            let root = libm::sqrt(model.shape().state as f64);
            (
                tape.norm.at(t)[0] * T::from_f64(1.0 / root),
                advantage::safe_inverse(tape.norm.at(t)[1]) * T::from_f64(root),
            )
        }
        InputKind::Affine => (
            Lanes([T::from_f64(1.0); LANES]),
            Lanes([T::from_f64(1.0); LANES]),
        ),
    }
}

/// Runs the policy with noise from `worker.tape.state[0]`; returns the number of simulator calls.
#[inline(always)]
pub fn rollout<T: Real, P: Plant<T>>(
    worker: &mut Worker<T>,
    memory: &mut Gaussian<T>,
    plant: &P,
    model: &Model,
    parameters: &[T],
    log_std: &[T],
) -> u64 {
    let steps = worker.tape.steps();
    worker.tape.clamped = 0;
    for t in 0..steps {
        model.observe(&mut worker.tape, t);
        model.select(parameters, &mut worker.tape, t);
        model.draw(&mut worker.tape, t);
        model.hidden(parameters, &mut worker.tape, t);
        worker.act(model, parameters, t);
        let tape = &mut worker.tape;
        let (radius, _) = radius(model, tape, t);
        let mut square = Lanes::default();
        let mut log_stds = Lanes::default();
        let control = memory.control.at_mut(t);
        for (i, (u, &w)) in control
            .iter_mut()
            .zip(memory.perturbation.at(t))
            .enumerate()
        {
            let (mut w, mut log_std_i) = (w, Lanes([log_std[i]; LANES]));
            if let Some(free) = free(model, &tape.choice[t], i) {
                (w, log_std_i) = (w * free, log_std_i * free);
            }
            let deviation = deviation(model, log_std[i], i);
            *u = (w * radius).mul_add(Lanes([deviation; LANES]), tape.law.at(t)[i]);
            square = w.mul_add(w, square);
            log_stds = log_stds + log_std_i;
        }
        tape.applied.at_mut(t).copy_from_slice(control);
        model.constrain_applied(&mut tape.applied, &tape.choice[t], t);
        let choice = advantage::taken(tape, tape.probability.at(t), t);
        memory.log_probability.at_mut(t)[0] = log_probability(choice, square, log_stds);
        worker.step_chosen(plant, model, t);
        worker.tape.clamped += plant.count_clamped(worker.tape.state.at(t + 1));
    }
    (steps * LANES) as u64
}

/// 1 in the lanes whose choice leaves control `i` free, 0 where its region is a single point; `None`: free everywhere.
#[inline(always)]
fn free<T: Real>(model: &Model, choices: &Choices, i: usize) -> Option<Lanes<T>> {
    let shape = model.shape();
    let regions = shape.regions.as_ref()?;
    Some(Lanes(std::array::from_fn(|lane| {
        let entry = usize::from(choices[lane]) * shape.control + i;
        let point = regions.lower[entry] >= regions.upper[entry];
        T::from_f64(if point { 0.0 } else { 1.0 })
    })))
}

/// sigma a: the standard deviation of control `i` in its own unit.
#[inline(always)]
fn deviation<T: Real>(model: &Model, log_std: T, i: usize) -> T {
    log_std.exp() * T::from_f64(model.shape().law_scale[i])
}

/// 1 / (sigma a).
#[inline(always)]
fn inverse_deviation<T: Real>(model: &Model, log_std: T, i: usize) -> T {
    (-log_std).exp() * T::from_f64(1.0 / model.shape().law_scale[i])
}

#[inline(always)]
fn log_probability<T: Real>(choice: Lanes<T>, square: Lanes<T>, log_stds: Lanes<T>) -> Lanes<T> {
    // A choice drawn through rounding may have had probability zero.
    let least = T::from_f64(1e-30);
    choice.map(|p| if p > least { p } else { least }.ln()) - square * T::from_f64(0.5) - log_stds
}

/// Rollout of one shard with noise, critic values, targets and weighted advantages.
pub(super) struct Explore<'a, P> {
    pub shard: &'a mut Shard,
    pub context: Context<'a, P>,
}

impl<P: Plant<f32>> WithSimd for Explore<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { shard, context } = self;
        let (train, state) = (context.train, context.state);
        shard.calls = rollout(
            &mut shard.worker,
            &mut shard.gaussian,
            context.plant,
            context.model,
            &state.parameters,
            &state.log_std,
        );
        shard
            .worker
            .value_last(context.model, context.critic, &state.critic);
        let tape = &shard.worker.tape;
        let advantages = &mut shard.advantages;
        advantages.evaluate(context.critic, &state.critic, tape, train.bootstrap);
        let lambda = train.gae_lambda as f32;
        advantages.targets(
            context.critic,
            tape,
            context.discount,
            lambda,
            &mut shard.regression,
        );
        match train.advantage {
            Advantage::MonteCarlo => advantages.monte_carlo(tape, context.discount),
            Advantage::Gae | Advantage::LookAhead => {
                advantages.generalised(tape, context.discount, lambda);
            }
        }
        let (mut sum, mut square) = (Lanes::default(), Lanes::default());
        let (mut cost, mut entropy) = (Lanes::default(), Lanes::default());
        for t in 0..tape.steps() {
            let weight = sample_weight(tape.norm.at(t), train.choice_weight);
            let a = &mut advantages.advantage.at_mut(t)[0];
            *a = *a * weight;
            sum = sum + *a;
            square = a.mul_add(*a, square);
            cost = cost + tape.cost.at(t)[0];
            entropy = entropy + advantage::entropy(tape, t);
        }
        shard.advantage = sum.sum();
        shard.spread = square.sum();
        shard.cost = cost.sum();
        shard.entropy = entropy.sum();
    }
}

/// Weights of [`surrogate`].
#[derive(Clone, Copy, Debug)]
pub struct SurrogateWeights<T> {
    /// Mean that is taken off the advantages.
    pub mean: T,
    /// Inverse of the advantages' spread.
    pub scale: T,
    /// Weight of one sample.
    pub share: T,
    /// Weight of the entropy bonus.
    pub entropy: T,
    /// Greatest change of the ratio that is still rewarded (PPO's clip), where there is one.
    pub clip: Option<T>,
}

/// What [`surrogate`] saw, summed over samples.
#[derive(Clone, Copy, Debug)]
pub struct SurrogateFigures<T> {
    /// Samples whose gradient was clipped.
    pub clipped: u32,
    /// (r - 1) - ln r: an estimate of the divergence of the present policy from the rollout's.
    pub divergence: T,
}

/// Adds the gradient of `sum over samples of share A r - entropy H` to `gradient` and writes that of ln sigma to
/// `memory.d_log_std`: states and choices are the tape's, r is the ratio of present and rollout
/// probability, A the advantage `[1]` less the mean, scaled. Where `clip` is given the sum is PPO's, of
/// max(A r, A clip(r, 1 - clip, 1 + clip)) (Schulman et al. 2017, equation 7, for costs).
#[expect(
    clippy::too_many_arguments,
    reason = "policy, noise and advantages of a rollout"
)]
#[inline(always)]
pub fn surrogate<T: Real>(
    worker: &mut Worker<T>,
    memory: &mut Gaussian<T>,
    model: &Model,
    parameters: &[T],
    log_std: &[T],
    advantage: &Track<T>,
    weights: SurrogateWeights<T>,
    gradient: &mut [T],
) -> SurrogateFigures<T> {
    let one = T::from_f64(1.0);
    memory.d_log_std.fill(T::default());
    let mut divergence = Lanes::default();
    let mut clipped = 0;
    let steps = worker.tape.steps();
    model.select_steps(parameters, &mut worker.tape, 0..steps);
    model.hidden_steps(parameters, &mut worker.tape, 0..steps);
    for t in 0..steps {
        worker.act(model, parameters, t);
        let tape = &mut worker.tape;
        let (_, inverse) = radius(model, tape, t);
        let mut square = Lanes::default();
        let mut log_stds = Lanes::default();
        for (i, z) in memory.z.iter_mut().enumerate() {
            let (mut per_std, mut log_std_i) = (
                inverse * inverse_deviation(model, log_std[i], i),
                Lanes([log_std[i]; LANES]),
            );
            if let Some(free) = free(model, &tape.choice[t], i) {
                (per_std, log_std_i) = (per_std * free, log_std_i * free);
            }
            log_stds = log_stds + log_std_i;
            // d ln p / d mu = z / (sigma r); the sample's factor comes below, when it is known.
            *z = (memory.control.at(t)[i] - tape.law.at(t)[i]) * per_std;
            square = z.mul_add(*z, square);
            tape.d_law.at_mut(t)[i] = *z * per_std;
        }
        let choice = advantage::taken(tape, tape.probability.at(t), t);
        let log_ratio = log_probability(choice, square, log_stds) - memory.log_probability.at(t)[0];
        // Far beyond any clip, and short of overflow.
        let log_ratio = Scalar::clamp(log_ratio, T::from_f64(-20.0), T::from_f64(20.0));
        let ratio = log_ratio.map(T::exp);
        divergence = divergence + (ratio - Lanes([one; LANES]) - log_ratio);
        let a = (advantage.at(t)[0] - Lanes([weights.mean; LANES])) * weights.scale;
        let mut factor = ratio * a * weights.share;
        if let Some(clip) = weights.clip {
            for lane in 0..LANES {
                // Cost is minimised: a positive advantage asks for a smaller probability.
                let done = if a.0[lane] > T::default() {
                    ratio.0[lane] < one - clip
                } else {
                    ratio.0[lane] > one + clip
                };
                if done {
                    factor.0[lane] = T::default();
                    clipped += 1;
                }
            }
        }
        for d in tape.d_law.at_mut(t) {
            *d = *d * factor;
        }
        for (i, (d, z)) in memory.d_log_std.iter_mut().zip(&memory.z).enumerate() {
            let free = free(model, &tape.choice[t], i).unwrap_or(Lanes([one; LANES]));
            *d += ((*z * *z - free) * factor).sum();
        }
        tape.d_logits.at_mut(t).fill(Lanes::default());
        advantage::add_sampled(tape, t, factor);
        advantage::add_entropy(tape, t, weights.entropy);
    }
    worker.detached_selector_adjoint(model, parameters, 0..steps);
    worker.detached_law_adjoint(model, parameters, 0..steps);
    worker.gradient(model, Layers::All, gradient);
    SurrogateFigures {
        clipped,
        divergence: divergence.sum(),
    }
}

/// [`surrogate`] on one shard.
pub(super) struct Surrogate<'a, P> {
    pub shard: &'a mut Shard,
    pub context: Context<'a, P>,
    pub weights: SurrogateWeights<f32>,
}

impl<P: Plant<f32>> WithSimd for Surrogate<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let (shard, state) = (self.shard, self.context.state);
        shard.gradient.fill(0.0);
        let figures = surrogate(
            &mut shard.worker,
            &mut shard.gaussian,
            self.context.model,
            &state.parameters,
            &state.log_std,
            &shard.advantages.advantage,
            self.weights,
            &mut shard.gradient,
        );
        shard.clipped = figures.clipped;
        shard.divergence = figures.divergence;
    }
}

/// Mean of a batch's advantages, and the inverse of their spread.
pub(super) fn normalisation(shards: &[Shard], samples: f32) -> (f32, f32) {
    let mean = shards.iter().map(|s| s.advantage).sum::<f32>() / samples;
    let square = shards.iter().map(|s| s.spread).sum::<f32>() / samples;
    let spread = (square - mean * mean).max(0.0).sqrt();
    let scale = if spread.is_finite() && mean.is_finite() {
        1.0 / spread.max(1e-12)
    } else {
        0.0
    };
    (if mean.is_finite() { mean } else { 0.0 }, scale)
}

#[cfg(test)]
#[path = "gaussian_tests.rs"]
mod tests;
