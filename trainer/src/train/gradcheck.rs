//! Is the gradient right? Exact enumeration against the estimator's mean, in `f64`, on a small set-up.
//!
//! The set-up: the plant itself with a horizon short enough that every choice sequence can be listed, four
//! fixed initial states, a policy with every kind of part (scores, gains, two small networks). *Far* from a
//! discrete best response is a random policy; *near* one is the same policy after training.

use rayon::prelude::*;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::numeric::random::{Purpose, Stream};
use crate::numeric::{LANES, Lanes};
use crate::plant::{Plant, PlantModel, SwitchedLqr};
use crate::policy::Model;
use crate::train::advantage::{Advantages, taken};
use crate::train::critic::Critic;
use crate::train::estimator::{self, ChoiceLoss};
use crate::train::hpo::Hpo;
use crate::train::learner::{Learner, State};
use crate::train::rollout::{LookAhead, Objective, Selection, Worker};
use crate::train::run::{plant_traits, policy_shape};
use crate::train::settings::{Settings, TrainSettings};
use crate::train::statistics::{Projections, Spread};

/// Fixed initial states; each takes a quarter of the lanes.
const STARTS: usize = 4;
/// Greatest number of choice sequences that are listed.
const MAX_SEQUENCES: usize = 4096;
/// Longest horizon.
const MAX_HORIZON: usize = 8;
/// Greatest number of bytes that the estimates of one figure may take.
const MEMORY: usize = 1 << 30;
/// Standard deviation of the Gaussian perturbation of the control in the variance comparison.
const PERTURBATION: f64 = 0.1;

/// What is measured of one policy.
#[derive(Clone, Debug, Serialize)]
pub struct CaseReport {
    /// Greatest |z| of the estimator's mean against the exact gradient: its projection on the exact gradient and
    /// on eight vectors of +-1, for each parameter block.
    pub max_z: f64,
    /// Standard error of the mean along the exact gradient, relative to its norm.
    pub relative_standard_error: f64,
    /// |mean - exact| / |exact|; sampling noise included.
    pub relative_bias: f64,
    /// As `max_z`, for the estimator without the cross term.
    pub max_z_without_cross_term: f64,
    /// |E - exact| / |exact| of the estimator without the cross term, by enumeration: no sampling noise.
    pub relative_bias_without_cross_term: f64,
    /// Greatest difference between the exact gradient and central differences of the exact objective along the
    /// same vectors, relative.
    pub difference_error: f64,
    /// Per-sample variance (trace) and signal-to-noise ratio of the parts.
    pub parts: Vec<PartReport>,
}

/// One part of the gradient.
#[derive(Clone, Debug, Serialize)]
pub struct PartReport {
    /// Which part.
    pub part: &'static str,
    /// Sum over the parameters of the variance of one trajectory's estimate.
    pub variance: f64,
    /// Squared norm of the mean over that variance.
    pub signal_to_noise: f64,
}

/// What `hpo gradcheck` measures.
#[derive(Clone, Debug, Serialize)]
pub struct GradcheckReport {
    /// Name of the plant.
    pub plant: String,
    /// Horizon of the set-up.
    pub horizon: usize,
    /// Choice sequences that were listed for each initial state.
    pub sequences: usize,
    /// Parameters of the policy.
    pub parameters: usize,
    /// Sampled trajectories, for each figure that is sampled.
    pub samples: usize,
    /// The figures of the far case.
    #[serde(flatten)]
    pub far: CaseReport,
    /// Variance of the score function over that of the mixed gradient, law parameters, with the same
    /// Gaussian perturbation of the control (far case); null on a plant with control bounds.
    pub variance_ratio: Option<f64>,
    /// The figures near a discrete best response.
    pub near: CaseReport,
}

