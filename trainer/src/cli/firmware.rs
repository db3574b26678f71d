//! `hpo firmware`: builds a board's firmware, or that of all boards, and shows its sizes.

use clap::Args;
use serde::Serialize;

use crate::Result;
use crate::device::board::{self, BOARDS};
use crate::device::build::{Firmware, build_firmware};

/// Build a board's firmware and show its sizes.
#[derive(Args, Clone, Debug)]
pub struct FirmwareArgs {
    /// The board, or `all`.
    pub board: String,
    /// Target class (plant and actuator set) to build for.
    #[arg(long, default_value_t = 0, value_name = "ID")]
    pub target_class: u32,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What `hpo firmware all --json` prints.
#[derive(Serialize)]
struct All {
    boards: Vec<Firmware>,
}

/// Runs `hpo firmware`.
///
/// # Errors
/// [`crate::Error::Usage`] for an unknown board, else as [`build_firmware`].
pub fn run(args: &FirmwareArgs) -> Result<()> {
    if args.board == "all" {
        return all(args);
    }
    let board = board::find(&args.board)?;
    let firmware = build_firmware(board, args.target_class, &super::output::show_progress)?;
    if args.json {
        return super::output::print_json(&firmware);
    }
    println!("board   {} ({})", board.name, board.description);
    println!("class   {}", firmware.target_class);
    println!(
        "flash   {} bytes, without a policy",
        firmware.sizes.flash_bytes
    );
    println!(
        "RAM     {} bytes, without the stack",
        firmware.sizes.ram_bytes
    );
    println!("ELF     {}", firmware.elf.display());
    Ok(())
}

/// Builds every board of the table.
fn all(args: &FirmwareArgs) -> Result<()> {
    let boards = BOARDS
        .iter()
        .map(|board| build_firmware(board, args.target_class, &super::output::show_progress))
        .collect::<Result<Vec<_>>>()?;
    if args.json {
        return super::output::print_json(&All { boards });
    }
    println!("{:<14} {:>8} {:>8}  description", "board", "flash", "RAM");
    for (board, firmware) in BOARDS.iter().zip(&boards) {
        println!(
            "{:<14} {:>8} {:>8}  {}",
            board.name, firmware.sizes.flash_bytes, firmware.sizes.ram_bytes, board.description
        );
    }
    Ok(())
}
