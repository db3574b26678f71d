//! From trained parameters to a policy file.

use policy_format::{
    BlockSpec, Bounds, Capacity, ControlSpec, EncodeError, FallbackSpec, GainsSpec, GoldenVector,
    InputKind as FormatInput, NameKind, NameRecord, PolicySpec, RawPolicy, Regions,
    encode_supervised, supervised_len,
};

use crate::error::{Error, Result};
use crate::evaluate::reference::RiccatiModes;
use crate::numeric::random::{Purpose, Stream};
use crate::plant::PlantModel;
use crate::policy::network::Network;
use crate::policy::{InputKind, Model};

pub mod buffer;
pub mod int8;
pub mod int8_report;
mod safety;
pub mod signing;

pub use buffer::PolicyBuffer;
pub use safety::safety_of;

/// Golden vectors in a file: a typical state each, and the origin and a subnormal one among them.
const GOLDEN_VECTORS: usize = 8;

/// Encodes the policy with golden vectors computed by the reference evaluator itself.
///
/// The fallback law is the infinite-horizon Riccati gain of the plant's best fixed mode (zero control
/// where no mode can be stabilised).
///
/// # Errors
/// [`Error::Negative`] if a parameter is not finite or the policy cannot evaluate a golden state;
/// [`Error::Usage`] if the structure is beyond the format's limits.
pub fn policy_file(plant: &PlantModel, model: &Model, parameters: &[f32]) -> Result<Vec<u8>> {
    if parameters.iter().any(|v| !v.is_finite()) {
        return Err(Error::Negative(
            "the policy has a parameter that is not finite: not exported".into(),
        ));
    }
    let parts = Parts::new(plant, model, parameters)?;
    let states = golden_states(plant);
    let (n, m) = (model.shape().state, model.shape().control);
    // The first encoding only serves to evaluate the golden vectors.
    let zeros = vec![0.0; m];
    let mut vectors: Vec<(u32, Vec<f32>)> = vec![(0, zeros); states.len()];
    let draft = PolicyBuffer::new(&parts.encode(plant, &states, &vectors)?);
    let policy = RawPolicy::parse(draft.bytes())
        .and_then(|raw| raw.validate(&Capacity::FORMAT))
        .map_err(|error| Error::Negative(format!("the exported policy is not valid: {error}")))?;
    let mut scratch = vec![0.0; policy.scratch_len()];
    for (state, (choice, control)) in states.iter().zip(&mut vectors) {
        debug_assert_eq!(state.len(), n);
        let decision = policy
            .decide(state, control, &mut scratch)
            .map_err(|error| Error::Negative(format!("golden vector: {error}")))?;
        *choice = u32::from(decision.choice);
    }
    parts.encode(plant, &states, &vectors)
}

/// Draws of the plant's initial states, the origin, and one with a subnormal coordinate.
fn golden_states(plant: &PlantModel) -> Vec<Vec<f32>> {
    let n = plant.dims().state;
    let mut initial = vec![0.0; n];
    (0..GOLDEN_VECTORS)
        .map(|index| {
            let mut stream = Stream::new(0, Purpose::Evaluation, index as u64);
            plant.draw_initial(&mut stream, &mut initial);
            let mut state: Vec<f32> = initial.iter().map(|&x| x as f32).collect();
            match index {
                0 => state.fill(0.0),
                1 => state[0] = f32::from_bits(0x0000_1234),
                2 => state.fill(f32::from_bits(0x0000_4321)),
                _ => {}
            }
            state
        })
        .collect()
}

/// The numbers of a policy file, owned, in the order the format wants.
struct Parts<'a> {
    model: &'a Model,
    parameters: &'a [f32],
    choice_modes: Vec<u16>,
    shift: Vec<f32>,
    scale: Vec<f32>,
    offsets: Vec<f32>,
    gains: Vec<f32>,
    regions: Option<[Vec<f32>; 3]>,
    bounds: Option<(Vec<f32>, Vec<f32>)>,
    fallback: Fallback,
}

struct Fallback {
    mode: u16,
    constant: Vec<f32>,
    offset: Vec<f32>,
    gain: Vec<f32>,
}

