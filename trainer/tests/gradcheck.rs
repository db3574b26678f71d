//! `hpo gradcheck`'s library: the figures that must hold, on a plant small enough for a test.

use trainer::plant::load_plant;
use trainer::train::gradcheck::gradcheck;

#[test]
fn the_mean_is_the_exact_gradient_and_is_not_without_the_cross_term() {
    let plant = load_plant("switched-lqr-2-2", &[("horizon".into(), "5".into())]).unwrap();
    let report = gradcheck(&plant, 100_000, 1, &[]).unwrap();
    report.verdict().unwrap();
    assert_eq!(report.sequences, 32);
    assert_eq!(report.samples, 100_000);
    for case in [&report.far, &report.near] {
        assert!(case.max_z < 5.0, "{case:?}");
        assert!(case.relative_standard_error < 0.01, "{case:?}");
        assert!(case.difference_error < 1e-6, "{case:?}");
        assert_eq!(case.parts.len(), 4);
    }
    // Far from a discrete best response the cross term is a part of the gradient that no sample size replaces.
    assert!(
        report.far.max_z_without_cross_term > 10.0,
        "{:?}",
        report.far
    );
    assert!(report.far.relative_bias_without_cross_term > 0.02);
    // Near one it vanishes while the laws' gradient does not, and costs variance.
    let variance = |name| report.near.part(name).unwrap().variance;
    assert!(report.near.relative_bias_without_cross_term < 0.005);
    assert!(variance("mixed (laws)") > 10.0 * variance("pathwise (laws)"));
    assert!(report.variance_ratio.unwrap() > 1.0);

    let (first, last) = (report.path.first().unwrap(), report.path.last().unwrap());
    assert_eq!(report.path.len(), 8);
    for pair in report.path.windows(2) {
        // The objective is followed exactly, so each point is a better response than the one before.
        assert!(
            pair[1].excess_percent < 0.6 * pair[0].excess_percent,
            "{pair:?}"
        );
        assert!(pair[1].excess_percent > 0.0, "{pair:?}");
    }
    assert!(last.laws_gradient > 0.3 * first.laws_gradient);
    assert!(last.cross_term < 0.1 * first.cross_term, "{last:?}");
    // It is the response that does it, not the sharpness: the random selector made as sharp keeps its cross term.
    assert!(
        last.as_sharp_cross_term > 10.0 * last.cross_term,
        "{last:?}"
    );
    assert!(last.as_sharp_relative_bias_of_laws > 5.0 * last.relative_bias_of_laws);
}

/// Directions in which an estimate has no spread (equal signs for every choice of the scores; everything where there is one
/// mode) are compared up to rounding.
#[test]
fn directions_without_spread_are_no_evidence() {
    let plant = load_plant("switched-lqr-2-2", &[("horizon".into(), "2".into())]).unwrap();
    for seed in [1, 4, 5, 6, 7] {
        let report = gradcheck(&plant, 2048, seed, &[]).unwrap();
        assert!(report.far.max_z < 5.0, "seed {seed}: {:?}", report.far);
    }
    let single = load_plant("switched-lqr-1-1", &[("horizon".into(), "3".into())]).unwrap();
    let report = gradcheck(&single, 2048, 1, &[]).unwrap();
    assert!(report.far.max_z < 5.0, "{:?}", report.far);
}

/// More steps want a sharper selector near a best response, and a sharp one wants more trajectories.
#[test]
fn the_near_case_takes_the_trajectories_that_it_needs() {
    let plant = load_plant("switched-lqr-3-2", &[("horizon".into(), "6".into())]).unwrap();
    let report = gradcheck(&plant, 100_000, 1, &[]).unwrap();
    assert_eq!((report.horizon, report.sequences), (6, 64));
    report.verdict().unwrap();
    assert_eq!(report.far.trajectories, 100_000);
    assert!(report.near.trajectories > 400_000, "{:?}", report.near);
    for case in [&report.far, &report.near] {
        assert!(case.max_z < 5.0, "{case:?}");
        assert!(case.relative_standard_error <= 0.01, "{case:?}");
        assert!(case.max_z_without_cross_term > 10.0, "{case:?}");
    }
    // The same answer is no answer where the error stays above 1 %.
    let mut vague = report;
    vague.near.relative_standard_error = 0.011;
    let error = vague.verdict().unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains("found 1.10 % from"), "{error}");
}

