//! Command lines that do not go together.

use super::support::{Hpo, PLANT, SMALL};

#[test]
fn boards_and_commands_that_do_not_exist() {
    let hpo = Hpo::new();
    let parts = ["board: found \"esp32\"; allowed: microbit, mps2-an385, mps2-an386,"];
    hpo.refuses(&["firmware", "esp32"], &parts);
    hpo.refuses(
        &["hil", "p.hpo", "--plant", PLANT, "--board", "esp32"],
        &parts,
    );
    hpo.refuses(&["fly"], &["unrecognized subcommand 'fly'", "--help"]);
    let outcome = hpo.run(&[]);
    assert_eq!(outcome.code, 2);
    assert!(
        outcome.stderr.contains("Usage: hpo <COMMAND>"),
        "{outcome:?}"
    );
}

#[test]
fn settings_that_are_not_allowed() {
    let hpo = Hpo::new();
    for (set, parts) in [
        (
            "bogus=1",
            &["--set bogus: unknown field `bogus`", "`epochs`"][..],
        ),
        ("train.bogus=1", &["unknown field `bogus`", "`epochs`"]),
        (
            "bogus.epochs=1",
            &["--set bogus.epochs: unknown section `bogus`; allowed: train, policy, critic"],
        ),
        (
            "train.epochs=0",
            &["train.epochs: found 0; allowed: 1 to 1000000"],
        ),
        (
            "train.epochs=many",
            &["--set train.epochs: found many; allowed: a whole number"],
        ),
        (
            "train.batch=17",
            &["train.batch: found 17; allowed: a multiple of 16"],
        ),
        (
            "train.step_gains=-1",
            &["train.step_gains: found -1; allowed: above 0"],
        ),
        (
            "train.step_gains=nan",
            &["train.step_gains: found NaN; allowed: above 0"],
        ),
        (
            "train.cross_term=perhaps",
            &[
                "--set train.cross_term: found perhaps; allowed: ",
                "`on`",
                "`off`",
            ],
        ),
        (
            "policy.scores=false",
            &["policy.scores = false", "allowed: a selector"],
        ),
        ("train.epochs", &["'train.epochs'", "allowed: key=value"]),
        ("=5", &["allowed: key=value"]),
        // The plant's own keys.
        (
            "horizon=0",
            &["horizon: found 0; allowed: 1 to 1000000 steps"],
        ),
        (
            "state_clamp=-1",
            &["state_clamp: found -1; allowed: a finite number greater than 0"],
        ),
        ("seed=7", &["seed: ", "has given matrices"]),
    ] {
        hpo.refuses(&["train", PLANT, "--out", "run", "--set", set], parts);
    }
    // Evaluation and reference have no training settings.
    let parts = ["--set: found train.epochs; allowed here: seed, horizon, state_clamp, jumps"];
    let set = ["--set", "train.epochs=5"];
    hpo.refuses(&[&["reference", PLANT], &set[..]].concat(), &parts);
    hpo.refuses(
        &[&["eval", "round-robin", "--plant", PLANT], &set[..]].concat(),
        &parts,
    );
}

#[test]
fn unit_norm_is_refused_where_it_would_be_wrong() {
    let hpo = Hpo::new();
    let text = "name = \"bounded\"\n[dynamics]\ngenerator = { n = 2, modes = 2 }\n\
                [bounds]\nlower = -1\nupper = 1\n";
    hpo.write("bounded.toml", text);
    hpo.refuses(
        &[
            "train",
            "bounded.toml",
            "--out",
            "run",
            "--set",
            "policy.input=unit-norm",
        ],
        &[
            "policy.input = \"unit-norm\"",
            "bounds",
            "allowed: \"affine\"",
        ],
    );
}

#[test]
fn numbers_that_are_out_of_range() {
    let hpo = Hpo::new();
    let whole = "allowed: a whole number, 0 to 18446744073709551615";
    for (args, parts) in [
        (
            &["eval", "round-robin", "--plant", PLANT, "--steps", "0"][..],
            &["--steps: found 0; allowed: 1 to 100000000"][..],
        ),
        (
            &["eval", "round-robin", "--plant", PLANT, "--steps", "-3"],
            &["'-3' for '--steps", whole],
        ),
        (
            &["eval", "fixed-mode:9", "--plant", PLANT],
            &["fixed-mode: found 9; allowed: 0 to 1, the modes of switched-lqr-3-2"],
        ),
        (
            &["eval", "fixed-mode:-1", "--plant", PLANT],
            &["fixed-mode: found -1; allowed: 0 to 1"],
        ),
        (
            &["train", PLANT, "--seed", "-1"],
            &["'-1' for '--seed", whole],
        ),
        (
            &["train", PLANT, "--threads", "-1"],
            &["'-1' for '--threads", whole],
        ),
        (
            &["train", PLANT, "--epochs", "-1"],
            &["'-1' for '--epochs", whole],
        ),
        (
            &["train", PLANT, "--epochs", "2.5"],
            &["'2.5' for '--epochs", whole],
        ),
        (
            &["train", PLANT, "--epochs", "0"],
            &["train.epochs: found 0; allowed: 1 to 1000000"],
        ),
        (
            &["train", PLANT, "--hidden", "8,x"],
            &["'x' for '--hidden", whole],
        ),
        (
            &["train", PLANT, "--hidden", "8,0"],
            &["policy.selector_hidden (width): found 0; allowed: 1 to 1024"],
        ),
        (
            &["reference", PLANT, "--seed", "-1"],
            &["'-1' for '--seed", whole],
        ),
        (&["demo", "--epochs", "-1"], &["'-1' for '--epochs", whole]),
        (
            &["demo", "--epochs", "0"],
            &["train.epochs: found 0; allowed: 1 to 1000000"],
        ),
    ] {
        hpo.refuses(args, parts);
    }
}

