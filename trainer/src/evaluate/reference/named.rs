//! References by the names that the command line gives them, for runs of any length.

use super::averaged::AveragedRiccati;
use super::riccati::RiccatiModes;
use super::schedule::Schedule;
use super::simulate::ReferencePolicy;
use super::switched::{SwitchedBudget, SwitchedRiccati};
use crate::error::{Error, Result};
use crate::numeric::random::{Purpose, Stream};
use crate::plant::PlantModel;

/// Least horizon behind a stationary set: by then the set of the paper's family has settled.
const SETTLED: usize = 20;
/// Multiplications that the scores of a stationary set may take in one trial.
const STATIONARY_WORK: usize = 30_000_000_000;

/// The reference called `name` for episodes of `steps` steps from `states`; `None` if no reference has that name.
///
/// Names: `fixed-mode:K`, `round-robin`, `averaged-riccati`, `switched-riccati`. Up to the plant's horizon each
/// is what `hpo reference` computes for that horizon. Beyond it each is stationary: fixed modes and round robin
/// with the gains that are optimal for an endless run, switched Riccati with the value set of the first step of the
/// horizon (at least 20 steps; fewer forms for long runs, so that a trial stays affordable). The certainty
/// equivalent throughout: process noise and perturbations are unknown to them. Plants of other kinds have the names of
/// [`PlantModel::baseline_names`] instead.
///
/// # Errors
/// [`Error::Usage`] for a mode that the plant does not have, and where a Riccati equation has no solution.
pub fn named(
    plant: &PlantModel,
    name: &str,
    states: &[Vec<f64>],
    steps: usize,
) -> Result<Option<Box<dyn ReferencePolicy + Send>>> {
    let Some(data) = plant.lqr_data() else {
        if is_riccati(name) {
            return Err(Error::Usage(format!(
                "{name}: found plant {} of kind \"{}\"; allowed: switched linear-quadratic plants{}",
                plant.name(),
                plant.family().kind(),
                also(plant)
            )));
        }
        return Ok(plant.baseline(name)?.map(|baseline| baseline.policy));
    };
    let modes = RiccatiModes::new(data);
    let horizon = plant.horizon();
    let count = plant.dims().modes;
    let none =
        |what: &str| Error::Usage(format!("{name}: the {what} of this plant has no solution"));
    let schedule = |cycle: Vec<usize>| -> Result<Box<dyn ReferencePolicy + Send>> {
        Ok(Box::new(if steps > horizon {
            Schedule::periodic(&modes, cycle).ok_or_else(|| none("stationary Riccati equation"))?
        } else {
            Schedule::new(
                &modes,
                cycle.iter().copied().cycle().take(horizon).collect(),
            )
        }))
    };
    Ok(Some(match name {
        "round-robin" => schedule((0..count).collect())?,
        "averaged-riccati" => {
            let affine = !data.affine.is_empty();
            let missing = || Error::Usage(format!("{name}: {}", AveragedRiccati::missing(affine)));
            Box::new(AveragedRiccati::new(&modes).ok_or_else(missing)?)
        }
        "switched-riccati" => Box::new(switched(plant, &modes, states, steps)),
        _ => match name.strip_prefix("fixed-mode:") {
            None => return Ok(None),
            Some(mode) => {
                let mode: usize = mode.parse().ok().filter(|&m| m < count).ok_or_else(|| {
                    Error::Usage(format!(
                        "fixed-mode: found {mode}; allowed: 0 to {}, the modes of {}",
                        count - 1,
                        plant.name()
                    ))
                })?;
                schedule(vec![mode])?
            }
        },
    }))
}

/// Whether `name` is that of a reference of switched linear-quadratic plants, or of a baseline of `plant`.
#[must_use]
pub fn is_reference(plant: &PlantModel, name: &str) -> bool {
    is_riccati(name) || plant.baseline_names().contains(&name)
}

fn is_riccati(name: &str) -> bool {
    name.starts_with("fixed-mode:")
        || ["round-robin", "averaged-riccati", "switched-riccati"].contains(&name)
}

