//! Trained policies beyond their training: perturbed loops, and runs far longer than the horizon.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use firmware::{ControllerState, SCRATCH_LEN, boot, control_step};
use trainer::evaluate::closed_loop::{Evaluation, Selection, evaluate_policy, policy_episodes};
use trainer::evaluate::perturb::{Perturbation, Trial};
use trainer::evaluate::reference::RiccatiModes;
use trainer::evaluate::robustness::{Scenario, Subject, robustness};
use trainer::export::PolicyBuffer;
use trainer::numeric::random::{Purpose, Stream};
use trainer::plant::{Plant, PlantModel, load_plant};
use trainer::train::run::{TrainConfig, plant_traits, train};
use trainer::train::settings::Settings;

/// A plant and a policy that has been trained on it for a second or so.
fn trained(plant: &str, epochs: &str, folder: &Path) -> (PlantModel, PolicyBuffer) {
    let plant = load_plant(plant, &[]).unwrap();
    let sets = [("train.epochs".to_owned(), epochs.to_owned())];
    let config = TrainConfig {
        settings: Settings::resolve(&sets, plant_traits(&plant)).unwrap(),
        plant: plant.clone(),
        seed: 1,
        out: folder.join(plant.name()),
        resume: false,
        threads: 0,
    };
    let report = train(&config, &AtomicBool::new(false), &mut |_| {}).unwrap();
    (plant, PolicyBuffer::read(&report.policy).unwrap())
}

fn perturbation(text: &str) -> Perturbation {
    text.parse().unwrap()
}

/// The firmware's control step in a loop written out: measurements late and noisy, some lost.
#[test]
fn a_policy_under_perturbation_is_the_firmware_in_a_hand_written_loop() {
    let folder = tempfile::tempdir().unwrap();
    let (plant, policy) = trained("switched-lqr-3-2", "4", folder.path());
    let states = plant.draw_states(5, Purpose::Evaluation, 24);
    let steps = plant.horizon();
    let nominal = Trial::nominal(&plant, &states, steps, 9);
    let mut scratch = [0.0; SCRATCH_LEN];
    let armed = boot(policy.bytes(), plant.target_class(), &mut scratch);
    for (text, delay, sensor, dropout, noise) in [
        ("delay=0", 0, 0.0, 0.0, 0.0),
        ("delay=1", 1, 0.0, 0.0, 0.0),
        ("delay=3,sensor=0.2,dropout=0.3,noise=0.1", 3, 0.2, 0.3, 0.1),
    ] {
        let trial = nominal.perturbed(perturbation(text)).unwrap();
        let found = policy_episodes(&trial, policy.bytes(), Selection::ArgMax).unwrap();
        let mut data = plant.lqr_data().unwrap().clone();
        if noise > 0.0 {
            data.noise_std = vec![noise; 3];
        }
        let dynamics = trainer::plant::SwitchedLqr::<f64>::from_data(&data);
        for (index, state) in states.iter().enumerate() {
            let stream = |purpose| Stream::new(9, purpose, index as u64);
            let (mut errors, mut losses) = (stream(Purpose::Sensor), stream(Purpose::Dropout));
            let mut process = stream(Purpose::Noise);
            let mut memory = ControllerState::new();
            let mut measured: Vec<Vec<f32>> = Vec::new();
            let (mut x, mut next) = (state.clone(), vec![0.0; 3]);
            let (mut u, mut mode, mut cost) = (vec![0.0_f32; 3], 0, 0.0);
            for t in 0..steps {
                let reading = x.iter().map(|&x| match sensor > 0.0 {
                    true => (x + sensor * errors.normal()) as f32,
                    false => x as f32,
                });
                measured.push(reading.collect());
                let lost = dropout > 0.0 && losses.uniform() < dropout && t > 0;
                if !lost {
                    let late = &measured[t.saturating_sub(delay)];
                    let outcome = control_step(&armed, &mut memory, late, &mut u, &mut scratch);
                    mode = usize::from(outcome.mode);
                }
                let wide: Vec<f64> = u.iter().map(|&u| f64::from(u)).collect();
                let w: Vec<f64> = data.noise_std.iter().map(|_| process.normal()).collect();
                cost += dynamics.step(mode, &x, &wide, &w, &mut next);
                std::mem::swap(&mut x, &mut next);
            }
            assert_eq!(
                found[index].cost.to_bits(),
                cost.to_bits(),
                "{text}, {index}"
            );
        }
        let evaluation = Evaluation::new(&found);
        if trial.perturbation().is_none() {
            let plain =
                evaluate_policy(&plant, policy.bytes(), &states, steps, 9, Selection::ArgMax);
            assert_eq!(plain.unwrap(), evaluation);
        }
    }
}

