//! `hpo eval`: a policy or a reference in closed loop with the plant.

mod print;

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::evaluate::audit::Violations;
use crate::evaluate::closed_loop::{Evaluation, Selection, policy_episodes};
use crate::evaluate::perturb::{Perturbation, Trial};
use crate::evaluate::reference::{
    CERTIFIED_PERCENT, ReferenceCache, ReferenceReport, compute_cached, gap_percent, is_reference,
    named, simulate_trial,
};
use crate::evaluate::robustness::{
    ControllerRow, RobustnessEvent, RobustnessTable, Scenario, Subject, robustness, standard_suite,
};
use crate::numeric::random::{Purpose, Stream};
use crate::plant::{PlantModel, load_plant, read_states};

/// Greatest number of steps of an episode.
const MAX_STEPS: usize = 100_000_000;
/// Greatest number of episodes that are drawn.
const MAX_EPISODES: usize = 1_000_000;
/// Evaluation states where the plant ships none.
const DRAWN_STATES: usize = 1024;
/// Steps of all episodes together that runs beyond the horizon make by default, and the least number of episodes.
const LONG_STEPS: usize = 1 << 20;
const LONG_EPISODES: usize = 64;
/// The specification that asks for the whole suite.
const SUITE: &str = "all";

/// Evaluate a policy in closed loop with its plant, against the optimum.
#[derive(Args, Clone, Debug)]
pub struct EvalArgs {
    /// A policy file, a run directory, or fixed-mode:K, round-robin, averaged-riccati, switched-riccati.
    pub policy: String,
    /// A ready plant's name or a plant file.
    #[arg(long)]
    pub plant: String,
    /// Initial states, one a line [default: the plant's test states, else 1024 drawn by seed; the first of them for
    /// episodes beyond the horizon].
    #[arg(long, value_name = "CSV")]
    pub states: Option<PathBuf>,
    /// This many initial states drawn by seed, in place of the plant's test states.
    #[arg(long, value_name = "N", conflicts_with = "states", value_parser = super::count, allow_negative_numbers = true)]
    pub episodes: Option<usize>,
    /// Steps per episode [default: the plant's horizon].
    #[arg(long, value_parser = super::count, allow_negative_numbers = true)]
    pub steps: Option<usize>,
    /// What goes wrong: all for a table of the standard suite, or any of params=PERCENT (every entry of A and B),
    /// sensor=STD and noise=STD (in units of the state), delay=SAMPLES, dropout=PROBABILITY, comma separated.
    #[arg(long, value_name = "SPEC")]
    pub perturb: Option<String>,
    /// Seed of drawn states, noise, perturbations and sampled choices.
    #[arg(long, default_value_t = 1, value_parser = super::seed, allow_negative_numbers = true)]
    pub seed: u64,
    /// A setting of the plant, such as seed=3 or horizon=30.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = super::key_value)]
    pub sets: Vec<(String, String)>,
    /// Exit with 1 unless the plant accepts the policy: the margin to the classical controller that its file states, and no
    /// limit passed.
    #[arg(long)]
    pub accept: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What `hpo eval --json` prints, but for `--perturb all`, which prints a [`RobustnessTable`].
#[derive(Clone, Debug, Serialize)]
pub struct EvalReport {
    /// Name of the plant.
    pub plant: String,
    /// The policy as it was named.
    pub policy: String,
    /// The perturbation; null for the nominal loop.
    pub perturb: Option<String>,
    /// Number of episodes.
    pub episodes: usize,
    /// Steps per episode.
    pub steps: usize,
    /// Mean undiscounted cost per episode, arg-max selector.
    pub mean_cost: f64,
    /// Mean cost per step.
    pub cost_per_step: f64,
    /// Standard error of the mean.
    pub std_error: f64,
    /// Mean cost with sampled choices; null for a reference.
    pub mean_cost_sampled: Option<f64>,
    /// Mean number of mode switches per episode.
    pub switches_per_episode: f64,
    /// Coordinates that stood at the state clamp.
    pub clamped_steps: u64,
    /// Episodes with such a coordinate: they diverged, or nearly so.
    pub clamped_episodes: usize,
    /// Steps in which the fallback law acted.
    pub fallback_steps: u64,
    /// How often bounds, rate limits, dwell times, masks or the envelope were passed.
    pub violations: Violations,
    /// Best upper bound of the optimal cost; null where none is valid.
    pub reference_cost: Option<f64>,
    /// Gap to it in percent; may be negative.
    pub gap_percent: Option<f64>,
    /// Gap to the certified lower bound in percent; null where none is valid.
    pub gap_percent_certified: Option<f64>,
    /// The cheapest classical controller of the plant's family on the same episodes; null where it has none.
    pub baseline: Option<String>,
    /// Its mean cost.
    pub baseline_cost: Option<f64>,
    /// By how many percent the policy costs more than it; may be negative.
    pub baseline_gap_percent: Option<f64>,
    /// By how many percent the policy must cost less than the baseline, where the plant file says so.
    pub accept_percent: Option<f64>,
    /// Whether it does, without a violation; null where the plant file states no margin or there is no baseline here.
    pub accepted: Option<bool>,
    /// Why there is no gap, and what the references beside it are worth; empty in the usual case.
    pub notes: Vec<String>,
    /// The policy and the references on the same episodes with the same draws, where the episodes are perturbed or
    /// longer than the horizon; null elsewhere.
    pub controllers: Option<Vec<ControllerRow>>,
}

/// Runs `hpo eval`.
///
/// # Errors
/// For a policy, plant, states file or perturbation that is not acceptable.
pub fn run(args: &EvalArgs) -> Result<()> {
    super::only_plant_keys(&args.sets)?;
    let plant = load_plant(&args.plant, &args.sets)?;
    let steps = args.steps.unwrap_or(plant.horizon());
    if steps == 0 || steps > MAX_STEPS {
        return Err(Error::Usage(format!(
            "--steps: found {steps}; allowed: 1 to {MAX_STEPS}"
        )));
    }
    let margin = plant.accept_percent();
    if args.accept && (margin.is_none() || args.perturb.is_some() || steps != plant.horizon()) {
        return Err(Error::Usage(format!(
            "--accept: found plant {} {}; allowed: a plant whose file states accept_percent, without --perturb, over its horizon",
            plant.name(),
            if margin.is_none() {
                "without a margin"
            } else {
                "in another setting"
            }
        )));
    }
    let all = args.perturb.as_deref() == Some(SUITE);
    let perturbation = match args.perturb.as_deref() {
        Some(text) if !all => text.parse()?,
        _ => Perturbation::NONE,
    };
    let mut states = match args.episodes {
        None => states(&plant, args.states.as_deref(), args.seed)?,
        Some(count @ 1..=MAX_EPISODES) => plant.draw_states(args.seed, Purpose::Evaluation, count),
        Some(count) => {
            return Err(Error::Usage(format!(
                "--episodes: found {count}; allowed: 1 to {MAX_EPISODES}"
            )));
        }
    };
    if args.states.is_none() && args.episodes.is_none() && steps > plant.horizon() {
        states.truncate((LONG_STEPS / steps).max(LONG_EPISODES));
    }
    let nominal = Trial::nominal(&plant, &states, steps, args.seed);
    let trial = nominal.perturbed(perturbation)?;
    if all {
        let table = table(&trial, &args.policy, &standard_suite(&plant))?;
        return if args.json {
            super::output::print_json(&table)
        } else {
            print::table(&table);
            Ok(())
        };
    }
    let (evaluation, sampled) = evaluate_trial(&trial, &args.policy)?;
    let (reference, baseline, mut notes) = valid_reference(&trial);
    let mut controllers = None;
    if !perturbation.is_none() || steps > plant.horizon() {
        let scenario = Scenario {
            name: perturbation.to_string(),
            perturbation,
        };
        let table = table(&trial, &args.policy, &[scenario])?;
        notes.extend(table.notes);
        controllers = table
            .scenarios
            .into_iter()
            .next()
            .map(|rows| rows.controllers);
    }
    let difference = baseline
        .as_ref()
        .and_then(|(_, cost)| gap_percent(evaluation.mean_cost, *cost));
    let accepted = margin
        .zip(difference)
        .map(|(margin, gap)| gap <= -margin && evaluation.violations.total() == 0);
    let report = EvalReport {
        plant: plant.name().to_owned(),
        policy: args.policy.clone(),
        perturb: (!perturbation.is_none()).then(|| perturbation.to_string()),
        episodes: evaluation.episodes,
        steps,
        mean_cost: evaluation.mean_cost,
        cost_per_step: evaluation.mean_cost / plant.counted_steps(steps).max(1) as f64,
        std_error: evaluation.std_error,
        mean_cost_sampled: sampled,
        switches_per_episode: evaluation.switches_per_episode,
        clamped_steps: evaluation.clamped_steps,
        clamped_episodes: evaluation.clamped_episodes,
        fallback_steps: evaluation.fallback_steps,
        violations: evaluation.violations,
        reference_cost: reference.upper,
        gap_percent: reference.gap_percent(evaluation.mean_cost),
        gap_percent_certified: reference.gap_percent_certified(evaluation.mean_cost),
        baseline_gap_percent: difference,
        accept_percent: margin,
        accepted,
        baseline_cost: baseline.as_ref().map(|(_, cost)| *cost),
        baseline: baseline.map(|(name, _)| name),
        notes,
        controllers,
    };
    if args.json {
        super::output::print_json(&report)?;
    } else {
        print::report(&report);
    }
    if args.accept && report.accepted != Some(true) {
        return Err(Error::Negative(format!(
            "{} is not accepted on plant {}",
            report.policy, report.plant
        )));
    }
    Ok(())
}

/// The plant's reference and its cheapest classical controller for a trial; where it has none, why.
fn valid_reference(trial: &Trial<'_>) -> (Reference, Option<(String, f64)>, Vec<String>) {
    let none = Reference {
        upper: None,
        lower: None,
    };
    let (plant, steps) = (trial.plant(), trial.steps());
    if !trial.perturbation().is_none() {
        let note = "no gap: the optimum is known for the nominal loop alone".to_owned();
        return (none, None, vec![note]);
    }
    if steps != plant.horizon() {
        let note = format!(
            "no gap: the optimum is computed for the horizon of {} steps alone",
            plant.horizon()
        );
        return (none, None, vec![note]);
    }
    let report = reference_report(plant, trial.states(), trial.seed());
    let reference = Reference {
        upper: report.optimal_cost,
        lower: report.lower_bound,
    };
    let missing = reference.upper.is_none() || reference.lower.is_none();
    let mut notes = if missing {
        report.notes.clone()
    } else {
        Vec::new()
    };
    if reference.upper == Some(0.0) {
        notes.push("no gap: the best known cost is 0, of which no cost is a percentage".to_owned());
    }
    let baseline = report.baseline(plant);
    let baseline = baseline.map(|(name, cost)| (name.to_owned(), cost));
    (reference, baseline, notes)
}

/// The robustness table of what `policy` names.
fn table(trial: &Trial<'_>, policy: &str, scenarios: &[Scenario]) -> Result<RobustnessTable> {
    let (plant, states) = (trial.plant(), trial.states());
    let (steps, seed) = (trial.steps(), trial.seed());
    let bar = ProgressBar::new(0);
    let progress = |event: RobustnessEvent| match event {
        RobustnessEvent::Row { done, total } => {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        }
        RobustnessEvent::Reference(name) => bar.set_message(name),
    };
    let run = |subject| robustness(plant, subject, states, steps, seed, scenarios, &progress);
    let table = if is_reference(plant, policy) {
        run(Subject::Reference(policy))
    } else {
        let bytes = super::train::read_policy(Path::new(policy))?;
        run(Subject::Policy(policy, bytes.bytes())).map_err(|error| about(policy, error))
    };
    bar.finish_and_clear();
    table
}

/// Evaluates what `policy` names; the second value is the cost with sampled choices.
///
/// # Errors
/// For a policy that is not acceptable or does not fit the plant.
pub fn evaluate(
    plant: &PlantModel,
    policy: &str,
    states: &[Vec<f64>],
    steps: usize,
    seed: u64,
) -> Result<(Evaluation, Option<f64>)> {
    evaluate_trial(&Trial::nominal(plant, states, steps, seed), policy)
}

fn evaluate_trial(trial: &Trial<'_>, policy: &str) -> Result<(Evaluation, Option<f64>)> {
    let (plant, states) = (trial.plant(), trial.states());
    if let Some(reference) = named(plant, policy, states, trial.steps())? {
        let episodes = simulate_trial(trial, reference.as_ref());
        return Ok((Evaluation::new(&episodes), None));
    }
    let bytes = super::train::read_policy(Path::new(policy))?;
    let run = |selection| {
        policy_episodes(trial, bytes.bytes(), selection)
            .map(|episodes| Evaluation::new(&episodes))
            .map_err(|error| about(policy, error))
    };
    let sampled = run(Selection::Sampled)?.mean_cost;
    Ok((run(Selection::ArgMax)?, Some(sampled)))
}

/// The error with the name of the policy that it is about.
fn about(policy: &str, error: Error) -> Error {
    match error {
        Error::Usage(text) => Error::Usage(format!("{policy}: {text}")),
        Error::Negative(text) => Error::Negative(format!("{policy}: {text}")),
        other => other,
    }
}

/// The states to evaluate on: a file's, the plant's own, or drawn by seed.
///
/// # Errors
/// For a file that cannot be read or does not fit.
pub fn states(plant: &PlantModel, file: Option<&Path>, seed: u64) -> Result<Vec<Vec<f64>>> {
    if let Some(file) = file {
        return read_states(file, plant.dims().state);
    }
    if let Some(states) = plant.test_states() {
        return Ok(states.to_vec());
    }
    Ok((0..DRAWN_STATES)
        .map(|index| {
            let mut stream = Stream::new(seed, Purpose::Evaluation, index as u64);
            let mut state = vec![0.0; plant.dims().state];
            plant.draw_initial(&mut stream, &mut state);
            state
        })
        .collect())
}

/// Bounds of the optimal cost on given states.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reference {
    /// Cost of the best policy known; `None` where no reference is valid.
    pub upper: Option<f64>,
    /// Certified lower bound; `None` where none is valid.
    pub lower: Option<f64>,
}

