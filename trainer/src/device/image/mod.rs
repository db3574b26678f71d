//! What a board's flash shall hold, as a file that other tools write: BIN, Intel HEX or UF2.
//!
//! An [`Image`] is a list of segments, each bytes at an address: the policy in the board's slot and, where asked for, the
//! firmware. The table of boards gives every address.

use std::path::Path;

use ihex::Record;
use object::Endianness;
use object::elf::{FileHeader32, PT_LOAD};
use object::read::elf::{ElfFile, ProgramHeader};
use serde::Serialize;

use super::board::Board;
use crate::{Error, Result};

mod uf2;

/// What erased flash holds.
const ERASED: u8 = 0xFF;
/// Bytes of a HEX record: what every reader takes.
const RECORD: usize = 16;
/// Most bytes of a BIN image: more than the flash of any board of the table.
const MOST_BIN: u64 = 16 << 20;

/// A file format of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// The bytes from the image's first address to its last; gaps are erased flash.
    Bin,
    /// Intel HEX with 32-bit addresses.
    Hex,
    /// USB Flashing Format: 512-byte blocks with addresses and the chip's family.
    Uf2,
}

impl ImageFormat {
    /// The usual file extension, which is also the name on the command line.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            ImageFormat::Bin => "bin",
            ImageFormat::Hex => "hex",
            ImageFormat::Uf2 => "uf2",
        }
    }
}

/// Bytes at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Address of the first byte.
    pub address: u64,
    /// The bytes, at least one.
    pub bytes: Vec<u8>,
}

impl Segment {
    fn end(&self) -> u64 {
        self.address + self.bytes.len() as u64
    }
}

/// Segments in ascending order that do not overlap; at least one, all below 2^32.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    board: &'static Board,
    segments: Vec<Segment>,
    firmware: bool,
}

impl Image {
    /// The image of `policy` in the slot of `board`. On an emulated board the word behind the slot says how long it is.
    ///
    /// # Errors
    /// [`Error::Usage`] if the policy is empty or does not fit the slot.
    pub fn of_policy(board: &'static Board, policy: &[u8]) -> Result<Self> {
        if policy.is_empty() || policy.len() > board.slot_bytes {
            return Err(Error::Usage(format!(
                "policy: found {} bytes; the slot of {} holds {}",
                policy.len(),
                board.name,
                board.slot_bytes
            )));
        }
        let mut segments = vec![Segment {
            address: board.policy_address,
            bytes: policy.to_vec(),
        }];
        if board.emulator.is_some() {
            segments.push(Segment {
                address: board.policy_address + board.slot_bytes as u64,
                // A slot is far below 2^32 bytes.
                bytes: (policy.len() as u32).to_le_bytes().to_vec(),
            });
        }
        Self::new(board, segments, false)
    }

    /// This image with the firmware in `elf`, at the addresses it is loaded to.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Input`] if it is no 32-bit ELF or reaches into the slot.
    pub fn with_firmware(mut self, elf: &Path) -> Result<Self> {
        let bytes = std::fs::read(elf).map_err(|e| Error::io(elf, "cannot read", e))?;
        self.segments
            .extend(loaded(&bytes).map_err(|found| Error::input(elf, "ELF", found, "firmware"))?);
        Self::new(self.board, self.segments, true)
            .map_err(|error| Error::input(elf, "segments", error, "firmware beside the slot"))
    }

    fn new(board: &'static Board, mut segments: Vec<Segment>, firmware: bool) -> Result<Self> {
        segments.sort_by_key(|segment| segment.address);
        for pair in segments.windows(2) {
            if pair[0].end() > pair[1].address {
                return Err(Error::Usage(format!(
                    "image: {:#010x} to {:#010x} and {:#010x} overlap",
                    pair[0].address,
                    pair[0].end(),
                    pair[1].address
                )));
            }
        }
        if let Some(last) = segments.last().filter(|last| last.end() > 1 << 32) {
            return Err(Error::Usage(format!(
                "image: found the address {:#x}; allowed: below 2^32",
                last.end()
            )));
        }
        Ok(Self {
            board,
            segments,
            firmware,
        })
    }

