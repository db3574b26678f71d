//! Shared by the tests of the firmware library and those of the device in QEMU: a small policy, and
//! one bad policy of each kind with the name of its fault.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../../../policy-format/tests/common/mod.rs"]
pub mod common;

use common::parts::Parts;
use common::{Aligned, OwnedPolicy, Structure, generate};
use policy_format::{SectionId, reseal};

/// Length of a policy slot, as on the boards.
pub const SLOT: usize = 0x000F_FFF0;

/// 8 states, 8 controls, 4 modes, 16 choices of quadratic scores with a gain each.
pub fn structure() -> Structure {
    Structure {
        n: 8,
        m: 8,
        modes: 4,
        factors: vec![16],
        unit_norm: false,
        scores: true,
        selector: None,
        gains: true,
        control: None,
        head_per_choice: false,
        bounds: true,
        names: false,
        seed: 11,
    }
}

/// The policy of a structure, for a target class.
pub fn policy_of(structure: &Structure, target_class: u32) -> OwnedPolicy {
    let mut policy = generate(structure);
    policy.target_class = target_class;
    policy
}

/// The file of [`structure`]'s policy.
pub fn good_policy(target_class: u32) -> Vec<u8> {
    file(&policy_of(&structure(), target_class))
}

pub fn file(policy: &OwnedPolicy) -> Vec<u8> {
    policy.encode().bytes().to_vec()
}

/// A slot that `bytes` were loaded into.
pub fn slot(bytes: &[u8]) -> Aligned {
    Aligned::from(bytes)
}

/// Kind, bytes, and the name of the fault they must give.
pub type BadPolicy = (&'static str, Vec<u8>, &'static str);

/// One policy of each kind that a device must refuse.
pub fn bad_policies(target_class: u32) -> Vec<BadPolicy> {
    let good = good_policy(target_class);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let rebuilt = |change: &dyn Fn(&mut Parts)| {
        let mut parts = Parts::of(&Aligned::from(&good));
        change(&mut parts);
        parts.build().bytes().to_vec()
    };
    let sized = |change: &dyn Fn(&mut Structure)| {
        let mut structure = structure();
        change(&mut structure);
        file(&policy_of(&structure, target_class))
    };
    vec![
        ("empty", Vec::new(), "EmptySlot"),
        ("erased flash", vec![0xFF; 4096], "EmptySlot"),
        (
            "not a policy",
            b"#!/bin/sh\necho hello\n".repeat(9),
            "Magic",
        ),
        ("half a header", good[..16].to_vec(), "TooShort"),
        ("truncated", good[..good.len() / 2].to_vec(), "TotalLength"),
        (
            "zeros behind the file",
            [&good[..], &[0; 16]].concat(),
            "TotalLength",
        ),
        (
            "a byte behind the file",
            [&good[..], b"x"].concat(),
            "TotalLength",
        ),
        (
            "last word missing",
            good[..good.len() - 4].to_vec(),
            "TotalLength",
        ),
        (
            "flipped bit",
            changed(&|b| {
                let middle = b.len() / 2;
                b[middle] ^= 0x10;
            }),
            "Checksum",
        ),
        (
            "newer version",
            changed(&|b| {
                b[8] = 2;
                reseal(b);
            }),
            "Version",
        ),
        (
            "longer than the slot",
            changed(&|b| b[12..16].copy_from_slice(&(SLOT as u32 + 16).to_le_bytes())),
            "TotalLength",
        ),
        (
            "bytes behind the last section",
            changed(&|b| {
                b.extend([0; 16]);
                let length = b.len() as u32;
                b[12..16].copy_from_slice(&length.to_le_bytes());
                reseal(b);
            }),
            "TrailingBytes",
        ),
        (
            "unknown critical section",
            rebuilt(&|p| p.sections.push((SectionId(77), true, vec![1; 8]))),
            "UnknownCriticalSection",
        ),
        (
            "missing section",
            rebuilt(&|p| p.remove(SectionId::FALLBACK)),
            "MissingSection",
        ),
        (
            "non-finite weight",
            rebuilt(&|p| p.set_float(SectionId::GAINS, 5, f32::NAN)),
            "NonFinite",
        ),
        ("wrong class", good_policy(target_class ^ 1), "TargetClass"),
        (
            "golden mismatch",
            rebuilt(&|p| {
                let last = p.content(SectionId::GOLDEN).len() - 4;
                // The last control value of the last vector, off by one unit in the last place.
                p.content(SectionId::GOLDEN)[last] ^= 1;
            }),
            "GoldenMismatch",
        ),
        (
            "too many states",
            sized(&|s| {
                s.n = 65;
                s.scores = false;
                s.selector = Some(vec![4]);
            }),
            "DimensionExceedsCapacity",
        ),
        (
            "too many controls",
            sized(&|s| s.m = 65),
            "DimensionExceedsCapacity",
        ),
        (
            "too many choices",
            sized(&|s| s.factors = vec![27, 19]),
            "DimensionExceedsCapacity",
        ),
        (
            "too wide",
            sized(&|s| s.selector = Some(vec![129])),
            "DimensionExceedsCapacity",
        ),
    ]
}

