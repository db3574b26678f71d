//! What the best known control does, for the plots: its modes over time.

use std::collections::BTreeMap;
use std::path::Path;

use super::cell::{EVALUATION_SEED, test_states};
use super::columns::References;
use super::plots::OptimumShares;
use crate::error::{Error, Result};
use crate::evaluate::reference::{RiccatiModes, SwitchedBudget, SwitchedRiccati};
use crate::plant::{PlantModel, SwitchedLqrData};
use crate::report::trace::{ReferenceActor, mode_shares};
use crate::train::checkpoint::write_atomically;

/// Test states whose episodes are counted.
const EPISODES: usize = 256;
/// Forms per step: a plot needs shares to a percent, not costs to a millionth.
const FORMS: usize = 200;

/// Mode shares of switched Riccati for each plant that has a valid optimum, from the file `cache` as far as it has
/// them; the file is brought up to date. `before` is called before each plant that has to be computed.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
pub fn optimum_shares(
    plants: &[PlantModel],
    references: &[References],
    cache: &Path,
    before: &dyn Fn(&str),
) -> Result<OptimumShares> {
    let stored = std::fs::read(cache).ok();
    let stored = stored.and_then(|text| serde_json::from_slice(&text).ok());
    let mut known: BTreeMap<String, Vec<Vec<f64>>> = stored.unwrap_or_default();
    let mut list = OptimumShares::new();
    let mut changed = false;
    for plant in plants {
        let reference = references.iter().find(|r| r.plant == plant.name());
        let cost = reference.and_then(|r| r.optimal_cost);
        let (Some(cost), Some(data)) = (cost, plant.lqr_data()) else {
            continue;
        };
        // The cost to the last bit stands for matrices and states.
        let key = format!("{} {:016x}", plant.name(), cost.to_bits());
        if !known.contains_key(&key) {
            before(plant.name());
            known.insert(key.clone(), compute(plant, data));
            changed = true;
        }
        list.insert(plant.name().to_owned(), known[&key].clone());
    }
    if changed {
        let text = serde_json::to_vec(&known).map_err(|e| Error::Environment(e.to_string()))?;
        write_atomically(cache, &text)?;
    }
    Ok(list)
}

fn compute(plant: &PlantModel, data: &SwitchedLqrData) -> Vec<Vec<f64>> {
    let mut states = test_states(plant);
    states.truncate(EPISODES);
    let (dims, horizon) = (plant.dims(), plant.horizon());
    let full = SwitchedBudget::for_size(dims.state, dims.modes, horizon);
    let budget = SwitchedBudget {
        max_forms: full.max_forms.min(FORMS),
        max_points: full.max_points.min(EPISODES),
        sweeps: 1,
    };
    let modes = RiccatiModes::new(data);
    let policy = SwitchedRiccati::new(plant, &modes, horizon, &states, budget, &|_, _| {});
    mode_shares(
        plant,
        || ReferenceActor(&policy),
        &states,
        horizon,
        EVALUATION_SEED,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::cell::tests::result;
    use crate::compare::summarise;
    use crate::plant::load_plant;

    #[test]
    fn shares_are_computed_once_and_only_where_there_is_an_optimum() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("modes.json");
        let plants = [load_plant("switched-lqr-3-2", &[]).unwrap()];
        let mut one = result("hpo", 1, 1.0);
        one.on.plant = plants[0].name().into();
        let references = summarise(&[one.clone()], &["hpo".into()]).references;
        let calls = std::cell::Cell::new(0);
        let count = |_: &str| calls.set(calls.get() + 1);
        let first = optimum_shares(&plants, &references, &cache, &count).unwrap();
        assert_eq!((first.len(), calls.get()), (1, 1));
        for row in &first["switched-lqr-3-2"] {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        let second = optimum_shares(&plants, &references, &cache, &count).unwrap();
        assert_eq!((second, calls.get()), (first, 1));
        one.on.optimal_cost = None;
        let references = summarise(&[one], &["hpo".into()]).references;
        let none = optimum_shares(&plants, &references, &cache, &count).unwrap();
        assert!(none.is_empty());
    }
}
