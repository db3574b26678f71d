//! Known optima, order of the references, and which are withheld when.

use super::*;
use crate::plant::load_plant;

fn quiet(_: ReferenceEvent) {}

fn reference(name: &str) -> ReferenceReport {
    let model = load_plant(name, &[]).unwrap();
    compute(&model, model.test_states().unwrap(), 0, &quiet)
}

/// Costs on the shipped test states, as published with the reference problems.
struct Known {
    optimum: f64,
    lower_at_least: f64,
    fixed: f64,
    round_robin: f64,
    averaged: f64,
}

fn check(name: &str, known: &Known) {
    let report = reference(name);
    let optimum = report.optimal_cost.unwrap();
    let lower = report.lower_bound.unwrap();
    assert!(
        (optimum / known.optimum - 1.0).abs() < 1e-5,
        "{name}: {optimum}"
    );
    assert!(lower >= known.lower_at_least, "{name}: {lower}");
    assert!(lower <= optimum);
    let fixed = report
        .fixed_mode_costs
        .iter()
        .copied()
        .fold(f64::INFINITY, f64::min);
    // The published figures have three decimals.
    assert!((fixed - known.fixed).abs() < 6e-4, "{name}: {fixed}");
    assert!((report.round_robin_cost.unwrap() - known.round_robin).abs() < 6e-4);
    assert!((report.averaged_riccati_cost.unwrap() - known.averaged).abs() < 6e-4);
    assert!(report.notes.is_empty());
    let switches = report.optimal_switches.unwrap();
    assert!((15.0..=19.0).contains(&switches), "{name}: {switches}");
}

#[test]
fn optimum_of_3_2() {
    check(
        "switched-lqr-3-2",
        &Known {
            optimum: 45.277772,
            lower_at_least: 45.277772 * (1.0 - 1e-6),
            fixed: 59.357,
            round_robin: 47.550,
            averaged: 45.366,
        },
    );
}

#[test]
fn optimum_of_8_2() {
    check(
        "switched-lqr-8-2",
        &Known {
            optimum: 49.097124,
            lower_at_least: 49.097124 * (1.0 - 1e-6),
            fixed: 71.516,
            round_robin: 52.946,
            averaged: 49.211,
        },
    );
}

#[test]
fn optimum_of_8_4() {
    check(
        "switched-lqr-8-4",
        &Known {
            optimum: 62.354935,
            lower_at_least: 62.353,
            fixed: 89.134,
            round_robin: 73.248,
            averaged: 63.316,
        },
    );
}

#[test]
fn optimum_of_16_4() {
    check(
        "switched-lqr-16-4",
        &Known {
            optimum: 66.339519,
            lower_at_least: 66.337,
            fixed: 90.720,
            round_robin: 74.610,
            averaged: 67.614,
        },
    );
}

#[test]
fn values_do_not_depend_on_the_number_of_threads() {
    let model = load_plant("switched-lqr-5-3", &[]).unwrap();
    let states = model.draw_states(1, crate::numeric::Purpose::Evaluation, 40);
    let on_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let mut report = pool.install(|| compute(&model, &states, 0, &quiet));
        report.seconds = 0.0;
        report
    };
    let one = on_threads(1);
    assert_eq!(one, on_threads(2));
    assert_eq!(one, on_threads(5));
}

/// A double integrator with a strong and a weak actuator, and `extra` lines.
fn variant(top: &str, tables: &str) -> ReferenceReport {
    let text = format!(
        "name = \"v\"\nhorizon = 8\n{top}\n[dynamics]\nA = [[1.0, 0.2], [0.0, 1.0]]\n\
         B = [[[0.0], [1.0]], [[1.0], [0.1]]]\nQ = [[1.0, 0.0], [0.0, 1.0]]\nR = [[0.1]]\n{tables}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.toml");
    std::fs::write(&path, text).unwrap();
    let model = load_plant(path.to_str().unwrap(), &[]).unwrap();
    let states = [vec![2.0, -1.0], vec![-3.0, 0.5], vec![0.1, 0.1]];
    compute(&model, &states, 0, &quiet)
}

#[test]
fn references_are_withheld_where_they_prove_nothing() {
    let plain = variant("", "");
    let (optimum, lower) = (plain.optimal_cost.unwrap(), plain.lower_bound.unwrap());
    // Two modes and eight steps: nothing is pruned, so the bounds meet.
    assert!(
        lower <= optimum && optimum <= lower * (1.0 + 1e-6),
        "{lower} {optimum}"
    );
    assert!(plain.averaged_riccati_cost.unwrap() >= optimum);

    let noisy = variant("noise = 0.1", "");
    assert_eq!((noisy.optimal_cost, noisy.lower_bound), (None, None));
    assert!(noisy.notes[0].contains("process noise"));
    assert!(noisy.fixed_mode_costs.iter().all(|&c| c > lower));

    // Bounds leave the lower bound; the optimum only where they do not matter.
    let bounded = variant("", "[bounds]\nlower = -0.2\nupper = 0.2\n");
    assert_eq!(bounded.optimal_cost, None);
    assert_eq!(bounded.lower_bound, Some(lower));
    assert!(bounded.notes[0].contains("control bounds are active"));
    let loose = variant("", "[bounds]\nlower = -1e3\nupper = 1e3\n");
    assert_eq!(loose.optimal_cost, Some(optimum));

    // 2^2 * 1 is what meeting a clamp of 2 costs at least.
    let clamped = variant("state_clamp = 2.0", "");
    assert!(clamped.lower_bound.unwrap() < lower);
    assert!(clamped.optimal_cost.unwrap() >= clamped.lower_bound.unwrap());
    assert!(
        clamped
            .notes
            .iter()
            .any(|note| note.contains("state clamp, 4"))
    );

    // An affine plant is treated in homogeneous coordinates.
    let affine = variant("", "affine = [0.0, 0.3]\n");
    let (optimum, lower) = (affine.optimal_cost.unwrap(), affine.lower_bound.unwrap());
    assert!(
        lower <= optimum && optimum <= lower * (1.0 + 1e-3),
        "{lower} {optimum}"
    );
}

#[test]
fn what_is_not_certified_is_said_with_its_bounds() {
    let model = load_plant("switched-lqr-3-2", &[]).unwrap();
    let states = model.test_states().unwrap();
    let whole = compute(&model, states, 0, &quiet);
    assert!(whole.is_certified(), "{:?}", whole.notes);
    assert!(whole.notes.is_empty(), "{:?}", whole.notes);

    // No time at all: what is left is the relaxation, far below the optimum.
    let none = compute_within(&model, states, 0, Some(Duration::ZERO), &quiet);
    assert!(!none.is_certified());
    assert_eq!(none.optimal_cost, whole.optimal_cost);
    assert_eq!(none.lower_bound_width, None);
    let lower = none.lower_bound.unwrap();
    assert!(lower < whole.lower_bound.unwrap());
    let notes = none.notes.join("\n");
    assert!(
        notes.contains("no certificate within the 0 s given"),
        "{notes}"
    );
    assert!(
        notes.contains(&format!(
            "not certified; it lies between the lower bound {lower:.6} and the best known cost {:.6}",
            none.optimal_cost.unwrap()
        )),
        "{notes}"
    );
}
