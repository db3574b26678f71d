//! Unbiasedness by exact enumeration: the mean of the estimator over every choice sequence, weighted
//! with its probability, is the gradient of the expected cost.

use crate::numeric::{LANES, Lanes};
use crate::train::advantage::Advantages;
use crate::train::estimator::{self, ChoiceLoss};
use crate::train::rollout::Worker;
use crate::train::settings::{
    Advantage, ChoiceWeight, CrossTerm, Settings, TrainSettings, Variant,
};
use crate::train::testing::{Case, STEP, Sizes, Structure, difference, differences, stream};

/// A case of which one start is looked at, with all choice sequences in blocks of sixteen lanes.
struct Enumeration {
    case: Case,
    /// Workers whose choices are the sequences, and 1 in the lanes that hold one.
    blocks: Vec<(Worker<f64>, Lanes<f64>)>,
}

impl Enumeration {
    /// The first one from `seed` on in which no trajectory comes near a kink.
    fn smooth(structure: &Structure, laws: usize, seed: u64) -> Self {
        Self::of(structure, 2, laws, &[2 * laws], seed)
    }

    /// As [`Enumeration::smooth`], for a selector of several factors, each of whose combinations is a mode of its own.
    fn factored(structure: &Structure, factors: &[usize], seed: u64) -> Self {
        Self::of(structure, factors.iter().product(), 1, factors, seed)
    }

    fn of(structure: &Structure, modes: usize, laws: usize, factors: &[usize], seed: u64) -> Self {
        let sizes = Sizes {
            state: 2,
            control: 2,
            modes,
            laws,
            steps: 3,
        };
        for attempt in 0..200 {
            let case = Case::factored(structure, sizes, factors, seed + 1_000_003 * attempt);
            let found = Self::new(case);
            let is_smooth = found.blocks.iter().all(|(worker, _)| {
                let mut worker = worker.clone();
                found.case.run(&mut worker, &found.case.parameters, false);
                found.case.margin(&worker) > 40.0 * STEP
            });
            if is_smooth {
                return found;
            }
        }
        panic!("no smooth case: {structure:?} {seed}");
    }

    fn new(case: Case) -> Self {
        let steps = case.worker.tape.steps();
        let choices = case.model.shape().choices();
        let sequences = choices.pow(steps as u32);
        let blocks = (0..sequences.div_ceil(LANES))
            .map(|block| {
                let mut worker = case.worker.clone();
                let mut used = Lanes::default();
                for lane in 0..LANES {
                    let sequence = block * LANES + lane;
                    if sequence < sequences {
                        used.0[lane] = 1.0;
                    }
                    for t in 0..steps {
                        let digit = sequence / choices.pow(t as u32) % choices;
                        worker.tape.choice[t][lane] = digit as u16;
                    }
                    // One start and one noise for all: the identity holds for each of them.
                    for x in worker.tape.state.at_mut(0) {
                        x.0[lane] = x.0[0];
                    }
                    for t in 0..steps {
                        for w in worker.tape.noise.at_mut(t) {
                            w.0[lane] = w.0[0];
                        }
                    }
                }
                (worker, used)
            })
            .collect();
        Self { case, blocks }
    }

    /// Probability of each lane's sequence after a rollout.
    fn probability(worker: &Worker<f64>, used: Lanes<f64>) -> Lanes<f64> {
        (0..worker.tape.steps()).fold(used, |product, t| {
            let tape = &worker.tape;
            product * crate::train::advantage::taken(tape, tape.probability.at(t), t)
        })
    }

    /// sum over sequences of P(sequence) L(sequence): the expected cost, and its exact gradient.
    fn exact_gradient(&self) -> Vec<f64> {
        differences(&self.case.parameters, |parameters| {
            let cost = |(worker, used): &(Worker<f64>, Lanes<f64>)| {
                let mut worker = worker.clone();
                self.case.run(&mut worker, parameters, false);
                (Self::probability(&worker, *used) * self.case.cost(&worker)).sum()
            };
            self.blocks.iter().map(cost).sum()
        })
    }

