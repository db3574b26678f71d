//! A device in QEMU: the process, its link, and what happens when it dies or hangs.

use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use firmware::Fault;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};
use serde::Serialize;

use super::board::{Board, Emulator};
use super::link::{HostLink, Received};
use super::setup::QEMU;
use super::transport::Transport;
use crate::{Error, Result};

/// How often a wait looks whether the emulator is still alive.
const LOOK: Duration = Duration::from_millis(50);

/// How frames travel between host and device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// Two FIFOs that the device reads and writes through semihosting, with instruction-counted time:
    /// fast, and two runs are equal to the last instruction.
    Semihosting,
    /// The board's UART over a socket, in the emulator's free-running time.
    Uart,
}

impl LinkKind {
    /// The name on the command line of host and device.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LinkKind::Semihosting => "semihosting",
            LinkKind::Uart => "uart",
        }
    }
}

/// What to start.
#[derive(Clone, Copy, Debug)]
pub struct QemuConfig<'a> {
    /// The board.
    pub board: &'a Board,
    /// Its firmware.
    pub elf: &'a Path,
    /// The bytes to put into the policy slot, whatever they are; none leaves it empty.
    pub policy: &'a [u8],
    /// The link.
    pub link: LinkKind,
    /// Longest time to wait for one answer.
    pub timeout: Duration,
}

/// A running emulator. Dropping it ends the process and removes its folder.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
    link: HostLink,
    folder: tempfile::TempDir,
    timeout: Duration,
}

impl Qemu {
    /// Starts the emulator and connects the link.
    ///
    /// # Errors
    /// [`Error::Negative`] if the policy does not fit the slot, [`Error::Environment`] if the
    /// emulator cannot be started or ends at once, [`Error::Io`] if its folder cannot be made.
    pub fn start(config: QemuConfig<'_>) -> Result<Self> {
        Self::start_with(config, &[])
    }

    /// As [`Qemu::start`], with more arguments for the emulator.
    ///
    /// # Errors
    /// As [`Qemu::start`].
    pub fn start_with(config: QemuConfig<'_>, more: &[std::ffi::OsString]) -> Result<Self> {
        let (mut command, folder) = Self::prepare(&config, "socket,id=uart,path=uart")?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.args(more);
        let errors = folder.path().join("stderr");
        let stderr =
            std::fs::File::create(&errors).map_err(|e| Error::io(&errors, "cannot create", e))?;
        command.stderr(stderr);
        match config.link {
            LinkKind::Semihosting => {
                let link = fifos(folder.path())?;
                Ok(Self {
                    child: spawn(command)?,
                    link,
                    folder,
                    timeout: config.timeout,
                })
            }
            LinkKind::Uart => {
                let path = folder.path().join("uart");
                let listener =
                    UnixListener::bind(&path).map_err(|e| Error::io(&path, "cannot bind", e))?;
                let child = spawn(command)?;
                connect(child, &listener, folder, config.timeout)
            }
        }
    }

    /// The command of an emulator whose UART, where the link is that, is the character device `uart`; and the folder with the files that
    /// it loads, in which it runs.
    ///
    /// # Errors
    /// As [`Qemu::start`].
    pub(super) fn prepare(
        config: &QemuConfig<'_>,
        uart: &str,
    ) -> Result<(Command, tempfile::TempDir)> {
        let board = config.board;
        let emulator = board.emulator()?;
        if config.policy.len() > board.slot_bytes {
            return Err(Error::Negative(format!(
                "policy: found {} bytes; the slot of {} holds {}",
                config.policy.len(),
                board.name,
                board.slot_bytes
            )));
        }
        let folder = tempfile::Builder::new()
            .prefix("hpo-qemu-")
            .tempdir()
            .map_err(|e| Error::io(std::env::temp_dir(), "cannot make a folder in", e))?;
        for (name, bytes, _) in loaded(config) {
            write(&folder.path().join(name), &bytes)?;
        }
        let mut command = command(config, emulator, uart);
        command.current_dir(folder.path());
        Ok((command, folder))
    }

