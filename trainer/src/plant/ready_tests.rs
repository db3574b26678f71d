//! Ready and generated plants.

use super::*;
use crate::numeric::{Purpose, Stream};

fn set(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// The ready plants with the paper's matrices.
fn paper_names() -> impl Iterator<Item = &'static str> {
    ready_names()
        .into_iter()
        .filter(|name| name.starts_with("switched-lqr-"))
}

#[test]
fn ready_inventories_are_what_their_names_say() {
    let names = ready_names().into_iter();
    let mut sizes = Vec::new();
    for name in names.filter(|name| name.starts_with("inventory-")) {
        let plant = load_plant(name, &[]).unwrap();
        let products: usize = name.trim_start_matches("inventory-").parse().unwrap();
        let dims = plant.dims();
        assert_eq!(
            (dims.state, dims.control, dims.modes, dims.noise),
            (2 * products, products, 2, products)
        );
        assert_eq!(
            (plant.horizon(), plant.cost_from(), plant.counted_steps(100)),
            (100, 16, 84)
        );
        let jumps = &plant.jumps().unwrap().list;
        assert_eq!(jumps.len(), 1);
        assert_eq!(jumps[0].regions[1].cost, 64.0 * products as f64);
        assert!(plant.lqr_data().is_none() && plant.test_states().is_none());
        assert_eq!(plant.baseline_names().len(), 4);
        sizes.push(products);
    }
    assert_eq!(sizes, [1, 3, 5, 7, 10, 20, 30, 50]);
}

/// What stands in for a policy on the device keeps to the regions of its mode, else no policy of the plant could be exported.
#[test]
fn safe_laws_of_recast_plants_lie_in_a_region() {
    let mut seen = 0;
    for name in ready_names() {
        let plant = load_plant(name, &[]).unwrap();
        let Some(regions) = plant.control_regions() else {
            continue;
        };
        seen += 1;
        let (law, m) = (plant.safe_law(), plant.dims().control);
        for (i, u) in law.offset.iter().enumerate() {
            let region = regions.get::<f64>(law.mode * m + i);
            assert!(
                region.lower <= *u && *u <= region.upper,
                "{name}: {u} in {region:?}"
            );
        }
        // Rest for the actuator, an order for an inventory.
        let expected = if name == "actuator-jump" {
            "off"
        } else {
            "some"
        };
        let mode = &plant.names().modes[law.mode];
        assert!(mode.ends_with(expected), "{name}: {mode}");
    }
    assert_eq!(seen, 9);
}

#[test]
fn ready_plants_load_with_their_states() {
    for name in paper_names() {
        let plant = load_plant(name, &[]).unwrap();
        let (n, modes) = generated_size(name).unwrap();
        let dims = plant.dims();
        assert_eq!(plant.name(), name);
        assert_eq!((dims.state, dims.control, dims.modes), (n, n, modes));
        assert_eq!((plant.horizon(), plant.discount()), (20, 1.0));
        assert_eq!(plant.lqr_data().unwrap().state_clamp, 100.0);
        assert!(plant.lqr_data().unwrap().r.iter().all(|r| r[(0, 0)] == 0.1));
        let states = plant.test_states().unwrap();
        assert_eq!(states.len(), 1024);
        let bound = 10.0 / (n as f64).sqrt();
        assert!(states.iter().flatten().all(|x| x.abs() <= bound));
    }
}

#[test]
fn ready_matrices_are_of_the_family() {
    for name in paper_names() {
        let plant = load_plant(name, &[]).unwrap();
        let (n, modes) = generated_size(name).unwrap();
        let data = plant.lqr_data().unwrap();
        // Same actuators, Q, R as our generator; A of the same form from another random source.
        let family = crate::plant::generator::switched_actuators(n, modes, 0);
        assert_eq!(
            (&data.b, &data.q, &data.r),
            (&family.b, &family.q, &family.r)
        );
        let offset = &data.a[0] - nalgebra::DMatrix::identity(n, n) * 1.1;
        assert!((offset.amax() - 0.05).abs() < 1e-12);
        assert!((&data.a[0] - data.a[0].transpose()).amax() < 1e-15);
    }
}

#[test]
fn archive_and_json_hold_the_same_plant() {
    let ready = &READY[2];
    let json = ready.text.replace("lqr_n8_m4.npz", "lqr_n8_m4.json");
    assert_ne!(json, ready.text);
    static FILES: &[(&str, &[u8])] = &[
        (
            "lqr_n8_m4.json",
            include_bytes!("../../../plants/lqr_n8_m4.json"),
        ),
        (
            "x0_test_n8.csv",
            include_bytes!("../../../plants/x0_test_n8.csv"),
        ),
    ];
    let origin = Origin::BuiltIn(FILES);
    let from_json = parse_plant(&json, Path::new("json"), &origin, &Overrides::default()).unwrap();
    let from_archive = load_plant("switched-lqr-8-4", &[]).unwrap();
    assert!(from_json.lqr_data().unwrap() == from_archive.lqr_data().unwrap());
}

