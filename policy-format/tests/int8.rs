//! 8-bit networks: integer-exact against a second writing of the rule, refused where sums could leave their range.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use common::int8::{activation, encode, input, networks, run, try_encode, value};
use common::parts::Parts;
use common::{Aligned, OwnedPolicy, Structure, generate, load};
use policy_format::{
    Capacity, EncodeError, FormatError, INT8_TANH, Precision, RawPolicy, SectionId, int8_input,
    int8_tanh,
};
use proptest::prelude::*;

fn structure() -> Structure {
    Structure {
        n: 5,
        m: 3,
        modes: 3,
        factors: vec![4],
        unit_norm: false,
        scores: false,
        selector: Some(vec![9, 6]),
        gains: false,
        control: Some(vec![7]),
        head_per_choice: true,
        bounds: false,
        names: true,
        seed: 77,
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn an_8_bit_policy_computes_what_64_bit_integers_give(
        n in 1..40_usize,
        m in 1..11_usize,
        factor in 1..7_u16,
        selector in prop::collection::vec(1..70_usize, 0..4),
        control in prop::collection::vec(1..70_usize, 0..4),
        unit_norm: bool,
        head_per_choice: bool,
        seed: u64,
        scale in -20..6_i32,
    ) {
        let policy = generate(&Structure {
            n, m, factors: vec![factor], selector: Some(selector), control: Some(control),
            unit_norm, head_per_choice, seed, ..structure()
        });
        let eight = networks(&policy, seed);
        let file = encode(&policy, &eight).unwrap();
        let loaded = load(file.bytes());
        prop_assert_eq!(loaded.precision(), Precision::Int8);
        let mut rng = common::generate::Rng(seed ^ 1);
        for _ in 0..4 {
            let state: Vec<f32> = rng.floats(n, 1.0).iter().map(|s| s * 2.0_f32.powi(scale)).collect();
            let mut control = vec![0.0; m];
            let mut scratch = vec![f32::NAN; loaded.scratch_len()];
            let decision = loaded.decide(&state, &mut control, &mut scratch).unwrap();
            let (z, rho) = input(&policy, &state);
            let logits = run(eight[0].as_ref().unwrap(), 0, &z);
            let best = (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
            prop_assert_eq!(usize::from(decision.choice), best);
            let head = if head_per_choice { best } else { 0 };
            let mut expected = run(eight[1].as_ref().unwrap(), head, &z);
            if unit_norm {
                expected.iter_mut().for_each(|u| *u *= rho);
            }
            prop_assert_eq!(bits(&control), bits(&expected));
        }
    }

    #[test]
    fn the_input_is_the_nearest_integer_within_its_limits(z in any::<f32>(), scale in 1e-3_f32..1e6) {
        prop_assume!(z.is_finite());
        let expected = (z * scale).round_ties_even().clamp(-1024.0, 1023.0) as i16;
        prop_assert_eq!(int8_input(z, scale), expected);
    }

    #[test]
    fn activations_follow_the_rule(sum in -8_388_607_i32..8_388_608, multiplier in 1..0x8000_u16) {
        prop_assert_eq!(
            i64::from(int8_tanh(sum, multiplier)),
            activation(sum.into(), multiplier.into())
        );
    }
}

/// The table is tanh, and its lines stay within two units of an activation, everywhere: half for the value,
/// one for rounding down, the rest for the line.
#[test]
fn the_table_is_tanh() {
    for (index, &entry) in INT8_TANH.iter().enumerate() {
        let interval = index as i64 - 64;
        let flat = index == 0 || index == 127;
        let expected = if index == 0 {
            value(-63)
        } else {
            value(interval)
        };
        assert_eq!(i64::from(entry as i32 >> 16), expected, "{interval}");
        let rise = if flat {
            0
        } else {
            256 * (value(interval + 1) - value(interval))
        };
        assert_eq!(i64::from(entry as u16), rise, "{interval}");
    }
    let mut before = i16::MIN;
    // A multiplier of 256 makes a unit of the sum 2^-18 of pre-activation.
    for sum in (-(5 << 18)..=5 << 18).step_by(7) {
        let y = int8_tanh(sum, 256);
        let exact = 1023.0 * (f64::from(sum) / f64::from(1 << 18)).tanh();
        assert!(
            (f64::from(y) - exact).abs() <= 1.9,
            "{sum}: {y} for {exact}"
        );
        assert!(y >= before, "{sum}");
        before = y;
    }
}

#[test]
fn what_a_reader_may_not_accept_is_refused() {
    let policy = generate(&structure());
    let good = networks(&policy, 3);
    assert!(try_encode(&policy, &good).is_ok());
    let id = SectionId::CONTROL_INT8;
    let refused = |change: &dyn Fn(&mut common::int8::OwnedInt8Network)| {
        let mut bad = good.clone();
        change(bad[1].as_mut().unwrap());
        try_encode(&policy, &bad).err().unwrap()
    };
    let row_0 = |error| EncodeError::Invalid(error);
    assert_eq!(
        refused(&|n| n.hidden[0].bias[0] += 1),
        row_0(FormatError::Int8Range {
            section: id,
            row: 0,
            found: 8_388_608
        })
    );
    assert_eq!(
        refused(&|n| n.hidden[0].weights[7] = -128),
        row_0(FormatError::Int8Weight {
            section: id,
            row: 1,
            column: 2
        })
    );
    for found in [0, 0x8000] {
        assert_eq!(
            refused(&|n| n.hidden[0].factor[6] = found),
            row_0(FormatError::Int8Factor {
                section: id,
                row: 6,
                found
            })
        );
    }
    for scale in [0.0_f32, -1.0, f32::NAN, f32::INFINITY, 1e-40] {
        let found = scale.to_bits();
        // The rows of the hidden layer take two panels of four.
        assert_eq!(
            refused(&|n| n.heads[1].factor[2] = found),
            row_0(FormatError::Int8Factor {
                section: id,
                row: 8 + 4 + 2,
                found
            })
        );
        assert_eq!(
            refused(&|n| n.input_scale[3] = scale),
            row_0(FormatError::Int8InputScale {
                section: id,
                index: 3
            })
        );
    }
    assert!(matches!(
        refused(&|n| {
            n.heads.pop();
        }),
        EncodeError::Shape {
            field: "heads",
            found: 3,
            expected: 4
        }
    ));
    let without = generate(&Structure {
        selector: None,
        scores: true,
        control: None,
        gains: true,
        ..structure()
    });
    assert!(matches!(
        try_encode(&without, &[None, None]),
        Err(EncodeError::Invalid(FormatError::OutOfRange {
            field: "precision (without networks)",
            ..
        }))
    ));
}

/// The same through bytes: validation finds in a file what encoding would not write.
#[test]
fn a_file_that_encoding_would_not_write_is_refused() {
    let policy = generate(&structure());
    let file = encode(&policy, &networks(&policy, 3)).unwrap();
    let (selector, control) = (SectionId::SELECTOR_INT8, SectionId::CONTROL_INT8);
    let error = |change: &dyn Fn(&mut Parts)| {
        let mut parts = Parts::of(&file);
        change(&mut parts);
        parts.error(&Capacity::FORMAT)
    };
    assert_eq!(error(&|_| ()), None);
    // Input scales take 8 words; a hidden panel of 5 columns 4 + 8 + 2.
    assert_eq!(
        error(&|p| p.set_word(control, 8 + 4, 0x0000_0080)),
        Some(FormatError::Int8Weight {
            section: control,
            row: 0,
            column: 0
        })
    );
    // 256 * odd + even = -32768 is an odd weight of -128.
    assert_eq!(
        error(&|p| p.set_word(control, 8 + 4, 0x8000_0000)),
        Some(FormatError::Int8Weight {
            section: control,
            row: 1,
            column: 1
        })
    );
    assert_eq!(
        error(&|p| p.set_word(control, 8, 0x7fff_ffff)),
        Some(FormatError::Int8Range {
            section: control,
            row: 0,
            found: 0x7fff_ffff + 1024 * 127 * 5
        })
    );
    // Word 7 of the panel's weights holds columns 6 and 7, which do not exist.
    assert_eq!(
        error(&|p| p.set_word(control, 8 + 4 + 7, 1)),
        Some(FormatError::Int8Padding {
            section: control,
            row: 2
        })
    );
    // Seven hidden rows: the eighth is padding, its multiplier the upper half of the last word.
    assert_eq!(
        error(&|p| p.set_word(control, 8 + 14 + 13, 0x0001_0001)),
        Some(FormatError::Int8Padding {
            section: control,
            row: 7
        })
    );
    assert_eq!(
        error(&|p| p.set_word(control, 5, 1)),
        Some(FormatError::Int8InputScale {
            section: control,
            index: 5
        })
    );
    assert_eq!(
        error(&|p| p.remove(selector)),
        Some(FormatError::MissingSection { section: selector })
    );
    assert!(matches!(
        error(&|p| {
            p.content(control).extend([0; 4]);
        }),
        Some(FormatError::SectionSize { .. })
    ));
    let float = Parts::of(&policy.encode());
    assert_eq!(
        error(&|p| {
            let section = float.sections.iter().find(|s| s.0 == SectionId::SELECTOR);
            p.sections.push(section.unwrap().clone());
            p.sections.sort_by_key(|s| s.0);
        }),
        Some(FormatError::UnexpectedSection {
            section: SectionId::SELECTOR
        })
    );
}

/// Everything but the networks, META and the golden vectors is what the binary32 file says.
#[test]
fn the_rest_of_the_policy_is_taken_over() {
    let policy = generate(&Structure {
        gains: true,
        scores: true,
        bounds: true,
        ..structure()
    });
    let (float, eight) = (
        policy.encode(),
        encode(&policy, &networks(&policy, 9)).unwrap(),
    );
    let (mut before, mut after) = (Parts::of(&float), Parts::of(&eight));
    for parts in [&mut before, &mut after] {
        for id in [
            SectionId::META,
            SectionId::GOLDEN,
            SectionId::SELECTOR,
            SectionId::CONTROL,
            SectionId::SELECTOR_INT8,
            SectionId::CONTROL_INT8,
        ] {
            parts.remove(id);
        }
    }
    assert_eq!(before.target_class, after.target_class);
    assert_eq!(before.sections, after.sections);
    let (before, after) = (load(float.bytes()), load(eight.bytes()));
    assert_eq!(before.parameters(), after.parameters());
    assert!(after.selector_blocks().next().is_none() && after.control_blocks().next().is_none());
    let again = common::int8::try_encode_bytes(eight.bytes());
    assert!(matches!(
        again,
        Err(EncodeError::Invalid(FormatError::OutOfRange {
            field: "precision",
            found: 1,
            ..
        }))
    ));
}

/// Pinned like the files of the first release: it loads and gives these bits for ever.
#[test]
fn the_golden_file_in_8_bits_holds() {
    let bytes = include_bytes!("golden/v1-int8.hpo");
    let file = Aligned::from(bytes);
    let loaded = load(file.bytes());
    assert_eq!((loaded.total_len(), loaded.crc32()), (PIN_LENGTH, PIN_CRC));
    assert_eq!(loaded.precision(), Precision::Int8);
    let mut control = vec![0.0; loaded.control_dim()];
    let mut scratch = vec![f32::NAN; loaded.scratch_len()];
    assert_eq!(loaded.check_golden(&mut control, &mut scratch), Ok(()));
    assert_eq!(golden_file().bytes(), bytes);
}

const PIN_LENGTH: usize = 2128;
const PIN_CRC: u32 = 0xaadd_5415;

fn golden_file() -> Aligned {
    let policy: OwnedPolicy = generate(&Structure {
        unit_norm: true,
        scores: true,
        gains: true,
        bounds: true,
        ..structure()
    });
    encode(&policy, &networks(&policy, 20)).unwrap()
}

/// An older reader, which knows only precision 0, refuses the file by its META; this one checks the range.
#[test]
fn another_precision_is_refused() {
    let file = golden_file();
    let mut parts = Parts::of(&file);
    let meta = parts.content(SectionId::META);
    // n, m, M; one factor; input; two networks with 2 and 1 widths; heads: then the precision.
    let at = 3 + 2 + 1 + 4 + 3 + 1;
    assert_eq!(meta[at], 1);
    meta[at] = 2;
    let file = parts.build();
    let error = RawPolicy::parse(file.bytes())
        .unwrap()
        .validate(&Capacity::FORMAT)
        .unwrap_err();
    assert_eq!(
        error,
        FormatError::OutOfRange {
            field: "precision",
            found: 2,
            min: 0,
            max: 1
        }
    );
}
