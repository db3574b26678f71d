//! Starts: equality with the references, round trips, refusals.

use std::path::Path;

use super::*;
use crate::evaluate::closed_loop::{Selection, evaluate_policy};
use crate::evaluate::reference::{AveragedRiccati, RiccatiModes, mean_cost, simulate};
use crate::export::PolicyBuffer;
use crate::numeric::{LANES, Lanes};
use crate::plant::load_plant;
use crate::train::run::plant_traits;

fn plant(name: &str) -> PlantModel {
    load_plant(name, &[]).expect("a plant")
}

fn start(plant: &PlantModel, sets: &[(&str, &str)]) -> Result<StartingPoint> {
    let sets: Vec<(String, String)> = sets
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    StartingPoint::new(plant, &Settings::resolve(&sets, plant_traits(plant))?, 5)
}

#[track_caller]
fn refusal(plant: &PlantModel, sets: &[(&str, &str)], parts: &[&str]) {
    let error = start(plant, sets).expect_err("to be refused");
    assert_eq!(error.exit_code(), 2, "{error}");
    for part in parts {
        assert!(
            error.to_string().contains(part),
            "`{part}` is not in: {error}"
        );
    }
}

fn states(plant: &PlantModel) -> Vec<Vec<f64>> {
    (0..64)
        .map(|index| {
            let mut stream = Stream::new(9, crate::numeric::Purpose::Evaluation, index);
            let mut x = vec![0.0; plant.dims().state];
            plant.draw_initial(&mut stream, &mut x);
            x
        })
        .collect()
}

fn cost(plant: &PlantModel, start: &StartingPoint) -> f64 {
    let file = PolicyBuffer::new(&start.policy_file(plant).expect("a policy file"));
    let states = states(plant);
    evaluate_policy(
        plant,
        file.bytes(),
        &states,
        plant.horizon(),
        1,
        Selection::ArgMax,
    )
    .expect("an evaluation")
    .mean_cost
}

/// A plant file with two states, one control and two modes.
fn written(folder: &Path, extra: &str) -> PlantModel {
    let path = folder.join("plant.toml");
    let text = format!(
        "name = \"written\"\nhorizon = 8\n{extra}\n[initial]\ncenter = [0.5, 0.0]\nhalf_width = [2.0, 2.0]\n"
    );
    let (head, dynamics) = text.split_once("[more]\n").unwrap_or((&text, ""));
    let matrices = "[dynamics]\nA = [[[1.1, 0.1], [0.0, 1.05]]]\nB = [[[1.0], [0.1]], [[0.1], [1.0]]]\n\
                    Q = [[[1.0, 0.0], [0.0, 1.0]]]\nR = [[[0.1]]]\n";
    let whole = if dynamics.is_empty() {
        format!("{head}{matrices}")
    } else {
        format!("{head}{matrices}{dynamics}")
    };
    std::fs::write(&path, whole).expect("a plant file");
    plant(path.to_str().expect("a path"))
}

#[test]
fn averaged_start_is_the_averaged_riccati_controller() {
    for name in ["switched-lqr-3-2", "switched-lqr-8-4", "switched-lqr-6-3"] {
        let plant = plant(name);
        let modes = RiccatiModes::new(plant.lqr_data().unwrap());
        let reference = AveragedRiccati::new(&modes).expect("a solution");
        let expected = mean_cost(&simulate(
            &plant,
            &reference,
            &states(&plant),
            plant.horizon(),
            1,
        ));
        for laws in ["1", "4", "7"] {
            let start = start(
                &plant,
                &[
                    ("start", "averaged-riccati"),
                    ("policy.laws_per_mode", laws),
                ],
            );
            let found = cost(&plant, &start.expect("a start"));
            assert!(
                (found / expected - 1.0).abs() < 2e-6,
                "{name}, {laws} laws: {found} {expected}"
            );
        }
    }
}

