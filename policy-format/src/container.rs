//! The container: header, CRC-32, section table.

use crate::crc32::Crc32;
use crate::error::{FormatError, Refusal};
use crate::section::SectionId;
use crate::{FORMAT_VERSION, HEADER_LEN, MAGIC, MAX_SECTIONS, MAX_TOTAL_LEN};

/// Bytes of one entry of the section table.
pub(crate) const ENTRY_LEN: usize = 16;
/// Everything in a file starts at a multiple of this.
pub(crate) const ALIGNMENT: usize = 16;
/// Flag bit 0: a reader that does not know the section refuses the file.
pub(crate) const FLAG_CRITICAL: u32 = 1;
/// Offset of the CRC in the header.
const CRC_OFFSET: usize = 16;

/// CRC-32 of a file: everything but the CRC field itself.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc32::new();
    for (offset, &byte) in bytes.iter().enumerate() {
        if !(CRC_OFFSET..CRC_OFFSET + 4).contains(&offset) {
            crc.push(byte);
        }
    }
    crc.finish()
}

/// CRC-32 (ISO-HDLC) of bytes, the sum that policy files, frames and records use.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc32::new();
    crc.extend(bytes);
    crc.finish()
}

/// The little-endian word at `offset`, 0 beyond the end (callers have checked the length).
fn word(bytes: &[u8], offset: usize) -> u32 {
    bytes
        .get(offset..)
        .and_then(<[u8]>::first_chunk::<4>)
        .map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

/// Repairs the CRC-32 of a file in place, for tools that alter a file and tests that damage one.
///
/// Buffers shorter than a header are left alone.
pub fn reseal(bytes: &mut [u8]) {
    if bytes.len() < HEADER_LEN {
        return;
    }
    let sum = checksum(bytes);
    if let Some(field) = bytes
        .get_mut(CRC_OFFSET..)
        .and_then(<[u8]>::first_chunk_mut::<4>)
    {
        *field = sum.to_le_bytes();
    }
}

/// A file whose container is sound: right length, right checksum, every section inside the file.
///
/// Nothing is known yet about the content of the sections; [`RawPolicy::validate`] checks it.
#[derive(Clone, Copy, Debug)]
pub struct RawPolicy<'a> {
    bytes: &'a [u8],
    sections: usize,
}

/// One entry of the section table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section {
    /// Id, known or not.
    pub id: SectionId,
    /// Flags; bit 0 is *critical*.
    pub flags: u32,
    /// Offset in bytes from the start of the file, a multiple of 16.
    pub offset: usize,
    /// Length in bytes without padding, at least 1.
    pub length: usize,
}

/// Iterator over the section table, ids ascending. Made by [`RawPolicy::sections`].
#[derive(Clone, Debug)]
pub struct Sections<'a> {
    entries: core::slice::ChunksExact<'a, u8>,
}

impl Iterator for Sections<'_> {
    type Item = Section;

    fn next(&mut self) -> Option<Section> {
        let entry = self.entries.next()?;
        Some(Section {
            id: SectionId(word(entry, 0)),
            flags: word(entry, 4),
            offset: word(entry, 8) as usize,
            length: word(entry, 12) as usize,
        })
    }
}

impl<'a> RawPolicy<'a> {
    /// The total length in bytes that the header at the start of `region` states, for a reader that finds a
    /// policy at an address and does not know its length.
    ///
    /// Checked: at least 32 bytes, 16-aligned, magic, version, and the stated length (a multiple of 16, at most
    /// 16 MiB, within the region). The checksum is not.
    ///
    /// # Errors
    /// The [`FormatError`] of the first check that fails.
    pub fn length_in_header(region: &[u8]) -> Result<usize, FormatError> {
        Self::length(region)
    }

    fn length<E: Refusal>(region: &[u8]) -> Result<usize, E> {
        let Some(magic) = region
            .first_chunk::<8>()
            .filter(|_| region.len() >= HEADER_LEN)
        else {
            return Err(E::of(FormatError::TooShort {
                found: region.len(),
            }));
        };
        let phase = region.as_ptr().addr() % ALIGNMENT;
        if phase != 0 {
            return Err(E::of(FormatError::Misaligned { found: phase as u8 }));
        }
        if *magic != MAGIC {
            return Err(E::of(FormatError::Magic { found: *magic }));
        }
        let version = word(region, 8);
        if version != FORMAT_VERSION {
            return Err(E::of(FormatError::Version { found: version }));
        }
        let declared = word(region, 12);
        let length = declared as usize;
        if !(HEADER_LEN..=MAX_TOTAL_LEN).contains(&length) || !length.is_multiple_of(ALIGNMENT) {
            return Err(E::of(FormatError::TotalLengthInvalid { found: declared }));
        }
        if length > region.len() {
            return Err(E::of(FormatError::TotalLength {
                declared,
                found: region.len(),
            }));
        }
        Ok(length)
    }

