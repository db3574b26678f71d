use super::*;
use crate::evaluate::reference::RiccatiModes;
use crate::numeric::Purpose;
use crate::plant::load_plant;

fn episodes(costs: &[f64]) -> Vec<Episode> {
    let episode = |&cost: &f64| Episode {
        cost,
        ..Episode::default()
    };
    costs.iter().map(episode).collect()
}

#[test]
fn ratios_are_paired() {
    let costs = [3.0, 5.0, 11.0, 2.0];
    let more: Vec<f64> = costs.iter().map(|c| 1.1 * c).collect();
    let (percent, error) = ratio(&episodes(&more), &episodes(&costs)).unwrap();
    // The same ratio in every episode: however far the episodes differ, nothing is uncertain.
    assert!(
        (percent - 10.0).abs() < 1e-10 && error < 1e-10,
        "{percent} {error}"
    );
    // Against a constant the ratio's error is that of the mean.
    let (_, error) = ratio(&episodes(&costs), &episodes(&[2.0; 4])).unwrap();
    let expected = Evaluation::new(&episodes(&costs)).std_error / 2.0 * 100.0;
    assert!((error - expected).abs() < 1e-10, "{error} {expected}");
    assert_eq!(ratio(&episodes(&costs), &episodes(&[0.0; 4])), None);
}

