//! From a rollout to the loss derivative of every step's logits, and to the critic's targets.
//!
//! With pi the selector's probabilities, for a term `A log pi(c)` the derivative of logit k is
//! `A (1[k = c] - pi_k)`; for `sum_c Q_c pi_c` it is `pi_k (Q_k - sum_c pi_c Q_c)`; for the entropy
//! bonus `-beta H` it is `beta pi_k (logit_k - sum_c pi_c logit_c)`.

use crate::numeric::dense::splat;
use crate::numeric::{LANES, Lanes, Real};
use crate::policy::tape::{Choices, Tape, Track};
use crate::train::critic::{Critic, CriticMemory};
use crate::train::settings::ChoiceWeight;

/// Generalised advantages and critic values of one tape.
#[derive(Clone, Debug)]
pub struct Advantages<T> {
    /// Critic value of every visited state `[1]`, one more than steps.
    pub value: Track<T>,
    /// Sampled advantage of the taken choice `[1]`.
    pub advantage: Track<T>,
    activations: Vec<Lanes<T>>,
}

impl<T: Real> Advantages<T> {
    /// Memory for `steps` steps.
    #[must_use]
    pub fn new(critic: &Critic, steps: usize) -> Self {
        Self {
            value: Track::new(steps + 1, 1),
            advantage: Track::new(steps, 1),
            activations: vec![Lanes::default(); critic.activations()],
        }
    }

    /// Critic values of the visited states; the last one from `tape.successor_value`.
    #[inline(always)]
    pub fn evaluate(&mut self, critic: &Critic, parameters: &[T], tape: &Tape<T>, bootstrap: bool) {
        let steps = tape.steps();
        for t in 0..steps {
            let value = critic.relative_value(
                parameters,
                tape.direction.at(t),
                tape.monomials.at(t),
                &mut self.activations,
            );
            self.value.at_mut(t)[0] = critic.absolute(value, tape.norm.at(t)[0]);
        }
        self.value.at_mut(steps)[0] = if bootstrap {
            tape.successor_value.at(steps - 1)[0]
        } else {
            Lanes::default()
        };
    }

    /// Generalised advantage estimation: A_t = sum_k (gamma lambda)^k delta_{t+k} with
    /// delta_t = l_t + gamma V_{t+1} - V_t (Schulman et al. 2016, equation 16).
    #[inline(always)]
    pub fn generalised(&mut self, tape: &Tape<T>, discount: T, lambda: T) {
        let mut sum = Lanes::default();
        for t in (0..tape.steps()).rev() {
            let delta = self.value.at(t + 1)[0].mul_add(splat(discount), tape.cost.at(t)[0])
                - self.value.at(t)[0];
            sum = sum.mul_add(splat(discount * lambda), delta);
            self.advantage.at_mut(t)[0] = sum;
        }
    }

    /// Sampled cost-to-go minus the critic's value, discounted to time 0:
    /// A_t = sum_{k>=t} gamma^k l_k - gamma^t V_t.
    #[inline(always)]
    pub fn monte_carlo(&mut self, tape: &Tape<T>, discount: T) {
        let mut to_go = Lanes::default();
        for t in (0..tape.steps()).rev() {
            to_go = to_go.mul_add(splat(discount), tape.cost.at(t)[0]);
            self.advantage.at_mut(t)[0] = (to_go - self.value.at(t)[0]) * power(discount, t);
        }
    }

    /// Control variate of the exact variant: A_t = sum_{k>=t} gamma^k l_k - gamma^t Qhat(s_t, c_t), to be
    /// used with [`add_expected`] at weight gamma^t (unbiased for any Qhat).
    #[inline(always)]
    pub fn control_variate(&mut self, tape: &Tape<T>, discount: T) {
        let mut to_go = Lanes::default();
        for t in (0..tape.steps()).rev() {
            to_go = to_go.mul_add(splat(discount), tape.cost.at(t)[0]);
            let taken = taken_value(tape, t);
            self.advantage.at_mut(t)[0] = (to_go - taken) * power(discount, t);
        }
    }

