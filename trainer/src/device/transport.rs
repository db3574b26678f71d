//! What carries the bytes between a session and its device: an emulator, a serial port, a device in this process.

use std::time::Duration;

use crate::Result;

/// A stream of bytes to and from a device, with somebody who notices when the device is gone.
pub trait Transport: std::fmt::Debug {
    /// Sends all bytes.
    ///
    /// # Errors
    /// [`crate::Error::Environment`] if the device is gone or takes no more bytes.
    fn send(&mut self, bytes: &[u8]) -> Result<()>;

    /// Waits for bytes, at most the time limit of the transport, writes them to the front of `buffer` and returns how many, at
    /// least 1.
    ///
    /// # Errors
    /// [`crate::Error::Environment`] if the device is gone or did not answer in time; [`crate::Error::Negative`] if it ended itself with a
    /// numbered fault.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize>;

    /// As [`Transport::receive`], but waits at most `patience`, and silence is no error: `None`.
    ///
    /// # Errors
    /// As [`Transport::receive`], silence aside.
    fn receive_within(&mut self, buffer: &mut [u8], patience: Duration) -> Result<Option<usize>>;

    /// What is left to do when the device has said goodbye: an emulator is waited for.
    ///
    /// # Errors
    /// [`crate::Error::Environment`] if it does not end.
    fn finish(&mut self) -> Result<()>;
}
