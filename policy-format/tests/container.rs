//! Damaged containers: every one gives a typed error, and none gets past the checksum.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use common::parts::Parts;
use common::{Aligned, golden_set, load};
use policy_format::{
    Capacity, ContainerWriter, EncodeError, FORMAT_VERSION, FormatError, MAGIC, MAX_TOTAL_LEN,
    RawPolicy, SectionId, reseal,
};

fn smallest() -> Aligned {
    let (name, policy) = golden_set::policies().remove(3);
    assert_eq!(name, "v1-single-choice.hpo");
    policy.encode()
}

/// The error of a file altered by `damage` and resealed.
fn damaged(damage: impl FnOnce(&mut [u8])) -> Option<FormatError> {
    let mut file = smallest();
    damage(file.bytes_mut());
    reseal(file.bytes_mut());
    RawPolicy::parse(file.bytes()).err()
}

fn put(bytes: &mut [u8], offset: usize, word: u32) {
    bytes[offset..offset + 4].copy_from_slice(&word.to_le_bytes());
}

#[test]
fn truncation_at_every_length_is_an_error() {
    for (name, policy) in golden_set::policies() {
        let file = policy.encode();
        for length in 0..file.bytes().len() {
            let short = Aligned::from(&file.bytes()[..length]);
            let error = RawPolicy::parse(short.bytes()).unwrap_err();
            let expected = if length < 32 {
                FormatError::TooShort { found: length }
            } else {
                FormatError::TotalLength {
                    declared: file.bytes().len() as u32,
                    found: length,
                }
            };
            assert_eq!(error, expected, "{name} at {length}");
            // With length and CRC made right the sections no longer are.
            if length >= 32 && length % 16 == 0 {
                let mut short = short;
                put(short.bytes_mut(), 12, length as u32);
                reseal(short.bytes_mut());
                assert!(
                    RawPolicy::parse(short.bytes()).is_err(),
                    "{name} at {length}"
                );
            }
        }
    }
}

#[test]
fn every_single_flipped_bit_is_an_error() {
    for (name, policy) in golden_set::policies() {
        let mut file = policy.encode();
        for bit in 0..8 * file.bytes().len() {
            file.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
            assert!(RawPolicy::parse(file.bytes()).is_err(), "{name}: bit {bit}");
            file.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
        }
        load(file.bytes());
    }
}

#[test]
fn a_misaligned_buffer_is_an_error_at_every_offset() {
    let file = smallest();
    let length = file.bytes().len();
    for offset in 1..16 {
        let mut room = Aligned::zeros(length + 16);
        room.bytes_mut()[offset..offset + length].copy_from_slice(file.bytes());
        assert_eq!(
            RawPolicy::parse(&room.bytes()[offset..offset + length]).err(),
            Some(FormatError::Misaligned {
                found: offset as u8
            })
        );
    }
}

#[test]
fn header_fields() {
    let length = smallest().bytes().len();
    assert_eq!(damaged(|_| {}), None);
    let mut magic = MAGIC;
    magic[0] = 0x88;
    assert_eq!(
        damaged(|b| b[0] = 0x88),
        Some(FormatError::Magic { found: magic })
    );
    assert_eq!(
        damaged(|b| put(b, 8, FORMAT_VERSION + 1)),
        Some(FormatError::Version { found: 2 })
    );
    assert_eq!(
        damaged(|b| put(b, 8, 0)),
        Some(FormatError::Version { found: 0 })
    );
    for found in [
        0,
        16,
        length as u32 + 1,
        MAX_TOTAL_LEN as u32 + 16,
        u32::MAX,
    ] {
        assert_eq!(
            damaged(|b| put(b, 12, found)),
            Some(FormatError::TotalLengthInvalid { found })
        );
    }
    for declared in [length as u32 - 16, length as u32 + 16, MAX_TOTAL_LEN as u32] {
        assert_eq!(
            damaged(|b| put(b, 12, declared)),
            Some(FormatError::TotalLength {
                declared,
                found: length
            })
        );
    }
    for found in [0, 33, u32::MAX] {
        assert_eq!(
            damaged(|b| put(b, 20, found)),
            Some(FormatError::SectionCount { found })
        );
    }
    assert_eq!(
        damaged(|b| put(b, 20, 32)),
        Some(FormatError::TableTruncated {
            sections: 32,
            length
        })
    );
    assert_eq!(
        damaged(|b| put(b, 28, 1)),
        Some(FormatError::Reserved { found: 1 })
    );
    // The target class is any number.
    assert_eq!(damaged(|b| put(b, 24, 0xdead_beef)), None);
}

/// A newer version is told apart before its checksum, which may be another one, is looked at.
#[test]
fn a_newer_version_is_named_whatever_its_checksum() {
    let mut file = smallest();
    put(file.bytes_mut(), 8, 2);
    assert_eq!(
        RawPolicy::parse(file.bytes()).err(),
        Some(FormatError::Version { found: 2 })
    );
}

