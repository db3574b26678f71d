//! Constraints in training: the batched simulator does what the firmware's loop does, bit for bit; its gradient is that of the
//! expected cost; constraints that bind nothing change nothing.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use firmware::supervisor::{SupervisorState, step_by};
use firmware::{ControllerState, Observation, SCRATCH_LEN, boot, control_step};
use policy_format::{Capacity, RawPolicy};
use proptest::prelude::*;
use trainer::evaluate::closed_loop::{Selection as Eval, evaluate_policy};
use trainer::export::{PolicyBuffer, policy_file};
use trainer::numeric::random::{Purpose, Stream};
use trainer::numeric::{LANES, Lanes};
use trainer::plant::{Plant, PlantModel, load_plant};
use trainer::policy::network::Layers;
use trainer::policy::{InputKind, Model};
use trainer::train::critic::Critic;
use trainer::train::rollout::{Objective, Selection, Worker};
use trainer::train::run::{TrainConfig, plant_traits, policy_shape, train};
use trainer::train::settings::{CriticSettings, Settings};

/// A quadratic critic.
const ONE_FORM: CriticSettings = CriticSettings {
    forms: 1,
    hidden: Vec::new(),
};

/// Three modes, two states, one or two controls, process noise.
fn plant_with(extra: &str, horizon: usize) -> PlantModel {
    let text = format!(
        r#"
name = "constrained"
horizon = {horizon}
sample_time_s = 0.1
noise = 0.05
[dynamics]
A = [[[1.05, 0.2], [-0.1, 1.0]], [[0.9, 0.3], [0.1, 1.1]], [[1.1, 0.0], [0.2, 0.95]]]
B = [[[1.0, 0.2], [0.1, 0.4]], [[0.3, 0.0], [0.2, 1.0]], [[0.6, 0.5], [0.5, 0.7]]]
Q = [[1.0, 0.2], [0.2, 1.0]]
R = [[0.1, 0.0], [0.0, 0.2]]
[initial]
half_width = 2.0
{extra}
"#
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("plant.toml");
    std::fs::write(&file, text).expect("a file");
    load_plant(file.to_str().expect("a path"), &[]).expect("a sound plant")
}

const ALL: &str = r#"
[limits]
u_min = -1.5
u_max = 1.0
rate = [4.0, 6.0]
start = [0.25, 0.0]
[dwell]
steps = [1, 2, 3]
hysteresis = 0.125
[masks]
follow = [[0, 1], [0, 1, 2], [1, 2]]
"#;

fn settings(plant: &PlantModel, more: &[(&str, &str)]) -> Settings {
    let sets: Vec<_> = more
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let mut settings = Settings::resolve(&sets, plant_traits(plant)).expect("good settings");
    // Scores and gains alone: few parameters, and arithmetic that can be made exact.
    settings.policy.input = InputKind::Affine;
    settings.policy.selector_hidden = None;
    settings.policy.control_hidden = None;
    settings
}

/// Parameters whose products with any number are exact (powers of two), so that fused and separate arithmetic agree.
fn powers_of_two(count: usize, stream: &mut Stream) -> Vec<f32> {
    (0..count)
        .map(|_| {
            let power = [0.0, 0.25, 0.5, 1.0][stream.below(4) as usize];
            if stream.below(2) == 0 { power } else { -power }
        })
        .collect()
}

fn fresh(plant: &PlantModel, model: &Model, critic: &Critic, seed: u64) -> Worker<f32> {
    let mut worker = Worker::new(model, critic, plant.horizon(), plant.dims().noise);
    for lane in 0..LANES {
        let mut stream = Stream::new(seed, Purpose::Evaluation, lane as u64);
        let mut initial = vec![0.0; plant.dims().state];
        plant.draw_initial(&mut stream, &mut initial);
        for (x, &value) in worker.tape.state.at_mut(0).iter_mut().zip(&initial) {
            x.0[lane] = value as f32;
        }
        for t in 0..plant.horizon() {
            worker.tape.uniform.at_mut(t)[0].0[lane] = stream.uniform() as f32;
            for w in worker.tape.noise.at_mut(t) {
                w.0[lane] = stream.normal() as f32;
            }
        }
    }
    worker
}

/// Runs the batched simulator, and the firmware's loop on the same noise (and, where choices are drawn, the same choices), and compares
/// modes, controls and states bit for bit.
fn assert_agree(plant: &PlantModel, laws: &str, seed: u64, selection: Selection) {
    let settings = settings(plant, &[("policy.laws_per_mode", laws)]);
    let model = Model::new(policy_shape(plant, &settings));
    let critic = Critic::new(model.shape(), &ONE_FORM);
    let mut stream = Stream::new(seed, Purpose::Parameters, 0);
    let parameters = powers_of_two(model.parameters(), &mut stream);
    let mut worker = fresh(plant, &model, &critic, seed);
    let built = plant.build::<f32>();
    worker.rollout(&built, &model, &parameters, selection, None);

    let bytes = policy_file(plant, &model, &parameters).expect("a policy");
    let buffer = PolicyBuffer::new(&bytes);
    let mut scratch = [0.0; SCRATCH_LEN];
    let controller = boot(buffer.bytes(), plant.target_class(), &mut scratch);
    let policy = controller.as_ref().expect("armed").policy();
    assert_eq!(policy.safety().limits.is_some(), model.has_rate_limits());
    let (n, m) = (plant.dims().state, plant.dims().control);
    for lane in 0..LANES {
        let of = |values: &[Lanes<f32>]| values.iter().map(|v| v.0[lane]).collect::<Vec<_>>();
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let mut state = SupervisorState::new();
        let (mut x, mut next) = (of(worker.tape.state.at(0)), vec![0.0; n]);
        for t in 0..plant.horizon() {
            let choice = usize::from(worker.tape.choice[t][lane]);
            let mut u = vec![0.0; m];
            let mode = match selection {
                Selection::ArgMax => {
                    let outcome = control_step(&controller, &mut state, &x, &mut u, &mut scratch);
                    assert_eq!((outcome.fault, usize::from(outcome.choice)), (None, choice));
                    outcome.mode
                }
                _ => {
                    let observation = Observation::lockstep(&x);
                    let command = step_by(
                        &controller,
                        &mut state,
                        &observation,
                        &mut scratch,
                        |rules| {
                            assert!(
                                rules.score(choice).is_some(),
                                "a forbidden choice was drawn"
                            );
                            choice
                        },
                    );
                    u.copy_from_slice(command.control());
                    command.mode()
                }
            };
            assert_eq!(usize::from(mode), model.shape().choice_modes[choice]);
            assert_eq!(bits(&u), bits(&of(worker.tape.applied.at(t))), "step {t}");
            let noise = of(worker.tape.noise.at(t));
            let cost = built.step(usize::from(mode), &x, &u, &noise, &mut next);
            assert_eq!(cost.to_bits(), worker.tape.cost.at(t)[0].0[lane].to_bits());
            std::mem::swap(&mut x, &mut next);
            assert_eq!(bits(&x), bits(&of(worker.tape.state.at(t + 1))));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_batched_simulator_and_the_firmware_loop_agree_bit_for_bit(
        seed in 0_u64..100_000,
        parts in 1_usize..8,
        laws in 1_usize..3,
        dwell in prop::collection::vec(1_u32..6, 3),
        rate in 0.5_f64..30.0,
        hysteresis in 0_u8..8,
        rows in prop::collection::vec(1_u32..8, 3),
    ) {
        let mut extra = String::new();
        if parts & 1 != 0 {
            extra += &format!("[limits]\nu_min = -1.5\nu_max = 1.0\nrate = [{rate}, 6.0]\n");
        }
        if parts & 2 != 0 {
            let hysteresis = f64::from(hysteresis) / 8.0;
            extra += &format!("[dwell]\nsteps = {dwell:?}\nhysteresis = {hysteresis}\n");
        }
        if parts & 4 != 0 {
            let rows: Vec<Vec<u32>> = rows
                .iter()
                .map(|bits| (0..3).filter(|k| bits >> k & 1 == 1).collect())
                .collect();
            extra += &format!("[masks]\nfollow = {rows:?}\n");
        }
        let plant = plant_with(&extra, 25);
        for selection in [Selection::ArgMax, Selection::Sample] {
            assert_agree(&plant, &laws.to_string(), seed, selection);
        }
    }
}

#[test]
fn while_a_mode_dwells_there_is_no_draw_and_no_score_term() {
    let plant = plant_with("[dwell]\nsteps = 4\n", 30);
    let settings = settings(&plant, &[("policy.laws_per_mode", "1")]);
    let model = Model::new(policy_shape(&plant, &settings));
    let critic = Critic::new(model.shape(), &ONE_FORM);
    // Uniform draws.
    let parameters = vec![0.0; model.parameters()];
    let mut worker = fresh(&plant, &model, &critic, 3);
    worker.rollout(
        &plant.build::<f32>(),
        &model,
        &parameters,
        Selection::Sample,
        None,
    );
    let (mut dwelling, mut switches) = (0, 0);
    for t in 1..plant.horizon() {
        for lane in 0..LANES {
            let history = worker.tape.history[t][lane];
            let (before, now) = (worker.tape.choice[t - 1][lane], worker.tape.choice[t][lane]);
            switches += usize::from(before != now);
            if history.age() < 4 {
                dwelling += 1;
                assert_eq!(before, now);
                // Exactly 1 and 0: 1[k = c] - p_k is 0 for every choice.
                for (k, p) in worker.tape.probability.at(t).iter().enumerate() {
                    let expected = if k == usize::from(now) { 1.0 } else { 0.0 };
                    assert_eq!(p.0[lane], expected);
                }
            }
        }
    }
    assert!(dwelling > 100 && switches > 20, "{dwelling} {switches}");
}

/// Exact expected cost over all choice sequences, in `f64`, and its gradient by the mixed estimator.
fn enumerate(
    plant: &PlantModel,
    model: &Model,
    critic: &Critic,
    parameters: &[f64],
) -> (f64, Vec<f64>) {
    let built = plant.build::<f64>();
    let (steps, choices) = (plant.horizon(), model.shape().choices());
    let sequences = choices.pow(steps as u32);
    let (mut value, mut gradient) = (0.0, vec![0.0; parameters.len()]);
    for block in 0..sequences.div_ceil(LANES) {
        let mut worker = Worker::<f64>::new(model, critic, steps, plant.dims().noise);
        worker.tape.state.at_mut(0)[0] = Lanes([1.3; LANES]);
        worker.tape.state.at_mut(0)[1] = Lanes([-0.7; LANES]);
        let used = LANES.min(sequences - block * LANES);
        for t in 0..steps {
            for lane in 0..LANES {
                let sequence = (block * LANES + lane) % sequences;
                worker.tape.choice[t][lane] = (sequence / choices.pow(t as u32) % choices) as u16;
            }
        }
        worker.rollout(&built, model, parameters, Selection::Given, None);
        let mut weight = Lanes([0.0; LANES]);
        for lane in 0..used {
            weight.0[lane] = (0..steps)
                .map(|t| {
                    let choice = usize::from(worker.tape.choice[t][lane]);
                    worker.tape.probability.at(t)[choice].0[lane]
                })
                .product();
        }
        let mut to_go = [0.0; LANES];
        for t in (0..steps).rev() {
            for lane in 0..used {
                to_go[lane] += worker.tape.cost.at(t)[0].0[lane];
                for k in 0..choices {
                    let taken = f64::from(usize::from(worker.tape.choice[t][lane]) == k);
                    let p = worker.tape.probability.at(t)[k].0[lane];
                    worker.tape.d_logits.at_mut(t)[k].0[lane] =
                        weight.0[lane] * to_go[lane] * (taken - p);
                }
            }
        }
        value += (0..used)
            .map(|lane| weight.0[lane] * to_go[lane])
            .sum::<f64>();
        let objective = Objective {
            cost_weight: weight,
            discount: 1.0,
            cross_term: 1.0,
            layers: Layers::All,
        };
        worker.sweep(&built, model, parameters, objective, &mut gradient);
    }
    (value, gradient)
}

#[test]
fn the_gradient_under_constraints_is_that_of_the_expected_cost() {
    let limits_bind = |extra: &str, seed: u64, laws: &str| {
        let plant = plant_with(extra, 4);
        let settings = settings(&plant, &[("policy.laws_per_mode", laws)]);
        let model = Model::new(policy_shape(&plant, &settings));
        let critic = Critic::new(model.shape(), &ONE_FORM);
        let mut stream = Stream::new(seed, Purpose::Parameters, 0);
        let parameters: Vec<f64> = (0..model.parameters())
            .map(|_| stream.uniform() - 0.5)
            .collect();
        let (_, gradient) = enumerate(&plant, &model, &critic, &parameters);
        let scale = gradient.iter().fold(0.0_f64, |a, g| a.max(g.abs()));
        assert!(scale > 1e-3);
        for at in 0..parameters.len() {
            let shifted = |by: f64| {
                let mut moved = parameters.clone();
                moved[at] += by;
                enumerate(&plant, &model, &critic, &moved).0
            };
            let h = 1e-6;
            let slope = (shifted(h) - shifted(-h)) / (2.0 * h);
            assert!(
                (slope - gradient[at]).abs() < 1e-6 * scale.max(1.0),
                "{extra} parameter {at}: {slope} against {}",
                gradient[at]
            );
        }
    };
    for seed in 0..3 {
        limits_bind(ALL, seed, "1");
        // Tight enough that the rate limit is active in nearly every step.
        limits_bind("[limits]\nrate = 1.0\n", seed, "1");
        limits_bind("[dwell]\nsteps = [2, 3, 1]\nhysteresis = 0.7\n", seed, "2");
    }
}

fn trained(plant: &PlantModel, sets: &[(&str, &str)], out: &Path) -> Vec<u8> {
    let small = [
        ("train.epochs", "3"),
        ("train.batch", "48"),
        ("train.batches_per_epoch", "2"),
        ("train.validation_states", "32"),
        ("critic.hidden", "[8]"),
    ];
    let all: Vec<_> = small.iter().chain(sets).copied().collect();
    let config = TrainConfig {
        plant: plant.clone(),
        settings: settings(plant, &all),
        seed: 5,
        out: out.to_path_buf(),
        resume: false,
        threads: 2,
    };
    let report = train(&config, &AtomicBool::new(false), &mut |_| {}).expect("a run");
    std::fs::read(report.policy).expect("a policy")
}

/// The trained floats of a policy, without the sections of constraints.
fn floats(bytes: &[u8]) -> Vec<u32> {
    let buffer = PolicyBuffer::new(bytes);
    let policy = RawPolicy::parse(buffer.bytes())
        .and_then(|raw| raw.validate(&Capacity::FORMAT))
        .expect("a sound policy");
    let blocks = policy
        .scores()
        .into_iter()
        .chain((0..policy.choices()).filter_map(|c| policy.gain(c)));
    let mut bits = Vec::new();
    for block in blocks {
        for row in 0..block.rows() {
            bits.push(block.bias()[row].to_bits());
            bits.extend(
                (0..block.columns()).map(|k| block.weight(row, k).expect("in range").to_bits()),
            );
        }
    }
    bits
}

#[test]
fn constraints_that_bind_nothing_leave_training_as_it_is_to_the_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let idle =
        "[limits]\nrate = 1e30\n[dwell]\nsteps = 1\n[masks]\nfollow = [[0,1,2],[0,1,2],[0,1,2]]\n";
    for algo in ["hpo", "ppo", "gumbel"] {
        let sets = [("train.algo", algo)];
        let free = trained(
            &plant_with("", 8),
            &sets,
            &folder.path().join(format!("{algo}-free")),
        );
        let bound = trained(
            &plant_with(idle, 8),
            &sets,
            &folder.path().join(format!("{algo}-idle")),
        );
        assert_ne!(free, bound, "the sections travel in the file");
        assert_eq!(floats(&free), floats(&bound), "{algo}");
    }
}

#[test]
fn every_algorithm_trains_under_constraints_and_its_policy_obeys_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let plant = plant_with(ALL, 12);
    let states = plant.draw_states(9, Purpose::Evaluation, 20);
    for algo in ["hpo", "ppo", "reinforce", "gumbel"] {
        let bytes = trained(&plant, &[("train.algo", algo)], &folder.path().join(algo));
        let buffer = PolicyBuffer::new(&bytes);
        for selection in [Eval::ArgMax, Eval::Sampled] {
            let result = evaluate_policy(&plant, buffer.bytes(), &states, 12, 1, selection)
                .expect("an evaluation");
            assert!(
                result.mean_cost.is_finite() && result.fallback_steps == 0,
                "{algo} {result:?}"
            );
            // Mean dwell of 1 to 3 periods allows at most 11 switches in 12 periods; the masks and dwells fewer.
            assert!(result.switches_per_episode <= 9.0, "{algo} {result:?}");
        }
        // A policy trained under other constraints is refused.
        let other = plant_with("[limits]\nu_min = -1.5\nu_max = 1.0\nrate = 5.0\n", 12);
        let error = evaluate_policy(&other, buffer.bytes(), &states, 12, 1, Eval::ArgMax);
        assert_eq!(error.expect_err("another plant").exit_code(), 2);
    }
}

#[test]
fn an_episode_starts_without_memory() {
    let plant = plant_with(ALL, 5);
    let settings = settings(&plant, &[]);
    let model = Model::new(policy_shape(&plant, &settings));
    let parameters = vec![0.5; model.parameters()];
    let bytes = policy_file(&plant, &model, &parameters).expect("a policy");
    let buffer = PolicyBuffer::new(&bytes);
    let mut scratch = [0.0; SCRATCH_LEN];
    let controller = boot(buffer.bytes(), plant.target_class(), &mut scratch);
    let mut first = |x: [f32; 2]| {
        let mut u = [0.0; 2];
        control_step(
            &controller,
            &mut ControllerState::new(),
            &x,
            &mut u,
            &mut scratch,
        );
        u
    };
    // From the start of [0.25, 0], at most 0.4 and 0.6 away.
    let u = first([100.0, -50.0]);
    assert!(
        (u[0] - 0.25).abs() <= 0.400_001 && u[1].abs() <= 0.600_001,
        "{u:?}"
    );
}

/// Hashes of short trainings as they were before constraints existed. A change of an algorithm's numbers on purpose changes
/// them; constraints must not.
#[test]
fn plants_without_constraints_train_to_the_same_bytes_as_before_there_were_any() {
    let folder = tempfile::tempdir().expect("a folder");
    for (plant, algo, hash) in [
        (
            "switched-lqr-3-2",
            "hpo",
            "c9dc24a1af467b7d37444fb30aed54401b3a90accc1cbb052d1e3f2d615c98b5",
        ),
        (
            "switched-lqr-3-2",
            "ppo",
            "af12f0f7bf41ef1428d37c58824704e938c7a8340d5c0a62923e816f3564e03e",
        ),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_hpo"))
            .args([
                "train", plant, "--algo", algo, "--epochs", "3", "--json", "--out",
            ])
            .arg(folder.path().join(algo))
            .output()
            .expect("hpo runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(hash), "{algo}: {text}");
    }
}
