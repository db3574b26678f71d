//! Encoding: the bytes of a small policy, decode after encode, and what is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use common::{Aligned, OwnedBlock, OwnedPolicy, OwnedVector, Structure, generate, load};
use policy_format::{
    EncodeError, FormatError, InputKind, NameKind, SectionId, encode, encoded_len,
};
use proptest::prelude::*;

/// The example of `docs/policy-format.md`, section 5.
const EXAMPLE: &str = "\
000: 89 48 50 4f 0d 0a 1a 0a 01 00 00 00 50 01 00 00
010: a9 0b 0f 65 07 00 00 00 07 00 00 00 00 00 00 00
020: 01 00 00 00 01 00 00 00 90 00 00 00 10 00 00 00
030: 02 00 00 00 01 00 00 00 a0 00 00 00 02 00 00 00
040: 03 00 00 00 01 00 00 00 b0 00 00 00 08 00 00 00
050: 06 00 00 00 01 00 00 00 c0 00 00 00 20 00 00 00
060: 09 00 00 00 01 00 00 00 e0 00 00 00 40 00 00 00
070: 0a 00 00 00 01 00 00 00 20 01 00 00 1c 00 00 00
080: 0b 00 00 00 00 00 00 00 40 01 00 00 06 00 00 00
090: 01 01 01 01 01 00 00 00 00 00 00 00 80 3e ac 02
0a0: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
0b0: 00 00 00 00 00 00 80 3f 00 00 00 00 00 00 00 00
0c0: 00 00 00 3f 00 00 00 00 00 00 00 00 00 00 00 00
0d0: 00 00 00 c0 00 00 00 00 00 00 00 00 00 00 00 00
0e0: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
0f0: 00 00 80 bf 00 00 00 00 00 00 00 00 00 00 00 00
100: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
110: 00 00 80 bf 00 00 00 00 00 00 00 00 00 00 00 00
120: 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
130: 01 00 00 00 00 00 00 00 00 00 00 3f 00 00 00 00
140: 01 00 01 78 01 6d 00 00 00 00 00 00 00 00 00 00
";

/// u = 1/2 - 2 s, one choice, one mode; a value of s that is subnormal leaves u = 1/2.
fn example() -> OwnedPolicy {
    OwnedPolicy {
        target_class: 7,
        state_dim: 1,
        control_dim: 1,
        modes: 1,
        factors: vec![1],
        input: InputKind::Affine,
        sample_time_s: 0.25,
        policy_version: 300,
        choice_modes: vec![0],
        shift: vec![0.0],
        scale: vec![1.0],
        scores: None,
        selector: None,
        gains: Some(vec![OwnedBlock {
            bias: vec![0.5],
            weights: vec![-2.0],
        }]),
        control: None,
        bounds: None,
        fallback_mode: 0,
        fallback_constant: vec![-1.0],
        fallback: OwnedBlock {
            bias: vec![0.0],
            weights: vec![-1.0],
        },
        golden: vec![OwnedVector {
            state: vec![f32::from_bits(1)],
            choice: 0,
            control: vec![0.5],
        }],
        names: vec![(NameKind::State, 0, "x".to_owned(), "m".to_owned())],
    }
}