    /// The segments, ascending.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Address of the first byte.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.segments.first().map_or(0, |segment| segment.address)
    }

    /// The file.
    ///
    /// # Errors
    /// [`Error::Usage`] for UF2 of a board that has no UF2 family, or whose UF2 bootloader lies where the firmware
    /// starts; for BIN of more than 16 MiB.
    pub fn encode(&self, format: ImageFormat) -> Result<Vec<u8>> {
        match format {
            ImageFormat::Bin => self.bin(),
            ImageFormat::Hex => self.hex(),
            ImageFormat::Uf2 => self.uf2(),
        }
    }

    fn bin(&self) -> Result<Vec<u8>> {
        let start = self.address();
        let end = self.segments.last().map_or(start, Segment::end);
        if end - start > MOST_BIN {
            return Err(Error::Usage(format!(
                "--image bin: found {} bytes from {start:#010x}; allowed: {MOST_BIN}",
                end - start
            )));
        }
        let mut file = vec![ERASED; (end - start) as usize];
        for segment in &self.segments {
            let at = (segment.address - start) as usize;
            file[at..at + segment.bytes.len()].copy_from_slice(&segment.bytes);
        }
        Ok(file)
    }

    fn hex(&self) -> Result<Vec<u8>> {
        let mut records = Vec::new();
        let mut upper = None;
        for segment in &self.segments {
            let mut address = segment.address;
            let mut rest = segment.bytes.as_slice();
            while !rest.is_empty() {
                let high = (address >> 16) as u16;
                if upper.replace(high) != Some(high) {
                    records.push(Record::ExtendedLinearAddress(high));
                }
                // A record ends with the 64 KiB that its upper half names.
                let room = 0x1_0000 - (address as usize & 0xFFFF);
                let (head, tail) = rest.split_at(rest.len().min(RECORD).min(room));
                records.push(Record::Data {
                    offset: address as u16,
                    value: head.to_vec(),
                });
                address += head.len() as u64;
                rest = tail;
            }
        }
        records.push(Record::EndOfFile);
        ihex::create_object_file_representation(&records)
            .map(|text| text.into_bytes())
            .map_err(|e| Error::Usage(format!("--image hex: {e}")))
    }

    fn uf2(&self) -> Result<Vec<u8>> {
        let probe = self.board.probe.ok_or_else(|| {
            Error::Usage(format!(
                "--image uf2: found {}, an emulated board; allowed: a real board, whose family UF2 names",
                self.board.name
            ))
        })?;
        if self.firmware && !probe.uf2_firmware {
            return Err(Error::Usage(format!(
                "--image uf2: found --firmware for {}, whose UF2 bootloader lies where the firmware starts; allowed: the \
                 policy alone, or --image hex",
                self.board.name
            )));
        }
        Ok(uf2::encode(&self.segments, probe.uf2_family))
    }
}

/// What a loader puts where, by the program headers.
fn loaded(elf: &[u8]) -> std::result::Result<Vec<Segment>, String> {
    let file: ElfFile<'_, FileHeader32<Endianness>> =
        ElfFile::parse(elf).map_err(|e| e.to_string())?;
    let endian = file.endian();
    let mut segments = Vec::new();
    for header in file.elf_program_headers() {
        if header.p_type(endian) != PT_LOAD || header.p_filesz(endian) == 0 {
            continue;
        }
        let bytes = header
            .data(endian, elf)
            .map_err(|()| "a segment outside the file".to_string())?;
        segments.push(Segment {
            // Where it is loaded, not where it runs: start values of statics lie in flash.
            address: header.p_paddr(endian).into(),
            bytes: bytes.to_vec(),
        });
    }
    if segments.is_empty() {
        return Err("no segment to load".into());
    }
    Ok(segments)
}

#[cfg(test)]
mod tests;
