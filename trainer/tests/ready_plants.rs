//! Ready control plants: limits hold in a thousand episodes, short trainings come near what is known.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use trainer::cli::train::read_policy;
use trainer::evaluate::closed_loop::{Selection, evaluate_policy};
use trainer::evaluate::reference::{compute, gap_percent};
use trainer::numeric::Purpose;
use trainer::plant::{PlantModel, load_plant};
use trainer::train::run::{TrainConfig, plant_traits, train};
use trainer::train::settings::Settings;

/// A policy file's bytes after training with `sets`.
fn policy(plant: &PlantModel, sets: &[(&str, &str)], out: &Path) -> trainer::export::PolicyBuffer {
    let sets: Vec<(String, String)> = sets
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let config = TrainConfig {
        plant: plant.clone(),
        settings: Settings::resolve(&sets, plant_traits(plant)).unwrap(),
        seed: 1,
        out: out.to_path_buf(),
        resume: false,
        threads: 0,
    };
    train(&config, &AtomicBool::new(false), &mut |_| {}).unwrap();
    read_policy(out).unwrap()
}

/// Neither a policy that has hardly learned nor one that draws its choices passes a limit: bounds, rates, dwell times and masks hold
/// whatever the networks say. The envelope of these plants is wide enough for every such policy.
#[test]
fn a_thousand_random_episodes_pass_no_limit() {
    for name in ["satellite-axis", "buck-boost", "three-tank", "geared-car"] {
        let plant = load_plant(name, &[]).unwrap();
        assert!(plant.bounds().is_some() && plant.watch().envelope.is_some());
        let folder = tempfile::tempdir().unwrap();
        let buffer = policy(&plant, &[("epochs", "3")], &folder.path().join("run"));
        let states = plant.draw_states(77, Purpose::Evaluation, 1000);
        for selection in [Selection::ArgMax, Selection::Sampled] {
            let steps = plant.horizon();
            let found =
                evaluate_policy(&plant, buffer.bytes(), &states, steps, 5, selection).unwrap();
            assert_eq!(found.episodes, 1000);
            assert_eq!(
                found.violations.total(),
                0,
                "{name} {selection:?}: {found:?}"
            );
            assert_eq!(found.fallback_steps, 0, "{name} {selection:?}");
        }
    }
}

/// A short training meets the margin to the tuned classical controller that each file states, without a violation
/// in 1,000 episodes.
#[test]
fn control_plants_beat_their_classical_controllers_by_their_margins() {
    for (name, epochs) in [
        ("satellite-axis", "100"),
        ("buck-boost", "30"),
        ("three-tank", "30"),
        ("geared-car", "30"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        policy(&load_plant(name, &[]).unwrap(), &[("epochs", epochs)], &run);
        let accept = Command::new(env!("CARGO_BIN_EXE_hpo"))
            .args(["eval", run.to_str().unwrap(), "--plant", name])
            .args(["--episodes", "1000", "--accept", "--json"])
            .output()
            .unwrap();
        let text = String::from_utf8(accept.stdout).unwrap();
        assert_eq!(accept.status.code(), Some(0), "{name}: {text}");
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report["accepted"], true, "{name}: {text}");
        let margin = report["accept_percent"].as_f64().unwrap();
        assert!(
            report["baseline_gap_percent"].as_f64().unwrap() <= -margin,
            "{name}: {text}"
        );
        assert_eq!(report["episodes"], 1000, "{name}");
        let violations = report["violations"].as_object().unwrap();
        assert!(
            !violations.is_empty() && violations.values().all(|count| *count == 0),
            "{name}: {text}"
        );
    }
}

/// From scratch within 1 % of the optimum; from averaged Riccati, which is 0.15 % above it, to a small share of that.
#[test]
fn the_textbook_pair_is_trained_to_its_optimum() {
    let plant = load_plant("textbook-pair", &[]).unwrap();
    let states = plant.draw_states(3, Purpose::Evaluation, 512);
    let reference = compute(&plant, &states, 0, &|_| {});
    let optimum = reference.optimal_cost.unwrap();
    let averaged = gap_percent(reference.averaged_riccati_cost.unwrap(), optimum).unwrap();
    assert!(averaged > 0.1, "{averaged}");
    let gap = |sets: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        let buffer = policy(&plant, sets, &folder.path().join("run"));
        let steps = plant.horizon();
        let found =
            evaluate_policy(&plant, buffer.bytes(), &states, steps, 5, Selection::ArgMax).unwrap();
        gap_percent(found.mean_cost, optimum).unwrap()
    };
    let scratch = gap(&[("epochs", "60")]);
    assert!((-1e-6..1.0).contains(&scratch), "{scratch}");
    let started = gap(&[("epochs", "60"), ("start", "averaged-riccati")]);
    assert!((-1e-6..0.02).contains(&started), "{started}");
}
