//! `docs/add-a-plant.md`: the TOML file and the example in it do what the page says.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Contents of the page's code blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let page = read("docs/add-a-plant.md");
    let open = format!("```{language}\n");
    let parts = page.split(&open).skip(1);
    parts
        .map(|part| part.split("```").next().unwrap().to_owned())
        .collect()
}

/// The example as a program: `cargo test` builds it with the tests; with `--test own_plant` alone it is built here.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join("own_plant");
    let mut build = Command::new(env!("CARGO"));
    build.args([
        "build",
        "--quiet",
        "-p",
        "trainer",
        "--example",
        "own_plant",
    ]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    if !program.exists() {
        assert!(build.current_dir(root()).status().unwrap().success());
    }
    program
}

/// Runs a program in `folder`; its JSON.
fn run(program: &Path, folder: &Path, args: &[&str]) -> Value {
    let output = Command::new(program)
        .args(args)
        .arg("--json")
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join(".cache"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_example_is_short_and_is_what_the_page_shows() {
    let example = read("trainer/examples/own_plant.rs");
    assert!(
        example.lines().count() <= 100,
        "{}",
        example.lines().count()
    );
    assert_eq!(example.matches("\nimpl ").count(), 1, "one trait");
    assert!(example.contains("\nimpl OwnPlant for Room {"));
    let blocks = blocks("rust");
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        assert!(example.contains(&block), "not in the example:\n{block}");
    }
}

#[test]
fn the_example_trains_a_policy_that_beats_its_thermostat() {
    let folder = tempfile::tempdir().unwrap();
    let plant = root().join("trainer/examples/room.toml");
    let plant = plant.to_str().unwrap();
    let program = example();
    // Nothing but the length is asked for: a first plant of one's own works at the defaults.
    let train = ["train", plant, "--epochs", "20", "--out", "room"];
    run(&program, folder.path(), &train);
    let eval = [
        "eval",
        "room",
        "--plant",
        plant,
        "--episodes",
        "1000",
        "--accept",
    ];
    let report = run(&program, folder.path(), &eval);
    assert_eq!(report["baseline"], "own-rule");
    assert_eq!(report["accepted"], true, "{report}");
    for (kind, count) in report["violations"].as_object().unwrap() {
        assert_eq!(count, 0, "{kind}");
    }
}

#[test]
fn the_file_of_the_page_trains_without_code() {
    let folder = tempfile::tempdir().unwrap();
    let [text] = blocks("toml").try_into().unwrap();
    std::fs::write(folder.path().join("two-tanks.toml"), text).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_hpo"));
    let train = ["train", "two-tanks.toml", "--epochs", "2", "--out", "tanks"];
    run(program, folder.path(), &train);
    let eval = [
        "eval",
        "tanks",
        "--plant",
        "two-tanks.toml",
        "--episodes",
        "1000",
    ];
    let report = run(program, folder.path(), &eval);
    assert_eq!(report["episodes"], 1000);
    for kind in ["controls", "rates", "dwell", "masks"] {
        assert_eq!(report["violations"][kind], 0, "{kind}");
    }
}
