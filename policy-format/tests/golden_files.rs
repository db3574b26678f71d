//! The files of the first release. Later work may not break these: they must load, and give these bits, for ever.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use common::{Aligned, OwnedPolicy, golden_set, load};

struct Pin {
    name: &'static str,
    bytes: &'static [u8],
    length: usize,
    crc32: u32,
    parameters: usize,
}

macro_rules! pin {
    ($name:literal, $length:literal, $crc32:literal, $parameters:literal) => {
        Pin {
            name: $name,
            bytes: include_bytes!(concat!("golden/", $name)),
            length: $length,
            crc32: $crc32,
            parameters: $parameters,
        }
    };
}

const PINS: [Pin; 5] = [
    pin!("v1-unit-norm-gains.hpo", 1776, 0x4fe4_d791, 248),
    pin!("v1-scores-factors.hpo", 1920, 0xda9f_7fe6, 205),
    pin!("v1-affine-heads-bounds.hpo", 1712, 0x2eb3_8dfa, 242),
    pin!("v1-single-choice.hpo", 432, 0x3e6e_0f09, 3),
    pin!("v1-everything.hpo", 4736, 0x0176_78a9, 689),
];

#[test]
fn golden_files_load_and_pass_their_vectors() {
    for pin in &PINS {
        let file = Aligned::from(pin.bytes);
        let policy = load(file.bytes());
        assert_eq!(policy.total_len(), pin.length, "{}", pin.name);
        assert_eq!(
            policy.crc32(),
            pin.crc32,
            "{}: {:#010x}",
            pin.name,
            policy.crc32()
        );
        assert_eq!(policy.parameters(), pin.parameters, "{}", pin.name);
        let mut control = vec![0.0; policy.control_dim()];
        let mut scratch = vec![f32::NAN; policy.scratch_len()];
        assert_eq!(
            policy.check_golden(&mut control, &mut scratch),
            Ok(()),
            "{}",
            pin.name
        );
        assert!(
            policy
                .golden()
                .any(|v| v.state.iter().any(|s| s.is_subnormal())),
            "{}",
            pin.name
        );
    }
}

/// A vector that is off by one bit is found, whichever word it sits in.
#[test]
fn golden_vectors_are_compared_bit_for_bit() {
    for (name, policy) in golden_set::policies() {
        for vector in 0..policy.golden.len() {
            for coordinate in 0..policy.golden[vector].control.len() {
                let mut damaged = policy.clone();
                let value = &mut damaged.golden[vector].control[coordinate];
                *value = f32::from_bits(value.to_bits() ^ 1);
                let file = damaged.encode();
                let policy = load(file.bytes());
                let mut control = vec![0.0; policy.control_dim()];
                let mut scratch = vec![0.0; policy.scratch_len()];
                let error = policy.check_golden(&mut control, &mut scratch).unwrap_err();
                assert_eq!(error.index(), vector, "{name}: {error}");
            }
        }
    }
}

/// Encoding still writes these bytes; the files are committed, this says where they came from.
#[test]
fn golden_files_come_from_the_generator() {
    let policies = golden_set::policies();
    assert_eq!(policies.len(), PINS.len());
    for ((name, policy), pin) in policies.iter().zip(&PINS) {
        assert_eq!(*name, pin.name);
        assert_eq!(policy.encode().bytes(), pin.bytes, "{name}");
        let file = Aligned::from(pin.bytes);
        assert_eq!(OwnedPolicy::decode(&load(file.bytes())), *policy, "{name}");
    }
}
