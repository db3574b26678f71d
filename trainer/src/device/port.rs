//! A device behind a serial port: a terminal in raw mode that one program at a time has.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use rustix::termios::{
    ControlModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, ioctl_tiocexcl,
    ioctl_tiocnxcl, isatty, tcflush, tcgetattr, tcsetattr,
};

use super::link::{HostLink, Received};
use super::transport::Transport;
use crate::{Error, Result};

/// Bits per second of the boards' links.
pub const BAUD: u32 = 115_200;

/// An open serial port. Closing it frees it for others.
#[derive(Debug)]
pub struct Port {
    path: PathBuf,
    link: HostLink,
    /// The same terminal once more, for what is no reading or writing.
    terminal: OwnedFd,
    timeout: Duration,
}

impl Port {
    /// Opens the port in raw mode (8 data bits, no parity, 1 stop bit, no flow control) at `baud` bits per second, locks it
    /// against other programs, and drops what had arrived before. `timeout` is the longest wait for bytes.
    ///
    /// # Errors
    /// [`Error::Environment`] if there is no such port, it is no terminal, another program has it, it may not be opened, or
    /// nothing is behind it; [`Error::Usage`] if the port does not run at `baud`.
    pub fn open(path: &Path, baud: u32, timeout: Duration) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let terminal = open(path, flags, Mode::empty()).map_err(|e| cannot_open(path, e))?;
        if !isatty(&terminal) {
            return Err(bad(path, "is no serial port (not a terminal)"));
        }
        // Programs that look at locks are kept out by the lock, all others (but root's) by the terminal itself.
        match flock(&terminal, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(busy(path)),
            Err(error) => return Err(bad(path, &format!("cannot be locked: {error}"))),
        }
        // Not a pseudo-terminal, which would keep this beyond the last close if this program is killed.
        if !is_pseudo(path) {
            ioctl_tiocexcl(&terminal).map_err(|e| cannot_open(path, e))?;
        }
        let port = Self {
            path: path.to_path_buf(),
            link: link(path, &terminal)?,
            terminal,
            timeout,
        };
        port.make_raw(baud)?;
        tcflush(&port.terminal, QueueSelector::IOFlush).map_err(|e| cannot_open(path, e))?;
        Ok(port)
    }

    /// The port's name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn make_raw(&self, baud: u32) -> Result<()> {
        let path = &self.path;
        let speed = || {
            Error::Usage(format!(
                "baud: found {baud}; allowed: a speed that {} runs at, such as {BAUD}",
                path.display()
            ))
        };
        // Speed 0 is the system's word for hanging up.
        if baud == 0 {
            return Err(speed());
        }
        let mut wanted = tcgetattr(&self.terminal).map_err(|e| cannot_open(path, e))?;
        wanted.make_raw();
        // No modem lines: a board may have none of them.
        wanted.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
        wanted.control_modes &= !(ControlModes::CRTSCTS | ControlModes::CSTOPB);
        wanted.special_codes[SpecialCodeIndex::VMIN] = 1;
        wanted.special_codes[SpecialCodeIndex::VTIME] = 0;
        wanted.set_speed(baud).map_err(|_| speed())?;
        match tcsetattr(&self.terminal, OptionalActions::Now, &wanted) {
            Ok(()) => {}
            Err(Errno::INVAL) => return Err(speed()),
            Err(error) => return Err(cannot_open(path, error)),
        }
        // A driver may take part of the settings and call that success.
        let found = tcgetattr(&self.terminal).map_err(|e| cannot_open(path, e))?;
        if found.output_speed() != baud {
            return Err(speed());
        }
        let modes = |t: &Termios| (t.input_modes, t.output_modes, t.local_modes);
        if modes(&found) != modes(&wanted) {
            return Err(bad(path, "does not take raw mode"));
        }
        Ok(())
    }

    fn gone(&self, why: &str) -> Error {
        bad(&self.path, &format!("was unplugged or closed ({why})"))
    }

    fn silent(&self, what: &str) -> Error {
        let limit = self.timeout.as_secs_f64();
        bad(&self.path, &format!("the device {what} within {limit} s"))
    }
}

impl Transport for Port {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match self.link.send_within(bytes, self.timeout) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == ErrorKind::TimedOut => Err(self.silent("takes no more bytes")),
            Err(e) => Err(self.gone(&e.to_string())),
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.receive_within(buffer, self.timeout)?
            .ok_or_else(|| self.silent("did not answer"))
    }

    fn receive_within(&mut self, buffer: &mut [u8], patience: Duration) -> Result<Option<usize>> {
        let deadline = Instant::now() + patience;
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            match self.link.receive(buffer, rest) {
                Ok(Received::Bytes(count)) => return Ok(Some(count)),
                Ok(Received::Closed) => return Err(self.gone("end of file")),
                Ok(Received::Nothing) if Instant::now() >= deadline => return Ok(None),
                Ok(Received::Nothing) => {}
                Err(e) => return Err(self.gone(&e.to_string())),
            }
        }
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // Whoever else holds it open may go on.
        let _ = ioctl_tiocnxcl(&self.terminal);
    }
}

/// Whether this is the slave of a pseudo-terminal, by its place.
fn is_pseudo(path: &Path) -> bool {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    whole.starts_with("/dev/pts")
}