/// A test that a wrong estimator would pass says nothing: the far case takes the trajectories with which it fails without
/// the cross term, and where they are not enough the answer is no.
#[test]
fn the_far_case_takes_the_trajectories_that_show_a_missing_cross_term() {
    let plant = load_plant("switched-lqr-2-2", &[("horizon".into(), "4".into())]).unwrap();
    let mut took_more = false;
    for seed in 1..=6 {
        let report = gradcheck(&plant, 2048, seed, &[]).unwrap();
        let far = &report.far;
        assert!(far.max_z < 5.0, "seed {seed}: {far:?}");
        if far.trajectories < 32 * 2048 {
            assert!(far.max_z_without_cross_term > 10.0, "seed {seed}: {far:?}");
        }
        took_more |= far.trajectories > 2048;
        let mut blind = report;
        blind.far.max_z = 1.0;
        blind.near.max_z = 1.0;
        blind.far.relative_standard_error = 0.005;
        blind.near.relative_standard_error = 0.005;
        blind.far.max_z_without_cross_term = 9.4;
        let error = blind.verdict().unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert!(
            error
                .to_string()
                .contains("without the cross term: greatest |z|: found 9.40"),
            "{error}"
        );
        // With one mode nothing is missing.
        blind.far.relative_bias_without_cross_term = 0.0;
        blind.verdict().unwrap();
    }
    assert!(took_more);
}

#[test]
fn variances_are_reported_against_the_dimension() {
    let plant = load_plant("switched-lqr-2-2", &[("horizon".into(), "3".into())]).unwrap();
    let report = gradcheck(&plant, 2_000, 1, &[2, 4]).unwrap();
    let sizes: Vec<(usize, usize)> = report.dimensions.iter().map(|d| (d.n, d.horizon)).collect();
    assert_eq!(sizes, [(2, 3), (4, 3)]);
    for row in &report.dimensions {
        assert_eq!(row.parts.len(), 5);
        for part in &row.parts {
            assert!(
                part.variance > 0.0 && part.signal_to_noise >= 0.0,
                "{part:?}"
            );
            assert!(part.alignment.unwrap().abs() <= 1.0, "{part:?}");
        }
        // The score function's variance is that of 1 / deviation^2 times the costs' own, at least.
        let [small, large] = [0, 1].map(|index| row.variance_ratios[index]);
        assert_eq!((small.deviation, large.deviation), (0.1, 1.0));
        assert!(
            small.ratio > 10.0 * large.ratio && large.ratio > 1.0,
            "{row:?}"
        );
    }
    // Two sizes: the exponent is the slope between them.
    let ratio = |index: usize| report.dimensions[index].variance_ratios[1].ratio;
    let slope = (ratio(1) / ratio(0)).ln() / 2.0_f64.ln();
    assert!((report.variance_ratio_growth[1].exponent - slope).abs() < 1e-9);
    let error = gradcheck(&plant, 1024, 1, &[1]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(
        error
            .to_string()
            .contains("--dims: found 1; allowed: 2 to 64"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_listed_or_held_is_refused() {
    let plant = load_plant("switched-lqr-2-2", &[]).unwrap();
    for (samples, word) in [
        (0, "found 0; allowed: 1024 or more"),
        (1023, "found 1023; allowed: 1024 or more"),
        (usize::MAX / 32, "allowed: up to"),
    ] {
        let error = gradcheck(&plant, samples, 1, &[]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(word), "{error}");
    }
    let plant = load_plant("switched-lqr-65-65", &[]).unwrap();
    let error = gradcheck(&plant, 1024, 1, &[]).unwrap_err();
    assert!(error.to_string().contains("found 65 modes"), "{error}");
}
