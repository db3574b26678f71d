//! From training to what the firmware does with the policy, at the level of the libraries.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use firmware::{ControllerState, SCRATCH_LEN, boot, control_step};
use policy_format::{Capacity, Policy, RawPolicy};
use proptest::prelude::*;
use trainer::evaluate::closed_loop::{Selection, evaluate_policy};
use trainer::export::{self, PolicyBuffer};
use trainer::numeric::{LANES, Lanes, Purpose, Real, Stream};
use trainer::plant::{Plant, PlantModel, load_plant};
use trainer::policy::model::LawScratch;
use trainer::policy::{InputKind, Model, PolicyShape, Tape};
use trainer::train::run::{self, TrainConfig, TrainEvent, TrainReport};
use trainer::train::settings::Settings;

const SEED: u64 = 5;

/// Trains `plant` into `out` with `sets`.
fn train(plant: &PlantModel, out: &Path, sets: &[(&str, &str)]) -> (TrainConfig, TrainReport) {
    let sets: Vec<(String, String)> = sets
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let config = TrainConfig {
        plant: plant.clone(),
        settings: Settings::resolve(&sets, run::plant_traits(plant)).unwrap(),
        seed: SEED,
        out: out.to_path_buf(),
        resume: false,
        threads: 1,
    };
    let mut epochs = Vec::new();
    let report = run::train(&config, &AtomicBool::new(false), &mut |event| {
        if let TrainEvent::Epoch { epoch, .. } = event {
            epochs.push(*epoch);
        }
    })
    .unwrap();
    let expected: Vec<usize> = (1..=config.settings.train.epochs).collect();
    assert_eq!(epochs, expected, "one event per epoch");
    (config, report)
}

fn validate(buffer: &PolicyBuffer) -> Policy<'_> {
    RawPolicy::parse(buffer.bytes())
        .and_then(|raw| raw.validate(&Capacity::FORMAT))
        .unwrap()
}

/// Numbers of the policy file: those of the model, and the offsets of the gains, which are zero and not
/// trained with unit-norm input.
fn stored_parameters(model: &Model) -> usize {
    let shape = model.shape();
    let untrained = shape.gains && !shape.gain_offsets();
    model.parameters() + usize::from(untrained) * shape.choices() * shape.control
}

/// A plant with bounds, an affine term and noise, where the firmware has to clamp.
fn bounded_plant(folder: &Path) -> PlantModel {
    let path = folder.join("bounded.toml");
    let text = r#"
name = "bounded"
horizon = 12
noise = 0.05
[dynamics]
A = [[1.05, 0.1], [0.0, 1.05]]
B = [[[1.0], [0.1]], [[0.1], [1.0]]]
Q = [[1.0, 0.0], [0.0, 1.0]]
R = [[0.1]]
affine = [0.1, -0.1]
[bounds]
lower = -0.7
upper = 0.9
[initial]
half_width = 2.0
"#;
    std::fs::write(&path, text).unwrap();
    load_plant(path.to_str().unwrap(), &[]).unwrap()
}

/// The two plants of these tests: a homogeneous one, and one with everything.
fn plants(folder: &Path) -> [PlantModel; 2] {
    [
        load_plant("switched-lqr-3-2", &[]).unwrap(),
        bounded_plant(folder),
    ]
}

const SMALL: [(&str, &str); 3] = [
    ("train.epochs", "6"),
    ("train.batch", "32"),
    ("train.batches_per_epoch", "4"),
];

