//! Updates are the same bits for every instruction set and number of threads.

use super::*;
use crate::plant::load_plant;
use crate::policy::Model;
use crate::train::critic::Critic;
use crate::train::learner::Learner;
use crate::train::run::{plant_traits, policy_shape};
use crate::train::settings::Settings;
use pulp::Arch;

/// State after two epochs of two updates on a small plant.
fn trained(sets: &[(&str, &str)], arch: Arch, threads: usize) -> (State, EpochMetrics) {
    let pairs = |sets: &[(&str, &str)]| -> Vec<(String, String)> {
        sets.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let description = load_plant("switched-lqr-5-2", &pairs(&[("horizon", "7")])).expect("a plant");
    let mut all = vec![
        ("train.batch", "80"),
        ("train.batches_per_epoch", "2"),
        ("train.epochs", "2"),
    ];
    all.extend_from_slice(sets);
    let settings = Settings::resolve(&pairs(&all), plant_traits(&description)).expect("settings");
    let model = Model::new(policy_shape(&description, &settings));
    let critic = Critic::new(model.shape(), &settings.critic.hidden);
    let plant = description.build::<f32>();
    let mut hpo = Learner::new(&plant, &description, &model, &critic, &settings, 5);
    hpo.use_instructions(arch);
    let mut state = State::new(&model, &critic, &settings, 5);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads");
    let mut metrics = EpochMetrics::default();
    for _ in 0..2 {
        metrics = pool.install(|| hpo.epoch(&mut state));
    }
    assert!(state.is_finite());
    (state, metrics)
}

const KINDS: [&[(&str, &str)]; 4] = [
    &[],
    &[
        ("train.advantage", "gae"),
        ("train.passes", "3"),
        ("policy.selector_hidden", "[9]"),
    ],
    &[
        ("train.variant", "exact"),
        ("policy.control_hidden", "[17]"),
    ],
    &[
        ("train.variant", "exact"),
        ("train.advantage", "monte-carlo"),
    ],
];

/// On a machine without vector instructions both runs take the same path; CI machines have them.
#[test]
fn every_instruction_set_gives_the_same_bits() {
    use crate::numeric::arch::{available, choose};
    for sets in KINDS {
        let expected = trained(sets, Arch::new(), 1);
        for (index, (name, arch)) in available().into_iter().enumerate() {
            // Of the pieces of an update, and of the kernels within.
            choose(Some(index));
            assert_eq!(trained(sets, arch, 1), expected, "{name}, {sets:?}");
        }
        choose(None);
    }
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    for sets in KINDS {
        let one = trained(sets, Arch::new(), 1);
        for threads in [2, 3] {
            assert_eq!(trained(sets, Arch::new(), threads), one, "{sets:?}");
        }
    }
}

/// Look-ahead branches count as simulator calls.
#[test]
fn every_simulator_call_counts() {
    let trajectories = 2 * 2 * 80 * 7;
    let (state, _) = trained(&[("train.advantage", "gae")], Arch::new(), 1);
    assert_eq!(state.env_steps, trajectories);
    let (state, _) = trained(&[("policy.laws_per_mode", "3")], Arch::new(), 1);
    assert_eq!(state.env_steps, trajectories * 6);
}
