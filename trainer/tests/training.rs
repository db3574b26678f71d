//! Training runs as a whole: the same bytes however they are run, and every way to fail.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use policy_format::{Capacity, RawPolicy};
use trainer::Error;
use trainer::export::{PolicyBuffer, policy_file};
use trainer::plant::load_plant;
use trainer::policy::Model;
use trainer::train::run::{
    TrainConfig, TrainEvent, TrainReport, plant_traits, policy_shape, train,
};
use trainer::train::settings::Settings;
use trainer::train::start::Start;

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

fn config_of(plant: &str, sets: &[(&str, &str)], out: &Path) -> TrainConfig {
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

fn config(sets: &[(&str, &str)], out: &Path) -> TrainConfig {
    config_of("switched-lqr-3-2", sets, out)
}

fn run(config: &TrainConfig) -> Result<TrainReport, Error> {
    train(config, &AtomicBool::new(false), &mut |_| {})
}

/// Runs until `epoch` has ended and is interrupted there.
fn interrupt_after(config: &TrainConfig, epoch: usize) -> Error {
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
fn results(out: &Path) -> Vec<(String, Vec<u8>)> {
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

#[track_caller]
fn assert_same(found: &Path, expected: &Path) {
    for ((name, a), (_, b)) in results(found).into_iter().zip(results(expected)) {
        assert!(a == b, "{name} differs");
    }
}

fn is_valid_policy(path: &Path) -> bool {
    let bytes = fs::read(path).expect("a policy file");
    let buffer = PolicyBuffer::new(&bytes);
    RawPolicy::parse(buffer.bytes())
        .and_then(|raw| raw.validate(&Capacity::FORMAT))
        .is_ok()
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let outs: Vec<_> = (1..=3)
        .map(|threads| {
            let out = folder.path().join(threads.to_string());
            let mut config = config(&[], &out);
            config.threads = threads;
            run(&config).expect("a run");
            out
        })
        .collect();
    assert_same(&outs[1], &outs[0]);
    assert_same(&outs[2], &outs[0]);
    // Another seed is another policy: the comparison could fail.
    let out = folder.path().join("seed");
    let mut other = config(&[], &out);
    other.seed = 12;
    run(&other).expect("a run");
    assert_ne!(
        fs::read(out.join("policy.hpo")).ok(),
        fs::read(outs[0].join("policy.hpo")).ok()
    );
}

#[test]
fn interrupted_and_resumed_is_uninterrupted() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = folder.path().join("whole");
    // Detached passes too, so that every part of the learner's state is at stake.
    let sets = [("train.passes", "2"), ("train.advantage", "gae")];
    let report = run(&config(&sets, &whole)).expect("a run");
    for epoch in [1, 3, 5] {
        let out = folder.path().join(format!("after{epoch}"));
        let mut config = config(&sets, &out);
        interrupt_after(&config, epoch);
        assert!(is_valid_policy(&out.join("policy.hpo")));
        config.resume = true;
        // A second interruption, and other threads, change nothing either.
        config.threads = 2;
        let resumed = run(&config).expect("a resumed run");
        assert_same(&out, &whole);
        assert_eq!(resumed.policy_sha256, report.policy_sha256);
        assert_eq!(resumed.validation_cost, report.validation_cost);
        assert_eq!(resumed.env_steps, report.env_steps);
        assert!(resumed.session_env_steps < report.session_env_steps);
    }
}

/// Every start is part of the run: resumed with the same bytes, refused with another, and never left for worse.
#[test]
fn every_start_resumes_with_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = folder.path().join("scratch");
    run(&config(&[], &first)).expect("a run");
    let policy = first.join("policy.hpo");
    for (name, start) in [
        ("averaged", "averaged-riccati"),
        ("switched", "switched-riccati"),
        ("policy", policy.to_str().expect("a path")),
    ] {
        let sets = [("train.start", start)];
        let whole = folder.path().join(name);
        let report = run(&config(&sets, &whole)).expect("a run");
        assert!(report.validation_cost <= report.start_cost, "{name}");
        let out = folder.path().join(format!("{name}-resumed"));
        let mut config = config(&sets, &out);
        interrupt_after(&config, 3);
        config.resume = true;
        let resumed = run(&config).expect("a resumed run");
        assert_same(&out, &whole);
        assert_eq!(resumed.start_cost, report.start_cost);
        let mut other = config.clone();
        other.settings.train.start = Start::Scratch;
        let error = run(&other).expect_err("another start");
        assert_eq!(error.exit_code(), 2, "{error}");
        if name == "policy" {
            // The policy at epoch 0 is the file's, bit for bit.
            assert_eq!(
                fs::read(whole.join("start.hpo")).ok(),
                fs::read(&policy).ok()
            );
            let moved = fs::read(first.join("start.hpo")).expect("another policy");
            fs::write(&policy, moved).expect("a changed start");
            let error = run(&config).expect_err("a changed start");
            assert_eq!(error.exit_code(), 2, "{error}");
            assert!(
                error.to_string().contains("start.hpo: train.start"),
                "{error}"
            );
        }
    }
}

/// From one Riccati matrix a short run removes a third of the gap to the optimum, which lies 1.5 % below.
#[test]
fn training_improves_on_averaged_riccati() {
    let folder = tempfile::tempdir().expect("a folder");
    let sets = [
        ("horizon", "20"),
        ("train.start", "averaged-riccati"),
        ("train.epochs", "30"),
        ("train.batch", "128"),
        ("train.batches_per_epoch", "8"),
        ("train.validation_states", "512"),
        ("critic.hidden", "[32]"),
    ];
    let report = run(&config_of("switched-lqr-8-4", &sets, folder.path())).expect("a run");
    assert!(
        report.validation_cost < 0.995 * report.start_cost,
        "{} from {}",
        report.validation_cost,
        report.start_cost
    );
}

#[test]
fn resuming_a_finished_run_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(&[], folder.path());
    let first = run(&config).expect("a run");
    let before = results(folder.path());
    config.resume = true;
    let again = run(&config).expect("nothing left to do");
    assert_eq!(results(folder.path()), before);
    assert_eq!(again.policy_sha256, first.policy_sha256);
    assert_eq!(again.session_env_steps, 0);
}

