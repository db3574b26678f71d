//! `hpo report`: one HTML page about a run.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::error::Result;
use crate::report::figures::{ReportStage, compute};
use crate::report::page::page;
use crate::report::run::RunRecord;
use crate::train::checkpoint::write_atomically;

/// Write one self-contained HTML page about a run.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// A run directory of `hpo train`.
    pub run: PathBuf,
    /// The page [default: RUN/report.html].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The run's plant again, for a plant file whose test states are wanted [default: the run's own record].
    #[arg(long)]
    pub plant: Option<String>,
    /// Steps of the runs beyond the horizon, under process noise where the plant has or takes it; 0 leaves them out [default: 10000, or ten horizons where that is more].
    #[arg(long, value_name = "N", value_parser = super::count, allow_negative_numbers = true)]
    pub steps: Option<usize>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What `hpo report --json` prints.
#[derive(Debug, Serialize)]
struct ReportSummary {
    run: PathBuf,
    plant: String,
    algo: &'static str,
    file: PathBuf,
    bytes: usize,
    mean_cost: f64,
    gap_percent: Option<f64>,
    gap_percent_certified: Option<f64>,
}

/// Runs `hpo report`.
///
/// # Errors
/// For a folder that is no run, a policy that cannot be run, steps that are not beyond the horizon, a page that cannot be written.
pub fn run(args: &ReportArgs) -> Result<()> {
    let record = RunRecord::read(&args.run, args.plant.as_deref())?;
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    let figures = compute(&record, args.steps, &|stage| {
        bar.set_message(match stage {
            ReportStage::References => "references",
            ReportStage::Evaluation => "policy in closed loop",
            ReportStage::Controller => "best known control",
            ReportStage::Maps => "mode maps",
            ReportStage::Robustness => "perturbations",
            ReportStage::Long => "beyond the horizon",
        });
    });
    bar.finish_and_clear();
    let figures = figures?;
    let html = page(&record, &figures)?;
    let default = || args.run.join("report.html");
    let file = args.output.clone().unwrap_or_else(default);
    write_atomically(&file, html.as_bytes())?;
    let cost = figures.evaluation.mean_cost;
    let summary = ReportSummary {
        run: args.run.clone(),
        plant: record.plant.name().to_owned(),
        algo: record.algorithm(),
        bytes: html.len(),
        mean_cost: cost,
        gap_percent: figures.gap_percent(cost),
        gap_percent_certified: figures.gap_percent_certified(cost),
        file,
    };
    if args.json {
        super::output::print_json(&summary)
    } else {
        println!("report     {}", summary.file.display());
        println!("size       {} KiB", summary.bytes.div_ceil(1024));
        Ok(())
    }
}
