//! `hpo eval`: a policy or a reference in closed loop with the plant.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::evaluate::closed_loop::{Evaluation, Selection, evaluate_policy};
use crate::evaluate::reference::{
    AveragedRiccati, ReferenceCache, ReferencePolicy, ReferenceReport, RiccatiModes, Schedule,
    SwitchedBudget, SwitchedRiccati, compute_cached, simulate,
};
use crate::numeric::random::{Purpose, Stream};
use crate::plant::{PlantModel, load_plant, read_states};

/// Evaluation states where the plant ships none.
const DRAWN_STATES: usize = 1024;

/// Evaluate a policy in closed loop with its plant, against the optimum.
#[derive(Args, Clone, Debug)]
pub struct EvalArgs {
    /// A policy file, a run directory, or fixed-mode:K, round-robin, averaged-riccati, switched-riccati.
    pub policy: String,
    /// A ready plant's name or a plant file.
    #[arg(long)]
    pub plant: String,
    /// Initial states, one a line [default: the plant's test states, else 1024 drawn by seed].
    #[arg(long, value_name = "CSV")]
    pub states: Option<PathBuf>,
    /// Steps per episode [default: the plant's horizon].
    #[arg(long, value_parser = super::count, allow_negative_numbers = true)]
    pub steps: Option<usize>,
    /// Seed of drawn states, noise and sampled choices.
    #[arg(long, default_value_t = 1, value_parser = super::seed, allow_negative_numbers = true)]
    pub seed: u64,
    /// A setting of the plant, such as seed=3 or horizon=30.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = super::key_value)]
    pub sets: Vec<(String, String)>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What `hpo eval --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct EvalReport {
    /// Name of the plant.
    pub plant: String,
    /// The policy as it was named.
    pub policy: String,
    /// Number of episodes.
    pub episodes: usize,
    /// Steps per episode.
    pub steps: usize,
    /// Mean undiscounted cost per episode, arg-max selector.
    pub mean_cost: f64,
    /// Standard error of the mean.
    pub std_error: f64,
    /// Mean cost with sampled choices; null for a reference.
    pub mean_cost_sampled: Option<f64>,
    /// Mean number of mode switches per episode.
    pub switches_per_episode: f64,
    /// Coordinates that stood at the state clamp.
    pub clamped_steps: u64,
    /// Steps in which the fallback law acted.
    pub fallback_steps: u64,
    /// Best upper bound of the optimal cost; null where none is valid.
    pub reference_cost: Option<f64>,
    /// Gap to it in percent; may be negative.
    pub gap_percent: Option<f64>,
    /// Gap to the certified lower bound in percent; null where none is valid.
    pub gap_percent_certified: Option<f64>,
}

/// Runs `hpo eval`.
///
/// # Errors
/// For a policy, plant or states file that is not acceptable.
pub fn run(args: &EvalArgs) -> Result<()> {
    super::only_plant_keys(&args.sets)?;
    let plant = load_plant(&args.plant, &args.sets)?;
    let steps = args.steps.unwrap_or(plant.horizon());
    if steps == 0 {
        return Err(Error::Usage("--steps: found 0; allowed: 1 or more".into()));
    }
    let states = states(&plant, args.states.as_deref(), args.seed)?;
    let (evaluation, sampled) = evaluate(&plant, &args.policy, &states, steps, args.seed)?;
    let reference = Reference::of(&plant, &states, steps, args.seed);
    let report = EvalReport {
        plant: plant.name().to_owned(),
        policy: args.policy.clone(),
        episodes: evaluation.episodes,
        steps,
        mean_cost: evaluation.mean_cost,
        std_error: evaluation.std_error,
        mean_cost_sampled: sampled,
        switches_per_episode: evaluation.switches_per_episode,
        clamped_steps: evaluation.clamped_steps,
        fallback_steps: evaluation.fallback_steps,
        reference_cost: reference.upper,
        gap_percent: reference.gap_percent(evaluation.mean_cost),
        gap_percent_certified: reference.gap_percent_certified(evaluation.mean_cost),
    };
    if args.json {
        super::output::print_json(&report)
    } else {
        print(&report);
        Ok(())
    }
}

fn print(report: &EvalReport) {
    println!(
        "{} on {}: {} episodes of {} steps",
        report.policy, report.plant, report.episodes, report.steps
    );
    println!(
        "mean cost   {:.6} (standard error {:.4})",
        report.mean_cost, report.std_error
    );
    if let Some(sampled) = report.mean_cost_sampled {
        println!("sampled     {sampled:.6}");
    }
    match (report.reference_cost, report.gap_percent) {
        (Some(cost), Some(gap)) => println!("reference   {cost:.6}, gap {gap:+.3} %"),
        _ => println!("reference   none is valid here"),
    }
    if let Some(gap) = report.gap_percent_certified {
        println!("certified   gap to the lower bound {gap:+.3} %");
    }
    println!(
        "switches    {:.2} per episode; {} clamped steps; {} fallback steps",
        report.switches_per_episode, report.clamped_steps, report.fallback_steps
    );
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
    if let Some(reference) = reference_policy(plant, policy, states)? {
        let episodes = simulate(plant, reference.as_ref(), states, steps, seed);
        let costs: Vec<(f64, u32)> = episodes.iter().map(|e| (e.cost, e.switches)).collect();
        let clamped = episodes.iter().map(|e| u64::from(e.clamped)).sum();
        return Ok((Evaluation::new(&costs, clamped, 0), None));
    }
    let bytes = super::train::read_policy(Path::new(policy))?;
    let named = |error| match error {
        Error::Usage(text) => Error::Usage(format!("{policy}: {text}")),
        Error::Negative(text) => Error::Negative(format!("{policy}: {text}")),
        other => other,
    };
    let run = |selection| {
        evaluate_policy(plant, bytes.bytes(), states, steps, seed, selection).map_err(named)
    };
    let sampled = run(Selection::Sampled)?.mean_cost;
    Ok((run(Selection::ArgMax)?, Some(sampled)))
}

/// The reference that `name` names, if it names one.
fn reference_policy(
    plant: &PlantModel,
    name: &str,
    states: &[Vec<f64>],
) -> Result<Option<Box<dyn ReferencePolicy>>> {
    let modes = RiccatiModes::new(plant.lqr_data());
    let horizon = plant.horizon();
    Ok(Some(match name {
        "round-robin" => Box::new(Schedule::round_robin(&modes, horizon)),
        "averaged-riccati" => Box::new(AveragedRiccati::new(&modes).ok_or_else(|| {
            Error::Usage(
                "averaged-riccati: the averaged Riccati equation of this plant has no solution"
                    .into(),
            )
        })?),
        "switched-riccati" => {
            let dims = plant.dims();
            let budget = SwitchedBudget::for_size(dims.state, dims.modes, horizon);
            Box::new(SwitchedRiccati::new(
                plant,
                &modes,
                horizon,
                states,
                budget,
                &|_, _| {},
            ))
        }
        _ => match name.strip_prefix("fixed-mode:") {
            None => return Ok(None),
            Some(mode) => {
                let count = plant.dims().modes;
                let mode: usize = mode.parse().ok().filter(|&m| m < count).ok_or_else(|| {
                    Error::Usage(format!(
                        "fixed-mode: found {mode}; allowed: 0 to {}, the modes of {}",
                        count - 1,
                        plant.name()
                    ))
                })?;
                Box::new(Schedule::fixed_mode(&modes, mode, horizon))
            }
        },
    }))
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

    /// Gap of `cost` to the upper bound in percent.
    #[must_use]
    pub fn gap_percent(&self, cost: f64) -> Option<f64> {
        self.upper.map(|upper| (cost / upper - 1.0) * 100.0)
    }

    /// Gap of `cost` to the lower bound in percent.
    #[must_use]
    pub fn gap_percent_certified(&self, cost: f64) -> Option<f64> {
        self.lower.map(|lower| (cost / lower - 1.0) * 100.0)
    }
}

/// All references of the plant on `states`, through the user's cache.
#[must_use]
pub fn reference_report(plant: &PlantModel, states: &[Vec<f64>], seed: u64) -> ReferenceReport {
    let cache = ReferenceCache::of_user();
    compute_cached(cache.as_ref(), plant, states, seed, &|_| {})
}
