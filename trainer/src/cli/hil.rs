//! `hpo hil`: a policy on a device in QEMU or behind a serial port, in closed loop with the plant.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use policy_format::{Capacity, EncodeError, Need, RawPolicy, with_budget};

use crate::device::board::{self, Board};
use crate::device::faults::{FaultReport, FaultSpec};
use crate::device::hil::{HilConfig, HilReport, StepRecord, run_hil, run_hil_over};
use crate::device::plant_loop::PlantLoop;
use crate::device::port::{BAUD, Port};
use crate::device::qemu::LinkKind;
use crate::export::PolicyBuffer;
use crate::plant::load_plant;
use crate::train::checkpoint::write_atomically;
use crate::{Error, Result};

/// Run a policy on a board in QEMU or behind a serial port, in closed loop with the plant, and compare every action with the host's.
#[derive(Args, Clone, Debug)]
pub struct HilArgs {
    /// A policy file, whose bytes go to the device as they are, or a run directory.
    pub policy: PathBuf,
    /// The plant: a ready plant's name or a plant file.
    #[arg(long)]
    pub plant: String,
    /// The board.
    #[arg(long)]
    pub board: String,
    /// How frames travel in QEMU [default: semihosting; uart with faults that reset the device].
    #[arg(long, value_enum, conflicts_with = "port")]
    pub link: Option<LinkKind>,
    /// Drive the device behind this serial port, which runs POLICY, in place of one in QEMU.
    #[arg(long, value_name = "DEV")]
    pub port: Option<PathBuf>,
    /// Bits per second of the port.
    #[arg(long, default_value_t = BAUD, requires = "port")]
    pub baud: u32,
    /// Faults to put into the episodes, such as drop=0.01,nan:3@40,reset@1/55,seed=5; docs/faults.md has the grammar.
    #[arg(long, value_name = "SPEC", conflicts_with_all = ["hostile", "stamp"])]
    pub faults: Option<String>,
    /// Number of episodes.
    #[arg(long, default_value_t = 16)]
    pub episodes: u64,
    /// Steps per episode [default: the plant's horizon].
    #[arg(long)]
    pub steps: Option<u64>,
    /// Hostile inputs behind the episodes: visited states, states beside thresholds, raw bit patterns. None with --faults.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub hostile: u64,
    /// Write the policy to this file with the budget that the run measured on the board's core.
    #[arg(long, value_name = "FILE")]
    pub stamp: Option<PathBuf>,
    /// Seed of initial states and noise.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Longest wait for one answer of the device.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub timeout: f64,
    /// Write one line per step to this CSV file.
    #[arg(long, value_name = "CSV")]
    pub log: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Hostile inputs behind a figure that is to hold for all.
const LEAST_TO_STAMP: u64 = 1000;

/// Runs `hpo hil`.
///
/// # Errors
/// [`Error::Negative`] if the device refuses the policy or an action differs, [`Error::Usage`] or
/// [`Error::Io`] for bad arguments and files, [`Error::Environment`] if the emulator fails.
pub fn run(args: &HilArgs) -> Result<()> {
    let board = board::find(&args.board)?;
    let model = load_plant(&args.plant, &[])?;
    let policy = super::train::read_policy(&args.policy)?;
    let timeout = seconds(args.timeout)?;
    // The states of a few episodes take fewer instructions than others: a budget made of them would be passed.
    if args.stamp.is_some() && args.hostile < LEAST_TO_STAMP {
        return Err(Error::Usage(format!(
            "--stamp: found --hostile {}; allowed: {LEAST_TO_STAMP} hostile inputs or more, which find the longest step",
            args.hostile
        )));
    }
    let faults = args.faults.as_deref().map(str::parse::<FaultSpec>);
    let faults = faults.transpose()?;
    let stub = faults.as_ref().is_some_and(FaultSpec::needs_stub);
    let config = HilConfig {
        board,
        link: args.link.unwrap_or(if stub {
            LinkKind::Uart
        } else {
            LinkKind::Semihosting
        }),
        episodes: args.episodes,
        hostile: if faults.is_some() { 0 } else { args.hostile },
        faults,
        steps: args.steps.unwrap_or(model.horizon() as u64),
        target_class: model.target_class(),
        timeout,
        elf: None,
    };
    let mut log = match &args.log {
        Some(path) => Some(Log::create(path)?),
        None => None,
    };
    let mut plant = PlantLoop::new(&model, args.seed);
    let mut observe = |record: &StepRecord<'_>| {
        if let Some(log) = &mut log {
            log.write(record);
        }
    };
    let progress = &super::output::show_progress;
    let report = match &args.port {
        None => run_hil(&config, policy.bytes(), &mut plant, &mut observe, progress)?,
        Some(path) => {
            let port = Port::open(path, args.baud, timeout)?;
            run_hil_over(
                &config,
                port,
                policy.bytes(),
                &mut plant,
                &mut observe,
                progress,
            )?
        }
    };
    if let Some(log) = log {
        log.close()?;
    }
    if args.json {
        super::output::print_json(&report)?;
    } else {
        print(&report);
    }
    report.verdict()?;
    match &args.stamp {
        Some(path) => stamp(path, policy.bytes(), board, &report),
        None => Ok(()),
    }
}

