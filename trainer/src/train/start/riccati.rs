//! Starts from the plant's matrices: averaged Riccati and the switched value set.

use nalgebra::DMatrix;

use super::{StartingPoint, normals, silence_networks};
use crate::error::{Error, Result};
use crate::evaluate::reference::{
    AveragedRiccati, Law, RiccatiModes, SwitchedBudget, SwitchedRiccati, visited_states,
};
use crate::numeric::random::{Purpose, Stream};
use crate::plant::PlantModel;
use crate::policy::{InputKind, Model};
use crate::train::initial;
use crate::train::run::policy_shape;
use crate::train::settings::Settings;

/// Points on which the scale of the scores is measured.
const SCALE_POINTS: usize = 512;
/// Initial states from which the switched set is built; the trainer's own draws, never test states.
const STATES: usize = 512;
/// Forms per step of the backward sweep, in units of those that are kept at the end.
const SPARE_FORMS: usize = 4;

/// Scores `-x' rho_d(P) x` over a temperature and gains `-K_d(P)` for the first law of mode d: these alone are
/// ever the arg-max, so the arg-max policy is the averaged-Riccati controller.
///
/// Law k > 0 of mode d has the gain `-K_d(rho_e(P))` for mode e = d + k (modulo M) coming next, and the first law's
/// score minus a small random positive definite form: never the arg-max, but drawn nearly as often, so that
/// training soon learns where it is the best. (A law that begins far below is never drawn and learns nothing.)
///
/// The critic begins with the cost-to-go that this controller goes by: the least of `x' rho_e(P) x` over the modes e.
pub(super) fn averaged(
    plant: &PlantModel,
    settings: &Settings,
    seed: u64,
) -> Result<StartingPoint> {
    let modes = modes_of(plant, settings)?;
    let Some(averaged) = AveragedRiccati::new(&modes) else {
        return Err(Error::Usage(format!(
            "train.start = \"averaged-riccati\": found that the averaged Riccati equation of {} has no stabilising \
             solution; allowed: \"scratch\" or a policy",
            plant.name()
        )));
    };
    let shape = policy_shape(plant, settings);
    let ahead: Vec<DMatrix<f64>> = (0..modes.count())
        .map(|mode| modes.map(mode, averaged.p()))
        .collect();
    let mut used = vec![0; modes.count()];
    let laws: Vec<(DMatrix<f64>, DMatrix<f64>)> = shape
        .choice_modes
        .iter()
        .map(|&mode| {
            let exact = &averaged.values()[mode];
            let index = used[mode];
            used[mode] += 1;
            if index == 0 {
                return (exact.clone(), averaged.gains()[mode].clone());
            }
            let next = &ahead[(mode + index) % modes.count()];
            (exact.clone(), modes.gain(mode, next))
        })
        .collect();
    let pairs: Vec<(&DMatrix<f64>, &DMatrix<f64>)> = laws.iter().map(|(p, k)| (p, k)).collect();
    let mut start = point(plant, settings, seed, shape.clone(), &pairs)?;
    let model = Model::new(shape);
    start.value = averaged
        .values()
        .iter()
        .map(|form| coefficients(form, 1.0))
        .collect();
    let mut stream = Stream::new(seed, Purpose::Parameters, 2);
    let spread = settings.policy.score_spread;
    let (n, mut before) = (model.shape().state, None);
    for (choice, &mode) in model.shape().choice_modes.iter().enumerate() {
        let repeated = before.replace(mode) == Some(mode);
        if let (true, Some(row)) = (repeated, score_row(&model, choice)) {
            // With mean `spread` on unit directions and half of it at least.
            let v = DMatrix::from_vec(n, 1, normals(&mut stream, n));
            let form = DMatrix::identity(n, n) + &v * v.transpose();
            let off = coefficients(&form, 0.5 * spread);
            for (weight, off) in start.parameters[row].iter_mut().zip(off) {
                *weight -= off;
            }
        }
    }
    Ok(start)
}

/// Scores and gains of the members of the switched value set that describe it best.
pub(super) fn switched(
    plant: &PlantModel,
    settings: &Settings,
    seed: u64,
) -> Result<StartingPoint> {
    let modes = modes_of(plant, settings)?;
    let cap = modes.count() * settings.policy.laws_per_mode;
    let states: Vec<Vec<f64>> = (0..STATES)
        .map(|index| {
            let mut stream = Stream::new(seed, Purpose::Parameters, 16 + index as u64);
            let mut state = vec![0.0; plant.dims().state];
            plant.draw_initial(&mut stream, &mut state);
            state
        })
        .collect();
    let horizon = plant.horizon();
    let whole = SwitchedBudget::for_size(modes.state(), modes.count(), horizon);
    let budget = SwitchedBudget {
        max_forms: whole.max_forms.min(SPARE_FORMS * cap).max(modes.count()),
        max_points: whole.max_points.min(STATES),
        sweeps: 1,
    };
    let policy = SwitchedRiccati::new(plant, &modes, horizon, &states, budget, &|_, _| {});
    let visited = visited_states(plant, &policy, &states, horizon);
    let laws = policy.thinned(&visited, cap);
    if laws.is_empty() {
        return Err(Error::Usage(format!(
            "train.start = \"switched-riccati\": found that {} begins at the origin and stays there, where no law is better than another; allowed: \
             initial states with a half width, \"averaged-riccati\", \"scratch\" or a policy",
            plant.name()
        )));
    }
    if laws.iter().any(|law| !law.p.iter().all(|v| v.is_finite())) {
        return Err(Error::Usage(format!(
            "train.start = \"switched-riccati\": found a cost that outgrows the range of the computation over the \
             horizon of {}; allowed: \"scratch\" or a policy",
            plant.name()
        )));
    }
    let mut shape = policy_shape(plant, settings);
    shape.choice_modes = laws.iter().map(|law| law.mode).collect();
    shape.factors = vec![shape.choice_modes.len()];
    let pairs: Vec<(&DMatrix<f64>, &DMatrix<f64>)> =
        laws.iter().map(|law: &&Law| (&law.p, &law.gain)).collect();
    let mut start = point(plant, settings, seed, shape, &pairs)?;
    start.value = laws.iter().map(|law| coefficients(&law.p, 1.0)).collect();
    Ok(start)
}