#[test]
fn generated_plants_take_a_seed() {
    let plain = load_plant("switched-lqr-10-3", &[]).unwrap();
    let zero = load_plant("switched-lqr-10-3", &[set("seed", "0")]).unwrap();
    let three = load_plant("switched-lqr-10-3", &[set("seed", "3")]).unwrap();
    assert_eq!(plain.lqr_data().unwrap(), zero.lqr_data().unwrap());
    assert_ne!(plain.lqr_data().unwrap(), three.lqr_data().unwrap());
    assert_ne!(plain.target_class(), three.target_class());
    assert!(three.source_text().contains("seed = 3"));
    assert!(plain.test_states().is_none());
    assert_eq!(plain.dims().control, 10);
}

#[test]
fn sets_replace_horizon_and_clamp_and_leave_the_trainers_keys() {
    let sets = [
        set("horizon", "5"),
        set("epochs", "many"),
        set("state_clamp", "7.5"),
    ];
    let plant = load_plant("switched-lqr-3-2", &sets).unwrap();
    assert_eq!(plant.horizon(), 5);
    assert_eq!(plant.lqr_data().unwrap().state_clamp, 7.5);
    assert!(is_plant_key("seed") && is_plant_key("horizon") && is_plant_key("state_clamp"));
    assert!(!is_plant_key("epochs"));
}

#[test]
fn wrong_names_and_sets_are_explained() {
    let refuse = |name: &str, sets: &[(String, String)]| {
        let error = load_plant(name, sets).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    let message = refuse("switched-lqr", &[]);
    assert!(message.starts_with("unknown plant `switched-lqr`; ready plants: switched-lqr-3-2, "));
    for name in [
        "switched-lqr-03-2",
        "switched-lqr-+3-2",
        "switched-lqr-3-2-1",
        "pendulum",
        "",
    ] {
        assert!(refuse(name, &[]).contains("unknown plant"), "{name}");
    }
    let message = refuse("switched-lqr-300-2", &[]);
    assert!(
        message.contains("dynamics.generator.n: found 300; allowed: 1 to 256"),
        "{message}"
    );
    let message = refuse("switched-lqr-2-3", &[]);
    assert!(
        message.contains("dynamics.generator.modes: found 3; allowed: 1 to n = 2"),
        "{message}"
    );
    let message = refuse("switched-lqr-8-4", &[set("seed", "3")]);
    assert!(
        message.starts_with("seed: plants/switched-lqr-8-4.toml has given matrices"),
        "{message}"
    );
    let message = refuse("switched-lqr-8-4", &[set("horizon", "x")]);
    assert!(
        message.contains("--set horizon: found `x`; allowed: a number of steps"),
        "{message}"
    );
    let message = refuse("switched-lqr-8-4", &[set("horizon", "0")]);
    assert!(
        message.contains("horizon: found 0; allowed: 1 to"),
        "{message}"
    );
    let message = refuse("switched-lqr-9-4", &[set("seed", "18446744073709551615")]);
    assert!(
        message.contains("--set seed: allowed: a whole number, 0 to 2^63 - 1"),
        "{message}"
    );
}

#[test]
fn initial_draws_stay_in_the_box_and_depend_on_the_stream_alone() {
    let plant = load_plant("switched-lqr-8-4", &[]).unwrap();
    let draw = |index| {
        let mut out = vec![0.0; 8];
        plant.draw_initial(&mut Stream::new(1, Purpose::InitialState, index), &mut out);
        out
    };
    assert_eq!(draw(5), draw(5));
    assert_ne!(draw(5), draw(6));
    let (count, mut squares) = (4000, 0.0);
    for index in 0..count {
        let state = draw(index);
        assert!(state.iter().all(|x| x.abs() <= 10.0 / 8.0_f64.sqrt()));
        squares += state.iter().map(|x| x * x).sum::<f64>();
    }
    // E|x|^2 = 100/3; one |x|^2 has variance 8 * (4/45) * (100/8)^2, bound five standard errors.
    let error = 5.0 * (8.0 * 4.0 / 45.0 * 156.25 / count as f64).sqrt();
    assert!((squares / count as f64 - 100.0 / 3.0).abs() < error);
}

#[test]
fn target_classes_are_pinned() {
    // Policies in the field carry these numbers: they may not change.
    let pinned = |name: &&str| {
        ["switched-lqr-", "inventory-", "actuator-jump"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    let classes: Vec<u32> = ready_names()
        .into_iter()
        .filter(pinned)
        .map(|name| load_plant(name, &[]).unwrap().target_class())
        .collect();
    assert_eq!(
        classes,
        [
            3_418_121_061,
            2_736_938_205,
            4_244_343_991,
            2_553_620_720,
            3_972_180_905,
            2_832_084_787,
            2_787_254_465,
            4_242_269_666,
            3_175_737_992,
            2_683_054_089,
            2_876_156_970,
            687_957_125,
            3_249_848_173,
            87_549_830,
            3_784_560_076
        ]
    );
}