/// The time limit of an option `--timeout`.
pub(super) fn seconds(timeout: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(timeout)
        .ok()
        .filter(|timeout| !timeout.is_zero() && timeout.as_secs() <= 86_400)
        .ok_or_else(|| {
            Error::Usage(format!(
                "timeout: found {timeout}; allowed: more than 0 seconds, up to a day (86400)"
            ))
        })
}

/// Writes `policy` to `path` with what the run needed as its budget for the board's class of cores; records
/// of other classes stay.
fn stamp(path: &Path, policy: &[u8], board: &Board, report: &HilReport) -> Result<()> {
    let instructions = report
        .most_instructions()
        .and_then(|most| u32::try_from(most).ok())
        .filter(|&most| most > 0 && report.stack_bytes > 0)
        .ok_or_else(|| {
            Error::Usage(
                "--stamp: found a run without instruction counts; allowed: --link semihosting"
                    .into(),
            )
        })?;
    let bad = |error: EncodeError| Error::input(path, "policy", error, "a policy the device armed");
    let class = board.core.class() as u32;
    let mut needs: Vec<Need> = RawPolicy::parse(policy)
        .and_then(|raw| raw.validate(&Capacity::FORMAT))
        .map_err(|error| bad(error.into()))?
        .budget()
        .map(|budget| budget.needs().filter(|need| need.core != class).collect())
        .unwrap_or_default();
    needs.push(Need {
        core: class,
        instructions,
        stack_bytes: report.stack_bytes,
    });
    needs.sort_by_key(|need| need.core);
    let needed = match with_budget(policy, &needs, &mut []) {
        Err(EncodeError::BufferTooSmall { needed, .. }) => needed,
        Err(error) => return Err(bad(error)),
        Ok(length) => length,
    };
    let mut stamped = PolicyBuffer::zeroed(needed);
    let length = with_budget(policy, &needs, stamped.bytes_mut()).map_err(bad)?;
    write_atomically(path, &stamped.bytes()[..length])
}

fn print(report: &HilReport) {
    match &report.port {
        Some(port) => println!("board         {} behind {}", report.board, port.display()),
        None => println!("board         {} over {}", report.board, report.link.name()),
    }
    if let Some(fault) = &report.boot_fault {
        println!("boot          {fault}");
    }
    println!(
        "steps         {} in {} episodes, {:.0} per second",
        report.steps, report.episodes, report.steps_per_second
    );
    println!(
        "bit-exact     {} ({} actions differ)",
        if report.bit_exact { "yes" } else { "no" },
        report.mismatches
    );
    if let Some(cost) = report.mean_cost {
        println!("mean cost     {cost:.6}");
    }
    if let Some(count) = &report.instructions {
        println!(
            "instructions  {} to {} per step, mean {:.1}",
            count.min, count.max, count.mean
        );
    }
    if let Some(hostile) = &report.hostile {
        println!(
            "hostile       {} inputs, {} reached the network, {} differ, {} not admissible, {} faults missed",
            hostile.inputs,
            hostile.reached_network,
            hostile.mismatches,
            hostile.inadmissible,
            hostile.missed_faults
        );
        if let Some(count) = &hostile.instructions {
            println!(
                "              {} to {} instructions per step, mean {:.1}",
                count.min, count.max, count.mean
            );
        }
    }
    if let Some(faults) = &report.faults {
        print_faults(report, faults);
    }
    match (report.flash_bytes, report.ram_bytes) {
        (Some(flash), Some(ram)) => println!(
            "memory        flash {flash} B, RAM {ram} B, stack {} B, without the policy",
            report.stack_bytes
        ),
        _ => println!("memory        stack {} B", report.stack_bytes),
    }
    let budget = &report.budget;
    println!(
        "budget        flash {} B, RAM {} B, stack {} B, {} instructions per step",
        budget.flash_bytes, budget.ram_bytes, budget.stack_bytes, budget.instructions
    );
}

