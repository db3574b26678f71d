//! All references of a plant on given initial states, with a statement of which are valid.

use std::time::{Duration, Instant};

use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use super::averaged::AveragedRiccati;
use super::certified::{Budget, all_channels_strong, certify};
use super::riccati::RiccatiModes;
use super::schedule::Schedule;
use super::simulate::{Episode, mean_cost, simulate};
use super::stationary::{self, stationary_forms};
use super::switched::{Achieved, SwitchedBudget, SwitchedRiccati, polish};
use crate::evaluate::closed_loop::Evaluation;
use crate::plant::{PlantModel, SwitchedLqrData};

/// Best known cost over certified lower bound, in percent, up to which the best known cost is called the optimum.
pub const CERTIFIED_PERCENT: f64 = 0.01;
/// Entries of a value matrix beyond this are compared no more: their differences drown in rounding.
const GREATEST_COST: f64 = 1e30;

/// What the plant can be controlled for: means over the states of the undiscounted cost of an
/// episode, and what simple controllers reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceReport {
    /// Name of the plant.
    pub plant: String,
    /// Number of initial states.
    pub episodes: usize,
    /// Cost of the best known control of each state: an upper bound of the optimum, close to it.
    /// `None` where switched Riccati is no reference (process noise, active control bounds).
    pub optimal_cost: Option<f64>,
    /// A cost below which no policy can come; `None` where no bound is valid.
    pub lower_bound: Option<f64>,
    /// Linear-quadratic regulation with one mode throughout, mode by mode; empty for plants that are not linear-quadratic.
    pub fixed_mode_costs: Vec<f64>,
    /// Mode `t mod M` with the gains that are optimal for it; `None` for plants that are not linear-quadratic.
    pub round_robin_cost: Option<f64>,
    /// Averaged Riccati with one-step look-ahead; `None` where its equation has no solution.
    pub averaged_riccati_cost: Option<f64>,
    /// Mode changes per episode of the switched Riccati policy.
    pub optimal_switches: Option<f64>,
    /// Relative width of the pruning behind `lower_bound` (0: nothing lost).
    pub lower_bound_width: Option<f64>,
    /// Largest number of quadratic forms that the certificate kept at a step.
    pub lower_bound_forms: Option<usize>,
    /// The quadratic forms, each n x n, whose minimum is the value over an endless horizon, pruned by convex combinations to a
    /// relative width of 1e-3; `None` where the set does not stay small (more than four states, noise, affine terms).
    #[serde(default)]
    pub stationary_forms: Option<Vec<Vec<Vec<f64>>>>,
    /// Classical controllers of the plant's family, the best known first.
    #[serde(default)]
    pub baselines: Vec<BaselineCost>,
    /// State coordinates at the clamp, over all controllers and episodes.
    pub clamped_steps: u64,
    /// Why a value is missing, or what limits it; empty in the usual case.
    pub notes: Vec<String>,
    /// Time the computation took, in seconds.
    pub seconds: f64,
}

/// What a classical controller of the plant's family comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineCost {
    /// Its name, which `hpo eval` takes.
    pub name: String,
    /// What it is, with the numbers it was tuned to.
    pub description: String,
    /// Mean cost over the episodes.
    pub mean_cost: f64,
    /// Standard error of the mean.
    pub std_error: f64,
}

impl ReferenceReport {
    /// The classical controller that costs least on these episodes, if the family has one.
    #[must_use]
    pub fn best_baseline(&self) -> Option<&BaselineCost> {
        self.baselines
            .iter()
            .min_by(|a, b| a.mean_cost.total_cmp(&b.mean_cost))
    }

    /// Name and mean cost of the classical controller that a policy is compared with: the cheapest of the family, or averaged Riccati
    /// where the plant file asks for a margin to it.
    #[must_use]
    pub fn baseline(&self, plant: &PlantModel) -> Option<(&str, f64)> {
        if let Some(best) = self.best_baseline() {
            return Some((&best.name, best.mean_cost));
        }
        plant.accept_percent()?;
        Some(("averaged-riccati", self.averaged_riccati_cost?))
    }

