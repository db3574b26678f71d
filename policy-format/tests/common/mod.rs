//! Shared by the tests: owned policies, a generator, and aligned buffers.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod generate;
pub mod golden_set;
pub mod int8;
pub mod parts;
pub mod reference;

pub use generate::{Structure, generate};

use policy_format::{
    BlockSpec, Bounds, Capacity, ControlSpec, EncodeError, FallbackSpec, GainsSpec, GoldenVector,
    InputKind, NameKind, NameRecord, Policy, PolicySpec, RawPolicy, encode, encoded_len,
};

/// Bytes that start at a multiple of 16, as every reader of policies must provide.
#[derive(Clone)]
pub struct Aligned {
    words: Vec<u128>,
    length: usize,
}

impl Aligned {
    pub fn zeros(length: usize) -> Self {
        Self {
            words: vec![0; length.div_ceil(16)],
            length,
        }
    }

    pub fn from(bytes: &[u8]) -> Self {
        let mut aligned = Self::zeros(bytes.len());
        aligned.bytes_mut().copy_from_slice(bytes);
        aligned
    }

    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.length]
    }
}

/// A block with its own lists, row-major.
#[derive(Clone, PartialEq, Debug)]
pub struct OwnedBlock {
    pub bias: Vec<f32>,
    pub weights: Vec<f32>,
}

