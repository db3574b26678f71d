//! `hpo compare`: results, continuation after a kill, bad input.

use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::support::{Hpo, PLANT, SMALL};

/// Far longer than anything here takes, on a busy machine as well.
const LIMIT: Duration = Duration::from_secs(240);

fn arguments<'a>(epochs: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = [
        "compare", PLANT, "--seeds", "3", "--epochs", epochs, "--out", out,
    ];
    [&args[..], &SMALL, more].concat()
}

/// The lines of a results file, sorted, without what depends on the clock.
fn lines(hpo: &Hpo, out: &str) -> Vec<Value> {
    let text = String::from_utf8(hpo.read(&format!("{out}/results.jsonl"))).unwrap();
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| {
            let mut value: Value = serde_json::from_str(line).unwrap();
            let seconds = value.as_object_mut().unwrap().remove("seconds").unwrap();
            assert!(seconds.as_f64().unwrap() >= 0.0);
            value
        })
        .collect();
    lines.sort_by_key(|line| line["fingerprint"].as_str().unwrap().to_owned());
    lines
}

/// Starts a comparison and sends `signal` when `ready` says so; it must not have ended before.
fn stop(hpo: &Hpo, args: &[&str], signal: Signal, ready: impl Fn() -> bool) -> Output {
    let mut child = hpo.command(args).spawn().unwrap();
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < LIMIT, "nothing to stop");
        assert!(child.try_wait().unwrap().is_none(), "ended too early");
        std::thread::sleep(Duration::from_millis(1));
    }
    kill_process(Pid::from_child(&child), signal).unwrap();
    child.wait_with_output().unwrap()
}

/// Lines of the metrics of all unfinished runs.
fn epochs(hpo: &Hpo, out: &str) -> usize {
    let Ok(runs) = hpo.path(&format!("{out}/runs")).read_dir() else {
        return 0;
    };
    runs.filter_map(|run| std::fs::read(run.ok()?.path().join("metrics.jsonl")).ok())
        .map(|bytes| bytes.iter().filter(|&&b| b == b'\n').count())
        .sum()
}

#[test]
fn a_comparison_that_is_killed_continues_to_the_same_results() {
    let hpo = Hpo::new();
    hpo.done(&arguments("2500", "whole", &[]));
    let whole = lines(&hpo, "whole");
    assert_eq!(whole.len(), 3);
    assert!(!hpo.path("whole/runs").exists(), "run directories stay");

    let two = ["--jobs", "2"];
    let args = arguments("2500", "out", &two);
    // Killed in the first runs, then in the last one, with a line half written.
    stop(&hpo, &args, Signal::KILL, || epochs(&hpo, "out") > 20);
    let count = || lines(&hpo, "out").len();
    let output = stop(&hpo, &args, Signal::INT, || epochs(&hpo, "out") > 400);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("of 3 cells done; run the same command again to continue"),
        "{message}"
    );
    let done = count();
    assert!(done < 3);
    let mut torn = hpo.read("out/results.jsonl");
    torn.extend_from_slice(b"{\"fingerprint\":\"abc");
    hpo.write("out/results.jsonl", torn);
    let left = epochs(&hpo, "out");
    stop(&hpo, &args, Signal::KILL, || {
        epochs(&hpo, "out") > left + 5 || !hpo.path("out/runs").exists()
    });
    hpo.done(&args);
    assert_eq!(lines(&hpo, "out"), whole);
    // Nothing is left to do, and nothing is done.
    let before = hpo.read("out/results.jsonl");
    let again = hpo.json(&args);
    assert_eq!(
        (&again["new_cells"], &again["cells"]),
        (&0.into(), &3.into())
    );
    assert_eq!(hpo.read("out/results.jsonl"), before);
}

