//! The host's end of a link to a device: bytes out, bytes in, never an endless wait.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What came of waiting for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// This many bytes, at least one.
    Bytes(usize),
    /// Nothing within the time given.
    Nothing,
    /// The other side closed the link.
    Closed,
}

/// A pair of byte streams: FIFOs, or both halves of a socket.
#[derive(Debug)]
pub struct HostLink {
    from_device: File,
    to_device: File,
}

impl HostLink {
    /// A link from two descriptors in non-blocking mode; they may be of the same socket.
    #[must_use]
    pub fn new(from_device: OwnedFd, to_device: OwnedFd) -> Self {
        Self {
            from_device: File::from(from_device),
            to_device: File::from(to_device),
        }
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// What the system says; `WouldBlock` means that the device takes no more bytes. Frames are far
    /// smaller than a pipe or socket buffer, so a device that reads never lets it come to that.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.to_device.write_all(bytes)
    }

    /// As [`HostLink::send`], waiting at most `patience` altogether for a device that is slow to take bytes.
    ///
    /// # Errors
    /// What the system says; `TimedOut` if bytes were left then.
    pub fn send_within(&mut self, mut bytes: &[u8], patience: Duration) -> std::io::Result<()> {
        let deadline = Instant::now() + patience;
        while !bytes.is_empty() {
            match self.to_device.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let rest = deadline.saturating_duration_since(Instant::now());
                    if rest.is_zero() {
                        return Err(ErrorKind::TimedOut.into());
                    }
                    wait(&self.to_device, PollFlags::OUT, rest)?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Waits at most `patience` for bytes and writes them to the front of `buffer`.
    ///
    /// # Errors
    /// What the system says.
    pub fn receive(&mut self, buffer: &mut [u8], patience: Duration) -> std::io::Result<Received> {
        if !wait(&self.from_device, PollFlags::IN, patience)? {
            return Ok(Received::Nothing);
        }
        match self.from_device.read(buffer) {
            Ok(0) => Ok(Received::Closed),
            Ok(count) => Ok(Received::Bytes(count)),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Ok(Received::Nothing)
            }
            Err(e) if e.kind() == ErrorKind::ConnectionReset => Ok(Received::Closed),
            Err(e) => Err(e),
        }
    }
}

/// Waits at most `patience` until `file` is ready; whether it is.
fn wait(file: &File, flags: PollFlags, patience: Duration) -> std::io::Result<bool> {
    let timeout = Timespec::try_from(patience).unwrap_or(Timespec {
        tv_sec: i64::MAX,
        tv_nsec: 0,
    });
    match poll(&mut [PollFd::new(file, flags)], Some(&timeout)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Ok(false),
        Ok(_) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn pair() -> (HostLink, UnixStream) {
        let (host, device) = UnixStream::pair().unwrap();
        host.set_nonblocking(true).unwrap();
        let link = HostLink::new(host.try_clone().unwrap().into(), host.into());
        (link, device)
    }

    #[test]
    fn silence_and_closing_are_told_apart() {
        let (mut link, mut device) = pair();
        let mut buffer = [0; 8];
        let patience = Duration::from_millis(1);
        assert_eq!(
            link.receive(&mut buffer, patience).unwrap(),
            Received::Nothing
        );
        device.write_all(&[1, 2]).unwrap();
        assert_eq!(
            link.receive(&mut buffer, patience).unwrap(),
            Received::Bytes(2)
        );
        assert_eq!(buffer[..2], [1, 2]);
        drop(device);
        assert_eq!(
            link.receive(&mut buffer, patience).unwrap(),
            Received::Closed
        );
        assert!(link.send(&[1]).is_err());
    }

    #[test]
    fn a_device_that_reads_nothing_does_not_block_the_host_for_ever() {
        let (mut link, _device) = pair();
        let error = (0..10_000).find_map(|_| link.send(&[0; 4096]).err());
        assert_eq!(error.unwrap().kind(), ErrorKind::WouldBlock);
    }
}
