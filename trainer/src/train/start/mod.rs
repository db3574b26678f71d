//! Where a policy's parameters stand before the first epoch: `train.start`.
//!
//! | start | what enters the initialisation |
//! |---|---|
//! | scratch | random numbers |
//! | averaged-riccati | one matrix P, through one Riccati map of each mode |
//! | switched-riccati | the pruned value set of the switched dynamic programming |
//! | a path | the parameters of a policy file or of a run's policy |

mod file;
mod riccati;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::export;
use crate::numeric::random::Stream;
use crate::plant::PlantModel;
use crate::policy::{Model, PolicyShape};
use crate::train::critic::Critic;
use crate::train::initial;
use crate::train::run::policy_shape;
use crate::train::settings::{Algorithm, MOST_FORMS, PlantTraits, Settings, Structure};

/// Where parameters come from before the first epoch. In settings and on the command line one word, or
/// the path of a policy file or run directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Start {
    /// Random numbers; no number of the plant.
    #[default]
    Scratch,
    /// The averaged-Riccati controller: one matrix P, scores and gains from one Riccati map of each mode.
    AveragedRiccati,
    /// The value set of the switched dynamic programming, pruned to modes x laws_per_mode members.
    SwitchedRiccati,
    /// A policy file, or a run directory with its `policy.hpo`.
    Policy(PathBuf),
}

impl From<String> for Start {
    fn from(name: String) -> Self {
        match name.as_str() {
            "scratch" => Self::Scratch,
            "averaged-riccati" => Self::AveragedRiccati,
            "switched-riccati" => Self::SwitchedRiccati,
            _ => Self::Policy(name.into()),
        }
    }
}

impl From<Start> for String {
    fn from(start: Start) -> Self {
        start.to_string()
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scratch => f.write_str("scratch"),
            Self::AveragedRiccati => f.write_str("averaged-riccati"),
            Self::SwitchedRiccati => f.write_str("switched-riccati"),
            Self::Policy(path) => path.display().fmt(f),
        }
    }
}

/// A Riccati start has a law per mode and mode that comes next, but at most so many per mode.
const MOST_LAWS: usize = 8;

impl Start {
    /// The start that `--set` pairs ask for (the last one counts); scratch where none does.
    #[must_use]
    pub fn among(sets: &[(String, String)]) -> Self {
        let last = sets
            .iter()
            .rfind(|(key, _)| matches!(key.as_str(), "start" | "train.start"));
        let Some((_, value)) = last else {
            return Self::Scratch;
        };
        // As the settings read it: a TOML string, or a bare word.
        let quoted = format!("value = {value}").parse::<toml::Table>().ok();
        let text = quoted.and_then(|table| Some(table.get("value")?.as_str()?.to_owned()));
        Self::from(text.unwrap_or_else(|| value.clone()))
    }

    /// The defaults of every setting that depends on the start, except the number of forms of a critic that begins with the
    /// value set, which follows the number of laws that is asked for ([`Settings::resolve`]). A start is worth
    /// keeping: choices are sampled close to its arg-max and steps are smaller than from scratch, where the
    /// laws of a mode still have to part.
    pub fn defaults(&self, settings: &mut Settings, plant: PlantTraits) {
        let train = &mut settings.train;
        train.start = self.clone();
        match self {
            Self::Scratch => {}
            // The laws of a mode have their gains and still have to find where each is the best: scores
            // move fast, gains slowly, or laws that are drawn everywhere become all the same.
            Self::AveragedRiccati | Self::SwitchedRiccati => {
                // From one matrix the laws part soon. The set's are parted already: what is left to gain comes slowly.
                train.epochs = if *self == Self::SwitchedRiccati {
                    400
                } else {
                    80
                };
                train.entropy_start = train.entropy_start.min(0.1);
                train.step_gains = train.step_gains.min(0.003);
                if train.algo == Algorithm::Hpo {
                    // What is left to gain is small: a bonus for uniform choices that outlives it keeps it from being
                    // learned, and from one matrix so does a selector that moves once for each batch.
                    train.entropy_start = train.entropy_start.min(0.03);
                    train.entropy_end = train.entropy_end.min(1e-4);
                    train.step_scores = train.step_scores.max(0.3);
                    if *self == Self::AveragedRiccati {
                        train.passes = train.passes.max(2);
                    }
                }
                train.step_critic = train.step_critic.min(1e-3);
                train.critic_warmup = 2;
                if settings.policy.structure == Structure::Quadratic {
                    let modes = plant.modes.min(MOST_LAWS);
                    settings.policy.laws_per_mode = modes.max(settings.policy.laws_per_mode);
                }
                // The critic begins as the start's own cost-to-go.
                settings.critic.hidden = Vec::new();
                // Of the value set one per member, which the number of laws decides (`Settings::resolve`).
                settings.critic.forms = plant.modes.min(MOST_FORMS);
            }
            // Fine tuning of what may be near an optimum already.
            Self::Policy(_) => {
                train.epochs = 150;
                train.entropy_start = train.entropy_start.min(0.03);
                train.step_gains = train.step_gains.min(0.01);
                train.step_scores = train.step_scores.min(0.03);
                train.critic_warmup = 3;
            }
        }
    }
}

