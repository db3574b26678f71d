//! The small set-up, everything in `f64`, and what is exact on it: objective and gradient by enumeration of all
//! choice sequences.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::numeric::random::{Purpose, Stream};
use crate::numeric::{LANES, Lanes};
use crate::plant::{BuiltPlant, PlantModel};
use crate::policy::Model;
use crate::policy::network::Layers;
use crate::train::advantage::{add_sampled, taken};
use crate::train::critic::Critic;
use crate::train::learner::{Learner, State};
use crate::train::rollout::{Objective, Selection, Worker};
use crate::train::run::{plant_traits, policy_shape};
use crate::train::settings::{Settings, TrainSettings};

/// Greatest number of choice sequences that are listed.
const MAX_SEQUENCES: usize = 4096;
/// Longest horizon.
const MAX_HORIZON: usize = 8;
/// Epochs in which the critic learns the cost of a policy that stays as it is.
const CRITIC_EPOCHS: usize = 20;

/// A plant with a short horizon, a policy with every kind of part, and one fixed initial state for each lane.
pub(super) struct SetUp {
    pub(super) plant: PlantModel,
    pub(super) dynamics: BuiltPlant<f64>,
    pub(super) model: Model,
    pub(super) critic: Critic,
    pub(super) discount: f64,
    /// The exact variant, which is what is checked.
    pub(super) train: TrainSettings,
    pub(super) seed: u64,
    /// Initial states and process noise in every lane.
    pub(super) template: Worker<f64>,
    settings: Settings,
}

impl SetUp {
    /// The longest horizon up to 8 whose choice sequences can be listed.
    ///
    /// # Errors
    /// [`Error::Usage`] if not even two steps of choices can be listed.
    pub(super) fn new(plant: &PlantModel, seed: u64) -> Result<Self> {
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
        let settings = settings(plant)?;
        let model = Model::new(policy_shape(plant, &settings));
        let critic = Critic::new(model.shape(), &settings.critic);
        let mut template = Worker::new(&model, &critic, horizon, plant.dims().noise);
        let starts = plant.draw_states(seed, Purpose::Validation, LANES);
        for (lane, start) in starts.iter().enumerate() {
            let mut noise = Stream::new(seed, Purpose::Noise, lane as u64);
            let tape = &mut template.tape;
            for (x, &value) in tape.state.at_mut(0).iter_mut().zip(start) {
                x.0[lane] = value;
            }
            tape.draw_noise(plant.disturbance(), &mut noise, lane);
        }
        Ok(Self {
            plant: plant.clone(),
            dynamics: plant.build(),
            model,
            critic,
            discount: plant.discount(),
            train: TrainSettings::exact(),
            seed,
            template,
            settings,
        })
    }

    /// Steps of an episode.
    pub(super) fn horizon(&self) -> usize {
        self.template.tape.steps()
    }

    /// Choice sequences of an episode.
    pub(super) fn sequences(&self) -> usize {
        self.model.shape().choices().pow(self.horizon() as u32)
    }

    /// Number of the selector's parameters, which come first; the laws' follow.
    pub(super) fn selector_parameters(&self) -> usize {
        self.model.groups()[1].1.end
    }

    /// A random policy whose scores, gains and networks all count.
    pub(super) fn random_policy(&self) -> Vec<f32> {
        let mut parameters =
            State::new(&self.model, &self.critic, &self.settings, self.seed).parameters;
        // Networks start small so that training is easy; here their parts of the gradient shall count.
        let mut stream = Stream::new(self.seed, Purpose::Parameters, 2);
        for parameter in &mut parameters {
            *parameter += (0.1 * stream.normal()) as f32;
        }
        parameters
    }

    /// The random policy after some epochs of training by the practical variant.
    pub(super) fn policy_after(&self, epochs: usize) -> Vec<f32> {
        let dynamics = self.plant.build::<f32>();
        let mut settings = self.settings.clone();
        settings.train.epochs = epochs;
        let mut state = State::new(&self.model, &self.critic, &settings, self.seed);
        state.parameters = self.random_policy();
        let (plant, model, critic) = (&self.plant, &self.model, &self.critic);
        let mut hpo = Learner::new(&dynamics, plant, model, critic, &settings, self.seed);
        for _ in 0..epochs {
            hpo.epoch(&mut state);
        }
        state.parameters
    }