impl<'a> Parts<'a> {
    fn new(plant: &PlantModel, model: &'a Model, parameters: &'a [f32]) -> Result<Self> {
        let shape = model.shape();
        let narrow = |value: usize, what: &str| {
            u16::try_from(value)
                .map_err(|_| Error::Usage(format!("{what}: found {value}; allowed: up to 65535")))
        };
        let single = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let (mut offsets, mut gains) = (Vec::new(), Vec::new());
        if shape.gains {
            for choice in 0..shape.choices() {
                let (gain, offset) = model.gain(choice);
                gains.extend_from_slice(&parameters[gain]);
                if offset.is_empty() {
                    offsets.extend(std::iter::repeat_n(0.0, shape.control));
                } else {
                    offsets.extend_from_slice(&parameters[offset]);
                }
            }
        }
        Ok(Self {
            model,
            parameters,
            choice_modes: shape
                .choice_modes
                .iter()
                .map(|&mode| narrow(mode, "plant modes"))
                .collect::<Result<_>>()?,
            shift: single(&shape.input_shift),
            scale: single(&shape.input_scale),
            offsets,
            gains,
            regions: shape.regions.as_ref().map(|regions| {
                [
                    single(&regions.lower),
                    single(&regions.upper),
                    single(&regions.corner),
                ]
            }),
            bounds: shape
                .bounds
                .as_ref()
                .map(|(lower, upper)| (single(lower), single(upper))),
            fallback: Fallback::new(plant),
        })
    }

    /// Encodes with the given golden vectors (state, choice, control).
    fn encode(
        &self,
        plant: &PlantModel,
        states: &[Vec<f32>],
        expected: &[(u32, Vec<f32>)],
    ) -> Result<Vec<u8>> {
        let shape = self.model.shape();
        let golden: Vec<GoldenVector> = states
            .iter()
            .zip(expected)
            .map(|(state, (choice, control))| GoldenVector {
                state,
                choice: *choice,
                control,
            })
            .collect();
        let names = plant_names(plant);
        let scores = self
            .model
            .scores()
            .map(|layer| blocks(layer, self.parameters)[0]);
        let selector = self
            .model
            .selector()
            .map(|network| blocks(network, self.parameters));
        let hidden = self
            .model
            .trunk()
            .map(|network| blocks(network, self.parameters))
            .unwrap_or_default();
        let heads: Vec<BlockSpec> = (0..shape.heads())
            .filter_map(|choice| self.model.head(choice))
            .map(|(weights, bias)| BlockSpec {
                bias: &self.parameters[bias],
                weights: &self.parameters[weights],
            })
            .collect();
        let too_large = |_| {
            Error::Usage(format!(
                "{} states, {} controls, {} modes, {} choices: beyond the policy format",
                shape.state,
                shape.control,
                shape.modes,
                shape.choices()
            ))
        };
        let factors: Vec<u16> = shape
            .factors
            .iter()
            .map(|&size| u16::try_from(size).map_err(too_large))
            .collect::<Result<_>>()?;
        let spec = PolicySpec {
            target_class: plant.target_class(),
            state_dim: u16::try_from(shape.state).map_err(too_large)?,
            control_dim: u16::try_from(shape.control).map_err(too_large)?,
            modes: u16::try_from(shape.modes).map_err(too_large)?,
            factors: &factors,
            input: match shape.input {
                InputKind::Affine => FormatInput::Affine,
                InputKind::UnitNorm => FormatInput::UnitNorm,
            },
            sample_time_s: plant.sample_time_s() as f32,
            policy_version: 1,
            choice_modes: &self.choice_modes,
            input_shift: &self.shift,
            input_scale: &self.scale,
            scores,
            selector: selector.as_deref(),
            gains: shape.gains.then_some(GainsSpec {
                offset: &self.offsets,
                matrix: &self.gains,
            }),
            control: shape.control_hidden.is_some().then_some(ControlSpec {
                hidden: &hidden,
                heads: &heads,
            }),
            regions: self.regions.as_ref().map(|[lower, upper, corner]| Regions {
                lower,
                upper,
                corner,
            }),
            bounds: self
                .bounds
                .as_ref()
                .map(|(lower, upper)| Bounds { lower, upper }),
            fallback: FallbackSpec {
                mode: self.fallback.mode,
                constant: &self.fallback.constant,
                offset: &self.fallback.offset,
                gain: &self.fallback.gain,
            },
            golden: &golden,
            names: &names,
        };
        let safety = safety_of(plant);
        let unfit = |error: EncodeError| Error::Usage(format!("policy file: {error}"));
        let mut bytes = PolicyBuffer::zeroed(supervised_len(&spec, &safety).map_err(unfit)?);
        let written = encode_supervised(&spec, &safety, bytes.bytes_mut()).map_err(unfit)?;
        Ok(bytes.bytes()[..written].to_vec())
    }
}

