//! One cell: a training run, evaluated on the test states, as one line of results.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::columns::{References, Size};
use super::grid::CellSpec;
use super::quantise::{weight_bytes, with_8_bit_weights};
use crate::error::{Error, Result};
use crate::evaluate::closed_loop::{Selection, evaluate_policy};
use crate::evaluate::reference::{ReferenceReport, gap_percent};
use crate::export::PolicyBuffer;
use crate::numeric::Purpose;
use crate::plant::PlantModel;
use crate::report::trace::{LoadedPolicy, mode_shares};
use crate::train::run::{self, START_FILE, TrainConfig, hex};
use crate::train::settings::Settings;

/// Seed of drawn test states, of process noise and of sampled choices: the same for every cell, whatever its
/// own seed, and the default of `hpo eval` and `hpo reference`.
pub const EVALUATION_SEED: u64 = 1;

/// Test states where the plant ships none.
const DRAWN_STATES: usize = 1024;

/// Most points of a learning curve that are kept.
const CURVE_POINTS: usize = 120;

/// What one cell came to; one line of `results.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellResult {
    /// Identity of the cell, see [`super::grid::fingerprint`].
    pub fingerprint: String,
    /// The plant, with its references.
    #[serde(flatten)]
    pub on: References,
    /// Controls.
    pub m: usize,
    /// Algorithm.
    pub algo: String,
    /// Structure asked for, or `default`.
    pub structure: String,
    /// Hidden widths asked for; null: the structure's own.
    pub hidden: Option<Vec<usize>>,
    /// Seed of the run.
    pub seed: u64,
    /// Settings that differ from the algorithm's defaults on this plant.
    pub settings: BTreeMap<String, serde_json::Value>,
    /// Epochs done.
    pub epochs: usize,
    /// Simulator calls, look-ahead branches included.
    pub env_steps: u64,
    /// Mean cost on the test states, arg-max selector.
    pub mean_cost: f64,
    /// Mean cost with sampled choices.
    pub mean_cost_sampled: f64,
    /// Standard error of `mean_cost` over the test states.
    pub std_error: f64,
    /// Gap to the best known cost in percent; null where no reference is valid.
    pub gap_percent: Option<f64>,
    /// Gap to the certified lower bound in percent; null where none is valid.
    pub gap_percent_certified: Option<f64>,
    /// Mean cost before the first epoch; null in lines of versions that did not write it.
    #[serde(default)]
    pub mean_cost_start: Option<f64>,
    /// Its gap in percent.
    #[serde(default)]
    pub gap_percent_start: Option<f64>,
    /// Mode switches per episode of the policy.
    pub switches_per_episode: f64,
    /// Size of the policy.
    #[serde(flatten)]
    pub size: Size,
    /// Mean cost with 8-bit network weights; null for a policy without networks.
    pub mean_cost_8_bit_weights: Option<f64>,
    /// Its gap in percent.
    pub gap_percent_8_bit_weights: Option<f64>,
    /// Seconds of training in the session that finished the cell.
    pub seconds: f64,
    /// SHA-256 of the policy file.
    pub policy_sha256: String,
    /// Commit of the program, where it is known.
    pub commit: Option<String>,
    /// Whether training diverged; the figures are then those of the last good policy.
    pub diverged: bool,
    /// What was said when it diverged.
    pub message: Option<String>,
    /// Learning curve: (simulator calls, validation cost).
    pub curve: Vec<(u64, f64)>,
    /// Share of the test episodes in each mode at each step: `[t][mode]`.
    pub mode_shares: Vec<Vec<f64>>,
}

impl CellResult {
    /// How far its mean cost lies above that of the plant's cheapest classical controller, in percent; `None` where the plant has none.
    #[must_use]
    pub fn baseline_gap_percent(&self) -> Option<f64> {
        gap_percent(self.mean_cost, self.on.best_baseline_cost?)
    }

    /// Its gap to the best known cost of its plant in percent: to the best upper bound of the optimum, and where no optimum is valid, to
    /// the cheapest classical controller.
    #[must_use]
    pub fn gap_to_best_known(&self) -> Option<f64> {
        match self.on.optimal_cost {
            Some(_) => self.gap_percent,
            None => self.baseline_gap_percent(),
        }
    }

