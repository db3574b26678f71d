//! Training that is interrupted or killed, and continued.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::support::{Hpo, Outcome, PLANT, SMALL};

/// Enough epochs of about a millisecond that a signal at the start arrives long before the end.
const EPOCHS: &str = "4000";
/// Far longer than anything here takes, on a busy machine as well.
const LIMIT: Duration = Duration::from_secs(120);

fn arguments<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = ["train", PLANT, "--epochs", EPOCHS, "--out", out, "--json"];
    [&args[..], &SMALL, more].concat()
}

/// Trains without a break; the policy's hash and the metrics.
fn uninterrupted(hpo: &Hpo) -> (Value, Vec<u8>) {
    let text = hpo.done(&arguments("whole", &[]));
    let summary: Value = serde_json::from_str(&text).unwrap();
    (
        summary["policy_sha256"].clone(),
        hpo.read("whole/metrics.jsonl"),
    )
}

/// Whole lines of a file that may not be there yet.
fn lines(path: &Path) -> usize {
    std::fs::read(path).map_or(0, |bytes| bytes.iter().filter(|&&b| b == b'\n').count())
}

/// Waits until the metrics have more than `count` lines.
fn wait_for_epoch(hpo: &Hpo, child: &mut Child, count: usize) {
    let start = Instant::now();
    while lines(&hpo.path("run/metrics.jsonl")) <= count {
        assert!(start.elapsed() < LIMIT, "no epoch beyond {count}");
        assert!(
            child.try_wait().unwrap().is_none(),
            "training ended before epoch {count}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Starts training, sends `kind` after epoch `after` and waits for the end.
fn train_until(hpo: &Hpo, more: &[&str], after: usize, kind: Signal) -> std::process::Output {
    let mut child = hpo.command(&arguments("run", more)).spawn().unwrap();
    wait_for_epoch(hpo, &mut child, after);
    signal(&child, kind);
    child.wait_with_output().unwrap()
}

/// Interrupts training with `kind`, which must be answered with exit code 1 and a way to continue.
fn interrupt(hpo: &Hpo, more: &[&str], after: usize, kind: Signal) -> Outcome {
    let output = train_until(hpo, more, after, kind);
    let outcome = Outcome {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert_eq!(outcome.stdout, "", "{outcome:?}");
    let told = "of 4000; continue with --resume --out run";
    assert!(
        outcome.stderr.contains("error: interrupted after epoch"),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains(told), "{outcome:?}");
    outcome
}

/// Continues to the end and compares with the run that was never interrupted.
fn resume_and_compare(hpo: &Hpo, (sha256, metrics): &(Value, Vec<u8>)) {
    let text = hpo.done(&arguments("run", &["--resume"]));
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(summary["policy_sha256"], *sha256);
    assert!(hpo.read("run/metrics.jsonl") == *metrics, "metrics differ");
    assert_eq!(hpo.read("run/policy.hpo"), hpo.read("whole/policy.hpo"));
    assert_eq!(hpo.read("run/metrics.csv"), hpo.read("whole/metrics.csv"));
}

#[test]
fn interrupted_training_continues_to_the_same_policy() {
    let hpo = Hpo::new();
    let whole = uninterrupted(&hpo);
    interrupt(&hpo, &[], 3, Signal::INT);
    // What was trained so far can be used.
    hpo.json(&["inspect", "run"]);
    hpo.json(&["eval", "run", "--plant", PLANT]);
    let done = lines(&hpo.path("run/metrics.jsonl"));
    assert!((4..4000).contains(&done), "{done}");
    // A second interruption, by the signal that a shutting-down machine sends.
    interrupt(&hpo, &["--resume"], done + 3, Signal::TERM);
    resume_and_compare(&hpo, &whole);
}

#[test]
fn killed_training_continues_to_the_same_policy() {
    let hpo = Hpo::new();
    let whole = uninterrupted(&hpo);
    // Killed before its first checkpoint: it starts again.
    let output = train_until(&hpo, &[], 3, Signal::KILL);
    assert!(!output.status.success());
    assert!(!hpo.path("run/policy.hpo").exists());
    // Interrupted with a checkpoint, then killed beyond it: the later metrics are dropped.
    interrupt(&hpo, &["--resume"], 20, Signal::INT);
    let done = lines(&hpo.path("run/metrics.jsonl"));
    let output = train_until(&hpo, &["--resume"], done + 5, Signal::KILL);
    assert!(!output.status.success());
    assert!(lines(&hpo.path("run/metrics.jsonl")) > done);
    resume_and_compare(&hpo, &whole);
}

#[test]
fn a_finished_run_that_is_resumed_stays_as_it_is() {
    let hpo = Hpo::new();
    let policy = hpo.small_run();
    let metrics = hpo.read("run/metrics.csv");
    let args = ["train", PLANT, "--epochs", "2", "--out", "run", "--resume"];
    hpo.done(&[&args, &SMALL[..]].concat());
    assert_eq!(hpo.read("run/policy.hpo"), policy);
    assert_eq!(hpo.read("run/metrics.csv"), metrics);
}
