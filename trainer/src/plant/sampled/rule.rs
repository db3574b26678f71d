//! Classical controllers with gains that a search has tuned on the plant itself.

use super::super::family::{BaselineSetting, Family};
use super::super::{Baseline, Obedience, Plant, ReferencePolicy};
use super::{MAX_STATE, Model, Sampled, SampledData};
use crate::numeric::{Purpose, Stream};

/// Episodes on which gains are compared; drawn from a stream of their own.
const EPISODES: u64 = 96;
/// Factors by which one gain after the other is tried larger and smaller, coarse to fine.
const FACTORS: [f64; 4] = [3.0, 1.6, 1.2, 1.05];
/// Rounds over all gains with each factor.
const ROUNDS: usize = 4;

/// A model's rule with its gains.
struct Rule<M> {
    model: M,
    gains: Vec<f64>,
}

impl<M: Model> ReferencePolicy for Rule<M> {
    fn act(&self, _t: usize, x: &[f64], u: &mut [f64]) -> usize {
        let mode = self.model.rule_mode(&self.gains, x);
        self.act_in(mode, x, u);
        mode
    }

    fn act_in(&self, mode: usize, x: &[f64], u: &mut [f64]) -> bool {
        u.fill(0.0);
        self.model.rule_control(&self.gains, mode, x, u);
        true
    }
}

/// The rule of the plant with the gains of least mean cost that a coordinate search finds: at most
/// 4 x 4 rounds over all gains, on 96 episodes from the plant's initial box, under its bounds and constraints. Deterministic.
pub(super) fn tuned<M: Model>(data: &SampledData<M>, setting: &BaselineSetting<'_>) -> Baseline {
    let plant = Family::build::<f64>(data);
    let states: Vec<Vec<f64>> = (0..EPISODES)
        .map(|index| {
            let mut stream = Stream::new(0, Purpose::Generator, 7_000 + index);
            let edges = setting
                .initial
                .center
                .iter()
                .zip(&setting.initial.half_width);
            edges
                .map(|(c, w)| c + w * (2.0 * stream.uniform() - 1.0))
                .collect()
        })
        .collect();
    let mut rule = Rule {
        model: data.model,
        gains: M::RULE_START.to_vec(),
    };
    let mut best = cost(&plant, &rule, &states, setting);
    for factor in FACTORS {
        for _ in 0..ROUNDS {
            let before = best;
            for gain in 0..rule.gains.len() {
                let known = rule.gains[gain];
                let mut chosen = known;
                for trial in [known * factor, known / factor] {
                    rule.gains[gain] = trial;
                    let reached = cost(&plant, &rule, &states, setting);
                    // A NaN is not less.
                    if reached < best {
                        (best, chosen) = (reached, trial);
                    }
                }
                rule.gains[gain] = chosen;
            }
            if best >= before {
                break;
            }
        }
    }
    let gains: Vec<String> = rule.gains.iter().map(|gain| format!("{gain:.4}")).collect();
    Baseline {
        name: M::RULE,
        description: format!("{}; tuned to {}", M::RULE_TEXT, gains.join(", ")),
        policy: Box::new(rule),
    }
}

/// Sum of the costs that count, over all episodes.
fn cost<M: Model>(
    plant: &Sampled<f64, M::Over<f64>>,
    rule: &Rule<M>,
    states: &[Vec<f64>],
    setting: &BaselineSetting<'_>,
) -> f64 {
    let (mut u, mut next) = (vec![0.0; M::CONTROL], [0.0; MAX_STATE]);
    let mut sum = 0.0;
    for state in states {
        let mut x = state.clone();
        let mut obedience = Obedience::new(setting.bounds, setting.constraints);
        for t in 0..setting.horizon {
            let (mode, _) = obedience.act(rule, t, &x, &mut u);
            let stage: f64 = plant.step(mode, &x, &u, &[], &mut next);
            x.copy_from_slice(&next[..M::STATE]);
            if t >= setting.cost_from {
                sum += stage;
            }
        }
    }
    sum
}
