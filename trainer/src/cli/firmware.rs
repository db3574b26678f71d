//! `hpo firmware`: builds a board's firmware and shows its sizes.

use clap::Args;

use crate::Result;
use crate::device::board;
use crate::device::build::build_firmware;

/// Build a board's firmware and show its sizes.
#[derive(Args, Clone, Debug)]
pub struct FirmwareArgs {
    /// The board.
    pub board: String,
    /// Target class (plant and actuator set) to build for.
    #[arg(long, default_value_t = 0, value_name = "ID")]
    pub target_class: u32,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Runs `hpo firmware`.
///
/// # Errors
/// [`crate::Error::Usage`] for an unknown board, else as [`build_firmware`].
pub fn run(args: &FirmwareArgs) -> Result<()> {
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
