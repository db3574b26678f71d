//! What `hpo bench` trains: the paper's settings with its networks, and the toolkit's defaults.

use crate::error::Result;
use crate::plant::{PlantModel, load_plant};
use crate::train::run::plant_traits;
use crate::train::settings::Settings;

/// A plant with settings.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Name in reports.
    pub name: &'static str,
    /// The plant.
    pub plant: PlantModel,
    /// Settings of training.
    pub settings: Settings,
}

/// Settings of arXiv 2605.14297's public repository: plain tanh networks, one control head for all
/// choices, generalised advantages, cross term, five passes over 128 trajectories of 20 steps, the later
/// ones in four minibatches on detached data. The critic is regressed in as many passes.
const PAPER: [(&str, &str); 16] = [
    ("policy.input", "affine"),
    ("policy.laws_per_mode", "1"),
    ("policy.scores", "false"),
    ("policy.gains", "false"),
    ("policy.head_per_choice", "false"),
    ("train.variant", "practical"),
    ("train.batch", "128"),
    ("train.batches_per_epoch", "8"),
    ("train.advantage", "gae"),
    ("train.gae_lambda", "0.96"),
    ("train.cross_term", "on"),
    ("train.choice_weight", "cost"),
    ("train.passes", "5"),
    ("train.critic_passes", "5"),
    ("train.minibatches", "4"),
    ("train.step_networks", "1e-3"),
];

/// Every workload, in the order of reports.
///
/// # Errors
/// As reading a plant and resolving settings; the ready plants and these settings give none.
pub fn all() -> Result<Vec<Workload>> {
    Ok(vec![
        paper("paper-64", "[64,64]", "[64,64]")?,
        // The networks of 200 GFLOP an epoch: the critic has the earlier files' 64 units.
        paper("paper-512", "[512,512]", "[64,64]")?,
        paper("paper-512-critic-512", "[512,512]", "[512,512]")?,
        workload("default", "switched-lqr-8-4", &[])?,
    ])
}

/// The paper's settings with the given hidden widths of selector and control network, and of the critic.
///
/// # Errors
/// [`crate::Error::Usage`] if the widths are not an array that the settings allow.
pub fn paper(name: &'static str, hidden: &str, critic: &str) -> Result<Workload> {
    let mut sets = PAPER.to_vec();
    sets.extend([
        ("policy.selector_hidden", hidden),
        ("policy.control_hidden", hidden),
        ("critic.hidden", critic),
    ]);
    workload(name, "switched-lqr-8-4", &sets)
}

/// Settings `sets` on a plant.
///
/// # Errors
/// For an unknown plant or setting.
pub fn workload(name: &'static str, plant: &str, sets: &[(&str, &str)]) -> Result<Workload> {
    let plant = load_plant(plant, &[])?;
    let sets: Vec<(String, String)> = sets
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let settings = Settings::resolve(&sets, plant_traits(&plant))?;
    Ok(Workload {
        name,
        plant,
        settings,
    })
}
