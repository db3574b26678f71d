use super::*;
use crate::evaluate::reference::{
    AveragedRiccati, ReferencePolicy, RiccatiModes, simulate, simulate_trial,
};
use crate::evaluate::{Episode, episode};
use crate::plant::{Plant, load_plant};
use proptest::prelude::*;

fn perturbation(text: &str) -> Perturbation {
    text.parse().unwrap()
}

/// A plant, a controller and states for it.
fn set_up() -> (PlantModel, AveragedRiccati, Vec<Vec<f64>>) {
    let plant = load_plant("switched-lqr-4-2", &[]).unwrap();
    let policy = AveragedRiccati::new(&RiccatiModes::new(plant.lqr_data().unwrap())).unwrap();
    let states = plant.draw_states(3, Purpose::Evaluation, 40);
    (plant, policy, states)
}

fn trial<'a>(plant: &'a PlantModel, states: &'a [Vec<f64>], text: &str) -> Trial<'a> {
    let trial = Trial::nominal(plant, states, 20, 7);
    trial.perturbed(perturbation(text)).unwrap()
}

#[test]
fn specifications_are_read_and_shown() {
    let all = perturbation("params=20, sensor=0.05,delay=1,dropout=0.1,noise=2e-2");
    assert_eq!(
        all,
        Perturbation {
            params: 20.0,
            sensor: 0.05,
            delay: 1,
            dropout: 0.1,
            noise: 0.02
        }
    );
    assert_eq!(
        all.to_string(),
        "params=20,sensor=0.05,delay=1,dropout=0.1,noise=0.02"
    );
    assert_eq!(perturbation(&all.to_string()), all);
    let none = perturbation("params=0,sensor=-0.0,delay=0,dropout=0,noise=0");
    assert!(none.is_none());
    assert_eq!(none.to_string(), "nominal");
}

