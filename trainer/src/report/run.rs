//! A run directory, read for its report.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::compare::cell::settings_difference;
use crate::error::{Error, Result};
use crate::export::PolicyBuffer;
use crate::plant::{PlantModel, load_plant};
use crate::train::checkpoint::Checkpoint;
use crate::train::run::{CHECKPOINT_FILE, DIVERGED_FILE, Divergence, START_FILE, plant_traits};
use crate::train::settings::Settings;
use crate::train::start::Start;

/// One epoch of `metrics.jsonl`; what a version of the program did not write is absent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Epoch {
    /// Epochs done.
    pub epoch: usize,
    /// Simulator calls so far, look-ahead branches included.
    pub env_steps: u64,
    /// Mean cost of the training episodes.
    pub cost: Option<f64>,
    /// Cost on the validation states, where this epoch was validated.
    pub validation_cost: Option<f64>,
    /// Entropy of the selector in nats.
    pub entropy: Option<f64>,
    /// Error of the critic.
    pub critic_error: Option<f64>,
    /// Norm of the selector's gradient.
    pub selector_gradient: Option<f64>,
    /// Norm of the laws' gradient.
    pub law_gradient: Option<f64>,
}

/// What a run directory holds.
#[derive(Clone)]
pub struct RunRecord {
    /// The directory.
    pub path: PathBuf,
    /// The plant, with its test states where the plant of its name is still the same.
    pub plant: PlantModel,
    /// How the plant is named on a command line.
    pub plant_argument: String,
    /// The settings.
    pub settings: Settings,
    /// The text of `settings.toml`.
    pub settings_text: String,
    /// Seed of the run.
    pub seed: u64,
    /// Version and commit of the program that trained it, where known.
    pub version: String,
    /// The epochs.
    pub epochs: Vec<Epoch>,
    /// The best policy.
    pub policy: PolicyBuffer,
    /// The policy before the first epoch; `None` in runs of a version that did not keep it.
    pub start: Option<PolicyBuffer>,
    /// Validation cost before the first epoch, where the run has kept it.
    pub start_validation: Option<f64>,
    /// What was said when training diverged, where it did.
    pub diverged: Option<String>,
}

impl RunRecord {
    /// Reads a run directory. `plant` names the plant again, for a plant file whose test states are wanted; it
    /// must be the run's own.
    ///
    /// # Errors
    /// [`Error::Usage`] if the folder is no run, has no policy yet, or `plant` is another plant; [`Error::Input`] and
    /// [`Error::Io`] for files that cannot be read.
    pub fn read(path: &Path, plant: Option<&str>) -> Result<Self> {
        let not_a_run = |found: &str| {
            Error::Usage(format!(
                "{}: found {found}; allowed: a run directory of hpo train",
                path.display()
            ))
        };
        if !path.is_dir() {
            return Err(not_a_run("no folder"));
        }
        if !path.join("settings.toml").is_file() {
            return Err(not_a_run("a folder without settings.toml"));
        }
        if !path.join("policy.hpo").is_file() {
            return Err(not_a_run(
                "a run without policy.hpo, which has not reached its first checkpoint",
            ));
        }
        let read = |name: &str| {
            let path = path.join(name);
            let text = fs::read_to_string(&path).map_err(|e| Error::io(&path, "cannot read", e))?;
            Ok::<_, Error>((path, text))
        };
        let as_written = "the file as hpo train wrote it";
        let (file, settings_text) = read("settings.toml")?;
        let settings: Settings = toml::from_str(&settings_text)
            .map_err(|e| Error::input(&file, "settings", e.message(), as_written))?;
        let (file, text) = read("run.json")?;
        let run: serde_json::Value =
            serde_json::from_str(&text).map_err(|e| Error::input(&file, "JSON", e, as_written))?;
        let seed = run["seed"]
            .as_u64()
            .ok_or_else(|| Error::input(&file, "seed", &run["seed"], "a whole number"))?;
        let name = run["plant"].as_str().unwrap_or_default();
        let (plant, plant_argument) = find_plant(path, name, plant)?;
        let (file, text) = read("metrics.jsonl")?;
        let epochs = text
            .lines()
            .enumerate()
            .map(|(index, line)| {
                let field = format!("line {}", index + 1);
                serde_json::from_str(line).map_err(|e| Error::input(&file, field, e, as_written))
            })
            .collect::<Result<_>>()?;
        let divergence: Option<Divergence> = match path.join(DIVERGED_FILE).is_file() {
            true => {
                let (file, text) = read(DIVERGED_FILE)?;
                let found = serde_json::from_str(&text);
                Some(found.map_err(|e| Error::input(&file, "JSON", e, as_written))?)
            }
            false => None,
        };
        // A run that diverged at once has no checkpoint, and one of another version may not be read: then the curve begins later.
        let checkpoint = Checkpoint::load(&path.join(CHECKPOINT_FILE)).ok();
        let start_validation = match checkpoint {
            Some(checkpoint) => Some(checkpoint.start_cost),
            None => divergence.as_ref().and_then(|d| d.start_cost),
        };
        let known = |key: &str| run[key].as_str().map(str::to_owned);
        let version = [known("hpo_version"), known("commit")];
        Ok(Self {
            path: path.to_path_buf(),
            plant,
            plant_argument,
            settings,
            settings_text,
            seed,
            version: version.into_iter().flatten().collect::<Vec<_>>().join(", "),
            epochs,
            policy: PolicyBuffer::read(&path.join("policy.hpo"))?,
            start: (path.join(START_FILE).is_file())
                .then(|| PolicyBuffer::read(&path.join(START_FILE)))
                .transpose()?,
            start_validation: start_validation.filter(|cost| cost.is_finite()),
            diverged: divergence.map(|d| d.message),
        })
    }

