//! Each thing that can be wrong inside the sections has its own error.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use common::parts::Parts;
use common::{golden_set, load};
use policy_format::{Capacity, FormatError, SectionId};

fn parts(name: &str) -> Parts {
    let policies = golden_set::policies();
    let (_, policy) = policies.iter().find(|(n, _)| *n == name).unwrap();
    Parts::of(&policy.encode())
}

/// n = 5, m = 9, M = 7, factors 2, 1, 3; every section is there.
fn everything() -> Parts {
    parts("v1-everything.hpo")
}

fn error_of(mut parts: Parts, damage: impl FnOnce(&mut Parts)) -> FormatError {
    damage(&mut parts);
    parts.error(&Capacity::FORMAT).expect("the damage is found")
}

fn error(damage: impl FnOnce(&mut Parts)) -> FormatError {
    error_of(everything(), damage)
}

#[test]
fn absent_and_surplus_sections() {
    for id in [
        SectionId::META,
        SectionId::CHOICE_MODES,
        SectionId::INPUT,
        SectionId::SELECTOR,
        SectionId::CONTROL,
        SectionId::FALLBACK,
        SectionId::GOLDEN,
    ] {
        assert_eq!(
            error(|p| p.remove(id)),
            FormatError::MissingSection { section: id }
        );
    }
    // What META does not mention may be absent.
    for id in [
        SectionId::SCORES,
        SectionId::GAINS,
        SectionId::BOUNDS,
        SectionId::NAMES,
    ] {
        let mut parts = everything();
        parts.remove(id);
        assert_eq!(parts.error(&Capacity::FORMAT), None, "{id}");
    }
    let surplus = |section: SectionId| {
        error_of(parts("v1-scores-factors.hpo"), |p| {
            let position = p.sections.iter().position(|s| s.0 > section).unwrap();
            p.sections.insert(position, (section, true, vec![0; 16]));
        })
    };
    for section in [SectionId::SELECTOR, SectionId::CONTROL] {
        assert_eq!(surplus(section), FormatError::UnexpectedSection { section });
    }
    assert_eq!(
        error_of(parts("v1-scores-factors.hpo"), |p| p
            .remove(SectionId::SCORES)),
        FormatError::NoSelector { choices: 6 }
    );
    assert_eq!(
        error_of(parts("v1-scores-factors.hpo"), |p| p
            .remove(SectionId::GAINS)),
        FormatError::NoControlLaw
    );
}

#[test]
fn sections_carry_the_flag_of_their_id() {
    for index in 0..11 {
        let expected = everything().sections[index].0;
        let error = error(|p| p.sections[index].1 ^= true);
        assert_eq!(
            error,
            FormatError::WrongCriticalFlag {
                id: expected.0,
                found: u32::from(expected == SectionId::NAMES)
            }
        );
    }
}

#[test]
fn section_lengths_are_exact() {
    for (id, _, content) in everything().sections {
        if id == SectionId::META || id == SectionId::NAMES {
            continue;
        }
        for change in [-4_isize, -1, 1, 4, 16] {
            let length = content.len().checked_add_signed(change).unwrap();
            let error = error(|p| p.content(id).resize(length, 0));
            assert_eq!(
                error,
                FormatError::SectionSize {
                    section: id,
                    found: length,
                    expected: content.len() as u64
                }
            );
        }
    }
    let short = error(|p| p.content(SectionId::GOLDEN).truncate(3));
    assert!(matches!(
        short,
        FormatError::SectionSize {
            section: SectionId::GOLDEN,
            found: 3,
            ..
        }
    ));
}