fn link(path: &Path, terminal: &OwnedFd) -> Result<HostLink> {
    let clone = || terminal.as_fd().try_clone_to_owned();
    clone()
        .and_then(|one| Ok(HostLink::new(one, clone()?)))
        .map_err(|e| bad(path, &e.to_string()))
}

fn bad(path: &Path, what: &str) -> Error {
    Error::Environment(format!("port {}: {what}", path.display()))
}

fn busy(path: &Path) -> Error {
    bad(path, "is busy: another program has it open")
}

fn cannot_open(path: &Path, error: Errno) -> Error {
    match error {
        Errno::NOENT => bad(path, &format!("is not there; ports here: {}", ports())),
        Errno::BUSY => busy(path),
        Errno::ACCESS | Errno::PERM => bad(
            path,
            "may not be opened by this user; on Debian, members of the group dialout may",
        ),
        Errno::NXIO | Errno::NODEV | Errno::IO => bad(
            path,
            &format!("has nothing behind it: unplugged? ({error})"),
        ),
        error => bad(path, &format!("cannot be opened: {error}")),
    }
}

/// The serial ports of USB that this machine has, as a list for a message.
fn ports() -> String {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("ttyACM") || name.starts_with("ttyUSB"))
        .map(|name| format!("/dev/{name}"))
        .collect();
    names.sort();
    if names.is_empty() {
        return "no /dev/ttyACM* and no /dev/ttyUSB*".into();
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::fs::File;
    use std::io::{Read, Write};

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(30);

    /// The far end of a port, and the port's name.
    fn pair() -> (File, PathBuf) {
        let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&far).unwrap();
        unlockpt(&far).unwrap();
        let name = ptsname(&far, Vec::new()).unwrap().into_string().unwrap();
        (File::from(far), name.into())
    }

    fn refusal(path: &Path) -> String {
        let error = Port::open(path, BAUD, SHORT).unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        let text = error.to_string();
        assert!(text.contains(&path.display().to_string()), "{text}");
        text
    }

    #[test]
    fn every_byte_travels_as_it_is() {
        let (mut far, path) = pair();
        let mut port = Port::open(&path, BAUD, LONG).unwrap();
        // Among them those that a terminal would act on: interrupt, end of file, start, stop, line ends.
        let bytes: Vec<u8> = (0..=255).collect();
        port.send(&bytes).unwrap();
        let mut there = [0; 256];
        far.read_exact(&mut there).unwrap();
        assert_eq!(there.as_slice(), bytes);
        far.write_all(&bytes).unwrap();
        let mut back: Vec<u8> = Vec::new();
        while back.len() < bytes.len() {
            let mut buffer = [0; 100];
            let count = port.receive(&mut buffer).unwrap();
            back.extend(&buffer[..count]);
        }
        assert_eq!(back, bytes);
    }

    #[test]
    fn silence_is_an_error_only_for_who_must_have_an_answer() {
        let (_far, path) = pair();
        let mut port = Port::open(&path, BAUD, SHORT).unwrap();
        assert_eq!(port.receive_within(&mut [0; 8], SHORT).unwrap(), None);
        let error = port.receive(&mut [0; 8]).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("did not answer within 0.05 s"));
    }

    #[test]
    fn a_device_that_reads_nothing_does_not_block_the_host_for_ever() {
        let (_far, path) = pair();
        let mut port = Port::open(&path, BAUD, SHORT).unwrap();
        let error = (0..1000).find_map(|_| port.send(&[0; 4096]).err()).unwrap();
        assert!(error.to_string().contains("takes no more bytes"), "{error}");
    }

    #[test]
    fn what_came_before_is_dropped() {
        let (mut far, path) = pair();
        let first = Port::open(&path, BAUD, SHORT).unwrap();
        far.write_all(b"old").unwrap();
        drop(first);
        let mut second = Port::open(&path, BAUD, SHORT).unwrap();
        assert_eq!(second.receive_within(&mut [0; 8], SHORT).unwrap(), None);
    }

    #[test]
    fn one_program_at_a_time() {
        let (_far, path) = pair();
        let first = Port::open(&path, BAUD, SHORT).unwrap();
        assert!(refusal(&path).contains("busy"));
        drop(first);
        Port::open(&path, BAUD, SHORT).unwrap();
    }

    #[test]
    fn an_unplugged_device_is_noticed() {
        let (far, path) = pair();
        let mut port = Port::open(&path, BAUD, LONG).unwrap();
        drop(far);
        for error in [
            port.receive(&mut [0; 8]).unwrap_err(),
            port.send(&[1]).unwrap_err(),
        ] {
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains("unplugged"), "{error}");
        }
    }

    #[test]
    fn what_is_no_port_is_refused() {
        assert!(refusal(Path::new("/dev/ttyHPO0")).contains("is not there"));
        assert!(refusal(Path::new("/dev/null")).contains("not a terminal"));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(refusal(file.path()).contains("not a terminal"));
        let folder = tempfile::tempdir().unwrap();
        assert!(refusal(folder.path()).contains("cannot be opened"));
    }

    #[test]
    fn a_speed_that_is_none_is_refused() {
        let (_far, path) = pair();
        let error = Port::open(&path, 0, SHORT).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.to_string().contains("found 0"), "{error}");
    }
}