    /// The command of [`Qemu::start_with`] as a line for a shell; file names are those in the emulator's folder.
    ///
    /// # Errors
    /// [`Error::Usage`] for a board that QEMU does not run.
    pub fn command_line(config: &QemuConfig<'_>, more: &[std::ffi::OsString]) -> Result<String> {
        let mut command = command(config, config.board.emulator()?, "socket,id=uart,path=uart");
        command.args(more);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        Ok(words.join(" "))
    }

    /// The emulator's folder, in which it runs; it goes when this value does.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `Ok` while the emulator runs.
    ///
    /// # Errors
    /// [`Error::Environment`] with its words once it has ended.
    pub fn is_running(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(self.gone("ended")),
        }
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// [`Error::Environment`] with the emulator's words if it is gone or takes no bytes.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match self.link.send(bytes) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Err(self.hung("takes no more bytes")),
            Err(e) => Err(self.gone(&e.to_string())),
        }
    }

    /// Waits for bytes, at most the time limit, and writes them to the front of `buffer`.
    ///
    /// # Errors
    /// [`Error::Environment`] if the emulator ended (with its words) or did not answer in time (it
    /// is killed then); [`Error::Negative`] if the device ended itself with a numbered fault.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self.receive_within(buffer, self.timeout)? {
            Some(count) => Ok(count),
            None => Err(self.hung("did not answer")),
        }
    }

    /// As [`Qemu::receive`], but waits at most `patience`, and silence is no error: `None`.
    ///
    /// # Errors
    /// As [`Qemu::receive`], silence aside.
    pub fn receive_within(
        &mut self,
        buffer: &mut [u8],
        patience: Duration,
    ) -> Result<Option<usize>> {
        let deadline = Instant::now() + patience;
        loop {
            let rest = deadline.saturating_duration_since(Instant::now()).min(LOOK);
            match self.link.receive(buffer, rest) {
                Ok(Received::Bytes(count)) => return Ok(Some(count)),
                Ok(Received::Closed) => return Err(self.gone("it closed the link")),
                Ok(Received::Nothing) => {}
                Err(e) => return Err(self.gone(&e.to_string())),
            }
            if let Ok(Some(_)) = self.child.try_wait() {
                // Its last words may still be in the pipe.
                return match self.link.receive(buffer, Duration::ZERO) {
                    Ok(Received::Bytes(count)) => Ok(Some(count)),
                    _ => Err(self.gone("it ended")),
                };
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    /// Waits until the emulator has ended by itself, at most the time limit.
    ///
    /// # Errors
    /// [`Error::Environment`] if it does not end (it is killed then) or ends with an error.
    pub fn wait(&mut self) -> Result<()> {
        match self.exit_status(self.timeout) {
            Some(status) if status.success() => Ok(()),
            Some(_) => Err(self.gone("it was asked to stop")),
            None => Err(self.hung("did not stop")),
        }
    }

    /// The emulator's process id, for tests that disturb it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn exit_status(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn hung(&mut self, what: &str) -> Error {
        // The process is ours and is waited for at once, so the id cannot be another's.
        let _ = self.child.kill();
        let _ = self.child.wait();
        Error::Environment(format!(
            "the device in QEMU {what} within {} s and was stopped{}",
            self.timeout.as_secs_f64(),
            self.words()
        ))
    }

    fn gone(&mut self, what: &str) -> Error {
        // A link breaks a moment before the process is seen to end.
        let Some(status) = self.exit_status(self.timeout.min(Duration::from_secs(5))) else {
            return self.hung("left its link but did not end");
        };
        if let Some(fault) = status.code().and_then(Fault::from_exit_code) {
            return Error::Negative(format!("the device stopped with {fault}"));
        }
        Error::Environment(format!("QEMU {what}: {status}{}", self.words()))
    }

    /// What the emulator wrote to its standard error, as the tail of a message.
    fn words(&self) -> String {
        let text = std::fs::read(self.folder.path().join("stderr")).unwrap_or_default();
        match String::from_utf8_lossy(&text).trim() {
            "" => String::new(),
            text => format!("; it said: {text}"),
        }
    }
}

impl Transport for Qemu {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Qemu::send(self, bytes)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize> {
        Qemu::receive(self, buffer)
    }

    fn receive_within(&mut self, buffer: &mut [u8], patience: Duration) -> Result<Option<usize>> {
        Qemu::receive_within(self, buffer, patience)
    }

    fn finish(&mut self) -> Result<()> {
        self.wait()
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Both fail only if the process has already been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The emulator's program and arguments, without those of the caller.
fn command(config: &QemuConfig<'_>, emulator: Emulator, uart: &str) -> Command {
    let mut command = Command::new(QEMU);
    command
        .args(["-machine", emulator.machine, "-display", "none"])
        .args(["-monitor", "none", "-kernel"])
        .arg(config.elf)
        .args([
            "-semihosting-config",
            &format!(
                "enable=on,target=native,arg=firmware,arg={}",
                config.link.name()
            ),
        ]);
    for (name, _, address) in loaded(config) {
        command.args([
            "-device",
            &format!("loader,file={name},addr={address:#x},force-raw=on"),
        ]);
    }
    match config.link {
        LinkKind::Semihosting => {
            command.args(["-serial", "null", "-icount", emulator.icount]);
        }
        LinkKind::Uart => {
            command
                .args(["-chardev", uart])
                .args(["-serial", "chardev:uart"]);
        }
    }
    command
}

/// File, bytes and address of what QEMU loads beside the firmware: the policy, and behind the slot its length. As
/// files: data on the command line would be written as by the core, and flash ignores that. An empty slot needs neither.
fn loaded(config: &QemuConfig<'_>) -> Vec<(&'static str, Vec<u8>, u64)> {
    if config.policy.is_empty() {
        return Vec::new();
    }
    let board = config.board;
    let length = (config.policy.len() as u32).to_le_bytes();
    let behind = board.policy_address + board.slot_bytes as u64;
    vec![
        ("policy.bin", config.policy.to_vec(), board.policy_address),
        ("length.bin", length.to_vec(), behind),
    ]
}

fn spawn(mut command: Command) -> Result<Child> {
    command
        .spawn()
        .map_err(|e| Error::Environment(format!("cannot start {QEMU}: {e}")))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|e| Error::io(path, "cannot write", e))
}

/// Makes both FIFOs and opens the host's ends.
fn fifos(folder: &Path) -> Result<HostLink> {
    let make = |name: &str, flags: OFlags| {
        let path = folder.join(name);
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR)
            .and_then(|()| {
                let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
                open(&path, flags, Mode::empty())
            })
            .map_err(|e| Error::io(&path, "cannot make the FIFO", e.into()))
    };
    // Opened for both ways, this end can be had before the device has opened its own; when this
    // process ends, for whatever reason, the device reads the end of the file and stops.
    let to_device = make("to-guest", OFlags::RDWR)?;
    let from_device = make("from-guest", OFlags::RDONLY)?;
    Ok(HostLink::new(from_device, to_device))
}

/// Accepts the emulator's connection, watching it.
fn connect(
    child: Child,
    listener: &UnixListener,
    folder: tempfile::TempDir,
    timeout: Duration,
) -> Result<Qemu> {
    // A link of its own to fill the place until the real one is there.
    let (one, other) = std::os::unix::net::UnixStream::pair()
        .map_err(|e| Error::io(folder.path(), "cannot make a socket in", e))?;
    let mut qemu = Qemu {
        child,
        link: HostLink::new(one.into(), other.into()),
        folder,
        timeout,
    };
    let deadline = Instant::now() + timeout;
    let look = Timespec::try_from(LOOK).map_err(|e| Error::Environment(e.to_string()))?;
    loop {
        match poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&look)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => break,
            Err(e) => return Err(Error::io(qemu.folder.path(), "cannot wait in", e.into())),
        }
        if let Ok(Some(_)) = qemu.child.try_wait() {
            return Err(qemu.gone("ended before it opened its UART"));
        }
        if Instant::now() >= deadline {
            return Err(qemu.hung("did not open its UART"));
        }
    }
    let stream = listener
        .accept()
        .and_then(|(stream, _)| {
            stream.set_nonblocking(true)?;
            Ok((stream.try_clone()?, stream))
        })
        .map_err(|e| Error::io(qemu.folder.path(), "cannot accept in", e))?;
    qemu.link = HostLink::new(stream.0.into(), stream.1.into());
    Ok(qemu)
}
