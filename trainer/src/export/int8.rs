//! From a binary32 policy to one whose networks have 8-bit weights and integer sums.

use policy_format::{
    Block, Capacity, EncodeError, GoldenVector, INT8_MULTIPLIER_MAX, INT8_MULTIPLIER_UNIT,
    INT8_SUM_MAX, InputKind, Int8BlockSpec, Int8NetworkSpec, Policy, RawPolicy, encode_int8,
};

use super::PolicyBuffer;
use crate::error::{Error, Result};

/// What the greatest activation stands for: 1 behind a hidden layer, an input's greatest magnitude in front.
const ACTIVATIONS: f64 = 1023.0;
/// How far beyond the greatest input seen an input may go before it is limited.
const HEADROOM: f64 = 1.25;

/// Golden vectors that would take more than one part in so many of a file are left out but for two: one with a
/// subnormal, and the last.
const GOLDEN_SHARE: usize = 10;

/// A block in 8 bits, row-major.
struct QuantisedBlock {
    bias: Vec<i32>,
    factor: Vec<u32>,
    weights: Vec<i8>,
}

/// A policy in 8 bits.
#[derive(Clone)]
pub struct Int8Policy {
    /// The file.
    pub file: PolicyBuffer,
    /// Root mean square of what rounding moved the networks' weights by, in percent of the root mean square of the
    /// weights.
    pub weight_error_percent: f64,
}

/// Sums of squares: of the weights, and of what rounding moved them by.
#[derive(Clone, Copy, Default)]
struct Squares {
    weights: f64,
    errors: f64,
}

/// A network in 8 bits.
struct QuantisedNetwork {
    input_scale: Vec<f32>,
    hidden: Vec<QuantisedBlock>,
    heads: Vec<QuantisedBlock>,
}

/// The policy with its networks in 8 bits: a scale per row, 11-bit activations. Scores, gains, |s| and everything
/// else stay as they are; the golden vectors are states of the old file with the answers of the new policy: all of them,
/// or two in a small file.
///
/// `visited` are states (n values each, in the plant's units) from which the range of the networks' inputs is taken, with a
/// quarter of headroom; with unit norm none are needed.
///
/// # Errors
/// [`Error::Usage`] if the bytes are no valid binary32 policy, the policy has no network, or a weight times its input's range
/// is beyond 63; [`Error::Negative`] if the result cannot act at a golden state.
pub fn int8_policy(policy: &PolicyBuffer, visited: &[Vec<f32>]) -> Result<Int8Policy> {
    let parsed = read(policy)?;
    if parsed.selector_hidden().is_none() && parsed.control_hidden().is_none() {
        return Err(Error::Usage(
            "--precision: found int8 for a policy without networks; allowed: f32 (scores and gains stay f32)"
                .into(),
        ));
    }
    if parsed.precision() != policy_format::Precision::F32 {
        return Err(Error::Usage(
            "policy: its networks are in 8 bits already; allowed: an f32 policy".into(),
        ));
    }
    let ranges = input_ranges(&parsed, visited);
    let mut squares = Squares::default();
    let selector = match parsed.selector_hidden() {
        Some(hidden) => {
            let blocks: Vec<Block> = parsed.selector_blocks().collect();
            Some(quantise(
                "selector",
                &blocks,
                hidden.len(),
                &ranges,
                &mut squares,
            )?)
        }
        None => None,
    };
    let control = match parsed.control_hidden() {
        Some(hidden) => {
            let blocks: Vec<Block> = parsed.control_blocks().collect();
            Some(quantise(
                "control",
                &blocks,
                hidden.len(),
                &ranges,
                &mut squares,
            )?)
        }
        None => None,
    };
    let mut states: Vec<&[f32]> = parsed.golden().map(|vector| vector.state).collect();
    let golden = 4 * states.len() * (parsed.state_dim() + 1 + parsed.control_dim());
    let networks = (selector.as_ref(), control.as_ref());
    let mut answers = vec![(0, vec![0.0; parsed.control_dim()]); states.len()];
    let mut draft = encode(policy, networks.0, networks.1, &states, &answers)?;
    if states.len() > 2 && golden > draft.bytes().len() / GOLDEN_SHARE {
        let first = states.iter().find(|s| s.iter().any(|s| s.is_subnormal()));
        states = first.into_iter().chain(states.last()).copied().collect();
        answers.truncate(states.len());
        draft = encode(policy, networks.0, networks.1, &states, &answers)?;
    }
    let rounded = read(&draft)?;
    let mut scratch = vec![0.0; rounded.scratch_len()];
    for (state, (choice, control)) in states.iter().zip(&mut answers) {
        let decision = rounded
            .decide(state, control, &mut scratch)
            .map_err(|error| Error::Negative(format!("8-bit policy: golden vector: {error}")))?;
        *choice = u32::from(decision.choice);
    }
    Ok(Int8Policy {
        file: encode(
            policy,
            selector.as_ref(),
            control.as_ref(),
            &states,
            &answers,
        )?,
        weight_error_percent: 100.0 * (squares.errors / squares.weights.max(1e-300)).sqrt(),
    })
}