    /// sum over sequences of P(sequence) estimator(sequence), by the code that trains.
    fn mean_estimate(&self, train: &TrainSettings, score: bool) -> Vec<f64> {
        let case = &self.case;
        let mut gradient = vec![0.0; case.model.parameters()];
        for (worker, used) in &self.blocks {
            let mut worker = worker.clone();
            case.run(
                &mut worker,
                &case.parameters,
                train.advantage == Advantage::LookAhead,
            );
            if train.advantage != Advantage::LookAhead {
                worker.value_last(&case.model, &case.critic, &case.critic_parameters);
            }
            let probability = Self::probability(&worker, *used);
            let steps = worker.tape.steps();
            let mut advantages = Advantages::new(&case.critic, steps);
            advantages.evaluate(
                &case.critic,
                &case.critic_parameters,
                &worker.tape,
                train.bootstrap,
            );
            estimator::estimate(train, &worker.tape, case.discount, &mut advantages);
            let loss = ChoiceLoss {
                advantage: 1.0,
                entropy: 0.0,
            };
            for t in 0..steps {
                let tape = &mut worker.tape;
                estimator::fill_logits(train, tape, case.discount, &advantages, loss, None, t);
                for d in tape.d_logits.at_mut(t) {
                    *d = if score {
                        *d * probability
                    } else {
                        Lanes::default()
                    };
                }
            }
            let mut objective = estimator::objective(train, case.discount, 1.0);
            objective.cost_weight = objective.cost_weight * probability;
            worker.sweep(
                &case.plant,
                &case.model,
                &case.parameters,
                objective,
                &mut gradient,
            );
        }
        gradient
    }

    /// Relative differences of an estimate's mean: of the selector's part and of the laws'.
    fn bias(&self, train: &TrainSettings, score: bool) -> [f64; 2] {
        let (found, exact) = (self.mean_estimate(train, score), self.exact_gradient());
        let end = self.case.model.groups()[1].1.end;
        [
            difference(&found[..end], &exact[..end]),
            difference(&found[end..], &exact[end..]),
        ]
    }

    fn assert_unbiased(&self, what: &str, train: &TrainSettings) {
        let found = self.mean_estimate(train, true);
        self.case
            .assert_close(what, &found, &self.exact_gradient(), 1e-7);
    }
}

fn exact(advantage: Advantage) -> TrainSettings {
    TrainSettings {
        variant: Variant::Exact,
        advantage,
        cross_term: CrossTerm::On,
        choice_weight: ChoiceWeight::Cost,
        ..Settings::default().train
    }
}

/// Sampled cost-to-go with the critic as baseline, and the look-ahead control variate, for a critic of
/// random numbers: any critic will do. Every structure, two and four choices.
#[test]
fn exact_variant_is_unbiased_for_every_structure() {
    for index in 0..Structure::COUNT {
        let enumeration =
            Enumeration::smooth(&Structure::number(index), 1 + index % 2, index as u64);
        for advantage in [Advantage::MonteCarlo, Advantage::LookAhead] {
            let what = format!("structure {index}, {advantage:?}");
            enumeration.assert_unbiased(&what, &exact(advantage));
        }
    }
}

/// Selectors of several factors, whose probability is a product: the exact gradient sums over every combination, the estimator adds
/// the factors' terms, and the look-ahead varies one factor at a time.
#[test]
fn exact_variant_is_unbiased_with_several_factors() {
    for (turn, index) in (0..Structure::COUNT).step_by(7).enumerate() {
        let structure = Structure::number(index);
        // With clamps and bounds, more trajectories than these cannot all keep away from kinks.
        let sizes: &[&[usize]] = if structure.rough {
            &[&[2, 2]]
        } else {
            &[&[2, 2], &[2, 3], &[3, 2], &[2, 2, 2]]
        };
        let factors = sizes[turn % sizes.len()];
        let enumeration = Enumeration::factored(&structure, factors, index as u64);
        for advantage in [Advantage::MonteCarlo, Advantage::LookAhead] {
            let what = format!("structure {index}, factors {factors:?}, {advantage:?}");
            enumeration.assert_unbiased(&what, &exact(advantage));
        }
    }
}

