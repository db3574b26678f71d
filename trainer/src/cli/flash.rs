//! `hpo flash`: a policy into a board's slot.

use std::path::{Path, PathBuf};

use clap::Args;

use super::hil::seconds;
use crate::device::board;
use crate::device::flash::{FlashConfig, FlashReport, flash};
use crate::export::signing::read_public;
use crate::{Error, Result};

/// Write a policy into a board's slot, read it back and compare.
///
/// Real boards are written by the program probe-rs, emulated ones through QEMU's debug stub. The policy passes the
/// board's own boot on the host first; a board with the firmware of another board or class is left as it is.
#[derive(Args, Clone, Debug)]
pub struct FlashArgs {
    /// A policy file or a run directory.
    pub policy: PathBuf,
    /// The board.
    #[arg(long)]
    pub board: String,
    /// Write the board's firmware as well, built for the policy's target class.
    #[arg(long)]
    pub firmware: bool,
    /// File of a public key (`hpo keygen`) for the firmware that is written or started: it runs policies that one of the keys has
    /// signed, and no others. May be given several times.
    #[arg(long, value_name = "FILE")]
    pub keys: Vec<PathBuf>,
    /// Target class (plant and actuator set) that the policy must have.
    #[arg(long, value_name = "ID")]
    pub target_class: Option<u32>,
    /// Print the steps and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Debug probe for a real board, where there are several: VID:PID or VID:PID:SERIAL.
    #[arg(long, value_name = "PROBE")]
    pub probe: Option<String>,
    /// Debug stub of a running QEMU for an emulated board [default: start a QEMU, flash it, boot it, end it].
    #[arg(long, value_name = "HOST:PORT")]
    pub gdb: Option<String>,
    /// Longest wait for one step.
    #[arg(long, default_value_t = 120.0, value_name = "SECONDS")]
    pub timeout: f64,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Runs `hpo flash`.
///
/// # Errors
/// As [`flash()`]; [`Error::Usage`] for a board or time limit that does not exist.
pub fn run(args: &FlashArgs) -> Result<()> {
    let config = FlashConfig {
        board: board::find(&args.board)?,
        policy: policy_file(&args.policy)?,
        target_class: args.target_class,
        firmware: args.firmware,
        keys: args
            .keys
            .iter()
            .map(|path| read_public(path))
            .collect::<Result<_>>()?,
        probe: args.probe.clone(),
        gdb: args.gdb.clone(),
        dry_run: args.dry_run,
        timeout: seconds(args.timeout)?,
    };
    let report = flash(&config, &super::output::show_progress)?;
    if args.json {
        return super::output::print_json(&report);
    }
    print(&report);
    Ok(())
}

/// The file of a policy: itself, or the one in a run directory.
pub(super) fn policy_file(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let inside = path.join("policy.hpo");
    if inside.is_file() {
        return Ok(inside);
    }
    Err(Error::Usage(format!(
        "{}: found a folder without policy.hpo; allowed: a policy file or a run directory",
        path.display()
    )))
}

fn print(report: &FlashReport) {
    if report.dry_run {
        for step in &report.steps {
            println!("{step}");
        }
        return;
    }
    println!("board    {} by {}", report.board, report.tool);
    println!(
        "slot     {} bytes at {:#010x}, CRC-32 {:08x}, class {}",
        report.bytes, report.address, report.policy_crc32, report.target_class
    );
    if report.firmware {
        println!("firmware written");
    }
    println!("verified read back, every byte is the policy's");
    if report.booted == Some(true) {
        println!("boot     the firmware greeted and runs the policy");
    }
}
