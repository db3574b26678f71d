//! `hpo eval` under perturbations and beyond the horizon.

use super::support::{Hpo, PLANT};
use serde_json::Value;

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// From the origin every cost is 0, of which no other is a percentage.
#[test]
fn a_cost_of_nothing_has_no_gap() {
    let hpo = Hpo::new();
    hpo.small_run();
    hpo.write("zero.csv", "0,0,0\n");
    let args = ["eval", "run", "--plant", PLANT, "--states", "zero.csv"];
    let report = hpo.json(&args);
    assert_eq!(report["mean_cost"], 0.0);
    assert_eq!(report["reference_cost"], 0.0);
    assert!(report["gap_percent"].is_null() && report["gap_percent_certified"].is_null());
    assert!(report["notes"].to_string().contains("best known cost is 0"));
    let reference = ["reference", PLANT, "--states", "zero.csv"];
    for text in [hpo.done(&args), hpo.done(&reference)] {
        assert!(!text.contains("NaN"), "{text}");
    }
}

#[test]
fn a_perturbed_evaluation_stands_beside_the_references() {
    let hpo = Hpo::new();
    hpo.small_run();
    let eval = |perturb: &[&str]| {
        let args = ["eval", "run", "--plant", PLANT];
        hpo.json(&[&args, perturb].concat())
    };
    let nominal = eval(&[]);
    assert!(nominal["perturb"].is_null() && nominal["controllers"].is_null());
    assert!(nominal["gap_percent"].is_f64());
    assert_eq!(nominal["notes"], Value::Array(Vec::new()));
    // Nothing perturbed is the nominal loop, reference included.
    assert_eq!(eval(&["--perturb", "sensor=0,delay=0"]), nominal);

    let late = eval(&["--perturb", "delay=1,dropout=0.1"]);
    assert_eq!(late["perturb"], "delay=1,dropout=0.1");
    assert!(late["gap_percent"].is_null() && late["reference_cost"].is_null());
    let notes = late["notes"].to_string();
    assert!(
        notes.contains("no gap: the optimum is known for the nominal loop alone"),
        "{notes}"
    );
    let rows = late["controllers"].as_array().unwrap();
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row["controller"].as_str().unwrap())
        .collect();
    assert_eq!(
        names[..4],
        ["run", "averaged-riccati", "switched-riccati", "round-robin"]
    );
    assert!(names[4].starts_with("fixed-mode:"));
    assert_eq!(rows[0]["mean_cost"], late["mean_cost"]);
    // The row of a reference is what evaluating it alone gives: the same draws.
    let alone = [
        "eval",
        "averaged-riccati",
        "--plant",
        PLANT,
        "--perturb",
        "delay=1,dropout=0.1",
    ];
    assert_eq!(hpo.json(&alone)["mean_cost"], rows[1]["mean_cost"]);
    let text = hpo.done(&alone);
    assert!(
        text.contains("to averaged Riccati") && text.contains("note: no gap"),
        "{text}"
    );
}

#[test]
fn the_suite_is_one_table() {
    let hpo = Hpo::new();
    hpo.small_run();
    let args = ["eval", "run", "--plant", PLANT, "--perturb", "all"];
    let table = hpo.json(&args);
    let scenarios = table["scenarios"].as_array().unwrap();
    let names: Vec<&str> = scenarios
        .iter()
        .map(|s| s["scenario"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "nominal",
            "parameters",
            "sensor noise",
            "delay",
            "dropout",
            "all"
        ]
    );
    let text = hpo.done(&args);
    for scenario in scenarios {
        assert!(
            text.contains(scenario["perturb"].as_str().unwrap()),
            "{text}"
        );
    }
    // Every key, nested ones too, stands in the documentation.
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/command-line.md");
    let page = std::fs::read_to_string(page).unwrap();
    let section = page.split("\n## hpo eval\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let nested = [&table, &scenarios[0], &scenarios[0]["controllers"][0]];
    for key in nested.into_iter().flat_map(keys) {
        assert!(section.contains(&format!("`{key}`")), "no `{key}`");
    }
}

#[test]
fn beyond_the_horizon_references_are_stationary() {
    let hpo = Hpo::new();
    let long = hpo.json(&[
        "eval",
        "round-robin",
        "--plant",
        PLANT,
        "--steps",
        "10000",
        "--perturb",
        "noise=0.1",
    ]);
    // 2^20 steps in all by default.
    assert_eq!(long["episodes"], 104);
    assert_eq!(long["clamped_episodes"], 0);
    assert!(
        long["notes"]
            .to_string()
            .contains("the references are stationary")
    );
    let per_step = long["cost_per_step"].as_f64().unwrap();
    assert!((per_step - long["mean_cost"].as_f64().unwrap() / 1e4).abs() < 1e-9);
    assert!(per_step > 0.0 && per_step < 1.0, "{per_step}");
}

#[test]
fn bad_perturbations_are_refused() {
    let hpo = Hpo::new();
    for (spec, parts) in [
        (
            "params=101",
            &["--perturb: params: found `101`; allowed: percent, 0 to 100"][..],
        ),
        (
            "wind=3",
            &["--perturb: found the key `wind`; allowed: params, sensor, delay, dropout, noise"],
        ),
        (
            "all,delay=1",
            &["--perturb: found `all`; allowed: all, or KEY=VALUE"],
        ),
        (
            "delay=-1",
            &["--perturb: delay: found `-1`; allowed: whole samples"],
        ),
    ] {
        let args = ["eval", "round-robin", "--plant", PLANT, "--perturb", spec];
        hpo.refuses(&args, parts);
    }
}
