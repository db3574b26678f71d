//! The networks that are measured on a device, as policies.

use policy_format::{
    BlockSpec, Capacity, ControlSpec, Envelope, FallbackKind, FallbackSpec, GainsSpec,
    GoldenVector, InputKind, Limits, ModeRules, PolicySpec, RawPolicy, Safety, Supervision,
    encode_supervised, supervised_len,
};

use crate::error::{Error, Result};
use crate::export::PolicyBuffer;
use crate::numeric::random::{Purpose, Stream};

/// A measured policy: one network with inputs, hidden widths and outputs; without hidden layers quadratic scores with a gain
/// per choice; with laws the policy of a switched plant, whose outputs two networks share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkShape {
    /// Name, `a` to `d`, `demo`, and `switched-a` to `switched-c`.
    pub name: &'static str,
    /// Inputs.
    pub inputs: usize,
    /// Hidden widths: two, or none.
    pub hidden: &'static [usize],
    /// Outputs of the network; choices of the quadratic policy, which has as many controls as inputs.
    pub outputs: usize,
    /// Laws of a switched plant's policy: of the outputs so many are the logits of a selector, the others the controls of as
    /// many laws, in a control network with the same hidden layers. 0: the outputs are one network's.
    pub laws: usize,
}

/// The networks of issue 5, those that existing inference stacks were measured on, a policy of the demo's shape, and the outputs
/// of a, b and c as what they stand for: two or four modes with a law each, of as many controls as the plant has states.
pub const NETWORKS: [NetworkShape; 8] = [
    NetworkShape {
        name: "a",
        inputs: 3,
        hidden: &[64, 64],
        outputs: 8,
        laws: 0,
    },
    NetworkShape {
        name: "b",
        inputs: 8,
        hidden: &[64, 64],
        outputs: 36,
        laws: 0,
    },
    NetworkShape {
        name: "c",
        inputs: 16,
        hidden: &[64, 64],
        outputs: 68,
        laws: 0,
    },
    NetworkShape {
        name: "d",
        inputs: 8,
        hidden: &[16, 16],
        outputs: 12,
        laws: 0,
    },
    NetworkShape {
        name: "demo",
        inputs: 8,
        hidden: &[],
        outputs: 16,
        laws: 0,
    },
    NetworkShape {
        name: "switched-a",
        inputs: 3,
        hidden: &[64, 64],
        outputs: 8,
        laws: 2,
    },
    NetworkShape {
        name: "switched-b",
        inputs: 8,
        hidden: &[64, 64],
        outputs: 36,
        laws: 4,
    },
    NetworkShape {
        name: "switched-c",
        inputs: 16,
        hidden: &[64, 64],
        outputs: 68,
        laws: 4,
    },
];

/// Controls that a firmware has room for: beyond, the outputs are logits.
const MOST_CONTROLS: usize = 64;

