//! The recast plant is the original plant: for any action that is allowed, in any region, on any edge.

mod bad_files;

use std::path::Path;

use proptest::prelude::*;

use crate::plant::dynamics::Origin;
use crate::plant::file::{Overrides, parse_plant};
use crate::plant::{Plant, PlantModel};

/// Two modes, two states, three controls.
const BASE: &str = "name = \"p\"\nhorizon = 5\n[dynamics]\nA = [[1.0, 0.1], [0.0, 0.9]]\n\
    B = [[[1.0, 0.2, 0.0], [0.0, 1.0, 0.3]], [[0.5, 0.0, 0.1], [0.2, 0.4, 1.0]]]\n\
    Q = [[1.0, 0.0], [0.0, 2.0]]\nR = [[0.1, 0.0, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, 0.3]]\n\
    [bounds]\nlower = [-5.0, 0.0, 0.0]\nupper = [5.0, 8.0, 9.0]\n";

const ALL: &str = "[[jump]]\nkind = \"dead-zone\"\ncontrols = [0]\nthreshold = 1.5\n\
    [[jump]]\nkind = \"quantity-discount\"\ncontrols = [1]\nbreaks = [2.0, 6.0]\nprices = [3.0, 2.0, 1.5]\n\
    [[jump]]\nkind = \"fixed-cost\"\ncontrols = [2]\ncost = 7.0\n";

fn read(text: &str, jumps: Option<&str>) -> crate::Result<PlantModel> {
    let overrides = Overrides {
        jumps: jumps.map(str::to_owned),
        ..Overrides::default()
    };
    parse_plant(text, Path::new("p.toml"), &Origin::BuiltIn(&[]), &overrides)
}

fn with(jumps: &str) -> PlantModel {
    read(&format!("{BASE}{jumps}"), None).unwrap()
}

/// What the plant does, written down without regions: effective control and added cost.
fn original(u: [f64; 3]) -> ([f64; 3], f64) {
    let effective = [if u[0].abs() >= 1.5 { u[0] } else { 0.0 }, u[1], u[2]];
    let price = if u[1] >= 6.0 {
        1.5
    } else if u[1] >= 2.0 {
        2.0
    } else {
        3.0
    };
    let fixed = if u[2] > 0.0 { 7.0 } else { 0.0 };
    (effective, price * u[1] + fixed)
}

/// Values of a control, edges and their neighbours among them.
fn value(lower: f64, upper: f64, edges: &'static [f64]) -> impl Strategy<Value = f64> {
    let near = proptest::sample::select(edges);
    prop_oneof![
        2 => lower..=upper,
        1 => near.clone(),
        1 => near.clone().prop_map(f64::next_up),
        1 => near.prop_map(f64::next_down),
    ]
    .prop_map(move |u| u.clamp(lower, upper))
}

