//! A link that damages bytes at random.

use std::time::Duration;

use super::faults::corrupt;
use super::transport::Transport;
use crate::Result;
use crate::numeric::{Purpose, Stream};

/// A transport whose bytes are changed to others, each with the same probability, in both directions.
#[derive(Debug)]
pub struct Noisy<D> {
    inner: D,
    rate: f64,
    stream: Stream,
    /// Bytes carried and bytes changed.
    pub bytes: (u64, u64),
}

impl<D> Noisy<D> {
    /// The transport `inner` with byte error rate `rate`, from 0 to 1, drawn from `seed`.
    #[must_use]
    pub fn new(inner: D, rate: f64, seed: u64) -> Self {
        Self {
            inner,
            rate,
            stream: Stream::new(seed, Purpose::Fault, u64::MAX),
            bytes: (0, 0),
        }
    }

    /// Changes the rate.
    pub fn set_rate(&mut self, rate: f64) {
        self.rate = rate;
    }

    fn disturb(&mut self, bytes: &mut [u8]) {
        self.bytes.0 += bytes.len() as u64;
        self.bytes.1 += corrupt(bytes, Some(self.rate), &mut self.stream) as u64;
    }
}

impl<D: Transport> Transport for Noisy<D> {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let mut bytes = bytes.to_vec();
        self.disturb(&mut bytes);
        self.inner.send(&bytes)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.inner.receive(buffer)?;
        self.disturb(&mut buffer[..count]);
        Ok(count)
    }

    fn receive_within(&mut self, buffer: &mut [u8], patience: Duration) -> Result<Option<usize>> {
        let count = self.inner.receive_within(buffer, patience)?;
        if let Some(count) = count {
            self.disturb(&mut buffer[..count]);
        }
        Ok(count)
    }

    fn finish(&mut self) -> Result<()> {
        self.inner.finish()
    }
}