fn dump(bytes: &[u8]) -> String {
    let line = |(index, line): (usize, &[u8])| {
        let hex: Vec<_> = line.iter().map(|b| format!("{b:02x}")).collect();
        format!("{:03x}: {}\n", 16 * index, hex.join(" "))
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

#[test]
fn the_example_of_the_document_byte_for_byte() {
    let file = example().encode();
    assert_eq!(dump(file.bytes()), EXAMPLE);
    let document = include_str!("../../docs/policy-format.md");
    assert!(
        document.contains(EXAMPLE),
        "docs/policy-format.md holds the same dump"
    );
    let policy = load(file.bytes());
    let mut control = [0.0];
    let mut scratch = vec![0.0; policy.scratch_len()];
    assert_eq!(policy.check_golden(&mut control, &mut scratch), Ok(()));
    policy.decide(&[3.0], &mut control, &mut scratch).unwrap();
    assert_eq!(control, [0.5 - 6.0]);
    assert_eq!(policy.fallback(&[3.0], &mut control), 0);
    assert_eq!(control, [-3.0]);
    assert_eq!(policy.fallback(&[f32::NAN], &mut control), 0);
    assert_eq!(control, [-1.0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn decoding_gives_back_what_was_encoded(
        n in 1..20_usize,
        m in 1..20_usize,
        rows in 1..30_u16,
        unit_norm in any::<bool>(),
        widths in prop::option::of(prop::collection::vec(1..30_usize, 0..5)),
        per_choice in any::<bool>(),
        bounds in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let policy = generate(&Structure {
            n, m,
            modes: 3,
            factors: vec![rows],
            unit_norm,
            scores: true,
            selector: widths.clone(),
            gains: true,
            control: widths,
            head_per_choice: per_choice,
            bounds,
            names: per_choice,
            seed,
        });
        let file = policy.encode();
        let loaded = load(file.bytes());
        prop_assert_eq!(OwnedPolicy::decode(&loaded), policy.clone());
        // The same specification gives the same bytes, also in a buffer that held others and is longer.
        let mut longer = Aligned::from(&vec![0xab; file.bytes().len() + 100]);
        let length = policy.with_spec(|spec| encode(spec, longer.bytes_mut())).unwrap();
        prop_assert_eq!(&longer.bytes()[..length], file.bytes());
    }

    /// No float but its own is disturbed: what is written for a block is what `weight` reads.
    #[test]
    fn panel_order_follows_the_document(rows in 1..25_u16, n in 1..8_usize, seed in any::<u64>()) {
        let policy = generate(&Structure {
            n,
            m: rows.into(),
            modes: 1,
            factors: vec![1],
            unit_norm: false,
            scores: false,
            selector: None,
            gains: true,
            control: None,
            head_per_choice: false,
            bounds: false,
            names: false,
            seed,
        });
        let file = policy.encode();
        let loaded = load(file.bytes());
        let block = loaded.gain(0).unwrap();
        let rows = usize::from(rows);
        // Panel heights by the words of the document.
        let (mut heights, mut left) = (Vec::new(), rows);
        while left >= 5 {
            heights.push(8);
            left = left.saturating_sub(8);
        }
        if left > 0 {
            heights.push(4);
        }
        prop_assert_eq!(block.bias().len(), heights.iter().sum::<usize>());
        let source = &policy.gains.as_ref().unwrap()[0];
        let (mut stream, mut first) = (block.panels().iter(), 0);
        for height in heights {
            for column in 0..n {
                for row in first..first + height {
                    let expected = if row < rows { source.weights[row * n + column] } else { 0.0 };
                    prop_assert_eq!(stream.next().map(|v| v.to_bits()), Some(expected.to_bits()));
                }
            }
            first += height;
        }
        prop_assert!(stream.next().is_none());
    }
}

#[test]
fn the_output_must_suffice() {
    example().with_spec(|spec| {
        let needed = encoded_len(spec).unwrap();
        for found in [0, 16, 31, needed - 1] {
            let mut out = vec![0; found];
            assert_eq!(
                encode(spec, &mut out),
                Err(EncodeError::BufferTooSmall { found, needed })
            );
        }
    });
}

/// What the error names, and the damage that causes it.
type Case = (&'static str, fn(&mut OwnedPolicy));

#[test]
fn wrong_shapes_are_refused() {
    let cases: [Case; 12] = [
        ("choice_modes", |p| p.choice_modes.push(0)),
        ("input_shift", |p| p.shift.push(0.0)),
        ("input_scale", |p| p.scale.clear()),
        ("scores", |p| p.scores.as_mut().unwrap().bias.push(0.0)),
        ("scores", |p| p.scores.as_mut().unwrap().weights.push(0.0)),
        ("selector output", |p| {
            p.selector.as_mut().unwrap()[0].bias.push(0.0)
        }),
        ("selector", |p| p.selector.as_mut().unwrap().clear()),
        ("gains.offset", |p| {
            p.gains.as_mut().unwrap()[0].bias.push(0.0)
        }),
        ("gains.matrix", |p| {
            p.gains.as_mut().unwrap()[5].weights.push(0.0)
        }),
        ("control.hidden", |p| {
            p.control.as_mut().unwrap().0[1].weights.push(0.0)
        }),
        ("bounds.upper", |p| p.bounds.as_mut().unwrap().1.push(1e9)),
        ("golden.state", |p| p.golden[1].state.push(0.0)),
    ];
    for (field, damage) in cases {
        let (_, mut policy) = common::golden_set::policies().pop().unwrap();
        damage(&mut policy);
        match policy.try_encode().err() {
            Some(EncodeError::Shape { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn values_no_reader_accepts_are_refused() {
    let cases: [Case; 16] = [
        ("OutOfRange", |p| p.modes = 300),
        ("OutOfRange", |p| p.factors = vec![]),
        ("ControlHeads", |p| {
            p.control.as_mut().unwrap().1.truncate(2)
        }),
        ("SampleTime", |p| p.sample_time_s = f32::NAN),
        ("ChoiceMode", |p| p.choice_modes[5] = 7),
        ("InputScale", |p| p.scale[0] = 0.0),
        ("NonFinite", |p| p.scale[0] = f32::NAN),
        ("NonFinite", |p| {
            p.gains.as_mut().unwrap()[3].weights[2] = f32::INFINITY
        }),
        ("NonFinite", |p| p.fallback_constant[8] = f32::NAN),
        ("BoundsOrder", |p| p.bounds.as_mut().unwrap().0[1] = 1e9),
        ("FallbackMode", |p| p.fallback_mode = 7),
        ("FallbackConstant", |p| p.fallback_constant[0] = 1e9),
        ("GoldenCount", |p| p.golden.clear()),
        ("GoldenChoice", |p| p.golden[0].choice = 6),
        ("NoControlLaw", |p| (p.gains, p.control) = (None, None)),
        ("GoldenWithoutSubnormal", |p| {
            p.golden = vec![p.golden[3].clone()]
        }),
    ];
    for (name, damage) in cases {
        let (_, mut policy) = common::golden_set::policies().pop().unwrap();
        damage(&mut policy);
        match policy.try_encode().err() {
            Some(EncodeError::Invalid(error)) => assert_eq!(error.name(), name),
            other => panic!("{name}: {other:?}"),
        }
    }
    // The place of a value that is not finite is that of the file.
    let mut policy = common::golden_set::policies().pop().unwrap().1;
    policy.golden[1].control[0] = f32::NAN;
    assert_eq!(
        policy.try_encode().err(),
        Some(EncodeError::Invalid(FormatError::NonFinite {
            section: SectionId::GOLDEN,
            word: 4 + 15 + 6
        }))
    );
}

#[test]
fn lists_and_names_beyond_the_format_are_refused() {
    let cases: [Case; 4] = [
        ("factors", |p| p.factors = vec![1; 9]),
        ("names", |p| p.names[0].2 = "x".repeat(65)),
        ("names", |p| p.names[1].3 = "x".repeat(300)),
        ("control.hidden", |p| {
            let hidden = &mut p.control.as_mut().unwrap().0;
            hidden.push(hidden[0].clone());
        }),
    ];
    for (field, damage) in cases {
        let (_, mut policy) = common::golden_set::policies().pop().unwrap();
        damage(&mut policy);
        match policy.try_encode().err() {
            Some(EncodeError::TooLong { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}
