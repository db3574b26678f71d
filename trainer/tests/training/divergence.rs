//! Runs that diverge, and runs that must not.

use std::sync::atomic::AtomicBool;

use trainer::Error;
use trainer::export::policy_file;
use trainer::plant::load_plant;
use trainer::policy::Model;
use trainer::train::run::{TrainConfig, TrainEvent, plant_traits, policy_shape, train};
use trainer::train::settings::Settings;

use super::support::{config, interrupt_after, is_valid_policy};

/// Epochs of a default run that are looked at: the last of them is the first that is validated.
const EPOCHS: usize = 10;

#[test]
fn divergence_names_its_epoch_and_keeps_the_last_good_policy() {
    let folder = tempfile::tempdir().expect("a folder");
    // The cost of a control of 1e25 is beyond f32.
    let config = config(&[("train.step_gains", "1e25")], folder.path());
    let mut epochs = 0;
    let error = train(&config, &AtomicBool::new(false), &mut |event| {
        if matches!(event, TrainEvent::Epoch { .. }) {
            epochs += 1;
        }
    })
    .expect_err("a diverged run");
    // No parameter that is not finite is ever exported.
    let plant = &config.plant;
    let model = Model::new(policy_shape(plant, &config.settings));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, model.parameters() / 2, model.parameters() - 1] {
            let mut parameters = vec![0.0; model.parameters()];
            parameters[at] = bad;
            let error = policy_file(plant, &model, &parameters).expect_err("a policy of NaN");
            assert!(error.to_string().contains("not finite"), "{error}");
        }
    }
    assert!(matches!(error, Error::Negative(_)), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains(&format!("diverged in epoch {}", epochs + 1)),
        "{message}"
    );
    for part in [
        "at update",
        "of 2",
        "likely cause",
        "train.step_gains = 1e25",
        "of epoch 0",
    ] {
        assert!(message.contains(part), "`{part}`: {message}");
    }
    assert!(is_valid_policy(&folder.path().join("policy.hpo")));
}

/// No algorithm diverges with its defaults, whatever the structure: the first epochs, in which the steps are greatest,
/// of the runs that `hpo train` makes. Noise in a score function moves large gains the most: those algorithms meet a larger plant too.
#[test]
fn no_default_run_diverges() {
    const ALL: [&str; 4] = ["hpo", "ppo", "reinforce", "gumbel"];
    for (plant, algorithms) in [
        ("switched-lqr-3-2", &ALL[..]),
        ("switched-lqr-8-2", &ALL[..]),
        ("switched-lqr-8-4", &ALL[..]),
        ("switched-lqr-16-4", &ALL[1..3]),
    ] {
        let plant = load_plant(plant, &[]).expect("a ready plant");
        for algo in algorithms {
            for structure in ["quadratic", "plain", "structured"] {
                let sets = [("train.algo", *algo), ("policy.structure", structure)]
                    .map(|(key, value)| (key.to_owned(), value.to_owned()));
                let folder = tempfile::tempdir().expect("a folder");
                let config = TrainConfig {
                    settings: Settings::resolve(&sets, plant_traits(&plant)).expect("defaults"),
                    plant: plant.clone(),
                    seed: 1,
                    out: folder.path().to_path_buf(),
                    resume: false,
                    threads: 0,
                };
                // A run that diverges ends with another error than the interruption's.
                interrupt_after(&config, EPOCHS);
            }
        }
    }
}
