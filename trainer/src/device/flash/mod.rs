//! Getting a policy into a board's slot: checked before, read back after.
//!
//! Real boards are written by the `probe-rs` command line ([`probe`]), emulated ones through QEMU's debug stub ([`emulated`]).
//! In both ways nothing is written before the policy has passed the boot's own checks on the host and the board has said which
//! firmware is on it ([`identity`]); the slot is read back and compared with the bytes that were checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use firmware::{Offer, PublicKey, SCRATCH_LEN, boot_on};
use policy_format::{Capacity, RawPolicy};
use serde::Serialize;

use super::board::Board;
use super::budget::Budget;
use super::build::{Variant, build_variant, firmware_path};
use super::image::Image;
use crate::export::PolicyBuffer;
use crate::{Error, Result};

pub mod emulated;
pub mod identity;
pub mod probe;

/// What to flash.
#[derive(Clone, Debug)]
pub struct FlashConfig {
    /// The board.
    pub board: &'static Board,
    /// The policy's file.
    pub policy: PathBuf,
    /// Plant and actuator set of the board's firmware; the policy's own if none is given.
    pub target_class: Option<u32>,
    /// Write the firmware as well.
    pub firmware: bool,
    /// Public keys of the firmware that is written or started: it runs signed policies only. Empty: it runs any.
    pub keys: Vec<PublicKey>,
    /// Which debug probe, as probe-rs names it (`VID:PID` or `VID:PID:SERIAL`); needed where there are several.
    pub probe: Option<String>,
    /// Debug stub of a running QEMU, `HOST:PORT`; without one a QEMU is started, and ends with the command.
    pub gdb: Option<String>,
    /// Say what would be done and do nothing.
    pub dry_run: bool,
    /// Longest wait for one answer of emulator, stub or probe-rs.
    pub timeout: Duration,
}

/// What was done. Serialised by `hpo flash --json`; the keys are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlashReport {
    /// The board's name.
    pub board: String,
    /// What wrote: `probe-rs` or `gdb`.
    pub tool: &'static str,
    /// Plant and actuator set of policy and firmware.
    pub target_class: u32,
    /// Address of the slot.
    pub address: u64,
    /// Bytes of the policy.
    pub bytes: usize,
    /// CRC-32 in the policy's header.
    pub policy_crc32: u32,
    /// Whether the firmware was written as well.
    pub firmware: bool,
    /// Nothing was done, only said.
    pub dry_run: bool,
    /// The slot was read back and holds the policy.
    pub verified: bool,
    /// The firmware greeted and runs the policy; null where nobody asked it: a real board, or a QEMU of somebody else's.
    pub booted: Option<bool>,
    /// The steps, in order; those of probe-rs are commands for a shell.
    pub steps: Vec<String>,
}

/// A policy that the board will run, by all that the host can know.
#[derive(Clone)]
pub struct Admitted {
    /// Its bytes.
    pub policy: PolicyBuffer,
    /// Plant and actuator set.
    pub target_class: u32,
    /// CRC-32 in its header.
    pub crc32: u32,
}

/// Reads the policy in `path` and puts it through the boot of `board` on the host.
///
/// # Errors
/// [`Error::Io`] if it cannot be read; [`Error::Input`] if it is no policy, was made for another target class, does not fit
/// the slot, or would be refused by the board's boot, with the fault's name.
pub fn admit(path: &Path, board: &Board, target_class: Option<u32>) -> Result<Admitted> {
    let policy = std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
    admit_bytes(path, &policy, board, target_class)
}

/// As [`admit`], for the bytes of a policy; `path` names them in messages.
///
/// # Errors
/// As [`admit`].
pub fn admit_bytes(
    path: &Path,
    policy: &[u8],
    board: &Board,
    target_class: Option<u32>,
) -> Result<Admitted> {
    let policy = PolicyBuffer::new(policy);
    let (crc32, class) = {
        let parsed = RawPolicy::parse(policy.bytes())
            .and_then(|raw| raw.validate(&Capacity::FORMAT))
            .map_err(|error| Error::input(path, error.name(), error, "a valid policy"))?;
        (parsed.crc32(), parsed.target_class())
    };
    if let Some(wanted) = target_class.filter(|&wanted| wanted != class) {
        return Err(Error::input(
            path,
            "target_class",
            class,
            wanted.to_string(),
        ));
    }
    if policy.bytes().len() > board.slot_bytes {
        return Err(Error::input(
            path,
            "length",
            format!("{} bytes", policy.bytes().len()),
            format!("at most {}, the slot of {}", board.slot_bytes, board.name),
        ));
    }
    let budget = Budget::of(board)?;
    let offer = Offer {
        core: board.core.class(),
        instructions: u32::try_from(budget.instructions).unwrap_or(u32::MAX),
        // The boot on the device compares it with its real stack, which only the linker knows.
        stack_bytes: u32::MAX,
    };
    let mut scratch = Box::new([0.0; SCRATCH_LEN]);
    boot_on(&offer, policy.bytes(), class, &mut scratch).map_err(|fault| {
        Error::input(
            path,
            "boot",
            fault,
            format!("a policy that {} arms", board.name),
        )
    })?;
    Ok(Admitted {
        policy,
        target_class: class,
        crc32,
    })
}

