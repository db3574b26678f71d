//! The host's end of a link to a device: bytes out, bytes in, never an endless wait.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

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

    /// Waits at most `patience` for bytes and writes them to the front of `buffer`.
    ///
    /// # Errors
    /// What the system says.
    pub fn receive(&mut self, buffer: &mut [u8], patience: Duration) -> std::io::Result<Received> {
        let timeout = Timespec::try_from(patience).unwrap_or(Timespec {
            tv_sec: i64::MAX,
            tv_nsec: 0,
        });
        let ready = poll(
            &mut [PollFd::new(&self.from_device, PollFlags::IN)],
            Some(&timeout),
        );
        match ready {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Received::Nothing),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
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
