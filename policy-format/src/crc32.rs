//! CRC-32 (ISO-HDLC), the checksum of policy files and of frames.
//!
//! Four bits at a time, by a table of 64 bytes: a device has no kilobyte to give for a checksum that runs over the file once, at
//! boot, and over short frames.

/// The remainder of each value of four bits, for the reflected polynomial `0xEDB88320`.
static REMAINDERS: [u32; 16] = remainders();

#[allow(clippy::indexing_slicing)] // evaluated at compile time
const fn remainders() -> [u32; 16] {
    let mut table = [0; 16];
    let mut value = 0;
    while value < 16 {
        let mut remainder = value as u32;
        let mut bit = 0;
        while bit < 4 {
            let low = remainder & 1;
            remainder = (remainder >> 1) ^ (0xEDB8_8320 * low);
            bit += 1;
        }
        table[value] = remainder;
        value += 1;
    }
    table
}

/// A checksum in the making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crc32(u32);

impl Crc32 {
    /// Of no bytes yet.
    pub(crate) const fn new() -> Self {
        Self(u32::MAX)
    }

    /// Takes one byte more.
    #[inline(always)]
    pub(crate) fn push(&mut self, byte: u8) {
        self.0 ^= u32::from(byte);
        for _ in 0..2 {
            // The index is below 16.
            let remainder = REMAINDERS.get((self.0 & 15) as usize);
            self.0 = self.0 >> 4 ^ remainder.copied().unwrap_or_default();
        }
    }

    /// Takes more bytes.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.push(byte);
        }
    }

    /// The checksum of all bytes taken.
    pub(crate) const fn finish(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crc::{CRC_32_ISO_HDLC, Crc};
    use proptest::prelude::*;

    fn checksum(bytes: &[u8]) -> u32 {
        let mut crc = Crc32::new();
        crc.extend(bytes);
        crc.finish()
    }

    /// The check value of the catalogue of parametrised CRC algorithms.
    #[test]
    fn check_value() {
        assert_eq!(checksum(b"123456789"), 0xCBF4_3926);
    }

    proptest! {
        #[test]
        fn agrees_with_the_crc_crate(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let other: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
            prop_assert_eq!(checksum(&bytes), other.checksum(&bytes));
        }
    }
}
