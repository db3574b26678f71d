//! The gradient estimator that the settings ask for, from the pieces of [`super::advantage`].
//!
//! Written over [`Real`], so that the check by exact enumeration in `f64` runs the very code that trains
//! in `f32`.

use crate::numeric::dense::splat;
use crate::numeric::{LANES, Lanes, Real};
use crate::policy::Tape;
use crate::policy::network::Layers;
use crate::train::advantage::{self, Advantages, power};
use crate::train::rollout::Objective;
use crate::train::settings::{Advantage, CrossTerm, TrainSettings, Variant};

/// Weights of the selector's loss, the same for every sample of a batch.
#[derive(Clone, Copy, Debug)]
pub struct ChoiceLoss<T> {
    /// Factor of the advantages (practical variant: also what makes their spread one).
    pub advantage: T,
    /// Factor of the entropy bonus; not looked at in the exact variant.
    pub entropy: T,
}

/// Fills the sampled advantages where the settings use them; [`Advantages::evaluate`] comes first.
#[inline(always)]
pub fn estimate<T: Real>(
    train: &TrainSettings,
    tape: &Tape<T>,
    discount: T,
    advantages: &mut Advantages<T>,
) {
    let lambda = T::from_f64(train.gae_lambda);
    match (train.variant, train.advantage) {
        (_, Advantage::Gae) => advantages.generalised(tape, discount, lambda),
        (Variant::Exact, Advantage::LookAhead) => advantages.control_variate(tape, discount),
        (_, Advantage::MonteCarlo) => advantages.monte_carlo(tape, discount),
        (Variant::Practical, Advantage::LookAhead) => {}
    }
}

/// Writes the loss derivative of the logits of step `t` to `tape.d_logits`, and returns the number of
/// lanes that were clipped.
///
/// A detached pass gives the probabilities at rollout `[C]` as `old_probability`; the choice's part is then
/// clipped as in PPO, the entropy bonus is not. In the first pass give `None`.
#[inline(always)]
pub fn fill_logits<T: Real>(
    train: &TrainSettings,
    tape: &mut Tape<T>,
    discount: T,
    advantages: &Advantages<T>,
    loss: ChoiceLoss<T>,
    old_probability: Option<&[Lanes<T>]>,
    t: usize,
) -> u32 {
    tape.d_logits.at_mut(t).fill(Lanes::default());
    let weight = advantage::sample_weight(tape.norm.at(t), train.choice_weight) * loss.advantage;
    let sampled = advantages.advantage.at(t)[0] * weight;
    match (train.variant, train.advantage) {
        (Variant::Exact, Advantage::LookAhead) => {
            advantage::add_sampled(tape, t, sampled);
            advantage::add_expected(tape, t, weight * power(discount, t));
        }
        (Variant::Practical, Advantage::LookAhead) => advantage::add_expected(tape, t, weight),
        (_, Advantage::Gae | Advantage::MonteCarlo) => advantage::add_sampled(tape, t, sampled),
    }
    let clipped = old_probability.map_or(0, |old| clip(train, tape, advantages, old, t));
    if train.variant == Variant::Practical {
        advantage::add_entropy(tape, t, loss.entropy);
    }
    clipped
}

/// What the reverse sweep differentiates; `share` is the weight of one trajectory (1 / batch).
#[inline(always)]
#[must_use]
pub fn objective<T: Real>(train: &TrainSettings, discount: T, share: f64) -> Objective<T> {
    let weight = match train.variant {
        Variant::Exact => share,
        Variant::Practical => train.pathwise_weight * share,
    };
    // Reported costs are undiscounted, and so are the pathwise costs of the practical variant: there the discount
    // belongs to critic and advantages.
    let discount = match train.variant {
        Variant::Exact => discount,
        Variant::Practical => T::from_f64(1.0),
    };
    Objective {
        cost_weight: splat(T::from_f64(weight)),
        discount,
        cross_term: match train.cross_term {
            // What `auto` keeps of it is for the learner to say.
            CrossTerm::On | CrossTerm::Auto => T::from_f64(1.0),
            CrossTerm::Off => T::default(),
        },
        layers: Layers::All,
    }
}

/// PPO's clip (Schulman et al. 2017, equation 7) for the taken choice of step `t`: importance ratio
/// times the gradient, or nothing where the ratio has already moved by more than the clip in the
/// direction that the advantage asks for. Look-ahead gradients are expectations under the new
/// selector and need no ratio; they stop at the same clip.
///
/// Scales `tape.d_logits` and returns the number of lanes that were clipped. While `old_probability` is
/// the present one the ratio is exactly 1 and nothing changes.
#[inline(always)]
fn clip<T: Real>(
    train: &TrainSettings,
    tape: &mut Tape<T>,
    advantages: &Advantages<T>,
    old_probability: &[Lanes<T>],
    t: usize,
) -> u32 {
    let new = advantage::taken(tape, tape.probability.at(t), t);
    let old = advantage::taken(tape, old_probability, t);
    let look_ahead = train.advantage == Advantage::LookAhead;
    let advantage = if look_ahead {
        advantage::taken_excess(tape, t)
    } else {
        advantages.advantage.at(t)[0]
    };
    let (one, clip) = (T::from_f64(1.0), T::from_f64(train.clip));
    // A choice drawn through rounding may have had probability zero.
    let least = T::from_f64(1e-30);
    let mut factor = Lanes::default();
    let mut clipped = 0;
    for lane in 0..LANES {
        let old = if old.0[lane] > least {
            old.0[lane]
        } else {
            least
        };
        let ratio = new.0[lane] / old;
        // Cost is minimised: a positive advantage asks for a smaller probability.
        let done = if advantage.0[lane] > T::default() {
            ratio < one - clip
        } else {
            ratio > one + clip
        };
        factor.0[lane] = match (done, look_ahead) {
            (true, _) => T::default(),
            (false, true) => one,
            (false, false) => ratio,
        };
        clipped += u32::from(done);
    }
    for d in tape.d_logits.at_mut(t) {
        *d = *d * factor;
    }
    clipped
}

#[cfg(test)]
#[path = "estimator_tests.rs"]
mod tests;
