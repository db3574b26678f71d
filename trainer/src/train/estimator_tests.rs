//! The clip of detached passes against the surrogate it differentiates. That the estimator as a whole
//! is unbiased stands in `unbiased_tests.rs`.

use proptest::prelude::*;

use super::*;
use crate::policy::model::softmax;
use crate::train::settings::{ChoiceWeight, Settings};
use crate::train::testing::{
    Case, STEP, Sizes, Structure, assert_close, differences, lanes, stream,
};

const DISCOUNT: f64 = 0.9;

struct Sample {
    case: Case,
    advantages: Advantages<f64>,
    old: Vec<Lanes<f64>>,
    logits: Vec<Lanes<f64>>,
}

/// One step with new and old probabilities that differ, random advantages and look-ahead values.
fn sample(seed: u64) -> Sample {
    let mut stream = stream(seed);
    let sizes = Sizes {
        modes: 3,
        ..Sizes::random(&mut stream)
    };
    let mut case = Case::new(&Structure::number(0), sizes, seed);
    let mut worker = case.worker.clone();
    case.run(&mut worker, &case.parameters, true);
    case.worker = worker;
    let choices = case.model.shape().choices();
    let logits = lanes::<f64>(&mut stream, choices);
    let mut old: Vec<_> = lanes::<f64>(&mut stream, choices)
        .iter()
        .zip(&logits)
        .map(|(&d, &l)| l + d * 0.15)
        .collect();
    softmax(&mut old);
    let tape = &mut case.worker.tape;
    tape.look_ahead
        .at_mut(0)
        .copy_from_slice(&lanes(&mut stream, choices));
    set_logits(tape, &logits);
    let mut advantages = Advantages::new(&case.critic, sizes.steps);
    advantages.advantage.at_mut(0)[0] = lanes(&mut stream, 1)[0];
    Sample {
        case,
        advantages,
        old,
        logits,
    }
}

fn set_logits(tape: &mut Tape<f64>, logits: &[Lanes<f64>]) {
    tape.logit.at_mut(0).copy_from_slice(logits);
    let probabilities = tape.probability.at_mut(0);
    probabilities.copy_from_slice(logits);
    softmax(probabilities);
}

fn settings(advantage: Advantage) -> TrainSettings {
    TrainSettings {
        advantage,
        choice_weight: ChoiceWeight::Cost,
        ..Settings::default().train
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// d/dlogits of max(r A, clip(r, 1 - e, 1 + e) A) - beta H: PPO's clipped surrogate for costs, with an
    /// entropy bonus that is not clipped.
    #[test]
    fn sampled_clip_is_the_surrogates_derivative(seed in 0_u64..1_000_000, beta in 0.0_f64..0.5) {
        let mut sample = sample(seed);
        let train = settings(Advantage::MonteCarlo);
        let loss = ChoiceLoss { advantage: 1.0, entropy: beta };
        let tape = &mut sample.case.worker.tape;
        let clipped = fill_logits(
            &train, tape, DISCOUNT, &sample.advantages, loss, Some(&sample.old), 0,
        );
        let mut by_hand = 0;
        for lane in 0..LANES {
            let own: Vec<f64> = sample.logits.iter().map(|l| l.0[lane]).collect();
            let a = sample.advantages.advantage.at(0)[0].0[lane];
            let choice = usize::from(tape.choice[0][lane]);
            let probabilities = |logits: &[f64]| -> Vec<f64> {
                let sum: f64 = logits.iter().map(|l| l.exp()).sum();
                logits.iter().map(|l| l.exp() / sum).collect()
            };
            let ratio = |p: &[f64]| p[choice] / sample.old[choice].0[lane];
            let (low, high) = (1.0 - train.clip, 1.0 + train.clip);
            let r = ratio(&probabilities(&own));
            by_hand += u32::from(if a > 0.0 { r < low } else { r > high });
            let kink = (r - low).abs().min((r - high).abs());
            if kink < 10.0 * STEP {
                continue;
            }
            let expected = differences(&own, |logits| {
                let p = probabilities(logits);
                let r = ratio(&p);
                let bonus: f64 = p.iter().map(|p| p * p.ln()).sum();
                (r * a).max(r.clamp(low, high) * a) + beta * bonus
            });
            let found: Vec<f64> = tape.d_logits.at(0).iter().map(|d| d.0[lane]).collect();
            assert_close("surrogate", &found, &expected, 1e-8);
        }
        prop_assert_eq!(clipped, by_hand);
    }

    /// Look-ahead: the expectation's derivative without a ratio, or nothing once the taken choice has
    /// moved far enough.
    #[test]
    fn look_ahead_stops_at_the_clip(seed in 0_u64..1_000_000) {
        let mut sample = sample(seed);
        let train = settings(Advantage::LookAhead);
        let loss = ChoiceLoss { advantage: 1.0, entropy: 0.0 };
        let tape = &mut sample.case.worker.tape;
        fill_logits(&train, tape, DISCOUNT, &sample.advantages, loss, None, 0);
        let free = tape.d_logits.at(0).to_vec();
        fill_logits(&train, tape, DISCOUNT, &sample.advantages, loss, Some(&sample.old), 0);
        for lane in 0..LANES {
            let choice = usize::from(tape.choice[0][lane]);
            let (p, q) = (tape.probability.at(0), tape.look_ahead.at(0));
            let mean: f64 = p.iter().zip(q).map(|(p, q)| p.0[lane] * q.0[lane]).sum();
            let ratio = p[choice].0[lane] / sample.old[choice].0[lane];
            let worse = q[choice].0[lane] > mean;
            let done = if worse { ratio < 1.0 - train.clip } else { ratio > 1.0 + train.clip };
            for (d, free) in tape.d_logits.at(0).iter().zip(&free) {
                prop_assert_eq!(d.0[lane], if done { 0.0 } else { free.0[lane] });
            }
        }
    }

    /// Before the first step the old probabilities are the present ones: nothing is clipped and no bit
    /// changes.
    #[test]
    fn nothing_is_clipped_at_ratio_one(seed in 0_u64..1_000_000) {
        let mut sample = sample(seed);
        let tape = &mut sample.case.worker.tape;
        let present = tape.probability.at(0).to_vec();
        for advantage in [Advantage::LookAhead, Advantage::Gae, Advantage::MonteCarlo] {
            let train = settings(advantage);
            let loss = ChoiceLoss { advantage: 0.3, entropy: 0.1 };
            fill_logits(&train, tape, DISCOUNT, &sample.advantages, loss, None, 0);
            let free = tape.d_logits.at(0).to_vec();
            let old = Some(present.as_slice());
            let clipped = fill_logits(&train, tape, DISCOUNT, &sample.advantages, loss, old, 0);
            prop_assert_eq!(clipped, 0);
            prop_assert_eq!(tape.d_logits.at(0), free);
        }
    }
}

#[test]
fn some_samples_are_clipped_and_some_are_not() {
    let train = settings(Advantage::MonteCarlo);
    let loss = ChoiceLoss {
        advantage: 1.0,
        entropy: 0.0,
    };
    let clipped: u32 = (0..20)
        .map(|seed| {
            let mut sample = sample(seed);
            let tape = &mut sample.case.worker.tape;
            let old = Some(sample.old.as_slice());
            fill_logits(&train, tape, DISCOUNT, &sample.advantages, loss, old, 0)
        })
        .sum();
    assert!(20 < clipped && clipped < 300, "{clipped} of 320");
}