impl OwnedBlock {
    fn spec(&self) -> BlockSpec<'_> {
        BlockSpec {
            bias: &self.bias,
            weights: &self.weights,
        }
    }

    pub fn columns(&self) -> usize {
        self.weights.len() / self.bias.len()
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct OwnedVector {
    pub state: Vec<f32>,
    pub choice: u32,
    pub control: Vec<f32>,
}

/// A [`PolicySpec`] that owns its lists.
#[derive(Clone, PartialEq, Debug)]
pub struct OwnedPolicy {
    pub target_class: u32,
    pub state_dim: u16,
    pub control_dim: u16,
    pub modes: u16,
    pub factors: Vec<u16>,
    pub input: InputKind,
    pub sample_time_s: f32,
    pub policy_version: u32,
    pub choice_modes: Vec<u16>,
    pub shift: Vec<f32>,
    pub scale: Vec<f32>,
    pub scores: Option<OwnedBlock>,
    pub selector: Option<Vec<OwnedBlock>>,
    /// One block per choice.
    pub gains: Option<Vec<OwnedBlock>>,
    /// Hidden layers and heads.
    pub control: Option<(Vec<OwnedBlock>, Vec<OwnedBlock>)>,
    pub bounds: Option<(Vec<f32>, Vec<f32>)>,
    pub fallback_mode: u16,
    pub fallback_constant: Vec<f32>,
    pub fallback: OwnedBlock,
    pub golden: Vec<OwnedVector>,
    pub names: Vec<(NameKind, u16, String, String)>,
}

impl OwnedPolicy {
    /// Calls `f` with the borrowed specification.
    pub fn with_spec<R>(&self, f: impl FnOnce(&PolicySpec<'_>) -> R) -> R {
        fn specs(blocks: &[OwnedBlock]) -> Vec<BlockSpec<'_>> {
            blocks.iter().map(OwnedBlock::spec).collect()
        }
        let selector = self.selector.as_deref().map(specs);
        let gains = self.gains.as_ref().map(|gains| {
            let offset: Vec<f32> = gains.iter().flat_map(|g| g.bias.clone()).collect();
            let matrix: Vec<f32> = gains.iter().flat_map(|g| g.weights.clone()).collect();
            (offset, matrix)
        });
        let control = self.control.as_ref().map(|(h, o)| (specs(h), specs(o)));
        let golden: Vec<_> = self
            .golden
            .iter()
            .map(|v| GoldenVector {
                state: &v.state,
                choice: v.choice,
                control: &v.control,
            })
            .collect();
        let names: Vec<_> = self
            .names
            .iter()
            .map(|(kind, index, name, unit)| NameRecord {
                kind: *kind,
                index: *index,
                name,
                unit,
            })
            .collect();
        f(&PolicySpec {
            target_class: self.target_class,
            state_dim: self.state_dim,
            control_dim: self.control_dim,
            modes: self.modes,
            factors: &self.factors,
            input: self.input,
            sample_time_s: self.sample_time_s,
            policy_version: self.policy_version,
            choice_modes: &self.choice_modes,
            input_shift: &self.shift,
            input_scale: &self.scale,
            scores: self.scores.as_ref().map(OwnedBlock::spec),
            selector: selector.as_deref(),
            gains: gains
                .as_ref()
                .map(|(offset, matrix)| GainsSpec { offset, matrix }),
            control: control
                .as_ref()
                .map(|(hidden, heads)| ControlSpec { hidden, heads }),
            regions: None,
            bounds: self
                .bounds
                .as_ref()
                .map(|(lower, upper)| Bounds { lower, upper }),
            fallback: FallbackSpec {
                mode: self.fallback_mode,
                constant: &self.fallback_constant,
                offset: &self.fallback.bias,
                gain: &self.fallback.weights,
            },
            golden: &golden,
            names: &names,
        })
    }

    /// The file of this policy.
    pub fn try_encode(&self) -> Result<Aligned, EncodeError> {
        self.with_spec(|spec| {
            let length = encoded_len(spec)?;
            let mut file = Aligned::zeros(length);
            let written = encode(spec, file.bytes_mut())?;
            assert_eq!(written, length);
            Ok(file)
        })
    }

    pub fn encode(&self) -> Aligned {
        self.try_encode().expect("a sound specification encodes")
    }

    /// Replaces the outputs of the golden vectors by what the policy gives, which takes two passes.
    pub fn fill_golden(&mut self) {
        let file = self.encode();
        let policy = load(file.bytes());
        let mut scratch = vec![0.0; policy.scratch_len()];
        for vector in &mut self.golden {
            let decision = policy
                .decide(&vector.state, &mut vector.control, &mut scratch)
                .expect("golden states are harmless");
            vector.choice = decision.choice.into();
        }
    }

    /// Reads everything back from a policy.
    pub fn decode(policy: &Policy<'_>) -> Self {
        let unpack = |block: policy_format::Block<'_>| OwnedBlock {
            bias: block.bias()[..block.rows()].to_vec(),
            weights: (0..block.rows())
                .flat_map(|row| (0..block.columns()).map(move |column| (row, column)))
                .map(|(row, column)| block.weight(row, column).unwrap())
                .collect(),
        };
        let law = policy.fallback_law();
        let control: Vec<_> = policy.control_blocks().map(unpack).collect();
        Self {
            target_class: policy.target_class(),
            state_dim: policy.state_dim() as u16,
            control_dim: policy.control_dim() as u16,
            modes: policy.modes() as u16,
            factors: policy.factors().to_vec(),
            input: policy.input_kind(),
            sample_time_s: policy.sample_time_s(),
            policy_version: policy.policy_version(),
            choice_modes: policy.choice_modes().to_vec(),
            shift: policy.input_shift().to_vec(),
            scale: policy.input_scale().to_vec(),
            scores: policy.scores().map(unpack),
            selector: policy
                .selector_hidden()
                .map(|_| policy.selector_blocks().map(unpack).collect()),
            gains: policy.has_gains().then(|| {
                (0..policy.choices())
                    .map(|choice| unpack(policy.gain(choice).unwrap()))
                    .collect()
            }),
            control: policy.control_hidden().map(|hidden| {
                let (hidden, heads) = control.split_at(hidden.len());
                (hidden.to_vec(), heads.to_vec())
            }),
            bounds: policy
                .bounds()
                .map(|b| (b.lower.to_vec(), b.upper.to_vec())),
            fallback_mode: law.mode,
            fallback_constant: law.constant.to_vec(),
            fallback: unpack(law.gain),
            golden: policy
                .golden()
                .map(|v| OwnedVector {
                    state: v.state.to_vec(),
                    choice: v.choice,
                    control: v.control.to_vec(),
                })
                .collect(),
            names: policy
                .names()
                .map(|record| {
                    let record = record.unwrap();
                    (
                        record.kind,
                        record.index,
                        record.name.to_owned(),
                        record.unit.to_owned(),
                    )
                })
                .collect(),
        }
    }
}

/// Parses and validates a file that must be sound.
pub fn load(bytes: &[u8]) -> Policy<'_> {
    RawPolicy::parse(bytes)
        .and_then(|raw| raw.validate(&Capacity::FORMAT))
        .expect("a sound file loads")
}
