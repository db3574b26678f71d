//! The networks that are measured on a device, as policies.

use policy_format::{
    BlockSpec, Capacity, ControlSpec, FallbackSpec, GainsSpec, GoldenVector, InputKind, PolicySpec,
    RawPolicy, encode, encoded_len,
};

use crate::error::{Error, Result};
use crate::export::PolicyBuffer;
use crate::numeric::random::{Purpose, Stream};

/// A measured network: inputs, hidden widths, outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkShape {
    /// Name, `a` to `d`.
    pub name: &'static str,
    /// Inputs.
    pub inputs: usize,
    /// Hidden widths.
    pub hidden: [usize; 2],
    /// Outputs.
    pub outputs: usize,
}

/// The networks of issue 5, those that existing inference stacks were measured on.
pub const NETWORKS: [NetworkShape; 4] = [
    NetworkShape {
        name: "a",
        inputs: 3,
        hidden: [64, 64],
        outputs: 8,
    },
    NetworkShape {
        name: "b",
        inputs: 8,
        hidden: [64, 64],
        outputs: 36,
    },
    NetworkShape {
        name: "c",
        inputs: 16,
        hidden: [64, 64],
        outputs: 68,
    },
    NetworkShape {
        name: "d",
        inputs: 8,
        hidden: [16, 16],
        outputs: 12,
    },
];

/// Controls that a firmware has room for: beyond, the outputs are logits.
const MOST_CONTROLS: usize = 64;

impl NetworkShape {
    /// Whether the network is the control law; the selector if it has more outputs than a firmware has controls.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.outputs <= MOST_CONTROLS
    }

    /// A policy with this network and weights from a fixed seed. Where the network is the selector, every choice has
    /// a gain of one row.
    ///
    /// # Errors
    /// [`Error::Negative`] if the policy cannot be made, which would be a bug.
    pub fn policy(&self) -> Result<PolicyBuffer> {
        let bug = |error: &dyn std::fmt::Display| {
            Error::Negative(format!("network {}: {error}", self.name))
        };
        let mut stream = Stream::new(5, Purpose::Evaluation, self.outputs as u64);
        let mut layers = Vec::new();
        let mut columns = self.inputs;
        for rows in self.hidden.into_iter().chain([self.outputs]) {
            let scale = 1.0 / (columns as f64).sqrt();
            let mut draw = |count: usize| -> Vec<f32> {
                (0..count)
                    .map(|_| (stream.normal() * scale) as f32)
                    .collect()
            };
            layers.push((draw(rows), draw(rows * columns)));
            columns = rows;
        }
        let blocks: Vec<BlockSpec> = layers
            .iter()
            .map(|(bias, weights)| BlockSpec { bias, weights })
            .collect();
        let (choices, controls) = if self.is_control() {
            (1, self.outputs)
        } else {
            (self.outputs, 1)
        };
        let zeros = vec![0.0; choices * controls.max(self.inputs) * self.inputs];
        let ones = vec![1.0; choices * self.inputs];
        let bounds = (vec![-1e3; controls], vec![1e3; controls]);
        let mut golden = (0, vec![0.0_f32; controls]);
        let mut state = vec![0.25_f32; self.inputs];
        state[0] = f32::from_bits(1);
        let mut file = PolicyBuffer::zeroed(0);
        for _ in 0..2 {
            let vectors = [GoldenVector {
                state: &state,
                choice: golden.0,
                control: &golden.1,
            }];
            let spec = PolicySpec {
                target_class: 0,
                state_dim: self.inputs as u16,
                control_dim: controls as u16,
                modes: 1,
                factors: &[choices as u16],
                input: InputKind::Affine,
                sample_time_s: 0.01,
                policy_version: 1,
                choice_modes: &vec![0; choices],
                input_shift: &zeros[..self.inputs],
                input_scale: &ones[..self.inputs],
                scores: None,
                selector: (!self.is_control()).then_some(&blocks),
                gains: (!self.is_control()).then_some(GainsSpec {
                    offset: &zeros[..choices],
                    matrix: &ones,
                }),
                control: self.is_control().then(|| ControlSpec {
                    hidden: &blocks[..2],
                    heads: &blocks[2..],
                }),
                regions: None,
                bounds: Some(policy_format::Bounds {
                    lower: &bounds.0,
                    upper: &bounds.1,
                }),
                fallback: FallbackSpec {
                    mode: 0,
                    constant: &zeros[..controls],
                    offset: &zeros[..controls],
                    gain: &zeros[..controls * self.inputs],
                },
                golden: &vectors,
                names: &[],
            };
            file = PolicyBuffer::zeroed(encoded_len(&spec).map_err(|e| bug(&e))?);
            encode(&spec, file.bytes_mut()).map_err(|e| bug(&e))?;
            let policy = RawPolicy::parse(file.bytes())
                .and_then(|raw| raw.validate(&Capacity::FORMAT))
                .map_err(|e| bug(&e))?;
            let mut scratch = vec![0.0; policy.scratch_len()];
            let mut control = vec![0.0; controls];
            let decision = policy
                .decide(&state, &mut control, &mut scratch)
                .map_err(|e| bug(&e))?;
            golden = (decision.choice.into(), control);
        }
        Ok(file)
    }

    /// States that meet every path of the kernels: usual ones, some beyond tanh's clamp, all beyond it, zeros and
    /// subnormals.
    #[must_use]
    pub fn states(&self) -> Vec<Vec<f32>> {
        let mut stream = Stream::new(6, Purpose::Evaluation, self.inputs as u64);
        let mut draw = |scale: f64| -> Vec<f32> {
            (0..self.inputs)
                .map(|_| (stream.normal() * scale) as f32)
                .collect()
        };
        let mut states = vec![draw(1.0), draw(10.0), draw(30.0), draw(1e4)];
        states.push(vec![0.0; self.inputs]);
        states.push(vec![f32::from_bits(0x8000_0123); self.inputs]);
        states
    }
}