#[test]
fn a_trained_policy_costs_on_the_device_what_it_cost_in_validation() {
    let folder = tempfile::tempdir().unwrap();
    // Without noise the validation episodes can be repeated: their states are a public draw.
    let plant = load_plant("switched-lqr-3-2", &[]).unwrap();
    let (config, report) = train(&plant, &folder.path().join("run"), &SMALL);
    let buffer = PolicyBuffer::read(&report.policy).unwrap();

    let policy = validate(&buffer);
    let model = Model::new(run::policy_shape(&plant, &config.settings));
    assert_eq!(policy.parameters(), stored_parameters(&model));
    assert_eq!(policy.choices(), model.shape().choices());
    assert_eq!(policy.target_class(), plant.target_class());
    assert_eq!(policy.sample_time_s(), plant.sample_time_s() as f32);
    assert!(report.validation_cost < report.start_cost);

    let count = config.settings.train.validation_states;
    let evaluate = |purpose| {
        let states = plant.draw_states(SEED, purpose, count);
        let steps = plant.horizon();
        evaluate_policy(&plant, buffer.bytes(), &states, steps, 0, Selection::ArgMax).unwrap()
    };
    let evaluation = evaluate(Purpose::Validation);
    assert_eq!(evaluation.fallback_steps, 0);
    assert_eq!(evaluation.clamped_steps, 0);
    // Training rolls out in f32 with fused arithmetic, evaluation steps the plant in f64: a state
    // near a boundary between modes may fall to the other side, at almost the same cost.
    let relative = (evaluation.mean_cost / report.validation_cost - 1.0).abs();
    assert!(relative < 1e-4, "{evaluation:?} {report:?}");
    // And the comparison can tell: other states cost something else.
    let other = evaluate(Purpose::Evaluation).mean_cost;
    let other = (other / report.validation_cost - 1.0).abs();
    assert!(other > 1e-3, "{other}");
}

#[test]
fn the_firmware_acts_as_the_policy_decides_on_every_visited_state() {
    let folder = tempfile::tempdir().unwrap();
    for plant in plants(folder.path()) {
        let (_, report) = train(&plant, &folder.path().join(plant.name()), &SMALL);
        let buffer = PolicyBuffer::read(&report.policy).unwrap();
        let policy = validate(&buffer);
        let mut scratch = [0.0; SCRATCH_LEN];
        let armed = boot(buffer.bytes(), plant.target_class(), &mut scratch);
        assert!(armed.is_ok(), "{armed:?}");

        let dims = plant.dims();
        let dynamics = plant.build::<f64>();
        let mut large = vec![0.0; policy.scratch_len()];
        let (mut device, mut host) = (vec![0.0; dims.control], vec![0.0; dims.control]);
        let (mut costs, mut at_bound) = (Vec::new(), 0);
        let states = plant.draw_states(1, Purpose::Evaluation, 64);
        for (index, start) in states.iter().enumerate() {
            let mut noise = Stream::new(1, Purpose::Noise, index as u64);
            let (mut x, mut next) = (start.clone(), vec![0.0; dims.state]);
            let mut memory = ControllerState::new();
            let mut cost = 0.0;
            for _ in 0..plant.horizon() {
                let measured: Vec<f32> = x.iter().map(|&x| x as f32).collect();
                let outcome =
                    control_step(&armed, &mut memory, &measured, &mut device, &mut scratch);
                let decision = policy.decide(&measured, &mut host, &mut large).unwrap();
                assert_eq!(outcome.fault, None);
                assert_eq!(
                    (outcome.choice, outcome.mode),
                    (decision.choice, decision.mode)
                );
                let bits = |u: &[f32]| u.iter().map(|u| u.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&device), bits(&host));
                if let Some(bounds) = plant.bounds() {
                    for (i, &u) in device.iter().enumerate() {
                        let (lower, upper) = (bounds.lower[i] as f32, bounds.upper[i] as f32);
                        assert!((lower..=upper).contains(&u), "{u}");
                        at_bound += usize::from(u == lower || u == upper);
                    }
                }
                let u: Vec<f64> = device.iter().map(|&u| f64::from(u)).collect();
                let w: Vec<f64> = (0..dims.noise).map(|_| noise.normal()).collect();
                cost += dynamics.step(usize::from(outcome.mode), &x, &u, &w, &mut next);
                std::mem::swap(&mut x, &mut next);
            }
            costs.push(cost);
        }
        // The same loop as `evaluate_policy` runs, noise included.
        let steps = plant.horizon();
        let evaluation =
            evaluate_policy(&plant, buffer.bytes(), &states, steps, 1, Selection::ArgMax).unwrap();
        let mean = costs.iter().sum::<f64>() / costs.len() as f64;
        assert_eq!(evaluation.mean_cost, mean, "{}", plant.name());
        if plant.bounds().is_some() {
            assert!(at_bound > 0, "no control met its bound");
        }
    }
}