/// A kill after metrics were written and before the next checkpoint: lines beyond the checkpoint, the
/// last of them torn.
#[test]
fn metrics_beyond_the_checkpoint_are_cut_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    run(&config(&[], &whole)).expect("a run");
    let mut config = config(&[], &killed);
    interrupt_after(&config, 2);
    for name in ["metrics.csv", "metrics.jsonl"] {
        let path = killed.join(name);
        let mut text = fs::read_to_string(&path).expect("metrics");
        text.push_str("3,lines of an epoch\n4,that the checkpoint\n5,does not kn");
        fs::write(&path, text).expect("metrics");
    }
    config.resume = true;
    run(&config).expect("a resumed run");
    assert_same(&killed, &whole);
}

/// A kill before the first checkpoint: the run starts over and comes to the same bytes.
#[test]
fn killed_before_the_first_checkpoint_starts_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    run(&config(&[], &whole)).expect("a run");
    let mut config = config(&[], &killed);
    interrupt_after(&config, 2);
    fs::remove_file(killed.join("checkpoint.bin")).expect("a checkpoint");
    fs::remove_file(killed.join("policy.hpo")).expect("a policy");
    config.resume = true;
    let mut other = config.clone();
    other.seed = 12;
    let error = run(&other).expect_err("another seed");
    assert_eq!(error.exit_code(), 2);
    assert!(
        error.to_string().contains("run.json: seed: found 11"),
        "{error}"
    );
    run(&config).expect("a resumed run");
    assert_same(&killed, &whole);
}

#[test]
fn damaged_checkpoints_are_named_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(&[], folder.path());
    interrupt_after(&config, 2);
    config.resume = true;
    let path = folder.path().join("checkpoint.bin");
    let good = fs::read(&path).expect("a checkpoint");
    let mut damages = vec![Vec::new(), b"HPOCKPT1".to_vec(), [&good[..], b"x"].concat()];
    for cut in [7, 39, good.len() / 2, good.len() - 1] {
        damages.push(good[..cut].to_vec());
    }
    for at in [0, 7, 8, 39, 40, good.len() / 2, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        damages.push(bytes);
    }
    for damaged in damages {
        fs::write(&path, &damaged).expect("a damaged checkpoint");
        let before = results(folder.path());
        let error = run(&config).expect_err("a damaged checkpoint");
        assert!(matches!(error, Error::Input { .. }), "{error:?}");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("checkpoint.bin"), "{error}");
        assert!(error.to_string().contains("allowed"), "{error}");
        assert_eq!(results(folder.path()), before);
    }
    fs::write(&path, &good).expect("the good checkpoint");
    run(&config).expect("a resumed run");
}

