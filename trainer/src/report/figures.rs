//! Everything that a run's report shows, computed.

use rayon::prelude::*;

use super::modes::ModeMap;
use super::page::controller_name;
use super::run::RunRecord;
use super::trace::{Actor as _, LoadedPolicy, ReferenceActor, Trace, trace};
use crate::compare::cell::{EVALUATION_SEED, test_states};
use crate::error::{Error, Result};
use crate::evaluate::closed_loop::{Evaluation, Selection, evaluate_policy};
use crate::evaluate::perturb::Perturbation;
use crate::evaluate::reference::{
    ReferenceCache, ReferencePolicy, ReferenceReport, compute_cached, gap_percent, named,
};
use crate::evaluate::robustness::{RobustnessTable, Scenario, Subject, robustness, standard_suite};
use crate::export::PolicyBuffer;
use crate::plant::PlantModel;

/// Initial states whose episodes are shown.
const EPISODES: usize = 3;
/// Cells of a mode map along each side.
const CELLS: usize = 120;
/// Cells of the maps, of all of them together, from which the best known control is made.
const MAP_POINTS: usize = 240;
/// Test states of the robustness table.
const ROBUSTNESS_STATES: usize = 256;
/// Test states of the runs beyond the horizon: so long an episode is a mean over time already.
const LONG_STATES: usize = 16;
/// Steps of such a run where none are asked for, or ten horizons where that is more.
const LONG_STEPS: usize = 10_000;
/// Most steps of such a run: hundreds of thousands of horizons, and minutes of work.
const MAX_STEPS: usize = 10_000_000;

/// What is being computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportStage {
    /// The references' costs.
    References,
    /// The policy in closed loop.
    Evaluation,
    /// The controller beside the policy in episodes and maps.
    Controller,
    /// Mode maps.
    Maps,
    /// The robustness table.
    Robustness,
    /// Runs beyond the horizon.
    Long,
}

/// One slice of the state space, seen by the policy and by the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// The policy's arg-max modes.
    pub policy: ModeMap,
    /// The reference's modes at t = 0.
    pub reference: Option<ModeMap>,
}

/// One initial state's episodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Number of the test state.
    pub index: usize,
    /// The policy's episode.
    pub policy: Trace,
    /// The reference's.
    pub reference: Option<Trace>,
}

/// What disturbs the runs beyond the horizon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongNoise {
    /// Process noise that the plant has not.
    Added,
    /// The plant's own random numbers: process noise, demands.
    Own,
    /// Nothing: the plant has no noise, and none can be added to its equations.
    Absent,
}

impl LongNoise {
    /// What there is on this plant.
    #[must_use]
    pub fn of(plant: &PlantModel) -> Self {
        if plant.dims().noise > 0 {
            Self::Own
        } else if plant.takes_noise() {
            Self::Added
        } else {
            Self::Absent
        }
    }
}

/// The runs beyond the horizon.
#[derive(Clone, Debug)]
pub struct Long {
    /// What disturbs them.
    pub noise: LongNoise,
    /// What they cost.
    pub table: RobustnessTable,
}

/// All figures of a report.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Number of test states, and whether they are the plant's own.
    pub states: (usize, bool),
    /// The policy with the arg-max selector.
    pub evaluation: Evaluation,
    /// Its mean cost with sampled choices.
    pub sampled_cost: f64,
    /// Mean cost of the arg-max policy before the first epoch, where the run kept it.
    pub start_cost: Option<f64>,
    /// References and their validity.
    pub references: ReferenceReport,
    /// Where no optimum is valid: name and mean cost of the cheapest classical controller, as `hpo eval` gives them.
    pub classical: Option<(String, f64)>,
    /// Name of the controller that stands beside the policy in episodes and maps, where there is one.
    pub beside: Option<&'static str>,
    /// Episodes.
    pub pairs: Vec<Pair>,
    /// Mode maps; none with fewer than two states.
    pub slices: Vec<Slice>,
    /// The standard perturbations.
    pub robustness: RobustnessTable,
    /// Runs beyond the horizon, where they were asked for.
    pub long: Option<Long>,
}

impl Figures {
    /// Gap of a cost to the best known one in percent, where that is valid.
    #[must_use]
    pub fn gap_percent(&self, cost: f64) -> Option<f64> {
        gap_percent(cost, self.references.optimal_cost?)
    }

    /// By how many percent a cost is above what costs are compared with on this plant: the best known one, and where none is
    /// valid, the cheapest classical controller's.
    #[must_use]
    pub fn difference_percent(&self, cost: f64) -> Option<f64> {
        let classical = self.classical.as_ref().map(|(_, cost)| *cost);
        gap_percent(cost, self.references.optimal_cost.or(classical)?)
    }

