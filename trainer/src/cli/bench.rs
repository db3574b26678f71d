//! `hpo bench`: the speed of training on this machine, and what the machine could do.

use clap::Args;

use crate::bench::{BenchConfig, bench};
use crate::error::Result;

/// Measure the speed of training against this machine's multiply-add peak.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Threads, 0 for one per processor.
    #[arg(long, default_value_t = 0, value_parser = super::count, allow_negative_numbers = true)]
    pub threads: usize,
    /// Only what has NAME in its name: peak, paper-64, paper-512, paper-512-critic-512, default.
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
