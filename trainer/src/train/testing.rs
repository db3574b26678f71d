//! What the learner's tests share: every structure of policy on a small plant, and differences.

use nalgebra::{DMatrix, DVector};
use pulp::Arch;

use crate::numeric::random::{Purpose, Stream};
use crate::numeric::{LANES, Lanes, Real};
use crate::plant::{Plant, SwitchedLqr, SwitchedLqrData, load_plant};
use crate::policy::{InputKind, Model, PolicyShape};
use crate::train::critic::Critic;
use crate::train::learner::{EpochMetrics, Learner, State};
use crate::train::rollout::{LookAhead, Selection, Worker};
use crate::train::run::{plant_traits, policy_shape};
use crate::train::settings::{CriticSettings, Settings};

/// Random numbers for tests.
pub(crate) fn stream(seed: u64) -> Stream {
    Stream::new(seed, Purpose::Evaluation, 77)
}

/// Standard normal numbers times `scale`.
pub(crate) fn vector<T: Real>(stream: &mut Stream, len: usize, scale: f64) -> Vec<T> {
    (0..len)
        .map(|_| T::from_f64(scale * stream.normal()))
        .collect()
}

/// Standard normal lanes.
pub(crate) fn lanes<T: Real>(stream: &mut Stream, len: usize) -> Vec<Lanes<T>> {
    (0..len)
        .map(|_| Lanes(std::array::from_fn(|_| T::from_f64(stream.normal()))))
        .collect()
}

/// Half of the reach of [`differences`].
pub(crate) const STEP: f64 = 1e-4;

/// Gradient by central differences of fourth order: error about 1e-11 on functions of order one.
pub(crate) fn differences(x: &[f64], mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let mut x = x.to_vec();
    (0..x.len())
        .map(|i| {
            let center = x[i];
            let mut at = |offset: f64| {
                x[i] = center + offset;
                f(&x)
            };
            let near = at(STEP) - at(-STEP);
            let far = at(2.0 * STEP) - at(-2.0 * STEP);
            x[i] = center;
            (8.0 * near - far) / (12.0 * STEP)
        })
        .collect()
}

/// Gradient with respect to every lane of every entry of `x`.
pub(crate) fn lane_differences(
    x: &[Lanes<f64>],
    mut f: impl FnMut(&[Lanes<f64>]) -> f64,
) -> Vec<f64> {
    differences(&flat(x), |values| f(&unflat(values)))
}

/// Lanes as plain numbers.
pub(crate) fn flat(x: &[Lanes<f64>]) -> Vec<f64> {
    x.iter().flat_map(|lanes| lanes.0).collect()
}

fn unflat(values: &[f64]) -> Vec<Lanes<f64>> {
    let chunks = values.chunks_exact(LANES);
    chunks
        .map(|chunk| Lanes(std::array::from_fn(|lane| chunk[lane])))
        .collect()
}

/// Sum over entries and lanes of `a b`.
pub(crate) fn dot(a: &[Lanes<f64>], b: &[Lanes<f64>]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (a * b).sum()).sum()
}

/// Greatest difference, relative to the greatest expected value (or to 1e-3, if that is greater).
pub(crate) fn difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-3_f64, |a, b| a.max(b.abs()));
    let worst = found
        .iter()
        .zip(expected)
        .map(|(f, e)| (f - e).abs())
        // A NaN must not be lost in a maximum.
        .fold(0.0_f64, |a, b| if b <= a { a } else { b });
    worst / scale
}

/// Fails with the worst entry where `found` and `expected` differ by more than `tolerance`.
#[track_caller]
pub(crate) fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    let error = difference(found, expected);
    assert!(
        error <= tolerance,
        "{what}: relative difference {error:e}\nfound    {found:?}\nexpected {expected:?}"
    );
}

/// One of all structures of policy and plant that the learner knows.
#[derive(Clone, Debug)]
pub(crate) struct Structure {
    pub input: InputKind,
    pub scores: bool,
    pub selector: Option<Vec<usize>>,
    pub gains: bool,
    pub control: Option<Vec<usize>>,
    pub head_per_choice: bool,
    /// Bounds, affine terms, noise and a state clamp that is active in some lanes.
    pub rough: bool,
}

impl Structure {
    /// Number of structures.
    pub const COUNT: usize = 2 * 4 * 5 * 2 * 2;

    /// The structure with a number below [`Structure::COUNT`].
    pub fn number(index: usize) -> Self {
        let mut rest = index;
        let mut digit = |base: usize| {
            let digit = rest % base;
            rest /= base;
            digit
        };
        let input = [InputKind::UnitNorm, InputKind::Affine][digit(2)];
        let (scores, selector) = match digit(4) {
            0 => (true, None),
            1 => (false, Some(vec![3])),
            2 => (true, Some(vec![3, 2])),
            _ => (false, Some(vec![])),
        };
        let (gains, control) = match digit(5) {
            0 => (true, None),
            1 => (false, Some(vec![4])),
            2 => (true, Some(vec![3, 2])),
            3 => (false, Some(vec![])),
            _ => (true, Some(vec![])),
        };
        Self {
            input,
            scores,
            selector,
            gains,
            control,
            head_per_choice: digit(2) == 0,
            rough: digit(2) == 1,
        }
    }
}