/// White process noise of covariance W: the regulator of the one mode costs trace(P W) per step, nothing costs less,
/// and a trained policy little more, 500 horizons beyond its training.
#[test]
fn a_trained_policy_costs_the_trace_of_p_w_per_step_for_ten_thousand_steps() {
    let folder = tempfile::tempdir().unwrap();
    let (plant, policy) = trained("switched-lqr-3-1", "100", folder.path());
    let sigma = 0.3;
    let p = RiccatiModes::new(plant.lqr_data().unwrap())
        .algebraic(0)
        .unwrap();
    let least = p.trace() * sigma * sigma;
    let states = vec![vec![0.0; 3]; 32];
    let trial = Trial::nominal(&plant, &states, 10_000, 2);
    let trial = trial.perturbed(perturbation("noise=0.3")).unwrap();
    let episodes = policy_episodes(&trial, policy.bytes(), Selection::ArgMax).unwrap();
    let evaluation = Evaluation::new(&episodes);
    let (cost, error) = (evaluation.mean_cost / 1e4, evaluation.std_error / 1e4);
    assert!(error < 0.005 * least, "{error} {least}");
    assert!(cost > least - 5.0 * error, "{cost} {least} {error}");
    assert!(cost < 1.01 * least + 5.0 * error, "{cost} {least} {error}");
    assert_eq!(
        (evaluation.clamped_episodes, evaluation.fallback_steps),
        (0, 0)
    );
}

#[test]
fn a_trained_hybrid_policy_stays_bounded_for_ten_thousand_noisy_steps() {
    let folder = tempfile::tempdir().unwrap();
    let (plant, policy) = trained("switched-lqr-3-2", "100", folder.path());
    let states = plant.draw_states(5, Purpose::Evaluation, 16);
    let scenario = Scenario {
        name: "noise".into(),
        perturbation: perturbation("noise=0.1"),
    };
    let subject = Subject::Policy("trained", policy.bytes());
    let table = robustness(&plant, subject, &states, 10_000, 4, &[scenario], &|_| {}).unwrap();
    let rows = &table.scenarios[0].controllers;
    assert_eq!(rows[0].controller, "trained");
    assert_eq!(rows.len(), 5);
    assert_eq!((rows[0].clamped_episodes, rows[0].fallback_steps), (0, 0));
    // Better than one mode and than a fixed rotation; averaged Riccati is the one to come near.
    for row in rows
        .iter()
        .filter(|row| row.controller.starts_with("fixed") || row.controller == "round-robin")
    {
        assert!(rows[0].mean_cost < 0.95 * row.mean_cost, "{row:?}");
    }
    assert!(rows[0].averaged_percent.unwrap() < 2.0, "{:?}", rows[0]);
    // Paired on the same noise, the difference is known far better than either cost.
    let unpaired = 100.0 * rows[0].std_error / rows[0].mean_cost;
    assert!(
        rows[0].averaged_percent_std_error.unwrap() < 0.5 * unpaired,
        "{:?}",
        rows[0]
    );
}
