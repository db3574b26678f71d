//! 8-bit weights: what a policy would lose if its networks were stored in bytes.

use policy_format::{Capacity, RawPolicy, reseal};

use crate::error::{Error, Result};
use crate::export::PolicyBuffer;

/// Greatest magnitude of a symmetric 8-bit weight.
const LEVELS: f32 = 127.0;

/// The policy with every weight of its networks rounded to 8 bits: per row, symmetric, with the scale
/// `max|w| / 127`. Biases, scores, gains and the arithmetic stay `f32`, and the golden vectors are made again.
/// `None` for a policy without networks.
///
/// # Errors
/// [`Error::Usage`] if the bytes are no valid policy; [`Error::Negative`] if the rounded policy cannot act at a
/// golden state.
pub fn with_8_bit_weights(policy: &PolicyBuffer) -> Result<Option<PolicyBuffer>> {
    let invalid = |error| Error::Usage(format!("policy: {error}"));
    let mut rounded = PolicyBuffer::new(policy.bytes());
    let changes = {
        let parsed = RawPolicy::parse(policy.bytes()).map_err(invalid)?;
        let parsed = parsed.validate(&Capacity::FORMAT).map_err(invalid)?;
        let mut changes: Vec<(usize, f32)> = Vec::new();
        let mut networks = false;
        for block in parsed.selector_blocks().chain(parsed.control_blocks()) {
            networks = true;
            let start = offset(policy, block.panels());
            let padded = block.bias().len();
            for row in 0..block.rows() {
                let weights = (0..block.columns()).filter_map(|k| block.weight(row, k));
                let scale = weights.clone().fold(0.0_f32, |max, w| max.max(w.abs())) / LEVELS;
                if scale == 0.0 {
                    continue;
                }
                // Panels of eight rows, the last of four where that is enough; column after column.
                let first = row / 8 * 8;
                let height = if padded - first < 8 { 4 } else { 8 };
                for (column, weight) in weights.enumerate() {
                    let at = first * block.columns() + column * height + (row - first);
                    changes.push((start + 4 * at, (weight / scale).round() * scale));
                }
            }
        }
        if !networks {
            return Ok(None);
        }
        changes
    };
    for (at, value) in changes {
        rounded.bytes_mut()[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    reseal(rounded.bytes_mut());
    let golden = golden_answers(&rounded)?;
    for (at, choice, control) in golden {
        let bytes = &mut rounded.bytes_mut()[at..];
        bytes[..4].copy_from_slice(&choice.to_le_bytes());
        for (place, value) in bytes[4..].chunks_exact_mut(4).zip(control) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }
    reseal(rounded.bytes_mut());
    Ok(Some(rounded))
}

/// Per golden vector: where its choice stands (its control is behind), and what the policy answers.
fn golden_answers(policy: &PolicyBuffer) -> Result<Vec<(usize, u32, Vec<f32>)>> {
    let invalid = |error| Error::Usage(format!("policy: {error}"));
    let parsed = RawPolicy::parse(policy.bytes()).map_err(invalid)?;
    let parsed = parsed.validate(&Capacity::FORMAT).map_err(invalid)?;
    let mut scratch = vec![0.0; parsed.scratch_len()];
    parsed
        .golden()
        .map(|vector| {
            let mut control = vec![0.0; parsed.control_dim()];
            let decision = parsed
                .decide(vector.state, &mut control, &mut scratch)
                .map_err(|error| Error::Negative(format!("8-bit weights: {error}")))?;
            let at = offset(policy, vector.control) - 4;
            Ok((at, u32::from(decision.choice), control))
        })
        .collect()
}

/// Where a slice that the policy borrowed stands in its bytes.
fn offset(policy: &PolicyBuffer, part: &[f32]) -> usize {
    part.as_ptr() as usize - policy.bytes().as_ptr() as usize
}

/// Bytes of the trained numbers alone: (all in `f32`, network weights in 8 bits with an `f32` scale per row).
///
/// # Errors
/// [`Error::Usage`] if the bytes are no valid policy.
pub fn weight_bytes(policy: &PolicyBuffer) -> Result<(usize, usize)> {
    let invalid = |error| Error::Usage(format!("policy: {error}"));
    let parsed = RawPolicy::parse(policy.bytes()).map_err(invalid)?;
    let parsed = parsed.validate(&Capacity::FORMAT).map_err(invalid)?;
    let single = 4 * parsed.parameters();
    let saved: usize = parsed
        .selector_blocks()
        .chain(parsed.control_blocks())
        .map(|block| block.rows() * (3 * block.columns()).saturating_sub(4))
        .sum();
    Ok((single, single - saved))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::policy_file;
    use crate::plant::load_plant;
    use crate::policy::Model;
    use crate::train::run::{plant_traits, policy_shape};
    use crate::train::settings::Settings;

    fn policy(sets: &[(&str, &str)]) -> PolicyBuffer {
        let plant = load_plant("switched-lqr-3-2", &[]).unwrap();
        let sets: Vec<(String, String)> = sets
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let settings = Settings::resolve(&sets, plant_traits(&plant)).unwrap();
        let model = Model::new(policy_shape(&plant, &settings));
        let parameters: Vec<f32> = (0..model.parameters())
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 60.0)
            .collect();
        PolicyBuffer::new(&policy_file(&plant, &model, &parameters).unwrap())
    }

    #[test]
    fn every_network_weight_is_a_multiple_of_its_row_scale_and_nothing_else_moves() {
        // Twelve and five rows: panels of eight and of four.
        let before = policy(&[
            ("policy.selector_hidden", "[12, 5]"),
            ("policy.control_hidden", "[9]"),
        ]);
        let after = with_8_bit_weights(&before).unwrap().unwrap();
        let read = |buffer: &PolicyBuffer| -> Vec<(Vec<Vec<f32>>, Vec<f32>)> {
            let parsed = RawPolicy::parse(buffer.bytes()).unwrap();
            let parsed = parsed.validate(&Capacity::FORMAT).unwrap();
            let mut control = vec![0.0; parsed.control_dim()];
            let mut scratch = vec![0.0; parsed.scratch_len()];
            parsed.check_golden(&mut control, &mut scratch).unwrap();
            let blocks = parsed.selector_blocks().chain(parsed.control_blocks());
            let rows = |block: policy_format::Block<'_>| {
                let row = |r| (0..block.columns()).map(move |k| block.weight(r, k).unwrap());
                (0..block.rows()).map(|r| row(r).collect()).collect()
            };
            blocks.map(|b| (rows(b), b.bias().to_vec())).collect()
        };
        let (old, new) = (read(&before), read(&after));
        assert_eq!(old.len(), new.len());
        let mut moved = 0;
        for ((old, old_bias), (new, new_bias)) in old.iter().zip(&new) {
            assert_eq!(old_bias, new_bias);
            for (old, new) in old.iter().zip(new) {
                let scale = old.iter().fold(0.0_f32, |m, w| m.max(w.abs())) / 127.0;
                for (&old, &new) in old.iter().zip(new) {
                    assert!((old - new).abs() <= 0.5001 * scale);
                    let level = new / scale;
                    assert!((level - level.round()).abs() < 1e-3 && level.abs() < 127.1);
                    moved += usize::from(old != new);
                }
            }
        }
        assert!(moved > 50, "{moved}");
        let changed = before.bytes().iter().zip(after.bytes());
        assert_eq!(before.bytes().len(), after.bytes().len());
        assert!(changed.filter(|(a, b)| a != b).count() > 0);
        // Rounding what is rounded changes nothing but the last bits of a scale.
        let (f32_bytes, small) = weight_bytes(&before).unwrap();
        assert_eq!((f32_bytes, small), weight_bytes(&after).unwrap());
        assert!(small < f32_bytes);
    }

    #[test]
    fn without_networks_there_is_nothing_to_round() {
        let plain = policy(&[]);
        assert!(with_8_bit_weights(&plain).unwrap().is_none());
        let (f32_bytes, small) = weight_bytes(&plain).unwrap();
        assert_eq!(f32_bytes, small);
        assert!(with_8_bit_weights(&PolicyBuffer::new(b"no policy")).is_err());
    }
}
