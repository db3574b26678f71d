//! What the tests of training runs share.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use policy_format::{Capacity, RawPolicy};
use trainer::Error;
use trainer::export::PolicyBuffer;
use trainer::plant::load_plant;
use trainer::train::run::{TrainConfig, TrainEvent, TrainReport, plant_traits, train};
use trainer::train::settings::Settings;

/// Small enough that an epoch takes a few milliseconds.
const SMALL: [(&str, &str); 7] = [
    ("horizon", "6"),
    ("train.epochs", "6"),
    ("train.batch", "48"),
    ("train.batches_per_epoch", "2"),
    ("train.validate_every", "2"),
    ("train.validation_states", "40"),
    ("critic.hidden", "[8]"),
];

/// A small run on `plant` with `sets` on top of [`SMALL`].
pub fn config_of(plant: &str, sets: &[(&str, &str)], out: &Path) -> TrainConfig {
    let mut all: Vec<(String, String)> = Vec::new();
    for (key, value) in SMALL.iter().chain(sets) {
        all.push(((*key).to_owned(), (*value).to_owned()));
    }
    let (plant_sets, train_sets): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|(key, _)| trainer::plant::is_plant_key(key));
    let plant = load_plant(plant, &plant_sets).expect("a good plant");
    let settings = Settings::resolve(&train_sets, plant_traits(&plant)).expect("good settings");
    TrainConfig {
        plant,
        settings,
        seed: 11,
        out: out.to_path_buf(),
        resume: false,
        threads: 1,
    }
}

/// A small run on switched-lqr-3-2.
pub fn config(sets: &[(&str, &str)], out: &Path) -> TrainConfig {
    config_of("switched-lqr-3-2", sets, out)
}

/// Trains to the end.
pub fn run(config: &TrainConfig) -> Result<TrainReport, Error> {
    train(config, &AtomicBool::new(false), &mut |_| {})
}

/// Runs until `epoch` has ended and is interrupted there.
pub fn interrupt_after(config: &TrainConfig, epoch: usize) -> Error {
    let interrupted = AtomicBool::new(false);
    let error = train(config, &interrupted, &mut |event| {
        if matches!(event, TrainEvent::Epoch { epoch: done, .. } if *done == epoch) {
            interrupted.store(true, Ordering::Relaxed);
        }
    })
    .expect_err("an interrupted run");
    assert_eq!(error.exit_code(), 1);
    assert!(
        error
            .to_string()
            .contains(&format!("after epoch {epoch} of")),
        "{error}"
    );
    assert!(error.to_string().contains("--resume"), "{error}");
    error
}

/// The files that must not depend on how a run went.
pub fn results(out: &Path) -> Vec<(String, Vec<u8>)> {
    [
        "policy.hpo",
        "metrics.csv",
        "metrics.jsonl",
        "settings.toml",
        "plant.toml",
        "checkpoint.bin",
    ]
    .iter()
    .map(|name| ((*name).to_owned(), fs::read(out.join(name)).expect(name)))
    .collect()
}

/// The results of two runs are equal byte by byte.
#[track_caller]
pub fn assert_same(found: &Path, expected: &Path) {
    for ((name, a), (_, b)) in results(found).into_iter().zip(results(expected)) {
        assert!(a == b, "{name} differs");
    }
}

/// Whether the file is a policy that the format accepts.
pub fn is_valid_policy(path: &Path) -> bool {
    let bytes = fs::read(path).expect("a policy file");
    let buffer = PolicyBuffer::new(&bytes);
    RawPolicy::parse(buffer.bytes())
        .and_then(|raw| raw.validate(&Capacity::FORMAT))
        .is_ok()
}
