//! Order of the integrator, exact adjoints, physics, plant files.

use proptest::prelude::*;

use super::*;
use crate::evaluate::reference::simulate;
use crate::numeric::{Dual, LANES, Lanes, Purpose, Stream};
use crate::plant::family::FamilyData;
use crate::plant::{PlantModel, load_plant};

const NAMES: [&str; 4] = ["satellite-axis", "buck-boost", "three-tank", "geared-car"];

fn plant(name: &str) -> PlantModel {
    load_plant(name, &[]).unwrap()
}

/// The plant of a file made of a ready plant's text with `from` replaced.
fn changed(name: &str, from: &str, to: &str) -> crate::Result<PlantModel> {
    let text = plant(name).source_text().to_owned();
    assert!(text.contains(from), "{from}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plant.toml");
    std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
    load_plant(file.to_str().unwrap(), &[])
}

/// A state of the initial box and a control inside the bounds.
fn draw(plant: &PlantModel, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let mut stream = Stream::new(seed, Purpose::Generator, 5);
    let mut x = vec![0.0; plant.dims().state];
    plant.draw_initial(&mut stream, &mut x);
    let bounds = plant.bounds().unwrap();
    let edges = bounds.lower.iter().zip(&bounds.upper);
    let u = edges.map(|(l, h)| l + (h - l) * (0.02 + 0.96 * stream.uniform()));
    (x, u.collect())
}

/// State after `time` seconds in `parts` maps of `substeps` substeps each.
fn integrate<M: Model>(
    model: &M,
    time: f64,
    (parts, substeps): (usize, usize),
    mode: usize,
    x: &[f64],
    u: &[f64],
) -> Vec<f64> {
    let dims = Dims {
        state: M::STATE,
        control: M::CONTROL,
        modes: M::MODES,
        noise: 0,
    };
    let map = Sampled::new(dims, model.over::<f64>(), time / parts as f64, substeps);
    let (mut x, mut next) = (x.to_vec(), vec![0.0; M::STATE]);
    for _ in 0..parts {
        map.step(mode, &x, u, &[], &mut next);
        std::mem::swap(&mut x, &mut next);
    }
    x
}

/// Error of 1, 2 and 4 substeps over `time`, against very small ones.
fn errors<M: Model>(model: &M, time: f64, mode: usize, x: &[f64], u: &[f64]) -> [f64; 3] {
    let exact = integrate(model, time, (256, 8), mode, x, u);
    [1, 2, 4].map(|substeps| {
        let found = integrate(model, time, (1, substeps), mode, x, u);
        let square = found.iter().zip(&exact).map(|(a, b)| (a - b).powi(2));
        square.sum::<f64>().sqrt()
    })
}

/// Halving the step divides the error by sixteen.
fn assert_order_four(errors: [f64; 3]) {
    for pair in errors.windows(2) {
        let order = (pair[0] / pair[1]).log2();
        assert!((3.6..4.5).contains(&order), "order {order} of {errors:?}");
    }
}

#[test]
fn the_integrator_is_of_order_four() {
    let FamilyData::BuckBoost(buck) = plant("buck-boost").family().clone() else {
        panic!("kind");
    };
    for mode in 0..4 {
        let found = errors(&buck.model, 4e-4, mode, &[2.0, 9.0, 12.0], &[0.6, 0.3]);
        assert!(found[0] > 1e-6, "{found:?}");
        assert_order_four(found);
    }
    let FamilyData::ThreeTank(tank) = plant("three-tank").family().clone() else {
        panic!("kind");
    };
    for mode in 0..4 {
        assert_order_four(errors(
            &tank.model,
            60.0,
            mode,
            &[0.5, 0.3, 0.15],
            &[0.3, 0.7],
        ));
    }
    let FamilyData::GearedCar(car) = plant("geared-car").family().clone() else {
        panic!("kind");
    };
    assert_order_four(errors(&car.model, 40.0, 2, &[20.0, 20.0], &[0.9, 0.0]));
    // Polynomials of degree two are integrated exactly.
    let FamilyData::SatelliteAxis(satellite) = plant("satellite-axis").family().clone() else {
        panic!("kind");
    };
    let found = errors(&satellite.model, 3.0, 0, &[0.1, -0.01, 0.002], &[0.7]);
    assert!(found[0] < 1e-13, "{found:?}");
}