/// The critic begins with the cost-to-go that the start goes by, `min_e x' rho_e(P) x`.
#[test]
fn the_critic_begins_with_the_cost_to_go_of_the_start() {
    let plant = plant("switched-lqr-6-3");
    let sets = [("train.start".to_owned(), "averaged-riccati".to_owned())];
    let settings = Settings::resolve(&sets, plant_traits(&plant)).expect("settings");
    let start = StartingPoint::new(&plant, &settings, 5).expect("a start");
    let critic = Critic::new(&start.shape, &settings.critic);
    let mut parameters = initial::critic(&critic, 5);
    start.value_to(&critic, &mut parameters);
    let modes = RiccatiModes::new(plant.lqr_data().unwrap());
    let averaged = AveragedRiccati::new(&modes).expect("a solution");
    let mut scratch = critic.scratch(&start.shape);
    for x in states(&plant) {
        let lanes: Vec<_> = x.iter().map(|&v| Lanes([v as f32; LANES])).collect();
        let found = critic
            .value_at(&start.shape, &parameters, &lanes, &mut scratch)
            .0[0];
        let x = nalgebra::DVector::from_vec(x);
        let least = averaged.values().iter().map(|p| x.dot(&(p * &x)));
        let expected = least.fold(f64::INFINITY, f64::min);
        assert!(
            (f64::from(found) / expected - 1.0).abs() < 1e-5,
            "{found} {expected}"
        );
    }
}

/// A law per mode that comes next, up to eight, unless settings say otherwise.
#[test]
fn riccati_starts_have_a_law_per_next_mode() {
    for (name, laws) in [
        ("switched-lqr-3-2", 4),
        ("switched-lqr-8-4", 4),
        ("switched-lqr-32-8", 8),
    ] {
        let plant = plant(name);
        for start in ["averaged-riccati", "switched-riccati"] {
            let sets = [("start".to_owned(), start.to_owned())];
            let settings = Settings::resolve(&sets, plant_traits(&plant)).expect("settings");
            assert_eq!(settings.policy.laws_per_mode, laws, "{name} {start}");
        }
    }
}

/// A critic that begins with the value set has a form for each member, however many laws are asked for; forms that are
/// asked for stay.
#[test]
fn forms_of_the_critic_follow_the_number_of_laws() {
    let plant = plant("switched-lqr-8-4");
    let forms = |more: &[(&str, &str)]| {
        let sets: Vec<(String, String)> = [("start", "switched-riccati")]
            .iter()
            .chain(more)
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let settings = Settings::resolve(&sets, plant_traits(&plant)).expect("settings");
        let start = StartingPoint::new(&plant, &settings, 5).expect("a start");
        (settings.critic.forms, start.value.len())
    };
    for (laws, members) in [("1", 4), ("3", 12), ("6", 24)] {
        assert_eq!(forms(&[("policy.laws_per_mode", laws)]), (members, members));
    }
    let own = [("policy.laws_per_mode", "3"), ("critic.forms", "5")];
    assert_eq!(forms(&own).0, 5);
    assert_eq!(forms(&[("policy.laws_per_mode", "100")]).0, MOST_FORMS);
}

/// Networks beside scores and gains begin as nothing: the same controller.
#[test]
fn networks_start_silent() {
    let plant = plant("switched-lqr-3-2");
    let plain = start(&plant, &[("start", "averaged-riccati")]).expect("a start");
    for heads in ["true", "false"] {
        let sets = [
            ("start", "averaged-riccati"),
            ("policy.selector_hidden", "[8]"),
            ("policy.control_hidden", "[8]"),
            ("policy.head_per_choice", heads),
        ];
        let with = start(&plant, &sets).expect("a start");
        assert!(with.parameters.len() > plain.parameters.len());
        assert_eq!(cost(&plant, &with), cost(&plant, &plain));
    }
}