impl Fallback {
    /// The stationary LQR law of the fixed mode that costs least from the plant's initial states.
    fn new(plant: &PlantModel) -> Self {
        let Some(data) = plant.lqr_data() else {
            return Self::of_family(plant);
        };
        let dims = plant.dims();
        let modes = RiccatiModes::new(data);
        let variance: Vec<f64> = plant
            .initial()
            .half_width
            .iter()
            .map(|h| h * h / 3.0)
            .collect();
        let best = (0..dims.modes)
            .filter_map(|mode| {
                let p = modes.algebraic(mode)?;
                let cost: f64 = (0..dims.state).map(|i| p[(i, i)] * variance[i]).sum();
                cost.is_finite().then_some((cost, mode, p))
            })
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let constant = bounded(plant, &vec![0.0; dims.control]);
        let mut offset = vec![0.0; dims.control];
        let mut gain = vec![0.0; dims.control * dims.state];
        let mut chosen = 0;
        if let Some((_, mode, p)) = best {
            chosen = mode;
            // With an affine term the state carries a 1 behind it: its column is the offset.
            let k = modes.gain(mode, &p);
            for i in 0..dims.control {
                for j in 0..dims.state {
                    gain[i * dims.state + j] = -k[(i, j)] as f32;
                }
                if k.ncols() > dims.state {
                    offset[i] = -k[(i, dims.state)] as f32;
                }
            }
        }
        Self {
            mode: chosen as u16,
            constant,
            offset,
            gain,
        }
    }

    /// The safe law that the plant's family states.
    fn of_family(plant: &PlantModel) -> Self {
        let law = plant.safe_law();
        Self {
            mode: law.mode as u16,
            constant: bounded(plant, &law.offset),
            offset: law.offset.iter().map(|&v| v as f32).collect(),
            gain: law.gain.iter().map(|&v| -v as f32).collect::<Vec<f32>>(),
        }
    }
}

/// `control` cut to the plant's bounds and rounded to what the device holds.
fn bounded(plant: &PlantModel, control: &[f64]) -> Vec<f32> {
    let cut = |(i, &u): (usize, &f64)| match plant.bounds() {
        Some(bounds) => u.clamp(bounds.lower[i], bounds.upper[i]) as f32,
        None => u as f32,
    };
    control.iter().enumerate().map(cut).collect()
}

/// A network's layers as the format's blocks.
fn blocks<'a>(network: &Network, parameters: &'a [f32]) -> Vec<BlockSpec<'a>> {
    network
        .layers()
        .map(|(_, _, weights, bias)| BlockSpec {
            bias: &parameters[bias],
            weights: &parameters[weights],
        })
        .collect()
}

/// Name records of the plant, its states, controls and modes.
fn plant_names(plant: &PlantModel) -> Vec<NameRecord<'_>> {
    let names = plant.names();
    let mut records = vec![NameRecord {
        kind: NameKind::Plant,
        index: 0,
        name: plant.name(),
        unit: "",
    }];
    for (kind, names, units) in [
        (NameKind::State, &names.state, Some(&names.state_units)),
        (
            NameKind::Control,
            &names.control,
            Some(&names.control_units),
        ),
        (NameKind::Mode, &names.modes, None),
    ] {
        for (index, name) in names.iter().enumerate() {
            records.push(NameRecord {
                kind,
                index: index as u16,
                name,
                unit: units
                    .and_then(|units| units.get(index))
                    .map_or("", String::as_str),
            });
        }
    }
    records
}
