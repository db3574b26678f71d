//! `hpo gradcheck`'s library: the figures that must hold, on a plant small enough for a test.

use trainer::plant::load_plant;
use trainer::train::gradcheck::gradcheck;

#[test]
fn the_mean_is_the_exact_gradient_and_is_not_without_the_cross_term() {
    let plant = load_plant("switched-lqr-2-2", &[("horizon".into(), "5".into())]).unwrap();
    let report = gradcheck(&plant, 60_000, 1).unwrap();
    report.verdict().unwrap();
    assert_eq!(report.sequences, 32);
    for case in [&report.far, &report.near] {
        assert!(case.max_z < 5.0, "{case:?}");
        assert!(case.relative_standard_error < 0.01, "{case:?}");
        assert!(case.difference_error < 1e-6, "{case:?}");
        assert_eq!(case.parts.len(), 4);
    }
    // Far from a discrete best response the cross term is a part of the gradient that no sample size replaces.
    // (Near one the whole gradient vanishes, so a bias relative to it says little; the cross term itself shrinks.)
    assert!(
        report.far.max_z_without_cross_term > 10.0,
        "{:?}",
        report.far
    );
    let variance = |case: &trainer::train::gradcheck::CaseReport| {
        let part = case
            .parts
            .iter()
            .find(|part| part.part == "cross term (laws)");
        part.expect("the cross term is reported").variance
    };
    assert!(
        variance(&report.near) < 1e-3 * variance(&report.far),
        "{report:?}"
    );
    assert!(report.variance_ratio.unwrap() > 1.0);
}

#[test]
fn what_cannot_be_listed_or_held_is_refused() {
    let plant = load_plant("switched-lqr-2-2", &[]).unwrap();
    for (samples, word) in [(0, "found 0"), (usize::MAX / 32, "allowed: up to")] {
        let error = gradcheck(&plant, samples, 1).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(word), "{error}");
    }
    let plant = load_plant("switched-lqr-65-65", &[]).unwrap();
    let error = gradcheck(&plant, 16, 1).unwrap_err();
    assert!(error.to_string().contains("found 65 modes"), "{error}");
}
