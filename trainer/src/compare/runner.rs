//! Runs the cells that have no result yet, several at a time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::cell::{CellResult, EVALUATION_SEED, Job, run_cell, test_states};
use super::complete::{complete, is_complete};
use super::grid::{CellSpec, fingerprint, folder_name};
use super::store::Store;
use crate::error::{Error, Result};
use crate::evaluate::reference::{ReferenceCache, ReferenceReport, compute_cached};
use crate::train::run::TrainConfig;
use crate::train::settings::Settings;

/// How cells are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerSettings {
    /// Folder of `results.jsonl` and `runs`.
    pub out: PathBuf,
    /// Cells at a time, at least 1.
    pub jobs: usize,
    /// Threads of each cell, at least 1. Does not change the result.
    pub threads: usize,
    /// Whether run directories stay after their line is written.
    pub keep_runs: bool,
}

/// What happens; the command line draws it.
#[derive(Clone, Debug, PartialEq)]
pub enum CompareEvent {
    /// The grid is known.
    Planned {
        /// Cells of the grid.
        cells: usize,
        /// Cells that have a result already.
        finished: usize,
    },
    /// The references of a plant are being computed.
    Reference {
        /// Name of the plant.
        plant: String,
    },
    /// A cell begins or continues.
    Started {
        /// Name of its folder.
        cell: String,
    },
    /// A cell has its line.
    Finished(Box<CellResult>),
}

/// The cells' results, and how many of them are new.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// One result per cell, in the order of the cells.
    pub results: Vec<CellResult>,
    /// Cells that were run in this session.
    pub new: usize,
    /// Cells whose line of an earlier version was completed in this session, without training.
    pub completed: usize,
}

/// A cell ready to run.
struct Planned<'a> {
    spec: &'a CellSpec,
    fingerprint: String,
    folder: String,
    states: std::sync::Arc<Vec<Vec<f64>>>,
}

/// From a cell to the run it stands for: the configuration with the given folder, and the defaults that its
/// settings are compared with.
pub type Resolve<'a> = dyn Fn(&CellSpec) -> Result<(TrainConfig, Settings)> + Sync + 'a;

/// Runs every cell that `out/results.jsonl` has no line for, resuming the runs that were interrupted, until all
/// are done or `interrupted` is set. Lines of versions that did not write the cost before the first epoch are completed first,
/// without training. `resolve`'s `out`, `resume` and `threads` are replaced.
///
/// Every cell is resolved before anything is written, so a cell that cannot be run stops the whole; one that is refused
/// when its turn comes (a start that the plant has not) leaves no folder that was not there before.
///
/// # Errors
/// [`Error::Usage`] for two different plants of one name; those of `resolve`, [`Store::open`] and of writing; [`Error::Negative`] if it was interrupted. Divergence is a
/// result and no error.
pub fn run_cells(
    cells: &[CellSpec],
    resolve: &Resolve<'_>,
    settings: &RunnerSettings,
    interrupted: &AtomicBool,
    events: &(dyn Fn(CompareEvent) + Sync),
) -> Result<Outcome> {
    let planned = plan(cells, resolve)?;
    let mut store = Store::open(&settings.out)?;
    let outcome = run_missing(&planned, &mut store, resolve, settings, interrupted, events);
    if matches!(&outcome, Err(error) if error.exit_code() == 2) {
        store.give_up();
    }
    outcome
}

/// Completes lines of earlier versions; gives their number.
fn complete_lines(
    planned: &[Planned<'_>],
    store: &mut Store,
    resolve: &Resolve<'_>,
    interrupted: &AtomicBool,
    events: &(dyn Fn(CompareEvent) + Sync),
) -> Result<usize> {
    let mut completed = Vec::new();
    for cell in planned {
        let Some(line) = store.get(&cell.fingerprint).filter(|r| !is_complete(r)) else {
            continue;
        };
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::Negative(
                "interrupted while lines of an earlier version were completed; run the same command again to continue"
                    .into(),
            ));
        }
        events(CompareEvent::Started {
            cell: cell.folder.clone(),
        });
        let (config, _) = resolve(cell.spec)?;
        completed.push(complete(&config, &cell.states, line)?);
    }
    let count = completed.len();
    store.complete(completed)?;
    Ok(count)
}