/// Fields of META by their offset in `v1-everything.hpo`.
#[test]
fn meta_fields() {
    let meta = everything().content(SectionId::META).clone();
    // state, control, modes, 3 factors, input, Some([]), Some([4, 3, 5, 2]), heads, precision, ...
    assert_eq!(
        &meta[..18],
        [5, 9, 7, 3, 2, 1, 3, 1, 1, 0, 1, 4, 4, 3, 5, 2, 6, 0]
    );
    let set = |offset: usize, value: u8| error(|p| p.content(SectionId::META)[offset] = value);
    let range = |field, found, min, max| FormatError::OutOfRange {
        field,
        found,
        min,
        max,
    };
    assert_eq!(set(0, 0), range("state_dim", 0, 1, 256));
    assert_eq!(set(1, 0), range("control_dim", 0, 1, 256));
    assert_eq!(set(2, 0), range("modes", 0, 1, 256));
    assert_eq!(set(4, 0), range("factor", 0, 1, 4096));
    assert_eq!(set(7, 2), range("input", 2, 0, 1));
    assert_eq!(set(13, 0), range("hidden width", 0, 1, 1024));
    assert_eq!(
        set(16, 2),
        FormatError::ControlHeads {
            found: 2,
            choices: 6
        }
    );
    assert_eq!(set(17, 2), range("precision", 2, 0, 1));
    for (time, name) in [
        (0.0_f32, "zero"),
        (-0.1, "negative"),
        (f32::NAN, "nan"),
        (f32::INFINITY, "inf"),
    ] {
        let error =
            error(|p| p.content(SectionId::META)[18..22].copy_from_slice(&time.to_le_bytes()));
        assert_eq!(error.name(), "SampleTime", "{name}");
    }
    // Option tag 2, a sequence longer than allowed, a record cut short.
    assert_eq!(set(8, 2), FormatError::MetaEncoding);
    assert_eq!(set(3, 9), FormatError::MetaEncoding);
    assert_eq!(
        error(|p| p.content(SectionId::META).truncate(20)),
        FormatError::MetaEncoding
    );
    assert_eq!(
        error(|p| p.content(SectionId::META).extend([0, 0])),
        FormatError::MetaTrailing { found: 2 }
    );
    // 5 as a varint of two bytes: the same value, not the same bytes.
    assert_eq!(
        error(|p| {
            p.content(SectionId::META).splice(0..1, [0x85, 0x00]);
        }),
        FormatError::MetaNotCanonical
    );
    // No factors at all; too many choices as a product.
    assert_eq!(
        error(|p| {
            p.content(SectionId::META).splice(3..7, [0]);
        }),
        range("factors (count)", 0, 1, 8)
    );
    assert_eq!(
        error(|p| {
            p.content(SectionId::META).splice(4..7, [0x80, 0x10, 1, 3]);
        }),
        range("choices (product of the factors)", 3 * 2048, 1, 4096)
    );
    // Heads without a control network.
    assert_eq!(
        error_of(parts("v1-single-choice.hpo"), |p| {
            let meta = p.content(SectionId::META);
            assert_eq!(meta[..9], [2, 1, 1, 1, 1, 0, 0, 0, 0]);
            meta[8] = 1;
        }),
        range("control_heads (without CONTROL)", 1, 0, 0)
    );
}

/// A dimension by name, its value in the file, and its field.
type Case = (&'static str, usize, fn(&mut Capacity) -> &mut usize);

#[test]
fn dimensions_beyond_the_reader_are_told_apart_from_those_beyond_the_format() {
    let policy = golden_set::policies().pop().unwrap().1;
    let file = policy.encode();
    let own = load(file.bytes()).capacity();
    assert_eq!(
        own,
        Capacity {
            state: 5,
            control: 9,
            modes: 7,
            choices: 6,
            logits: 6,
            width: 5
        }
    );
    let parts = everything();
    assert_eq!(parts.error(&own), None);
    let cases: [Case; 6] = [
        ("state_dim", 5, |c| &mut c.state),
        ("control_dim", 9, |c| &mut c.control),
        ("modes", 7, |c| &mut c.modes),
        ("choices", 6, |c| &mut c.choices),
        ("logits", 6, |c| &mut c.logits),
        ("hidden width", 5, |c| &mut c.width),
    ];
    for (what, found, field) in cases {
        let mut capacity = own;
        *field(&mut capacity) -= 1;
        assert_eq!(
            parts.error(&capacity),
            Some(FormatError::DimensionExceedsCapacity {
                what,
                found: found as u32,
                allowed: found as u32 - 1
            })
        );
    }
    // A reader's buffers of its own capacity hold the scratch of any policy it admits.
    assert_eq!(load(file.bytes()).scratch_len(), 2 * 5 + 2 * 12);
    assert!(own.scratch_len() <= Capacity::FORMAT.scratch_len());
}

#[test]
fn every_float_must_be_finite() {
    for (id, _, content) in everything().sections {
        let first = match id {
            SectionId::META | SectionId::CHOICE_MODES | SectionId::NAMES => continue,
            SectionId::FALLBACK | SectionId::GOLDEN => 4,
            _ => 0,
        };
        for word in first..content.len() / 4 {
            // n + 1 + m = 15 words a vector, the sixth of them the choice.
            if id == SectionId::GOLDEN && (word - 4) % 15 == 5 {
                continue;
            }
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                assert_eq!(
                    error(|p| p.set_float(id, word, value)),
                    FormatError::NonFinite { section: id, word }
                );
            }
        }
    }
}