    /// A critic that has learned the cost of `policy`, by the code that trains.
    pub(super) fn critic_of(&self, policy: &[f32]) -> Vec<f64> {
        let dynamics = self.plant.build::<f32>();
        let mut settings = self.settings.clone();
        settings.train.epochs = CRITIC_EPOCHS;
        let mut state = State::new(&self.model, &self.critic, &settings, self.seed);
        state.parameters.copy_from_slice(policy);
        let mut hpo = Learner::new(
            &dynamics,
            &self.plant,
            &self.model,
            &self.critic,
            &settings,
            self.seed,
        );
        for _ in 0..CRITIC_EPOCHS {
            hpo.epoch(&mut state);
            state.parameters.copy_from_slice(policy);
        }
        wide(&state.critic)
    }

    /// All choice sequences from all starts, a sequence at a time: calls `visit` with every rollout and with
    /// the probability of each lane's sequence, divided by the number of starts.
    pub(super) fn enumerate<R: Send>(
        &self,
        parameters: &[f64],
        visit: impl Fn(&mut Worker<f64>, Lanes<f64>) -> R + Sync,
    ) -> Vec<R> {
        let choices = self.model.shape().choices();
        (0..self.sequences())
            .into_par_iter()
            .map_init(
                || self.template.clone(),
                |worker, sequence| {
                    for t in 0..self.horizon() {
                        let digit = sequence / choices.pow(t as u32) % choices;
                        worker.tape.choice[t].fill(digit as u16);
                    }
                    let selection = Selection::Given;
                    worker.rollout(&self.dynamics, &self.model, parameters, selection, None);
                    let share = Lanes([1.0 / LANES as f64; LANES]);
                    let probability = (0..self.horizon()).fold(share, |product, t| {
                        product * taken(&worker.tape, worker.tape.probability.at(t), t)
                    });
                    visit(worker, probability)
                },
            )
            .collect()
    }

    /// Discounted cost of each lane's trajectory.
    fn cost(&self, worker: &Worker<f64>) -> Lanes<f64> {
        (0..self.horizon()).rev().fold(Lanes::default(), |sum, t| {
            sum * self.discount + worker.tape.cost.at(t)[0]
        })
    }

    /// The expected cost.
    pub(super) fn objective(&self, parameters: &[f64]) -> f64 {
        self.enumerate(parameters, |worker, probability| {
            (probability * self.cost(worker)).sum()
        })
        .iter()
        .sum()
    }

    /// Mean over the starts of the cost of the best choice sequence: no selector over the same laws costs less.
    pub(super) fn best_response_bound(&self, parameters: &[f64]) -> f64 {
        let costs = self.enumerate(parameters, |worker, _| self.cost(worker));
        let least = costs
            .into_iter()
            .fold(Lanes([f64::INFINITY; LANES]), |least, cost| {
                least.zip(cost, f64::min)
            });
        least.sum() / LANES as f64
    }

    /// Mean entropy of the selector over all visited states, in nats.
    pub(super) fn entropy(&self, parameters: &[f64]) -> f64 {
        let sums = self.enumerate(parameters, |worker, probability| {
            let entropies = (0..self.horizon()).fold(Lanes::default(), |sum, t| {
                sum + crate::train::advantage::entropy(&worker.tape, t)
            });
            (probability * entropies).sum()
        });
        sums.iter().sum::<f64>() / self.horizon() as f64
    }

    /// Gradient of [`SetUp::objective`]: the sum over sequences of P (D L + L D log P), with total
    /// derivatives; `cross_term` 0 leaves out what earlier controls do to the probability of later choices.
    pub(super) fn gradient(&self, parameters: &[f64], cross_term: f64) -> Vec<f64> {
        let parts = self.enumerate(parameters, |worker, probability| {
            let weight = probability * self.cost(worker);
            for t in 0..self.horizon() {
                worker.tape.d_logits.at_mut(t).fill(Lanes::default());
                add_sampled(&mut worker.tape, t, weight);
            }
            let mut gradient = vec![0.0; self.model.parameters()];
            let objective = Objective {
                cost_weight: probability,
                discount: self.discount,
                cross_term,
                layers: Layers::All,
            };
            let (dynamics, model) = (&self.dynamics, &self.model);
            worker.sweep(dynamics, model, parameters, objective, &mut gradient);
            gradient
        });
        let mut sum = vec![0.0; self.model.parameters()];
        for part in parts {
            sum.iter_mut().zip(part).for_each(|(sum, g)| *sum += g);
        }
        sum
    }
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

/// Numbers in double precision.
pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// Euclidean norm.
pub(super) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}
