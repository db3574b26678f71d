//! `hpo firmware`: builds a board's firmware, or that of all boards, and shows its sizes.

use clap::Args;
use serde::Serialize;

use crate::Result;
use crate::device::board::{self, BOARDS, Board};
use crate::device::budget::{self, Budget, Over};
use crate::device::build::{Firmware, Variant, build_variant};

/// Build a board's firmware and show its sizes.
#[derive(Args, Clone, Debug)]
pub struct FirmwareArgs {
    /// The board, or `all`.
    pub board: String,
    /// Target class (plant and actuator set) to build for.
    #[arg(long, default_value_t = 0, value_name = "ID")]
    pub target_class: u32,
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
    budget: Budget,
    over_budget: Vec<Over>,
}

/// What `hpo firmware all --json` prints.
#[derive(Serialize)]
struct All {
    boards: Vec<Report>,
}

impl Report {
    fn build(board: &Board, args: &FirmwareArgs) -> Result<Self> {
        let variant = Variant {
            regions: args.regions,
        };
        let budget = Budget::of_variant(board, variant)?;
        let progress = &super::output::show_progress;
        let firmware = build_variant(board, args.target_class, variant, progress)?;
        let over_budget = budget.over_memory(&firmware.sizes);
        Ok(Self {
            firmware,
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
    if args.board == "all" {
        return all(args);
    }
    let board = board::find(&args.board)?;
    let report = Report::build(board, args)?;
    if args.json {
        super::output::print_json(&report)?;
        return report.verdict();
    }
    let (firmware, budget) = (&report.firmware, &report.budget);
    println!("board   {} ({})", board.name, board.description);
    println!("class   {}", firmware.target_class);
    println!(
        "flash   {} bytes of {}, without a policy",
        firmware.sizes.flash_bytes, budget.flash_bytes
    );
    println!(
        "RAM     {} bytes of {}, without the stack",
        firmware.sizes.ram_bytes, budget.ram_bytes
    );
    println!("ELF     {}", firmware.elf.display());
    report.verdict()
}

/// Builds every board of the table.
fn all(args: &FirmwareArgs) -> Result<()> {
    let boards = BOARDS
        .iter()
        .map(|board| Report::build(board, args))
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