/// The modes of a plant on which Riccati starts make sense.
fn modes_of(plant: &PlantModel, settings: &Settings) -> Result<RiccatiModes> {
    let start = &settings.train.start;
    let refuse = |found: &str, allowed: &str| {
        Err(Error::Usage(format!(
            "train.start = \"{start}\": found {found}; allowed: {allowed}"
        )))
    };
    let Some(data) = plant.lqr_data() else {
        return refuse(
            "a plant that is not switched linear-quadratic, for which there is no Riccati equation",
            "\"scratch\" or a policy",
        );
    };
    if !data.affine.is_empty() {
        return refuse(
            "a plant with affine terms, whose scores would need terms of first order in the state that a policy does not have",
            "\"scratch\" or a policy",
        );
    }
    if !settings.policy.scores || !settings.policy.gains {
        return refuse(
            "a policy without scores or without gains, which is what this start fills in",
            "policy.scores = true and policy.gains = true, or another start",
        );
    }
    Ok(RiccatiModes::new(data))
}

/// A policy whose choice c scores `-x'Px / temperature` and applies `-K x`, for the c-th pair (P, K).
fn point(
    plant: &PlantModel,
    settings: &Settings,
    seed: u64,
    shape: crate::policy::PolicyShape,
    laws: &[(&DMatrix<f64>, &DMatrix<f64>)],
) -> Result<StartingPoint> {
    let model = Model::new(shape.clone());
    let mut parameters = initial::policy(&model, seed, 0.0);
    silence_networks(&model, &mut parameters);
    let forms: Vec<&DMatrix<f64>> = laws.iter().map(|(p, _)| *p).collect();
    let temperature = settings.train.entropy_start * spread(plant, shape.input, &forms);
    for (choice, (p, k)) in laws.iter().enumerate() {
        if let Some(row) = score_row(&model, choice) {
            parameters[row].copy_from_slice(&coefficients(p, -1.0 / temperature));
        }
        let (gain, _) = model.gain(choice);
        for (weight, &k) in parameters[gain].iter_mut().zip(k.transpose().iter()) {
            *weight = -k as f32;
        }
    }
    if parameters.iter().any(|weight| !weight.is_finite()) {
        return Err(Error::Usage(format!(
            "train.start = \"{}\": found a cost or a gain of {} beyond the range of 32 bits; allowed: \"scratch\" or a policy",
            settings.train.start,
            plant.name()
        )));
    }
    Ok(StartingPoint {
        shape,
        parameters,
        value: Vec::new(),
    })
}

/// Root of the mean variance of the forms over the choices, on the inputs that scores see: the unit in which
/// the entropy bonus counts. With logits `-Q / (entropy bonus x spread)` the selector is the best one for Q
/// with that bonus.
fn spread(plant: &PlantModel, input: InputKind, forms: &[&DMatrix<f64>]) -> f64 {
    let n = plant.dims().state;
    let mut sum = 0.0;
    for index in 0..SCALE_POINTS {
        let mut stream = Stream::new(0, Purpose::Parameters, (1 << 32) + index as u64);
        let mut x = normals(&mut stream, n);
        match input {
            InputKind::UnitNorm => {
                let norm = x.iter().map(|v| v * v).sum::<f64>().sqrt();
                x.iter_mut().for_each(|v| *v /= norm);
            }
            InputKind::Affine => plant.draw_initial(&mut stream, &mut x),
        }
        let x = nalgebra::DVector::from_vec(x);
        let values: Vec<f64> = forms.iter().map(|p| x.dot(&(*p * &x))).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        sum += values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
    }
    let spread = (sum / SCALE_POINTS as f64).sqrt();
    // One mode, or modes that are all the same: any scale will do.
    if spread > 0.0 && spread.is_finite() {
        spread
    } else {
        1.0
    }
}

/// Coefficients of `factor x'Px` in the order of the policy's monomials: x_i x_k with i <= k.
fn coefficients(p: &DMatrix<f64>, factor: f64) -> Vec<f32> {
    let n = p.nrows();
    (0..n)
        .flat_map(|i| (i..n).map(move |k| (i, k)))
        .map(|(i, k)| {
            (factor
                * if i == k {
                    p[(i, i)]
                } else {
                    p[(i, k)] + p[(k, i)]
                }) as f32
        })
        .collect()
}

/// Where the score weights of a choice stand.
fn score_row(model: &Model, choice: usize) -> Option<std::ops::Range<usize>> {
    let (inputs, _, weights, _) = model.scores()?.layers().next()?;
    let start = weights.start + choice * inputs;
    Some(start..start + inputs)
}
