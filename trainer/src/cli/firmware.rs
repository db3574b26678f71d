//! `hpo firmware`: builds a board's firmware, or that of all boards, and shows its sizes.

use std::path::PathBuf;

use clap::Args;
use policy_format::{Capacity, RawPolicy};
use serde::Serialize;

use crate::device::board::{self, BOARDS, Board};
use crate::device::budget::{self, Budget, Over};
use crate::device::build::{Firmware, Sizes, Variant, build_variant};
use crate::device::measure::{Measured, measure, standard_policy};
use crate::export::PolicyBuffer;
use crate::export::signing::read_public;
use crate::{Error, Result};

/// Build a board's firmware and show its sizes.
#[derive(Args, Clone, Debug)]
pub struct FirmwareArgs {
    /// The board, or `all`.
    pub board: String,
    /// Target class (plant and actuator set) to build for.
    #[arg(long, default_value_t = 0, value_name = "ID")]
    pub target_class: u32,
    /// File of a public key (`hpo keygen`): the firmware runs policies that one of the keys has signed, and no others. May be
    /// given several times.
    #[arg(long, value_name = "FILE")]
    pub keys: Vec<PathBuf>,
    /// Two policy slots with trial, confirmation and revert; on real boards.
    #[arg(long)]
    pub slots: bool,
    /// Run policies whose control keeps to regions (of plants with jumps) as well; other firmware refuses them.
    #[arg(long)]
    pub regions: bool,
    /// Run it in QEMU with so many hostile inputs: stack and instructions per control step, held against the budget too. With
    /// `all`, the boards that QEMU runs.
    #[arg(long, value_name = "INPUTS", num_args = 0..=1, default_missing_value = "2000", conflicts_with_all = ["keys", "slots"])]
    pub measure: Option<u64>,
    /// The policy to measure with [default: a network 8-16-16-12 with rate limits, mode rules, envelope and supervision].
    #[arg(long, value_name = "FILE", requires = "measure")]
    pub policy: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What `hpo firmware --json` prints about a board.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    firmware: Firmware,
    /// Of the flash, what verifying signatures takes: the difference to the same firmware without; null without keys.
    signature_bytes: Option<i64>,
    /// With `--measure`; null without, and for a board that QEMU does not run.
    measured: Option<Measured>,
    budget: Budget,
    over_budget: Vec<Over>,
}

/// What `hpo firmware all --json` prints.
#[derive(Serialize)]
struct All {
    boards: Vec<Report>,
}

/// What `--measure` asks for.
struct Measurement {
    inputs: u64,
    policy: PolicyBuffer,
}

impl Measurement {
    /// Looked at before anything is built.
    fn of(args: &FirmwareArgs) -> Result<Option<Self>> {
        let Some(inputs) = args.measure else {
            return Ok(None);
        };
        if inputs == 0 {
            return Err(Error::Usage(
                "--measure: found 0; allowed: 1 or more".into(),
            ));
        }
        let policy = match &args.policy {
            Some(path) => {
                let policy = super::train::read_policy(path)?;
                RawPolicy::parse(policy.bytes())
                    .and_then(|raw| raw.validate(&Capacity::FORMAT))
                    .map_err(|error| Error::input(path, error.name(), error, "a valid policy"))?;
                policy
            }
            None if args.target_class != 0 => {
                return Err(Error::Usage(format!(
                    "--measure: found class {}, which the standard policy is not for; allowed: with --policy",
                    args.target_class
                )));
            }
            None => standard_policy()?,
        };
        Ok(Some(Self { inputs, policy }))
    }
}

impl Report {
    fn build(board: &Board, target_class: u32, variant: &Variant) -> Result<Self> {
        let budget = Budget::of_variant(board, variant)?;
        let build = |variant: &Variant| {
            build_variant(board, target_class, variant, &super::output::show_progress)
        };
        let without = if variant.keys.is_empty() {
            None
        } else {
            let without = Variant {
                keys: Vec::new(),
                ..variant.clone()
            };
            Some(build(&without)?.sizes)
        };
        let firmware = build(variant)?;
        let flash = |sizes: &Sizes| sizes.flash_bytes.cast_signed();
        let signature_bytes = without
            .as_ref()
            .map(|without| flash(&firmware.sizes) - flash(without));
        let over_budget = budget.over_memory(&firmware.sizes);
        Ok(Self {
            firmware,
            signature_bytes,
            measured: None,
            budget,
            over_budget,
        })
    }