    /// Checks the container of a policy file. `bytes` is the whole file and nothing else, 16-aligned.
    ///
    /// # Errors
    /// The [`FormatError`] of the first check that fails, in the order of `docs/policy-format.md`, section 1.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        Self::parse_as(bytes)
    }

    /// As [`RawPolicy::parse`], with any kind of error.
    pub(crate) fn parse_as<E: Refusal>(bytes: &'a [u8]) -> Result<Self, E> {
        let length = Self::length(bytes)?;
        if length != bytes.len() {
            return Err(E::of(FormatError::TotalLength {
                declared: length as u32,
                found: bytes.len(),
            }));
        }
        let (stored, computed) = (word(bytes, CRC_OFFSET), checksum(bytes));
        if stored != computed {
            return Err(E::of(FormatError::Checksum { stored, computed }));
        }
        let sections = word(bytes, 20);
        if sections == 0 || sections as usize > MAX_SECTIONS {
            return Err(E::of(FormatError::SectionCount { found: sections }));
        }
        let reserved = word(bytes, 28);
        if reserved != 0 {
            return Err(E::of(FormatError::Reserved { found: reserved }));
        }
        let raw = Self {
            bytes,
            sections: sections as usize,
        };
        raw.check_table()?;
        Ok(raw)
    }

    fn check_table<E: Refusal>(&self) -> Result<(), E> {
        let mut end = HEADER_LEN + self.sections * ENTRY_LEN;
        if end > self.bytes.len() {
            return Err(E::of(FormatError::TableTruncated {
                sections: self.sections as u32,
                length: self.bytes.len(),
            }));
        }
        let mut previous = None;
        for section in self.sections() {
            let id = section.id.0;
            if let Some(previous) = previous
                && id <= previous
            {
                return Err(E::of(FormatError::SectionOrder {
                    previous,
                    found: id,
                }));
            }
            previous = Some(id);
            if section.flags & !FLAG_CRITICAL != 0 {
                return Err(E::of(FormatError::SectionFlags {
                    id,
                    found: section.flags,
                }));
            }
            if section.offset != end {
                return Err(E::of(FormatError::SectionOffset {
                    id,
                    found: section.offset as u32,
                    expected: end as u32,
                }));
            }
            let available = self.bytes.get(end..).unwrap_or_default();
            let Some((_, after)) = available
                .split_at_checked(section.length)
                .filter(|(content, _)| !content.is_empty())
            else {
                return Err(E::of(FormatError::SectionLength {
                    id,
                    found: section.length as u32,
                    available: available.len() as u32,
                }));
            };
            // Total length and offset are multiples of 16, so all of the padding lies inside the file.
            let padding = section.length.wrapping_neg() % ALIGNMENT;
            if after.iter().take(padding).any(|&byte| byte != 0) {
                return Err(E::of(FormatError::SectionPadding { id }));
            }
            end += section.length + padding;
        }
        if end != self.bytes.len() {
            return Err(E::of(FormatError::TrailingBytes {
                found: self.bytes.len(),
                expected: end,
            }));
        }
        Ok(())
    }

    /// The whole file.
    pub(crate) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The section table in file order.
    #[must_use]
    pub fn sections(&self) -> Sections<'a> {
        let table = self
            .bytes
            .get(HEADER_LEN..HEADER_LEN + self.sections * ENTRY_LEN)
            .unwrap_or_default();
        Sections {
            entries: table.chunks_exact(ENTRY_LEN),
        }
    }

    /// The bytes of a section without padding, `None` if the file does not have it.
    #[must_use]
    pub fn section(&self, id: SectionId) -> Option<&'a [u8]> {
        let section = self.sections().find(|section| section.id == id)?;
        self.bytes.get(section.offset..)?.get(..section.length)
    }

    /// Format version of the file.
    #[must_use]
    pub fn format_version(&self) -> u32 {
        word(self.bytes, 8)
    }

    /// Length of the file in bytes.
    #[must_use]
    pub const fn total_len(&self) -> usize {
        self.bytes.len()
    }

    /// CRC-32 of the file.
    #[must_use]
    pub fn crc32(&self) -> u32 {
        word(self.bytes, CRC_OFFSET)
    }

    /// Target class: id of the plant and actuator set the policy is made for.
    #[must_use]
    pub fn target_class(&self) -> u32 {
        word(self.bytes, 24)
    }
}