/// Structure and size of a policy, and what its numbers are drawn from.
#[derive(Clone, Debug)]
struct Case {
    n: usize,
    m: usize,
    modes: usize,
    laws: usize,
    unit_norm: bool,
    bounds: bool,
    scores: bool,
    selector: Option<Vec<usize>>,
    gains: bool,
    control: Option<Vec<usize>>,
    head_per_choice: bool,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let hidden = || prop::option::of(prop::collection::vec(1_usize..9, 0..4));
    let sizes = (1_usize..6, 1_usize..5, 1_usize..4, 1_usize..4);
    let flags = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    (sizes, flags, hidden(), hidden(), any::<u64>()).prop_map(
        |(
            (n, m, modes, laws),
            (unit_norm, bounds, scores, gains, head_per_choice),
            selector,
            control,
            seed,
        )| Case {
            n,
            m,
            modes,
            laws,
            unit_norm,
            // Unit-norm input goes with plants that have no bounds.
            bounds: bounds && !unit_norm,
            // A selector and a law there must be.
            scores: scores || selector.is_none(),
            gains: gains || control.is_none(),
            selector,
            control,
            head_per_choice,
            seed,
        },
    )
}

impl Case {
    /// A plant of the case's size.
    fn plant(&self, folder: &Path) -> PlantModel {
        let eye = |n: usize| {
            let row = |i| (0..n).map(|j| f64::from(u8::from(i == j))).collect();
            (0..n).map(row).collect::<Vec<Vec<f64>>>()
        };
        let b: Vec<Vec<Vec<f64>>> = vec![vec![vec![0.5; self.m]; self.n]; self.modes];
        let bounds = if self.bounds {
            "[bounds]\nlower = -0.5\nupper = 0.25\n"
        } else {
            ""
        };
        let text = format!(
            "name = \"case\"\nhorizon = 3\n[dynamics]\nA = {:?}\nB = {b:?}\nQ = {:?}\nR = {:?}\n{bounds}",
            eye(self.n),
            eye(self.n),
            eye(self.m)
        );
        let path = folder.join("case.toml");
        std::fs::write(&path, text).unwrap();
        load_plant(path.to_str().unwrap(), &[]).unwrap()
    }

    fn shape(&self, plant: &PlantModel, stream: &mut Stream) -> PolicyShape {
        let (shift, scale) = if self.unit_norm {
            (0.0, 0.0)
        } else {
            (0.5, 0.4)
        };
        let bounds = plant.bounds().map(|b| (b.lower.clone(), b.upper.clone()));
        PolicyShape {
            state: self.n,
            control: self.m,
            modes: self.modes,
            choice_modes: (0..self.modes * self.laws).map(|c| c / self.laws).collect(),
            factors: vec![self.modes * self.laws],
            law_offset: vec![0.0; self.m],
            law_scale: vec![1.0; self.m],
            regions: None,
            value_scale: 1.0,
            critic_forms: true,
            input: if self.unit_norm {
                InputKind::UnitNorm
            } else {
                InputKind::Affine
            },
            // Exact in f32, as the file stores them.
            input_shift: (0..self.n)
                .map(|_| f64::from((shift * stream.normal()) as f32))
                .collect(),
            input_scale: (0..self.n)
                .map(|_| f64::from((1.0 + scale * stream.uniform()) as f32))
                .collect(),
            scores: self.scores,
            selector_hidden: self.selector.clone(),
            gains: self.gains,
            control_hidden: self.control.clone(),
            head_per_choice: self.head_per_choice,
            bounds,
            constraints: plant.constraints().clone(),
        }
    }
}

/// What the trainer's own forward pass gives for sixteen states.
struct Forward<T> {
    model: Model,
    parameters: Vec<T>,
    tape: Tape<T>,
    scratch: LawScratch<T>,
}

impl<T: Real> Forward<T> {
    fn new(model: &Model, parameters: &[f32]) -> Self {
        Self {
            parameters: parameters
                .iter()
                .map(|&p| T::from_f64(f64::from(p)))
                .collect(),
            tape: Tape::new(model, 1, 0),
            scratch: LawScratch::new(model),
            model: model.clone(),
        }
    }

    fn select(&mut self, states: &[Vec<f32>]) {
        for (i, x) in self.tape.state.at_mut(0).iter_mut().enumerate() {
            *x = Lanes(std::array::from_fn(|lane| {
                T::from_f64(f64::from(states[lane][i]))
            }));
        }
        self.model.observe(&mut self.tape, 0);
        self.model.select(&self.parameters, &mut self.tape, 0);
        self.model.arg_max(&mut self.tape, 0);
        self.model.hidden(&self.parameters, &mut self.tape, 0);
    }

