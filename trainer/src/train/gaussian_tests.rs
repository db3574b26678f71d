//! The surrogate's gradient is that of the surrogate.

use super::*;
use crate::policy::{ControlRegions, PolicyShape};
use crate::train::testing::{
    Case, Sizes, Structure, assert_close, differences, lanes, stream, vector,
};
use proptest::prelude::*;

/// A rolled-out case, its noise, standard deviations and advantages.
struct Rolled {
    case: Case,
    worker: Worker<f64>,
    memory: Gaussian<f64>,
    log_std: Vec<f64>,
    advantage: Track<f64>,
}

fn rolled(seed: u64) -> Rolled {
    let mut stream = stream(seed);
    let structure = Structure::number(stream.below(Structure::COUNT as u64) as usize);
    let mut case = Case::new(&structure, Sizes::random(&mut stream), seed);
    if stream.uniform() < 0.5 {
        case.model = Model::new(with_points(case.model.shape(), &mut stream));
    }
    let mut worker = case.worker.clone();
    let (steps, controls) = (worker.tape.steps(), case.model.shape().control);
    for t in 0..steps {
        worker.tape.uniform.at_mut(t)[0] = Lanes(std::array::from_fn(|_| stream.uniform()));
    }
    let mut memory = Gaussian::new(steps, controls);
    let mut advantage = Track::new(steps, 1);
    for t in 0..steps {
        let noise = lanes(&mut stream, controls);
        memory.perturbation.at_mut(t).copy_from_slice(&noise);
        advantage.at_mut(t).copy_from_slice(&lanes(&mut stream, 1));
    }
    let log_std = vector(&mut stream, controls, 0.3);
    rollout(
        &mut worker,
        &mut memory,
        &case.plant,
        &case.model,
        &case.parameters,
        &log_std,
    );
    Rolled {
        case,
        worker,
        memory,
        log_std,
        advantage,
    }
}

/// `shape` with typical magnitudes of the controls, and regions of which some are single points: all of choice 0, and one coordinate of
/// the last choice.
fn with_points(shape: &PolicyShape, stream: &mut crate::numeric::random::Stream) -> PolicyShape {
    let (m, choices) = (shape.control, shape.choices());
    let mut regions = ControlRegions {
        lower: vec![-3.0; choices * m],
        upper: vec![3.0; choices * m],
        corner: vec![0.1; choices * m],
    };
    let points = (0..m).chain([choices * m - 1]);
    for entry in points {
        (regions.lower[entry], regions.upper[entry]) = (0.2, 0.2);
    }
    PolicyShape {
        law_scale: (0..m).map(|_| 0.5 + 3.0 * stream.uniform()).collect(),
        regions: Some(regions),
        ..shape.clone()
    }
}

impl Rolled {
    /// ln p(choice, control | state) of a sample, written out anew.
    fn log_probability(&self, parameters: &[f64], log_std: &[f64], t: usize, lane: usize) -> f64 {
        let mut worker = self.worker.clone();
        self.case.model.select(parameters, &mut worker.tape, t);
        self.case.model.hidden(parameters, &mut worker.tape, t);
        worker.act(&self.case.model, parameters, t);
        let tape = &worker.tape;
        let choice = usize::from(tape.choice[t][lane]);
        let r = match self.case.model.shape().input {
            InputKind::UnitNorm => {
                tape.norm.at(t)[0].0[lane] / (self.case.model.shape().state as f64).sqrt()
            }
            InputKind::Affine => 1.0,
        };
        let mut sum = tape.probability.at(t)[choice].0[lane].ln();
        let shape = self.case.model.shape();
        for i in 0..log_std.len() {
            let entry = choice * shape.control + i;
            let regions = shape.regions.as_ref();
            if regions.is_some_and(|r| r.lower[entry] == r.upper[entry]) {
                // The control is the point, whatever was drawn.
                assert_eq!(tape.applied.at(t)[i].0[lane], 0.2);
                continue;
            }
            let z = (self.memory.control.at(t)[i].0[lane] - tape.law.at(t)[i].0[lane])
                / (log_std[i].exp() * shape.law_scale[i] * r);
            sum -= 0.5 * z * z + log_std[i];
        }
        sum
    }

    /// Present over rollout probability of a sample.
    fn ratio(&self, parameters: &[f64], log_std: &[f64], t: usize, lane: usize) -> f64 {
        let old = self.log_probability(&self.case.parameters, &self.log_std, t, lane);
        (self.log_probability(parameters, log_std, t, lane) - old).exp()
    }