    /// Gap of a cost to the certified lower bound in percent, where one is valid.
    #[must_use]
    pub fn gap_percent_certified(&self, cost: f64) -> Option<f64> {
        gap_percent(cost, self.references.lower_bound?)
    }
}

/// Computes the figures of a run; references come from the user's cache where they have been computed before. `steps`
/// is the length of the runs beyond the horizon (under the plant's own process noise, else under one of the standard
/// suite's sensor noise, where the plant takes it): by default 10,000, or ten horizons where that is more; 0 leaves them out.
///
/// # Errors
/// [`Error::Usage`] for steps within the horizon (but 0) or above ten million; as [`evaluate_policy`] and [`robustness`].
pub fn compute(
    run: &RunRecord,
    steps: Option<usize>,
    progress: &(dyn Fn(ReportStage) + Sync),
) -> Result<Figures> {
    let plant = &run.plant;
    let (horizon, seed) = (plant.horizon(), EVALUATION_SEED);
    let steps = steps.unwrap_or_else(|| LONG_STEPS.max(horizon.saturating_mul(10)).min(MAX_STEPS));
    if steps != 0 && !(horizon + 1..=MAX_STEPS).contains(&steps) {
        return Err(Error::Usage(format!(
            "--steps: found {steps}; allowed: {} to {MAX_STEPS}, beyond the horizon, or 0 to leave it out",
            horizon + 1
        )));
    }
    let states = test_states(plant);
    progress(ReportStage::Evaluation);
    let evaluate = |policy: &PolicyBuffer, selection| {
        evaluate_policy(plant, policy.bytes(), &states, horizon, seed, selection)
    };
    let evaluation = evaluate(&run.policy, Selection::ArgMax)?;
    let sampled_cost = evaluate(&run.policy, Selection::Sampled)?.mean_cost;
    let start_cost = match &run.start {
        Some(start) => Some(evaluate(start, Selection::ArgMax)?.mean_cost),
        None => None,
    };
    progress(ReportStage::References);
    let cache = ReferenceCache::of_user();
    let references = compute_cached(cache.as_ref(), plant, &states, seed, &|_| {});
    let shown = &states[..states.len().min(EPISODES)];
    let planes = planes(plant);
    progress(ReportStage::Controller);
    let (beside, reference) = match controller(plant, &references, shown, &planes) {
        Some((name, policy)) => (Some(name), Some(policy)),
        None => (None, None),
    };
    let loaded = LoadedPolicy::new(&run.policy)?;
    let pairs = shown
        .iter()
        .enumerate()
        .map(|(index, state)| {
            let episode = |actor: &mut dyn super::trace::Actor| {
                trace(plant, actor, state, horizon, seed, index as u64)
            };
            Pair {
                index,
                policy: episode(&mut loaded.actor()),
                reference: reference
                    .as_deref()
                    .map(|policy| episode(&mut ReferenceActor(policy))),
            }
        })
        .collect();
    progress(ReportStage::Maps);
    let slices = planes
        .iter()
        .map(|plane| Slice {
            policy: plane.map("policy", plant, |x, u| loaded.actor().act(0, x, u)),
            reference: reference.as_deref().map(|policy| {
                let title = controller_name(beside.unwrap_or_default());
                plane.map(&title, plant, |x, u| policy.act(0, x, u))
            }),
        })
        .collect();
    progress(ReportStage::Robustness);
    let name = run.algorithm();
    let robustness = robustness(
        plant,
        Subject::Policy(name, run.policy.bytes()),
        &states[..states.len().min(ROBUSTNESS_STATES)],
        horizon,
        seed,
        &standard_suite(plant),
        &|_| {},
    )?;
    let long = match steps {
        0 => None,
        steps => {
            progress(ReportStage::Long);
            let states = &states[..states.len().min(LONG_STATES)];
            Some(beyond(plant, name, run.policy.bytes(), states, steps)?)
        }
    };
    let classical = match references.optimal_cost {
        Some(_) => None,
        None => references.baseline(plant),
    };
    Ok(Figures {
        classical: classical.map(|(name, cost)| (name.to_owned(), cost)),
        states: (states.len(), plant.test_states().is_some()),
        evaluation,
        sampled_cost,
        start_cost,
        references,
        beside,
        pairs,
        slices,
        robustness,
        long,
    })
}

