//! A training run: its directory, its progress events, and how it is interrupted and resumed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::numeric::LANES;
use crate::plant::{ControlBounds, PlantModel};
use crate::policy::{Model, PolicyShape};
use crate::train::checkpoint::{Best, Checkpoint};
use crate::train::critic::Critic;
pub use crate::train::directory::{CHECKPOINT_FILE, DIVERGED_FILE, Divergence, START_FILE};
use crate::train::directory::{RunDirectory, fingerprint};
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
    /// Cost of the last validation of this session; `None` if it had none.
    pub last_cost: Option<f64>,
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
            None => inside(scaling.control_offset, plant.bounds()),
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

/// Typical controls, moved inside the bounds where they lie on one or beyond: a law has slope 0 there, so that one which begins there in every
/// state never learns, and the modes that need it look useless.
fn inside(mut typical: Vec<f64>, bounds: Option<&ControlBounds>) -> Vec<f64> {
    let Some(bounds) = bounds else { return typical };
    let ends = bounds.lower.iter().zip(&bounds.upper);
    for (u, (&lower, &upper)) in typical.iter_mut().zip(ends) {
        if *u > lower && *u < upper {
            continue;
        }
        let quarter = 0.25 * (upper - lower);
        *u = u.clamp(lower + quarter, upper - quarter);
    }
    typical
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
        jumps: plant.jumps().is_some(),
    }
}

/// Trains, or resumes training, until the last epoch or until `interrupted` is set.
///
/// The run directory then holds `settings.toml`, `plant.toml`, `run.json`, `metrics.csv`, `metrics.jsonl`,
/// `checkpoint.bin` and `policy.hpo` (the best policy by validation cost), and if training diverged, `diverged.json`.
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
    let mut last_cost = None;
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
            let error = divergence::error(config, &model, &progress, &epoch, None);
            return Err(directory.save_diverged(config, &model, &progress, error));
        }
        let due = state.epoch.is_multiple_of(train.validate_every)
            || state.epoch == train.epochs
            || divergence::is_suspected(&epoch, progress.start_cost);
        let cost = due.then(|| pool.install(|| validation.cost(&plant, &model, &state.parameters)));
        if let Some(cost) =
            cost.filter(|&cost| divergence::blows_up(cost, progress.start_cost, &epoch))
        {
            let error = divergence::error(config, &model, &progress, &epoch, Some(cost));
            return Err(directory.save_diverged(config, &model, &progress, error));
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
        last_cost = cost.or(last_cost);
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
        last_cost,
        env_steps: progress.state.env_steps,
        session_env_steps: progress.state.env_steps - first_env_steps,
        seconds: start.elapsed().as_secs_f64(),
    })
}

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

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::load_plant;

    #[test]
    fn laws_begin_inside_the_bounds() {
        let bounds = ControlBounds {
            lower: vec![0.0, 0.0, -1.0, -1.0, 2.0],
            upper: vec![1.0, 1.0, 1.0, 1.0, 2.0],
        };
        let typical = vec![0.0, 1.5, -2.0, 0.1, 0.0];
        let expected = [0.25, 0.75, -0.5, 0.1, 2.0];
        assert_eq!(inside(typical.clone(), Some(&bounds)), expected);
        assert_eq!(inside(typical.clone(), None), typical);
        // Ready plants say what is typical, and it is inside.
        for name in ["buck-boost", "three-tank", "geared-car", "inventory-3"] {
            let plant = load_plant(name, &[]).unwrap();
            let settings = Settings::resolve(&[], plant_traits(&plant)).unwrap();
            let shape = policy_shape(&plant, &settings);
            assert_eq!(shape.law_offset, plant.scaling().control_offset, "{name}");
        }
    }
}