    /// Measures the firmware, if it is asked for, where QEMU runs the board.
    fn measure(&mut self, board: &'static Board, measurement: Option<&Measurement>) -> Result<()> {
        let Some(Measurement { inputs, policy }) = measurement else {
            return Ok(());
        };
        let (elf, class) = (&self.firmware.elf, self.firmware.target_class);
        let progress = &super::output::show_progress;
        let measured = measure(board, elf, class, policy.bytes(), *inputs, progress)?;
        self.over_budget
            .extend(measured.over_budget.iter().cloned());
        self.measured = Some(measured);
        Ok(())
    }

    fn verdict(&self) -> Result<()> {
        budget::verdict(&self.firmware.board, &self.over_budget)
    }
}

/// Runs `hpo firmware`.
///
/// # Errors
/// [`crate::Error::Usage`] for an unknown board, [`crate::Error::Negative`] for flash or RAM beyond the board's
/// budget, with `--measure` for stack or instructions too, else as [`build_variant`] and [`measure`].
pub fn run(args: &FirmwareArgs) -> Result<()> {
    let variant = Variant {
        keys: args
            .keys
            .iter()
            .map(|path| read_public(path))
            .collect::<Result<_>>()?,
        slots: args.slots,
        regions: args.regions,
    };
    let measurement = Measurement::of(args)?;
    if args.board == "all" {
        return all(args, &variant, measurement.as_ref());
    }
    let board = board::find(&args.board)?;
    let mut report = Report::build(board, args.target_class, &variant)?;
    report.measure(board, measurement.as_ref())?;
    if args.json {
        super::output::print_json(&report)?;
        return report.verdict();
    }
    let (firmware, budget) = (&report.firmware, &report.budget);
    println!("board   {} ({})", board.name, board.description);
    println!("class   {}", firmware.target_class);
    let (flash, ram) = (firmware.sizes.flash_bytes, firmware.sizes.ram_bytes);
    println!(
        "flash   {flash} bytes of {}, without a policy",
        budget.flash_bytes
    );
    if let Some(signature) = report.signature_bytes {
        println!("        {signature} bytes of that to verify signatures");
    }
    println!(
        "RAM     {ram} bytes of {}, without the stack",
        budget.ram_bytes
    );
    if let Some(measured) = &report.measured {
        let (n, m) = measured.policy;
        let count = &measured.instructions;
        println!(
            "stack   {} bytes of {}, as painted and measured",
            measured.stack_bytes, budget.stack_bytes
        );
        println!(
            "step    {} to {} instructions of {} (mean {:.0}), {} hostile inputs to a policy of {n} states and {m} controls",
            count.min, count.max, budget.instructions, count.mean, measured.inputs
        );
    }
    println!("ELF     {}", firmware.elf.display());
    report.verdict()
}

/// Builds every board of the table.
fn all(args: &FirmwareArgs, variant: &Variant, measurement: Option<&Measurement>) -> Result<()> {
    let build = |board: &'static Board| {
        let mut report = Report::build(board, args.target_class, variant)?;
        if board.emulator.is_some() {
            report.measure(board, measurement)?;
        }
        Ok(report)
    };
    let boards = BOARDS.iter().map(build).collect::<Result<Vec<_>>>()?;
    if args.json {
        let all = All { boards };
        super::output::print_json(&all)?;
        return all.boards.iter().try_for_each(Report::verdict);
    }
    let measured = args.measure.is_some();
    let head = if measured {
        format!(" {:>6} {:>26}", "stack", "step (min, mean, max)")
    } else {
        String::new()
    };
    println!(
        "{:<14} {:>8} {:>8}{head}  description",
        "board", "flash", "RAM"
    );
    for (board, report) in BOARDS.iter().zip(&boards) {
        let sizes = &report.firmware.sizes;
        let figures = match &report.measured {
            Some(Measured {
                instructions: count,
                stack_bytes,
                ..
            }) => {
                let step = format!("{} {:.0} {}", count.min, count.mean, count.max);
                format!(" {stack_bytes:>6} {step:>26}")
            }
            None if measured => format!(" {:>6} {:>26}", "-", "-"),
            None => String::new(),
        };
        println!(
            "{:<14} {:>8} {:>8}{figures}  {}",
            board.name, sizes.flash_bytes, sizes.ram_bytes, board.description
        );
    }
    boards.iter().try_for_each(Report::verdict)
}
