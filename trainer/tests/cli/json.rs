//! What `--json` promises, and figures that are known from elsewhere.

use serde_json::Value;

use super::support::{Hpo, PLANT, SMALL};

/// Kind of a JSON value in the contract.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Whole,
    Number,
    NumberOrNull,
    Numbers,
    Flag,
}

fn check(value: &Value, keys: &[(&str, Kind)]) {
    for (key, kind) in keys {
        let found = value
            .get(*key)
            .unwrap_or_else(|| panic!("no key `{key}` in {value}"));
        let finite = |v: &Value| v.as_f64().is_some_and(f64::is_finite);
        let right = match kind {
            Kind::Text => found.is_string(),
            Kind::Whole => found.is_u64(),
            Kind::Number => finite(found),
            Kind::NumberOrNull => found.is_null() || finite(found),
            Kind::Numbers => found.as_array().is_some_and(|list| list.iter().all(finite)),
            Kind::Flag => found.is_boolean(),
        };
        assert!(right, "{key}: found {found}, which is no {kind:?}");
    }
}

fn number(value: &Value, key: &str) -> f64 {
    value[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} in {value}"))
}

const EVAL: [(&str, Kind); 13] = [
    ("plant", Kind::Text),
    ("policy", Kind::Text),
    ("episodes", Kind::Whole),
    ("mean_cost", Kind::Number),
    ("cost_per_step", Kind::Number),
    ("clamped_episodes", Kind::Whole),
    ("std_error", Kind::Number),
    ("mean_cost_sampled", Kind::NumberOrNull),
    ("switches_per_episode", Kind::Number),
    ("clamped_steps", Kind::Whole),
    ("reference_cost", Kind::NumberOrNull),
    ("gap_percent", Kind::NumberOrNull),
    ("gap_percent_certified", Kind::NumberOrNull),
];

const REFERENCE: [(&str, Kind); 8] = [
    ("plant", Kind::Text),
    ("episodes", Kind::Whole),
    ("optimal_cost", Kind::NumberOrNull),
    ("lower_bound", Kind::NumberOrNull),
    ("fixed_mode_costs", Kind::Numbers),
    ("round_robin_cost", Kind::Number),
    ("averaged_riccati_cost", Kind::NumberOrNull),
    ("seconds", Kind::Number),
];

const TRAIN: [(&str, Kind); 13] = [
    ("plant", Kind::Text),
    ("algo", Kind::Text),
    ("seed", Kind::Whole),
    ("start", Kind::Text),
    ("epochs", Kind::Whole),
    ("mean_cost", Kind::Number),
    ("gap_percent", Kind::NumberOrNull),
    ("gap_percent_start", Kind::NumberOrNull),
    ("gap_removed_percent", Kind::NumberOrNull),
    ("seconds", Kind::Number),
    ("env_steps", Kind::Whole),
    ("env_steps_per_second", Kind::Number),
    ("policy_sha256", Kind::Text),
];

const INSPECT: [(&str, Kind); 11] = [
    ("state_dim", Kind::Whole),
    ("control_dim", Kind::Whole),
    ("modes", Kind::Whole),
    ("choices", Kind::Whole),
    ("precision", Kind::Text),
    ("parameters", Kind::Whole),
    ("bytes", Kind::Whole),
    ("format_version", Kind::Whole),
    ("sample_time_s", Kind::Number),
    ("signed", Kind::Flag),
    ("sha256", Kind::Text),
];

#[test]
fn train_inspect_and_eval_of_one_policy() {
    let hpo = Hpo::new();
    let args = [
        "train", PLANT, "--epochs", "2", "--seed", "7", "--out", "run",
    ];
    let train = hpo.json(&[&args, &SMALL[..]].concat());
    check(&train, &TRAIN);
    assert_eq!(train["plant"], PLANT);
    assert_eq!(train["algo"], "hpo");
    assert_eq!(train["start"], "scratch");
    assert_eq!((&train["seed"], &train["epochs"]), (&7.into(), &2.into()));
    // 16 trajectories of 20 steps, and each of the 8 choices tried from every state.
    assert_eq!(train["env_steps"], 2 * 16 * 20 * 8);

    let inspect = hpo.json(&["inspect", "run"]);
    check(&inspect, &INSPECT);
    assert_eq!(inspect["sha256"], train["policy_sha256"]);
    assert_eq!(inspect["bytes"], hpo.read("run/policy.hpo").len());
    assert_eq!(inspect["state_dim"], 3);
    assert_eq!(inspect["control_dim"], 3);
    assert_eq!(
        (&inspect["modes"], &inspect["choices"]),
        (&2.into(), &8.into())
    );
    assert_eq!(inspect["precision"], "f32");
    assert_eq!(inspect["format_version"], 1);
    assert_eq!(inspect["signed"], false);
    assert!((number(&inspect, "sample_time_s") - 0.01).abs() < 1e-9);

    let eval = hpo.json(&["eval", "run/policy.hpo", "--plant", PLANT]);
    check(&eval, &EVAL);
    assert_eq!(eval["policy"], "run/policy.hpo");
    assert_eq!(eval["episodes"], 1024);
    assert_eq!(eval["mean_cost"], train["mean_cost"]);
    assert_eq!(eval["gap_percent"], train["gap_percent"]);
    assert!(eval["mean_cost_sampled"].is_f64());

    // Another number of steps has no reference, and says so.
    let short = hpo.json(&["eval", "run", "--plant", PLANT, "--steps", "3"]);
    check(&short, &EVAL);
    assert!(short["gap_percent"].is_null() && short["reference_cost"].is_null());
    assert!(number(&short, "mean_cost") < number(&eval, "mean_cost"));
}

