//! Is the gradient right? Exact enumeration against the estimator's mean, in `f64`, on a small set-up.
//!
//! The set-up: the plant itself with a horizon short enough that every choice sequence can be listed, sixteen
//! fixed initial states, a policy with every kind of part (scores, gains, two small networks). *Far* from a
//! discrete best response is a random policy; *near* one are the same laws under a selector that has been brought
//! to a best response by exact gradient descent, so that the cross term vanishes and the rest of the gradient does not.

mod perturbed;
mod report;
mod response;
mod sample;
mod setup;

pub use report::{
    CaseReport, DimensionReport, GradcheckReport, Growth, PartReport, RELATIVE_ERROR,
    ResponsePoint, VarianceRatio,
};

use crate::error::{Error, Result};
use crate::numeric::LANES;
use crate::plant::{PlantModel, load_plant};
use sample::Case;
use setup::SetUp;

/// Greatest number of bytes that the estimates of one figure may take.
const MEMORY: usize = 1 << 30;
/// Fewest trajectories: with fewer the standard errors are not known well enough for a test, nor is alignment.
const LEAST_SAMPLES: usize = 1024;
/// A case takes at most this many times the trajectories that were asked for.
const MORE: usize = 32;
/// Standard deviations of the Gaussian perturbation of the control in the variance comparison.
const DEVIATIONS: [f64; 2] = [0.1, 1.0];
/// Modes of the plants of other sizes.
const MODES: usize = 2;
/// Seeds of states, policies and samples over which figures of such a plant are averaged.
const SEEDS: u64 = 3;
/// Most trajectories there for each figure: variances need no more.
const MOST_SAMPLES: usize = 20_000;
/// Epochs of training behind the policies there: random laws let some states grow and others not, and the sizes
/// could not be compared.
const EPOCHS: usize = 10;

/// Runs the check with `samples` trajectories (1,024 or more, rounded up to sixteen) for every sampled figure; the two cases take up to 32
/// times as many where the standard error along the exact gradient is above 1 % without, or where the far case would not see that the cross term is missing. `dims` are sizes of the
/// generator's family with two modes for which the parts of the gradient are reported beside (from at most 20,000 trajectories a seed).
///
/// # Errors
/// [`Error::Usage`] if the plant has too many modes to list two steps of choices, if fewer than 1,024 samples or more than
/// memory holds are asked for, or for a size that the family does not have.
pub fn gradcheck(
    plant: &PlantModel,
    samples: usize,
    seed: u64,
    dims: &[usize],
) -> Result<GradcheckReport> {
    let setup = SetUp::new(plant, seed)?;
    if samples < LEAST_SAMPLES {
        return Err(Error::Usage(format!(
            "--samples: found {samples}; allowed: {LEAST_SAMPLES} or more"
        )));
    }
    let batches = samples.div_ceil(LANES);
    check_memory(&setup, samples)?;
    let others = family(&setup, dims, seed)?;
    for other in others.iter().flatten() {
        check_memory(other, samples)?;
    }

    let most = (MORE * batches).min(most_batches(&setup));
    let random = setup.random_policy();
    let far = Case::new(&setup, &random);
    let bound = setup.best_response_bound(&far.parameters);
    let path = response::path(&setup, &far.parameters, bound);
    let bounded = setup.model.shape().bounds.is_some();
    let points = path
        .iter()
        .map(|parameters| point(&setup, parameters, &far.parameters, bound))
        .collect();
    let best = path.last().map_or(&far.parameters, |last| last);
    let narrow: Vec<f32> = best.iter().map(|&p| p as f32).collect();
    let near = Case::new(&setup, &narrow);
    let dimensions: Vec<DimensionReport> = others
        .iter()
        .map(|other| dimension(other, batches.min(MOST_SAMPLES / LANES)))
        .collect();
    Ok(GradcheckReport {
        plant: plant.name().to_owned(),
        horizon: setup.horizon(),
        sequences: setup.sequences(),
        parameters: setup.model.parameters(),
        samples: batches * LANES,
        variance_ratio: (!bounded).then(|| far.perturbed(batches, DEVIATIONS[0]).ratio),
        far: far.report(batches, most, true),
        near: near.report(batches, most, false),
        path: points,
        variance_ratio_growth: growth(&dimensions),
        dimensions,
    })
}

/// The estimates of one figure, with and without the cross term, are held in memory.
fn check_memory(setup: &SetUp, samples: usize) -> Result<()> {
    let parameters = setup.model.parameters();
    let most = most_batches(setup) * LANES;
    if samples > most {
        return Err(Error::Usage(format!(
            "--samples: found {samples}; allowed: up to {most} for the {parameters} parameters of the set-up of {}",
            setup.plant.name()
        )));
    }
    Ok(())
}