    /// The same gap with 8-bit network weights; `None` also for a policy without networks.
    #[must_use]
    pub fn gap_to_best_known_8_bit_weights(&self) -> Option<f64> {
        match self.on.optimal_cost {
            Some(_) => self.gap_percent_8_bit_weights,
            None => gap_percent(self.mean_cost_8_bit_weights?, self.on.best_baseline_cost?),
        }
    }

    /// How far it lay above the plant's cheapest classical controller before the first epoch, in percent.
    #[must_use]
    pub fn baseline_gap_percent_start(&self) -> Option<f64> {
        gap_percent(self.mean_cost_start?, self.on.best_baseline_cost?)
    }
}

/// The states that a comparison is evaluated on: the plant's own, else 1024 drawn.
#[must_use]
pub fn test_states(plant: &PlantModel) -> Vec<Vec<f64>> {
    match plant.test_states() {
        Some(states) => states.to_vec(),
        None => plant.draw_states(EVALUATION_SEED, Purpose::Evaluation, DRAWN_STATES),
    }
}

/// Settings of `found` that differ from `defaults`, by their full key. Absent values are null.
#[must_use]
pub fn settings_difference(
    found: &Settings,
    defaults: &Settings,
) -> BTreeMap<String, serde_json::Value> {
    let flat = |settings: &Settings| {
        let mut keys = BTreeMap::new();
        flatten(
            "",
            serde_json::to_value(settings).unwrap_or_default(),
            &mut keys,
        );
        keys
    };
    let (found, defaults) = (flat(found), flat(defaults));
    found
        .keys()
        .chain(defaults.keys())
        .filter(|key| found.get(*key) != defaults.get(*key))
        .map(|key| (key.clone(), found.get(key).cloned().unwrap_or_default()))
        .collect()
}

fn flatten(prefix: &str, value: serde_json::Value, keys: &mut BTreeMap<String, serde_json::Value>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let key = if prefix.is_empty() {
                    name
                } else {
                    format!("{prefix}.{name}")
                };
                flatten(&key, value, keys);
            }
        }
        value => {
            keys.insert(prefix.to_owned(), value);
        }
    }
}

/// Everything that a cell needs beside its spec.
pub(super) struct Job<'a> {
    pub spec: &'a CellSpec,
    pub fingerprint: &'a str,
    pub config: &'a TrainConfig,
    pub defaults: &'a Settings,
    pub states: &'a [Vec<f64>],
    pub reference: &'a ReferenceReport,
}

/// How training of a cell ended.
struct Trained {
    epochs: usize,
    env_steps: u64,
    seconds: f64,
    start_cost: Option<f64>,
    message: Option<String>,
}

/// Trains (or resumes) a cell and evaluates its best policy. `None` if it was interrupted.
///
/// # Errors
/// As [`run::train`], but for divergence, which is a result.
pub(super) fn run_cell(
    job: &Job<'_>,
    interrupted: &AtomicBool,
    epoch: &mut dyn FnMut(usize),
) -> Result<Option<CellResult>> {
    let out = &job.config.out;
    let start = std::time::Instant::now();
    let mut last = 0;
    let outcome = run::train(job.config, interrupted, &mut |event| {
        if let run::TrainEvent::Epoch { epoch: done, .. } = event {
            last = *done;
            epoch(*done);
        }
    });
    let (outcome, metrics) = match outcome {
        // What was refused has left no metrics, and says itself what is wrong.
        Err(error) if !matches!(error, Error::Negative(_)) => return Err(error),
        outcome => (outcome, metrics(out)?),
    };
    let trained = match outcome {
        Ok(report) => Trained {
            epochs: report.epochs,
            env_steps: report.env_steps,
            seconds: report.seconds,
            start_cost: Some(report.start_cost),
            message: None,
        },
        Err(Error::Negative(_)) if interrupted.load(Ordering::Relaxed) => return Ok(None),
        // A run that answers no without having been stopped has diverged; its best policy is kept.
        Err(Error::Negative(message)) if out.join("policy.hpo").is_file() => Trained {
            epochs: last,
            env_steps: metrics.last().map_or(0, |line| line.env_steps),
            seconds: start.elapsed().as_secs_f64(),
            start_cost: None,
            // The folder differs between two machines and says nothing here.
            message: Some(message.replace(&out.display().to_string(), "its run directory")),
        },
        Err(error) => return Err(error),
    };
    let policy = PolicyBuffer::read(&out.join("policy.hpo"))?;
    evaluate(job, &policy, trained, &metrics).map(Some)
}

