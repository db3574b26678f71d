//! The command line `hpo`: one file per command, arguments and output only.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{Error, Result};

// Takes the place of the standard macro in every command, because that one panics when the reader
// has gone (`hpo plants | head -1`) or the disk is full.
macro_rules! println {
    ($($argument:tt)*) => { $crate::cli::output::print_line(format_args!($($argument)*)) };
}

pub mod bench;
pub mod compare;
pub mod demo;
pub mod eval;
pub mod export;
pub mod firmware;
pub mod flash;
pub mod gradcheck;
pub mod hil;
pub mod inspect;
pub mod keygen;
pub mod monitor;
mod output;
pub mod plants;
pub mod push;
pub mod reference;
pub mod report;
pub mod setup;
pub mod train;
pub mod verify;

/// Hybrid controllers from a plant description to a Cortex-M microcontroller.
///
/// Exit codes: 0 done; 1 ran, but the answer is no (mismatch, rejected, interrupted);
/// 2 bad usage or input file; 3 environment (a tool is missing or broken).
#[derive(Parser, Debug)]
#[command(name = "hpo", version, propagate_version = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands, in the order of the way from plant to device.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// The whole way from nothing: set up, train, compare with the optimum, export, run in QEMU.
    Demo(demo::DemoArgs),
    /// List the ready plants.
    Plants(plants::PlantsArgs),
    /// Train a policy on a plant and write a run directory.
    Train(train::TrainArgs),
    /// Evaluate a policy in closed loop with its plant, against the optimum.
    Eval(eval::EvalArgs),
    /// Optimum with certified bounds, fixed modes, round robin, averaged Riccati.
    Reference(reference::ReferenceArgs),
    /// Train algorithms on plants with several seeds, and compare them.
    Compare(compare::CompareArgs),
    /// Write one HTML page about a run: curves, episodes, mode maps, references.
    Report(report::ReportArgs),
    /// Check the gradient estimator against exact enumeration on a small set-up.
    Gradcheck(gradcheck::GradcheckArgs),
    /// Measure the speed of training against this machine's multiply-add peak.
    Bench(bench::BenchArgs),
    /// Write a run's best policy to a file.
    Export(export::ExportArgs),
    /// Show what a policy file holds, and run its golden vectors.
    Inspect(inspect::InspectArgs),
    /// Check a policy as a device does before it runs it: content, golden vectors, signature.
    Verify(verify::VerifyArgs),
    /// Make a key pair to sign policies with.
    Keygen(keygen::KeygenArgs),
    /// Build a board's firmware and show its sizes.
    Firmware(firmware::FirmwareArgs),
    /// Run a policy on a board in QEMU or behind a port, in closed loop, and compare every action with the host's.
    Hil(hil::HilArgs),
    /// Log what a device that runs its own loop does, as CSV.
    Monitor(monitor::MonitorArgs),
    /// Write a policy into a board's slot, read it back and compare.
    Flash(flash::FlashArgs),
    /// Install a policy beside the one that runs, over the link of a running device.
    Push(push::PushArgs),
    /// Find or install the cross toolchain and QEMU.
    Setup(setup::SetupArgs),
}

/// The whole program: the process's arguments in, exit code out. For `hpo` itself and for programs that add plants of their own to it.
#[must_use]
pub fn start() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The command's; [`Error::exit_code`] gives the process's exit code.
pub fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::Demo(args) => demo::run(args),
        Command::Plants(args) => plants::run(args),
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Reference(args) => reference::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Report(args) => report::run(args),
        Command::Gradcheck(args) => gradcheck::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Export(args) => export::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Keygen(args) => keygen::run(args),
        Command::Firmware(args) => firmware::run(args),
        Command::Hil(args) => hil::run(args),
        Command::Monitor(args) => monitor::run(args),
        Command::Flash(args) => flash::run(args),
        Command::Push(args) => push::run(args),
        Command::Setup(args) => setup::run(args),
    }
}

/// Parses one `--set KEY=VALUE`.
fn key_value(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("allowed: key=value".to_owned()),
    }
}

/// Parses a seed. With `allow_negative_numbers` on the argument, `--seed -1` is answered by this and
/// not by the guess that `-1` is another option.
fn seed(text: &str) -> std::result::Result<u64, String> {
    text.parse()
        .map_err(|_| format!("allowed: a whole number, 0 to {}", u64::MAX))
}

/// Parses a number of things; whether 0 is allowed is the command's to say.
fn count(text: &str) -> std::result::Result<usize, String> {
    text.parse()
        .map_err(|_| format!("allowed: a whole number, 0 to {}", usize::MAX))
}

/// Refuses `--set` keys that only training knows.
fn only_plant_keys(sets: &[(String, String)]) -> Result<()> {
    match sets
        .iter()
        .find(|(key, _)| !crate::plant::is_plant_key(key))
    {
        None => Ok(()),
        Some((key, _)) => Err(Error::Usage(format!(
            "--set: found {key}; allowed here: seed, horizon, state_clamp, jumps"
        ))),
    }
}