proptest! {
    #[test]
    fn any_action_has_the_original_cost_and_transition(
        x in [-10.0_f64..10.0, -10.0..10.0],
        first in value(-5.0, 5.0, &[-5.0, -1.5, 0.0, 1.5, 5.0]),
        second in value(0.0, 8.0, &[0.0, 2.0, 6.0, 8.0]),
        third in value(0.0, 9.0, &[0.0, 9.0]),
        own in 0_usize..2,
    ) {
        let u = [first, second, third];
        let (effective, added) = original(u);
        let smooth = with("");
        let plant = smooth.build::<f64>();
        let mut expected = [0.0; 2];
        let cost = plant.step(own, &x, &effective, &[], &mut expected) + added;
        let same = |found: f64, next: [f64; 2]| {
            (found - cost).abs() <= 1e-12 * cost.abs().max(1.0) && next == expected
        };
        let recast = with(ALL);
        let mode = recast.jumps().unwrap().mode_of(own, &u).unwrap();
        let mut next = [0.0; 2];
        let found = recast.build::<f64>().step(mode, &x, &u, &[], &mut next);
        prop_assert!(same(found, next), "recast {found} {next:?}, original {cost} {expected:?}");
        // The plant with its jumps left in is the same plant too.
        let raw = read(&format!("{BASE}{ALL}"), Some("raw")).unwrap();
        prop_assert_eq!(raw.dims().modes, 2);
        let found = raw.build::<f64>().step(own, &x, &u, &[], &mut next);
        prop_assert!(same(found, next), "raw {found} {next:?}, original {cost} {expected:?}");
    }

    /// Least impulse, least order and a cost of any of two controls, which share one jump: what is not allowed has no mode.
    #[test]
    fn any_allowed_action_of_least_quantities_too(
        x in [-10.0_f64..10.0, -10.0..10.0],
        first in value(-5.0, 5.0, &[-5.0, -1.0, 0.0, 1.0, 5.0]),
        second in value(0.0, 8.0, &[0.0, 3.0, 8.0]),
        third in value(0.0, 9.0, &[0.0, 9.0]),
        own in 0_usize..2,
        jointly: bool,
    ) {
        let u = [first, second, third];
        let rest = if jointly {
            "[[jump]]\nkind = \"fixed-cost\"\ncontrols = [1, 2]\ncost = 7.0\n"
        } else {
            "[[jump]]\nkind = \"minimum\"\ncontrols = [1]\nminimum = 3.0\ncost = 2.0\n"
        };
        let text = format!(
            "{BASE}[[jump]]\nkind = \"minimum-impulse\"\ncontrols = [0]\nminimum = 1.0\ncost = 0.5\n{rest}"
        );
        let mut allowed = u[0] == 0.0 || u[0].abs() >= 1.0;
        let mut added = if u[0] == 0.0 { 0.0 } else { 0.5 };
        if jointly {
            added += if u[1] > 0.0 || u[2] > 0.0 { 7.0 } else { 0.0 };
        } else {
            allowed = allowed && (u[1] == 0.0 || u[1] >= 3.0);
            added += if u[1] > 0.0 { 2.0 } else { 0.0 };
        }
        let recast = read(&text, None).unwrap();
        let mode = recast.jumps().unwrap().mode_of(own, &u);
        prop_assert_eq!(mode.is_some(), allowed, "{:?}", u);
        let Some(mode) = mode else { return Ok(()) };
        let (mut next, mut expected) = ([0.0; 2], [0.0; 2]);
        let cost = with("").build::<f64>().step(own, &x, &u, &[], &mut expected) + added;
        let found = recast.build::<f64>().step(mode, &x, &u, &[], &mut next);
        prop_assert!((found - cost).abs() <= 1e-12 * cost.abs().max(1.0), "{found} {cost}");
        prop_assert_eq!(next, expected);
    }

    /// Price steps for one control after another, and regions that decide the plant's mode: the gain and the mode are those of the region.
    #[test]
    fn any_action_of_regions_that_decide_the_mode(
        x in [-10.0_f64..10.0, -10.0..10.0],
        first in -5.0_f64..5.0,
        second in value(0.0, 8.0, &[0.0, 4.0, 8.0]),
        third in value(0.0, 9.0, &[0.0, 2.5, 9.0]),
    ) {
        let u = [first, second, third];
        let text = format!(
            "{BASE}[[jump]]\nkind = \"regions\"\ncontrols = [1]\nregions = [{{ upper = 4.0, mode = 1, cost = 1.0 }}, \
             {{ lower = 4.0, mode = 0, gain = 0.5, price = 2.0 }}]\n\
             [[jump]]\nkind = \"quantity-discount\"\ncontrols = [2]\nbreaks = [2.5]\nprices = [1.0, 0.25]\n"
        );
        let low = u[1] <= 4.0;
        let effective = [u[0], if low { u[1] } else { 0.5 * u[1] }, u[2]];
        let added = if low { 1.0 } else { 2.0 * u[1] } + u[2] * if u[2] >= 2.5 { 0.25 } else { 1.0 };
        let recast = read(&text, None).unwrap();
        let mode = recast.jumps().unwrap().mode_of(0, &u).unwrap();
        let (mut next, mut expected) = ([0.0; 2], [0.0; 2]);
        let own = usize::from(low);
        let cost = with("").build::<f64>().step(own, &x, &effective, &[], &mut expected) + added;
        let found = recast.build::<f64>().step(mode, &x, &u, &[], &mut next);
        prop_assert!((found - cost).abs() <= 1e-12 * cost.abs().max(1.0), "{found} {cost}");
        prop_assert_eq!(next, expected);
    }

    #[test]
    fn the_map_lands_in_the_region_of_its_mode(law in [-20.0_f32..20.0, -20.0..20.0, -20.0..20.0]) {
        let recast = with(ALL);
        let regions = recast.control_regions().unwrap();
        let jumps = recast.jumps().unwrap();
        prop_assert_eq!(recast.factors(), vec![2, 3, 3, 2]);
        for mode in 0..36 {
            let u: Vec<f64> = (0..3)
                .map(|i| f64::from(regions.get::<f32>(mode * 3 + i).onto(law[i])))
                .collect();
            let (own, of_jumps) = jumps.decode(mode, 2);
            for (jump, &region) in jumps.list.iter().zip(&of_jumps) {
                let values: Vec<f64> = jump.controls.iter().map(|&i| u[i]).collect();
                prop_assert!(jump.regions[region].contains(&values), "{mode}: {u:?}");
            }
            // And the mode is found again from the action, but for edges, which belong to one of the regions there.
            let found = jumps.mode_of(own, &u).unwrap();
            if found != mode {
                let (_, other) = jumps.decode(found, 2);
                for ((jump, &a), &b) in jumps.list.iter().zip(&of_jumps).zip(&other) {
                    let values: Vec<f64> = jump.controls.iter().map(|&i| u[i]).collect();
                    prop_assert!(a == b || jump.regions[b].contains(&values));
                }
            }
        }
    }

    #[test]
    fn derivatives_are_those_of_differences(
        x in [-2.0_f64..2.0, -2.0..2.0],
        u in [-4.9_f64..4.9, 0.1..7.9, 0.1..8.9],
        d_next in [-1.0_f64..1.0, -1.0..1.0],
        mode in 0_usize..36,
    ) {
        let smoothed = "[[jump]]\nkind = \"dead-zone\"\ncontrols = [0]\nthreshold = 1.5\n\
            [[jump]]\nkind = \"quantity-discount\"\ncontrols = [1]\nbreaks = [2.0, 6.0]\nprices = [3.0, 2.0, 1.5]\n\
            [recast]\ntreatment = \"smoothed\"\nwidth = 0.7\n";
        for plant in [with(ALL), with(smoothed)] {
            let mode = mode % plant.dims().modes;
            let built = plant.build::<f64>();
            let value = |x: &[f64], u: &[f64]| {
                let mut next = [0.0; 2];
                let cost = built.step(mode, x, u, &[], &mut next);
                0.7 * cost + next.iter().zip(&d_next).map(|(a, b)| a * b).sum::<f64>()
            };
            let mut next = [0.0; 2];
            built.step(mode, &x, &u, &[], &mut next);
            let (mut d_x, mut d_u) = ([0.0; 2], [0.0; 3]);
            built.vjp(mode, &x, &u, &[], &next, &d_next, 0.7, &mut d_x, &mut d_u);
            let step = 1e-6;
            for i in 0..3 {
                let (mut up, mut down) = (u, u);
                up[i] += step;
                down[i] -= step;
                let difference = (value(&x, &up) - value(&x, &down)) / (2.0 * step);
                prop_assert!((difference - d_u[i]).abs() < 1e-5 * (1.0 + d_u[i].abs()), "u{i}: {difference} {}", d_u[i]);
            }
            for i in 0..2 {
                let (mut up, mut down) = (x, x);
                up[i] += step;
                down[i] -= step;
                let difference = (value(&up, &u) - value(&down, &u)) / (2.0 * step);
                prop_assert!((difference - d_x[i]).abs() < 1e-5 * (1.0 + d_x[i].abs()));
            }
        }
    }
}