impl Reference {
    /// The plant's reference on `states`, from the user's cache where it has been computed before. Another
    /// number of steps than the plant's horizon has none.
    #[must_use]
    pub fn of(plant: &PlantModel, states: &[Vec<f64>], steps: usize, seed: u64) -> Self {
        if steps != plant.horizon() {
            return Self {
                upper: None,
                lower: None,
            };
        }
        let report = reference_report(plant, states, seed);
        Self {
            upper: report.optimal_cost,
            lower: report.lower_bound,
        }
    }

    /// Gap of `cost` to the upper bound in percent; `None` where there is none or it is 0.
    #[must_use]
    pub fn gap_percent(&self, cost: f64) -> Option<f64> {
        self.upper.and_then(|upper| gap_percent(cost, upper))
    }

    /// Whether the best known cost is proved to be the optimum, to within [`CERTIFIED_PERCENT`].
    #[must_use]
    pub fn is_certified(&self) -> bool {
        let width = self
            .upper
            .and_then(|upper| self.gap_percent_certified(upper));
        width.is_some_and(|width| width <= CERTIFIED_PERCENT)
    }

    /// Gap of `cost` to the lower bound in percent; `None` where there is none or it is 0.
    #[must_use]
    pub fn gap_percent_certified(&self, cost: f64) -> Option<f64> {
        self.lower.and_then(|lower| gap_percent(cost, lower))
    }
}

/// All references of the plant on `states`, through the user's cache.
#[must_use]
pub fn reference_report(plant: &PlantModel, states: &[Vec<f64>], seed: u64) -> ReferenceReport {
    let cache = ReferenceCache::of_user();
    compute_cached(cache.as_ref(), plant, states, seed, &|_| {})
}