#[test]
fn bad_specifications_name_key_finding_and_what_is_allowed() {
    for (text, message) in [
        (
            "",
            "found ``; allowed: all, or KEY=VALUE, comma separated, with the keys params, sensor",
        ),
        ("params", "found `params`; allowed: all, or KEY=VALUE"),
        ("delay=1,", "found ``; allowed: all, or KEY=VALUE"),
        (
            "mass=3",
            "found the key `mass`; allowed: params, sensor, delay, dropout, noise",
        ),
        (
            "params=120",
            "params: found `120`; allowed: percent, 0 to 100",
        ),
        (
            "params=-1",
            "params: found `-1`; allowed: percent, 0 to 100",
        ),
        (
            "sensor=nan",
            "sensor: found `nan`; allowed: a standard deviation in units of the state, 0 or more",
        ),
        (
            "noise=inf",
            "noise: found `inf`; allowed: a standard deviation",
        ),
        (
            "delay=1.5",
            "delay: found `1.5`; allowed: whole samples, 0 to 1000",
        ),
        (
            "delay=1001",
            "delay: found `1001`; allowed: whole samples, 0 to 1000",
        ),
        (
            "dropout=1.1",
            "dropout: found `1.1`; allowed: a probability, 0 to 1",
        ),
        (
            "dropout=x",
            "dropout: found `x`; allowed: a probability, 0 to 1",
        ),
        ("delay=1,delay=2", "delay: found twice; allowed: once"),
    ] {
        let error = text.parse::<Perturbation>().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(message), "{text}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("noisy.toml");
    let mut noisy = set_up().0.resolved_toml();
    noisy = noisy.replacen("horizon", "noise = 0.1\nhorizon", 1);
    std::fs::write(&path, noisy).unwrap();
    let noisy = load_plant(path.to_str().unwrap(), &[]).unwrap();
    let states = noisy.draw_states(3, Purpose::Evaluation, 2);
    let error = Trial::nominal(&noisy, &states, 5, 1)
        .perturbed(perturbation("noise=0.1"))
        .unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("found 0.1 on plant"), "{error}");
    // And the noise of the option is that of a file that says so.
    let quiet = load_plant("switched-lqr-4-2", &[]).unwrap();
    let policy = AveragedRiccati::new(&RiccatiModes::new(quiet.lqr_data().unwrap())).unwrap();
    assert_eq!(
        simulate_trial(&trial(&quiet, &states, "noise=0.1"), &policy),
        simulate(&noisy, &policy, &states, 20, 7)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Delay and dropout against a loop written out: measurements kept in a list, losses drawn as documented.
    #[test]
    fn delay_and_dropout_are_what_they_say(delay in 0_usize..25, dropout in 0.0_f64..1.0, lossy: bool, seed: u64) {
        let (plant, policy, states) = set_up();
        let dropout = if lossy { dropout } else { 0.0 };
        let perturbation = Perturbation { delay, dropout, ..Perturbation::NONE };
        let trial = Trial::nominal(&plant, &states, 20, seed).perturbed(perturbation).unwrap();
        let found = simulate_trial(&trial, &policy);
        let dynamics = plant.build::<f64>();
        for (index, (state, found)) in states.iter().zip(found).enumerate() {
            let mut losses = Stream::new(seed, Purpose::Dropout, index as u64);
            let mut history: Vec<Vec<f64>> = vec![state.clone()];
            let (mut u, mut mode, mut cost, mut modes) = (vec![0.0; 4], 0, 0.0, Vec::new());
            for t in 0..20_usize {
                let lost = dropout > 0.0 && losses.uniform() < dropout;
                if t == 0 || !lost {
                    mode = policy.act(t, &history[t.saturating_sub(delay)], &mut u);
                }
                let mut next = vec![0.0; 4];
                cost += dynamics.step(mode, &history[t], &u, &[], &mut next);
                modes.push(mode);
                history.push(next);
            }
            prop_assert_eq!(found.cost.to_bits(), cost.to_bits());
            let switches = modes.windows(2).filter(|pair| pair[0] != pair[1]).count();
            prop_assert_eq!(found.switches as usize, switches);
        }
    }
}

#[test]
fn zero_perturbation_has_the_nominal_bits() {
    let (plant, policy, states) = set_up();
    let zero = trial(
        &plant,
        &states,
        "params=0,sensor=0,delay=0,dropout=0,noise=0",
    );
    assert_eq!(
        simulate_trial(&zero, &policy),
        simulate(&plant, &policy, &states, 20, 7)
    );
    // And every kind of perturbation does change something.
    let nominal = simulate_trial(&zero, &policy);
    for text in [
        "params=1",
        "sensor=1e-3",
        "delay=1",
        "dropout=0.5",
        "noise=1e-3",
    ] {
        assert_ne!(
            simulate_trial(&trial(&plant, &states, text), &policy),
            nominal,
            "{text}"
        );
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let (plant, policy, states) = set_up();
    let trial = trial(
        &plant,
        &states,
        "params=20,sensor=0.05,delay=2,dropout=0.2,noise=0.02",
    );
    let episodes: Vec<Vec<Episode>> = [1, 2, 5]
        .into_iter()
        .map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build()
                .unwrap()
                .install(|| simulate_trial(&trial, &policy))
        })
        .collect();
    assert_eq!(episodes[0], episodes[1]);
    assert_eq!(episodes[0], episodes[2]);
    // A longer list of states begins with the shorter one's episodes.
    let (_, _, states) = set_up();
    let few = Trial::nominal(&plant, &states[..5], 20, 7).perturbed(*trial.perturbation());
    assert_eq!(simulate_trial(&few.unwrap(), &policy)[..], episodes[0][..5]);
}