/// `x' rho_d(P) x` is the cost of one step of mode d under its gain and `x'Px` behind it, on the plant itself.
#[test]
fn scores_are_one_riccati_map_of_one_matrix() {
    let plant = plant("switched-lqr-3-2");
    let begin = start(
        &plant,
        &[("start", "averaged-riccati"), ("policy.laws_per_mode", "1")],
    )
    .expect("a start");
    let modes = RiccatiModes::new(plant.lqr_data().unwrap());
    let averaged = AveragedRiccati::new(&modes).expect("a solution");
    let model = Model::new(begin.shape.clone());
    let data = plant.lqr_data().unwrap();
    let (_, _, weights, _) = model
        .scores()
        .expect("scores")
        .layers()
        .next()
        .expect("a layer");
    let mut ratios = Vec::new();
    for (mode, x) in states(&plant).iter().enumerate().map(|(i, x)| (i % 2, x)) {
        let x = nalgebra::DVector::from_column_slice(x);
        let (gain, _) = model.gain(mode);
        let k = nalgebra::DMatrix::from_row_iterator(
            3,
            3,
            begin.parameters[gain].iter().map(|&v| f64::from(v)),
        );
        let u = &k * &x;
        let next = &data.a[mode] * &x + &data.b[mode] * &u;
        let expected = x.dot(&(&data.q[mode] * &x))
            + u.dot(&(&data.r[mode] * &u))
            + next.dot(&(averaged.p() * &next));
        let mut score = 0.0;
        let mut at = weights.start + mode * 6;
        for i in 0..3 {
            for j in i..3 {
                score += f64::from(begin.parameters[at]) * x[i] * x[j];
                at += 1;
            }
        }
        ratios.push(-score / expected);
    }
    // One temperature for all modes and states.
    for ratio in &ratios {
        assert!(
            (ratio / ratios[0] - 1.0).abs() < 1e-5 && *ratio > 0.0,
            "{ratios:?}"
        );
    }
}

#[test]
fn switched_start_keeps_to_its_cap_and_beats_the_averaged_one() {
    let plant = plant("switched-lqr-8-4");
    let averaged = cost(
        &plant,
        &start(&plant, &[("start", "averaged-riccati")]).expect("a start"),
    );
    let mut before = averaged;
    for laws in ["2", "6"] {
        let start = start(
            &plant,
            &[
                ("start", "switched-riccati"),
                ("policy.laws_per_mode", laws),
            ],
        )
        .expect("a start");
        assert!(start.shape.choices() <= 4 * laws.parse::<usize>().expect("a number"));
        let now = cost(&plant, &start);
        assert!(now < before, "{laws} laws: {now}, {before}");
        before = now;
    }
    assert!(before < 0.99 * averaged, "{before} {averaged}");
}

/// Bounds and noise leave the Riccati controllers real ones; affine terms do not.
#[test]
fn riccati_starts_where_they_make_sense() {
    let folder = tempfile::tempdir().expect("a folder");
    let rough = written(
        folder.path(),
        "noise = [0.05, 0.1]\n[more]\n[bounds]\nlower = [-1.5]\nupper = [2.0]\n",
    );
    let modes = RiccatiModes::new(rough.lqr_data().unwrap());
    let reference = AveragedRiccati::new(&modes).expect("a solution");
    let begin = start(&rough, &[("start", "averaged-riccati")]).expect("a start");
    let expected = mean_cost(&simulate(
        &rough,
        &reference,
        &states(&rough),
        rough.horizon(),
        1,
    ));
    let found = cost(&rough, &begin);
    assert!((found / expected - 1.0).abs() < 1e-3, "{found} {expected}");

    let affine = written(
        folder.path(),
        "[more]\naffine = [[0.1, 0.0], [0.0, -0.2]]\n",
    );
    for name in ["averaged-riccati", "switched-riccati"] {
        refusal(
            &affine,
            &[("start", name)],
            &[name, "affine terms", "allowed", "scratch"],
        );
        let smooth = plant("switched-lqr-3-2");
        for (part, network) in [
            ("policy.gains", "policy.control_hidden"),
            ("policy.scores", "policy.selector_hidden"),
        ] {
            let sets = [("start", name), (part, "false"), (network, "[8]")];
            refusal(&smooth, &sets, &[name, "without", "allowed", part]);
        }
    }
}

