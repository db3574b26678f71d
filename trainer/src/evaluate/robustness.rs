//! A policy beside the references under perturbations: which of them bends, and which breaks.

use serde::{Deserialize, Serialize};

use super::closed_loop::{Evaluation, Selection, policy_episodes};
use super::episode::Episode;
use super::perturb::{Perturbation, Trial};
use super::reference::{ReferencePolicy, mean_cost, named, simulate_trial};
use crate::error::{Error, Result};
use crate::plant::PlantModel;

/// The name of the reference that the others are compared with.
const AVERAGED: &str = "averaged-riccati";
/// The one that knows the horizon.
const SWITCHED: &str = "switched-riccati";

/// What stands in the first row of every scenario.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A policy: its name in the table, and the bytes of its file (16-aligned).
    Policy(&'a str, &'a [u8]),
    /// A reference by its name, such as `fixed-mode:1`.
    Reference(&'a str),
}

/// One perturbation with its name in the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Name, such as `delay`.
    pub name: String,
    /// What is perturbed.
    pub perturbation: Perturbation,
}

/// The standard suite: nominal; parameters of the plant +-20 %; sensor noise of 2 % of the initial
/// states' spread (root mean square half width of their box, else of its centre, else 0.02); a delay of one sample; one
/// measurement in ten lost; all of these together.
#[must_use]
pub fn standard_suite(plant: &PlantModel) -> Vec<Scenario> {
    let initial = plant.initial();
    let size = |values: &[f64]| {
        let square: f64 = values.iter().map(|v| v * v).sum();
        (square / values.len() as f64).sqrt()
    };
    let spread = [size(&initial.half_width), size(&initial.center), 1.0]
        .into_iter()
        .find(|&spread| spread > 0.0)
        .unwrap_or(1.0);
    let none = Perturbation::NONE;
    let all = Perturbation {
        params: 20.0,
        sensor: two_digits(0.02 * spread),
        delay: 1,
        dropout: 0.1,
        noise: 0.0,
    };
    [
        ("nominal", none),
        (
            "parameters",
            Perturbation {
                params: all.params,
                ..none
            },
        ),
        (
            "sensor noise",
            Perturbation {
                sensor: all.sensor,
                ..none
            },
        ),
        (
            "delay",
            Perturbation {
                delay: all.delay,
                ..none
            },
        ),
        (
            "dropout",
            Perturbation {
                dropout: all.dropout,
                ..none
            },
        ),
        ("all", all),
    ]
    .into_iter()
    .map(|(name, perturbation)| Scenario {
        name: name.to_owned(),
        perturbation,
    })
    .collect()
}

/// The number with two significant decimal digits, so that the table shows what was done.
fn two_digits(value: f64) -> f64 {
    format!("{value:.1e}").parse().unwrap_or(value)
}

/// Every controller under every scenario, on the same episodes with the same draws.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RobustnessTable {
    /// Name of the plant.
    pub plant: String,
    /// Name of the subject.
    pub policy: String,
    /// Episodes of each row.
    pub episodes: usize,
    /// Steps per episode.
    pub steps: usize,
    /// Seed of all draws.
    pub seed: u64,
    /// The scenarios, in the order asked for.
    pub scenarios: Vec<ScenarioRows>,
    /// What the references are worth here, and why one is missing.
    pub notes: Vec<String>,
}

/// The rows of one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioRows {
    /// Name of the scenario.
    pub scenario: String,
    /// Its specification; `nominal` where nothing is perturbed.
    pub perturb: String,
    /// The subject first, then the references.
    pub controllers: Vec<ControllerRow>,
}

/// One controller under one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControllerRow {
    /// Name of the controller.
    pub controller: String,
    /// Mean undiscounted cost per episode; the state clamp bounds it where an episode diverges.
    pub mean_cost: f64,
    /// Mean cost per step.
    pub cost_per_step: f64,
    /// Standard error of `mean_cost`.
    pub std_error: f64,
    /// Percent above the same controller's cost without perturbation, on the same episodes; `None` where that is 0.
    pub nominal_percent: Option<f64>,
    /// Percent above averaged Riccati under the same perturbation; `None` where that has no solution or costs nothing.
    pub averaged_percent: Option<f64>,
    /// Paired standard error of `averaged_percent`: episodes share states, plants, noise and losses.
    pub averaged_percent_std_error: Option<f64>,
    /// Mean number of mode switches per episode.
    pub switches_per_episode: f64,
    /// Coordinates that stood at the state clamp, over all episodes.
    pub clamped_steps: u64,
    /// Episodes with such a coordinate: they diverged, or nearly so.
    pub clamped_episodes: usize,
    /// Steps in which the policy's fallback law acted.
    pub fallback_steps: u64,
}