    /// Critic targets G_t = l_t + gamma ((1 - lambda) V_{t+1} + lambda G_{t+1}), relative to |xi|^2
    /// where the critic is homogeneous; samples at the origin get weight 0.
    #[inline(always)]
    pub fn targets(
        &self,
        critic: &Critic,
        tape: &Tape<T>,
        discount: T,
        lambda: T,
        memory: &mut CriticMemory<T>,
    ) {
        let steps = tape.steps();
        let one = T::from_f64(1.0);
        let mut target = self.value.at(steps)[0];
        for t in (0..steps).rev() {
            let mixed = self.value.at(t + 1)[0] * (one - lambda) + target * lambda;
            target = mixed.mul_add(splat(discount), tape.cost.at(t)[0]);
            let inverse = tape.norm.at(t)[1];
            let (relative, weight) = if critic.homogeneous() {
                let inverse = safe_inverse(inverse);
                (
                    target * (inverse * inverse),
                    inverse.map(|v| if v > T::default() { one } else { T::default() }),
                )
            } else {
                (target * T::from_f64(1.0 / critic.scale()), splat(one))
            };
            memory.target.at_mut(t)[0] = relative;
            memory.weight.at_mut(t)[0] = weight;
        }
    }
}

/// 1/|xi|, or 0 where |xi| is below 1e-12: such a sample has no weight left in the cost, and its
/// squared inverse would leave the range of `f32`.
#[inline(always)]
pub fn safe_inverse<T: Real>(inverse: Lanes<T>) -> Lanes<T> {
    inverse.map(|v| {
        if v < T::from_f64(1e12) {
            v
        } else {
            T::default()
        }
    })
}

/// How much a sample's choice counts (unit-norm input; with affine input the norm is 1).
#[inline(always)]
pub fn sample_weight<T: Real>(norms: &[Lanes<T>], weight: ChoiceWeight) -> Lanes<T> {
    let inverse = safe_inverse(norms[1]);
    match weight {
        ChoiceWeight::Cost => splat(T::from_f64(1.0)),
        ChoiceWeight::Norm => inverse,
        ChoiceWeight::Direction => inverse * inverse,
    }
}

/// Each lane's entry of `values` at its own index.
#[inline(always)]
fn pick<T: Real>(values: &[Lanes<T>], index: &Choices) -> Lanes<T> {
    let mut out = Lanes::default();
    for lane in 0..LANES {
        out.0[lane] = values[usize::from(index[lane])].0[lane];
    }
    out
}

/// Probability of each lane's choice under `probabilities` `[L]`: the product over the factors.
#[inline(always)]
pub fn taken<T: Real>(tape: &Tape<T>, probabilities: &[Lanes<T>], t: usize) -> Lanes<T> {
    let (range, part) = tape.part(&tape.choice[t], 0);
    let mut product = pick(&probabilities[range], &part);
    for factor in 1..tape.factors.len() {
        let (range, part) = tape.part(&tape.choice[t], factor);
        product = product * pick(&probabilities[range], &part);
    }
    product
}

/// Look-ahead value of each lane's choice: the same in every factor's entry.
#[inline(always)]
pub fn taken_value<T: Real>(tape: &Tape<T>, t: usize) -> Lanes<T> {
    let (range, part) = tape.part(&tape.choice[t], 0);
    pick(&tape.look_ahead.at(t)[range], &part)
}

/// What the taken choice costs above the selector's mean, by the look-ahead, summed over the factors.
#[inline(always)]
pub fn taken_excess<T: Real>(tape: &Tape<T>, t: usize) -> Lanes<T> {
    let mut excess = Lanes::default();
    for factor in 0..tape.factors.len() {
        let (range, part) = tape.part(&tape.choice[t], factor);
        let values = &tape.look_ahead.at(t)[range.clone()];
        let mut mean = Lanes::default();
        for (&p, &q) in tape.probability.at(t)[range].iter().zip(values) {
            mean = p.mul_add(q, mean);
        }
        excess = excess + (pick(values, &part) - mean);
    }
    excess
}

/// gamma^t by repeated multiplication.
#[inline(always)]
pub fn power<T: Real>(discount: T, t: usize) -> T {
    let mut power = T::from_f64(1.0);
    for _ in 0..t {
        power = power * discount;
    }
    power
}

/// Adds `weight A (1[k = c] - pi_k)` to the logits' derivative at step `t`, factor by factor: log pi is the sum.
#[inline(always)]
pub fn add_sampled<T: Real>(tape: &mut Tape<T>, t: usize, advantage: Lanes<T>) {
    for factor in 0..tape.factors.len() {
        let (range, part) = tape.part(&tape.choice[t], factor);
        let probabilities = &tape.probability.at(t)[range.clone()];
        let d_logits = &mut tape.d_logits.at_mut(t)[range];
        for (k, (d, &p)) in d_logits.iter_mut().zip(probabilities).enumerate() {
            *d = *d - p * advantage;
            for lane in 0..LANES {
                if usize::from(part[lane]) == k {
                    d.0[lane] += advantage.0[lane];
                }
            }
        }
    }
}