#[test]
fn other_runs_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = config(&[], folder.path());
    interrupt_after(&base, 2);
    let before = results(folder.path());
    let refused = |mut config: TrainConfig, resume: bool, parts: &[&str]| {
        config.resume = resume;
        let error = run(&config).expect_err("another run");
        assert_eq!(error.exit_code(), 2, "{error}");
        for part in parts {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert_eq!(results(folder.path()), before);
    };
    refused(
        base.clone(),
        false,
        &["holds a run already", "--resume", "--out"],
    );
    refused(
        config(&[("train.epochs", "9")], folder.path()),
        true,
        &["settings.toml", "allowed"],
    );
    let mut seed = base.clone();
    seed.seed = 12;
    refused(seed, true, &["run.json", "seed", "found 11", "12"]);
    let other = config_of("switched-lqr-3-3", &[], folder.path());
    refused(other, true, &["plant.toml", "another plant", "allowed"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_a_usage_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "not a folder").expect("a file");
    for out in [file.clone(), file.join("below")] {
        let error = run(&config(&[], &out)).expect_err("no folder");
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
        assert_eq!(error.exit_code(), 2);
        assert!(
            error.to_string().contains(out.to_str().expect("a path")),
            "{error}"
        );
    }
    assert_eq!(
        fs::read_to_string(&file).ok().as_deref(),
        Some("not a folder")
    );
}

/// A structure beyond the format's limits is refused before an epoch is spent or a file written.
#[test]
fn a_policy_that_cannot_be_exported_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    // 32 modes of 256 laws are 8192 choices; the format has 4096.
    let config = config_of(
        "switched-lqr-32-32",
        &[("policy.laws_per_mode", "256")],
        &out,
    );
    let error = run(&config).expect_err("too many choices");
    assert_eq!(error.exit_code(), 2, "{error}");
    assert!(!out.exists());
}

/// So many threads would stall the whole machine.
#[test]
fn too_many_threads_are_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let mut config = config(&[], &out);
    config.threads = 100_000;
    let error = run(&config).expect_err("too many threads");
    assert!(matches!(error, Error::Usage(_)), "{error:?}");
    for part in ["threads", "found 100000", "allowed", "1024"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(!out.exists());
}

#[test]
fn divergence_names_its_epoch_and_keeps_the_last_good_policy() {
    let folder = tempfile::tempdir().expect("a folder");
    // The cost of a control of 1e25 is beyond f32.
    let config = config(&[("train.step_gains", "1e25")], folder.path());
    let mut epochs = 0;
    let error = train(&config, &AtomicBool::new(false), &mut |event| {
        if matches!(event, TrainEvent::Epoch { .. }) {
            epochs += 1;
        }
    })
    .expect_err("a diverged run");
    // No parameter that is not finite is ever exported.
    let plant = &config.plant;
    let model = Model::new(policy_shape(plant, &config.settings));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, model.parameters() / 2, model.parameters() - 1] {
            let mut parameters = vec![0.0; model.parameters()];
            parameters[at] = bad;
            let error = policy_file(plant, &model, &parameters).expect_err("a policy of NaN");
            assert!(error.to_string().contains("not finite"), "{error}");
        }
    }
    assert!(matches!(error, Error::Negative(_)), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains(&format!("diverged in epoch {}", epochs + 1)),
        "{message}"
    );
    for part in [
        "at update",
        "of 2",
        "likely cause",
        "train.step_gains = 1e25",
        "of epoch 0",
    ] {
        assert!(message.contains(part), "`{part}`: {message}");
    }
    assert!(is_valid_policy(&folder.path().join("policy.hpo")));
}