/// Structure and parameters of the policy before the first epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct StartingPoint {
    /// Structure; its choice table is the start's own.
    pub shape: PolicyShape,
    /// Parameters of a [`Model`] of that shape.
    pub parameters: Vec<f32>,
    /// Coefficients of quadratic forms whose least is the cost-to-go that the start goes by, in the order of the
    /// policy's monomials; empty: unknown.
    pub value: Vec<Vec<f32>>,
}

impl StartingPoint {
    /// Computes the start that `settings` ask for. Depends on plant, settings and `seed` alone, except that a
    /// policy is read from its file.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] where the start makes no sense on the plant or for the policy's structure;
    /// [`crate::Error::Input`] for a policy file that does not fit; [`crate::Error::Io`] for one that cannot be read.
    pub fn new(plant: &PlantModel, settings: &Settings, seed: u64) -> Result<Self> {
        match &settings.train.start {
            Start::Scratch => {
                let shape = policy_shape(plant, settings);
                let model = Model::new(shape.clone());
                Ok(Self {
                    shape,
                    parameters: initial::policy(&model, seed, settings.policy.score_spread),
                    value: Vec::new(),
                })
            }
            Start::AveragedRiccati => riccati::averaged(plant, settings, seed),
            Start::SwitchedRiccati => riccati::switched(plant, settings, seed),
            Start::Policy(path) => file::read(plant, settings, path),
        }
    }

    /// Writes the start's cost-to-go to the parameters of `critic`; without one they stay.
    pub fn value_to(&self, critic: &Critic, parameters: &mut [f32]) {
        for (k, form) in (0..critic.forms()).zip(self.value.iter().cycle()) {
            parameters[critic.form(k)].copy_from_slice(form);
        }
    }

    /// The start as a policy file.
    ///
    /// # Errors
    /// As [`export::policy_file`].
    pub fn policy_file(&self, plant: &PlantModel) -> Result<Vec<u8>> {
        let model = Model::new(self.shape.clone());
        export::policy_file(plant, &model, &self.parameters)
    }
}

/// Sets output layers to zero, so that networks begin as nothing beside scores and gains; they still
/// learn, since the derivative of an output layer does not depend on its own weights.
fn silence_networks(model: &Model, parameters: &mut [f32]) {
    let mut silent: Vec<Range<usize>> = Vec::new();
    if let Some((_, _, weights, bias)) = model.selector().and_then(|net| net.layers().last()) {
        silent.extend([weights, bias]);
    }
    for choice in 0..model.shape().heads() {
        if let Some((weights, bias)) = model.head(choice) {
            silent.extend([weights, bias]);
        }
    }
    for range in silent {
        parameters[range].fill(0.0);
    }
}

/// A vector of independent standard normal numbers.
fn normals(stream: &mut Stream, len: usize) -> Vec<f64> {
    (0..len).map(|_| stream.normal()).collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
