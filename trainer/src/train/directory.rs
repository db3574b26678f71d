//! The run directory: what it holds, whose it is, and how it is written so that a kill loses nothing.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::export;
use crate::policy::Model;
use crate::train::checkpoint::{Best, Checkpoint, write_atomically};
use crate::train::run::TrainConfig;

/// The policy before the first epoch.
pub const START_FILE: &str = "start.hpo";
/// The learner's checkpoint.
pub const CHECKPOINT_FILE: &str = "checkpoint.bin";
/// What was said when training diverged; absent in a run that did not.
pub const DIVERGED_FILE: &str = "diverged.json";
/// Files of a run beside `settings.toml`.
const FILES: [&str; 8] = [
    "plant.toml",
    START_FILE,
    "run.json",
    "metrics.csv",
    "metrics.jsonl",
    CHECKPOINT_FILE,
    DIVERGED_FILE,
    "policy.hpo",
];

/// Contents of [`DIVERGED_FILE`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Divergence {
    /// Epoch in which it happened.
    pub epoch: usize,
    /// What was said.
    pub message: String,
    /// Validation cost before the first epoch: a run that diverges at once has no checkpoint that holds it.
    pub start_cost: Option<f64>,
}

/// The run directory.
pub(super) struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Creates the directory and its descriptions, or checks that it holds this very run.
    pub(super) fn open(config: &TrainConfig, start: &[u8]) -> Result<Self> {
        let path = config.out.clone();
        let settings_path = path.join("settings.toml");
        let settings = toml::to_string(&config.settings)
            .map_err(|error| Error::Usage(format!("settings: {error}")))?;
        if settings_path.exists() {
            if !config.resume {
                return Err(Error::Usage(format!(
                    "{} holds a run already; continue it with --resume or choose another --out",
                    path.display()
                )));
            }
            let found = fs::read_to_string(&settings_path)
                .map_err(|e| Error::io(&settings_path, "cannot read", e))?;
            if found != settings {
                return Err(Error::input(
                    &settings_path,
                    "settings",
                    "other settings than the command line gives",
                    "the same command line as the run was started with, and --resume",
                ));
            }
            let directory = Self { path };
            directory.check_identity(config, start)?;
            // Whether it diverges is to be seen again.
            let diverged = directory.path.join(DIVERGED_FILE);
            if diverged.exists() {
                fs::remove_file(&diverged).map_err(|e| Error::io(diverged, "cannot remove", e))?;
            }
            return Ok(directory);
        }
        if config.resume {
            return Err(Error::Usage(format!(
                "--resume: found no run in {}; allowed: the folder of a run that was started before",
                path.display()
            )));
        }
        // A folder that is no run may hold the user's own files of these names.
        if let Some(name) = FILES.iter().find(|name| path.join(name).exists()) {
            return Err(Error::Usage(format!(
                "--out: found {} in a folder that holds no run (no settings.toml); it would be replaced; \
                 allowed: a folder without {}",
                path.join(name).display(),
                FILES.join(", ")
            )));
        }
        fs::create_dir_all(&path).map_err(|e| Error::io(&path, "cannot create the folder", e))?;
        write_atomically(
            &path.join("plant.toml"),
            config.plant.resolved_toml().as_bytes(),
        )?;
        write_atomically(&path.join(START_FILE), start)?;
        let run = json!({
            "plant": config.plant.name(),
            "seed": config.seed,
            "start": config.settings.train.start.to_string(),
            "hpo_version": env!("CARGO_PKG_VERSION"),
            "commit": commit(),
        });
        write_atomically(&path.join("run.json"), format!("{run:#}\n").as_bytes())?;
        // Written last: its presence says that the folder is a run.
        write_atomically(&settings_path, settings.as_bytes())?;
        Ok(Self { path })
    }

    /// Checks that plant and seed are the run's own; a run killed before its first checkpoint has
    /// nothing else that says so.
    fn check_identity(&self, config: &TrainConfig, start: &[u8]) -> Result<()> {
        let read = |name: &str| {
            let path = self.path.join(name);
            match fs::read_to_string(&path) {
                Ok(text) => Ok((path, text)),
                Err(error) => Err(Error::io(path, "cannot read", error)),
            }
        };
        let (path, plant) = read("plant.toml")?;
        if plant != config.plant.resolved_toml() {
            let allowed = "the plant the run was started with";
            return Err(Error::input(path, "plant", "another plant", allowed));
        }
        let (path, run) = read("run.json")?;
        let run: serde_json::Value = serde_json::from_str(&run)
            .map_err(|error| Error::input(&path, "JSON", error, "the file as hpo wrote it"))?;
        if run["seed"].as_u64() != Some(config.seed) {
            let found = format!(
                "{}, but the command line gives {}",
                run["seed"], config.seed
            );
            return Err(Error::input(path, "seed", found, "the same seed in both"));
        }
        let path = self.path.join(START_FILE);
        let old = fs::read(&path).map_err(|error| Error::io(&path, "cannot read", error))?;
        if old != start {
            let found = "another policy than the start gives now";
            let allowed =
                "the same start; a policy file that a run started from must stay as it was";
            return Err(Error::input(path, "train.start", found, allowed));
        }
        Ok(())
    }

    fn checkpoint_path(&self) -> PathBuf {
        self.path.join(CHECKPOINT_FILE)
    }

    /// The checkpoint to continue from, if there is one.
    pub(super) fn checkpoint(&self, config: &TrainConfig) -> Result<Option<Checkpoint>> {
        let path = self.checkpoint_path();
        if !path.exists() {
            return Ok(None);
        }
        let checkpoint = Checkpoint::load(&path)?;
        if checkpoint.fingerprint != fingerprint(config) {
            return Err(Error::input(
                &path,
                "fingerprint",
                "a checkpoint of another plant, seed or settings",
                "the run's own plant, seed and settings",
            ));
        }
        Ok(Some(checkpoint))
    }

    /// Writes the best policy and then the checkpoint; returns the policy's bytes.
    pub(super) fn save(
        &self,
        config: &TrainConfig,
        model: &Model,
        progress: &Checkpoint,
    ) -> Result<Vec<u8>> {
        let policy = self.save_policy(config, model, &progress.best)?;
        progress.save(&self.checkpoint_path())?;
        Ok(policy)
    }

    /// Writes the best policy and why training ended there; gives the error as it is to be returned.
    pub(super) fn save_diverged(
        &self,
        config: &TrainConfig,
        model: &Model,
        progress: &Checkpoint,
        error: Error,
    ) -> Error {
        // The folder may be moved later.
        let message = error.to_string();
        let place = format!("policy.hpo in {}", config.out.display());
        let message = match message.strip_suffix(&place) {
            Some(said) => format!("{said}policy.hpo in the run directory"),
            None => message,
        };
        let divergence = Divergence {
            epoch: progress.state.epoch,
            message,
            start_cost: Some(progress.start_cost).filter(|cost| cost.is_finite()),
        };
        let written = self
            .save_policy(config, model, &progress.best)
            .and_then(|_| {
                let text = json!(divergence);
                write_atomically(
                    &self.path.join(DIVERGED_FILE),
                    format!("{text:#}\n").as_bytes(),
                )
            });
        match written {
            Ok(()) => error,
            Err(failure) => failure,
        }
    }

    /// Writes the best policy; returns its bytes.
    pub(super) fn save_policy(
        &self,
        config: &TrainConfig,
        model: &Model,
        best: &Best,
    ) -> Result<Vec<u8>> {
        let policy = export::policy_file(&config.plant, model, &best.parameters)?;
        write_atomically(&self.path.join("policy.hpo"), &policy)?;
        Ok(policy)
    }
}

/// What makes two runs the same run.
pub(super) fn fingerprint(config: &TrainConfig) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(config.seed.to_le_bytes());
    digest.update(config.plant.resolved_toml().as_bytes());
    digest.update(
        toml::to_string(&config.settings)
            .unwrap_or_default()
            .as_bytes(),
    );
    digest.finalize().into()
}

/// Commit of the project's checkout and whether it had changes, where git knows.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        std::process::Command::new("git")
            .arg("-C")
            .arg(env!("CARGO_MANIFEST_DIR"))
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success())
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "HEAD"])?;
    let dirty = !git(&["status", "--porcelain"])?.is_empty();
    Some(if dirty {
        format!("{head} with changes")
    } else {
        head
    })
}