    /// Takes the advantage from samples whose ratio is near an edge of the clip, where differences and derivatives
    /// part.
    fn mute_kinks(&mut self, parameters: &[f64], log_std: &[f64], clip: Option<f64>) {
        let Some(clip) = clip else { return };
        for t in 0..self.worker.tape.steps() {
            for lane in 0..LANES {
                let off = (self.ratio(parameters, log_std, t, lane) - 1.0).abs();
                if (off - clip).abs() < 0.03 {
                    self.advantage.at_mut(t)[0].0[lane] = WEIGHTS.mean;
                }
            }
        }
    }

    /// sum of share max(A r, A clip(r)), written out anew.
    fn loss(&self, parameters: &[f64], log_std: &[f64], clip: Option<f64>) -> f64 {
        let mut sum = 0.0;
        for t in 0..self.worker.tape.steps() {
            for lane in 0..LANES {
                let ratio = self.ratio(parameters, log_std, t, lane);
                let a = (self.advantage.at(t)[0].0[lane] - WEIGHTS.mean) * WEIGHTS.scale;
                let clipped = clip.map_or(ratio, |c| ratio.clamp(1.0 - c, 1.0 + c));
                sum += WEIGHTS.share * (a * ratio).max(a * clipped);
            }
        }
        sum
    }
}

const WEIGHTS: SurrogateWeights<f64> = SurrogateWeights {
    mean: 0.2,
    scale: 1.3,
    share: 0.25,
    entropy: 0.0,
    clip: None,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn surrogate_gradient_is_the_gradient_of_the_surrogate(seed in 0_u64..1_000_000, clip in any::<bool>()) {
        let mut rolled = rolled(seed);
        let clip = clip.then_some(0.2);
        // Away from the rollout's parameters, so that ratios differ from one and some are clipped.
        let mut noise = stream(seed + 1);
        let near = |x: &[f64], noise: &mut crate::numeric::random::Stream| -> Vec<f64> {
            x.iter().map(|v| v + 0.05 * noise.normal()).collect()
        };
        let parameters = near(&rolled.case.parameters, &mut noise);
        let log_std = near(&rolled.log_std, &mut noise);
        rolled.mute_kinks(&parameters, &log_std, clip);
        let mut worker = rolled.worker.clone();
        let mut memory = rolled.memory.clone();
        let mut gradient = vec![0.0; parameters.len()];
        surrogate(
            &mut worker,
            &mut memory,
            &rolled.case.model,
            &parameters,
            &log_std,
            &rolled.advantage,
            SurrogateWeights { clip, ..WEIGHTS },
            &mut gradient,
        );
        let expected = differences(&parameters, |p| rolled.loss(p, &log_std, clip));
        rolled.case.assert_close("surrogate", &gradient, &expected, 1e-5);
        let expected = differences(&log_std, |l| rolled.loss(&parameters, l, clip));
        assert_close("ln sigma", &memory.d_log_std, &expected, 1e-5);
    }

    /// A coordinate whose region is a point has neither noise nor a part in the probability: in choice 0 nothing is drawn at all.
    #[test]
    fn what_has_no_effect_is_not_drawn(seed in 0_u64..1_000_000) {
        let Rolled { case, worker, memory, log_std, .. } = rolled(seed);
        prop_assume!(case.model.shape().regions.is_some());
        for t in 0..worker.tape.steps() {
            for lane in 0..LANES {
                if worker.tape.choice[t][lane] != 0 {
                    continue;
                }
                for i in 0..log_std.len() {
                    let (drawn, law) = (memory.control.at(t)[i], worker.tape.law.at(t)[i]);
                    prop_assert_eq!(drawn.0[lane], law.0[lane]);
                }
                let probability = worker.tape.probability.at(t)[0].0[lane];
                let found = memory.log_probability.at(t)[0].0[lane];
                prop_assert!((found - probability.max(1e-30).ln()).abs() < 1e-12, "{found}");
            }
        }
    }

    /// Before the first step all ratios are one: nothing is clipped, nothing has diverged.
    #[test]
    fn first_pass_is_not_clipped(seed in 0_u64..1_000_000) {
        let Rolled { case, mut worker, mut memory, log_std, advantage } = rolled(seed);
        let mut gradient = vec![0.0; case.model.parameters()];
        let weights = SurrogateWeights { clip: Some(1e-9), ..WEIGHTS };
        let figures = surrogate(
            &mut worker,
            &mut memory,
            &case.model,
            &case.parameters,
            &log_std,
            &advantage,
            weights,
            &mut gradient,
        );
        prop_assert_eq!(figures.clipped, 0);
        prop_assert!(figures.divergence.abs() < 1e-9);
    }
}
