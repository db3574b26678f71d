//! The count of operations, by hand and against what the kernels are given.

use super::*;
use crate::numeric::dense;
use crate::train::settings::CrossTerm;

fn parts(workload: &Workload) -> (Model, Critic) {
    let model = Model::new(policy_shape(&workload.plant, &workload.settings));
    let critic = Critic::new(model.shape(), &workload.settings.critic);
    (model, critic)
}

fn counted(workload: &Workload) -> u64 {
    let (model, critic) = parts(workload);
    let horizon = workload.plant.horizon();
    flops::epoch(&model, &critic, &workload.settings.train, horizon)
}

/// The paper's [64,64] networks on 8 states, 8 controls, 4 modes, with a critic of 36 monomials, 8
/// coordinates and a [64,64] network, by hand.
#[test]
fn operations_by_hand() {
    let workload = workload::paper("by-hand", "[64,64]", "[64,64]").expect("settings");
    let (s, s1) = (2 * (8 * 64 + 64 * 64 + 64 * 4), 2 * (64 * 64 + 64 * 4));
    let control = 2 * (8 * 64 + 64 * 64 + 64 * 8);
    let (c, c1) = (2 * (36 + 8 + 8 * 64 + 64 * 64 + 64), 2 * (64 * 64 + 64));
    let samples = 128 * 20;
    let update = samples * (s + control + c)
        + 128 * c
        + samples * (2 * s + 2 * control)
        + samples * 4 * (2 * s + s1)
        + samples * 5 * (2 * c + c1);
    assert_eq!(counted(&workload), 8 * update);
    // Both figures of the issue.
    assert!((6.5..7.5).contains(&(counted(&workload) as f64 * 1e-9)));
    let wide = workload::paper("by-hand", "[512,512]", "[64,64]").expect("settings");
    assert!((190.0..210.0).contains(&(counted(&wide) as f64 * 1e-9)));
}

/// What the kernels are given in an epoch is what the formula says, where all choices share one law.
#[test]
fn operations_are_those_of_the_kernels() {
    // One thread, which is this one: the count is the thread's own.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build()
        .expect("a pool");
    for cross_term in [CrossTerm::On, CrossTerm::Off] {
        let mut workload = workload::paper("small", "[12,7]", "[9]").expect("settings");
        workload.settings.train.batch = 32;
        workload.settings.train.batches_per_epoch = 2;
        workload.settings.train.cross_term = cross_term;
        let (model, critic) = parts(&workload);
        let plant = workload.plant.build::<f32>();
        let settings = &workload.settings;
        let mut hpo = Learner::new(&plant, &workload.plant, &model, &critic, settings, 1);
        let mut state = State::new(&model, &critic, settings, 1);
        let before = dense::operations();
        pool.install(|| hpo.epoch(&mut state));
        assert_eq!(
            dense::operations() - before,
            counted(&workload),
            "{cross_term:?}"
        );
        assert_eq!(state.env_steps, 2 * 32 * 20);
    }
}

#[test]
fn report_has_every_figure() {
    let config = BenchConfig {
        threads: 1,
        filter: "peak".to_owned(),
        seconds: 0.0,
    };
    let report = bench(&config, &mut |_| ()).expect("a report");
    let names: Vec<&str> = report.entries.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(
        names,
        ["peak/one-core", "peak/one-core-cpu", "peak/all-cores"]
    );
    assert_eq!(report.threads, 1);

    let mut workload = workload::paper("small", "[3]", "[3]").expect("settings");
    workload.settings.train.batch = 16;
    workload.settings.train.batches_per_epoch = 1;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a pool");
    for budget in [0.0, 0.5] {
        let entries = measure(&workload, &pool, budget, &mut Peaks::default());
        for entry in &entries {
            assert!(entry.figure.is_finite() && entry.figure >= 0.0, "{entry:?}");
        }
        let figure = |name: &str| {
            let found = entries.iter().find(|e| e.name == format!("small/{name}"));
            found.map_or(f64::NAN, |e| e.figure)
        };
        assert_eq!(figure("simulator-calls"), 320.0);
        let time: f64 = Phase::ALL
            .iter()
            .map(|phase| figure(&format!("time-{}", phase.name())))
            .sum();
        assert!((time - 100.0).abs() < 1e-6, "{time}");
        assert!(figure("epoch") <= figure("epoch-median"));
    }
}

#[test]
fn bad_requests_are_named() {
    let config = BenchConfig {
        threads: 1,
        filter: String::new(),
        seconds: 0.0,
    };
    for (config, part) in [
        (
            BenchConfig {
                threads: 5000,
                ..config.clone()
            },
            "--threads: found 5000",
        ),
        (
            BenchConfig {
                seconds: f64::NAN,
                ..config.clone()
            },
            "--seconds: found NaN",
        ),
        (
            BenchConfig {
                filter: "nothing".to_owned(),
                ..config
            },
            "--filter: found nothing",
        ),
    ] {
        let error = bench(&config, &mut |_| ())
            .expect_err("refused")
            .to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn median_of_even_and_odd() {
    assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
}
