//! Policies of any structure from a seed.

use super::{OwnedBlock, OwnedPolicy, OwnedVector};
use policy_format::{InputKind, NameKind};

/// SplitMix64: weights from an integer, the same on every machine.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform on [-scale, scale) for a `scale` that is a power of two, exactly.
    pub fn float(&mut self, scale: f32) -> f32 {
        ((self.next() >> 40) as f32 / 8_388_608.0 - 1.0) * scale
    }

    pub fn floats(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.float(scale)).collect()
    }

    pub fn block(&mut self, rows: usize, columns: usize, scale: f32) -> OwnedBlock {
        OwnedBlock {
            bias: self.floats(rows, scale),
            weights: self.floats(rows * columns, scale),
        }
    }
}

/// Which parts a generated policy has.
#[derive(Clone, PartialEq, Debug)]
pub struct Structure {
    pub n: usize,
    pub m: usize,
    pub modes: u16,
    pub factors: Vec<u16>,
    pub unit_norm: bool,
    pub scores: bool,
    pub selector: Option<Vec<usize>>,
    pub gains: bool,
    pub control: Option<Vec<usize>>,
    pub head_per_choice: bool,
    pub bounds: bool,
    pub names: bool,
    pub seed: u64,
}

/// A policy of the given structure with pseudo-random content and true golden vectors.
pub fn generate(structure: &Structure) -> OwnedPolicy {
    let Structure { n, m, .. } = *structure;
    let mut rng = Rng(structure.seed);
    let choices: usize = structure.factors.iter().map(|&f| usize::from(f)).product();
    let logits: usize = structure.factors.iter().map(|&f| usize::from(f)).sum();
    let hidden = |rng: &mut Rng, widths: &[usize]| {
        let mut columns = n;
        let layers: Vec<_> = widths
            .iter()
            .map(|&width| rng.block(width, std::mem::replace(&mut columns, width), 1.0))
            .collect();
        (layers, columns)
    };
    let selector = structure.selector.as_ref().map(|widths| {
        let (mut layers, columns) = hidden(&mut rng, widths);
        layers.push(rng.block(logits, columns, 1.0));
        layers
    });
    let control = structure.control.as_ref().map(|widths| {
        let (layers, columns) = hidden(&mut rng, widths);
        let heads = if structure.head_per_choice {
            choices
        } else {
            1
        };
        let heads = (0..heads).map(|_| rng.block(m, columns, 2.0)).collect();
        (layers, heads)
    });
    let bounds = structure.bounds.then(|| {
        let lower: Vec<f32> = (0..m).map(|_| -1.0 + rng.float(0.5)).collect();
        let upper: Vec<f32> = lower.iter().map(|l| l + 1.5 + rng.float(1.0)).collect();
        (lower, upper)
    });
    let fallback_constant = match &bounds {
        Some((lower, _)) => lower.clone(),
        None => rng.floats(m, 1.0),
    };
    let mut tiny = rng.floats(n, 4.0);
    tiny[0] = f32::from_bits(1 + (rng.next() % 0x7f_ffff) as u32);
    let all_subnormal = (0..n)
        .map(|_| f32::from_bits((rng.next() % 0x7f_ffff) as u32))
        .collect();
    let golden = [tiny, all_subnormal, vec![0.0; n], rng.floats(n, 4.0)]
        .into_iter()
        .map(|state| OwnedVector {
            state,
            choice: 0,
            control: vec![0.0; m],
        })
        .collect();
    let names = if structure.names {
        vec![
            (
                NameKind::Plant,
                0,
                "Anlage \u{3b2}".to_owned(),
                String::new(),
            ),
            (NameKind::State, 0, "angle".to_owned(), "rad".to_owned()),
            (NameKind::Control, 0, "torque".to_owned(), "N m".to_owned()),
            (NameKind::Mode, 0, "idle".to_owned(), String::new()),
        ]
    } else {
        Vec::new()
    };
    let mut policy = OwnedPolicy {
        target_class: rng.next() as u32,
        state_dim: n as u16,
        control_dim: m as u16,
        modes: structure.modes,
        factors: structure.factors.clone(),
        input: if structure.unit_norm {
            InputKind::UnitNorm
        } else {
            InputKind::Affine
        },
        sample_time_s: 0.01,
        policy_version: rng.next() as u32,
        choice_modes: (0..choices)
            .map(|_| (rng.next() % u64::from(structure.modes)) as u16)
            .collect(),
        shift: rng.floats(n, 0.5),
        scale: (0..n).map(|_| 1.0 + rng.float(0.5)).collect(),
        scores: structure
            .scores
            .then(|| rng.block(logits, n * (n + 1) / 2, 1.0)),
        selector,
        gains: structure
            .gains
            .then(|| (0..choices).map(|_| rng.block(m, n, 1.0)).collect()),
        control,
        bounds,
        fallback_mode: (rng.next() % u64::from(structure.modes)) as u16,
        fallback_constant,
        fallback: rng.block(m, n, 1.0),
        golden,
        names,
    };
    if structure.unit_norm {
        // Unit-norm structure goes with an unshifted input; it also keeps subnormal inputs subnormal.
        policy.shift = vec![0.0; n];
    }
    policy.fill_golden();
    policy
}