/// Lines about faults, of which a run by rates may have very many.
const FAULT_LINES: usize = 40;

fn print_faults(report: &HilReport, faults: &FaultReport) {
    let kinds: Vec<_> = faults
        .injected
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    println!(
        "faults        {} injected ({}), {} survived",
        report.faults_injected,
        kinds.join(", "),
        report.faults_survived
    );
    println!(
        "periods       {} without an action, {} by the fallback law or the safe constant",
        faults.lost_periods, faults.fallback_periods
    );
    println!(
        "replies       {}, of them {} frame errors; {} stray and {} damaged on the host; {} wrong actions taken",
        faults.replies,
        faults.frame_errors,
        faults.stray_replies,
        faults.bad_replies,
        faults.wrong_actions
    );
    if faults.deviating_actions > 0 {
        println!(
            "rot           {} admissible actions that were not those of the policy as it was",
            faults.deviating_actions
        );
    }
    for line in &faults.installations {
        println!("installation  {line}");
    }
    for event in faults.events.iter().take(FAULT_LINES) {
        let named = match event.faults.as_slice() {
            [] => "no fault named".to_owned(),
            names => names.join(", "),
        };
        let end = match (&event.failure, event.recovered_after) {
            (Some(failure), _) => format!("not survived: {failure}"),
            (None, Some(periods)) => format!("back after {periods}"),
            (None, None) => "not back".to_owned(),
        };
        println!(
            "  {}/{} {}: {} x {}; {named}; {} fallback, {} lost; {end}",
            event.episode,
            event.step,
            event.rule,
            event.injected,
            event.what,
            event.fallback_periods,
            event.lost_periods
        );
    }
    if let Some(more @ 1..) = faults.events.len().checked_sub(FAULT_LINES) {
        println!("  and {more} more; all of them in --json");
    }
}

/// The CSV file of a run; remembers the first failure until it is closed.
struct Log {
    path: PathBuf,
    file: BufWriter<File>,
    headed: bool,
    outcome: std::io::Result<()>,
}

impl Log {
    fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|e| Error::io(path, "cannot create", e))?;
        Ok(Self {
            path: path.to_path_buf(),
            file: BufWriter::new(file),
            headed: false,
            outcome: Ok(()),
        })
    }

    fn write(&mut self, record: &StepRecord<'_>) {
        if self.outcome.is_ok() {
            self.outcome = self.try_write(record);
        }
    }

    fn try_write(&mut self, record: &StepRecord<'_>) -> std::io::Result<()> {
        let action = record.action;
        if !self.headed {
            self.headed = true;
            write!(
                self.file,
                "episode,step,mode,choice,fault,instructions,cost"
            )?;
            for i in 0..record.measured.len() {
                write!(self.file, ",x{i}")?;
            }
            for i in 0..action.control.len() {
                write!(self.file, ",u{i}")?;
            }
            writeln!(self.file)?;
        }
        write!(
            self.file,
            "{},{},{},{},{},",
            record.episode, record.step, action.mode, action.choice, action.fault
        )?;
        // An empty field where instructions are not counted.
        if let Some(count) = record.instructions {
            write!(self.file, "{count}")?;
        }
        write!(self.file, ",{}", record.cost)?;
        for value in record.measured.iter().chain(&action.control) {
            write!(self.file, ",{value}")?;
        }
        writeln!(self.file)
    }

    fn close(mut self) -> Result<()> {
        self.outcome
            .and_then(|()| self.file.flush())
            .map_err(|e| Error::io(&self.path, "cannot write", e))
    }
}
