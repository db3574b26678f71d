//! `hpo train`: a policy from a plant.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::cli::eval::{self, Reference};
use crate::error::{Error, Result};
use crate::evaluate::closed_loop::{Selection, evaluate_policy};
use crate::export::PolicyBuffer;
use crate::plant::{is_plant_key, load_plant};
use crate::train::run::{self, TrainConfig, TrainEvent, TrainReport};
use crate::train::settings::{Algorithm, CrossTerm, Settings, Structure};

/// Train a policy on a plant and write a run directory.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    /// A ready plant's name or a plant file.
    pub plant: String,
    /// The algorithm.
    #[arg(long, value_enum, default_value = "hpo")]
    pub algo: Algorithm,
    /// Structure of the policy [default: quadratic].
    #[arg(long, value_enum)]
    pub structure: Option<Structure>,
    /// Where parameters come from before the first epoch: scratch, averaged-riccati, switched-riccati, or a
    /// policy file or run directory [default: scratch].
    #[arg(long, value_name = "START")]
    pub start: Option<String>,
    /// Run directory [default: runs/PLANT-ALGO-seedN].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Number of epochs [default: train.epochs].
    #[arg(long, value_parser = super::count, allow_negative_numbers = true)]
    pub epochs: Option<usize>,
    /// As many epochs as make at most this number of simulator calls, look-ahead branches included.
    #[arg(long, value_name = "N", value_parser = super::count, allow_negative_numbers = true, conflicts_with = "epochs")]
    pub env_steps: Option<usize>,
    /// Hidden widths of a selector and a control network, such as 64,64.
    #[arg(long, value_name = "WIDTHS", value_delimiter = ',', value_parser = super::count)]
    pub hidden: Option<Vec<usize>>,
    /// Whether the cross term of the gradient is kept [default: off; exact variant: on].
    #[arg(long, value_enum)]
    pub cross_term: Option<CrossTerm>,
    /// Threads, 0 for one per processor; the result does not depend on it.
    #[arg(long, default_value_t = 0, value_parser = super::count, allow_negative_numbers = true)]
    pub threads: usize,
    /// Seed of all random numbers.
    #[arg(long, default_value_t = 1, value_parser = super::seed, allow_negative_numbers = true)]
    pub seed: u64,
    /// Continue the run in the run directory.
    #[arg(long)]
    pub resume: bool,
    /// A setting, such as train.epochs=400, policy.laws_per_mode=2 or, for the plant, horizon=30.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = super::key_value)]
    pub sets: Vec<(String, String)>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What `hpo train --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct TrainSummary {
    /// Name of the plant.
    pub plant: String,
    /// Algorithm.
    pub algo: &'static str,
    /// Seed.
    pub seed: u64,
    /// Where parameters came from.
    pub start: String,
    /// Epochs done.
    pub epochs: usize,
    /// Epoch of the exported policy.
    pub best_epoch: usize,
    /// Mean cost of the exported policy on the test states.
    pub mean_cost: f64,
    /// Its gap to the reference, where one is valid.
    pub gap_percent: Option<f64>,
    /// The same gap before the first epoch.
    pub gap_percent_start: Option<f64>,
    /// Whether the gaps are to an optimum that is proved, and not to a best known cost alone.
    pub certified: bool,
    /// Share of that gap that training removed, in percent; null where there was none.
    pub gap_removed_percent: Option<f64>,
    /// Seconds of training in this session.
    pub seconds: f64,
    /// Simulator calls, look-ahead branches included.
    pub env_steps: u64,
    /// Simulator calls of this session per second.
    pub env_steps_per_second: f64,
    /// Bytes of the policy file.
    pub policy_bytes: usize,
    /// SHA-256 of the policy file.
    pub policy_sha256: String,
    /// Run directory.
    pub out: PathBuf,
}

/// Runs `hpo train`.
///
/// # Errors
/// As [`run::train`], and for bad arguments.
pub fn run(args: &TrainArgs) -> Result<()> {
    let config = resolve(args)?;
    let (report, summary) = train_and_evaluate(&config)?;
    if args.json {
        super::output::print_json(&summary)
    } else {
        print(&report, &summary);
        Ok(())
    }
}

/// Arguments to what they stand for.
///
/// # Errors
/// For an unknown plant and settings that are not allowed.
pub fn resolve(args: &TrainArgs) -> Result<TrainConfig> {
    let plant = load_plant(&args.plant, &args.sets)?;
    let mut sets = vec![("train.algo".to_owned(), args.algo.name().to_owned())];
    if let Some(structure) = args.structure {
        sets.push(("policy.structure".into(), structure.name().into()));
    }
    sets.extend(
        args.sets
            .iter()
            .filter(|(key, _)| !is_plant_key(key))
            .cloned(),
    );
    if let Some(hidden) = &args.hidden {
        let list = format!("{hidden:?}");
        sets.push(("policy.selector_hidden".into(), list.clone()));
        sets.push(("policy.control_hidden".into(), list));
    }
    if let Some(start) = &args.start {
        sets.push((
            "train.start".into(),
            toml::Value::from(start.as_str()).to_string(),
        ));
    }
    if let Some(epochs) = args.epochs {
        sets.push(("train.epochs".into(), epochs.to_string()));
    }
    if let Some(cross_term) = args.cross_term {
        sets.push(("train.cross_term".into(), cross_term.name().into()));
    }
    let mut settings = Settings::resolve(&sets, run::plant_traits(&plant))?;
    if let Some(limit) = args.env_steps {
        settings.limit_env_steps(limit as u64, plant.dims().modes, plant.horizon())?;
    }
    let out = args.out.clone().unwrap_or_else(|| {
        let name = file_name(plant.name());
        PathBuf::from("runs").join(format!(
            "{name}-{}-seed{}",
            settings.train.algo.name(),
            args.seed
        ))
    });
    Ok(TrainConfig {
        plant,
        settings,
        seed: args.seed,
        out,
        resume: args.resume,
        threads: args.threads,
    })
}

/// A plant's name as part of a file name: a `/` in it must not lead out of `runs`.
fn file_name(plant: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    plant
        .chars()
        .map(|c| if plain(c) { c } else { '-' })
        .collect()
}

/// Trains with a progress bar on standard error (none where that is no terminal), stops at
/// Ctrl-C with a checkpoint, and evaluates the result on the test states.
///
/// # Errors
/// As [`run::train`].
pub fn train_and_evaluate(config: &TrainConfig) -> Result<(TrainReport, TrainSummary)> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    let training = Arc::new(AtomicBool::new(true));
    let running = Arc::clone(&training);
    // A second handler in one process is refused; the first serves then.
    let _ = ctrlc::set_handler(move || {
        // Only a training run has a state worth saving.
        if flag.swap(true, Ordering::Relaxed) || !running.load(Ordering::Relaxed) {
            std::process::exit(1);
        }
        eprintln!("\nstopping after this epoch; press Ctrl-C again to stop at once");
    });
    let bar = ProgressBar::new(config.settings.train.epochs as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} eta {eta}") {
        bar.set_style(style);
    }
    let mut validation = None;
    let report = run::train(config, &interrupted, &mut |event| match event {
        TrainEvent::Started { epoch, .. } => bar.set_position(*epoch as u64),
        TrainEvent::Epoch {
            epoch,
            metrics,
            validation: new,
        } => {
            validation = new.or(validation);
            let shown = validation.map_or(String::new(), |cost| format!(" validation {cost:.4}"));
            bar.set_message(format!("cost {:.4}{shown}", metrics.cost));
            bar.set_position(*epoch as u64);
        }
    });
    bar.finish_and_clear();
    training.store(false, Ordering::Relaxed);
    let report = report?;
    let summary = summarise(config, &report)?;
    Ok((report, summary))
}

fn summarise(config: &TrainConfig, report: &TrainReport) -> Result<TrainSummary> {
    let plant = &config.plant;
    let states = eval::states(plant, None, config.seed)?;
    let cost = |policy: &PolicyBuffer| -> Result<f64> {
        let evaluation = evaluate_policy(
            plant,
            policy.bytes(),
            &states,
            plant.horizon(),
            config.seed,
            Selection::ArgMax,
        )?;
        Ok(evaluation.mean_cost)
    };
    let policy = PolicyBuffer::read(&report.policy)?;
    let start = PolicyBuffer::read(&report.out.join(run::START_FILE))?;
    let (mean_cost, start_cost) = (cost(&policy)?, cost(&start)?);
    let reference = Reference::of(plant, &states, plant.horizon(), config.seed);
    let (gap, gap_start) = (
        reference.gap_percent(mean_cost),
        reference.gap_percent(start_cost),
    );
    Ok(TrainSummary {
        plant: plant.name().to_owned(),
        algo: config.settings.train.algo.name(),
        seed: config.seed,
        start: config.settings.train.start.to_string(),
        epochs: report.epochs,
        best_epoch: report.best_epoch,
        mean_cost,
        gap_percent: gap,
        gap_percent_start: gap_start,
        certified: reference.is_certified(),
        gap_removed_percent: gap
            .zip(gap_start.filter(|&start| start > 0.0))
            .map(|(gap, start)| 100.0 * (1.0 - gap / start)),
        seconds: report.seconds,
        env_steps: report.env_steps,
        env_steps_per_second: report.session_env_steps as f64 / report.seconds.max(1e-9),
        policy_bytes: policy.bytes().len(),
        policy_sha256: report.policy_sha256.clone(),
        out: report.out.clone(),
    })
}

fn print(report: &TrainReport, summary: &TrainSummary) {
    let percent = |gap: Option<f64>| match gap {
        Some(gap) if summary.certified => format!("{gap:+.3} % over the optimum"),
        Some(gap) => format!("{gap:+.3} % over the best known cost"),
        None => "no valid reference".to_owned(),
    };
    println!("run        {}", report.out.display());
    println!(
        "policy     {} ({} bytes, epoch {} of {})",
        report.policy.display(),
        summary.policy_bytes,
        report.best_epoch,
        report.epochs
    );
    println!("sha256     {}", report.policy_sha256);
    println!(
        "cost       {:.4} ({})",
        summary.mean_cost,
        percent(summary.gap_percent)
    );
    let removed = summary.gap_removed_percent.map_or(String::new(), |share| {
        format!(", of which training removed {share:.1} %")
    });
    println!(
        "start      {}: {}{removed}",
        summary.start,
        percent(summary.gap_percent_start)
    );
    // A start that is nearly the optimum is left by noise alone.
    let above = |&last: &f64| last > report.start_cost * (1.0 + NOTICEABLE);
    if let Some(last) = report.last_cost.filter(above) {
        println!(
            "warning    the last epoch's validated cost, {last:.4}, is above the start's, {:.4}: steps too great for this plant? \
             Kept is the policy of epoch {}, {:.4}",
            report.start_cost, report.best_epoch, report.validation_cost
        );
    }
    println!(
        "training   {:.1} s, {} simulator calls, {:.2e} per second",
        report.seconds, report.env_steps, summary.env_steps_per_second
    );
}

/// Share of the start's validated cost from which on a rise is worth a warning.
const NOTICEABLE: f64 = 1e-3;

/// Reads a policy file or the policy of a run directory.
///
/// # Errors
/// [`Error::Io`] if there is no such file, [`Error::Usage`] for a folder without a policy.
pub fn read_policy(path: &std::path::Path) -> Result<PolicyBuffer> {
    if path.is_dir() {
        let inside = path.join("policy.hpo");
        if !inside.is_file() {
            return Err(Error::Usage(format!(
                "{}: found a folder without policy.hpo; allowed: a policy file or a run directory",
                path.display()
            )));
        }
        return PolicyBuffer::read(&inside);
    }
    PolicyBuffer::read(path)
}
