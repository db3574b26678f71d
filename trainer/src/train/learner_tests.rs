//! What holds for every algorithm.

use super::*;
use crate::plant::load_plant;
use crate::train::run::{plant_traits, policy_shape};
use crate::train::settings::Structure;
use crate::train::testing::{pairs, trained};

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Hpo,
    Algorithm::Ppo,
    Algorithm::Reinforce,
    Algorithm::Gumbel,
];
const STRUCTURES: [Structure; 3] = [
    Structure::Quadratic,
    Structure::Plain,
    Structure::Structured,
];

fn words(algo: Algorithm, structure: Structure) -> [(&'static str, &'static str); 2] {
    [
        ("train.algo", algo.name()),
        ("policy.structure", structure.name()),
    ]
}

/// On a machine without vector instructions both runs take the same path; CI machines have them.
#[test]
fn every_instruction_set_and_number_of_threads_gives_the_same_bits() {
    for algo in ALGORITHMS {
        for structure in STRUCTURES {
            let sets = words(algo, structure);
            let expected = trained(&sets, Arch::Scalar, 1);
            assert_eq!(trained(&sets, Arch::new(), 3), expected, "{sets:?}");
        }
    }
}

/// Every simulator call counts, and the number that an epoch will make is known before.
#[test]
fn every_simulator_call_counts() {
    for algo in ALGORITHMS {
        for structure in STRUCTURES {
            let (state, _, mut settings) = trained(&words(algo, structure), Arch::new(), 1);
            let choices = 2 * settings.policy.laws_per_mode as u64;
            let calls = match algo {
                Algorithm::Hpo | Algorithm::Gumbel => choices,
                Algorithm::Ppo | Algorithm::Reinforce => 1,
            };
            assert_eq!(
                state.env_steps,
                2 * 2 * 80 * 7 * calls,
                "{algo:?} {structure:?}"
            );
            assert_eq!(settings.env_steps_per_epoch(2, 7) * 2, state.env_steps);
            settings
                .limit_env_steps(state.env_steps * 3 / 2 + 1, 2, 7)
                .expect("three epochs");
            assert_eq!(settings.train.epochs, 3);
            let error = settings.limit_env_steps(100, 2, 7).expect_err("too few");
            assert_eq!(error.exit_code(), 2);
        }
    }
}

/// While the critic warms up it alone changes; then the policy does.
#[test]
fn critic_warms_up_alone() {
    let description = load_plant("switched-lqr-3-2", &[]).expect("a ready plant");
    for algo in ALGORITHMS {
        let sets = [
            ("train.algo", algo.name()),
            ("train.epochs", "4"),
            ("train.critic_warmup", "50"),
        ];
        let settings = Settings::resolve(&pairs(&sets), plant_traits(&description));
        if algo == Algorithm::Gumbel {
            let message = settings.expect_err("no critic").to_string();
            assert!(message.contains("train.critic_warmup"), "{message}");
            continue;
        }
        let settings = settings.expect("settings");
        let model = Model::new(policy_shape(&description, &settings));
        let critic = Critic::new(model.shape(), &settings.critic);
        let plant = description.build::<f32>();
        let mut state = State::new(&model, &critic, &settings, 5);
        let start = state.clone();
        let mut learner = Learner::new(&plant, &description, &model, &critic, &settings, 5);
        for epoch in 0..3 {
            learner.epoch(&mut state);
            let still = (&state.parameters, &state.log_std) == (&start.parameters, &start.log_std);
            assert_eq!(still, epoch < 2, "{algo:?}");
            assert_ne!(state.critic, start.critic, "{algo:?}");
        }
    }
}

/// A start's default warm-up is for algorithms with a critic.
#[test]
fn a_start_leaves_gumbel_without_warm_up() {
    let description = load_plant("switched-lqr-3-2", &[]).expect("a ready plant");
    for (algo, percent) in [("ppo", 2), ("gumbel", 0)] {
        let sets = [("train.algo", algo), ("train.start", "averaged-riccati")];
        let settings = Settings::resolve(&pairs(&sets), plant_traits(&description));
        assert_eq!(settings.expect("settings").train.critic_warmup, percent);
    }
}

/// Costs fall with every algorithm and structure (a short run on an easy plant).
#[test]
fn every_algorithm_learns() {
    let description = load_plant("switched-lqr-3-2", &[]).expect("a ready plant");
    for algo in ALGORITHMS {
        for structure in STRUCTURES {
            let sets = [
                ("train.algo", algo.name()),
                ("policy.structure", structure.name()),
                ("train.epochs", "12"),
            ];
            let settings =
                Settings::resolve(&pairs(&sets), plant_traits(&description)).expect("settings");
            let model = Model::new(policy_shape(&description, &settings));
            let critic = Critic::new(model.shape(), &settings.critic);
            let plant = description.build::<f32>();
            let mut state = State::new(&model, &critic, &settings, 5);
            let mut learner = Learner::new(&plant, &description, &model, &critic, &settings, 5);
            let costs: Vec<f64> = (0..12).map(|_| learner.epoch(&mut state).cost).collect();
            assert!(
                costs[11] < 0.5 * costs[0],
                "{algo:?} {structure:?}: {costs:?}"
            );
        }
    }
}