    /// Whether the best known cost is proved to be the optimum to within [`CERTIFIED_PERCENT`].
    #[must_use]
    pub fn is_certified(&self) -> bool {
        let width = self.optimal_cost.zip(self.lower_bound);
        width
            .and_then(|(upper, lower)| gap_percent(upper, lower))
            .is_some_and(|width| width <= CERTIFIED_PERCENT)
    }
}

/// By how many percent `cost` is above `reference`; `None` where that says nothing: a reference of 0 (every episode
/// starts at the origin) or a cost that is not finite.
#[must_use]
pub fn gap_percent(cost: f64, reference: f64) -> Option<f64> {
    let gap = (cost / reference - 1.0) * 100.0;
    (reference > 0.0 && gap.is_finite()).then_some(gap)
}

/// What [`compute`] is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ReferenceEvent {
    /// Simulating the simple controllers.
    Controllers,
    /// Steps of the backward sweeps for the near-optimal policy.
    Sweep {
        /// Steps done.
        done: usize,
        /// Steps in all sweeps.
        total: usize,
    },
    /// Trying a certificate whose pruning has this relative width.
    Certificate {
        /// The relative width.
        width: f64,
    },
}

/// Computes every reference that is valid for the plant, on `states` (at least one, each of length
/// n) over the plant's horizon. `seed` names the process noise, if the plant has any.
///
/// Work is limited by counts, so equal input gives equal values on any number of threads.
///
/// # Panics
/// If `states` is empty or a state has another length.
#[must_use]
pub fn compute(
    model: &PlantModel,
    states: &[Vec<f64>],
    seed: u64,
    progress: &(dyn Fn(ReferenceEvent) + Sync),
) -> ReferenceReport {
    compute_within(model, states, seed, None, progress)
}

/// As [`compute`], but with `limit` as the most time for the certified lower bound, which then depends on the machine;
/// what it could not certify is said in the notes.
///
/// # Panics
/// If `states` is empty or a state has another length.
#[must_use]
pub fn compute_within(
    model: &PlantModel,
    states: &[Vec<f64>],
    seed: u64,
    limit: Option<Duration>,
    progress: &(dyn Fn(ReferenceEvent) + Sync),
) -> ReferenceReport {
    let start = Instant::now();
    let dims = model.dims();
    assert!(!states.is_empty(), "at least one initial state");
    assert!(
        states.iter().all(|x| x.len() == dims.state),
        "length of a state"
    );
    let Some(data) = model.lqr_data() else {
        let mut report = baselines(model, states, seed, progress);
        report.seconds = start.elapsed().as_secs_f64();
        return report;
    };
    let horizon = model.horizon();
    let modes = RiccatiModes::new(data);
    let affine = !data.affine.is_empty();
    let mut notes = Vec::new();

    progress(ReferenceEvent::Controllers);
    let fixed: Vec<Vec<Episode>> = (0..dims.modes)
        .map(|mode| {
            let policy = Schedule::fixed_mode(&modes, mode, horizon);
            simulate(model, &policy, states, horizon, seed)
        })
        .collect();
    let round_robin = Schedule::round_robin(&modes, horizon);
    let round_robin = simulate(model, &round_robin, states, horizon, seed);
    let averaged =
        AveragedRiccati::new(&modes).map(|policy| simulate(model, &policy, states, horizon, seed));
    if averaged.is_none() {
        notes.push(format!(
            "averaged Riccati: {}",
            AveragedRiccati::missing(affine)
        ));
    }
    let simple: Vec<&Vec<Episode>> = fixed
        .iter()
        .chain([&round_robin])
        .chain(&averaged)
        .collect();
    let clamped = simple
        .iter()
        .flat_map(|e| e.iter())
        .map(|e| u64::from(e.clamped));
    let clamped_steps = clamped.sum();

    let mut report = ReferenceReport {
        plant: model.name().to_owned(),
        episodes: states.len(),
        optimal_cost: None,
        lower_bound: None,
        fixed_mode_costs: fixed.iter().map(|e| mean_cost(e)).collect(),
        round_robin_cost: Some(mean_cost(&round_robin)),
        averaged_riccati_cost: averaged.as_ref().map(|e| mean_cost(e)),
        optimal_switches: None,
        lower_bound_width: None,
        lower_bound_forms: None,
        stationary_forms: None,
        baselines: Vec::new(),
        clamped_steps,
        notes,
        seconds: 0.0,
    };
    if dims.noise > 0 {
        let note = "optimum and bound: quadratic value sets are no reference under process noise";
        report.notes.push(note.into());
    } else if (0..dims.modes).any(|mode| !is_tractable(&modes, mode, horizon)) {
        let note = "optimum and bound: the cost of a mode outgrows the range of the computation over this horizon";
        report.notes.push(note.into());
    } else {
        upper_bound(model, &modes, states, &simple, &mut report, progress);
        let certified = lower_bound(model, data, &modes, states, limit, progress);
        report.set_lower_bound(certified);
        if !affine {
            report.stationary_forms = stationary_forms(&modes, stationary::WIDTH)
                .map(|forms| forms.iter().map(rows).collect());
        }
    }
    report.seconds = start.elapsed().as_secs_f64();
    report
}