/// Batches whose estimates of two gradients in `f64` fit into [`MEMORY`].
fn most_batches(setup: &SetUp) -> usize {
    MEMORY / (16 * setup.model.parameters().max(1))
}

/// Set-ups of the family's plants of the sizes asked for, all with the horizon of the first.
fn family(setup: &SetUp, dims: &[usize], seed: u64) -> Result<Vec<Vec<SetUp>>> {
    dims.iter()
        .map(|&n| {
            if !(MODES..=64).contains(&n) {
                return Err(Error::Usage(format!(
                    "--dims: found {n}; allowed: {MODES} to 64 states"
                )));
            }
            let name = format!("switched-lqr-{n}-{MODES}");
            (0..SEEDS)
                .map(|offset| {
                    let horizon = ("horizon".to_owned(), setup.horizon().to_string());
                    SetUp::new(&load_plant(&name, &[horizon])?, seed.wrapping_add(offset))
                })
                .collect()
        })
        .collect()
}

/// The figures of one point of the path that began at `random`; `bound` is the cost of a best response.
fn point(setup: &SetUp, parameters: &[f64], random: &[f64], bound: f64) -> ResponsePoint {
    let (laws, cross, whole) = response::cross_term(setup, parameters);
    let entropy = setup.entropy(parameters);
    let as_sharp = response::with_entropy(setup, random, entropy);
    let (as_sharp_laws, as_sharp_cross, _) = response::cross_term(setup, &as_sharp);
    ResponsePoint {
        excess_percent: (setup.objective(parameters) / bound - 1.0) * 100.0,
        entropy,
        laws_gradient: laws,
        cross_term: cross,
        relative_bias_of_laws: cross / laws,
        relative_bias_without_cross_term: cross / whole,
        as_sharp_excess_percent: (setup.objective(&as_sharp) / bound - 1.0) * 100.0,
        as_sharp_cross_term: as_sharp_cross,
        as_sharp_relative_bias_of_laws: as_sharp_cross / as_sharp_laws,
    }
}

/// The parts of the gradient of partly trained policies on plants of one size, averaged over seeds.
fn dimension(setup: &[SetUp], batches: usize) -> DimensionReport {
    let mut cases: Vec<Vec<PartReport>> = Vec::new();
    let mut ratios: Vec<Vec<f64>> = Vec::new();
    for setup in setup {
        let case = Case::new(setup, &setup.policy_after(EPOCHS));
        let mut parts = case.parts(batches);
        let perturbed = DEVIATIONS.map(|deviation| case.perturbed(batches, deviation));
        ratios.push(perturbed.iter().map(|p| p.ratio).collect());
        parts.extend(perturbed.into_iter().last().map(|p| p.score));
        cases.push(parts);
    }
    let count = cases.len() as f64;
    let geometric =
        |values: &mut dyn Iterator<Item = f64>| (values.map(f64::ln).sum::<f64>() / count).exp();
    let parts = (0..cases[0].len())
        .map(|index| {
            let all = || cases.iter().map(|parts| &parts[index]);
            PartReport {
                part: cases[0][index].part,
                variance: geometric(&mut all().map(|part| part.variance)),
                signal_to_noise: all().map(|part| part.signal_to_noise).sum::<f64>() / count,
                alignment: all()
                    .map(|part| part.alignment)
                    .sum::<Option<f64>>()
                    .map(|sum| sum / count),
            }
        })
        .collect();
    DimensionReport {
        n: setup[0].plant.dims().state,
        parameters: setup[0].model.parameters(),
        horizon: setup[0].horizon(),
        seeds: setup.len(),
        parts,
        variance_ratios: DEVIATIONS
            .iter()
            .enumerate()
            .map(|(index, &deviation)| VarianceRatio {
                deviation,
                ratio: geometric(&mut ratios.iter().map(|ratio| ratio[index])),
            })
            .collect(),
    }
}

/// The exponent of each ratio's growth with n, by least squares on logarithms.
fn growth(dimensions: &[DimensionReport]) -> Vec<Growth> {
    let logs: Vec<f64> = dimensions.iter().map(|d| (d.n as f64).ln()).collect();
    let count = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / count;
    let square: f64 = logs.iter().map(|x| (x - mean).powi(2)).sum();
    if square.is_nan() || square <= 0.0 {
        return Vec::new();
    }
    let exponent = |index: usize| {
        let ratios = dimensions
            .iter()
            .map(|d| d.variance_ratios[index].ratio.ln());
        let product: f64 = logs.iter().zip(ratios).map(|(x, y)| (x - mean) * y).sum();
        product / square
    };
    DEVIATIONS
        .iter()
        .enumerate()
        .map(|(index, &deviation)| Growth {
            deviation,
            exponent: exponent(index),
        })
        .collect()
}
