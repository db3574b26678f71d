//! Floating-point operations of an epoch, counted from the shapes.
//!
//! A layer of i inputs and o outputs takes 2 i o operations per sample: forward, for the derivative of its
//! input, and for the derivative of its weights. Counted are these products alone, once for every sample
//! that needs them: no tanh, no bias, no plant, no optimiser, and a sample's own control law only, even
//! where all sixteen lanes are computed.

use crate::policy::Model;
use crate::policy::network::Network;
use crate::train::critic::Critic;
use crate::train::settings::{Advantage, CrossTerm, TrainSettings};

/// Operations per sample of a set of networks that share their input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    /// Forward; also: derivatives of all inputs; also: derivatives of all weights.
    whole: u64,
    /// Derivatives of the inputs of every layer but the first, as training needs them.
    inner: u64,
}

impl Cost {
    fn add(mut self, network: Option<&Network>) -> Self {
        for (index, (inputs, outputs, ..)) in
            network.into_iter().flat_map(Network::layers).enumerate()
        {
            let products = 2 * (inputs * outputs) as u64;
            self.whole += products;
            self.inner += if index > 0 { products } else { 0 };
        }
        self
    }
}

/// Operations of one epoch of `train` with episodes of `horizon` steps.
///
/// With N samples and R rollouts per update, s, t, l, c the operations of selector, control trunk, one
/// control law and critic, and s', c' those of their input derivatives without the first layer:
///
/// - rollout: N (s + t + l + c) + R c; with look-ahead N (s + t + C (l + c) + c) for C choices;
/// - attached: N (s + (s or, without the cross term, s') + 2 (t + l));
/// - detached, per later pass: N (2 s + s');
/// - critic, per pass: N (2 c + c').
#[must_use]
pub fn epoch(model: &Model, critic: &Critic, train: &TrainSettings, horizon: usize) -> u64 {
    let shape = model.shape();
    let selector = Cost::default().add(model.scores()).add(model.selector());
    let trunk = Cost::default().add(model.trunk()).whole;
    let head = model.head(0).map_or(0, |(weights, _)| weights.len());
    let law = 2 * (model.gain(0).0.len() + head) as u64;
    let value = critic
        .networks()
        .fold(Cost::default(), |cost, network| cost.add(Some(network)));
    let samples = (train.batch * horizon) as u64;
    let passes = |count: usize| count as u64 * samples;

    let rollout = if train.advantage == Advantage::LookAhead {
        let choices = shape.choices() as u64;
        samples * (selector.whole + trunk + choices * (law + value.whole) + value.whole)
    } else {
        samples * (selector.whole + trunk + law + value.whole) + train.batch as u64 * value.whole
    };
    let through_selector = match train.cross_term {
        CrossTerm::On | CrossTerm::Auto => selector.whole,
        CrossTerm::Off => selector.inner,
    };
    let attached = samples * (selector.whole + through_selector + 2 * (trunk + law));
    let detached = passes(train.passes - 1) * (2 * selector.whole + selector.inner);
    let regression = passes(train.critic_passes) * (2 * value.whole + value.inner);
    train.batches_per_epoch as u64 * (rollout + attached + detached + regression)
}
