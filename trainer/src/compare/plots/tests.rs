use super::learning::{calibrate, interpolate, over_seeds};
use super::*;
use crate::compare::cell::tests::result;

#[test]
fn every_plot_shows_every_algorithm_and_the_references() {
    let mut results = Vec::new();
    for n in [8, 16] {
        for seed in 1..=3 {
            for (algo, gap) in [("hpo", 0.5), ("ppo", 7.0)] {
                let mut r = result(algo, seed, gap + 0.1 * seed as f64);
                (r.on.n, r.on.plant) = (n, format!("switched-lqr-{n}-2"));
                results.push(r);
            }
        }
    }
    let optimum = BTreeMap::from([("switched-lqr-8-2".into(), vec![vec![0.5, 0.5]; 3])]);
    let list = plots(&results, &optimum);
    assert_eq!(list.len(), 6);
    for (name, svg) in &list {
        assert!(!svg.contains("NaN"), "{name}");
        assert!(svg.contains("hpo") && svg.contains("ppo"), "{name}");
    }
    let reference = |name: &str| &list.iter().find(|(n, _)| *n == name).unwrap().1;
    assert!(reference("gap-dimension.svg").contains("averaged Riccati"));
    assert!(reference("gap-size.svg").contains("8-bit weights"));
    assert!(reference("switching.svg").contains("best known control"));
    assert!(reference("modes-over-time.svg").contains("best known control"));
    // What has no point is in no legend.
    for r in &mut results {
        r.on.averaged_riccati_cost = None;
    }
    let without = plots(&results, &optimum);
    assert!(without.iter().all(|(_, svg)| !svg.contains("Riccati")));
    for r in &mut results {
        (r.gap_percent, r.on.optimal_cost, r.on.optimal_switches) = (None, None, None);
    }
    let list = plots(&results, &BTreeMap::new());
    assert!(list.iter().all(|p| !p.1.contains("best known")));
    let names: Vec<&str> = list.iter().map(|p| p.0).collect();
    assert_eq!(
        names,
        [
            "learning-curves.svg",
            "switching.svg",
            "modes-over-time.svg"
        ]
    );
}

#[test]
fn curves_are_calibrated_to_the_known_gap_of_the_best_run_with_the_same_seed() {
    let (good, bad) = (result("a", 1, 1.0), result("b", 1, 5.0));
    let all = [good.clone(), bad.clone(), result("a", 2, 50.0)];
    let last = |r| calibrate(r, &all).last().unwrap().1;
    assert!((last(&good) - 1.0).abs() < 1e-9);
    assert!((last(&bad) - 5.0).abs() < 1e-9);
    assert_eq!(interpolate(&[(0.0, 1.0), (10.0, 2.0)], 5.0), Some(1.5));
    assert_eq!(interpolate(&[(0.0, 1.0), (10.0, 2.0)], 11.0), None);
    let (points, spread) = over_seeds(&[
        vec![(0.0, 4.0), (10.0, 2.0), (20.0, 1.0)],
        vec![(0.0, 6.0), (10.0, 4.0)],
    ]);
    assert_eq!(points, [(0.0, 5.0), (10.0, 3.0)]);
    assert_eq!(spread, [(0.0, 4.0, 6.0), (10.0, 2.0, 4.0)]);
}

/// Two lines must not look the same: there are six colours, and eight lines with four algorithms and two structures.
#[test]
fn lines_differ_in_colour_or_in_dashes_and_marks() {
    let mut results = Vec::new();
    for algo in ["hpo", "ppo", "reinforce", "gumbel"] {
        for structure in ["quadratic", "plain", "structured"] {
            let mut r = result(algo, 1, 1.0);
            r.structure = structure.into();
            results.push(r);
        }
    }
    let groups = groups(&results);
    let labels = Labels::new(&groups);
    let look = |r: &CellResult| labels.series(r, "");
    for (index, one) in results.iter().enumerate() {
        for other in &results[..index] {
            let (a, b) = (look(one), look(other));
            assert_eq!(a.color == b.color, one.algo == other.algo);
            assert_eq!(a.dash == b.dash, one.structure == other.structure);
            assert_eq!(a.shape == b.shape, one.structure == other.structure);
            assert_ne!(a.color, GREY);
        }
    }
    // With one structure marks tell algorithms apart without colour.
    results.retain(|r| r.structure == "plain");
    let groups = super::groups(&results);
    let labels = Labels::new(&groups);
    let shapes = distinct(results.iter().map(|r| labels.series(r, "").shape));
    assert_eq!(shapes, [0, 1, 2, 3]);
}

/// Inventory: no optimum, heuristics that a policy may beat, sizes close together and far apart.
#[test]
fn without_an_optimum_gaps_are_to_the_cheapest_controller_and_may_be_negative() {
    let mut results = Vec::new();
    for (n, gap) in [(6, -0.3), (10, 0.05), (14, 0.1), (100, 0.2)] {
        for (algo, more) in [("hpo", 0.0), ("ppo", 400.0)] {
            let mut r = result(algo, 1, gap + more);
            (r.on.n, r.on.plant) = (n, format!("inventory-{n}"));
            (r.on.optimal_cost, r.on.averaged_riccati_cost) = (None, None);
            (r.gap_percent, r.gap_percent_8_bit_weights) = (None, None);
            (r.on.best_baseline, r.on.best_baseline_cost) = (Some("q-S".into()), Some(100.0));
            r.on.optimal_switches = None;
            results.push(r);
        }
    }
    let list = plots(&results, &BTreeMap::new());
    assert_eq!(list.len(), 6);
    for (name, svg) in &list {
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}");
        assert!(
            !svg.contains("best known") && !svg.contains("Riccati"),
            "{name}"
        );
    }
    let svg = |name: &str| &list.iter().find(|(n, _)| *n == name).unwrap().1;
    for name in ["gap-dimension.svg", "gap-size.svg", "learning-curves.svg"] {
        assert!(
            svg(name).contains("gap to the cheapest classical"),
            "{name}"
        );
        assert!(
            svg(name).contains(">-0.1</text>"),
            "{name} shows values below 0"
        );
    }
    assert!(svg("gap-dimension.svg").contains("/ -0.3</title>"));
    for part in ["hpo, f32: 400 / -0.3", "hpo, 8-bit weights: 150 / 0.2"] {
        assert!(svg("gap-size.svg").contains(part), "{part}");
    }
    for size in ["6", "10", "14", "100"] {
        assert!(
            svg("gap-dimension.svg").contains(&format!(">{size}</text>")),
            "{size}"
        );
    }
}