/// Sizes of a [`Case`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub state: usize,
    pub control: usize,
    pub modes: usize,
    pub laws: usize,
    pub steps: usize,
}

impl Sizes {
    /// Small sizes drawn at random, three steps.
    pub fn random(stream: &mut Stream) -> Self {
        let mut up_to = |most| 1 + stream.below(most) as usize;
        Self {
            state: up_to(3),
            control: up_to(3),
            modes: up_to(3),
            laws: up_to(2),
            steps: 3,
        }
    }
}

/// A plant, a policy and a critic with random numbers in all places, and sixteen starts.
pub(crate) struct Case {
    pub data: SwitchedLqrData,
    pub plant: SwitchedLqr<f64>,
    pub model: Model,
    pub critic: Critic,
    pub parameters: Vec<f64>,
    pub critic_parameters: Vec<f64>,
    pub discount: f64,
    /// Holds initial states, noise, and random choices.
    pub worker: Worker<f64>,
}

impl Case {
    pub fn new(structure: &Structure, sizes: Sizes, seed: u64) -> Self {
        Self::factored(structure, sizes, &[sizes.modes * sizes.laws], seed)
    }

    /// A case whose selector has factors of these sizes; their product is the number of choices.
    pub fn factored(structure: &Structure, sizes: Sizes, factors: &[usize], seed: u64) -> Self {
        assert_eq!(
            factors.iter().product::<usize>(),
            sizes.modes * sizes.laws,
            "choices of {factors:?}"
        );
        let mut stream = stream(seed);
        let data = plant(&mut stream, sizes, structure.rough);
        let (n, m) = (sizes.state, sizes.control);
        let affine = structure.input == InputKind::Affine;
        let positive = |stream: &mut Stream| 0.5 + stream.uniform();
        let model = Model::new(PolicyShape {
            state: n,
            control: m,
            modes: sizes.modes,
            choice_modes: (0..sizes.modes * sizes.laws)
                .map(|choice| choice / sizes.laws)
                .collect(),
            factors: factors.to_vec(),
            critic_forms: true,
            value_scale: 1.0,
            law_offset: vec![0.0; m],
            law_scale: vec![1.0; m],
            regions: None,
            input: structure.input,
            input_shift: vector(&mut stream, n, if affine { 0.3 } else { 0.0 }),
            input_scale: (0..n).map(|_| positive(&mut stream)).collect(),
            scores: structure.scores,
            selector_hidden: structure.selector.clone(),
            gains: structure.gains,
            control_hidden: structure.control.clone(),
            head_per_choice: structure.head_per_choice,
            bounds: structure.rough.then(|| {
                let lower = (0..m).map(|i| -0.5 - 0.1 * i as f64).collect();
                (lower, vec![0.6; m])
            }),
            constraints: crate::plant::Constraints::default(),
        });
        let critic = CriticSettings {
            forms: 1 + seed as usize % 3,
            hidden: if seed.is_multiple_of(2) {
                vec![3]
            } else {
                Vec::new()
            },
        };
        let critic = Critic::new(model.shape(), &critic);
        let parameters = vector(&mut stream, model.parameters(), 0.4);
        let critic_parameters = vector(&mut stream, critic.parameters(), 1.0);
        let mut worker = Worker::new(&model, &critic, sizes.steps, data.noise_std.len());
        let tape = &mut worker.tape;
        tape.state.at_mut(0).copy_from_slice(&lanes(&mut stream, n));
        for t in 0..sizes.steps {
            let noise = tape.noise.at_mut(t);
            noise.copy_from_slice(&lanes(&mut stream, noise.len()));
            for lane in 0..LANES {
                let choices = (sizes.modes * sizes.laws) as u64;
                tape.choice[t][lane] = stream.below(choices) as u16;
            }
        }
        Self {
            plant: SwitchedLqr::from_data(&data),
            data,
            model,
            critic,
            parameters,
            critic_parameters,
            discount: 0.9,
            worker,
        }
    }

    /// The first case from `seed` on in which no lane of the given choices is near a kink, where
    /// differences and derivatives part.
    pub fn smooth(structure: &Structure, sizes: Sizes, seed: u64) -> Self {
        for attempt in 0..200 {
            let mut case = Self::new(structure, sizes, seed + 1_000_003 * attempt);
            let mut worker = case.worker.clone();
            case.run(&mut worker, &case.parameters, false);
            if case.margin(&worker) > 40.0 * STEP {
                case.worker = worker;
                return case;
            }
        }
        panic!("no smooth case: {structure:?} {sizes:?} {seed}");
    }

