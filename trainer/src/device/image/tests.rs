//! Images, parsed back by readers of their own.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::uf2::{BLOCK, FAMILY_PRESENT, MAGIC, MAGIC_END, PAYLOAD};
use super::*;
use crate::device::board::{BOARDS, find};

/// What a file puts where.
type Memory = BTreeMap<u64, u8>;

fn memory(image: &Image) -> Memory {
    let bytes = |segment: &Segment| (segment.address..).zip(segment.bytes.clone());
    image.segments().iter().flat_map(bytes).collect()
}

fn read_hex(file: &[u8]) -> Memory {
    let (mut memory, mut upper, mut ended) = (Memory::new(), 0, false);
    for record in ihex::Reader::new(std::str::from_utf8(file).unwrap()) {
        assert!(!ended, "a record behind the end");
        match record.unwrap() {
            Record::ExtendedLinearAddress(high) => upper = u64::from(high) << 16,
            Record::Data { offset, value } => {
                assert!(
                    usize::from(offset) + value.len() <= 0x1_0000,
                    "a record wraps around"
                );
                let start = upper + u64::from(offset);
                for (address, byte) in (start..).zip(value) {
                    assert!(memory.insert(address, byte).is_none(), "{address:#x} twice");
                }
            }
            Record::EndOfFile => ended = true,
            other => panic!("{other:?}"),
        }
    }
    assert!(ended);
    memory
}

fn read_uf2(file: &[u8], family: u32) -> Memory {
    let mut memory = Memory::new();
    assert_eq!(file.len() % BLOCK, 0);
    let count = (file.len() / BLOCK) as u32;
    for (number, block) in (0..).zip(file.chunks(BLOCK)) {
        let word = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
        assert_eq!([word(0), word(4)], MAGIC);
        assert_eq!((word(8), word(16) as usize), (FAMILY_PRESENT, PAYLOAD));
        assert_eq!((word(20), word(24), word(28)), (number, count, family));
        assert_eq!((word(12) as usize % PAYLOAD, word(508)), (0, MAGIC_END));
        for (address, &byte) in (u64::from(word(12))..).zip(&block[32..32 + PAYLOAD]) {
            assert!(memory.insert(address, byte).is_none(), "{address:#x} twice");
        }
    }
    memory
}

/// Asserts that `read` has the image, and besides it nothing but erased flash.
fn assert_holds(read: &Memory, image: &Image) {
    let wanted = memory(image);
    for (address, byte) in &wanted {
        assert_eq!(read.get(address), Some(byte), "{address:#x}");
    }
    let filled = read
        .iter()
        .filter(|(address, _)| !wanted.contains_key(address));
    assert!(filled.clone().all(|(_, &byte)| byte == ERASED));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_format_of_every_board_reads_back(
        which in 0..BOARDS.len(),
        policy in prop::collection::vec(any::<u8>(), 1..70_000),
    ) {
        let board = &BOARDS[which];
        let image = Image::of_policy(board, &policy).unwrap();
        prop_assert_eq!(image.address(), board.policy_address);
        let bin = image.encode(ImageFormat::Bin).unwrap();
        prop_assert_eq!(&bin[..policy.len()], &policy[..]);
        assert_holds(&(image.address()..).zip(bin).collect(), &image);
        prop_assert_eq!(read_hex(&image.encode(ImageFormat::Hex).unwrap()), memory(&image));
        match board.probe {
            Some(probe) => {
                let file = image.encode(ImageFormat::Uf2).unwrap();
                assert_holds(&read_uf2(&file, probe.uf2_family), &image);
            }
            None => {
                let error = image.encode(ImageFormat::Uf2).unwrap_err();
                prop_assert_eq!(error.exit_code(), 2);
                prop_assert!(error.to_string().contains(board.name));
            }
        }
    }
}

#[test]
fn hex_records_end_at_64_kib_and_segments_may_share_a_page() {
    let board = find("rp2350").unwrap();
    let segments = vec![
        Segment {
            address: 0x1000_FFF8,
            bytes: (0..40).collect(),
        },
        Segment {
            address: 0x1001_0025,
            bytes: vec![7; 3],
        },
    ];
    let image = Image::new(board, segments, false).unwrap();
    let hex = image.encode(ImageFormat::Hex).unwrap();
    assert_eq!(read_hex(&hex), memory(&image));
    // The first record, by hand: 8 bytes at FFF8 of upper half 1000.
    let text = String::from_utf8(hex).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(":020000041000EA"));
    assert_eq!(lines.next(), Some(":08FFF8000001020304050607E5"));
    let uf2 = image.encode(ImageFormat::Uf2).unwrap();
    assert_eq!(uf2.len(), 2 * BLOCK);
    assert_holds(&read_uf2(&uf2, 0xE48B_FF59), &image);
}

#[test]
fn a_policy_that_does_not_fit_and_segments_that_overlap_are_refused() {
    for board in BOARDS {
        assert!(Image::of_policy(board, &vec![1; board.slot_bytes]).is_ok());
        for length in [0, board.slot_bytes + 1] {
            let error = Image::of_policy(board, &vec![1; length]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(board.name), "{error}");
        }
    }
    let segment = |address, length| Segment {
        address,
        bytes: vec![0; length],
    };
    let board = find("nrf52840").unwrap();
    assert!(Image::new(board, vec![segment(8, 8), segment(0, 8)], false).is_ok());
    let error = Image::new(board, vec![segment(8, 8), segment(0, 9)], false).unwrap_err();
    assert!(error.to_string().contains("overlap"), "{error}");
    assert!(Image::new(board, vec![segment(u64::from(u32::MAX), 2)], false).is_err());
}

#[test]
fn only_rp2350_takes_its_firmware_as_uf2() {
    for board in BOARDS.iter().filter(|board| board.probe.is_some()) {
        let image = Image::of_policy(board, &[1; 16]).unwrap();
        let image = Image::new(board, image.segments, true).unwrap();
        let encoded = image.encode(ImageFormat::Uf2);
        assert_eq!(encoded.is_ok(), board.name == "rp2350", "{}", board.name);
    }
}

#[test]
fn what_is_no_elf_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("firmware.elf");
    let image = || Image::of_policy(find("stm32f405").unwrap(), &[1; 16]).unwrap();
    assert_eq!(image().with_firmware(&path).unwrap_err().exit_code(), 2);
    for bytes in [&b""[..], b"\x7fELF\x01\x01\x01", &[0x55; 200]] {
        std::fs::write(&path, bytes).unwrap();
        let error = image().with_firmware(&path).unwrap_err();
        assert!(error.to_string().contains("firmware.elf"), "{error}");
    }
}