/// Reads a policy.
fn read(policy: &PolicyBuffer) -> Result<Policy<'_>> {
    RawPolicy::parse(policy.bytes())
        .and_then(|raw| raw.validate(&Capacity::FORMAT))
        .map_err(|error| Error::Usage(format!("policy: {error}")))
}

/// Greatest magnitude of each network input.
fn input_ranges(policy: &Policy<'_>, visited: &[Vec<f32>]) -> Vec<f64> {
    let n = policy.state_dim();
    if policy.input_kind() == InputKind::UnitNorm {
        return vec![1.0; n];
    }
    let mut ranges = vec![0.0_f64; n];
    let golden = policy.golden().map(|vector| vector.state);
    for state in golden.chain(visited.iter().map(Vec::as_slice)) {
        for (k, range) in ranges.iter_mut().enumerate() {
            let (shift, scale) = (policy.input_shift()[k], policy.input_scale()[k]);
            *range = range.max(f64::from((state[k] - shift) * scale).abs());
        }
    }
    // An input that was never seen to move keeps a range of its own unit.
    ranges
        .iter()
        .map(|&range| if range > 1e-20 { range * HEADROOM } else { 1.0 })
        .collect()
}

fn quantise(
    name: &str,
    blocks: &[Block<'_>],
    hidden: usize,
    ranges: &[f64],
    squares: &mut Squares,
) -> Result<QuantisedNetwork> {
    let input_scale: Vec<f32> = ranges.iter().map(|r| (ACTIVATIONS / r) as f32).collect();
    let mut units: Vec<f64> = input_scale.iter().map(|&s| 1.0 / f64::from(s)).collect();
    let mut network = QuantisedNetwork {
        input_scale,
        hidden: Vec::new(),
        heads: Vec::new(),
    };
    for (index, block) in blocks.iter().enumerate() {
        let output = index >= hidden;
        let rounded = quantise_block(block, &units, output, squares).map_err(|(row, found)| {
            Error::Usage(format!(
                "{name} network: block {index} row {row}: found a weight that adds up to {found:.1}; allowed in 8 \
                 bits: up to 63"
            ))
        })?;
        if output {
            network.heads.push(rounded);
        } else {
            network.hidden.push(rounded);
            units = vec![1.0 / ACTIVATIONS; block.rows()];
        }
    }
    Ok(network)
}

/// Rounds a block whose activations stand for `units` each. The error is a row that has no multiplier, and what its
/// greatest weight contributes at most.
fn quantise_block(
    block: &Block<'_>,
    units: &[f64],
    output: bool,
    squares: &mut Squares,
) -> std::result::Result<QuantisedBlock, (usize, f64)> {
    let mut rounded = QuantisedBlock {
        bias: Vec::new(),
        factor: Vec::new(),
        weights: Vec::new(),
    };
    for row in 0..block.rows() {
        let bias = f64::from(block.bias()[row]);
        let weights: Vec<f64> = units
            .iter()
            .enumerate()
            .map(|(k, unit)| f64::from(block.weight(row, k).unwrap_or_default()) * unit)
            .collect();
        let greatest = weights.iter().fold(0.0_f64, |max, w| max.max(w.abs()));
        // What one unit of the sum stands for: at least what the greatest weight asks for, and more where the sum could
        // leave its range. A hidden row's is a whole number of units of the multiplier, so that nothing is lost there.
        let mut unit = (greatest / 127.0)
            .max(bias.abs() / INT8_SUM_MAX as f64)
            .max(1e-30);
        loop {
            let factor = if output {
                let scale = unit as f32;
                unit = f64::from(scale);
                scale.to_bits()
            } else {
                let multiplier = (unit / INT8_MULTIPLIER_UNIT).ceil();
                if multiplier > f64::from(INT8_MULTIPLIER_MAX) {
                    return Err((row, unit * 127.0 * ACTIVATIONS));
                }
                unit = multiplier * INT8_MULTIPLIER_UNIT;
                multiplier as u32
            };
            let whole: Vec<f64> = weights.iter().map(|w| (w / unit).round()).collect();
            let sum = (bias / unit).round();
            let reach = sum.abs() + 1024.0 * whole.iter().map(|w| w.abs()).sum::<f64>();
            if reach <= INT8_SUM_MAX as f64 && whole.iter().all(|w| w.abs() <= 127.0) {
                for ((w, whole), input) in weights.iter().zip(&whole).zip(units) {
                    // In the weight's own unit, not in that of its input's activation.
                    squares.weights += (w / input).powi(2);
                    squares.errors += ((w - whole * unit) / input).powi(2);
                }
                rounded.bias.push(sum as i32);
                rounded.factor.push(factor);
                rounded.weights.extend(whole.iter().map(|&w| w as i8));
                break;
            }
            unit *= (reach / INT8_SUM_MAX as f64).max(1.001);
        }
    }
    Ok(rounded)
}

fn encode(
    policy: &PolicyBuffer,
    selector: Option<&QuantisedNetwork>,
    control: Option<&QuantisedNetwork>,
    states: &[&[f32]],
    answers: &[(u32, Vec<f32>)],
) -> Result<PolicyBuffer> {
    fn specs(blocks: &[QuantisedBlock]) -> Vec<Int8BlockSpec<'_>> {
        blocks
            .iter()
            .map(|block| Int8BlockSpec {
                bias: &block.bias,
                factor: &block.factor,
                weights: &block.weights,
            })
            .collect()
    }
    let selector_parts = selector.map(|n| (specs(&n.hidden), specs(&n.heads)));
    let control_parts = control.map(|n| (specs(&n.hidden), specs(&n.heads)));
    let selector_spec = selector
        .zip(selector_parts.as_ref())
        .map(|(n, (hidden, heads))| Int8NetworkSpec {
            input_scale: &n.input_scale,
            hidden,
            heads,
        });
    let control_spec = control
        .zip(control_parts.as_ref())
        .map(|(n, (hidden, heads))| Int8NetworkSpec {
            input_scale: &n.input_scale,
            hidden,
            heads,
        });
    let golden: Vec<GoldenVector> = states
        .iter()
        .zip(answers)
        .map(|(state, (choice, control))| GoldenVector {
            state,
            choice: *choice,
            control,
        })
        .collect();
    let write = |out: &mut [u8]| {
        encode_int8(
            policy.bytes(),
            selector_spec.as_ref(),
            control_spec.as_ref(),
            &golden,
            out,
        )
    };
    let unfit = |error: EncodeError| Error::Usage(format!("8-bit policy: {error}"));
    let length = match write(&mut []) {
        Err(EncodeError::BufferTooSmall { needed, .. }) => needed,
        Ok(length) => length,
        Err(error) => return Err(unfit(error)),
    };
    let mut bytes = PolicyBuffer::zeroed(length);
    write(bytes.bytes_mut()).map_err(unfit)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::int8_report::int8_with_report;
    use crate::export::policy_file;
    use crate::plant::{PlantModel, load_plant};
    use crate::policy::Model;
    use crate::train::run::{plant_traits, policy_shape};
    use crate::train::settings::Settings;

    fn policy(plant: &PlantModel, sets: &[(&str, &str)], scale: f32) -> PolicyBuffer {
        let sets: Vec<(String, String)> = sets
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let settings = Settings::resolve(&sets, plant_traits(plant)).unwrap();
        let model = Model::new(policy_shape(plant, &settings));
        let parameters: Vec<f32> = (0..model.parameters())
            .map(|i| scale * ((i * 37 % 101) as f32 - 50.0) / 200.0)
            .collect();
        PolicyBuffer::new(&policy_file(plant, &model, &parameters).unwrap())
    }

    const NETWORKS: [(&str, &str); 2] = [
        ("policy.selector_hidden", "[12, 5]"),
        ("policy.control_hidden", "[20]"),
    ];

    #[test]
    fn every_weight_moves_by_at_most_half_a_unit_of_its_row() {
        let plant = load_plant("switched-lqr-3-2", &[]).unwrap();
        let float = policy(&plant, &NETWORKS, 1.0);
        let rounded = int8_policy(&float, &[vec![3.0, -2.0, 1.0]]).unwrap();
        assert!(rounded.weight_error_percent > 0.01 && rounded.weight_error_percent < 1.0);
        let (before, after) = (read(&float).unwrap(), read(&rounded.file).unwrap());
        let ranges = input_ranges(&before, &[vec![3.0, -2.0, 1.0]]);
        let float_blocks = before.selector_blocks().chain(before.control_blocks());
        let eight = after
            .selector_int8_blocks()
            .chain(after.control_int8_blocks());
        let mut blocks = 0;
        for (float, eight) in float_blocks.zip(eight) {
            blocks += 1;
            let first = float.columns() == 3;
            for row in 0..float.rows() {
                let factor = eight.row(row).unwrap().factor;
                let unit = if eight.is_output() {
                    f64::from(f32::from_bits(factor))
                } else {
                    f64::from(factor) * INT8_MULTIPLIER_UNIT
                };
                for column in 0..float.columns() {
                    let range = if first { ranges[column] } else { 1.0 };
                    let exact = f64::from(float.weight(row, column).unwrap()) * range / 1023.0;
                    let found = f64::from(eight.weight(row, column).unwrap()) * unit;
                    assert!((exact - found).abs() <= 0.501 * unit, "{row} {column}");
                }
            }
        }
        // Three of the selector, the hidden layer of the laws and a head for each of the eight choices.
        assert_eq!(blocks, 3 + 1 + 8);
    }

    #[test]
    fn a_policy_keeps_its_decisions_in_8_bits() {
        let plant = load_plant("switched-lqr-3-2", &[]).unwrap();
        let float = policy(&plant, &NETWORKS, 1.0);
        let states: Vec<Vec<f64>> = (0..40)
            .map(|i| {
                (0..3)
                    .map(|k| ((i * 7 + k * 5) % 11) as f64 - 5.0)
                    .collect()
            })
            .collect();
        let (file, report) = int8_with_report(&plant, &float, &states, 1).unwrap();
        assert_eq!(report.int8_bytes, file.bytes().len());
        assert!(report.int8_bytes < report.f32_bytes);
        assert!(report.mode_flip_percent < 2.0, "{report:?}");
        assert!(report.action_error_percent > 0.0 && report.action_error_percent < 2.0);
        assert!(report.cost_change_percent.abs() < 1.0, "{report:?}");
        assert_eq!(report.episodes, states.len());
        let again = int8_with_report(&plant, &float, &states, 1).unwrap();
        assert_eq!((again.0.bytes(), again.1), (file.bytes(), report));
    }

    #[test]
    fn what_has_no_form_in_8_bits_is_refused() {
        let plant = load_plant("switched-lqr-3-2", &[]).unwrap();
        let refused = |file: &PolicyBuffer| {
            let error = int8_policy(file, &[]).err().unwrap();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        assert!(refused(&policy(&plant, &[], 1.0)).contains("without networks"));
        assert!(refused(&PolicyBuffer::new(b"no policy")).contains("policy"));
        let float = policy(&plant, &NETWORKS, 1.0);
        let eight = int8_policy(&float, &[]).unwrap().file;
        assert!(refused(&eight).contains("already"));
        // Hidden rows hold weights up to 63 in units of their input; 250 is beyond.
        let steep = refused(&policy(&plant, &NETWORKS, 1000.0));
        assert!(steep.contains("up to 63"), "{steep}");
    }
}