/// Runs of `steps` steps, under process noise where the plant has some or takes it.
fn beyond(
    plant: &PlantModel,
    name: &str,
    policy: &[u8],
    states: &[Vec<f64>],
    steps: usize,
) -> Result<Long> {
    let noise = LongNoise::of(plant);
    let sensor = standard_suite(plant)
        .iter()
        .map(|scenario| scenario.perturbation.sensor)
        .fold(0.0, f64::max);
    let scenario = Scenario {
        name: match noise {
            LongNoise::Added => "process noise",
            LongNoise::Own => "process noise of the plant",
            LongNoise::Absent => "no process noise on this plant",
        }
        .into(),
        perturbation: Perturbation {
            noise: if noise == LongNoise::Added {
                sensor
            } else {
                0.0
            },
            ..Perturbation::NONE
        },
    };
    let subject = Subject::Policy(name, policy);
    let scenarios = [scenario];
    let table = robustness(
        plant,
        subject,
        states,
        steps,
        EVALUATION_SEED,
        &scenarios,
        &|_| {},
    )?;
    Ok(Long { noise, table })
}

type Controller = Box<dyn ReferencePolicy + Send>;

/// The best controller that is valid on this plant: switched Riccati, else averaged Riccati.
fn controller(
    plant: &PlantModel,
    references: &ReferenceReport,
    shown: &[Vec<f64>],
    planes: &[Plane],
) -> Option<(&'static str, Controller)> {
    let mut states = shown.to_vec();
    let all: Vec<Vec<f64>> = planes.iter().flat_map(|p| p.states(plant)).collect();
    // Forms are kept where they are least at a given state: the maps' cells are such states.
    let every = all.len().div_ceil(MAP_POINTS).max(1);
    states.extend(all.into_iter().step_by(every));
    let make = |name: &'static str| {
        let policy = named(plant, name, &states, plant.horizon()).ok()??;
        Some((name, policy))
    };
    if references.optimal_cost.is_some() {
        make("switched-riccati")
    } else {
        make("averaged-riccati")
    }
}

/// Two coordinates of the state, the others at the centre of the initial states.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Plane {
    x: usize,
    y: usize,
}

/// Pairs of coordinates far from each other: on a plant of switched actuators they belong to different modes.
fn planes(plant: &PlantModel) -> Vec<Plane> {
    let n = plant.dims().state;
    let mut planes: Vec<Plane> = Vec::new();
    for (x, y) in [(0, n.saturating_sub(1)), (0, n / 2), (n / 4, 3 * n / 4)] {
        let plane = Plane { x, y };
        if x < y && !planes.contains(&plane) {
            planes.push(plane);
        }
    }
    planes
}

impl Plane {
    /// Ends of an axis: the box of initial states, at least something.
    fn ends(plant: &PlantModel, axis: usize) -> (f64, f64) {
        let (center, half) = (
            plant.initial().center[axis],
            plant.initial().half_width[axis],
        );
        let half = if half > 0.0 {
            half
        } else {
            center.abs().max(1.0)
        };
        (center - half, center + half)
    }

    /// The state in the middle of a cell.
    fn state(&self, plant: &PlantModel, column: usize, row: usize) -> Vec<f64> {
        let mut state = plant.initial().center.clone();
        for (axis, cell) in [(self.x, column), (self.y, row)] {
            let (low, high) = Self::ends(plant, axis);
            state[axis] = low + (high - low) * (cell as f64 + 0.5) / CELLS as f64;
        }
        state
    }

    fn states(&self, plant: &PlantModel) -> Vec<Vec<f64>> {
        // Every seventh cell of every seventh row: no multiple of the side, so no two rows line up.
        let cells = (0..CELLS * CELLS).step_by(7 * 7);
        cells
            .map(|cell| self.state(plant, cell % CELLS, cell / CELLS))
            .collect()
    }

    fn map(
        &self,
        title: &str,
        plant: &PlantModel,
        act: impl Fn(&[f64], &mut [f64]) -> usize + Sync,
    ) -> ModeMap {
        let modes = (0..CELLS)
            .into_par_iter()
            .map(|row| {
                let mut u = vec![0.0; plant.dims().control];
                (0..CELLS)
                    .map(|column| act(&self.state(plant, column, row), &mut u))
                    .collect()
            })
            .collect();
        let axis = |axis: usize| {
            let (low, high) = Self::ends(plant, axis);
            let (name, unit) = (&plant.names().state[axis], &plant.names().state_units[axis]);
            let label = if unit.is_empty() {
                name.clone()
            } else {
                format!("{name}, {unit}")
            };
            (label, low, high)
        };
        ModeMap {
            title: title.to_owned(),
            x: axis(self.x),
            y: axis(self.y),
            modes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::load_plant;

    #[test]
    fn noise_is_named_where_there_is_some() {
        for (name, expected) in [
            ("switched-lqr-3-2", LongNoise::Added),
            ("inventory-3", LongNoise::Own),
            ("geared-car", LongNoise::Absent),
            ("buck-boost", LongNoise::Absent),
            ("three-tank", LongNoise::Absent),
            ("satellite-axis", LongNoise::Absent),
        ] {
            let plant = load_plant(name, &[]).unwrap();
            assert_eq!(LongNoise::of(&plant), expected, "{name}");
        }
    }
}
