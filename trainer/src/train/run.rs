//! A training run: its directory, its progress events, and how it is interrupted and resumed.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::export;
use crate::numeric::LANES;
use crate::plant::PlantModel;
use crate::policy::{Model, PolicyShape};
use crate::train::checkpoint::{Best, Checkpoint, write_atomically};
use crate::train::critic::Critic;
use crate::train::divergence;
use crate::train::learner::{EpochMetrics, Learner, State};
use crate::train::metrics::Metrics;
use crate::train::settings::{PlantTraits, Settings};
use crate::train::start::StartingPoint;
use crate::train::validate::Validation;

/// Seconds between checkpoints, so that a kill loses little; the last epoch before an end is always written.
const CHECKPOINT_SECONDS: f64 = 5.0;

/// Most memory that rollouts may take, in bytes.
const MAX_BYTES: usize = 8 << 30;
/// Greatest number of threads: far above any machine's use, far below what would exhaust one.
pub const MAX_THREADS: usize = 1024;

/// What is to be trained and where it goes.
#[derive(Clone, Debug)]
pub struct TrainConfig {
    /// The plant.
    pub plant: PlantModel,
    /// Resolved settings.
    pub settings: Settings,
    /// Seed of all random streams.
    pub seed: u64,
    /// Run directory.
    pub out: PathBuf,
    /// Continue the run in `out` from its checkpoint.
    pub resume: bool,
    /// Threads, at most [`MAX_THREADS`]; 0 takes one per processor. Does not change the result.
    pub threads: usize,
}

/// What happens during training; the command line draws it.
#[derive(Clone, Debug, PartialEq)]
pub enum TrainEvent {
    /// Training begins at an epoch (0, or where a checkpoint stood).
    Started {
        /// First epoch of this session.
        epoch: usize,
        /// Last epoch.
        epochs: usize,
        /// Trained numbers of the policy.
        parameters: usize,
    },
    /// An epoch has ended.
    Epoch {
        /// Epochs done.
        epoch: usize,
        /// Its figures.
        metrics: EpochMetrics,
        /// Validation cost, where this epoch was validated.
        validation: Option<f64>,
    },
}

/// Result of a finished run.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainReport {
    /// Run directory.
    pub out: PathBuf,
    /// The best policy's file.
    pub policy: PathBuf,
    /// SHA-256 of the policy file, in hex.
    pub policy_sha256: String,
    /// Epochs done.
    pub epochs: usize,
    /// Epoch of the best policy.
    pub best_epoch: usize,
    /// Validation cost of the best policy.
    pub validation_cost: f64,
    /// Validation cost before the first epoch.
    pub start_cost: f64,
    /// Simulator calls, look-ahead branches included.
    pub env_steps: u64,
    /// Simulator calls of this session alone.
    pub session_env_steps: u64,
    /// Seconds spent in this session.
    pub seconds: f64,
}

/// Structure of the policy that `settings` ask for on `plant`.
#[must_use]
pub fn policy_shape(plant: &PlantModel, settings: &Settings) -> PolicyShape {
    let dims = plant.dims();
    let policy = &settings.policy;
    let scaling = plant.scaling();
    let mut factors = plant.factors();
    if let [modes] = factors.as_mut_slice() {
        *modes *= policy.laws_per_mode;
    }
    let laws = if factors.len() == 1 {
        policy.laws_per_mode
    } else {
        1
    };
    PolicyShape {
        state: dims.state,
        control: dims.control,
        modes: dims.modes,
        choice_modes: (0..dims.modes * laws).map(|choice| choice / laws).collect(),
        factors,
        critic_forms: settings.critic.forms > 0,
        value_scale: scaling.stage_cost * plant.value_steps(),
        law_offset: match policy.law_start {
            Some(start) => vec![start; dims.control],
            None => scaling.control_offset,
        },
        law_scale: scaling.control_scale,
        regions: plant
            .control_regions()
            .map(|regions| regions.repeated(dims.control, laws)),
        input: policy.input,
        input_shift: scaling.shift,
        input_scale: scaling.scale,
        scores: policy.scores,
        selector_hidden: policy.selector_hidden.clone(),
        gains: policy.gains,
        control_hidden: policy.control_hidden.clone(),
        head_per_choice: policy.head_per_choice,
        bounds: plant
            .bounds()
            .map(|bounds| (bounds.lower.clone(), bounds.upper.clone())),
        constraints: plant.constraints().clone(),
    }
}

