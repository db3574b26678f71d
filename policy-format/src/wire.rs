//! postcard's encoding of numbers and lists, read without serde; [`crate::message`] has the writing.
//!
//! A device reads META and speaks [`crate::message`] with it: what `derive` makes of the same types takes 5 KiB more of its flash.
//! Tests compare with postcard, byte for byte, whatever the bytes.

use heapless::{LenType, Vec};

/// Reads values from the front of bytes.
#[derive(Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    canonical: bool,
}

impl<'a> Decoder<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            canonical: true,
        }
    }

    /// What was not read.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Leaves the rest unread.
    pub(crate) const fn skip(&mut self) {
        self.bytes = &[];
    }

    /// Whether every number read stood in its shortest form.
    pub(crate) const fn canonical(&self) -> bool {
        self.canonical
    }

    /// One byte.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(byte)
    }

    /// A number of `bits` bits: seven to a byte, lowest first, the high bit says that more follows. `None` also for one
    /// that is too long or too great.
    fn varint(&mut self, bits: u32) -> Option<u32> {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            // What is left of the number must hold the rest, the high bit included where it is the last byte.
            if u32::from(byte) >> (bits - shift).min(8) != 0 {
                return None;
            }
            value |= u32::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                self.canonical &= byte != 0 || shift == 0;
                return Some(value);
            }
            shift += 7;
        }
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.varint(16).map(|value| value as u16)
    }

    #[inline(never)]
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.varint(32)
    }

    pub(crate) fn f32(&mut self) -> Option<f32> {
        let (bytes, rest) = self.bytes.split_first_chunk::<4>()?;
        self.bytes = rest;
        Some(f32::from_le_bytes(*bytes))
    }

    /// A list: its length, then its elements by `read`. `None` also for one that is longer than N.
    pub(crate) fn list<T, const N: usize, L: LenType>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T, N, L>> {
        let mut list = Vec::new();
        for _ in 0..self.u32()? {
            list.push(read(self)?).ok()?;
        }
        Some(list)
    }

    /// A list of floats.
    pub(crate) fn floats<const N: usize>(&mut self) -> Option<Vec<f32, N>> {
        self.list(Self::f32)
    }

    /// A value that may be absent: 0, or 1 and then the value by `read`.
    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => Some(Some(read(self)?)),
            _ => None,
        }
    }
}

/// Ends every run of bytes with the high bit after four: on a host of 64 bits postcard reads lengths of up to ten bytes, on a
/// device of 32 bits of five, as we do everywhere.
#[cfg(test)]
pub(crate) fn at_most_five(bytes: &mut [u8]) {
    let mut run = 0;
    for byte in bytes {
        run = if *byte < 0x80 { 0 } else { run + 1 };
        if run == 5 {
            *byte &= 0x7F;
            run = 0;
        }
    }
}
