//! The policies of the golden files, made again from their seeds.

use super::{OwnedPolicy, Structure, generate};

/// File name, and what it is made from.
pub fn structures() -> Vec<(&'static str, Structure)> {
    let plain = Structure {
        n: 3,
        m: 2,
        modes: 2,
        factors: vec![2],
        unit_norm: false,
        scores: false,
        selector: None,
        gains: false,
        control: None,
        head_per_choice: false,
        bounds: false,
        names: false,
        seed: 0,
    };
    vec![
        (
            "v1-unit-norm-gains.hpo",
            Structure {
                n: 4,
                m: 3,
                modes: 3,
                factors: vec![3],
                unit_norm: true,
                selector: Some(vec![9, 8]),
                gains: true,
                control: Some(vec![6]),
                names: true,
                seed: 1,
                ..plain.clone()
            },
        ),
        (
            "v1-scores-factors.hpo",
            Structure {
                n: 4,
                m: 5,
                modes: 4,
                factors: vec![3, 2],
                scores: true,
                gains: true,
                seed: 2,
                ..plain.clone()
            },
        ),
        (
            "v1-affine-heads-bounds.hpo",
            Structure {
                n: 3,
                m: 2,
                modes: 2,
                factors: vec![4],
                selector: Some(vec![5, 7]),
                control: Some(vec![13, 4]),
                head_per_choice: true,
                bounds: true,
                seed: 3,
                ..plain.clone()
            },
        ),
        (
            "v1-single-choice.hpo",
            Structure {
                n: 2,
                m: 1,
                modes: 1,
                factors: vec![1],
                gains: true,
                bounds: true,
                seed: 4,
                ..plain.clone()
            },
        ),
        (
            "v1-everything.hpo",
            Structure {
                n: 5,
                m: 9,
                modes: 7,
                factors: vec![2, 1, 3],
                unit_norm: true,
                scores: true,
                selector: Some(vec![]),
                gains: true,
                control: Some(vec![4, 3, 5, 2]),
                head_per_choice: true,
                bounds: true,
                names: true,
                seed: 5,
            },
        ),
    ]
}

/// The policy of each golden file.
pub fn policies() -> Vec<(&'static str, OwnedPolicy)> {
    structures()
        .into_iter()
        .map(|(name, structure)| (name, generate(&structure)))
        .collect()
}
