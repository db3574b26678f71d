//! Training lowers the cost, with every variant and structure.

use std::fs;
use std::sync::atomic::AtomicBool;

use trainer::plant::load_plant;
use trainer::train::run::{TrainEvent, plant_traits, train};
use trainer::train::settings::Settings;

use super::support::{config_of, is_valid_policy, run};

/// On a large plant with many modes too, where the laws of a mode have to find roles of their own: 3.5 % of the cost lie between
/// this start and the optimum, and ten epochs remove half of it.
#[test]
fn many_modes_improve_on_averaged_riccati() {
    let folder = tempfile::tempdir().expect("a folder");
    let sets = [
        ("horizon", "20"),
        ("train.start", "averaged-riccati"),
        ("train.epochs", "10"),
        ("train.batch", "128"),
        ("train.batches_per_epoch", "8"),
        ("train.validation_states", "512"),
        ("critic.hidden", "[]"),
    ];
    let report = run(&config_of("switched-lqr-32-8", &sets, folder.path())).expect("a run");
    assert!(
        report.validation_cost < 0.983 * report.start_cost,
        "{} from {}",
        report.validation_cost,
        report.start_cost
    );
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
