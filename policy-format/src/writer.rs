//! Writing the container.

use crate::container::{ALIGNMENT, ENTRY_LEN, FLAG_CRITICAL, reseal};
use crate::encode_error::EncodeError;
use crate::section::SectionId;
use crate::{FORMAT_VERSION, HEADER_LEN, MAGIC, MAX_TOTAL_LEN};

/// Writes header, table, padding and CRC-32 around sections of any content.
///
/// It keeps no order and no set of ids: tests and tools can write files a reader refuses. Bytes beyond the end of
/// the output are counted only, so that [`ContainerWriter::finish`] can say how many are needed.
///
/// ```
/// # use policy_format::{ContainerWriter, RawPolicy, SectionId};
/// let mut out = [0; 256];
/// let mut writer = ContainerWriter::new(&mut out, 7, 1);
/// writer.section(SectionId(1000), false);
/// writer.put(b"content");
/// assert_eq!(writer.finish(), Ok(64));
/// ```
#[derive(Debug)]
pub struct ContainerWriter<'o> {
    out: &'o mut [u8],
    position: usize,
    entry: usize,
    /// Start of the open section, 0 before the first one.
    start: usize,
    sections: usize,
}

impl<'o> ContainerWriter<'o> {
    /// Starts a file with a table of `sections` entries. [`ContainerWriter::section`] must be called that often.
    #[must_use]
    pub fn new(out: &'o mut [u8], target_class: u32, sections: usize) -> Self {
        out.fill(0);
        let mut writer = Self {
            out,
            position: 0,
            entry: HEADER_LEN,
            start: 0,
            sections,
        };
        writer.put_at(0, &MAGIC);
        writer.word_at(8, FORMAT_VERSION);
        writer.word_at(20, sections as u32);
        writer.word_at(24, target_class);
        writer.position = HEADER_LEN + sections * ENTRY_LEN;
        writer
    }

    /// Closes the open section and starts the next one.
    pub fn section(&mut self, id: SectionId, critical: bool) {
        self.close();
        self.start = self.position;
        let flags = if critical { FLAG_CRITICAL } else { 0 };
        self.word_at(self.entry, id.0);
        self.word_at(self.entry + 4, flags);
        self.word_at(self.entry + 8, self.start as u32);
    }

    /// Appends bytes to the open section.
    pub fn put(&mut self, bytes: &[u8]) {
        self.put_at(self.position, bytes);
        self.position += bytes.len();
    }

    /// Appends a little-endian word to the open section.
    pub fn put_word(&mut self, word: u32) {
        self.put(&word.to_le_bytes());
    }

    /// Appends `count` zero bytes to the open section.
    pub(crate) fn put_zeros(&mut self, count: usize) {
        // The output was cleared at the start.
        self.position += count;
    }

    /// Closes the file: padding, total length, CRC-32. Returns the length of the file; what lies behind it in the
    /// output is zero.
    ///
    /// # Errors
    /// [`EncodeError::Shape`] if the number of sections is not the one announced, [`EncodeError::TooLong`] for
    /// a file of more than 16 MiB, [`EncodeError::BufferTooSmall`] if the output does not suffice.
    pub fn finish(mut self) -> Result<usize, EncodeError> {
        self.close();
        let written = (self.entry - HEADER_LEN) / ENTRY_LEN;
        if written != self.sections {
            return Err(EncodeError::Shape {
                field: "sections",
                found: written,
                expected: self.sections,
            });
        }
        let length = self.position;
        if length > MAX_TOTAL_LEN {
            return Err(EncodeError::TooLong {
                field: "file",
                found: length,
                allowed: MAX_TOTAL_LEN,
            });
        }
        self.word_at(12, length as u32);
        let found = self.out.len();
        match self.out.get_mut(..length) {
            Some(file) => {
                reseal(file);
                Ok(length)
            }
            None => Err(EncodeError::BufferTooSmall {
                found,
                needed: length,
            }),
        }
    }

    /// Writes the length of the open section and pads it.
    fn close(&mut self) {
        if self.start == 0 {
            return;
        }
        self.word_at(self.entry + 12, (self.position - self.start) as u32);
        self.entry += ENTRY_LEN;
        self.position = self.position.next_multiple_of(ALIGNMENT);
    }

    /// Offset in the open section in words of 4 bytes.
    pub(crate) const fn section_word(&self) -> usize {
        (self.position - self.start) / 4
    }

    fn word_at(&mut self, offset: usize, word: u32) {
        self.put_at(offset, &word.to_le_bytes());
    }

    fn put_at(&mut self, offset: usize, bytes: &[u8]) {
        let target = self.out.get_mut(offset..offset + bytes.len());
        if let Some(target) = target {
            target.copy_from_slice(bytes);
        }
    }
}
