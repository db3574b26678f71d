//! The estimator itself on the small set-up: its mean against the exact gradient, and where its variance is.

use std::ops::Range;

use rayon::prelude::*;

use super::report::{CaseReport, NO_CROSS_TERM, POWER, PartReport, RELATIVE_ERROR};
use super::setup::{SetUp, norm, wide};
use crate::numeric::random::{Purpose, Stream};
use crate::numeric::{LANES, Lanes};
use crate::train::advantage::Advantages;
use crate::train::estimator::{self, ChoiceLoss};
use crate::train::rollout::{LookAhead, Selection, Worker};
use crate::train::statistics::{Projections, Spread};

/// Batches whose mean is the estimate that alignment is reported of: 512 trajectories.
const ALIGNED: usize = 512 / LANES;
/// Relative standard error that more trajectories are taken for: a little below what is allowed, since the variance
/// itself is estimated.
const AIM: f64 = 0.9 * RELATIVE_ERROR;
/// Expected |z| without the cross term that more trajectories are taken for in the far case: what is found is off by about 1.
const SEEN: f64 = POWER + 4.0;
/// Times more is taken; each time the variance is known better.
const ROUNDS: usize = 3;

/// One policy on the set-up, with the critic that is its control variate.
pub(super) struct Case<'a> {
    pub(super) setup: &'a SetUp,
    pub(super) parameters: Vec<f64>,
    pub(super) critic_parameters: Vec<f64>,
}

/// Estimates of the gradient, one for each batch of sixteen trajectories.
pub(super) type Estimates = Vec<Vec<f64>>;

impl<'a> Case<'a> {
    /// A policy whose critic is learned now.
    pub(super) fn new(setup: &'a SetUp, policy: &[f32]) -> Self {
        Self {
            setup,
            parameters: wide(policy),
            critic_parameters: setup.critic_of(policy),
        }
    }

    /// What the rollout looks at.
    pub(super) fn look_ahead(&self) -> LookAhead<'_, f64> {
        LookAhead {
            critic: &self.setup.critic,
            parameters: &self.critic_parameters,
            discount: self.setup.discount,
        }
    }

    /// Estimates of the batches of these numbers by the code that trains, and the same ones without the cross term.
    pub(super) fn estimates(&self, batches: Range<usize>) -> (Estimates, Estimates) {
        let setup = self.setup;
        batches
            .into_par_iter()
            .map_init(
                || {
                    let advantages = Advantages::new(&setup.critic, setup.horizon());
                    (setup.template.clone(), advantages)
                },
                |(worker, advantages), batch| {
                    let mut stream = Stream::new(setup.seed, Purpose::Choice, batch as u64);
                    for t in 0..setup.horizon() {
                        for lane in 0..LANES {
                            worker.tape.uniform.at_mut(t)[0].0[lane] = stream.uniform();
                        }
                    }
                    worker.rollout(
                        &setup.dynamics,
                        &setup.model,
                        &self.parameters,
                        Selection::Sample,
                        Some(self.look_ahead()),
                    );
                    advantages.evaluate(
                        &setup.critic,
                        &self.critic_parameters,
                        &worker.tape,
                        setup.train.bootstrap,
                    );
                    estimator::estimate(&setup.train, &worker.tape, setup.discount, advantages);
                    let with = self.estimate(worker, advantages, 1.0);
                    (with, self.estimate(worker, advantages, 0.0))
                },
            )
            .unzip()
    }

    /// The gradient of one rollout.
    fn estimate(
        &self,
        worker: &mut Worker<f64>,
        advantages: &Advantages<f64>,
        cross_term: f64,
    ) -> Vec<f64> {
        let setup = self.setup;
        let share = 1.0 / LANES as f64;
        fill(setup, worker, advantages, share);
        let mut objective = estimator::objective(&setup.train, setup.discount, share);
        objective.cross_term = cross_term;
        let mut gradient = vec![0.0; setup.model.parameters()];
        worker.sweep(
            &setup.dynamics,
            &setup.model,
            &self.parameters,
            objective,
            &mut gradient,
        );
        gradient
    }

    /// The parts of the gradient alone.
    pub(super) fn parts(&self, batches: usize) -> Vec<PartReport> {
        let exact = self.setup.gradient(&self.parameters, 1.0);
        let (with, without) = self.estimates(0..batches);
        parts(self.setup, &with, &without, &exact)
    }

    /// All figures of this policy, from `batches` batches and, where the standard error along the exact gradient asks
    /// for it, from as many more as bring it below 1 %, up to `most`; with `far`, from as many more as show that the cross
    /// term is missing where it is left out. How many are taken depends on their spread and on what was enumerated, not
    /// on their mean.
    pub(super) fn report(&self, batches: usize, most: usize, far: bool) -> CaseReport {
        let setup = self.setup;
        let exact = setup.gradient(&self.parameters, 1.0);
        let blocks: Vec<_> = setup
            .model
            .groups()
            .into_iter()
            .map(|(_, range)| range)
            .filter(|range| !range.is_empty())
            .collect();
        let projections = Projections::new(&exact, &blocks, setup.seed);
        let biased = setup.gradient(&self.parameters, 0.0);
        let difference: Vec<f64> = biased.iter().zip(&exact).map(|(b, e)| b - e).collect();
        let to_be_seen = far && norm(&difference) > NO_CROSS_TERM * norm(&exact);
        let (mut with, mut without) = self.estimates(0..batches);
        for _ in 0..ROUNDS {
            let error = projections.relative_standard_error(&with);
            let mut more = 1.0_f64;
            if error > RELATIVE_ERROR {
                more = (error / AIM).powi(2);
            }
            if to_be_seen {
                let expected = projections.expected_z(&without, &difference);
                more = more.max((SEEN / expected).powi(2));
            }
            let needed = (with.len() as f64 * more).ceil().min(most as f64) as usize;
            if needed <= with.len() {
                break;
            }
            let (more_with, more_without) = self.estimates(with.len()..needed);
            with.extend(more_with);
            without.extend(more_without);
        }
        let spread = Spread::new(&with, 0..exact.len());
        let off: Vec<f64> = spread.mean.iter().zip(&exact).map(|(m, e)| m - e).collect();
        CaseReport {
            trajectories: with.len() * LANES,
            max_z: projections.max_z(&with),
            relative_standard_error: projections.relative_standard_error(&with),
            relative_bias: norm(&off) / norm(&exact),
            max_z_without_cross_term: projections.max_z(&without),
            relative_bias_without_cross_term: norm(&difference) / norm(&exact),
            difference_error: projections
                .difference_error(&self.parameters, |parameters| setup.objective(parameters)),
            parts: parts(setup, &with, &without, &exact),
        }
    }
}

