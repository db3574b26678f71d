//! What cannot be trained or continued is refused, and nothing is lost.

use std::fs;

use trainer::Error;
use trainer::train::run::TrainConfig;

use super::support::{config, config_of, interrupt_after, results, run};

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