/// Without the cross term the selector's gradient stays right, factor by factor, and the laws' does not.
#[test]
fn several_factors_without_the_cross_term_are_biased() {
    for index in telling().step_by(2) {
        let enumeration = Enumeration::factored(&Structure::number(index), &[2, 2], index as u64);
        let off = TrainSettings {
            cross_term: CrossTerm::Off,
            ..exact(Advantage::LookAhead)
        };
        let [selector, laws] = enumeration.bias(&off, true);
        assert!(selector < 1e-7, "structure {index}: selector {selector:e}");
        assert!(laws > 1e-4, "structure {index}: laws {laws:e}");
    }
}

/// The plain score function: the critic is zero, so that there is no baseline at all.
#[test]
fn exact_variant_is_unbiased_without_a_baseline() {
    for seed in 0..8 {
        let mut enumeration = Enumeration::smooth(&Structure::number(seed), 2, seed as u64);
        enumeration.case.critic_parameters.fill(0.0);
        enumeration.assert_unbiased("no baseline", &exact(Advantage::MonteCarlo));
    }
}

/// Structures on smooth plants: with bounds active everywhere the laws' gradient may vanish, and any
/// bias with it.
fn telling() -> impl Iterator<Item = usize> {
    (0..Structure::COUNT)
        .step_by(3)
        .filter(|&index| !Structure::number(index).rough)
}

/// Biases of the laws' part: each far above what the unbiased estimator is allowed, most of them great.
#[track_caller]
fn assert_clearly_biased(mut biases: Vec<f64>) {
    biases.sort_by(f64::total_cmp);
    let (least, median) = (biases[0], biases[biases.len() / 2]);
    assert!(
        least > 1e-5 && median > 1e-2,
        "least {least:e}, median {median:e}"
    );
}

/// Without the cross term the selector's gradient stays right and the laws' does not.
#[test]
fn dropping_the_cross_term_biases_the_laws() {
    let biases = telling().map(|index| {
        let enumeration = Enumeration::smooth(&Structure::number(index), 2, index as u64);
        let off = TrainSettings {
            cross_term: CrossTerm::Off,
            ..exact(Advantage::MonteCarlo)
        };
        let [selector, laws] = enumeration.bias(&off, true);
        assert!(selector < 1e-7, "structure {index}: selector {selector:e}");
        laws
    });
    assert_clearly_biased(biases.collect());
}

/// The pathwise part alone knows nothing of the selector, and only a part of the laws.
#[test]
fn pathwise_alone_is_biased() {
    let biases = telling().map(|index| {
        let enumeration = Enumeration::smooth(&Structure::number(index), 2, index as u64);
        let [selector, laws] = enumeration.bias(&exact(Advantage::MonteCarlo), false);
        // All of the selector's gradient is missing.
        assert_eq!(selector, 1.0, "structure {index}");
        laws
    });
    assert_clearly_biased(biases.collect());
}

/// What the documentation calls biased is: with a wrong critic the estimates of the practical variant
/// are off for the selector.
#[test]
fn practical_advantages_are_biased_with_a_wrong_critic() {
    for advantage in [Advantage::LookAhead, Advantage::Gae] {
        let train = TrainSettings {
            variant: Variant::Practical,
            ..exact(advantage)
        };
        for seed in 0..4 {
            let structure = Structure::number(seed);
            let enumeration = Enumeration::smooth(&structure, 2, stream(seed as u64).below(1000));
            let [selector, _] = enumeration.bias(&train, true);
            assert!(selector > 1e-2, "{advantage:?}, seed {seed}: {selector:e}");
        }
    }
}
