//! The same bytes on any number of threads, interrupted, killed, from every start.

use std::fs;

use trainer::train::start::Start;

use super::support::{assert_same, config, interrupt_after, is_valid_policy, results, run};

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
