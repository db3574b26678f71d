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
    for r in &mut results {
        (r.gap_percent, r.on.optimal_cost, r.on.optimal_switches) = (None, None, None);
    }
    let names: Vec<&str> = plots(&results, &BTreeMap::new())
        .iter()
        .map(|p| p.0)
        .collect();
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
