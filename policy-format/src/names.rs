//! Names and units of plant, states, controls and modes (section NAMES).

use core::fmt;

use serde::{Deserialize, Serialize};

/// Greatest length of a name or unit in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 64;

/// What a name belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameKind {
    /// The plant as a whole (index 0).
    Plant,
    /// A state coordinate.
    State,
    /// A control coordinate.
    Control,
    /// A plant mode.
    Mode,
}

/// The name and unit of one thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameRecord<'a> {
    /// What is named.
    pub kind: NameKind,
    /// Which one of its kind, from 0.
    pub index: u16,
    /// Name, at most [`MAX_NAME_BYTES`] bytes.
    pub name: &'a str,
    /// Unit, at most [`MAX_NAME_BYTES`] bytes; empty without one.
    pub unit: &'a str,
}

/// A record as it is on the wire.
#[derive(Serialize, Deserialize)]
pub(crate) struct WireName<'a> {
    kind: u8,
    index: u16,
    name: &'a str,
    unit: &'a str,
}

impl<'a> From<NameRecord<'a>> for WireName<'a> {
    fn from(record: NameRecord<'a>) -> Self {
        Self {
            kind: record.kind as u8,
            index: record.index,
            name: record.name,
            unit: record.unit,
        }
    }
}

/// A damaged record in section NAMES. The records behind it cannot be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameError {
    /// Number of the record, from 0.
    pub record: usize,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "record {} of section NAMES is damaged (kind 0 to 3, index, name and unit of at most {MAX_NAME_BYTES} bytes of UTF-8)",
            self.record
        )
    }
}

impl core::error::Error for NameError {}

/// Iterator over the records of section NAMES; ends behind the first damaged one. Meant for hosts: a device
/// does not read names.
#[derive(Clone, Debug)]
pub struct Names<'a> {
    bytes: &'a [u8],
    record: usize,
}

impl<'a> Names<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, record: 0 }
    }
}

impl<'a> Iterator for Names<'a> {
    type Item = Result<NameRecord<'a>, NameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let record = self.record;
        self.record += 1;
        let decoded = postcard::take_from_bytes::<WireName<'a>>(self.bytes)
            .ok()
            .and_then(|(wire, rest)| Some((checked(&wire)?, rest)));
        match decoded {
            Some((name, rest)) => {
                self.bytes = rest;
                Some(Ok(name))
            }
            None => {
                self.bytes = &[];
                Some(Err(NameError { record }))
            }
        }
    }
}

fn checked<'a>(wire: &WireName<'a>) -> Option<NameRecord<'a>> {
    let kind = match wire.kind {
        0 => NameKind::Plant,
        1 => NameKind::State,
        2 => NameKind::Control,
        3 => NameKind::Mode,
        _ => return None,
    };
    let fits = wire.name.len() <= MAX_NAME_BYTES && wire.unit.len() <= MAX_NAME_BYTES;
    fits.then_some(NameRecord {
        kind,
        index: wire.index,
        name: wire.name,
        unit: wire.unit,
    })
}