/// Adds the derivative of `weight sum_c pi_c Q_c` (Q: the tape's look-ahead) at step `t`; with several factors of
/// `weight sum_f sum_k pi_fk Q(c with factor f at k)`, the other factors as they were sampled.
#[inline(always)]
pub fn add_expected<T: Real>(tape: &mut Tape<T>, t: usize, weight: Lanes<T>) {
    for factor in 0..tape.factors.len() {
        let (range, _) = tape.part(&tape.choice[t], factor);
        let probabilities = &tape.probability.at(t)[range.clone()];
        let values = &tape.look_ahead.at(t)[range.clone()];
        let mut mean = Lanes::default();
        for (&p, &q) in probabilities.iter().zip(values) {
            mean = p.mul_add(q, mean);
        }
        let d_logits = &mut tape.d_logits.at_mut(t)[range];
        for ((d, &p), &q) in d_logits.iter_mut().zip(probabilities).zip(values) {
            *d = (p * weight).mul_add(q - mean, *d);
        }
    }
}

/// Adds the derivative of `-beta H` at step `t`; H is the sum of the factors' entropies.
#[inline(always)]
pub fn add_entropy<T: Real>(tape: &mut Tape<T>, t: usize, beta: T) {
    for factor in 0..tape.factors.len() {
        let (range, _) = tape.part(&tape.choice[t], factor);
        let probabilities = &tape.probability.at(t)[range.clone()];
        let logits = &tape.logit.at(t)[range.clone()];
        let mut mean = Lanes::default();
        for (&p, &logit) in probabilities.iter().zip(logits) {
            mean = p.mul_add(logit, mean);
        }
        let d_logits = &mut tape.d_logits.at_mut(t)[range];
        for ((d, &p), &logit) in d_logits.iter_mut().zip(probabilities).zip(logits) {
            *d = (p * beta).mul_add(logit - mean, *d);
        }
    }
}

/// Spread of the look-ahead values of step `t` over the choices: mean over the choices of a factor of
/// `(weight (Q_c - mean Q))^2`, summed over the factors, lane by lane. The weight goes in before the square, because its own
/// square may leave the range of `f32` where the product does not.
#[inline(always)]
pub fn spread<T: Real>(tape: &Tape<T>, t: usize, weight: Lanes<T>) -> Lanes<T> {
    let mut total = Lanes::default();
    for factor in 0..tape.factors.len() {
        let (range, _) = tape.part(&tape.choice[t], factor);
        let values = &tape.look_ahead.at(t)[range];
        let inverse = T::from_f64(1.0 / values.len() as f64);
        let mut mean = Lanes::default();
        for &q in values {
            mean = mean + q;
        }
        mean = mean * inverse;
        let mut sum = Lanes::default();
        for &q in values {
            let d = (q - mean) * weight;
            sum = d.mul_add(d, sum);
        }
        total = total + sum * inverse;
    }
    total
}

/// Entropy of the selector at step `t` in nats: log sum exp(logits) - sum_c pi_c logit_c, summed over the factors.
#[inline(always)]
pub fn entropy<T: Real>(tape: &Tape<T>, t: usize) -> Lanes<T> {
    let mut total = Lanes::default();
    for factor in 0..tape.factors.len() {
        let (range, _) = tape.part(&tape.choice[t], factor);
        let probabilities = &tape.probability.at(t)[range.clone()];
        let logits = &tape.logit.at(t)[range];
        // The first choice's logit and probability give the log of the normaliser without a sum of
        // exponentials; the greatest probability is used, since it cannot vanish.
        let (mut top, mut top_logit) = (probabilities[0], logits[0]);
        let mut mean = Lanes::default();
        for (&p, &logit) in probabilities.iter().zip(logits) {
            for lane in 0..LANES {
                if p.0[lane] > top.0[lane] {
                    top.0[lane] = p.0[lane];
                    top_logit.0[lane] = logit.0[lane];
                }
            }
            mean = p.mul_add(logit, mean);
        }
        total = total + (top_logit - top.map(T::ln) - mean);
    }
    total
}

#[cfg(test)]
#[path = "advantage_tests.rs"]
mod tests;