/// What constrains and supervises a policy, with its own lists; n, m and M as in [`structure`].
#[derive(Clone, Debug)]
pub struct OwnedSafety {
    pub rate: Vec<f32>,
    pub start: Vec<f32>,
    pub hysteresis: f32,
    pub dwell: Vec<u32>,
    pub follow: Vec<u32>,
    /// lower, upper, typical lower, typical upper; empty: none.
    pub envelope: [Vec<f32>; 4],
    pub supervision: policy_format::Supervision,
}

impl OwnedSafety {
    /// Something of everything.
    pub fn of(policy: &OwnedPolicy) -> Self {
        let (n, m) = (policy.state_dim.into(), policy.control_dim.into());
        let modes = usize::from(policy.modes);
        let (lower, upper) = policy.bounds.clone().unwrap();
        Self {
            rate: (0..m).map(|i| 0.05 + 0.1 * i as f32).collect(),
            start: (0..m).map(|i| (lower[i] + upper[i]) / 2.0).collect(),
            hysteresis: 0.25,
            dwell: (0..modes).map(|mode| 1 + mode as u32 % 3).collect(),
            // A ring: a mode, the one before it and the one behind it.
            follow: (0..modes)
                .map(|mode| {
                    [modes - 1, 0, 1]
                        .iter()
                        .fold(0, |bits, step| bits | 1 << ((mode + step) % modes))
                })
                .collect(),
            envelope: [-4.0, 4.0, -2.5, 2.5].map(|bound: f32| {
                (0..n)
                    .map(|i| bound * (1.0 + i as f32 / 16.0))
                    .collect::<Vec<_>>()
            }),
            supervision: policy_format::Supervision {
                fallback: policy_format::FallbackKind::Gain,
                recover_after: 1,
                deadline_us: 15_000,
                max_age_us: 8_000,
                frozen_after: 4,
            },
        }
    }

    /// The file of `policy` with these sections behind it.
    pub fn file(&self, policy: &OwnedPolicy) -> Vec<u8> {
        let [lower, upper, typical_lower, typical_upper] = &self.envelope;
        let safety = policy_format::Safety {
            limits: Some(policy_format::Limits {
                rate: &self.rate,
                start: &self.start,
            }),
            mode_rules: Some(policy_format::ModeRules {
                hysteresis: self.hysteresis,
                dwell: &self.dwell,
                follow: &self.follow,
            }),
            envelope: (!lower.is_empty()).then_some(policy_format::Envelope {
                lower,
                upper,
                typical_lower,
                typical_upper,
            }),
            supervision: Some(self.supervision),
        };
        policy.with_spec(|spec| {
            let mut out = Aligned::zeros(policy_format::supervised_len(spec, &safety).unwrap());
            policy_format::encode_supervised(spec, &safety, out.bytes_mut()).unwrap();
            out.bytes().to_vec()
        })
    }
}
