//! Lines of versions that did not write the cost before the first epoch: it depends on the plant, the settings and the
//! seed alone, so it is computed without training.

use super::cell::{CellResult, EVALUATION_SEED, finite};
use crate::error::{Error, Result};
use crate::evaluate::closed_loop::{Selection, evaluate_policy};
use crate::evaluate::reference::gap_percent;
use crate::export::PolicyBuffer;
use crate::policy::Model;
use crate::train::critic::Critic;
use crate::train::run::TrainConfig;
use crate::train::start::StartingPoint;
use crate::train::validate::Validation;

/// Whether the line says what the policy cost before the first epoch.
pub(super) fn is_complete(result: &CellResult) -> bool {
    result.mean_cost_start.is_some()
}

/// The line of a cell with the cost before the first epoch, and its gap to the line's own reference. The start is made anew; where
/// the line's curve begins with its validated cost, both must have the same bits.
///
/// # Errors
/// [`Error::Negative`] if the curve begins with another cost: the line is of a run from another start than this version makes;
/// those of [`StartingPoint::new`] and of evaluation.
pub(super) fn complete(
    config: &TrainConfig,
    states: &[Vec<f64>],
    line: &CellResult,
) -> Result<CellResult> {
    let start = StartingPoint::new(&config.plant, &config.settings, config.seed)?;
    // A line of a run that diverged has no first point.
    if let Some((_, known)) = line.curve.first().filter(|(calls, _)| *calls == 0) {
        let found = finite(validated_cost(config, &start));
        if found.to_bits() != known.to_bits() {
            return Err(Error::Negative(format!(
                "{} {} {} seed {}: the curve of its line begins with cost {known}, but this version starts with {found}; \
                 its line cannot be completed: move results.jsonl away or choose another --out",
                line.on.plant, line.algo, line.structure, line.seed
            )));
        }
    }
    let policy = PolicyBuffer::new(&start.policy_file(&config.plant)?);
    let evaluation = evaluate_policy(
        &config.plant,
        policy.bytes(),
        states,
        config.plant.horizon(),
        EVALUATION_SEED,
        Selection::ArgMax,
    )?;
    let cost = finite(evaluation.mean_cost);
    Ok(CellResult {
        mean_cost_start: Some(cost),
        gap_percent_start: line
            .on
            .optimal_cost
            .and_then(|optimum| gap_percent(cost, optimum)),
        ..line.clone()
    })
}

/// Validation cost of the start, as training would compute it.
fn validated_cost(config: &TrainConfig, start: &StartingPoint) -> f64 {
    let model = Model::new(start.shape.clone());
    let critic = Critic::new(model.shape(), &config.settings.critic);
    let mut validation = Validation::new(
        &config.plant,
        &model,
        &critic,
        config.settings.train.validation_states,
        config.seed,
    );
    let plant = config.plant.build::<f32>();
    validation.cost(&plant, &model, &start.parameters)
}