#[test]
fn section_table() {
    let entry = |index: usize| 32 + 16 * index;
    let file = smallest();
    let sections: Vec<_> = RawPolicy::parse(file.bytes()).unwrap().sections().collect();
    assert_eq!(sections.len(), 7);
    // Duplicate and descending ids.
    for found in [1, 0] {
        assert_eq!(
            damaged(|b| put(b, entry(1), found)),
            Some(FormatError::SectionOrder { previous: 1, found })
        );
    }
    assert_eq!(
        damaged(|b| put(b, entry(2) + 4, 3)),
        Some(FormatError::SectionFlags { id: 3, found: 3 })
    );
    // Overlap, gap, and a start in the table.
    for found in [
        0,
        sections[0].offset as u32,
        sections[1].offset as u32 + 16,
        u32::MAX - 15,
    ] {
        assert_eq!(
            damaged(|b| put(b, entry(1) + 8, found)),
            Some(FormatError::SectionOffset {
                id: 2,
                found,
                expected: sections[1].offset as u32
            })
        );
    }
    let available = (file.bytes().len() - sections[0].offset) as u32;
    for found in [0, available + 1, u32::MAX] {
        assert_eq!(
            damaged(|b| put(b, entry(0) + 12, found)),
            Some(FormatError::SectionLength {
                id: 1,
                found,
                available
            })
        );
    }
    let after = sections[0].offset + sections[0].length;
    assert!(after % 16 != 0, "META is followed by padding here");
    assert_eq!(
        damaged(|b| b[after] = 1),
        Some(FormatError::SectionPadding { id: 1 })
    );
}

#[test]
fn bytes_behind_the_last_section_are_an_error() {
    let file = smallest();
    let length = file.bytes().len();
    let mut longer = Aligned::zeros(length + 16);
    longer.bytes_mut()[..length].copy_from_slice(file.bytes());
    assert_eq!(
        RawPolicy::parse(longer.bytes()).err(),
        Some(FormatError::TotalLength {
            declared: length as u32,
            found: length + 16
        })
    );
    put(longer.bytes_mut(), 12, length as u32 + 16);
    reseal(longer.bytes_mut());
    assert_eq!(
        RawPolicy::parse(longer.bytes()).err(),
        Some(FormatError::TrailingBytes {
            found: length + 16,
            expected: length
        })
    );
}

/// A device finds a policy at an address and learns its length from the header.
#[test]
fn the_length_is_found_in_a_longer_region() {
    let file = smallest();
    let length = file.bytes().len();
    let mut region = Aligned::zeros(length + 4096);
    region.bytes_mut().fill(0xff);
    region.bytes_mut()[..length].copy_from_slice(file.bytes());
    assert_eq!(RawPolicy::length_in_header(region.bytes()), Ok(length));
    load(&region.bytes()[..length]);
    assert_eq!(
        RawPolicy::length_in_header(&file.bytes()[..length - 16]),
        Err(FormatError::TotalLength {
            declared: length as u32,
            found: length - 16
        })
    );
    let erased = Aligned::from(&[0xff; 64]);
    assert_eq!(
        RawPolicy::length_in_header(erased.bytes()),
        Err(FormatError::Magic { found: [0xff; 8] })
    );
}

#[test]
fn unknown_sections() {
    for id in [0, 12, 1000, u32::MAX] {
        let mut parts = Parts::of(&smallest());
        let position = if id == 0 { 0 } else { parts.sections.len() };
        parts
            .sections
            .insert(position, (SectionId(id), false, vec![0xab; 33]));
        assert_eq!(parts.error(&Capacity::FORMAT), None, "optional {id}");
        parts.sections[position].1 = true;
        assert_eq!(
            parts.error(&Capacity::FORMAT),
            Some(FormatError::UnknownCriticalSection { id })
        );
    }
}

/// An ignored section changes nothing in what the policy computes.
#[test]
fn an_unknown_optional_section_changes_no_bit() {
    for (name, policy) in golden_set::policies() {
        let mut parts = Parts::of(&policy.encode());
        parts.sections.push((SectionId(77), false, vec![0xff; 5]));
        let file = parts.build();
        let loaded = load(file.bytes());
        let mut control = vec![0.0; loaded.control_dim()];
        let mut scratch = vec![0.0; loaded.scratch_len()];
        assert_eq!(
            loaded.check_golden(&mut control, &mut scratch),
            Ok(()),
            "{name}"
        );
    }
}

#[test]
fn the_writer_says_what_it_lacks() {
    let mut out = [0; 128];
    let mut writer = ContainerWriter::new(&mut out, 0, 2);
    writer.section(SectionId(1), true);
    writer.put(b"one");
    assert_eq!(
        writer.finish(),
        Err(EncodeError::Shape {
            field: "sections",
            found: 1,
            expected: 2
        })
    );
    let mut writer = ContainerWriter::new(&mut out, 0, 1);
    writer.section(SectionId(1), true);
    for _ in 0..MAX_TOTAL_LEN / 4 {
        writer.put_word(0);
    }
    assert_eq!(
        writer.finish(),
        Err(EncodeError::TooLong {
            field: "file",
            found: MAX_TOTAL_LEN + 48,
            allowed: MAX_TOTAL_LEN
        })
    );
}

/// CRC-32 of the header and of the rest, against a bitwise one.
#[test]
fn the_checksum_is_crc32_iso_hdlc_without_its_own_field() {
    for (name, policy) in golden_set::policies() {
        let file = policy.encode();
        let bytes = file.bytes();
        let mut crc = u32::MAX;
        for byte in bytes[..16].iter().chain(&bytes[20..]) {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
            }
        }
        assert_eq!(load(bytes).crc32(), !crc, "{name}");
    }
}
