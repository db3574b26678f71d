//! `hpo bench`: the speed of training on this machine, and what the machine could do.

use clap::Args;

use serde::Serialize;

use crate::bench::device::device_bench;
use crate::bench::device::search::search;
use crate::bench::{BenchConfig, Entry, bench};
use crate::error::Result;

/// Measure the speed of training against this machine's multiply-add peak.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Threads, 0 for one per processor.
    #[arg(long, default_value_t = 0, value_parser = super::count, allow_negative_numbers = true)]
    pub threads: usize,
    /// In place of training: instructions of a control step of networks a to d on an emulated board.
    #[arg(long, value_name = "BOARD", num_args = 0..=1, default_missing_value = "mps2-an386")]
    pub device: Option<String>,
    /// With --device, in place of the logged steps, search so many states of each policy for the fewest and the most instructions.
    #[arg(
        long,
        value_name = "STATES",
        requires = "device",
        allow_negative_numbers = true
    )]
    pub search: Option<std::num::NonZeroU32>,
    /// Only what has NAME in its name: peak, paper-64, paper-512, paper-512-critic-512, default; with --device a/f32, a/int8,
    /// a/f32-sections to d/int8-sections, demo/f32, demo/f32-sections, switched-a/f32 to switched-c/int8-sections; verification: what
    /// checking a signature takes at a boot.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub filter: String,
    /// Seconds for each workload; an epoch is run in any case.
    #[arg(long, default_value_t = 10.0, allow_negative_numbers = true)]
    pub seconds: f64,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Runs `hpo bench`.
///
/// # Errors
/// As [`bench()`].
pub fn run(args: &BenchArgs) -> Result<()> {
    if let Some(board) = &args.device {
        return device(board, args);
    }
    let config = BenchConfig {
        threads: args.threads,
        filter: args.filter.clone(),
        seconds: args.seconds,
    };
    let bar = indicatif::ProgressBar::new_spinner();
    let report = bench(&config, &mut |name| {
        bar.set_message(format!("measuring {name}"));
        bar.tick();
    });
    bar.finish_and_clear();
    let report = report?;
    if args.json {
        return super::output::print_json(&report);
    }
    println!(
        "{} threads, instruction set {}",
        report.threads, report.instruction_set
    );
    for entry in &report.entries {
        println!("{:<44}{:>16.4} {}", entry.name, entry.figure, entry.unit);
    }
    Ok(())
}

/// What `hpo bench --device --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceBenchReport {
    /// The board.
    pub board: String,
    /// The figures.
    pub entries: Vec<Entry>,
}

fn device(board: &str, args: &BenchArgs) -> Result<()> {
    let bar = indicatif::ProgressBar::new_spinner();
    let mut progress = |name: &str| {
        bar.set_message(format!("measuring {name}"));
        bar.tick();
    };
    let entries = match args.search {
        Some(states) => search(board, &args.filter, states.get() as usize, &mut progress),
        None => device_bench(board, &args.filter, &mut progress),
    };
    bar.finish_and_clear();
    let report = DeviceBenchReport {
        board: board.to_owned(),
        entries: entries?,
    };
    if args.json {
        return super::output::print_json(&report);
    }
    println!("{}", report.board);
    for entry in &report.entries {
        println!("{:<44}{:>16} {}", entry.name, entry.figure, entry.unit);
    }
    Ok(())
}