/// The plant's own baselines, for messages.
fn also(plant: &PlantModel) -> String {
    match plant.baseline_names() {
        [] => String::new(),
        names => format!("; for this plant: {}", names.join(", ")),
    }
}

fn switched(
    plant: &PlantModel,
    modes: &RiccatiModes,
    states: &[Vec<f64>],
    steps: usize,
) -> SwitchedRiccati {
    let (n, horizon) = (plant.dims().state, plant.horizon());
    if steps <= horizon {
        let budget = SwitchedBudget::for_size(n, plant.dims().modes, horizon);
        return SwitchedRiccati::new(plant, modes, horizon, states, budget, &|_, _| {});
    }
    let horizon = horizon.max(SETTLED);
    let mut budget = SwitchedBudget::for_size(n, plant.dims().modes, horizon);
    let per_form = states.len() * steps * n * (n + 1) / 2;
    budget.max_forms = budget
        .max_forms
        .min((STATIONARY_WORK / per_form.max(1)).max(16));
    let points = directions(states, n, budget.max_points);
    SwitchedRiccati::stationary(plant, modes, horizon, &points, budget, &|_, _| {})
}

/// Half of `count` from the given states, the rest normal vectors of their root mean square length: a long run
/// visits directions that no initial state has.
fn directions(states: &[Vec<f64>], n: usize, count: usize) -> Vec<Vec<f64>> {
    let mut points: Vec<Vec<f64>> = states.iter().take(count / 2).cloned().collect();
    let square: f64 = points.iter().flatten().map(|x| x * x).sum();
    let scale = (square / (points.len() * n).max(1) as f64).sqrt();
    let scale = if scale > 0.0 { scale } else { 1.0 };
    let mut stream = Stream::new(0, Purpose::Generator, 999);
    while points.len() < count {
        points.push((0..n).map(|_| scale * stream.normal()).collect());
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::reference::{mean_cost, simulate};
    use crate::plant::load_plant;
    use nalgebra::DMatrix;

    #[test]
    fn a_cycle_of_one_mode_solves_the_algebraic_equation() {
        let plant = load_plant("switched-lqr-4-3", &[]).unwrap();
        let modes = RiccatiModes::new(plant.lqr_data().unwrap());
        let cycle = Schedule::periodic(&modes, vec![1]).unwrap();
        let p = modes.algebraic(1).unwrap();
        assert!((cycle.value() - &p).amax() < 1e-9 * p.amax());
        // A cycle costs the same from its start whenever it is begun again.
        let cycle = Schedule::periodic(&modes, vec![0, 1, 2]).unwrap();
        let after = [2, 1, 0]
            .iter()
            .fold(cycle.value().clone(), |p: DMatrix<f64>, &mode| {
                modes.map(mode, &p)
            });
        assert!((cycle.value() - &after).amax() < 1e-9 * after.amax());
    }

    #[test]
    fn references_stay_good_beyond_the_horizon() {
        let plant = load_plant("switched-lqr-4-3", &[]).unwrap();
        let states = plant.draw_states(1, Purpose::Evaluation, 32);
        let cost = |name: &str, steps| {
            let policy = named(&plant, name, &states, steps).unwrap().unwrap();
            let episodes = simulate(&plant, policy.as_ref(), &states, steps, 0);
            assert!(episodes.iter().all(|e| e.clamped == 0), "{name} {steps}");
            mean_cost(&episodes)
        };
        for name in [
            "fixed-mode:0",
            "round-robin",
            "averaged-riccati",
            "switched-riccati",
        ] {
            let (short, long) = (cost(name, 20), cost(name, 2000));
            assert!(
                long > 0.999 * short && long < 1.5 * short,
                "{name} {short} {long}"
            );
        }
        let (switched, averaged) = (
            cost("switched-riccati", 2000),
            cost("averaged-riccati", 2000),
        );
        assert!(switched < averaged, "{switched} {averaged}");
        assert!(named(&plant, "pid", &states, 20).unwrap().is_none());
        assert_eq!(
            named(&plant, "fixed-mode:3", &states, 20)
                .err()
                .unwrap()
                .exit_code(),
            2
        );
    }
}