fn evaluate(
    job: &Job<'_>,
    policy: &PolicyBuffer,
    trained: Trained,
    metrics: &[MetricsLine],
) -> Result<CellResult> {
    let (plant, states, reference) = (&job.config.plant, job.states, job.reference);
    let run = |policy: &PolicyBuffer, selection| {
        evaluate_policy(
            plant,
            policy.bytes(),
            states,
            plant.horizon(),
            EVALUATION_SEED,
            selection,
        )
    };
    let best = run(policy, Selection::ArgMax)?;
    let start = PolicyBuffer::read(&job.config.out.join(START_FILE))?;
    let start_cost = finite(run(&start, Selection::ArgMax)?.mean_cost);
    let sampled = run(policy, Selection::Sampled)?.mean_cost;
    let rounded = match with_8_bit_weights(policy)? {
        Some(rounded) => Some(finite(run(&rounded, Selection::ArgMax)?.mean_cost)),
        None => None,
    };
    let gap = |cost: f64, to: Option<f64>| gap_percent(cost, to?);
    let loaded = LoadedPolicy::new(policy)?;
    let shares = mode_shares(
        plant,
        || loaded.actor(),
        states,
        plant.horizon(),
        EVALUATION_SEED,
    );
    let (weights, weights_8_bit) = weight_bytes(policy)?;
    let dims = plant.dims();
    let mean_cost = finite(best.mean_cost);
    let fixed = reference.fixed_mode_costs.iter().copied();
    Ok(CellResult {
        fingerprint: job.fingerprint.to_owned(),
        on: References {
            plant: plant.name().to_owned(),
            n: dims.state,
            modes: dims.modes,
            optimal_cost: reference.optimal_cost,
            lower_bound: reference.lower_bound,
            averaged_riccati_cost: reference.averaged_riccati_cost.map(finite),
            best_fixed_mode_cost: fixed.reduce(f64::min).map(finite),
            round_robin_cost: reference.round_robin_cost.map(finite),
            best_baseline: reference.best_baseline().map(|b| b.name.clone()),
            best_baseline_cost: reference.best_baseline().map(|b| finite(b.mean_cost)),
            optimal_switches: reference.optimal_switches,
        },
        m: dims.control,
        algo: job.spec.algorithm.clone(),
        structure: job.spec.structure.clone(),
        hidden: job.spec.hidden.clone(),
        seed: job.spec.seed,
        settings: settings_difference(&job.config.settings, job.defaults),
        epochs: trained.epochs,
        env_steps: trained.env_steps,
        mean_cost,
        mean_cost_sampled: finite(sampled),
        std_error: finite(best.std_error),
        gap_percent: gap(mean_cost, reference.optimal_cost),
        gap_percent_certified: gap(mean_cost, reference.lower_bound),
        mean_cost_start: Some(start_cost),
        gap_percent_start: gap(start_cost, reference.optimal_cost),
        switches_per_episode: best.switches_per_episode,
        size: Size {
            parameters: loaded.policy().parameters(),
            policy_bytes: policy.bytes().len(),
            weight_bytes: weights,
            weight_bytes_8_bit: weights_8_bit,
        },
        mean_cost_8_bit_weights: rounded,
        gap_percent_8_bit_weights: rounded.and_then(|cost| gap(cost, reference.optimal_cost)),
        seconds: trained.seconds,
        policy_sha256: hex(&Sha256::digest(policy.bytes())),
        commit: commit(&job.config.out),
        diverged: trained.message.is_some(),
        message: trained.message,
        curve: curve(trained.start_cost, metrics),
        mode_shares: shares,
    })
}

/// JSON has no infinity: a cost beyond all numbers becomes the greatest of them.
pub(super) fn finite(cost: f64) -> f64 {
    cost.min(f64::MAX)
}

#[derive(Deserialize)]
struct MetricsLine {
    env_steps: u64,
    validation_cost: Option<f64>,
}