impl NetworkShape {
    /// Whether the network is the control law; the selector if it has more outputs than a firmware has controls.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.outputs <= MOST_CONTROLS && !self.is_quadratic() && self.laws == 0
    }

    /// Whether it has quadratic scores and gains in place of a network.
    #[must_use]
    pub const fn is_quadratic(&self) -> bool {
        self.hidden.is_empty()
    }

    /// Number m of controls.
    #[must_use]
    pub const fn controls(&self) -> usize {
        if let Some(controls) = (self.outputs - self.laws).checked_div(self.laws) {
            return controls;
        }
        match (self.is_quadratic(), self.is_control()) {
            (true, _) => self.inputs,
            (false, true) => self.outputs,
            (false, false) => 1,
        }
    }

    /// Kernel calls of the network part: one a network, or scores and gain.
    #[must_use]
    pub const fn calls(&self) -> usize {
        if self.is_quadratic() || self.laws > 0 {
            2
        } else {
            1
        }
    }

    /// Number of choices.
    #[must_use]
    pub const fn choices(&self) -> usize {
        match (self.laws, self.is_control()) {
            (0, true) => 1,
            (0, false) => self.outputs,
            (laws, _) => laws,
        }
    }

    /// Issue 5's limit for the control step without the network part, in instructions.
    #[must_use]
    pub const fn limit(&self) -> usize {
        250 + 15 * self.inputs + 25 * self.controls()
    }

    /// A policy with this network and weights from a fixed seed. Where the network is the only selector, every choice has
    /// a gain of one row. With `sections` it has all of those that constrain and supervise: rate limits, mode rules, envelope,
    /// supervision.
    ///
    /// # Errors
    /// [`Error::Negative`] if the policy cannot be made, which would be a bug.
    pub fn policy(&self, sections: bool) -> Result<PolicyBuffer> {
        let bug = |error: &dyn std::fmt::Display| {
            Error::Negative(format!("network {}: {error}", self.name))
        };
        let mut stream = Stream::new(5, Purpose::Evaluation, self.outputs as u64);
        let mut layer = |rows: usize, columns: usize| {
            let scale = 1.0 / (columns as f64).sqrt();
            let mut draw = |count: usize| -> Vec<f32> {
                (0..count)
                    .map(|_| (stream.normal() * scale) as f32)
                    .collect()
            };
            (draw(rows), draw(rows * columns))
        };
        // Hidden layers from the input on, then `heads` output blocks of `rows`.
        let mut network = |rows: usize, heads: usize| {
            let (mut layers, mut columns) = (Vec::new(), self.inputs);
            if self.is_quadratic() {
                columns = self.inputs * (self.inputs + 1) / 2;
            }
            for &width in self.hidden {
                layers.push(layer(width, columns));
                columns = width;
            }
            layers.extend((0..heads).map(|_| layer(rows, columns)));
            layers
        };
        let first = match self.laws {
            0 => network(self.outputs, 1),
            laws => network(laws, 1),
        };
        let second = network(self.controls(), self.laws);
        let blocks = as_blocks(&first);
        let laws = as_blocks(&second);
        let controls = self.controls();
        let choices = self.choices();
        let modes = choices.min(4);
        let choice_modes: Vec<u16> = (0..choices).map(|c| (c % modes) as u16).collect();
        let zeros = vec![0.0; choices.max(self.inputs) * controls];
        let ones = vec![1.0; choices * controls * self.inputs];
        let bounds = (vec![-1e3; controls], vec![1e3; controls]);
        let ends = |limit: f32| (vec![-limit; self.inputs], vec![limit; self.inputs]);
        let (outer, typical) = (ends(1e30), ends(3.0));
        let (rate, dwell) = (vec![0.5; controls], vec![2; modes]);
        let follow = vec![(1 << modes) - 1; modes];
        let all = Safety {
            limits: Some(Limits {
                rate: &rate,
                start: &zeros[..controls],
            }),
            mode_rules: Some(ModeRules {
                hysteresis: 0.25,
                dwell: &dwell,
                follow: &follow,
            }),
            envelope: Some(Envelope {
                lower: &outer.0,
                upper: &outer.1,
                typical_lower: &typical.0,
                typical_upper: &typical.1,
            }),
            supervision: Some(Supervision {
                fallback: FallbackKind::Gain,
                recover_after: 10,
                deadline_us: 15_000,
                max_age_us: 15_000,
                frozen_after: 1_000,
            }),
        };
        let safety = if sections { all } else { Safety::NONE };
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
                modes: modes as u16,
                factors: &[choices as u16],
                input: InputKind::Affine,
                sample_time_s: 0.01,
                policy_version: 1,
                choice_modes: &choice_modes,
                input_shift: &zeros[..self.inputs],
                input_scale: &ones[..self.inputs],
                scores: self.is_quadratic().then(|| blocks[0]),
                selector: (!self.is_control() && !self.is_quadratic()).then_some(&blocks),
                gains: (!self.is_control() && self.laws == 0).then_some(GainsSpec {
                    offset: &zeros[..choices * controls],
                    matrix: &ones,
                }),
                control: match (self.laws, self.is_control()) {
                    (0, false) => None,
                    (0, true) => Some(control_of(&blocks)),
                    _ => Some(control_of(&laws)),
                },
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
            let length = supervised_len(&spec, &safety).map_err(|e| bug(&e))?;
            file = PolicyBuffer::zeroed(length);
            encode_supervised(&spec, &safety, file.bytes_mut()).map_err(|e| bug(&e))?;
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
        let mut states = vec![draw(1.0), draw(0.1), draw(10.0), draw(30.0), draw(1e4)];
        states.push(vec![0.0; self.inputs]);
        states.push(vec![f32::from_bits(0x8000_0123); self.inputs]);
        // On the edge of the typical box, and both zeros.
        states.push((0..self.inputs).map(|i| [3.0, -3.0][i % 2]).collect());
        states.push((0..self.inputs).map(|i| [-0.0, 0.0][i % 2]).collect());
        states
    }
}

fn as_blocks(layers: &[(Vec<f32>, Vec<f32>)]) -> Vec<BlockSpec<'_>> {
    layers
        .iter()
        .map(|(bias, weights)| BlockSpec { bias, weights })
        .collect()
}

/// Two hidden layers, then the heads.
fn control_of<'a>(blocks: &'a [BlockSpec<'a>]) -> ControlSpec<'a> {
    ControlSpec {
        hidden: &blocks[..2],
        heads: &blocks[2..],
    }
}
