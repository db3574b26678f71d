//! A start from a policy file: its parameters, where its structure is the settings' own.

use std::path::{Path, PathBuf};

use policy_format::{Block, Capacity, InputKind as FormatInput, Policy, RawPolicy};

use super::StartingPoint;
use crate::error::{Error, Result};
use crate::export::PolicyBuffer;
use crate::plant::PlantModel;
use crate::policy::network::Network;
use crate::policy::{InputKind, Model, PolicyShape};
use crate::train::run::policy_shape;
use crate::train::settings::Settings;

/// Reads the policy in `path` (a file, or a run directory with `policy.hpo`). The choice table is the file's;
/// everything else of the structure has to be what settings and plant ask for.
pub(super) fn read(plant: &PlantModel, settings: &Settings, path: &Path) -> Result<StartingPoint> {
    let file = policy_path(path)?;
    let buffer = PolicyBuffer::read(&file)?;
    let policy = RawPolicy::parse(buffer.bytes())
        .and_then(|raw| raw.validate(&Capacity::FORMAT))
        .map_err(|error| Error::input(&file, "policy", error, "a whole policy file"))?;
    let mut shape = policy_shape(plant, settings);
    compare(&file, &policy, &shape)?;
    shape.choice_modes = policy
        .choice_modes()
        .iter()
        .map(|&mode| mode.into())
        .collect();
    if shape.factors.len() == 1 && policy.factors().len() == 1 {
        shape.factors = vec![shape.choice_modes.len()];
    }
    let model = Model::new(shape.clone());
    let mut parameters = vec![0.0; model.parameters()];
    if let (Some(scores), Some(block)) = (model.scores(), policy.scores()) {
        layer(scores, 0, block, &mut parameters);
    }
    if let Some(selector) = model.selector() {
        for (index, block) in policy.selector_blocks().enumerate() {
            layer(selector, index, block, &mut parameters);
        }
    }
    for choice in 0..shape.choices() {
        let (gain, offset) = model.gain(choice);
        if let Some(block) = policy.gain(choice) {
            weights(block, &mut parameters[gain]);
            if offset.is_empty() {
                refuse_offsets(&file, block)?;
            } else {
                parameters[offset].copy_from_slice(&block.bias()[..block.rows()]);
            }
        }
    }
    let hidden = shape.control_hidden.as_ref().map_or(0, Vec::len);
    for (index, block) in policy.control_blocks().enumerate() {
        match (index.checked_sub(hidden), model.trunk()) {
            (None, Some(trunk)) => layer(trunk, index, block, &mut parameters),
            (Some(head), _) => {
                // With one head for all, every choice names it.
                if let Some((matrix, bias)) = model.head(head) {
                    weights(block, &mut parameters[matrix]);
                    parameters[bias].copy_from_slice(&block.bias()[..block.rows()]);
                }
            }
            (None, None) => {}
        }
    }
    Ok(StartingPoint {
        shape,
        parameters,
        value: Vec::new(),
    })
}

/// The policy file that `path` names.
fn policy_path(path: &Path) -> Result<PathBuf> {
    let inside = path.join("policy.hpo");
    if path.is_dir() {
        if !inside.is_file() {
            return Err(Error::Usage(format!(
                "train.start: found {}, a folder without policy.hpo; allowed: {ALLOWED}",
                path.display()
            )));
        }
        return Ok(inside);
    }
    if !path.exists() {
        return Err(Error::Usage(format!(
            "train.start: found `{}`, which is no start and no file; allowed: {ALLOWED}",
            path.display()
        )));
    }
    Ok(path.to_path_buf())
}

const ALLOWED: &str =
    "scratch, averaged-riccati, switched-riccati, a policy file, or a run directory with a policy";

