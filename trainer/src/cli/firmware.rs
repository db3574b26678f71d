//! `hpo firmware`: builds a board's firmware, or that of all boards, and shows its sizes.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::Result;
use crate::device::board::{self, BOARDS, Board};
use crate::device::budget::{self, Budget, Over};
use crate::device::build::{Firmware, Sizes, Variant, build_variant};
use crate::export::signing::read_public;

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
    budget: Budget,
    over_budget: Vec<Over>,
}

/// What `hpo firmware all --json` prints.
#[derive(Serialize)]
struct All {
    boards: Vec<Report>,
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
            budget,
            over_budget,
        })
    }

    fn verdict(&self) -> Result<()> {
        budget::verdict(&self.firmware.board, &self.over_budget)
    }
}

/// Runs `hpo firmware`.
///
/// # Errors
/// [`crate::Error::Usage`] for an unknown board, [`crate::Error::Negative`] for flash or RAM beyond the board's
/// budget, else as [`build_variant`].
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
    if args.board == "all" {
        return all(args, &variant);
    }
    let board = board::find(&args.board)?;
    let report = Report::build(board, args.target_class, &variant)?;
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
    println!("ELF     {}", firmware.elf.display());
    report.verdict()
}

/// Builds every board of the table.
fn all(args: &FirmwareArgs, variant: &Variant) -> Result<()> {
    let boards = BOARDS
        .iter()
        .map(|board| Report::build(board, args.target_class, variant))
        .collect::<Result<Vec<_>>>()?;
    if args.json {
        let all = All { boards };
        super::output::print_json(&all)?;
        return all.boards.iter().try_for_each(Report::verdict);
    }
    println!("{:<14} {:>8} {:>8}  description", "board", "flash", "RAM");
    for (board, report) in BOARDS.iter().zip(&boards) {
        let sizes = &report.firmware.sizes;
        println!(
            "{:<14} {:>8} {:>8}  {}",
            board.name, sizes.flash_bytes, sizes.ram_bytes, board.description
        );
    }
    boards.iter().try_for_each(Report::verdict)
}