/// The delta method against what the percentages of many tables really scatter by.
#[test]
fn the_standard_error_is_the_scatter_of_repetitions() {
    let plant = load_plant("switched-lqr-3-2", &[]).unwrap();
    let scenario = Scenario {
        name: "all".into(),
        perturbation: "params=20,sensor=0.3,dropout=0.1".parse().unwrap(),
    };
    let (mut percents, mut errors) = (Vec::new(), Vec::new());
    for seed in 0..60 {
        let states = plant.draw_states(seed, Purpose::Evaluation, 64);
        let subject = Subject::Reference("round-robin");
        let scenarios = std::slice::from_ref(&scenario);
        let table = robustness(&plant, subject, &states, 20, seed, scenarios, &|_| {}).unwrap();
        let row = &table.scenarios[0].controllers[0];
        percents.push(row.averaged_percent.unwrap());
        errors.push(row.averaged_percent_std_error.unwrap());
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let center = mean(&percents);
    let square: Vec<f64> = percents.iter().map(|p| (p - center).powi(2)).collect();
    let scatter = (mean(&square) * 60.0 / 59.0).sqrt();
    // 60 repetitions know a standard deviation to some 9 %.
    let ratio = mean(&errors) / scatter;
    assert!((0.6..1.6).contains(&ratio), "{} {scatter}", mean(&errors));
}

#[test]
fn the_suite_runs_every_controller_on_the_same_episodes() {
    let plant = load_plant("switched-lqr-3-2", &[]).unwrap();
    let states = &plant.test_states().unwrap()[..48];
    let suite = standard_suite(&plant);
    let rows = std::sync::Mutex::new(Vec::new());
    let progress = |event: RobustnessEvent| {
        if let RobustnessEvent::Row { done, total } = event {
            rows.lock().unwrap().push((done, total));
        }
    };
    let subject = Subject::Reference("fixed-mode:0");
    let table = robustness(&plant, subject, states, 20, 1, &suite, &progress).unwrap();
    assert_eq!(table.scenarios.len(), 6);
    assert_eq!(table.scenarios[0].perturb, "nominal");
    // 2 % of 10 / sqrt(3), two digits.
    assert_eq!(
        table.scenarios[5].perturb,
        "params=20,sensor=0.12,delay=1,dropout=0.1"
    );
    let controllers = table.scenarios[0].controllers.len();
    let expected: Vec<(usize, usize)> = (1..=6 * controllers)
        .map(|k| (k, 6 * controllers))
        .collect();
    assert_eq!(*rows.lock().unwrap(), expected);
    for scenario in &table.scenarios {
        let rows = &scenario.controllers;
        assert_eq!(rows[0].controller, "fixed-mode:0");
        assert_eq!(rows[1].controller, AVERAGED);
        assert_eq!(rows[1].averaged_percent, Some(0.0));
        assert_eq!(rows[1].averaged_percent_std_error, Some(0.0));
        assert_eq!(
            rows.iter()
                .filter(|r| r.controller == "fixed-mode:0")
                .count(),
            1
        );
        for row in rows {
            let nominal = scenario.perturb == "nominal";
            assert_eq!(row.nominal_percent == Some(0.0), nominal, "{row:?}");
            assert_eq!(row.fallback_steps, 0);
            assert!((row.cost_per_step - row.mean_cost / 20.0).abs() < 1e-12);
        }
    }
    // A table goes through JSON unchanged.
    let text = serde_json::to_string(&table).unwrap();
    assert_eq!(
        serde_json::from_str::<RobustnessTable>(&text).unwrap(),
        table
    );
}

#[test]
fn episodes_that_diverge_are_counted() {
    let plant = load_plant("switched-lqr-3-2", &[]).unwrap();
    let states = &plant.test_states().unwrap()[..16];
    let scenario = |spec: &str| Scenario {
        name: spec.into(),
        perturbation: spec.parse().unwrap(),
    };
    // Nothing arrives after the first sample and the open loop is unstable.
    let scenarios = [scenario("dropout=0"), scenario("dropout=1")];
    let subject = Subject::Reference("averaged-riccati");
    let table = robustness(&plant, subject, states, 60, 1, &scenarios, &|_| {}).unwrap();
    let counts = |index: usize| {
        let row = &table.scenarios[index].controllers[0];
        (row.clamped_episodes, row.clamped_steps > 0)
    };
    assert_eq!(counts(0), (0, false));
    assert_eq!(counts(1), (16, true));
    assert!(
        table.notes.iter().any(|note| note.contains("stationary")),
        "{:?}",
        table.notes
    );
}

/// A linear plant of one mode under its own regulator and white noise of covariance W: from the origin, N steps cost
/// N trace(P W) less what the last state would still cost (value of the average-cost problem; Bertsekas, Dynamic
/// Programming and Optimal Control, vol. 2, section 5.6).
#[test]
fn long_noisy_runs_cost_the_trace_of_p_w() {
    let plant = load_plant("switched-lqr-3-1", &[]).unwrap();
    let modes = RiccatiModes::new(plant.lqr_data().unwrap());
    let p = modes.algebraic(0).unwrap();
    let (steps, sigma) = (10_000, 0.3);
    let states = vec![vec![0.0; 3]; 32];
    let scenario = Scenario {
        name: "noise".into(),
        perturbation: Perturbation {
            noise: sigma,
            ..Perturbation::NONE
        },
    };
    let subject = Subject::Reference("fixed-mode:0");
    let table = robustness(&plant, subject, &states, steps, 3, &[scenario], &|_| {}).unwrap();
    let expected = p.trace() * sigma * sigma;
    for row in &table.scenarios[0].controllers {
        // With one mode every reference is the regulator.
        let error = row.std_error / steps as f64;
        let tolerance = 5.0 * error + 5.0 * expected / steps as f64;
        assert!(error < 0.01 * expected, "{row:?}");
        assert!(
            (row.cost_per_step - expected).abs() < tolerance,
            "{row:?} {expected}"
        );
        assert_eq!(row.clamped_episodes, 0);
    }
}

#[test]
fn what_cannot_be_run_is_refused() {
    let plant = load_plant("switched-lqr-3-2", &[]).unwrap();
    let states = &plant.test_states().unwrap()[..2];
    let error = robustness(
        &plant,
        Subject::Reference("pid"),
        states,
        5,
        1,
        &[],
        &|_| {},
    );
    let error = error.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(
        error
            .to_string()
            .contains("found pid; allowed: fixed-mode:K"),
        "{error}"
    );
    let garbage = Subject::Policy("p", &[0; 64]);
    let error = robustness(&plant, garbage, states, 5, 1, &[], &|_| {}).unwrap_err();
    assert!(error.exit_code() > 0);
}
