//! Parameters before the first epoch.

use crate::numeric::random::{Purpose, Stream};
use crate::policy::Model;
use crate::policy::network::Network;
use crate::train::critic::Critic;

/// Scores are drawn with standard deviation `score_spread`, which tells the laws of one mode
/// apart; networks as Glorot and Bengio (2010) with output layers scaled to a hundredth, so that
/// the policy starts from its linear part; gains and biases are zero, offsets of the laws the plant's typical control, inside the region of their choice.
/// No matrix of a plant enters.
#[must_use]
pub fn policy(model: &Model, seed: u64, score_spread: f64) -> Vec<f32> {
    let mut parameters = vec![0.0; model.parameters()];
    let mut stream = Stream::new(seed, Purpose::Parameters, 0);
    if let Some(scores) = model.scores() {
        for (_, _, weights, _) in scores.layers() {
            for w in &mut parameters[weights] {
                *w = (score_spread * stream.normal()) as f32;
            }
        }
    }
    if let Some(selector) = model.selector() {
        network(selector, &mut stream, 0.01, &mut parameters);
    }
    if let Some(trunk) = model.trunk() {
        network(trunk, &mut stream, 1.0, &mut parameters);
    }
    for choice in 0..model.shape().choices() {
        let (_, offset) = model.gain(choice);
        for (place, value) in parameters[offset].iter_mut().zip(offsets(model, choice)) {
            *place = value as f32;
        }
    }
    if let Some((head, _)) = model.head(0) {
        let width = head.len() / model.shape().control;
        for choice in 0..model.shape().heads() {
            if let Some((weights, bias)) = model.head(choice) {
                if !model.shape().gain_offsets() {
                    for (place, value) in parameters[bias].iter_mut().zip(offsets(model, choice)) {
                        *place = value as f32;
                    }
                }
                fill(
                    &mut parameters[weights],
                    width,
                    model.shape().control,
                    0.01,
                    &mut stream,
                );
            }
        }
    }
    parameters
}

/// Where the laws of `choice` start: at the plant's typical control, moved to where the map onto the choice's region is the
/// identity. Beyond its region a law has the slope 0 and would never learn.
fn offsets(model: &Model, choice: usize) -> impl Iterator<Item = f64> + '_ {
    let shape = model.shape();
    // One head for all choices starts where all laws do.
    let own = shape.head_per_choice || shape.gain_offsets();
    let regions = shape.regions.as_ref().filter(|_| own);
    let first = choice * shape.control;
    shape.law_offset.iter().enumerate().map(move |(i, &value)| {
        let Some(region) = regions.map(|regions| regions.get::<f64>(first + i)) else {
            return value;
        };
        let lowest = region.lower + region.corner;
        value.max(lowest).min(region.upper - region.corner)
    })
}

/// Standard deviation of the critic's initial coefficients where it has several forms.
const FORM_SPREAD: f64 = 0.1;

/// Quadratic part one (a state's own cost is of that order), network as in [`policy`], its first layer scaled
/// by the number of states where the critic is homogeneous: products of two coordinates of a unit vector are of
/// order 1/n, and units that see only such numbers stay linear, which the quadratic part is already.
#[must_use]
pub fn critic(critic: &Critic, seed: u64) -> Vec<f32> {
    let mut parameters = vec![0.0; critic.parameters()];
    let mut stream = Stream::new(seed, Purpose::Parameters, 1);
    if critic.forms() > 1 {
        // Equal forms would learn the same.
        for w in &mut parameters[..critic.form(critic.forms() - 1).end] {
            *w = (FORM_SPREAD * stream.normal()) as f32;
        }
    }
    if let Some(net) = critic.network() {
        network(net, &mut stream, 0.01, &mut parameters);
        if let (true, Some((inputs, _, weights, _))) = (critic.homogeneous(), net.layers().next()) {
            // n of n (n + 1) / 2 products.
            let states = ((8.0 * inputs as f64 + 1.0).sqrt() - 1.0) / 2.0;
            for w in &mut parameters[weights] {
                *w *= states as f32;
            }
        }
    }
    parameters
}

fn network(net: &Network, stream: &mut Stream, output_scale: f64, parameters: &mut [f32]) {
    let layers = net.layers().count();
    for (index, (inputs, outputs, weights, _)) in net.layers().enumerate() {
        let scale = if index + 1 == layers {
            output_scale
        } else {
            1.0
        };
        fill(&mut parameters[weights], inputs, outputs, scale, stream);
    }
}

fn fill(weights: &mut [f32], inputs: usize, outputs: usize, scale: f64, stream: &mut Stream) {
    let limit = scale * (6.0 / (inputs + outputs) as f64).sqrt();
    for w in weights {
        *w = (limit * (2.0 * stream.uniform() - 1.0)) as f32;
    }
}