/// What [`robustness`] is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RobustnessEvent {
    /// Computing a reference controller of this name.
    Reference(String),
    /// A controller under a scenario: rows done, rows in all.
    Row {
        /// Rows done.
        done: usize,
        /// Rows in all.
        total: usize,
    },
}

enum Controller<'a> {
    Policy(&'a [u8]),
    Reference(Box<dyn ReferencePolicy + Send>),
}

impl Controller<'_> {
    fn episodes(&self, trial: &Trial<'_>) -> Result<Vec<Episode>> {
        match self {
            Self::Policy(bytes) => policy_episodes(trial, bytes, Selection::ArgMax),
            Self::Reference(policy) => Ok(simulate_trial(trial, policy.as_ref())),
        }
    }
}

/// Runs the subject, averaged Riccati, switched Riccati, round robin and the best fixed mode (the one of least cost
/// without perturbation) in closed loop under every scenario: `steps` steps from each state (length n), arg-max
/// selection. All are given the same noisy, late or missing measurements and know nothing of it; see
/// [`named`] for what references do beyond the plant's horizon.
///
/// # Errors
/// [`crate::Error::Usage`] for a policy that does not fit or a scenario that the plant cannot have;
/// [`crate::Error::Negative`] for a policy whose golden vectors do not hold.
pub fn robustness(
    plant: &PlantModel,
    subject: Subject<'_>,
    states: &[Vec<f64>],
    steps: usize,
    seed: u64,
    scenarios: &[Scenario],
    progress: &(dyn Fn(RobustnessEvent) + Sync),
) -> Result<RobustnessTable> {
    let nominal = Trial::nominal(plant, states, steps, seed);
    // A scenario that cannot be run is refused before anything takes time.
    let trials: Vec<Trial<'_>> = scenarios
        .iter()
        .map(|scenario| nominal.perturbed(scenario.perturbation))
        .collect::<Result<_>>()?;
    let mut notes = Vec::new();
    let controllers = controllers(&nominal, subject, &mut notes, progress)?;
    let total = controllers.len()
        * (1 + trials
            .iter()
            .filter(|t| !t.perturbation().is_none())
            .count());
    let mut done = 0;
    let mut run = |controller: &Controller<'_>, trial: &Trial<'_>| {
        let episodes = controller.episodes(trial);
        done += 1;
        progress(RobustnessEvent::Row { done, total });
        episodes
    };
    let base: Vec<Vec<Episode>> = controllers
        .iter()
        .map(|(_, controller)| run(controller, &nominal))
        .collect::<Result<_>>()?;
    let averaged = controllers.iter().position(|(name, _)| name == AVERAGED);
    let mut rows = Vec::with_capacity(scenarios.len());
    for (scenario, trial) in scenarios.iter().zip(&trials) {
        let perturbed: Vec<Vec<Episode>>;
        let all = if trial.perturbation().is_none() {
            &base
        } else {
            perturbed = controllers
                .iter()
                .map(|(_, controller)| run(controller, trial))
                .collect::<Result<_>>()?;
            &perturbed
        };
        rows.push(ScenarioRows {
            scenario: scenario.name.clone(),
            perturb: scenario.perturbation.to_string(),
            controllers: controllers
                .iter()
                .zip(all.iter().zip(&base))
                .map(|((name, _), (episodes, base))| {
                    row(
                        name,
                        steps,
                        episodes,
                        base,
                        averaged.map(|index| &all[index][..]),
                    )
                })
                .collect(),
        });
    }
    Ok(RobustnessTable {
        plant: plant.name().to_owned(),
        policy: match subject {
            Subject::Policy(name, _) | Subject::Reference(name) => name.to_owned(),
        },
        episodes: states.len(),
        steps,
        seed,
        scenarios: rows,
        notes,
    })
}