/// Runs the cells without a line.
fn run_missing(
    planned: &[Planned<'_>],
    store: &mut Store,
    resolve: &Resolve<'_>,
    settings: &RunnerSettings,
    interrupted: &AtomicBool,
    events: &(dyn Fn(CompareEvent) + Sync),
) -> Result<Outcome> {
    let completed = complete_lines(planned, store, resolve, interrupted, events)?;
    let missing: Vec<&Planned<'_>> = planned
        .iter()
        .filter(|cell| store.get(&cell.fingerprint).is_none())
        .collect();
    events(CompareEvent::Planned {
        cells: planned.len(),
        finished: planned.len() - missing.len(),
    });
    let references = references(&missing, resolve, interrupted, events)?;
    let next = AtomicUsize::new(0);
    let shared = Mutex::new(store);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    // One cell that fails lets the others reach a checkpoint and stop.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..settings.jobs.clamp(1, missing.len().max(1)) {
            scope.spawn(|| {
                while !interrupted.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) {
                    let Some(cell) = missing.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        return;
                    };
                    let run = || {
                        let reference = &references[&cell.spec.plant_key()];
                        let done = work(cell, resolve, settings, reference, interrupted, events)?;
                        if let Some(result) = done {
                            let mut store = shared.lock().unwrap_or_else(PoisonError::into_inner);
                            store.append(result.clone())?;
                            drop(store);
                            if !settings.keep_runs {
                                let folder = settings.out.join("runs").join(&cell.folder);
                                fs::remove_dir_all(&folder)
                                    .map_err(|e| Error::io(folder, "cannot remove", e))?;
                            }
                            events(CompareEvent::Finished(Box::new(result)));
                        }
                        Ok(())
                    };
                    if let Err(error) = run() {
                        stop.store(true, Ordering::Relaxed);
                        let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                        failure.get_or_insert(error);
                    }
                }
            });
        }
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    if !settings.keep_runs {
        // Fails where a run is left, which is what it is for.
        let _ = fs::remove_dir(settings.out.join("runs"));
    }
    let store = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    let results: Vec<CellResult> = planned
        .iter()
        .filter_map(|cell| store.get(&cell.fingerprint).cloned())
        .collect();
    if results.len() < planned.len() {
        return Err(Error::Negative(format!(
            "interrupted with {} of {} cells done; run the same command again to continue",
            results.len(),
            planned.len()
        )));
    }
    Ok(Outcome {
        results,
        new: missing.len(),
        completed,
    })
}

/// Checks every cell and names it.
fn plan<'a>(cells: &'a [CellSpec], resolve: &Resolve<'_>) -> Result<Vec<Planned<'a>>> {
    let mut states = BTreeMap::new();
    let mut planned: Vec<Planned<'a>> = Vec::with_capacity(cells.len());
    let mut named: BTreeMap<String, (&str, String)> = BTreeMap::new();
    for spec in cells {
        let (config, _) = resolve(spec)?;
        let plant = config.plant.resolved_toml();
        let name = config.plant.name().to_owned();
        let first = named
            .entry(name)
            .or_insert_with(|| (&spec.plant, plant.clone()));
        // Rows, references and plots go by the name.
        if first.1 != plant {
            return Err(Error::Usage(format!(
                "PLANT: found two plants of the name {} that are not the same ({} and {}, with their settings); \
                 allowed: one plant of each name in a comparison",
                config.plant.name(),
                first.0,
                spec.plant
            )));
        }
        let states = states
            .entry(spec.plant_key())
            .or_insert_with(|| std::sync::Arc::new(test_states(&config.plant)));
        let fingerprint = fingerprint(spec, &config, states)?;
        // A plant that is named twice, or settings that come to the same, are one cell.
        if planned.iter().any(|cell| cell.fingerprint == fingerprint) {
            continue;
        }
        planned.push(Planned {
            spec,
            folder: folder_name(spec, &config.plant, &fingerprint),
            fingerprint,
            states: std::sync::Arc::clone(states),
        });
    }
    Ok(planned)
}

impl CellSpec {
    /// What the plant depends on.
    fn plant_key(&self) -> (String, Vec<(String, String)>) {
        let own = self.sets.iter().cloned();
        let own = own.filter(|(key, _)| crate::plant::is_plant_key(key));
        (self.plant.clone(), own.collect())
    }
}

type References = BTreeMap<(String, Vec<(String, String)>), ReferenceReport>;

/// The references of every plant that has something to run.
fn references(
    missing: &[&Planned<'_>],
    resolve: &Resolve<'_>,
    interrupted: &AtomicBool,
    events: &(dyn Fn(CompareEvent) + Sync),
) -> Result<References> {
    let cache = ReferenceCache::of_user();
    let mut references = References::new();
    for cell in missing {
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        let key = cell.spec.plant_key();
        if references.contains_key(&key) {
            continue;
        }
        let (config, _) = resolve(cell.spec)?;
        events(CompareEvent::Reference {
            plant: config.plant.name().to_owned(),
        });
        let plant = &config.plant;
        let report = compute_cached(
            cache.as_ref(),
            plant,
            &cell.states,
            EVALUATION_SEED,
            &|_| {},
        );
        references.insert(key, report);
    }
    Ok(references)
}

/// Trains and evaluates one cell on its share of the threads.
fn work(
    cell: &Planned<'_>,
    resolve: &Resolve<'_>,
    settings: &RunnerSettings,
    reference: &ReferenceReport,
    interrupted: &AtomicBool,
    events: &(dyn Fn(CompareEvent) + Sync),
) -> Result<Option<CellResult>> {
    let (mut config, defaults) = resolve(cell.spec)?;
    config.out = settings.out.join("runs").join(&cell.folder);
    config.threads = settings.threads;
    config.resume = is_resumable(&config.out)?;
    events(CompareEvent::Started {
        cell: cell.folder.clone(),
    });
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(settings.threads)
        .build()
        .map_err(|error| Error::Environment(format!("cannot start threads: {error}")))?;
    let job = Job {
        spec: cell.spec,
        fingerprint: &cell.fingerprint,
        config: &config,
        defaults: &defaults,
        states: &cell.states,
        reference,
    };
    pool.install(|| run_cell(&job, interrupted, &mut |_| {}))
}

/// Whether the folder holds a run to continue. One that was killed while its folder was being made has no
/// settings yet: it is cleared.
fn is_resumable(folder: &Path) -> Result<bool> {
    if folder.join("settings.toml").is_file() {
        return Ok(true);
    }
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|e| Error::io(folder, "cannot remove", e))?;
    }
    Ok(false)
}