/// Trains and checks that all figures are numbers and that the validated cost fell by a tenth.
fn assert_learns(plant: &str, sets: &[(&str, &str)]) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config_of(plant, sets, folder.path());
    let mut epochs = 0;
    let report = train(&config, &AtomicBool::new(false), &mut |event| {
        if let TrainEvent::Epoch { metrics, .. } = event {
            epochs += 1;
            for figure in [
                metrics.cost,
                metrics.entropy,
                metrics.critic_error,
                metrics.selector_gradient,
                metrics.law_gradient,
            ] {
                assert!(figure.is_finite() && figure >= 0.0, "{sets:?}: {metrics:?}");
            }
        }
    })
    .expect("a run");
    assert_eq!(epochs, report.epochs);
    assert!(
        report.validation_cost < 0.9 * report.start_cost,
        "{sets:?}: {} from {}",
        report.validation_cost,
        report.start_cost
    );
    assert!(is_valid_policy(&report.policy));
    let lines = fs::read_to_string(folder.path().join("metrics.csv")).expect("metrics");
    assert_eq!(lines.lines().count(), report.epochs + 1);
}

#[test]
fn defaults_learn() {
    assert_learns("switched-lqr-2-2", &[]);
    assert_learns("switched-lqr-3-2", &[]);
}

#[test]
fn every_variant_and_advantage_learns() {
    for variant in ["exact", "practical"] {
        for advantage in ["look-ahead", "gae", "monte-carlo"] {
            if (variant, advantage) == ("exact", "gae") {
                continue;
            }
            for cross_term in ["on", "off"] {
                assert_learns(
                    "switched-lqr-2-2",
                    &[
                        ("train.variant", variant),
                        ("train.advantage", advantage),
                        ("train.cross_term", cross_term),
                    ],
                );
            }
        }
    }
    assert_learns(
        "switched-lqr-2-2",
        &[("train.advantage", "gae"), ("train.passes", "3")],
    );
    for weight in ["cost", "norm"] {
        assert_learns("switched-lqr-2-2", &[("train.choice_weight", weight)]);
    }
    assert_learns("switched-lqr-2-2", &[("train.bootstrap", "false")]);
}

#[test]
fn every_structure_learns() {
    let plain = [
        ("policy.scores", "false"),
        ("policy.gains", "false"),
        ("policy.selector_hidden", "[16]"),
        ("policy.control_hidden", "[16]"),
        // Networks start from zero control and move by small steps.
        ("train.step_networks", "0.02"),
    ];
    for input in ["unit-norm", "affine"] {
        let mut sets = plain.to_vec();
        sets.push(("policy.input", input));
        assert_learns("switched-lqr-2-2", &sets);
        sets.push(("policy.head_per_choice", "false"));
        assert_learns("switched-lqr-2-2", &sets);
        for extra in [
            ("policy.selector_hidden", "[8, 8]"),
            ("policy.control_hidden", "[8, 8]"),
            ("policy.control_hidden", "[]"),
            ("policy.laws_per_mode", "1"),
            ("critic.hidden", "[]"),
        ] {
            assert_learns("switched-lqr-2-2", &[("policy.input", input), extra]);
        }
    }
}

/// Bounds, an affine term and process noise: the affine structure is the default and learns.
#[test]
fn a_plant_with_bounds_affine_term_and_noise_learns() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rough.toml");
    let text = "\
name = \"rough\"
horizon = 6
noise = [0.05, 0.1]

[dynamics]
A = [[[1.1, 0.1], [0.0, 1.05]]]
B = [[[1.0], [0.1]], [[0.1], [1.0]]]
Q = [[[1.0, 0.0], [0.0, 1.0]]]
R = [[[0.1]]]
affine = [[0.1, 0.0], [0.0, -0.2]]

[bounds]
lower = [-1.5]
upper = [2.0]

[initial]
center = [0.5, -0.5]
half_width = [2.0, 2.0]
";
    fs::write(&path, text).expect("a plant file");
    let name = path.to_str().expect("a path");
    assert_learns(name, &[]);
    assert_learns(name, &[("train.variant", "exact")]);
    let plant = load_plant(name, &[]).expect("a plant");
    let unit_norm = [("policy.input".to_owned(), "unit-norm".to_owned())];
    let error = Settings::resolve(&unit_norm, plant_traits(&plant)).expect_err("unit norm");
    assert!(error.to_string().contains("policy.input"), "{error}");
}
