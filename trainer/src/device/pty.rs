//! An emulated board whose UART is a pseudo-terminal: a serial port to whoever opens it.

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::qemu::{LinkKind, Qemu, QemuConfig};
use crate::{Error, Result};

/// A running emulator. Dropping it ends the process, which unplugs the port.
#[derive(Debug)]
pub struct PtyBoard {
    child: Child,
    port: PathBuf,
    /// Stays open: the emulator may say more.
    _output: BufReader<ChildStdout>,
    /// Keeps the files that the emulator loads.
    _folder: tempfile::TempDir,
}

impl PtyBoard {
    /// Starts the emulator; `config.link` is not used, `config.timeout` is the longest wait for the name of its port.
    ///
    /// # Errors
    /// As [`Qemu::start`].
    pub fn start(config: QemuConfig<'_>) -> Result<Self> {
        Self::start_with(config, &[])
    }

    /// As [`PtyBoard::start`], with more arguments for the emulator.
    ///
    /// # Errors
    /// As [`Qemu::start`].
    pub fn start_with(config: QemuConfig<'_>, more: &[std::ffi::OsString]) -> Result<Self> {
        let config = QemuConfig {
            link: LinkKind::Uart,
            ..config
        };
        let (mut command, folder) = Qemu::prepare(&config, "pty,id=uart")?;
        let mut child = command
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| Error::Environment(format!("cannot start QEMU: {e}")))?;
        match port_of(&mut child, config.timeout) {
            Ok((port, output)) => Ok(Self {
                child,
                port,
                _output: output,
                _folder: folder,
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// The serial port's name.
    #[must_use]
    pub fn port(&self) -> &Path {
        &self.port
    }

    /// The emulator's process id, for tests that disturb it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for PtyBoard {
    fn drop(&mut self) {
        // Both fail only if the process has already been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// QEMU says `char device redirected to /dev/pts/7 (label uart)`.
fn port_of(child: &mut Child, patience: Duration) -> Result<(PathBuf, BufReader<ChildStdout>)> {
    let nothing = |why: &str| Error::Environment(format!("QEMU named no pseudo-terminal: {why}"));
    let output = child.stdout.take().ok_or_else(|| nothing("no output"))?;
    let deadline = Instant::now() + patience;
    let rest = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(rest).map_err(|e| nothing(&e.to_string()))?;
    let fd = output.as_fd();
    match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
        Ok(0) => return Err(nothing("it was silent")),
        Ok(_) => {}
        Err(error) => return Err(nothing(&error.to_string())),
    }
    let mut line = String::new();
    let mut output = BufReader::new(output);
    output
        .read_line(&mut line)
        .map_err(|e| nothing(&e.to_string()))?;
    line.split_whitespace()
        .find(|word| word.starts_with("/dev/"))
        .map(|port| (PathBuf::from(port), output))
        .ok_or_else(|| nothing(&format!("it said {line:?}")))
}