/// Refuses a policy whose structure is not `shape`, naming the first thing that differs.
fn compare(file: &Path, policy: &Policy<'_>, shape: &PolicyShape) -> Result<()> {
    let widths = |hidden: Option<&[u16]>| match hidden {
        Some(hidden) => format!("{hidden:?}"),
        None => "none".to_owned(),
    };
    let wanted = |hidden: &Option<Vec<usize>>| match hidden {
        Some(hidden) => format!("{hidden:?}"),
        None => "none".to_owned(),
    };
    let single = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
    let bounds = |lower: &[f32], upper: &[f32]| format!("{lower:?} to {upper:?}");
    let input = |kind| match kind {
        FormatInput::Affine => InputKind::Affine,
        FormatInput::UnitNorm => InputKind::UnitNorm,
    };
    let rows: [(&str, String, String); 14] = [
        (
            "states",
            policy.state_dim().to_string(),
            shape.state.to_string(),
        ),
        (
            "controls",
            policy.control_dim().to_string(),
            shape.control.to_string(),
        ),
        (
            "plant modes",
            policy.modes().to_string(),
            shape.modes.to_string(),
        ),
        (
            "selector factors",
            policy.factors().len().to_string(),
            "1".to_owned(),
        ),
        (
            "input (policy.input)",
            format!("{:?}", input(policy.input_kind())),
            format!("{:?}", shape.input),
        ),
        (
            "scores (policy.scores)",
            policy.has_scores().to_string(),
            shape.scores.to_string(),
        ),
        (
            "selector network (policy.selector_hidden)",
            widths(policy.selector_hidden()),
            wanted(&shape.selector_hidden),
        ),
        (
            "gains (policy.gains)",
            policy.has_gains().to_string(),
            shape.gains.to_string(),
        ),
        (
            "control network (policy.control_hidden)",
            widths(policy.control_hidden()),
            wanted(&shape.control_hidden),
        ),
        (
            "a head per choice (policy.head_per_choice)",
            (policy.control_heads() != 1
                || shape.control_hidden.is_none()
                || policy.choices() == 1 && shape.head_per_choice)
                .to_string(),
            (shape.head_per_choice || shape.control_hidden.is_none()).to_string(),
        ),
        (
            "factors of the selector",
            policy.factors().len().to_string(),
            shape.factors.len().to_string(),
        ),
        (
            "input shift",
            format!("{:?}", policy.input_shift()),
            format!("{:?}", single(&shape.input_shift)),
        ),
        (
            "input scale",
            format!("{:?}", policy.input_scale()),
            format!("{:?}", single(&shape.input_scale)),
        ),
        (
            "control bounds",
            policy
                .bounds()
                .map_or("none".to_owned(), |b| bounds(b.lower, b.upper)),
            shape
                .bounds
                .as_ref()
                .map_or("none".to_owned(), |(l, u)| bounds(&single(l), &single(u))),
        ),
    ];
    for (field, found, allowed) in rows {
        if found != allowed {
            return Err(Error::input(
                file,
                field,
                found,
                format!("{allowed}, as plant and settings ask for"),
            ));
        }
    }
    Ok(())
}

/// A gain without offset in the trained structure can hold no other.
fn refuse_offsets(file: &Path, block: Block<'_>) -> Result<()> {
    if block.bias()[..block.rows()].iter().any(|&v| v != 0.0) {
        return Err(Error::input(
            file,
            "gain offsets",
            "numbers other than 0",
            "0: with unit-norm input a law is homogeneous in the state",
        ));
    }
    Ok(())
}

/// Weights and bias of one layer.
fn layer(network: &Network, index: usize, block: Block<'_>, parameters: &mut [f32]) {
    if let Some((_, outputs, matrix, bias)) = network.layers().nth(index) {
        weights(block, &mut parameters[matrix]);
        parameters[bias].copy_from_slice(&block.bias()[..outputs]);
    }
}

/// Weights of a block, row by row.
fn weights(block: Block<'_>, out: &mut [f32]) {
    for (row, out) in out.chunks_mut(block.columns()).enumerate() {
        for (column, out) in out.iter_mut().enumerate() {
            *out = block.weight(row, column).unwrap_or_default();
        }
    }
}