#[test]
fn padding_rows_must_be_positive_zero() {
    // SCORES has 6 rows in a panel of 8: rows 6 and 7 of the bias and of each of the 15 columns.
    for column in 0..16 {
        for row in [6, 7] {
            let index = 8 * column + row;
            for value in [1.0, -0.0, f32::from_bits(1)] {
                assert_eq!(
                    error(|p| p.set_float(SectionId::SCORES, index, value)),
                    FormatError::BlockPadding {
                        section: SectionId::SCORES,
                        block: 0,
                        index
                    }
                );
            }
        }
    }
    // GAINS has 9 rows: a panel of 8 and one of 4, of which three rows are padding; 12 * 6 floats a block.
    for (index, clean) in [
        (8, true),
        (9, false),
        (11, false),
        (12 + 39, true),
        (12 + 40, true),
        (12 + 41, false),
        (71, false),
    ] {
        let mut parts = everything();
        parts.set_float(SectionId::GAINS, 72 * 2 + index, 1.0);
        let expected = (!clean).then_some(FormatError::BlockPadding {
            section: SectionId::GAINS,
            block: 2,
            index,
        });
        assert_eq!(parts.error(&Capacity::FORMAT), expected, "{index}");
    }
    // Header words of FALLBACK and GOLDEN, and the padding behind the constant.
    for word in [1, 2, 3, 13, 15] {
        assert_eq!(
            error(|p| p.set_word(SectionId::FALLBACK, word, 1)),
            FormatError::FallbackPadding
        );
    }
    for word in 1..4 {
        assert_eq!(
            error(|p| p.set_word(SectionId::GOLDEN, word, 1)),
            FormatError::GoldenPadding
        );
    }
}

#[test]
fn values_with_a_meaning() {
    assert_eq!(
        error(|p| p.content(SectionId::CHOICE_MODES)[2] = 7),
        FormatError::ChoiceMode {
            choice: 1,
            found: 7,
            modes: 7
        }
    );
    for found in [0.0, -0.0, -1.0] {
        assert_eq!(
            error(|p| p.set_float(SectionId::INPUT, 6, found)),
            FormatError::InputScale { index: 1, found }
        );
    }
    let bounds = error(|p| p.set_float(SectionId::BOUNDS, 2, 100.0));
    assert!(matches!(
        bounds,
        FormatError::BoundsOrder {
            index: 2,
            lower: 100.0,
            ..
        }
    ));
    for found in [7, 65_536, u32::MAX] {
        assert_eq!(
            error(|p| p.set_word(SectionId::FALLBACK, 0, found)),
            FormatError::FallbackMode { found, modes: 7 }
        );
    }
    for found in [-100.0, 100.0] {
        assert_eq!(
            error(|p| p.set_float(SectionId::FALLBACK, 4 + 3, found)),
            FormatError::FallbackConstant { index: 3, found }
        );
    }
    for found in [0, 65, u32::MAX] {
        assert_eq!(
            error(|p| p.set_word(SectionId::GOLDEN, 0, found)),
            FormatError::GoldenCount { found }
        );
    }
    assert_eq!(
        error(|p| p.set_word(SectionId::GOLDEN, 4 + 15 + 5, 6)),
        FormatError::GoldenChoice {
            index: 1,
            found: 6,
            choices: 6
        }
    );
    assert_eq!(
        error(|p| {
            for word in [4, 19, 20, 21, 22, 23] {
                p.set_float(SectionId::GOLDEN, word, 1.0);
            }
        }),
        FormatError::GoldenWithoutSubnormal
    );
}

/// Damaged names do not stop a policy; a host that reads them learns which record is bad.
#[test]
fn names_are_read_by_the_host_only() {
    let mut parts = everything();
    parts.content(SectionId::NAMES).extend([9, 0, 0, 0]);
    let file = parts.build();
    let policy = load(file.bytes());
    let names: Vec<_> = policy.names().collect();
    assert_eq!(names.len(), 5);
    assert!(names[..4].iter().all(Result::is_ok));
    assert_eq!(names[4].unwrap_err().record, 4);
    // Not UTF-8, too long, cut short.
    for bad in [
        vec![1, 0, 1, 0xff, 0],
        [&[1, 0, 65][..], &[b'a'; 65], &[0]].concat(),
        vec![1, 0, 5, b'a'],
    ] {
        *parts.content(SectionId::NAMES) = bad;
        let file = parts.build();
        let errors: Vec<_> = load(file.bytes()).names().collect();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].unwrap_err().record, 0);
    }
}

/// Numbers reach the host from devices: no two errors share one.
#[test]
fn error_numbers_and_names_are_one_to_one() {
    let names: Vec<_> = (0..=u16::MAX).filter_map(FormatError::name_of).collect();
    // None is ever taken away.
    assert!(names.len() >= 54);
    let document = include_str!("../../docs/policy-format.md");
    for code in 0..=u16::MAX {
        if let Some(name) = FormatError::name_of(code) {
            assert!(
                document.contains(&format!("| {code} | {name} |")),
                "{code} {name} is documented"
            );
        }
    }
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    assert_eq!(FormatError::name_of(1), Some("TooShort"));
    assert_eq!(FormatError::name_of(30), Some("DimensionExceedsCapacity"));
    assert_eq!(FormatError::name_of(0), None);
}