#[test]
fn joint_regions_ask_for_every_control_of_theirs() {
    let plant = with("[[jump]]\nkind = \"fixed-cost\"\ncontrols = [1, 2]\ncost = 4.0\n");
    assert_eq!(plant.factors(), [2, 2]);
    assert_eq!(
        plant.names().modes,
        ["mode0/none", "mode0/some", "mode1/none", "mode1/some"]
    );
    let jumps = plant.jumps().unwrap();
    for (u, mode) in [
        ([1.0, 0.0, 0.0], 0),
        ([1.0, 0.0, 1e-9], 1),
        ([0.0, 8.0, 0.0], 1),
    ] {
        assert_eq!(jumps.mode_of(0, &u), Some(mode));
        assert_eq!(jumps.mode_of(1, &u), Some(2 + mode));
    }
    let regions = plant.control_regions().unwrap();
    // Mode 2: the second mode of the plant, no order; the first control is free within its bounds.
    assert_eq!(regions.lower[6..9], [-5.0, 0.0, 0.0]);
    assert_eq!(regions.upper[6..9], [5.0, 0.0, 0.0]);
    assert_eq!(regions.upper[9..12], [5.0, 8.0, 9.0]);
}

#[test]
fn what_may_not_be_done_is_in_no_region() {
    let plant = with(
        "[[jump]]\nkind = \"minimum\"\ncontrols = [1]\nminimum = 3.0\ncost = 2.0\n\
         [[jump]]\nkind = \"minimum-impulse\"\ncontrols = [0]\nminimum = 1.0\n",
    );
    let jumps = plant.jumps().unwrap();
    assert_eq!(jumps.mode_of(0, &[0.0, 1.0, 0.0]), None);
    assert_eq!(jumps.mode_of(0, &[0.5, 0.0, 0.0]), None);
    for (u, cost) in [
        ([0.0, 0.0, 0.0], 0.0),
        ([1.0, 3.0, 0.0], 2.0),
        ([-5.0, 8.0, 1.0], 2.0),
    ] {
        let mode = jumps.mode_of(1, &u).unwrap();
        let (mut next, mut plain) = ([0.0; 2], [0.0; 2]);
        let found = plant
            .build::<f64>()
            .step(mode, &[1.0, 2.0], &u, &[], &mut next);
        let base = with("")
            .build::<f64>()
            .step(1, &[1.0, 2.0], &u, &[], &mut plain);
        assert_eq!((found, next), (base + cost, plain));
    }
}