/// What the default settings depend on.
#[must_use]
pub fn plant_traits(plant: &PlantModel) -> PlantTraits {
    let data = plant.lqr_data();
    PlantTraits {
        modes: plant.dims().modes,
        states: plant.dims().state,
        factors: plant.factors().len(),
        linear: data.is_some(),
        homogeneous: plant.bounds().is_none()
            && plant.constraints().rate.is_none()
            && data.is_some_and(|data| data.affine.is_empty() && data.noise_std.is_empty()),
        horizon: plant.horizon(),
    }
}

/// Trains, or resumes training, until the last epoch or until `interrupted` is set.
///
/// The run directory then holds `settings.toml`, `plant.toml`, `run.json`, `metrics.csv`, `metrics.jsonl`,
/// `checkpoint.bin` and `policy.hpo` (the best policy by validation cost).
///
/// # Errors
/// [`Error::Usage`] if there are too many threads or the directory holds a run and `resume` is not set;
/// [`Error::Input`] if it holds another run or a damaged checkpoint; [`Error::Io`] if it cannot
/// be written; [`Error::Negative`] if training was interrupted or diverged (the last good policy is kept).
pub fn train(
    config: &TrainConfig,
    interrupted: &AtomicBool,
    events: &mut dyn FnMut(&TrainEvent),
) -> Result<TrainReport> {
    if config.threads > MAX_THREADS {
        return Err(Error::Usage(format!(
            "threads: found {}; allowed: 0 (one per processor) to {MAX_THREADS}",
            config.threads
        )));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(config.threads)
        .build()
        .map_err(|error| Error::Environment(format!("cannot start threads: {error}")))?;
    let beginning =
        pool.install(|| StartingPoint::new(&config.plant, &config.settings, config.seed))?;
    let model = Model::new(beginning.shape.clone());
    // A structure that cannot be exported is refused before anything is written or trained.
    let start_file = beginning.policy_file(&config.plant)?;
    let critic = Critic::new(model.shape(), &config.settings.critic);
    check_memory(config, &model, &critic)?;
    let directory = RunDirectory::open(config, &start_file)?;
    let plant = config.plant.build::<f32>();
    let train = &config.settings.train;
    let mut learner = Learner::new(
        &plant,
        &config.plant,
        &model,
        &critic,
        &config.settings,
        config.seed,
    );
    let mut validation = Validation::new(
        &config.plant,
        &model,
        &critic,
        train.validation_states,
        config.seed,
    );
    let mut progress = match directory.checkpoint(config)? {
        Some(checkpoint) => checkpoint,
        None => {
            let mut state = State::new(&model, &critic, &config.settings, config.seed);
            state.parameters.clone_from(&beginning.parameters);
            beginning.value_to(&critic, &mut state.critic);
            let cost = pool.install(|| validation.cost(&plant, &model, &state.parameters));
            Checkpoint {
                seed: config.seed,
                fingerprint: fingerprint(config),
                best: Best {
                    epoch: 0,
                    cost,
                    parameters: state.parameters.clone(),
                },
                state,
                start_cost: cost,
            }
        }
    };
    let mut metrics = Metrics::open(&config.out, progress.state.epoch)?;
    events(&TrainEvent::Started {
        epoch: progress.state.epoch,
        epochs: train.epochs,
        parameters: model.parameters(),
    });
    let first_env_steps = progress.state.env_steps;
    let start = Instant::now();
    let mut saved = Instant::now();
    while progress.state.epoch < train.epochs {
        if interrupted.load(Ordering::Relaxed) {
            metrics.sync()?;
            directory.save(config, &model, &progress)?;
            return Err(Error::Negative(format!(
                "interrupted after epoch {} of {}; continue with --resume --out {}",
                progress.state.epoch,
                train.epochs,
                config.out.display()
            )));
        }
        let state = &mut progress.state;
        let epoch = pool.install(|| learner.epoch(state));
        if epoch.failed_update.is_some() {
            directory.save_policy(config, &model, &progress.best)?;
            return Err(divergence::error(config, &model, &progress, &epoch, None));
        }
        let due = state.epoch.is_multiple_of(train.validate_every) || state.epoch == train.epochs;
        let cost = due.then(|| pool.install(|| validation.cost(&plant, &model, &state.parameters)));
        if let Some(cost) =
            cost.filter(|&cost| divergence::blows_up(cost, progress.start_cost, &epoch))
        {
            directory.save_policy(config, &model, &progress.best)?;
            return Err(divergence::error(
                config,
                &model,
                &progress,
                &epoch,
                Some(cost),
            ));
        }
        if let Some(cost) = cost
            && cost < progress.best.cost
        {
            progress.best = Best {
                epoch: state.epoch,
                cost,
                parameters: state.parameters.clone(),
            };
        }
        let event = TrainEvent::Epoch {
            epoch: progress.state.epoch,
            metrics: epoch,
            validation: cost,
        };
        metrics.write(&progress.state, &epoch, cost)?;
        events(&event);
        if saved.elapsed().as_secs_f64() > CHECKPOINT_SECONDS {
            metrics.sync()?;
            directory.save(config, &model, &progress)?;
            saved = Instant::now();
        }
    }
    metrics.sync()?;
    let policy = directory.save(config, &model, &progress)?;
    Ok(TrainReport {
        out: config.out.clone(),
        policy_sha256: hex(&Sha256::digest(&policy)),
        policy: config.out.join("policy.hpo"),
        epochs: progress.state.epoch,
        best_epoch: progress.best.epoch,
        validation_cost: progress.best.cost,
        start_cost: progress.start_cost,
        env_steps: progress.state.env_steps,
        session_env_steps: progress.state.env_steps - first_env_steps,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// The policy before the first epoch.
pub const START_FILE: &str = "start.hpo";
/// Files of a run beside `settings.toml`.
const FILES: [&str; 7] = [
    "plant.toml",
    START_FILE,
    "run.json",
    "metrics.csv",
    "metrics.jsonl",
    "checkpoint.bin",
    "policy.hpo",
];

/// Refuses settings whose rollouts would not fit into memory, before anything is allocated.
fn check_memory(config: &TrainConfig, model: &Model, critic: &Critic) -> Result<()> {
    let (shape, train) = (model.shape(), &config.settings.train);
    let networks =
        model.selector_activations() + model.control_activations() + critic.activations();
    let lanes =
        8 * (shape.state + shape.control + shape.logits()) + 2 * (shape.monomials() + networks);
    let workers = (train.batch + train.validation_states).div_ceil(LANES);
    let bytes = [config.plant.horizon(), lanes, LANES * size_of::<f32>()]
        .into_iter()
        .fold(workers, usize::saturating_mul);
    if bytes > MAX_BYTES {
        return Err(Error::Usage(format!(
            "train.batch = {}, train.validation_states = {}, horizon = {} and {} choices: found about {} MiB of \
             rollouts; allowed: {} MiB",
            train.batch,
            train.validation_states,
            config.plant.horizon(),
            shape.choices(),
            bytes >> 20,
            MAX_BYTES >> 20
        )));
    }
    Ok(())
}

/// The run directory.
struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Creates the directory and its descriptions, or checks that it holds this very run.
    fn open(config: &TrainConfig, start: &[u8]) -> Result<Self> {
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
        self.path.join("checkpoint.bin")
    }

    /// The checkpoint to continue from, if there is one.
    fn checkpoint(&self, config: &TrainConfig) -> Result<Option<Checkpoint>> {
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
    fn save(&self, config: &TrainConfig, model: &Model, progress: &Checkpoint) -> Result<Vec<u8>> {
        let policy = self.save_policy(config, model, &progress.best)?;
        progress.save(&self.checkpoint_path())?;
        Ok(policy)
    }

    /// Writes the best policy; returns its bytes.
    fn save_policy(&self, config: &TrainConfig, model: &Model, best: &Best) -> Result<Vec<u8>> {
        let policy = export::policy_file(&config.plant, model, &best.parameters)?;
        write_atomically(&self.path.join("policy.hpo"), &policy)?;
        Ok(policy)
    }
}

/// What makes two runs the same run.
fn fingerprint(config: &TrainConfig) -> [u8; 32] {
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

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