impl GradcheckReport {
    /// Fails where the mean of the estimator is not the exact gradient, or the exact gradient is not the slope
    /// of the exact objective.
    ///
    /// # Errors
    /// [`Error::Negative`] with the figure that is out of its limit.
    pub fn verdict(&self) -> Result<()> {
        for (name, case) in [("far", &self.far), ("near", &self.near)] {
            for (what, found, limit) in [
                ("greatest |z|", case.max_z, 5.0),
                (
                    "difference to finite differences",
                    case.difference_error,
                    1e-6,
                ),
            ] {
                if found.is_nan() || found >= limit {
                    return Err(Error::Negative(format!(
                        "{name} case: {what}: found {found:.3e}; allowed: below {limit:e}"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Runs the check with `samples` trajectories (rounded up to sixteen).
///
/// # Errors
/// [`Error::Usage`] if the plant has too many modes to list two steps of choices, or no samples are asked for.
pub fn gradcheck(plant: &PlantModel, samples: usize, seed: u64) -> Result<GradcheckReport> {
    let modes = plant.dims().modes;
    let horizon = (1..=MAX_HORIZON.min(plant.horizon()))
        .take_while(|&t| {
            u32::try_from(t)
                .ok()
                .and_then(|t| modes.checked_pow(t))
                .is_some_and(|sequences| sequences <= MAX_SEQUENCES)
        })
        .last()
        .filter(|&t| t >= 2 || plant.horizon() == 1)
        .ok_or_else(|| {
            Error::Usage(format!(
                "gradcheck: found {modes} modes; allowed: up to 64, so that two steps of choices can be listed"
            ))
        })?;
    if samples == 0 {
        return Err(Error::Usage(
            "--samples: found 0; allowed: 1 or more".into(),
        ));
    }
    let settings = settings(plant)?;
    let model = Model::new(policy_shape(plant, &settings));
    let critic = Critic::new(model.shape(), &settings.critic.hidden);
    let batches = samples.div_ceil(LANES);
    // The estimates of one figure are held in memory.
    let most = MEMORY / (8 * model.parameters().max(1)) * LANES;
    if samples > most {
        return Err(Error::Usage(format!(
            "--samples: found {samples}; allowed: up to {most} for the {} parameters of this plant's set-up",
            model.parameters()
        )));
    }
    let case = |epochs: usize| {
        let state = trained(plant, &model, &critic, &settings, seed, epochs);
        Case::new(plant, &model, &critic, &state, horizon, seed)
    };
    let far = case(0);
    let near = case(60);
    Ok(GradcheckReport {
        plant: plant.name().to_owned(),
        horizon,
        sequences: modes.pow(horizon as u32),
        parameters: model.parameters(),
        samples: batches * LANES,
        variance_ratio: model
            .shape()
            .bounds
            .is_none()
            .then(|| far.variance_ratio(batches)),
        far: far.report(batches),
        near: near.report(batches),
    })
}

/// A small policy with every kind of part, and scores wide enough to make choices matter.
fn settings(plant: &PlantModel) -> Result<Settings> {
    let sets = [
        ("policy.laws_per_mode", "1"),
        ("policy.selector_hidden", "[4]"),
        ("policy.control_hidden", "[4]"),
        ("policy.score_spread", "1.0"),
        ("train.batches_per_epoch", "4"),
        ("train.minibatches", "1"),
    ];
    let sets: Vec<(String, String)> = sets
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    Settings::resolve(&sets, plant_traits(plant))
}

/// Parameters after `epochs` epochs of training, with a critic that has learned the policy's cost; the
/// policy itself stays random for 0 epochs.
fn trained(
    plant: &PlantModel,
    model: &Model,
    critic: &Critic,
    settings: &Settings,
    seed: u64,
    epochs: usize,
) -> State {
    let dynamics = plant.build::<f32>();
    let mut settings = settings.clone();
    let mut state = State::new(model, critic, &settings, seed);
    // Networks start small so that training is easy; here their parts of the gradient shall count.
    let mut stream = Stream::new(seed, Purpose::Parameters, 2);
    for parameter in &mut state.parameters {
        *parameter += (0.1 * stream.normal()) as f32;
    }
    if epochs > 0 {
        settings.train.epochs = epochs;
        let mut hpo = Hpo::new(&dynamics, plant, model, critic, &settings, seed);
        for _ in 0..epochs {
            hpo.epoch(&mut state);
        }
        return state;
    }
    // Only the critic learns.
    let policy = state.parameters.clone();
    settings.train.epochs = 20;
    let mut hpo = Hpo::new(&dynamics, plant, model, critic, &settings, seed);
    for _ in 0..settings.train.epochs {
        hpo.epoch(&mut state);
        state.parameters.copy_from_slice(&policy);
    }
    state
}

/// One policy on the small set-up, everything in `f64`.
struct Case<'a> {
    dynamics: SwitchedLqr<f64>,
    model: &'a Model,
    critic: &'a Critic,
    parameters: Vec<f64>,
    critic_parameters: Vec<f64>,
    discount: f64,
    train: TrainSettings,
    seed: u64,
    /// Initial states and process noise in every lane; lanes l, l + STARTS.. share theirs.
    template: Worker<f64>,
}

impl<'a> Case<'a> {
    fn new(
        plant: &PlantModel,
        model: &'a Model,
        critic: &'a Critic,
        state: &State,
        horizon: usize,
        seed: u64,
    ) -> Self {
        let dims = plant.dims();
        let mut template = Worker::new(model, critic, horizon, dims.noise);
        for (start, initial) in plant
            .draw_states(seed, Purpose::Validation, STARTS)
            .iter()
            .enumerate()
        {
            let mut noise = Stream::new(seed, Purpose::Noise, start as u64);
            let tape = &mut template.tape;
            for (x, &value) in tape.state.at_mut(0).iter_mut().zip(initial) {
                (start..LANES)
                    .step_by(STARTS)
                    .for_each(|lane| x.0[lane] = value);
            }
            for t in 0..horizon {
                for w in tape.noise.at_mut(t) {
                    let value = noise.normal();
                    (start..LANES)
                        .step_by(STARTS)
                        .for_each(|lane| w.0[lane] = value);
                }
            }
        }
        let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect();
        Self {
            dynamics: plant.build(),
            model,
            critic,
            parameters: wide(&state.parameters),
            critic_parameters: wide(&state.critic),
            discount: plant.discount(),
            train: TrainSettings::exact(),
            seed,
            template,
        }
    }

    fn horizon(&self) -> usize {
        self.template.tape.steps()
    }

    /// All choice sequences for all starts, sixteen at a time: calls `visit` with every block after its
    /// rollout and with the probability of each lane's sequence, divided by the number of starts.
    fn enumerate<R: Send>(
        &self,
        parameters: &[f64],
        visit: impl Fn(&mut Worker<f64>, Lanes<f64>) -> R + Sync,
    ) -> Vec<R> {
        let choices = self.model.shape().choices();
        let sequences = choices.pow(self.horizon() as u32);
        let per_block = LANES / STARTS;
        (0..sequences.div_ceil(per_block))
            .into_par_iter()
            .map_init(
                || self.template.clone(),
                |worker, block| {
                    let mut share = Lanes::default();
                    for lane in 0..LANES {
                        let sequence = block * per_block + lane / STARTS;
                        if sequence < sequences {
                            share.0[lane] = 1.0 / STARTS as f64;
                        }
                        for t in 0..self.horizon() {
                            let digit = sequence / choices.pow(t as u32) % choices;
                            worker.tape.choice[t][lane] = digit as u16;
                        }
                    }
                    let selection = Selection::Given;
                    worker.rollout(&self.dynamics, self.model, parameters, selection, None);
                    let probability = (0..self.horizon()).fold(share, |product, t| {
                        product * taken(worker.tape.probability.at(t), &worker.tape.choice[t])
                    });
                    visit(worker, probability)
                },
            )
            .collect()
    }

    /// The expected cost.
    fn objective(&self, parameters: &[f64]) -> f64 {
        self.enumerate(parameters, |worker, probability| {
            (probability * self.cost(worker)).sum()
        })
        .iter()
        .sum()
    }

    /// Discounted cost of each lane's trajectory.
    fn cost(&self, worker: &Worker<f64>) -> Lanes<f64> {
        (0..self.horizon()).rev().fold(Lanes::default(), |sum, t| {
            sum * self.discount + worker.tape.cost.at(t)[0]
        })
    }

    /// Gradient of [`Case::objective`]: the sum over sequences of P (D L + L D log P), with total derivatives;
    /// `cross_term` 0 leaves out what earlier controls do to the probability of later choices.
    fn enumerated_gradient(&self, cross_term: f64) -> Vec<f64> {
        let parts = self.enumerate(&self.parameters, |worker, probability| {
            let weight = probability * self.cost(worker);
            for t in 0..self.horizon() {
                worker.tape.d_logits.at_mut(t).fill(Lanes::default());
                crate::train::advantage::add_sampled(&mut worker.tape, t, weight);
            }
            let mut gradient = vec![0.0; self.model.parameters()];
            let objective = Objective {
                cost_weight: probability,
                discount: self.discount,
                cross_term,
            };
            worker.sweep(
                &self.dynamics,
                self.model,
                &self.parameters,
                objective,
                &mut gradient,
            );
            gradient
        });
        let mut sum = vec![0.0; self.model.parameters()];
        for part in parts {
            sum.iter_mut().zip(part).for_each(|(sum, g)| *sum += g);
        }
        sum
    }

    /// Estimates of `batches` batches of sixteen trajectories; `estimate` fills one gradient.
    fn sample(
        &self,
        batches: usize,
        estimate: impl Fn(&mut Worker<f64>, &mut Advantages<f64>, &mut [f64]) + Sync,
    ) -> Vec<Vec<f64>> {
        (0..batches)
            .into_par_iter()
            .map_init(
                || {
                    let advantages = Advantages::new(self.critic, self.horizon());
                    (self.template.clone(), advantages)
                },
                |(worker, advantages), batch| {
                    let mut stream = Stream::new(self.seed, Purpose::Choice, batch as u64);
                    for t in 0..self.horizon() {
                        for lane in 0..LANES {
                            worker.tape.uniform.at_mut(t)[0].0[lane] = stream.uniform();
                        }
                    }
                    let look = LookAhead {
                        critic: self.critic,
                        parameters: &self.critic_parameters,
                        discount: self.discount,
                    };
                    worker.rollout(
                        &self.dynamics,
                        self.model,
                        &self.parameters,
                        Selection::Sample,
                        Some(look),
                    );
                    advantages.evaluate(
                        self.critic,
                        &self.critic_parameters,
                        &worker.tape,
                        self.train.bootstrap,
                    );
                    estimator::estimate(&self.train, &worker.tape, self.discount, advantages);
                    let mut gradient = vec![0.0; self.model.parameters()];
                    estimate(worker, advantages, &mut gradient);
                    gradient
                },
            )
            .collect()
    }

    /// One estimate by the code that trains: `cost` and `choices` say which parts are in it.
    fn estimate(
        &self,
        worker: &mut Worker<f64>,
        advantages: &Advantages<f64>,
        (cost, choices, cross_term): (f64, bool, f64),
        gradient: &mut [f64],
    ) {
        let share = 1.0 / LANES as f64;
        let loss = ChoiceLoss {
            advantage: share,
            entropy: 0.0,
        };
        for t in 0..self.horizon() {
            let tape = &mut worker.tape;
            if choices {
                let discount = self.discount;
                estimator::fill_logits(&self.train, tape, discount, advantages, loss, None, t);
            } else {
                tape.d_logits.at_mut(t).fill(Lanes::default());
            }
        }
        let mut objective = estimator::objective(&self.train, self.discount, share * cost);
        objective.cross_term = cross_term;
        worker.sweep(
            &self.dynamics,
            self.model,
            &self.parameters,
            objective,
            gradient,
        );
    }

    fn report(&self, batches: usize) -> CaseReport {
        let exact = self.enumerated_gradient(1.0);
        let blocks: Vec<_> = self
            .model
            .groups()
            .into_iter()
            .map(|(_, range)| range)
            .filter(|range| !range.is_empty())
            .collect();
        let projections = Projections::new(&exact, &blocks, self.seed);
        let with = self.sample(batches, |worker, advantages, gradient| {
            self.estimate(worker, advantages, (1.0, true, 1.0), gradient);
        });
        let without = self.sample(batches, |worker, advantages, gradient| {
            self.estimate(worker, advantages, (1.0, true, 0.0), gradient);
        });
        let biased = self.enumerated_gradient(0.0);
        let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        let difference: Vec<f64> = biased.iter().zip(&exact).map(|(b, e)| b - e).collect();
        let spread = Spread::new(&with, 0..exact.len());
        let off: Vec<f64> = spread.mean.iter().zip(&exact).map(|(m, e)| m - e).collect();
        CaseReport {
            max_z: projections.max_z(&with),
            relative_standard_error: projections.relative_standard_error(&with),
            relative_bias: norm(&off) / norm(&exact),
            max_z_without_cross_term: projections.max_z(&without),
            relative_bias_without_cross_term: norm(&difference) / norm(&exact),
            difference_error: projections
                .difference_error(&self.parameters, |parameters| self.objective(parameters)),
            parts: self.parts(batches),
        }
    }

    /// Variances of the parts: score function of the selector, pathwise and cross term of the laws.
    fn parts(&self, batches: usize) -> Vec<PartReport> {
        let laws = self.model.groups()[1].1.end..self.model.parameters();
        let selector = 0..laws.start;
        [
            ("score function (selector)", (0.0, true, 0.0), selector),
            ("pathwise (laws)", (1.0, false, 0.0), laws.clone()),
            ("cross term (laws)", (0.0, true, 1.0), laws.clone()),
            ("mixed (laws)", (1.0, true, 1.0), laws),
        ]
        .into_iter()
        .map(|(part, which, range)| {
            let estimates = self.sample(batches, |worker, advantages, gradient| {
                self.estimate(worker, advantages, which, gradient);
            });
            let spread = Spread::new(&estimates, range);
            PartReport {
                part,
                variance: spread.variance * LANES as f64,
                signal_to_noise: spread.signal / (spread.variance * LANES as f64),
            }
        })
        .collect()
    }

    /// Variance of the score-function estimator of the laws' gradient over that of the mixed one, both
    /// for the policy whose control is perturbed by the same Gaussian noise.
    fn variance_ratio(&self, batches: usize) -> f64 {
        let laws = self.model.groups()[1].1.end..self.model.parameters();
        let perturbed = PerturbedControl {
            plant: &self.dynamics,
            deviation: PERTURBATION,
        };
        let (steps, dims) = (self.horizon(), perturbed.dims());
        let own_noise = self.dynamics.dims().noise;
        let estimates: Vec<(Vec<f64>, Vec<f64>)> = (0..batches)
            .into_par_iter()
            .map(|batch| {
                let mut worker = Worker::new(self.model, self.critic, steps, dims.noise);
                let tape = &mut worker.tape;
                tape.state
                    .at_mut(0)
                    .copy_from_slice(self.template.tape.state.at(0));
                let mut stream = Stream::new(self.seed, Purpose::Choice, batch as u64);
                for t in 0..steps {
                    for lane in 0..LANES {
                        tape.uniform.at_mut(t)[0].0[lane] = stream.uniform();
                        for w in tape.noise.at_mut(t) {
                            w.0[lane] = stream.normal();
                        }
                    }
                }
                let look = LookAhead {
                    critic: self.critic,
                    parameters: &self.critic_parameters,
                    discount: self.discount,
                };
                let selection = Selection::Sample;
                worker.rollout(
                    &perturbed,
                    self.model,
                    &self.parameters,
                    selection,
                    Some(look),
                );
                let mut advantages = Advantages::new(self.critic, steps);
                let tape = &worker.tape;
                advantages.evaluate(self.critic, &self.critic_parameters, tape, false);
                advantages.monte_carlo(tape, self.discount);
                let share = 1.0 / LANES as f64;
                let mut score = vec![0.0; self.model.parameters()];
                worker.score_function_of_laws(
                    self.model,
                    &self.parameters,
                    own_noise,
                    |t| advantages.advantage.at(t)[0] * (share / PERTURBATION),
                    &mut score,
                );
                estimator::estimate(&self.train, &worker.tape, self.discount, &mut advantages);
                let loss = ChoiceLoss {
                    advantage: share,
                    entropy: 0.0,
                };
                for t in 0..steps {
                    let tape = &mut worker.tape;
                    let (train, discount) = (&self.train, self.discount);
                    estimator::fill_logits(train, tape, discount, &advantages, loss, None, t);
                }
                let objective = estimator::objective(&self.train, self.discount, share);
                let mut mixed = vec![0.0; self.model.parameters()];
                worker.sweep(
                    &perturbed,
                    self.model,
                    &self.parameters,
                    objective,
                    &mut mixed,
                );
                (score, mixed)
            })
            .collect();
        let (score, mixed): (Vec<_>, Vec<_>) = estimates.into_iter().unzip();
        Spread::new(&score, laws.clone()).variance / Spread::new(&mixed, laws).variance
    }
}

/// A plant whose control is perturbed by Gaussian noise: the last m noise components.
struct PerturbedControl<'a, P> {
    plant: &'a P,
    deviation: f64,
}

impl<P: Plant<f64>> Plant<f64> for PerturbedControl<'_, P> {
    fn dims(&self) -> crate::plant::Dims {
        let dims = self.plant.dims();
        crate::plant::Dims {
            noise: dims.noise + dims.control,
            ..dims
        }
    }

    fn step<S: crate::numeric::Scalar<f64>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        next: &mut [S],
    ) -> S {
        let (own, perturbation) = noise.split_at(self.plant.dims().noise);
        let u = self.perturb(u, perturbation);
        self.plant.step(mode, x, &u, own, next)
    }

    fn vjp<S: crate::numeric::Scalar<f64>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        next: &[S],
        d_next: &[S],
        d_cost: S,
        d_x: &mut [S],
        d_u: &mut [S],
    ) {
        let (own, perturbation) = noise.split_at(self.plant.dims().noise);
        let u = self.perturb(u, perturbation);
        self.plant
            .vjp(mode, x, &u, own, next, d_next, d_cost, d_x, d_u);
    }

    fn count_clamped<S: crate::numeric::Scalar<f64>>(&self, next: &[S]) -> u32 {
        self.plant.count_clamped(next)
    }
}

impl<P> PerturbedControl<'_, P> {
    fn perturb<S: crate::numeric::Scalar<f64>>(&self, u: &[S], w: &[S]) -> Vec<S> {
        u.iter()
            .zip(w)
            .map(|(&u, &w)| u.add_scaled(self.deviation, w))
            .collect()
    }
}