#[test]
fn results_agree_with_train_and_eval_and_another_command_adds_to_them() {
    let hpo = Hpo::new();
    let keep = ["--keep-runs", "--hidden", "8,8"];
    let report = hpo.json(&arguments("3", "out", &keep));
    assert_eq!(report["new_cells"], 3);
    let table = &report["table"][0];
    assert_eq!(
        (&table["seeds"], &table["hidden"]),
        (&3.into(), &"8x8".into())
    );
    assert_eq!(table["diverged"], 0);
    let first = lines(&hpo, "out");
    for line in &first {
        let seed = line["seed"].to_string();
        let out = format!("run{seed}");
        let args = [
            "train", PLANT, "--epochs", "3", "--hidden", "8,8", "--seed", &seed, "--out", &out,
        ];
        let train = hpo.json(&[&args, &SMALL[..]].concat());
        for key in [
            "policy_sha256",
            "mean_cost",
            "gap_percent",
            "gap_percent_start",
            "env_steps",
            "epochs",
            "policy_bytes",
        ] {
            assert_eq!(train[key], line[key], "{key}");
        }
        let eval = hpo.json(&["eval", &out, "--plant", PLANT]);
        for key in ["mean_cost_sampled", "std_error", "switches_per_episode"] {
            assert_eq!(eval[key], line[key], "{key}");
        }
        let rounded = line["mean_cost_8_bit_weights"].as_f64().unwrap();
        let cost = line["mean_cost"].as_f64().unwrap();
        assert!(rounded != cost && (rounded / cost - 1.0).abs() < 0.2);
        assert_eq!(line["settings"]["train.batch"], 16);
        assert_eq!(
            line["settings"]["policy.control_hidden"],
            serde_json::json!([8, 8])
        );
        for share in line["mode_shares"].as_array().unwrap() {
            let sum: f64 = share
                .as_array()
                .unwrap()
                .iter()
                .map(|s| s.as_f64().unwrap())
                .sum();
            assert!((sum - 1.0).abs() < 1e-9);
        }
    }
    assert_eq!(hpo.path("out/runs").read_dir().unwrap().count(), 3);
    // Other settings are other runs, in the same file; a plant named twice is one.
    let more = [PLANT, "--set-for", "hpo:train.clip=0.3"];
    let report = hpo.json(&arguments("3", "out", &more));
    assert_eq!(
        (&report["new_cells"], &report["cells"]),
        (&3.into(), &3.into())
    );
    assert_eq!(report["table"].as_array().unwrap().len(), 1);
    assert_eq!(report["table"][0]["settings"]["train.clip"], 0.3);
    assert_eq!(report["table"][0]["gap_percent_8_bit_weights"], Value::Null);
    assert_eq!(lines(&hpo, "out").len(), 6);
    let text = String::from_utf8(hpo.read("out/table.md")).unwrap();
    for part in [
        "averaged Riccati",
        "round robin",
        "best fixed mode",
        "| hpo ",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn training_that_diverges_is_a_result() {
    let hpo = Hpo::new();
    let args = arguments("40", "out", &["--set", "train.step_gains=1e30"]);
    let report = hpo.json(&args);
    assert_eq!(report["table"][0]["diverged"], 3);
    for line in lines(&hpo, "out") {
        assert_eq!(line["diverged"], true);
        let message = line["message"].as_str().unwrap();
        assert!(message.contains("training diverged in epoch"), "{message}");
        assert!(line["mean_cost"].as_f64().unwrap().is_finite());
    }
    assert_eq!(hpo.json(&args)["new_cells"], 0);
}

#[test]
fn bad_input_is_refused_before_anything_is_written() {
    let hpo = Hpo::new();
    let refuses = |args: &[&str], parts: &[&str]| {
        hpo.refuses(&[&["compare"], args].concat(), parts);
    };
    refuses(&["nowhere"], &["nowhere"]);
    refuses(&[PLANT, "nowhere.toml"], &["nowhere.toml"]);
    refuses(&[PLANT, "--algo", "magic"], &["magic", "hpo"]);
    refuses(&[PLANT, "--structure", "magic"], &["--structure"]);
    refuses(
        &[PLANT, "--seeds", "0"],
        &["--seeds: found 0; allowed: 1 to 10000"],
    );
    refuses(&[PLANT, "--jobs", "0"], &["--jobs: found 0"]);
    refuses(&[PLANT, "--hidden", "big"], &["--hidden: found big"]);
    refuses(&[PLANT, "--epochs", "0"], &["train.epochs: found 0"]);
    refuses(
        &[PLANT, "--set", "train.bogus=1"],
        &["train.bogus", "unknown field"],
    );
    refuses(
        &[PLANT, "--set-for", "train.clip=1"],
        &["--set-for", "algo:key=value"],
    );
    refuses(
        &[PLANT, "--set-for", "magic:train.clip=1"],
        &["--set-for: found magic"],
    );
    // Names are what rows and references go by.
    let other =
        "name = \"switched-lqr-3-2\"\n[dynamics]\ngenerator = { n = 3, modes = 2, seed = 9 }\n";
    hpo.write("other.toml", other);
    refuses(
        &[PLANT, "other.toml"],
        &[
            "found two plants of the name switched-lqr-3-2",
            "other.toml",
            "allowed",
        ],
    );
    refuses(
        &[PLANT, "--algo", "hpo,ppo", "--set-for", "ppo:horizon=5"],
        &["found two plants of the name switched-lqr-3-2"],
    );
    std::fs::create_dir(hpo.path("run")).unwrap();
    hpo.write("run/settings.toml", "");
    refuses(
        &[PLANT, "--out", "run"],
        &["--out: found run, a run directory of hpo train; allowed"],
    );
    hpo.write("file", "not a folder");
    refuses(&[PLANT, "--out", "file/deeper"], &["file"]);
    std::fs::create_dir(hpo.path("out")).unwrap();
    hpo.write("out/results.jsonl", "something else\n");
    hpo.write("out/.lock", "");
    refuses(
        &[PLANT, "--out", "out"],
        &["out/results.jsonl: line 1: found", "choose another --out"],
    );
}

/// A start is known to be refused only when it is made: no folder is left that was not there before.
#[test]
fn a_refused_start_leaves_nothing() {
    let hpo = Hpo::new();
    hpo.write(
        "pushed.toml",
        "name = \"pushed\"\nhorizon = 6\n[dynamics]\nA = [[1.1, 0.1], [0.0, 1.05]]\n\
         B = [[[1.0], [0.1]], [[0.1], [1.0]]]\nQ = [[1.0, 0.0], [0.0, 1.0]]\nR = [[0.1]]\naffine = [0.1, 0.0]\n\
         [initial]\nhalf_width = 2.0\n",
    );
    let args = ["compare", "pushed.toml", "--seeds", "1", "--epochs", "1"];
    let start = ["--set", "train.start=averaged-riccati", "--out"];
    hpo.refuses(
        &[&args[..], &start, &["new"]].concat(),
        &["train.start", "affine"],
    );
    assert!(!hpo.path("new").exists());
    // A folder of the user's own stays, with what was in it.
    std::fs::create_dir(hpo.path("old")).unwrap();
    hpo.write("old/notes.txt", "mine");
    hpo.refuses(
        &[&args[..], &start, &["old"]].concat(),
        &["train.start", "affine"],
    );
    assert_eq!(hpo.read("old/notes.txt"), b"mine");
}

/// What a version wrote that did not know the cost before the first epoch is completed without training, to the bytes of this one.
#[test]
fn lines_of_an_earlier_version_are_completed() {
    let hpo = Hpo::new();
    let args = arguments("3", "out", &[]);
    assert_eq!(hpo.json(&args)["completed_cells"], 0);
    let file = "out/results.jsonl";
    let whole = hpo.read(file);
    // Two lines lack it, and one has it.
    let earlier = |change: &dyn Fn(&mut Value)| -> Vec<u8> {
        let text = String::from_utf8(whole.clone()).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for line in &mut lines[..2] {
            let mut value: Value = serde_json::from_str(line).unwrap();
            let keys = value.as_object_mut().unwrap();
            assert!(keys.remove("mean_cost_start").unwrap().is_f64());
            assert!(keys.remove("gap_percent_start").unwrap().is_f64());
            change(&mut value);
            *line = value.to_string();
        }
        format!("{}\n", lines.join("\n")).into_bytes()
    };
    hpo.write(file, earlier(&|_| {}));
    let report = hpo.json(&args);
    assert_eq!(
        (&report["completed_cells"], &report["new_cells"]),
        (&2.into(), &0.into())
    );
    assert!(report["table"][0]["gap_percent_start"].as_f64().unwrap() > 0.0);
    assert!(hpo.read(file) == whole, "other lines than this version's");
    // A line of a run from another start is not completed with this one.
    let foreign = earlier(&|line| line["curve"][0][1] = 1.5.into());
    hpo.write(file, &foreign);
    hpo.fails(1, &args, &["the curve of its line begins with cost 1.5"]);
}

/// The bytes of a policy to start from are part of what makes a run the same run, not its path.
#[test]
fn another_policy_behind_the_same_path_is_another_run() {
    let hpo = Hpo::new();
    let train = |seed: &str, out: &str| {
        let args = [
            "train", PLANT, "--epochs", "1", "--seed", seed, "--out", out,
        ];
        hpo.done(&[&args[..], &SMALL].concat());
    };
    train("1", "one");
    train("2", "two");
    let start = ["--set", "train.start=start.hpo"];
    let run = || hpo.json(&arguments("1", "out", &start))["new_cells"].clone();
    hpo.write("start.hpo", hpo.read("one/policy.hpo"));
    assert_eq!(run(), 3);
    assert_eq!(run(), 0);
    hpo.write("start.hpo", hpo.read("two/policy.hpo"));
    assert_eq!(run(), 3);
    hpo.write("start.hpo", hpo.read("one/policy.hpo"));
    assert_eq!(run(), 0);
}

/// One cell of the comparison that docs/results keeps, trained again: the command of docs/benchmarks.md still
/// gives what stands there.
#[test]
fn a_cell_of_the_stored_comparison_is_reproduced() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/results/hpo-ppo/results.jsonl"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let stored = |algo: &str| {
        let is = |line: &&Value| {
            line["plant"] == "switched-lqr-8-2"
                && line["algo"] == algo
                && line["structure"] == "structured"
                && line["seed"] == 1
        };
        lines.iter().find(is).unwrap()
    };
    for line in &lines {
        let start = line["gap_percent_start"].as_f64();
        assert!(
            start.is_some_and(|gap| gap > 0.0),
            "no gap at epoch 0: {}",
            line["fingerprint"]
        );
    }
    let cell = stored("hpo");
    let found = Hpo::new().json(&[
        "train",
        "switched-lqr-8-2",
        "--algo",
        "hpo",
        "--structure",
        "structured",
        "--hidden",
        "64,64",
        "--env-steps",
        "3000000",
        "--seed",
        "1",
    ]);
    assert_eq!(found["env_steps"], cell["env_steps"]);
    assert_eq!(found["policy_sha256"], cell["policy_sha256"]);
    assert_eq!(found["gap_percent_start"], cell["gap_percent_start"]);
    let gap = |line: &Value| line["gap_percent"].as_f64().unwrap();
    assert!(gap(&found) < gap(stored("ppo")));
}

/// One cell of the comparison on inventory, bit for bit, against the best (s, S) pair too.
#[test]
fn a_cell_of_the_stored_inventory_comparison_is_reproduced() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/results/inventory/results.jsonl"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let cell: Value = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|line| line["plant"] == "inventory-1" && line["seed"] == 1)
        .unwrap();
    let hpo = Hpo::new();
    let mut args = vec![
        "train",
        "inventory-1",
        "--hidden",
        "64,64",
        "--env-steps",
        "1536000",
        "--seed",
        "1",
        "--out",
        "run",
    ];
    for set in ["batch=32", "batches_per_epoch=16", "validate_every=4"] {
        args.extend(["--set", set]);
    }
    let found = hpo.json(&args);
    assert_eq!(found["env_steps"], cell["env_steps"]);
    assert_eq!(found["policy_sha256"], cell["policy_sha256"]);
    assert_eq!(found["mean_cost"], cell["mean_cost"]);
    let pair = hpo.json(&["eval", "s-S", "--plant", "inventory-1"]);
    let cost = |report: &Value| report["mean_cost"].as_f64().unwrap();
    assert!(cost(&found) < 1.01 * cost(&pair), "{found} {pair}");
}