    /// Distance between the two greatest logits of a lane, and the size of the greatest ones.
    fn margin(&self, lane: usize) -> (f64, f64) {
        let mut logits: Vec<f64> = self
            .tape
            .logit
            .at(0)
            .iter()
            .map(|l| l.0[lane].to_f64())
            .collect();
        let size = logits.iter().fold(1.0, |size, l| l.abs().max(size));
        logits.sort_by(|a, b| b.total_cmp(a));
        (
            logits
                .get(1)
                .map_or(f64::INFINITY, |second| logits[0] - second),
            size,
        )
    }

    /// Controls of the given choices.
    fn act(&mut self, choices: [u16; LANES]) {
        self.tape.choice[0] = choices;
        self.model
            .act(&self.parameters, &mut self.tape, 0, &mut self.scratch);
    }

    fn control(&self, lane: usize) -> Vec<f64> {
        self.tape
            .applied
            .at(0)
            .iter()
            .map(|u| u.0[lane].to_f64())
            .collect()
    }
}

/// Compares an exported policy with a forward pass of the trainer; returns how many states were
/// too near a tie for the choice to be compared.
fn compare<T: Real>(policy: &Policy<'_>, forward: &mut Forward<T>, states: &[Vec<f32>]) -> usize {
    const TOLERANCE: f64 = 1e-4;
    let mut scratch = vec![0.0; policy.scratch_len()];
    let mut control = vec![0.0_f32; policy.control_dim()];
    let mut ties = 0;
    for block in states.chunks_exact(LANES) {
        forward.select(block);
        let mut choices = [0; LANES];
        let mut controls = Vec::new();
        for (lane, state) in block.iter().enumerate() {
            let decision = policy.decide(state, &mut control, &mut scratch).unwrap();
            let (margin, size) = forward.margin(lane);
            if margin > TOLERANCE * size {
                assert_eq!(decision.choice, forward.tape.choice[0][lane], "{state:?}");
            } else {
                ties += 1;
            }
            let mode = forward.model.shape().choice_modes[usize::from(decision.choice)];
            assert_eq!(usize::from(decision.mode), mode);
            choices[lane] = decision.choice;
            controls.push(control.clone());
        }
        forward.act(choices);
        for (lane, state) in block.iter().enumerate() {
            let expected = forward.control(lane);
            let size = expected.iter().fold(1.0, |size: f64, u| size.max(u.abs()));
            for (&found, expected) in controls[lane].iter().zip(expected) {
                assert!(
                    (f64::from(found) - expected).abs() <= TOLERANCE * size,
                    "{found} {expected} at {state:?}"
                );
            }
        }
    }
    ties
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Every structure: what is exported is what the trainer computes, in its f32 and in f64.
    #[test]
    fn an_exported_policy_is_the_trainer_s_forward_pass(case in cases()) {
        let folder = tempfile::tempdir().unwrap();
        let plant = case.plant(folder.path());
        let mut stream = Stream::new(case.seed, Purpose::Parameters, 0);
        let model = Model::new(case.shape(&plant, &mut stream));
        let parameters: Vec<f32> =
            (0..model.parameters()).map(|_| (0.7 * stream.normal()) as f32).collect();
        let buffer = PolicyBuffer::new(&export::policy_file(&plant, &model, &parameters).unwrap());

        let policy = validate(&buffer);
        policy
            .check_golden(&mut vec![0.0; case.m], &mut vec![0.0; policy.scratch_len()])
            .unwrap();
        prop_assert_eq!(policy.parameters(), stored_parameters(&model));
        prop_assert_eq!(policy.choices(), case.modes * case.laws);
        prop_assert_eq!(policy.has_scores(), case.scores);
        prop_assert_eq!(policy.has_gains(), case.gains);
        prop_assert_eq!(policy.selector_hidden().is_some(), case.selector.is_some());
        prop_assert_eq!(policy.control_hidden().is_some(), case.control.is_some());

        let states: Vec<Vec<f32>> = (0..4 * LANES)
            .map(|_| (0..case.n).map(|_| (2.0 * stream.normal()) as f32).collect())
            .collect();
        for ties in [
            compare(&policy, &mut Forward::<f64>::new(&model, &parameters), &states),
            compare(&policy, &mut Forward::<f32>::new(&model, &parameters), &states),
        ] {
            prop_assert!(ties <= 6, "{} of {} states near a tie", ties, states.len());
        }
    }
}
