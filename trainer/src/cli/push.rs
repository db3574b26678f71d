//! `hpo push`: a policy into the slot of a running device.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use policy_format::{Capacity, RawPolicy};

use super::flash::policy_file;
use super::hil::seconds;
use crate::device::port::{BAUD, Port};
use crate::device::push::{PushOptions, PushReport, prepare, push};
use crate::device::session::Session;
use crate::export::PolicyBuffer;
use crate::{Error, Result};

/// How long a device has for its greeting.
const GREETING: Duration = Duration::from_secs(10);

/// Install a policy beside the one that runs, over the link of a running device.
///
/// It goes to the slot that is not confirmed; the next start tries it, and confirms or reverts it. A push that was interrupted goes on
/// when the same policy is pushed again. Whatever is refused, what runs is untouched.
#[derive(Args, Clone, Debug)]
pub struct PushArgs {
    /// A policy file or a run directory.
    #[arg(required_unless_present = "prepare")]
    pub policy: Option<PathBuf>,
    /// The serial port of the device.
    #[arg(long, value_name = "DEV")]
    pub port: PathBuf,
    /// Bits per second of the port.
    #[arg(long, default_value_t = BAUD)]
    pub baud: u32,
    /// Disarm the loop while the slot is erased, where the part stands still meanwhile; it is armed again before the bytes are sent.
    #[arg(long)]
    pub disarm: bool,
    /// Let the device start anew at the end, so that it tries the policy.
    #[arg(long)]
    pub restart: bool,
    /// Only erase the slot, so that a later push needs no --disarm.
    #[arg(long, conflicts_with_all = ["policy", "restart"])]
    pub prepare: bool,
    /// Longest wait for one answer; erasing takes some parts many seconds.
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    pub timeout: f64,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Runs `hpo push`.
///
/// # Errors
/// As [`Port::open`], [`Session::join`] and [`push()`]; [`Error::Input`] for a file that is no policy.
pub fn run(args: &PushArgs) -> Result<()> {
    let options = PushOptions {
        disarm: args.disarm,
        restart: args.restart,
        patience: seconds(args.timeout)?,
    };
    // Read before the port is touched.
    let policy = match &args.policy {
        Some(path) => Some(read(&policy_file(path)?)?),
        None => None,
    };
    let port = Port::open(&args.port, args.baud, options.patience)?;
    let mut session = Session::join(port, GREETING)?;
    let Some(policy) = policy else {
        prepare(&mut session, options)?;
        println!("prepared   the slot that is not confirmed is erased");
        return Ok(());
    };
    let mut bar = Bar::new();
    let pushed = push(&mut session, policy.bytes(), options, &mut |done, all| {
        bar.show(done, all);
    });
    bar.end();
    let report = pushed?;
    if args.json {
        return super::output::print_json(&report);
    }
    print(&report);
    Ok(())
}

/// A policy by its structure; golden vectors and signature are the device's to judge.
fn read(path: &Path) -> Result<PolicyBuffer> {
    let policy = PolicyBuffer::read(path)?;
    RawPolicy::parse(policy.bytes())
        .and_then(|raw| raw.validate(&Capacity::FORMAT).map(drop))
        .map_err(|error| Error::input(path, error.name(), error, "a valid policy"))?;
    Ok(policy)
}

fn print(report: &PushReport) {
    let crc32 = report.policy_crc32;
    if report.already {
        println!("there      the device has this policy already, CRC-32 {crc32:08x}");
    } else {
        println!(
            "pushed     {} bytes, {} sent now, {} in place before, CRC-32 {crc32:08x}",
            report.bytes, report.sent, report.resumed_at
        );
        println!("checked    by the device as at a boot");
    }
    if report.disarmed {
        println!("disarmed   for a while, and armed again");
    }
    if report.restarted {
        println!("restarted  the policy is on trial if it was not confirmed before");
    } else if !report.already {
        println!("waits      for the next start of the device (--restart)");
    }
}

/// Progress on a terminal; nothing where standard error is none.
struct Bar {
    shown: Option<u32>,
    terminal: bool,
}

impl Bar {
    fn new() -> Self {
        Self {
            shown: None,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, done: u32, all: u32) {
        let percent = (u64::from(done) * 100 / u64::from(all.max(1))) as u32;
        if !self.terminal || self.shown == Some(percent) {
            return;
        }
        self.shown = Some(percent);
        // A terminal that is gone wants no progress.
        let _ = write!(std::io::stderr(), "\r{done} of {all} bytes ({percent} %)");
    }

    fn end(&self) {
        if self.shown.is_some() {
            let _ = writeln!(std::io::stderr());
        }
    }
}
