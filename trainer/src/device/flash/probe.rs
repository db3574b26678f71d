//! Flashing by the `probe-rs` command line, version 0.29 or newer (`read --output --format binary`).
//!
//! Its library would do the same in this process, at the price of a hundred crates in every build; the command is what the
//! engineer at the desk has and can repeat by hand.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::board::Probe;
use super::{Admitted, FlashConfig, compare, identity};
use crate::{Error, Result};

/// The program.
pub const PROBE_RS: &str = "probe-rs";
/// Where it can be had from.
const ADVICE: &str = "install it with `cargo install probe-rs-tools --locked` or from https://probe.rs/docs/getting-started/installation";
/// File that memory is read to, in a folder of the command's own.
const READ_BACK: &str = "read-back.bin";

/// One call of probe-rs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    purpose: Purpose,
    arguments: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    WriteFirmware,
    ReadIdentity,
    WritePolicy,
    ReadPolicy,
    Reset,
}

impl Call {
    /// The command for a shell.
    #[must_use]
    pub fn line(&self) -> String {
        let words = self.arguments.iter().map(|word| quoted(word));
        std::iter::once(PROBE_RS.to_owned())
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The calls that flash the `bytes` of the policy in `path`, and the firmware `elf` before them if there is one.
pub(super) fn calls(
    config: &FlashConfig,
    chip: &Probe,
    path: &Path,
    bytes: usize,
    elf: Option<&Path>,
) -> Vec<Call> {
    let slot = config.board.policy_address;
    let call = |purpose, command: &str, rest: &[&str]| {
        let mut arguments = vec![command, "--non-interactive", "--chip", chip.chip];
        if let Some(probe) = &config.probe {
            arguments.extend(["--probe", probe]);
        }
        arguments.extend(rest);
        Call {
            purpose,
            arguments: arguments.into_iter().map(str::to_owned).collect(),
        }
    };
    let download = ["--disable-progressbars", "--verify", "--binary-format"];
    let read = |purpose, address: u64, bytes: usize| {
        // Policies and the record are multiples of 16 bytes.
        let (address, words) = (format!("{address:#010x}"), (bytes / 4).to_string());
        let rest = [
            "--output", READ_BACK, "--format", "binary", "b32", &address, &words,
        ];
        call(purpose, "read", &rest)
    };
    let first = match elf {
        Some(elf) => {
            let elf = elf.display().to_string();
            let rest = [&download[..], &["elf", &elf]].concat();
            call(Purpose::WriteFirmware, "download", &rest)
        }
        None => read(
            Purpose::ReadIdentity,
            identity::address(config.board),
            identity::IDENTITY_LEN,
        ),
    };
    let (base, path) = (format!("{slot:#010x}"), path.display().to_string());
    let rest = [&download[..], &["bin", "--base-address", &base, &path]].concat();
    vec![
        first,
        call(Purpose::WritePolicy, "download", &rest),
        // Before the reading, which lets the core run on: not with a policy that changed under its firmware.
        call(Purpose::Reset, "reset", &[]),
        read(Purpose::ReadPolicy, slot, bytes),
    ]
}

/// Makes the calls, and checks what they read.
pub(super) fn run(
    calls: &[Call],
    config: &FlashConfig,
    admitted: &Admitted,
    progress: &dyn Fn(&str),
) -> Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("hpo-flash-")
        .tempdir()
        .map_err(|e| Error::io(std::env::temp_dir(), "cannot make a folder in", e))?;
    let read_back = folder.path().join(READ_BACK);
    let take = || {
        let bytes =
            std::fs::read(&read_back).map_err(|e| Error::io(&read_back, "cannot read", e))?;
        // What the next call does not write shall not be mistaken for its own.
        std::fs::remove_file(&read_back).map_err(|e| Error::io(&read_back, "cannot remove", e))?;
        Ok::<_, Error>(bytes)
    };
    for call in calls {
        progress(&call.line());
        make(call, folder.path(), config.timeout)?;
        match call.purpose {
            Purpose::ReadIdentity => {
                identity::check(&take()?, config.board, &admitted.policy)?;
            }
            Purpose::ReadPolicy => {
                compare(
                    config.board.policy_address,
                    admitted.policy.bytes(),
                    &take()?,
                )?;
            }
            Purpose::WriteFirmware | Purpose::WritePolicy | Purpose::Reset => {}
        }
    }
    Ok(())
}

/// Runs one call to its end, at most for `timeout`.
fn make(call: &Call, folder: &Path, timeout: Duration) -> Result<()> {
    let words = folder.join("words");
    let file = File::create(&words).map_err(|e| Error::io(&words, "cannot create", e))?;
    let copy = file
        .try_clone()
        .map_err(|e| Error::io(&words, "cannot open", e))?;
    let mut child = Command::new(PROBE_RS)
        .args(&call.arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(copy)
        .spawn()
        .map_err(|error| {
            Error::Environment(if error.kind() == ErrorKind::NotFound {
                format!("{PROBE_RS} is not on the path; {ADVICE}")
            } else {
                format!("cannot start {PROBE_RS}: {error}")
            })
        })?;
    let deadline = Instant::now() + timeout;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => break None,
            Err(e) => {
                return Err(Error::Environment(format!(
                    "cannot wait for {PROBE_RS}: {e}"
                )));
            }
        }
    };
    if status.is_some_and(|status| status.success()) {
        return Ok(());
    }
    // Ours, and waited for at once; both fail only where it has ended.
    let _ = child.kill();
    let _ = child.wait();
    let said = std::fs::read(&words).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    let ended = status.map_or_else(
        || format!("did not end within {} s", timeout.as_secs_f64()),
        |status| format!("ended with {status}"),
    );
    let advice = if said.to_lowercase().contains("probe") && said.to_lowercase().contains("found") {
        "; connect a debug probe (SWD) and see `probe-rs list`; on Linux it needs udev rules: https://probe.rs/docs/getting-started/probe-setup"
    } else {
        ""
    };
    Err(Error::Environment(format!(
        "`{}` {ended}{}{said}{advice}",
        call.line(),
        if said.is_empty() { "" } else { "; it said: " }
    )))
}