    /// Least distance of a state from the clamp (on either side) and from zero, and of a law from its
    /// bounds, over all steps and lanes.
    pub fn margin(&self, worker: &Worker<f64>) -> f64 {
        let tape = &worker.tape;
        let free = SwitchedLqr::<f64>::from_data(&SwitchedLqrData {
            state_clamp: 1e9,
            ..self.data.clone()
        });
        let mut least = f64::INFINITY;
        let mut next = vec![Lanes::default(); self.model.shape().state];
        for t in 0..tape.steps() {
            for mode in 0..self.model.shape().modes {
                let (x, u, w) = (tape.state.at(t), tape.applied.at(t), tape.noise.at(t));
                free.step(mode, x, u, w, &mut next);
                for lane in 0..LANES {
                    let choice = usize::from(tape.choice[t][lane]);
                    if self.model.shape().choice_modes[choice] == mode {
                        let to_clamp =
                            |x: &Lanes<f64>| (x.0[lane].abs() - self.data.state_clamp).abs();
                        least = next.iter().map(to_clamp).fold(least, f64::min);
                    }
                }
            }
            for lane in 0..LANES {
                least = least.min(tape.norm.at(t)[0].0[lane] / 5.0);
                if let Some((lower, upper)) = &self.model.shape().bounds {
                    for (i, u) in tape.law.at(t).iter().enumerate() {
                        least = least.min((u.0[lane] - lower[i]).abs());
                        least = least.min((u.0[lane] - upper[i]).abs());
                    }
                }
            }
        }
        least
    }

    /// Rolls the worker's given choices out; with `look` the look-ahead values too.
    pub fn run(&self, worker: &mut Worker<f64>, parameters: &[f64], look: bool) {
        let look = look.then_some(LookAhead {
            critic: &self.critic,
            parameters: &self.critic_parameters,
            discount: self.discount,
        });
        worker.rollout(&self.plant, &self.model, parameters, Selection::Given, look);
    }

    /// Discounted cost of each lane of a rollout.
    pub fn cost(&self, worker: &Worker<f64>) -> Lanes<f64> {
        let mut cost = Lanes::default();
        for t in 0..worker.tape.steps() {
            cost = cost + worker.tape.cost.at(t)[0] * self.discount.powi(t as i32);
        }
        cost
    }

    /// Checks two parameter vectors group by group.
    #[track_caller]
    pub fn assert_close(&self, what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), self.model.parameters());
        for (group, range) in self.model.groups() {
            let what = format!("{what}, {group:?}, {:?}", self.model.shape());
            assert_close(&what, &found[range.clone()], &expected[range], tolerance);
        }
    }
}

fn plant(stream: &mut Stream, sizes: Sizes, rough: bool) -> SwitchedLqrData {
    let (n, m, modes) = (sizes.state, sizes.control, sizes.modes);
    let mut matrix =
        |rows, columns, scale: f64| DMatrix::from_fn(rows, columns, |_, _| scale * stream.normal());
    let list = |f: &mut dyn FnMut() -> DMatrix<f64>| (0..modes).map(|_| f()).collect();
    let mut positive = |size: usize| {
        let root = matrix(size, size, 0.4);
        &root * root.transpose() + DMatrix::identity(size, size) * 0.3
    };
    let q = list(&mut || positive(n));
    let r = list(&mut || positive(m));
    let a = list(&mut || matrix(n, n, 0.4) + DMatrix::identity(n, n) * 0.8);
    let b = list(&mut || matrix(n, m, 0.7));
    let mut data = SwitchedLqrData {
        a,
        b,
        q,
        r,
        affine: Vec::new(),
        noise_std: Vec::new(),
        state_clamp: 1e6,
    };
    if rough {
        let affine = |_| DVector::from_fn(n, |_, _| 0.3 * stream.normal());
        data.affine = (0..modes).map(affine).collect();
        data.noise_std = vec![0.2; n];
        data.state_clamp = 3.0;
    }
    data
}

/// Pairs of `--set`.
pub(crate) fn pairs(sets: &[(&str, &str)]) -> Vec<(String, String)> {
    sets.iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// State and figures after two epochs of two updates on a small plant, and the settings.
pub(crate) fn trained(
    sets: &[(&str, &str)],
    arch: Arch,
    threads: usize,
) -> (State, EpochMetrics, Settings) {
    let description = load_plant("switched-lqr-5-2", &pairs(&[("horizon", "7")])).expect("a plant");
    let short = [
        ("train.batch", "80"),
        ("train.batches_per_epoch", "2"),
        ("train.epochs", "2"),
    ];
    let sets = pairs(&[&short, sets].concat());
    let settings = Settings::resolve(&sets, plant_traits(&description)).expect("settings");
    let model = Model::new(policy_shape(&description, &settings));
    let critic = Critic::new(model.shape(), &settings.critic);
    let plant = description.build::<f32>();
    let mut learner = Learner::new(&plant, &description, &model, &critic, &settings, 5);
    learner.use_instructions(arch);
    let mut state = State::new(&model, &critic, &settings, 5);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads");
    let mut metrics = EpochMetrics::default();
    for _ in 0..2 {
        metrics = pool.install(|| learner.epoch(&mut state));
    }
    assert!(state.is_finite());
    (state, metrics, settings)
}