fn metrics(out: &Path) -> Result<Vec<MetricsLine>> {
    let path = out.join("metrics.jsonl");
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, "cannot read", e))?;
    text.lines()
        .map(|line| {
            serde_json::from_str(line)
                .map_err(|e| Error::input(&path, "line", e, "metrics as hpo train writes them"))
        })
        .collect()
}

/// The validated epochs, thinned to [`CURVE_POINTS`]; first and last stay.
fn curve(start: Option<f64>, metrics: &[MetricsLine]) -> Vec<(u64, f64)> {
    let validated = metrics
        .iter()
        .filter_map(|line| Some((line.env_steps, finite(line.validation_cost?))));
    let all: Vec<(u64, f64)> = start
        .map(|cost| (0, finite(cost)))
        .into_iter()
        .chain(validated)
        .collect();
    if all.len() <= CURVE_POINTS {
        return all;
    }
    (0..CURVE_POINTS)
        .map(|i| all[i * (all.len() - 1) / (CURVE_POINTS - 1)])
        .collect()
}

fn commit(out: &Path) -> Option<String> {
    let text = std::fs::read_to_string(out.join("run.json")).ok()?;
    let run: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(run["commit"].as_str()?.to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A result with a given gap on a plant of cost 100, for the tests of statistics and tables.
    pub fn result(algo: &str, seed: u64, gap: f64) -> CellResult {
        CellResult {
            fingerprint: format!("{algo}-{seed}-{gap}"),
            on: References {
                plant: "p".into(),
                n: 8,
                modes: 2,
                optimal_cost: Some(100.0),
                lower_bound: Some(99.9),
                averaged_riccati_cost: Some(103.0),
                best_fixed_mode_cost: Some(150.0),
                round_robin_cost: Some(130.0),
                best_baseline: None,
                best_baseline_cost: None,
                optimal_switches: Some(5.0),
            },
            m: 8,
            algo: algo.into(),
            structure: "plain".into(),
            hidden: Some(vec![64, 64]),
            seed,
            settings: BTreeMap::from([("train.batch".into(), 16.into())]),
            epochs: 3,
            env_steps: 1000,
            mean_cost: 100.0 + gap,
            mean_cost_sampled: 101.0 + gap,
            std_error: 0.5,
            gap_percent: Some(gap),
            gap_percent_certified: Some(gap + 0.1),
            mean_cost_start: Some(250.0),
            gap_percent_start: Some(150.0),
            switches_per_episode: 6.0,
            size: Size {
                parameters: 100,
                policy_bytes: 1000,
                weight_bytes: 400,
                weight_bytes_8_bit: 150,
            },
            mean_cost_8_bit_weights: Some(100.5 + gap),
            gap_percent_8_bit_weights: Some(gap + 0.5),
            seconds: 2.0,
            policy_sha256: "00".into(),
            commit: None,
            diverged: false,
            message: None,
            curve: vec![(0, 200.0), (1000, 100.0 + gap)],
            mode_shares: vec![vec![0.25, 0.75]; 3],
        }
    }

    #[test]
    fn only_what_differs_from_the_defaults_is_listed() {
        let defaults = Settings::default();
        assert!(settings_difference(&defaults, &defaults).is_empty());
        let mut other = Settings::default();
        other.train.batch = 16;
        other.policy.selector_hidden = Some(vec![8]);
        let found = settings_difference(&other, &defaults);
        let expected = BTreeMap::from([
            ("policy.selector_hidden".to_owned(), serde_json::json!([8])),
            ("train.batch".to_owned(), serde_json::json!(16)),
        ]);
        assert_eq!(found, expected);
        let back = settings_difference(&defaults, &other);
        assert!(back["policy.selector_hidden"].is_null());
    }

    #[test]
    fn long_curves_keep_their_ends() {
        let line = |i: u64| MetricsLine {
            env_steps: i,
            validation_cost: i.is_multiple_of(2).then_some(i as f64),
        };
        let metrics: Vec<MetricsLine> = (1..=1000).map(line).collect();
        let thin = curve(Some(5000.0), &metrics);
        assert_eq!(thin.len(), CURVE_POINTS);
        assert_eq!((thin[0], thin[119]), ((0, 5000.0), (1000, 1000.0)));
        assert!(thin.windows(2).all(|w| w[0].0 < w[1].0));
        assert_eq!(curve(None, &metrics[..4]), [(2, 2.0), (4, 4.0)]);
    }
}