    /// Name of the algorithm.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        self.settings.train.algo.name()
    }

    /// The command that makes this run again.
    #[must_use]
    pub fn command(&self) -> String {
        let mut sets = vec![("train.algo".to_owned(), self.algorithm().to_owned())];
        let structure = self.settings.policy.structure.name();
        sets.push(("policy.structure".into(), structure.to_owned()));
        // The start decides defaults.
        let start = self.settings.train.start.to_string();
        sets.push(("train.start".into(), start.clone()));
        let mut command = format!(
            "hpo train {} --algo {} --structure {structure} --seed {}",
            self.plant_argument,
            self.algorithm(),
            self.seed
        );
        if self.settings.train.start != Start::Scratch {
            command += &if start.contains(' ') {
                format!(" --start '{start}'")
            } else {
                format!(" --start {start}")
            };
        }
        // Defaults that a later version cannot resolve leave the command without settings.
        if let Ok(defaults) = Settings::resolve(&sets, plant_traits(&self.plant)) {
            for (key, value) in settings_difference(&self.settings, &defaults) {
                let value = match value {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                };
                let pair = format!("{key}={value}");
                command += &if pair.contains([' ', '[', '"']) {
                    format!(" --set '{pair}'")
                } else {
                    format!(" --set {pair}")
                };
            }
        }
        command
    }
}

/// The run's plant and its name on a command line.
fn find_plant(run: &Path, name: &str, given: Option<&str>) -> Result<(PlantModel, String)> {
    let own_path = run.join("plant.toml");
    let own = fs::read_to_string(&own_path).map_err(|e| Error::io(&own_path, "cannot read", e))?;
    let same = |plant: &PlantModel| plant.resolved_toml() == own;
    if let Some(given) = given {
        let plant = load_plant(given, &[])?;
        if !same(&plant) {
            return Err(Error::Usage(format!(
                "--plant: found {given}; allowed: the plant of the run, {name} as in {}",
                own_path.display()
            )));
        }
        return Ok((plant, given.to_owned()));
    }
    // A ready plant by its name has test states, which plant.toml has not.
    if let Ok(plant) = load_plant(name, &[])
        && same(&plant)
    {
        return Ok((plant, name.to_owned()));
    }
    let argument = own_path.display().to_string();
    Ok((load_plant(&argument, &[])?, argument))
}