/// Flashes as `config` says. `progress` gets one line before each slow step.
///
/// # Errors
/// As [`admit`]; [`Error::Usage`] for an option that does not go with the board, or where the board holds the firmware of
/// another board or class, one with two slots or one that does not trust the policy's signature, and then nothing is written;
/// [`Error::Environment`] if a tool is missing, fails or does not
/// answer; [`Error::Negative`] if the slot does not read back as written, or the device refuses the policy.
pub fn flash(config: &FlashConfig, progress: &dyn Fn(&str)) -> Result<FlashReport> {
    let board = config.board;
    let path = std::path::absolute(&config.policy)
        .map_err(|e| Error::io(&config.policy, "cannot find", e))?;
    let refused = match board.probe {
        Some(_) => config.gdb.as_ref().map(|_| ("--gdb", "a real board")),
        None => config
            .probe
            .as_ref()
            .map(|_| ("--probe", "an emulated board")),
    };
    if let Some((option, what)) = refused {
        return Err(Error::Usage(format!(
            "{option}: found {}, {what}; allowed: --probe with a real board, --gdb with an emulated one",
            board.name
        )));
    }
    let admitted = admit(&path, board, config.target_class)?;
    let mut report = FlashReport {
        board: board.name.to_owned(),
        tool: if board.probe.is_some() {
            "probe-rs"
        } else {
            "gdb"
        },
        target_class: admitted.target_class,
        address: board.policy_address,
        bytes: admitted.policy.bytes().len(),
        policy_crc32: admitted.crc32,
        firmware: config.firmware,
        dry_run: config.dry_run,
        verified: false,
        booted: None,
        steps: Vec::new(),
    };
    // A QEMU that is started here runs the board's firmware in any case.
    let needs_elf = config.firmware || (board.emulator.is_some() && config.gdb.is_none());
    if !config.keys.is_empty() {
        if !needs_elf {
            return Err(Error::Usage(
                "--keys: found no firmware to write; allowed: with --firmware, or where a QEMU is started".into(),
            ));
        }
        identity::check_signature(&admitted.policy, Some(&config.keys), "that firmware")?;
    }
    let (class, variant) = (
        admitted.target_class,
        Variant {
            keys: config.keys.clone(),
            ..Variant::for_policy(admitted.policy.bytes())
        },
    );
    let elf = match (needs_elf, config.dry_run) {
        (false, _) => None,
        (true, true) => Some(firmware_path(board, class, &variant)?),
        (true, false) => Some(build_variant(board, class, &variant, progress)?.elf),
    };
    match board.probe {
        Some(chip) => {
            let firmware = elf.as_deref().filter(|_| config.firmware);
            let calls = probe::calls(config, &chip, &path, report.bytes, firmware);
            report.steps = calls.iter().map(probe::Call::line).collect();
            if !config.dry_run {
                probe::run(&calls, config, &admitted, progress)?;
                report.verified = true;
            }
        }
        None => emulated::run(config, &admitted, elf.as_deref(), &mut report, progress)?,
    }
    Ok(report)
}

/// What is written: the policy with all that belongs to it and, where asked for, the firmware.
fn image(config: &FlashConfig, admitted: &Admitted, elf: Option<&Path>) -> Result<Image> {
    let image = Image::of_policy(config.board, admitted.policy.bytes())?;
    match elf.filter(|_| config.firmware) {
        Some(elf) => image.with_firmware(elf),
        None => Ok(image),
    }
}

/// `Ok` if what was read back at `address` is what was written.
fn compare(address: u64, written: &[u8], found: &[u8]) -> Result<()> {
    let differs = written.iter().zip(found).position(|(a, b)| a != b);
    let at = match differs {
        Some(at) => at,
        None if written.len() == found.len() => return Ok(()),
        None => written.len().min(found.len()),
    };
    let show = |bytes: &[u8]| {
        bytes
            .get(at)
            .map_or("nothing".into(), |b| format!("{b:#04x}"))
    };
    Err(Error::Negative(format!(
        "read back at {:#010x}: found {}, written {}; the slot does not hold the policy, and the board's boot will refuse what \
         it holds",
        address + at as u64,
        show(found),
        show(written)
    )))
}

#[cfg(test)]
mod tests;