#[test]
fn ready_plants_are_integrated_to_more_than_their_sensors_can_tell() {
    fn check<M: Model>(data: &SampledData<M>, name: &str) {
        let plant = plant(name);
        for seed in 0..20 {
            let (x, u) = draw(&plant, seed);
            for mode in 0..M::MODES {
                let time = data.sample_time_s;
                let own = integrate(&data.model, time, (1, M::SUBSTEPS), mode, &x, &u);
                let exact = integrate(&data.model, time, (64, 8), mode, &x, &u);
                let scale = Model::scaling(&data.model).scale;
                for i in 0..M::STATE {
                    let error = (own[i] - exact[i]).abs() * scale[i];
                    assert!(error < 1e-4, "{name} {mode} state {i}: {error}");
                }
            }
        }
    }
    for name in NAMES {
        match plant(name).family() {
            FamilyData::SatelliteAxis(data) => check(data, name),
            FamilyData::BuckBoost(data) => check(data, name),
            FamilyData::ThreeTank(data) => check(data, name),
            FamilyData::GearedCar(data) => check(data, name),
            other => panic!("{}", other.kind()),
        }
    }
}

/// Cost and next state with their derivatives along entry `at` of (x, u).
fn along(plant: &PlantModel, mode: usize, x: &[f64], u: &[f64], at: usize) -> (f64, Vec<f64>) {
    let dual = |offset: usize| {
        move |(i, &value): (usize, &f64)| {
            Dual::<f64, f64>::new(value, f64::from(u8::from(i + offset == at)))
        }
    };
    let xs: Vec<_> = x.iter().enumerate().map(dual(0)).collect();
    let us: Vec<_> = u.iter().enumerate().map(dual(x.len())).collect();
    let mut next = vec![Dual::fixed(0.0); x.len()];
    let cost = plant.build::<f64>().step(mode, &xs, &us, &[], &mut next);
    (cost.tangent, next.iter().map(|d| d.tangent).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn adjoints_are_those_of_dual_numbers_and_of_differences(seed in 0_u64..1_000_000, which in 0_usize..4) {
        let plant = plant(NAMES[which]);
        let (n, m) = (plant.dims().state, plant.dims().control);
        let built = plant.build::<f64>();
        let (x, u) = draw(&plant, seed);
        let scale = plant.scaling().scale;
        let mut stream = Stream::new(seed, Purpose::Generator, 6);
        // In units in which every state counts alike.
        let d_next: Vec<f64> = scale.iter().map(|s| s * stream.normal()).collect();
        let d_cost = stream.normal();
        for mode in 0..plant.dims().modes {
            let mut next = vec![0.0; n];
            built.step(mode, &x, &u, &[], &mut next);
            let (mut d_x, mut d_u) = (vec![7.0; n], vec![7.0; m]);
            built.vjp(mode, &x, &u, &[], &next, &d_next, d_cost, &mut d_x, &mut d_u);
            for at in 0..n + m {
                let found = if at < n { d_x[at] } else { d_u[at - n] };
                let (cost, tangent) = along(&plant, mode, &x, &u, at);
                let terms: Vec<f64> = tangent.iter().zip(&d_next).map(|(t, d)| t * d).collect();
                let exact = d_cost * cost + terms.iter().sum::<f64>();
                let size = (d_cost * cost).abs() + terms.iter().map(|t| t.abs()).sum::<f64>();
                prop_assert!((found - exact).abs() <= 1e-11 * (size + 1e-3), "{} {mode} {at}: {found} {exact}", NAMES[which]);
                // Central differences know nothing of the equations' derivatives; kinks are too rare to be met.
                let unit = if at < n { 1.0 / scale[at] } else { 1.0 };
                let value = |step: f64| -> f64 {
                    let (mut x, mut u, mut next) = (x.clone(), u.clone(), vec![0.0; n]);
                    if at < n { x[at] += step } else { u[at - n] += step }
                    let cost = built.step(mode, &x, &u, &[], &mut next);
                    d_cost * cost + next.iter().zip(&d_next).map(|(v, d)| v * d).sum::<f64>()
                };
                let h = 1e-6 * unit;
                let difference = (value(h) - value(-h)) / (2.0 * h);
                prop_assert!((found - difference).abs() * unit <= 1e-4 * (1.0 + size * unit), "{} {mode} {at}: {found} {difference}", NAMES[which]);
            }
        }
    }

    #[test]
    fn lanes_do_what_one_trajectory_does(seed in 0_u64..1_000_000, which in 0_usize..4) {
        let plant = plant(NAMES[which]);
        let (n, m) = (plant.dims().state, plant.dims().control);
        let (wide, one) = (plant.build::<f32>(), plant.build::<f64>());
        let drawn: Vec<_> = (0..LANES as u64).map(|lane| draw(&plant, seed + lane)).collect();
        let gather = |len: usize, get: &dyn Fn(usize, usize) -> f64| -> Vec<Lanes<f32>> {
            (0..len).map(|i| Lanes(std::array::from_fn(|lane| get(lane, i) as f32))).collect()
        };
        let x = gather(n, &|lane, i| drawn[lane].0[i]);
        let u = gather(m, &|lane, i| drawn[lane].1[i]);
        for mode in 0..plant.dims().modes {
            let mut next = vec![Lanes::default(); n];
            let cost = wide.step(mode, &x, &u, &[], &mut next);
            for (lane, (x, u)) in drawn.iter().enumerate() {
                let mut exact = vec![0.0; n];
                let exact_cost: f64 = one.step(mode, x, u, &[], &mut exact);
                for i in 0..n {
                    prop_assert!((f64::from(next[i].0[lane]) - exact[i]).abs() < 1e-4 * (1.0 + exact[i].abs()));
                }
                prop_assert!((f64::from(cost.0[lane]) - exact_cost).abs() < 1e-3 * (1.0 + exact_cost));
                prop_assert!(exact_cost >= 0.0);
            }
        }
    }
}

#[test]
fn physics_is_kept() {
    let step = |name: &str, mode: usize, x: &[f64], u: &[f64]| -> Vec<f64> {
        let mut next = vec![0.0; x.len()];
        let _: f64 = plant(name).build::<f64>().step(mode, x, u, &[], &mut next);
        next
    };
    // Wheel: what the satellite gains the wheel loses, but for the disturbance.
    let (before, after) = (
        [0.1, 0.02, 0.001],
        step("satellite-axis", 0, &[0.1, 0.02, 0.001], &[0.8]),
    );
    let momentum = |x: &[f64]| 0.05 * x[1] + x[2];
    assert!((momentum(&after) - momentum(&before) - 0.5 * 5e-5).abs() < 1e-15);
    // Buck at rest: v = d vs R / (R + rL).
    let (mut x, v) = (vec![0.0, 0.0, 12.0], 0.5 * 12.0 * 10.0 / 10.05);
    for _ in 0..2000 {
        x = step("buck-boost", 0, &x, &[0.5, 0.0]);
    }
    assert!(
        (x[1] - v).abs() < 1e-9 && (x[0] - v / 10.0).abs() < 1e-9,
        "{x:?}"
    );
    // Closed valves: tank 1 fills by its pump, tank 3 stands still, tank 2 only drains.
    let x = step("three-tank", 0, &[0.2, 0.3, 0.4], &[1.0, 0.0]);
    assert!((x[0] - 0.2 - 5.0 * 1e-4 / 0.0154).abs() < 1e-12);
    assert_eq!(x[1], 0.3);
    assert!(x[2] < 0.4);
    // Open valves and full tanks: volume is lost through the outflow alone, and a level difference drives the flow.
    let x = step("three-tank", 3, &[0.5, 0.3, 0.3], &[0.0, 0.0]);
    assert!(x[0] < 0.5 && x[1] > 0.3 && x.iter().sum::<f64>() < 1.1);
    // Fully braked, a car stops and stays.
    let mut x = vec![10.0, 0.0];
    for _ in 0..200 {
        x = step("geared-car", 0, &x, &[0.0, 1.0]);
    }
    assert!((0.0..1e-3).contains(&x[0]), "{x:?}");
}

#[test]
fn a_resolved_plant_reads_back_equal() {
    for name in NAMES {
        let plant = plant(name);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("again.toml");
        std::fs::write(&file, plant.resolved_toml()).unwrap();
        let again = load_plant(file.to_str().unwrap(), &[]).unwrap();
        assert_eq!(plant.family(), again.family(), "{name}");
        assert_eq!(plant.accept_percent(), again.accept_percent());
        assert!(plant.accept_percent().is_some());
        assert_eq!(plant.constraints(), again.constraints());
        assert_eq!(plant.target_class(), again.target_class());
        assert_eq!(plant.sample_time_s(), again.sample_time_s());
        // The sample time is that of the equations.
        let other = changed(name, "sample_time_s = ", "sample_time_s = 1e-1 # ").unwrap();
        assert_ne!(plant.family(), other.family());
    }
}

#[test]
fn classical_controllers_are_tuned_and_keep_every_limit() {
    for name in NAMES {
        let plant = plant(name);
        let states = plant.draw_states(11, Purpose::Evaluation, 200);
        let baseline = plant.baseline(plant.baseline_names()[0]).unwrap().unwrap();
        let episodes = simulate(
            &plant,
            baseline.policy.as_ref(),
            &states,
            plant.horizon(),
            1,
        );
        let violations: u64 = episodes.iter().map(|e| e.violations.total()).sum();
        assert_eq!(violations, 0, "{name}");
        assert!(baseline.description.contains("tuned to"));
        assert!(plant.baseline("pid").unwrap().is_none());
    }
}

#[test]
fn wrong_numbers_are_refused_with_their_place() {
    #[track_caller]
    fn refuse(name: &str, from: &str, to: &str, parts: &[&str]) {
        let error = changed(name, from, to).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let message = error.to_string();
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
    }
    refuse(
        "geared-car",
        "fuel = 1.0",
        "fuel = -1.0",
        &["dynamics.fuel: found -1", "0 or more"],
    );
    refuse(
        "geared-car",
        "mass_kg = 1020.0",
        "mass_kg = 0.0",
        &["dynamics.mass_kg: found 0", "greater than 0"],
    );
    refuse(
        "geared-car",
        "mass_kg = 1020.0",
        "",
        &["dynamics.mass_kg: found nothing", "a number"],
    );
    refuse(
        "geared-car",
        "mass_kg",
        "weight_n",
        &["dynamics.weight_n", "mass_kg"],
    );
    refuse(
        "satellite-axis",
        "effort = [0.02, 0.5, 0.0]",
        "effort = [0.02, -0.5, 0.0]",
        &["dynamics.effort[1]: found -0.5", "0 or more"],
    );
    refuse(
        "satellite-axis",
        "standby = [0.02, 0.1, 0.0]",
        "standby = [0.02, 0.1]",
        &["dynamics.standby: found 2 numbers", "3 numbers"],
    );
    refuse(
        "satellite-axis",
        "[initial]",
        "[units]\nstate = [\"deg\", \"rad/s\", \"N m s\"]\n[initial]",
        &["units.state[0]: found \"deg\"", "\"rad\""],
    );
    refuse(
        "satellite-axis",
        "[initial]",
        "[units]\nstate = [\"rad\", \"rad/s\"]\n[initial]",
        &["units.state: found 2 texts", "3 texts"],
    );
    refuse(
        "geared-car",
        "steps = 3",
        "steps = 61",
        &["dwell.steps", "found 61", "60"],
    );
    refuse(
        "geared-car",
        "upper = 1.0",
        "upper = [1.0, -1.0]",
        &["bounds.lower[1]: found 0", "bounds.upper[1] = -1"],
    );
    for wrong in ["0.0", "100.0", "nan"] {
        let text = format!("accept_percent = {wrong} # ");
        refuse(
            "geared-car",
            "accept_percent = ",
            &text,
            &["accept_percent", "less than 100"],
        );
    }
    refuse(
        "three-tank",
        "[dynamics]",
        "noise = 0.1\n[dynamics]",
        &["noise: found noise", "three-tank"],
    );
    refuse(
        "three-tank",
        "[dynamics]",
        "state_clamp = 5.0\n[dynamics]",
        &["state_clamp", "three-tank"],
    );
}