#[test]
fn mismatch_is_uniform_and_one_part_has_one_error() {
    let (plant, _, states) = set_up();
    let world = trial(&plant, &states, "params=20").world();
    let nominal = plant.lqr_data().unwrap();
    let mut factors: Vec<f64> = Vec::new();
    for episode in 0..200 {
        #[allow(irrefutable_let_patterns, reason = "true of any number of families")]
        let FamilyData::SwitchedLqr(data) = world.mismatched(episode) else {
            panic!("another family");
        };
        // The modes of this family share A; their actuators differ.
        assert_eq!(data.a[0], data.a[1]);
        assert_ne!(data.b[0], data.b[1]);
        assert_eq!((&data.q, &data.r), (&nominal.q, &nominal.r));
        let pairs = data.a[..1]
            .iter()
            .zip(&nominal.a)
            .chain(data.b.iter().zip(&nominal.b));
        for (changed, nominal) in pairs {
            for (changed, &nominal) in changed.iter().zip(nominal.iter()) {
                if nominal == 0.0 {
                    assert_eq!(*changed, 0.0);
                } else {
                    factors.push(changed / nominal);
                }
            }
        }
    }
    assert_ne!(world.mismatched(0), world.mismatched(1));
    let count = factors.len() as f64;
    assert!(
        factors
            .iter()
            .all(|f| (0.8 - 1e-12..=1.2 + 1e-12).contains(f))
    );
    let mean = factors.iter().sum::<f64>() / count;
    let variance = factors.iter().map(|f| (f - mean).powi(2)).sum::<f64>() / count;
    // Uniform on 1 +- 0.2: variance 0.04 / 3, fourth central moment 0.2^4 / 5.
    let expected = 0.04 / 3.0;
    assert!((mean - 1.0).abs() < 5.0 * (expected / count).sqrt());
    let spread = ((0.2_f64.powi(4) / 5.0 - expected * expected) / count).sqrt();
    assert!((variance - expected).abs() < 5.0 * spread);
}

/// What reaches the controller does not depend on what the controller did.
#[test]
fn draws_are_the_same_for_every_controller() {
    let perturbation = perturbation("sensor=0.5,dropout=0.3");
    let errors = |value: f64| -> Vec<Option<f64>> {
        let mut link = Link::new(&perturbation, 5, 9);
        (0..200)
            .map(|t| link.measure(t, &[value * t as f64, 0.0]).map(|x| x[1]))
            .collect()
    };
    assert_eq!(errors(0.0), errors(17.0));
    assert!(errors(0.0)[0].is_some());
    let other = Link::new(&perturbation, 5, 10)
        .measure(0, &[0.0, 0.0])
        .unwrap()[1];
    assert_ne!(errors(0.0)[0], Some(other));
}

#[test]
fn sensor_noise_and_losses_have_the_stated_size() {
    let mut link = Link::new(&perturbation("sensor=0.5,dropout=0.3"), 5, 0);
    let (mut lost, mut errors) = (0.0, Vec::new());
    let count = 20_000;
    for t in 0..count {
        match link.measure(t, &[3.0, -4.0]) {
            Some(x) => errors.extend([x[0] - 3.0, x[1] + 4.0]),
            None => lost += 1.0,
        }
    }
    let count = count as f64;
    assert!((lost / count - 0.3).abs() < 5.0 * (0.3 * 0.7 / count).sqrt());
    let n = errors.len() as f64;
    let mean = errors.iter().sum::<f64>() / n;
    let variance = errors.iter().map(|e| e * e).sum::<f64>() / n;
    assert!(mean.abs() < 5.0 * 0.5 / n.sqrt());
    // Var of the square of a normal number: 2 sigma^4.
    assert!((variance - 0.25).abs() < 5.0 * (2.0 / n).sqrt() * 0.25);
    // Successive errors of one sensor are independent.
    let pairs: f64 = errors.windows(3).map(|e| e[0] * e[2]).sum::<f64>() / n;
    assert!(pairs.abs() < 5.0 * 0.25 / n.sqrt());
}

#[test]
fn a_controller_that_is_never_heard_holds_its_first_action() {
    let (plant, policy, states) = set_up();
    let dynamics = plant.build::<f64>();
    let held = trial(&plant, &states[..1], "dropout=1");
    let mut u = vec![0.0; 4];
    let mode = policy.act(0, &states[0], &mut u);
    let mut link = Link::new(&Perturbation::NONE, 0, 0);
    let world = held.world();
    let mut noise = world.setting(0);
    let act = |_: usize, _: &[f64], out: &mut [f64]| {
        out.copy_from_slice(&u);
        episode::Action {
            mode,
            ..Default::default()
        }
    };
    let by_hand = episode::run_episode(
        &dynamics,
        &mut link,
        &mut noise,
        &states[0],
        20,
        act,
        |_, _| {},
    );
    assert_eq!(simulate_trial(&held, &policy), vec![by_hand]);
}