#[test]
fn regions_may_decide_the_mode_and_files_come_back() {
    let text = "[[jump]]\nkind = \"regions\"\ncontrols = [1]\n\
        regions = [{ name = \"low\", upper = 4.0, mode = 1, cost = 1.0 }, { name = \"high\", lower = 4.0, mode = 0, gain = 0.5, price = 2.0 }]\n";
    let plant = with(text);
    assert_eq!(plant.factors(), [2]);
    let mut next = [0.0; 2];
    let mut half = [0.0; 2];
    let (x, u) = ([1.0, -1.0], [0.0, 6.0, 0.0]);
    let cost = plant.build::<f64>().step(1, &x, &u, &[], &mut next);
    let base = with("")
        .build::<f64>()
        .step(0, &x, &[0.0, 3.0, 0.0], &[], &mut half);
    assert_eq!((cost, next), (base + 12.0, half));
    for model in [
        plant,
        with(ALL),
        read(&format!("{BASE}{ALL}"), Some("raw")).unwrap(),
    ] {
        let again = read(&model.resolved_toml(), None).unwrap();
        assert_eq!(again.jumps(), model.jumps());
        assert_eq!(again.names(), model.names());
        assert_eq!(again.resolved_toml(), model.resolved_toml());
        assert!(model.lqr_data().is_none());
    }
}