fn rows(matrix: &DMatrix<f64>) -> Vec<Vec<f64>> {
    let row = |i: usize| matrix.row(i).iter().copied().collect();
    (0..matrix.nrows()).map(row).collect()
}

/// The report of a plant that is not switched linear-quadratic: its family's classical controllers, no optimum.
fn baselines(
    model: &PlantModel,
    states: &[Vec<f64>],
    seed: u64,
    progress: &(dyn Fn(ReferenceEvent) + Sync),
) -> ReferenceReport {
    progress(ReferenceEvent::Controllers);
    let kind = model.family().kind();
    let mut report = ReferenceReport {
        plant: model.name().to_owned(),
        episodes: states.len(),
        optimal_cost: None,
        lower_bound: None,
        fixed_mode_costs: Vec::new(),
        round_robin_cost: None,
        averaged_riccati_cost: None,
        optimal_switches: None,
        lower_bound_width: None,
        lower_bound_forms: None,
        stationary_forms: None,
        baselines: Vec::new(),
        clamped_steps: 0,
        notes: vec![format!(
            "optimum and bound: none is known for plants of kind \"{kind}\""
        )],
        seconds: 0.0,
    };
    for name in model.baseline_names() {
        match model.baseline(name) {
            Ok(Some(baseline)) => {
                let policy = baseline.policy.as_ref();
                let episodes = simulate(model, policy, states, model.horizon(), seed);
                let evaluation = Evaluation::new(&episodes);
                report.clamped_steps += evaluation.clamped_steps;
                report.baselines.push(BaselineCost {
                    name: (*name).to_owned(),
                    description: baseline.description,
                    mean_cost: evaluation.mean_cost,
                    std_error: evaluation.std_error,
                });
            }
            Ok(None) => {}
            Err(error) => report.notes.push(error.to_string()),
        }
    }
    report
}

/// Whether the cost of staying in a mode keeps to numbers with which quadratic forms can be compared.
fn is_tractable(modes: &RiccatiModes, mode: usize, horizon: usize) -> bool {
    // A NaN compares as false.
    Schedule::fixed_mode(modes, mode, horizon)
        .value()
        .iter()
        .all(|entry| entry.abs() < GREATEST_COST)
}

/// Fills in the near-optimal cost: the best of switched Riccati and the simple controllers.
fn upper_bound(
    model: &PlantModel,
    modes: &RiccatiModes,
    states: &[Vec<f64>],
    simple: &[&Vec<Episode>],
    report: &mut ReferenceReport,
    progress: &(dyn Fn(ReferenceEvent) + Sync),
) {
    if !model.constraints().is_empty() {
        let note = "optimum: the plant has rate limits or mode rules, which no reference obeys; the lower bound holds without them and so with them";
        report.notes.push(note.into());
        return;
    }
    let horizon = model.horizon();
    let budget = SwitchedBudget::for_size(modes.state(), modes.count(), horizon);
    let policy = SwitchedRiccati::new(model, modes, horizon, states, budget, &|done, total| {
        progress(ReferenceEvent::Sweep { done, total });
    });
    let achieved: Vec<Achieved> = polish(model, modes, &policy, states);
    if achieved.iter().any(|a| a.limited > 0) {
        // The policy ignores the bounds, so what is left of it is real but no reference.
        let note = "optimum: the control bounds are active, where switched Riccati is no reference";
        report.notes.push(note.into());
        return;
    }
    let best = achieved.iter().enumerate().map(|(i, a)| {
        let others = simple.iter().map(|episodes| episodes[i].cost);
        others.fold(a.cost, f64::min)
    });
    let switches: f64 = achieved.iter().map(|a| f64::from(a.switches)).sum();
    report.optimal_cost = Some(best.sum::<f64>() / states.len() as f64);
    report.optimal_switches = Some(switches / states.len() as f64);
}