/// The controllers of a table, the subject first; a reference without a solution leaves a note instead.
fn controllers<'a>(
    trial: &Trial<'_>,
    subject: Subject<'a>,
    notes: &mut Vec<String>,
    progress: &(dyn Fn(RobustnessEvent) + Sync),
) -> Result<Vec<(String, Controller<'a>)>> {
    let (plant, states, steps) = (trial.plant(), trial.states(), trial.steps());
    let reference = |name: &str| {
        progress(RobustnessEvent::Reference(name.to_owned()));
        named(plant, name, states, steps)
    };
    let mut controllers = Vec::new();
    match subject {
        Subject::Policy(name, bytes) => {
            controllers.push((name.to_owned(), Controller::Policy(bytes)));
        }
        Subject::Reference(name) => {
            let policy = reference(name)?.ok_or_else(|| {
                Error::Usage(format!(
                    "reference: found {name}; allowed: fixed-mode:K, round-robin, {AVERAGED}, switched-riccati"
                ))
            })?;
            controllers.push((name.to_owned(), Controller::Reference(policy)));
        }
    }
    let mut fixed: Option<(f64, String)> = None;
    let linear = plant.lqr_data().is_some();
    for mode in (0..plant.dims().modes).filter(|_| linear) {
        let name = format!("fixed-mode:{mode}");
        match reference(&name) {
            Ok(Some(policy)) => {
                let cost = mean_cost(&simulate_trial(trial, policy.as_ref()));
                if fixed.as_ref().is_none_or(|(least, _)| cost < *least) {
                    fixed = Some((cost, name));
                }
            }
            Ok(None) => {}
            Err(error) => notes.push(error.to_string()),
        }
    }
    let names: &[&str] = if linear {
        &[AVERAGED, SWITCHED, "round-robin"]
    } else {
        plant.baseline_names()
    };
    let names = names.iter().map(|name| (*name).to_owned());
    for name in names.chain(fixed.map(|(_, name)| name)) {
        if controllers[0].0 == name {
            continue;
        }
        match reference(&name) {
            Ok(Some(policy)) => controllers.push((name, Controller::Reference(policy))),
            Ok(None) => {}
            Err(error) => notes.push(error.to_string()),
        }
    }
    // Classical controllers of other families know no horizon.
    if linear && steps > plant.horizon() {
        let switched = if controllers.iter().any(|(name, _)| name == SWITCHED) {
            " (switched-riccati acts by the value set of the first step of a horizon)"
        } else {
            ""
        };
        notes.push(format!(
            "{steps} steps are more than the horizon of {}: the references are stationary{switched}",
            plant.horizon()
        ));
    }
    Ok(controllers)
}

/// The figures of one controller beside its own nominal episodes and those of averaged Riccati.
fn row(
    name: &str,
    steps: usize,
    episodes: &[Episode],
    base: &[Episode],
    averaged: Option<&[Episode]>,
) -> ControllerRow {
    let evaluation = Evaluation::new(episodes);
    let beside = averaged.and_then(|averaged| ratio(episodes, averaged));
    ControllerRow {
        controller: name.to_owned(),
        mean_cost: evaluation.mean_cost,
        cost_per_step: evaluation.mean_cost / steps.max(1) as f64,
        std_error: evaluation.std_error,
        nominal_percent: ratio(episodes, base).map(|(percent, _)| percent),
        averaged_percent: beside.map(|(percent, _)| percent),
        averaged_percent_std_error: beside.map(|(_, error)| error),
        switches_per_episode: evaluation.switches_per_episode,
        clamped_steps: evaluation.clamped_steps,
        clamped_episodes: evaluation.clamped_episodes,
        fallback_steps: evaluation.fallback_steps,
    }
}

/// By how many percent one mean cost is above another on the same episodes, and the standard error of that: the
/// ratio of means r = a / b has to first order the spread of (a_i - r b_i) / b (delta method).
fn ratio(episodes: &[Episode], others: &[Episode]) -> Option<(f64, f64)> {
    let (a, b) = (mean_cost(episodes), mean_cost(others));
    if b <= 0.0 {
        return None;
    }
    let r = a / b;
    let count = episodes.len() as f64;
    let square: f64 = episodes
        .iter()
        .zip(others)
        .map(|(a, other)| ((a.cost - r * other.cost) / b).powi(2))
        .sum();
    let error = (square / (count - 1.0).max(1.0) / count).sqrt();
    Some(((r - 1.0) * 100.0, error * 100.0))
}

#[cfg(test)]
#[path = "robustness_tests.rs"]
mod tests;