/// No law can be told from another where every state is the origin, and a policy has no room for costs beyond binary32.
#[test]
fn a_start_that_no_policy_holds_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("plant.toml");
    for (a, half_width, name, part) in [
        ("1.1", "0.0", "switched-riccati", "origin"),
        ("1e25", "1.0", "switched-riccati", "range"),
        ("1e25", "1.0", "averaged-riccati", "allowed"),
    ] {
        let text = format!(
            "name = \"still\"\nhorizon = 8\n[dynamics]\nA = [[[{a}, 0.0], [0.0, 1.0]]]\nB = [[[1.0], [0.1]], [[0.1], [1.0]]]\n\
             Q = [[[1.0, 0.0], [0.0, 1.0]]]\nR = [[[0.1]]]\n[initial]\nhalf_width = {half_width}\n"
        );
        std::fs::write(&path, text).expect("a plant file");
        let plant = plant(path.to_str().expect("a path"));
        refusal(&plant, &[("start", name)], &[name, part, "scratch"]);
    }
}

#[test]
fn a_policy_comes_back_with_all_its_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let rough = written(
        folder.path(),
        "noise = [0.05, 0.1]\n[more]\n[bounds]\nlower = [-1.5]\nupper = [2.0]\n",
    );
    let smooth = plant("switched-lqr-3-2");
    let structures: [&[(&str, &str)]; 5] = [
        &[],
        &[
            ("policy.selector_hidden", "[5]"),
            ("policy.control_hidden", "[6, 4]"),
        ],
        &[
            ("policy.control_hidden", "[6]"),
            ("policy.head_per_choice", "false"),
        ],
        &[("policy.control_hidden", "[]"), ("policy.gains", "false")],
        &[
            ("policy.selector_hidden", "[]"),
            ("policy.scores", "false"),
            ("policy.laws_per_mode", "1"),
        ],
    ];
    for plant in [&smooth, &rough] {
        for sets in structures {
            let first = start(plant, sets).expect("a start");
            let bytes = first.policy_file(plant).expect("a policy file");
            std::fs::write(folder.path().join("policy.hpo"), &bytes).expect("a policy file");
            // A run directory and the file in it are the same.
            for path in [
                folder.path().to_path_buf(),
                folder.path().join("policy.hpo"),
            ] {
                let path = path.to_str().expect("a path");
                let again = start(plant, &[&[("start", path)], sets].concat()).expect("a start");
                assert_eq!(again.parameters, first.parameters);
                assert_eq!(again.policy_file(plant).expect("a policy file"), bytes);
            }
        }
    }
}

#[test]
fn policies_of_another_structure_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("some.hpo");
    let path = file.to_str().expect("a path");
    let three = plant("switched-lqr-3-2");
    let begin = start(&three, &[]).expect("a start");
    std::fs::write(&file, begin.policy_file(&three).expect("a policy file")).expect("a file");
    refusal(
        &plant("switched-lqr-8-2"),
        &[("start", path)],
        &[path, "states: found 3", "allowed: 8"],
    );
    refusal(
        &plant("switched-lqr-3-3"),
        &[("start", path)],
        &["plant modes: found 2", "allowed: 3"],
    );
    for (key, value, field) in [
        ("policy.selector_hidden", "[4]", "policy.selector_hidden"),
        ("policy.control_hidden", "[4]", "policy.control_hidden"),
        ("policy.input", "affine", "policy.input"),
    ] {
        refusal(
            &three,
            &[("start", path), (key, value)],
            &[path, field, "found", "allowed"],
        );
    }
    refusal(
        &three,
        &[("start", "no-such-start")],
        &["train.start", "no-such-start", "averaged-riccati"],
    );
    let empty = folder.path().to_str().expect("a path");
    refusal(
        &three,
        &[("start", empty)],
        &["train.start", "without policy.hpo"],
    );
    std::fs::write(&file, b"not a policy").expect("a file");
    refusal(
        &three,
        &[("start", path)],
        &[path, "policy: found", "allowed: a whole policy file"],
    );
    // The last --set counts, quoted or not.
    let sets = [
        ("start", "scratch"),
        ("train.start", "\"averaged-riccati\""),
    ];
    let sets: Vec<(String, String)> = sets
        .iter()
        .map(|(k, v)| ((*k).into(), (*v).into()))
        .collect();
    assert_eq!(Start::among(&sets), Start::AveragedRiccati);
}
