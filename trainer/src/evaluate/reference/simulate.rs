//! Closed-loop simulation of reference controllers in `f64` on the plant itself.

use rayon::prelude::*;

use crate::numeric::{Purpose, Stream};
use crate::plant::{Plant, PlantModel};

/// A controller that needs only time and state.
pub trait ReferencePolicy: Sync {
    /// Writes the control (length m) for state `x` (length n) at step `t` and returns the mode.
    ///
    /// Beyond the horizon for which a time-varying policy was made it acts as at its last step.
    fn act(&self, t: usize, x: &[f64], u: &mut [f64]) -> usize;
}

/// What one episode came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Episode {
    /// Undiscounted sum of stage costs.
    pub cost: f64,
    /// Number of steps whose mode differs from that of the step before.
    pub switches: u32,
    /// Coordinates of a state that stood at the state clamp, over all steps.
    pub clamped: u32,
    /// Controls that the plant's bounds cut, over all steps.
    pub limited: u32,
}

/// Runs one episode of `steps` steps from each state, in the order of the states.
///
/// Controls are cut to the plant's bounds. Process noise, where the plant has it, is drawn from
/// the stream (`seed`, noise, index of the state), so every policy meets the same noise.
pub fn simulate<P: ReferencePolicy + ?Sized>(
    model: &PlantModel,
    policy: &P,
    states: &[Vec<f64>],
    steps: usize,
    seed: u64,
) -> Vec<Episode> {
    let plant = model.build::<f64>();
    states
        .par_iter()
        .enumerate()
        .map(|(index, state)| {
            let mut noise = Stream::new(seed, Purpose::Noise, index as u64);
            simulate_one(model, &plant, policy, state, steps, &mut noise, |_, _| {})
        })
        .collect()
}

/// One episode; `visit` sees every state (length n) before its step, with its time.
pub(super) fn simulate_one<P: ReferencePolicy + ?Sized>(
    model: &PlantModel,
    plant: &impl Plant<f64>,
    policy: &P,
    state: &[f64],
    steps: usize,
    noise: &mut Stream,
    mut visit: impl FnMut(usize, &[f64]),
) -> Episode {
    let dims = plant.dims();
    let mut x = state.to_vec();
    let mut next = vec![0.0; dims.state];
    let mut u = vec![0.0; dims.control];
    let mut w = vec![0.0; dims.noise];
    let mut episode = Episode {
        cost: 0.0,
        switches: 0,
        clamped: 0,
        limited: 0,
    };
    let mut previous = None;
    for t in 0..steps {
        visit(t, &x);
        let mode = policy.act(t, &x, &mut u);
        if let Some(bounds) = model.bounds() {
            for i in 0..dims.control {
                let cut = u[i].clamp(bounds.lower[i], bounds.upper[i]);
                episode.limited += u32::from(cut != u[i]);
                u[i] = cut;
            }
        }
        for value in &mut w {
            *value = noise.normal();
        }
        episode.cost += plant.step(mode, &x, &u, &w, &mut next);
        // What the last step leads to has no cost, so a clamp there hides nothing.
        if t + 1 < steps {
            episode.clamped += plant.count_clamped(&next);
        }
        episode.switches += u32::from(previous.is_some_and(|p| p != mode));
        previous = Some(mode);
        std::mem::swap(&mut x, &mut next);
    }
    episode
}

/// Mean cost of the episodes.
#[must_use]
pub fn mean_cost(episodes: &[Episode]) -> f64 {
    episodes.iter().map(|e| e.cost).sum::<f64>() / episodes.len() as f64
}