/// What is not there yet is refused: nothing trains another algorithm under the asked-for name.
#[test]
fn what_does_not_exist_yet_is_refused() {
    let hpo = Hpo::new();
    for (option, value) in [("--algo", "trpo"), ("--cross-term", "half")] {
        let part = format!("invalid value '{value}' for '{option}");
        let args = ["train", PLANT, "--out", "run", option, value];
        hpo.refuses(&args, &[&part, "possible values: "]);
    }
    hpo.refuses(
        &["train", PLANT, "--out", "run", "--start", "nowhere.hpo"],
        &[
            "train.start: found `nowhere.hpo`",
            "allowed: scratch, averaged-riccati, switched-riccati, a policy file",
        ],
    );
    hpo.refuses(
        &["export", "run", "--precision", "int4"],
        &["invalid value 'int4'", "possible values: f32, int8"],
    );
}

#[test]
fn folders_that_cannot_be_written() {
    let hpo = Hpo::new();
    hpo.write("file", "mine");
    // Below a file no folder can be made, whoever runs the tests.
    hpo.refuses(
        &["train", PLANT, "--epochs", "1", "--out", "file/run"],
        &["file/run: cannot create the folder: "],
    );
    hpo.refuses(
        &["train", PLANT, "--epochs", "1", "--out", "file"],
        &["file: cannot create the folder: "],
    );
    hpo.refuses(
        &["demo", "--out", "file"],
        &["--out: found file", "allowed: a new or empty folder"],
    );
}

#[test]
fn a_run_is_not_overwritten() {
    let hpo = Hpo::new();
    hpo.small_run();
    let again = ["train", PLANT, "--out", "run", "--epochs"];
    hpo.refuses(
        &[&again[..], &["2"], &SMALL].concat(),
        &["run holds a run already", "--resume", "--out"],
    );
    // Resuming under other settings, or another seed or plant, is not the same run.
    hpo.refuses(
        &[&again[..], &["3"], &SMALL, &["--resume"]].concat(),
        &[
            "run/settings.toml: settings: found other settings",
            "--resume",
        ],
    );
    hpo.refuses(
        &[&again[..], &["2"], &SMALL, &["--resume", "--seed", "2"]].concat(),
        &["run/run.json: seed: found 1, but the command line gives 2"],
    );
    let damaged = hpo.read("run/checkpoint.bin");
    hpo.write("run/checkpoint.bin", &damaged[..damaged.len() / 2]);
    hpo.refuses(
        &[&again[..], &["2"], &SMALL, &["--resume"]].concat(),
        &["run/checkpoint.bin: checkpoint: found bytes that do not match their digest"],
    );
    // Nor does the demo replace it.
    hpo.refuses(
        &["demo", "--out", "run"],
        &["--out: found run", "an earlier demo's"],
    );
}

#[test]
fn a_plant_s_name_leads_nowhere_else() {
    let hpo = Hpo::new();
    let text = "name = \"../../out of/bounds\"\n[dynamics]\ngenerator = { n = 2, modes = 2 }\n";
    hpo.write("plant.toml", text);
    hpo.done(&[&["train", "plant.toml", "--epochs", "1"], &SMALL[..]].concat());
    let run = "runs/..-..-out-of-bounds-hpo-seed1/policy.hpo";
    assert!(hpo.path(run).is_file());
}

/// `hpo plants | head -1` is no failure, a full disk is one, and neither is a panic.
#[test]
fn a_reader_that_has_gone_and_a_full_disk() {
    let hpo = Hpo::new();
    for args in [
        &["plants"][..],
        &["plants", "--json"],
        &["reference", PLANT],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = hpo.command(args).stdout(writer).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), message.as_str()),
            (Some(0), ""),
            "{args:?}"
        );

        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = hpo.command(args).stdout(full).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(
            message.starts_with("error: standard output: cannot write: No space left"),
            "{message}"
        );
    }
}

#[test]
fn a_user_s_own_files_are_not_replaced_and_a_missing_run_is_not_resumed() {
    let hpo = Hpo::new();
    hpo.write("policy.hpo", "mine");
    hpo.refuses(
        &["train", PLANT, "--epochs", "1", "--out", "."],
        &[
            "--out: found ./policy.hpo",
            "it would be replaced",
            "allowed: a folder without",
        ],
    );
    hpo.refuses(
        &["train", PLANT, "--epochs", "1", "--out", "typo", "--resume"],
        &[
            "--resume: found no run in typo",
            "allowed: the folder of a run",
        ],
    );
}

#[test]
fn rollouts_that_do_not_fit_into_memory_are_refused_before_they_are_made() {
    let hpo = Hpo::new();
    hpo.refuses(
        &["train", PLANT, "--out", "run", "--set", "horizon=1000000"],
        &["horizon = 1000000", "MiB of rollouts", "allowed: 8192 MiB"],
    );
}

#[test]
fn a_plant_with_one_step_trains_with_default_settings() {
    let hpo = Hpo::new();
    hpo.done(&[
        "train",
        PLANT,
        "--out",
        "run",
        "--epochs",
        "1",
        "--set",
        "horizon=1",
    ]);
}

#[test]
fn a_mode_whose_cost_outgrows_every_number_has_no_reference() {
    let hpo = Hpo::new();
    hpo.write(
        "off.toml",
        "name = \"off\"\nhorizon = 2000\n[dynamics]\nA = [[1.3]]\nB = [[[1.0]], [[0.0]]]\n\
         Q = [[1.0]]\nR = [[1.0]]\n",
    );
    let report = hpo.json(&["reference", "off.toml"]);
    assert!(report["optimal_cost"].is_null(), "{report}");
    assert!(report["lower_bound"].is_null(), "{report}");
}