/// A certified lower bound and what stands behind it.
#[derive(Clone, Debug, Default)]
struct LowerBound {
    /// Mean over the states.
    mean: Option<f64>,
    certificate: Option<(f64, usize)>,
    notes: Vec<String>,
}

impl ReferenceReport {
    /// Fills in the lower bound and says where it leaves the optimum open.
    fn set_lower_bound(&mut self, bound: LowerBound) {
        self.lower_bound = bound.mean;
        self.lower_bound_width = bound.certificate.map(|(width, _)| width);
        self.lower_bound_forms = bound.certificate.map(|(_, forms)| forms);
        self.notes.extend(bound.notes);
        let ends = self.optimal_cost.zip(self.lower_bound);
        if let Some((upper, lower)) = ends.filter(|_| !self.is_certified()) {
            let width =
                gap_percent(upper, lower).map_or_else(String::new, |w| format!(", {w:.3} % apart"));
            self.notes.push(format!(
                "optimum: not certified; it lies between the lower bound {lower:.6} and the best known cost {upper:.6}{width}"
            ));
        }
    }
}

/// The lower bound: the better of the certificate, which gets at most `limit`, and the relaxation, state by state.
fn lower_bound(
    model: &PlantModel,
    data: &SwitchedLqrData,
    modes: &RiccatiModes,
    states: &[Vec<f64>],
    limit: Option<Duration>,
    progress: &(dyn Fn(ReferenceEvent) + Sync),
) -> LowerBound {
    let horizon = model.horizon();
    let (n, count) = (modes.state(), modes.count());
    let lift = modes.lift();
    let lifted: Vec<Vec<f64>> = states
        .iter()
        .map(|x| lift.lift(x).as_slice().to_vec())
        .collect();
    let budget = Budget {
        forms: (27_000_000_000 / (horizon * count * n * n * n)).clamp(16, 2000),
        until: limit.map(|limit| Instant::now() + limit),
    };
    let certificate = certify(modes, horizon, &lifted, budget, &|width| {
        progress(ReferenceEvent::Certificate { width });
    });
    let relaxed = all_channels_strong(modes, horizon, &lifted);
    let mut bound = LowerBound::default();
    if let Some(limit) = limit.filter(|_| certificate.is_none() && budget.is_over()) {
        bound.notes.push(format!(
            "bound: no certificate within the {} s given",
            limit.as_secs_f64()
        ));
    }
    if certificate.is_none() && relaxed.is_none() {
        let note = "bound: no certificate within the budget and no relaxation that fits the plant";
        bound.notes.push(note.into());
        return bound;
    }
    // An episode that meets the clamp at a step with a cost pays at least this; one that does not
    // is an episode of the plant without clamp.
    let least = data
        .q
        .iter()
        .map(|q| q.symmetric_eigenvalues().min().max(0.0))
        .fold(f64::INFINITY, f64::min);
    let at_clamp = data.state_clamp * data.state_clamp * least;
    let mut cut = 0_usize;
    let total: f64 = (0..states.len())
        .map(|i| {
            let certified = certificate.as_ref().map_or(0.0, |c| c.values[i]);
            let relaxed = relaxed.as_ref().map_or(0.0, |values| values[i]);
            let bound = certified.max(relaxed);
            cut += usize::from(bound > at_clamp);
            bound.min(at_clamp)
        })
        .sum();
    if cut > 0 {
        bound.notes.push(format!(
            "bound: at {cut} states only the cost of meeting the state clamp, {at_clamp}, is certain"
        ));
    }
    bound.mean = Some(total / states.len() as f64);
    bound.certificate = certificate.map(|c| (c.width, c.largest_set));
    bound
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
