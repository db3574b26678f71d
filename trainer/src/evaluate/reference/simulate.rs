//! Closed-loop simulation of reference controllers in `f64` on the plant itself.

use rayon::prelude::*;

use crate::evaluate::episode::{Action, Setting, run_episode};
use crate::evaluate::perturb::{Link, Perturbation, Trial};
use crate::plant::{Obedience, Plant, PlantModel};

pub use crate::plant::ReferencePolicy;

pub use crate::evaluate::episode::Episode;

/// Runs one episode of `steps` steps from each state, in the order of the states.
///
/// Controls are cut to the plant's bounds; classical controllers of the plant's family obey its mode rules and rate limits too. Process noise, where the plant has it, is drawn from
/// the stream (`seed`, noise, index of the state), so every policy meets the same noise.
pub fn simulate<P: ReferencePolicy + ?Sized>(
    model: &PlantModel,
    policy: &P,
    states: &[Vec<f64>],
    steps: usize,
    seed: u64,
) -> Vec<Episode> {
    simulate_trial(&Trial::nominal(model, states, steps, seed), policy)
}

/// Runs the episodes of a trial, in the order of its states: `policy` is given the measurements that reach a
/// controller there, delayed, noisy or not at all. Without perturbation this is [`simulate`].
pub fn simulate_trial<P: ReferencePolicy + ?Sized>(trial: &Trial<'_>, policy: &P) -> Vec<Episode> {
    let world = trial.world();
    trial
        .states()
        .par_iter()
        .enumerate()
        .map(|(index, state)| {
            let index = index as u64;
            run_reference(
                trial.plant(),
                world.plant(index).as_ref(),
                policy,
                &mut Link::new(trial.perturbation(), trial.seed(), index),
                state,
                trial.steps(),
                &mut world.setting(index),
                |_, _| {},
            )
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
    setting: &mut Setting<'_>,
    visit: impl FnMut(usize, &[f64]),
) -> Episode {
    let mut link = Link::new(&Perturbation::NONE, 0, 0);
    run_reference(
        model, plant, policy, &mut link, state, steps, setting, visit,
    )
}

/// One episode on the true plant `plant`; bounds and constraints are those of `model`.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one loop, all of different types"
)]
fn run_reference<P: ReferencePolicy + ?Sized>(
    model: &PlantModel,
    plant: &impl Plant<f64>,
    policy: &P,
    link: &mut Link,
    state: &[f64],
    steps: usize,
    setting: &mut Setting<'_>,
    visit: impl FnMut(usize, &[f64]),
) -> Episode {
    let mut obedience = Obedience::new(model.bounds(), model.constraints());
    let act = |t: usize, x: &[f64], u: &mut [f64]| {
        let (mode, limited) = obedience.act(policy, t, x, u);
        Action {
            mode,
            limited,
            fallback: false,
        }
    };
    run_episode(plant, link, setting, state, steps, act, visit)
}

/// Mean cost of the episodes.
#[must_use]
pub fn mean_cost(episodes: &[Episode]) -> f64 {
    episodes.iter().map(|e| e.cost).sum::<f64>() / episodes.len() as f64
}