/// Loss derivatives of the logits, as in training.
pub(super) fn fill(
    setup: &SetUp,
    worker: &mut Worker<f64>,
    advantages: &Advantages<f64>,
    share: f64,
) {
    let loss = ChoiceLoss {
        advantage: share,
        entropy: 0.0,
    };
    for t in 0..setup.horizon() {
        let (train, discount) = (&setup.train, setup.discount);
        let tape = &mut worker.tape;
        tape.d_logits.at_mut(t).fill(Lanes::default());
        estimator::fill_logits(train, tape, discount, advantages, loss, None, t);
    }
}

/// The parts of the mixed gradient: the selector's score function; the laws' pathwise part (what is left without
/// the cross term), cross term (the difference) and their sum.
fn parts(setup: &SetUp, with: &Estimates, without: &Estimates, exact: &[f64]) -> Vec<PartReport> {
    let laws = setup.selector_parameters()..setup.model.parameters();
    let selector = 0..laws.start;
    let cross: Estimates = with
        .iter()
        .zip(without)
        .map(|(with, without)| with.iter().zip(without).map(|(a, b)| a - b).collect())
        .collect();
    [
        ("score function (selector)", with, selector),
        ("pathwise (laws)", without, laws.clone()),
        ("cross term (laws)", &cross, laws.clone()),
        ("mixed (laws)", with, laws),
    ]
    .into_iter()
    .map(|(part, estimates, range)| part_report(part, estimates, range.clone(), &exact[range]))
    .collect()
}

/// Variance, signal and alignment of one part over a range of parameters; `exact` is what it is aligned with.
pub(super) fn part_report(
    part: &'static str,
    estimates: &Estimates,
    range: std::ops::Range<usize>,
    exact: &[f64],
) -> PartReport {
    let spread = Spread::new(estimates, range.clone());
    let variance = spread.variance * LANES as f64;
    let cosines: Vec<f64> = estimates
        .chunks_exact(ALIGNED)
        .map(|group| {
            let mean = Spread::new(group, range.clone()).mean;
            let product: f64 = mean.iter().zip(exact).map(|(m, e)| m * e).sum();
            product / (norm(&mean) * norm(exact))
        })
        .collect();
    PartReport {
        part,
        variance,
        signal_to_noise: spread.signal / variance,
        alignment: (!cosines.is_empty())
            .then(|| cosines.iter().sum::<f64>() / cosines.len() as f64),
    }
}
