//! Layout, selector and choice of the policy. The adjoint of a whole step is part of the reverse
//! sweep and stands in `train/rollout_tests.rs`.

use proptest::prelude::*;

use super::*;
use crate::train::testing::{
    Case, Sizes, Structure, assert_close, differences, dot, flat, lanes, stream,
};

proptest! {
    #[test]
    fn softmax_adjoint_is_its_derivative(choices in 1_usize..6, seed: u64) {
        // d sum_c w_c pi_c / d logit_k = pi_k (w_k - sum_c pi_c w_c): the form every choice loss takes.
        let mut stream = stream(seed);
        let logits = lanes::<f64>(&mut stream, choices);
        let weights = lanes::<f64>(&mut stream, choices);
        let mut probabilities = logits.clone();
        softmax(&mut probabilities);
        let total = probabilities.iter().fold(Lanes::default(), |sum, &p| sum + p);
        prop_assert!(total.0.iter().all(|&s| (s - 1.0).abs() < 1e-14));
        let mut mean = Lanes::default();
        for (&p, &w) in probabilities.iter().zip(&weights) {
            mean = mean + p * w;
        }
        let adjoint: Vec<_> = probabilities.iter().zip(&weights).map(|(&p, &w)| p * (w - mean)).collect();
        let expected = crate::train::testing::lane_differences(&logits, |logits| {
            let mut p = logits.to_vec();
            softmax(&mut p);
            dot(&p, &weights)
        });
        assert_close("softmax", &flat(&adjoint), &expected, 1e-9);
    }

    #[test]
    fn softmax_survives_great_logits(choices in 1_usize..6, seed: u64, scale in 1.0_f32..1e30) {
        let mut p = lanes::<f32>(&mut stream(seed), choices);
        for logit in &mut p {
            *logit = *logit * scale;
        }
        softmax(&mut p);
        for lane in 0..LANES {
            let sum: f32 = p.iter().map(|p| p.0[lane]).sum();
            prop_assert!((sum - 1.0).abs() < 1e-5 && p.iter().all(|p| p.0[lane] >= 0.0));
        }
    }

    #[test]
    fn groups_cover_every_parameter_once(index in 0..Structure::COUNT, seed in 0_u64..1000) {
        let sizes = Sizes::random(&mut stream(seed));
        let case = Case::new(&Structure::number(index), sizes, seed);
        let mut end = 0;
        for (_, range) in case.model.groups() {
            prop_assert_eq!(range.start, end);
            end = range.end;
        }
        prop_assert_eq!(end, case.model.parameters());
        // Every parameter acts on some choice: none is laid out in vain.
        let mut used = vec![false; end];
        for choice in 0..case.model.shape().choices() {
            let (gain, offset) = case.model.gain(choice);
            let head = case.model.head(choice).map_or([0..0, 0..0], |(w, b)| [w, b]);
            for range in [gain, offset].into_iter().chain(head) {
                used[range].fill(true);
            }
        }
        for net in [case.model.scores(), case.model.selector(), case.model.trunk()] {
            for (_, _, weights, bias) in net.into_iter().flat_map(Network::layers) {
                used[weights.start..bias.end].fill(true);
            }
        }
        prop_assert!(used.into_iter().all(|used| used));
    }

    /// With unit-norm input the laws are homogeneous in the state and scores even: what the structure
    /// is for.
    #[test]
    fn unit_norm_policy_is_homogeneous(seed in 0_u64..500, scale in 0.1_f64..10.0) {
        // Structure 0: unit norm, scores and gains alone.
        let sizes = Sizes::random(&mut stream(seed));
        let case = Case::new(&Structure::number(0), sizes, seed);
        let law_at = |factor: f64| {
            let mut tape = case.worker.tape.clone();
            for x in tape.state.at_mut(0) {
                *x = *x * factor;
            }
            case.model.observe(&mut tape, 0);
            case.model.select(&case.parameters, &mut tape, 0);
            case.model.hidden(&case.parameters, &mut tape, 0);
            case.model.act(&case.parameters, &mut tape, 0, &mut LawScratch::new(&case.model));
            (flat(tape.logit.at(0)), flat(tape.law.at(0)))
        };
        let (logits, law) = law_at(1.0);
        for factor in [scale, -scale] {
            let (other_logits, other_law) = law_at(factor);
            assert_close("logits", &other_logits, &logits, 1e-12);
            let scaled: Vec<f64> = law.iter().map(|u| u * factor).collect();
            assert_close("law", &other_law, &scaled, 1e-12);
        }
    }

    #[test]
    fn arg_max_takes_the_first_of_the_greatest(seed in 0_u64..500) {
        let sizes = Sizes { modes: 3, laws: 2, ..Sizes::random(&mut stream(seed)) };
        let mut case = Case::new(&Structure::number(0), sizes, seed);
        let mut stream = stream(seed);
        let tape = &mut case.worker.tape;
        for logit in tape.logit.at_mut(0) {
            // Few values, so that ties are common.
            *logit = Lanes(std::array::from_fn(|_| stream.below(3) as f64));
        }
        let logits = tape.logit.at(0).to_vec();
        case.model.arg_max(tape, 0);
        for lane in 0..LANES {
            let choice = usize::from(tape.choice[0][lane]);
            prop_assert!(logits.iter().all(|l| l.0[lane] <= logits[choice].0[lane]));
            prop_assert!(logits[..choice].iter().all(|l| l.0[lane] < logits[choice].0[lane]));
        }
    }

    /// The choice drawn is the one whose interval of the distribution function holds the number.
    #[test]
    fn draw_inverts_the_distribution_function(seed in 0_u64..500) {
        let sizes = Sizes { modes: 3, laws: 2, ..Sizes::random(&mut stream(seed)) };
        let mut case = Case::new(&Structure::number(0), sizes, seed);
        let mut stream = stream(seed);
        let tape = &mut case.worker.tape;
        case.model.observe(tape, 0);
        case.model.select(&case.parameters, tape, 0);
        tape.uniform.at_mut(0)[0] = Lanes(std::array::from_fn(|_| stream.uniform()));
        case.model.draw(tape, 0);
        for lane in 0..LANES {
            let (mut choice, mut upper) = (0, tape.probability.at(0)[0].0[lane]);
            while choice < 5 && tape.uniform.at(0)[0].0[lane] >= upper {
                choice += 1;
                upper += tape.probability.at(0)[choice].0[lane];
            }
            prop_assert_eq!(usize::from(tape.choice[0][lane]), choice);
        }
    }
}

/// The differences these tests rest on are right where the answer is known.
#[test]
fn differences_of_a_polynomial_are_exact() {
    let found = differences(&[0.5, -2.0], |x| x[0].powi(3) * x[1] + 4.0 * x[1]);
    assert_close("polynomial", &found, &[-1.5, 4.125], 1e-10);
}