/// Costs on the shipped test states, computed by an independent Python program (switched Riccati
/// dynamic programming for the optima; see the plants' `source`).
struct Known {
    plant: &'static str,
    optimum: f64,
    lower_bound: f64,
    best_fixed: f64,
    round_robin: f64,
    averaged: f64,
}

const KNOWN: [Known; 3] = [
    Known {
        plant: "switched-lqr-3-2",
        optimum: 45.277772,
        lower_bound: 45.277772 * (1.0 - 1e-6),
        best_fixed: 59.357,
        round_robin: 47.550,
        averaged: 45.366,
    },
    Known {
        plant: "switched-lqr-8-2",
        optimum: 49.097124,
        lower_bound: 49.097124 * (1.0 - 1e-6),
        best_fixed: 71.516,
        round_robin: 52.946,
        averaged: 49.211,
    },
    Known {
        plant: "switched-lqr-8-4",
        optimum: 62.354935,
        lower_bound: 62.33,
        best_fixed: 89.134,
        round_robin: 73.248,
        averaged: 63.316,
    },
];

/// Equal to the last printed digit of the table.
fn near(found: f64, known: f64, tolerance: f64) {
    assert!(
        (found - known).abs() <= tolerance,
        "{found}, known is {known}"
    );
}

#[test]
fn references_agree_with_the_known_optima() {
    let hpo = Hpo::new();
    for known in &KNOWN {
        let report = hpo.json(&["reference", known.plant]);
        check(&report, &REFERENCE);
        assert_eq!(report["plant"], known.plant);
        assert_eq!(report["episodes"], 1024);
        let optimum = number(&report, "optimal_cost");
        near(optimum, known.optimum, known.optimum * 5e-4);
        let bound = number(&report, "lower_bound");
        assert!(bound >= known.lower_bound, "{bound}");
        // Summed in another order than the optimum, hence the last bits.
        assert!(bound <= optimum * (1.0 + 1e-12));
        let fixed = report["fixed_mode_costs"].as_array().unwrap();
        let best = fixed
            .iter()
            .filter_map(Value::as_f64)
            .fold(f64::INFINITY, f64::min);
        near(best, known.best_fixed, 5.1e-4);
        near(
            number(&report, "round_robin_cost"),
            known.round_robin,
            5.1e-4,
        );
        near(
            number(&report, "averaged_riccati_cost"),
            known.averaged,
            5.1e-4,
        );
    }
}

#[test]
fn eval_of_references_agrees_with_the_known_costs() {
    let hpo = Hpo::new();
    let known = &KNOWN[0];
    let optimum = known.optimum;
    for (policy, cost, tolerance) in [
        ("fixed-mode:0", known.best_fixed, 5.1e-4),
        ("round-robin", known.round_robin, 5.1e-4),
        ("averaged-riccati", known.averaged, 5.1e-4),
        ("switched-riccati", optimum, optimum * 1e-6),
    ] {
        let report = hpo.json(&["eval", policy, "--plant", known.plant]);
        check(&report, &EVAL);
        assert_eq!(report["policy"], policy);
        assert!(report["mean_cost_sampled"].is_null());
        assert_eq!(report["clamped_steps"], 0);
        near(number(&report, "mean_cost"), cost, tolerance);
        let gap = (cost / optimum - 1.0) * 100.0;
        near(number(&report, "gap_percent"), gap, 2e-3);
        near(number(&report, "gap_percent_certified"), gap, 2e-3);
    }
    let round_robin = hpo.json(&["eval", "round-robin", "--plant", known.plant]);
    assert_eq!(round_robin["switches_per_episode"], 19.0);
}

#[test]
fn where_no_reference_is_valid_there_is_null() {
    let hpo = Hpo::new();
    let text = "name = \"noisy\"\nnoise = 0.1\n[dynamics]\ngenerator = { n = 2, modes = 2 }\n";
    hpo.write("noisy.toml", text);
    let report = hpo.json(&["reference", "noisy.toml"]);
    check(&report, &REFERENCE);
    assert!(report["lower_bound"].is_null() && report["optimal_cost"].is_null());
    let eval = hpo.json(&["eval", "round-robin", "--plant", "noisy.toml"]);
    check(&eval, &EVAL);
    assert!(eval["gap_percent"].is_null() && eval["gap_percent_certified"].is_null());
    assert_eq!(eval["mean_cost"], report["round_robin_cost"]);
}

