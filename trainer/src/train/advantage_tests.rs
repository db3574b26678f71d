//! Advantages and targets against their definitions; derivatives of the logits against differences.

use proptest::prelude::*;

use super::*;
use crate::numeric::Scalar as _;
use crate::policy::model::softmax;
use crate::train::testing::{Case, Sizes, Structure, assert_close, differences, lanes, stream};

/// A rolled-out case with four steps and critic values of its states.
fn prepared(seed: u64, affine: bool, bootstrap: bool) -> (Case, Advantages<f64>) {
    let sizes = Sizes {
        steps: 4,
        ..Sizes::random(&mut stream(seed))
    };
    let mut case = Case::new(&Structure::number(usize::from(affine)), sizes, seed);
    let mut worker = case.worker.clone();
    case.run(&mut worker, &case.parameters, true);
    case.worker = worker;
    let mut advantages = Advantages::new(&case.critic, sizes.steps);
    advantages.evaluate(
        &case.critic,
        &case.critic_parameters,
        &case.worker.tape,
        bootstrap,
    );
    (case, advantages)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn values_are_the_critics(seed in 0_u64..100_000, affine: bool, bootstrap: bool) {
        let (case, advantages) = prepared(seed, affine, bootstrap);
        let mut scratch = case.critic.scratch(case.model.shape());
        for t in 0..=4 {
            let state = case.worker.tape.state.at(t);
            let value =
                case.critic.value_at(case.model.shape(), &case.critic_parameters, state, &mut scratch);
            let expected = if t == 4 && !bootstrap { Lanes::default() } else { value };
            prop_assert_eq!(advantages.value.at(t)[0], expected);
        }
    }

    /// A_t = sum_{k>=t} (gamma lambda)^{k-t} (l_k + gamma V_{k+1} - V_k), as a plain double sum.
    #[test]
    fn generalised_is_the_double_sum(
        seed in 0_u64..100_000,
        discount in 0.5_f64..=1.0,
        lambda in 0.0_f64..=1.0,
    ) {
        let (case, mut advantages) = prepared(seed, seed % 2 == 0, true);
        advantages.generalised(&case.worker.tape, discount, lambda);
        for t in 0..4 {
            for lane in 0..LANES {
                let value = |k: usize| advantages.value.at(k)[0].0[lane];
                let sum: f64 = (t..4)
                    .map(|k| {
                        let delta =
                            case.worker.tape.cost.at(k)[0].0[lane] + discount * value(k + 1) - value(k);
                        (discount * lambda).powi((k - t) as i32) * delta
                    })
                    .sum();
                assert_close("A", &[advantages.advantage.at(t)[0].0[lane]], &[sum], 1e-11);
            }
        }
    }

    /// Cost-to-go from t, discounted to time 0, less the baseline; and the two other estimators where
    /// they must agree with it.
    #[test]
    fn monte_carlo_and_control_variate_are_their_definitions(seed in 0_u64..100_000) {
        let (case, mut advantages) = prepared(seed, seed % 2 == 0, false);
        let (tape, discount) = (&case.worker.tape, case.discount);
        advantages.monte_carlo(tape, discount);
        let monte_carlo = advantages.advantage.clone();
        advantages.control_variate(tape, discount);
        for t in 0..4 {
            for lane in 0..LANES {
                let to_go: f64 = (t..4)
                    .map(|k| discount.powi(k as i32) * tape.cost.at(k)[0].0[lane])
                    .sum();
                let weight = discount.powi(t as i32);
                let expected = to_go - weight * advantages.value.at(t)[0].0[lane];
                assert_close("Monte Carlo", &[monte_carlo.at(t)[0].0[lane]], &[expected], 1e-11);
                let q = tape.look_ahead.at(t)[usize::from(tape.choice[t][lane])].0[lane];
                let expected = to_go - weight * q;
                let found = advantages.advantage.at(t)[0].0[lane];
                assert_close("control variate", &[found], &[expected], 1e-11);
            }
        }
        // Without discount and bootstrap, lambda = 1 leaves nothing of the critic but its baseline.
        advantages.generalised(tape, 1.0, 1.0);
        let generalised = advantages.advantage.clone();
        advantages.monte_carlo(tape, 1.0);
        for t in 0..4 {
            let expected = advantages.advantage.at(t)[0].0;
            assert_close("lambda 1", &generalised.at(t)[0].0, &expected, 1e-11);
        }
    }

    /// lambda = 0: one step and the critic; lambda = 1: costs to the end; in between V_t + A_t of
    /// generalised advantage estimation.
    #[test]
    fn targets_are_their_definitions(seed in 0_u64..100_000, lambda in 0.0_f64..=1.0, affine: bool) {
        let (case, mut advantages) = prepared(seed, affine, true);
        let (tape, discount) = (&case.worker.tape, case.discount);
        let mut memory = CriticMemory::new(&case.critic, 4);
        let mut targets = |advantages: &Advantages<f64>, lambda: f64| -> Vec<Lanes<f64>> {
            advantages.targets(&case.critic, tape, discount, lambda, &mut memory);
            (0..4)
                .map(|t| {
                    assert_eq!(memory.weight.at(t)[0], splat(1.0));
                    let norm = tape.norm.at(t)[0];
                    memory.target.at(t)[0] * norm * norm
                })
                .collect()
        };
        let (zero, one, mixed) = (
            targets(&advantages, 0.0),
            targets(&advantages, 1.0),
            targets(&advantages, lambda),
        );
        advantages.generalised(tape, discount, lambda);
        for t in 0..4 {
            let next = advantages.value.at(t + 1)[0];
            let expected = tape.cost.at(t)[0] + next * discount;
            assert_close("lambda 0", &zero[t].0, &expected.0, 1e-11);
            let mut expected = advantages.value.at(4)[0] * discount.powi(4 - t as i32);
            for k in t..4 {
                expected = expected + tape.cost.at(k)[0] * discount.powi((k - t) as i32);
            }
            assert_close("lambda 1", &one[t].0, &expected.0, 1e-11);
            let expected = advantages.value.at(t)[0] + advantages.advantage.at(t)[0];
            assert_close("lambda", &mixed[t].0, &expected.0, 1e-11);
        }
    }

    /// Derivatives of A log pi(c), sum_c pi_c Q_c and -beta H with respect to the logits.
    #[test]
    fn logit_derivatives_are_derivatives(seed in 0_u64..100_000, beta in 0.01_f64..2.0) {
        let (mut case, _) = prepared(seed, false, true);
        let mut stream = stream(seed);
        let tape = &mut case.worker.tape;
        let choices = case.model.shape().choices();
        let logits = lanes::<f64>(&mut stream, choices);
        let advantage = lanes::<f64>(&mut stream, 1)[0];
        let mut probabilities = logits.clone();
        softmax(&mut probabilities);
        tape.logit.at_mut(0).copy_from_slice(&logits);
        tape.probability.at_mut(0).copy_from_slice(&probabilities);
        let q = lanes::<f64>(&mut stream, choices);
        tape.look_ahead.at_mut(0).copy_from_slice(&q);

        let taken_choices = tape.choice[0];
        type Value<'a> = &'a dyn Fn(&[f64], usize) -> f64;
        let sampled: Value = &|p, lane| {
            advantage.0[lane] * p[usize::from(taken_choices[lane])].ln()
        };
        let expected: Value =
            &|p, lane| advantage.0[lane] * p.iter().zip(&q).map(|(p, q)| p * q.0[lane]).sum::<f64>();
        let bonus: Value = &|p, _| beta * p.iter().map(|p| p * p.ln()).sum::<f64>();
        for (kind, value) in [sampled, expected, bonus].into_iter().enumerate() {
            tape.d_logits.at_mut(0).fill(Lanes::default());
            match kind {
                0 => add_sampled(tape, 0, advantage),
                1 => add_expected(tape, 0, advantage),
                _ => add_entropy(tape, 0, beta),
            }
            for lane in 0..LANES {
                let own: Vec<f64> = logits.iter().map(|l| l.0[lane]).collect();
                let derivative = differences(&own, |logits| {
                    let mut p: Vec<_> = logits.iter().map(|&l| splat(l)).collect();
                    softmax(&mut p);
                    let p: Vec<f64> = p.iter().map(|p| p.0[0]).collect();
                    value(&p, lane)
                });
                let found: Vec<f64> = tape.d_logits.at(0).iter().map(|d| d.0[lane]).collect();
                assert_close(&format!("kind {kind}"), &found, &derivative, 1e-8);
            }
        }
        let h = entropy(tape, 0);
        for lane in 0..LANES {
            let plogp = |p: &Lanes<f64>| -p.0[lane] * p.0[lane].ln();
            let by_hand: f64 = probabilities.iter().map(plogp).sum();
            assert_close("entropy", &[h.0[lane]], &[by_hand], 1e-12);
            let mean = q.iter().map(|q| q.0[lane]).sum::<f64>() / choices as f64;
            let variance =
                q.iter().map(|q| (q.0[lane] - mean).powi(2)).sum::<f64>() / choices as f64;
            assert_close("spread", &[spread(tape, 0, Lanes::constant(1.0)).0[lane]], &[variance], 1e-12);
        }
    }
}

#[test]
fn samples_count_by_their_norm_and_not_at_the_origin() {
    let norm = [4.0, 0.0, 1e-13];
    let norms = [
        Lanes::<f64>(std::array::from_fn(|lane| norm[lane % 3])),
        Lanes(std::array::from_fn(|lane| [0.25, 0.0, 1e13][lane % 3])),
    ];
    let weight = |kind| sample_weight(&norms, kind).0[..3].to_vec();
    assert_eq!(weight(ChoiceWeight::Cost), [1.0, 1.0, 1.0]);
    assert_eq!(weight(ChoiceWeight::Norm), [0.25, 0.0, 0.0]);
    assert_eq!(weight(ChoiceWeight::Direction), [0.0625, 0.0, 0.0]);
}

#[test]
fn power_is_a_product() {
    assert_eq!(power(0.5_f64, 0), 1.0);
    assert_eq!(power(0.5_f64, 3), 0.125);
    assert_eq!(power(1.0_f32, 1000), 1.0);
}