/// `eval` and `reference` draw the same states by default where a plant ships none.
#[test]
fn drawn_states_are_the_same_in_eval_and_reference() {
    let hpo = Hpo::new();
    let plant = "switched-lqr-2-2";
    let report = hpo.json(&["reference", plant]);
    let eval = hpo.json(&["eval", "averaged-riccati", "--plant", plant]);
    assert_eq!(eval["mean_cost"], report["averaged_riccati_cost"]);
    assert_eq!(eval["reference_cost"], report["optimal_cost"]);
    let other = hpo.json(&["eval", "averaged-riccati", "--plant", plant, "--seed", "2"]);
    assert_ne!(eval["mean_cost"], other["mean_cost"]);
}

/// The margin to the classical controller that a plant file states decides, and `--accept` makes it the exit code.
#[test]
fn eval_says_whether_a_plant_accepts_a_policy() {
    let hpo = Hpo::new();
    let own = [
        "eval",
        "pd-rules",
        "--plant",
        "satellite-axis",
        "--episodes",
        "50",
    ];
    let report = hpo.json(&own);
    assert_eq!(
        (&report["episodes"], &report["accepted"]),
        (&50.into(), &false.into())
    );
    assert_eq!(number(&report, "baseline_gap_percent"), 0.0);
    assert!(number(&report, "accept_percent") > 0.0);
    for limit in ["states", "controls", "rates", "dwell", "masks"] {
        assert_eq!(report["violations"][limit], 0, "{limit}");
    }
    let refused = hpo.run(&[&own[..], &["--accept"]].concat());
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("pd-rules is not accepted on plant satellite-axis")
    );
    assert!(refused.stdout.contains("acceptance  not met"));
    // Switched Riccati beats averaged Riccati by more than the textbook pair asks for.
    let accepted = [
        "eval",
        "switched-riccati",
        "--plant",
        "textbook-pair",
        "--accept",
    ];
    assert!(hpo.done(&accepted).contains("acceptance  met"));
    hpo.refuses(
        &["eval", "round-robin", "--plant", PLANT, "--accept"],
        &["--accept: found plant switched-lqr-3-2 without a margin"],
    );
    hpo.refuses(
        &[
            "eval",
            "pd-rules",
            "--plant",
            "satellite-axis",
            "--accept",
            "--steps",
            "5",
        ],
        &["--accept: found plant satellite-axis in another setting"],
    );
    hpo.refuses(
        &[
            "eval",
            "pd-rules",
            "--plant",
            "satellite-axis",
            "--episodes",
            "0",
        ],
        &["--episodes: found 0; allowed: 1 to 1000000"],
    );
}

#[test]
fn ready_plants_are_listed() {
    let hpo = Hpo::new();
    let list = hpo.json(&["plants"]);
    let plants = list["plants"].as_array().unwrap();
    for known in &KNOWN {
        let plant = plants.iter().find(|p| p["name"] == known.plant).unwrap();
        check(
            plant,
            &[
                ("n", Kind::Whole),
                ("m", Kind::Whole),
                ("modes", Kind::Whole),
                ("horizon", Kind::Whole),
                ("source", Kind::Text),
            ],
        );
        assert!(hpo.done(&["plants"]).contains(known.plant));
    }
}

#[test]
fn bench_prints_its_figures() {
    let hpo = Hpo::new();
    let args = [
        "bench",
        "--filter",
        "peak",
        "--seconds",
        "0",
        "--threads",
        "1",
    ];
    let report = hpo.json(&args);
    check(
        &report,
        &[("instruction_set", Kind::Text), ("threads", Kind::Whole)],
    );
    let entries = report["entries"].as_array().unwrap();
    let names: Vec<_> = entries.iter().map(|entry| &entry["name"]).collect();
    assert_eq!(
        names,
        ["peak/one-core", "peak/one-core-cpu", "peak/all-cores"]
    );
    for entry in entries {
        check(
            entry,
            &[
                ("name", Kind::Text),
                ("figure", Kind::Number),
                ("unit", Kind::Text),
            ],
        );
        assert!(number(entry, "figure") > 0.0, "{entry}");
    }
    hpo.refuses(
        &["bench", "--filter", "nothing"],
        &["--filter: found nothing", "peak, paper-64"],
    );
}

/// A mean that is not known well enough is no proof, and says so.
#[test]
fn gradcheck_answers_no_where_it_has_too_few_samples() {
    let hpo = Hpo::new();
    let args = [
        "gradcheck",
        "switched-lqr-2-2",
        "--set",
        "horizon=3",
        "--samples",
    ];
    hpo.refuses(
        &[&args[..], &["1000"]].concat(),
        &["--samples: found 1000; allowed: 1024 or more"],
    );
    let outcome = hpo.run(&[&args[..], &["1024"]].concat());
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.stdout.contains("above 1 %: too few trajectories"));
    assert!(
        outcome
            .stderr
            .contains("far case: standard error along the exact gradient"),
        "{outcome:?}"
    );
}
