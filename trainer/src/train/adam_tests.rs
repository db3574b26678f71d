//! Adam against its definition and hand-computed steps.

use proptest::prelude::*;

use super::*;

/// Three steps with gradients 1, 2, -3 from 0 at step size 0.1, by hand:
///
/// m: 0.1, 0.29, -0.039; divided by 1 - 0.9^t: 1, 1.526315789, -0.143911439.
/// v: 0.01, 0.0499, 0.139401; divided by 1 - 0.99^t: 1, 2.507537688, 4.693454092.
/// Steps: -0.1, -0.096387305, +0.006642760.
#[test]
fn three_steps_by_hand() {
    let mut adam = Adam::new(1);
    let mut parameters = [0.0_f32];
    let expected = [-0.1, -0.196_387_3, -0.189_744_54];
    for (gradient, expected) in [1.0, 2.0, -3.0].into_iter().zip(expected) {
        adam.step(&mut parameters, &[gradient], [(0..1, 0.1)].into_iter());
        assert!(
            (parameters[0] - expected).abs() < 2e-7,
            "{parameters:?} {expected}"
        );
    }
}

proptest! {
    /// Algorithm 1 of the paper in f64, moments summed from the definition without recursion.
    #[test]
    fn follows_the_closed_form(gradients in proptest::collection::vec(-10.0_f32..10.0, 1..12)) {
        let mut adam = Adam::new(1);
        let mut parameters = [0.5_f32];
        let mut expected = 0.5_f64;
        for t in 1..=gradients.len() {
            adam.step(&mut parameters, &[gradients[t - 1]], [(0..1, 0.01)].into_iter());
            let moment = |beta: f64, power: i32| {
                let weighted = gradients[..t].iter().enumerate().map(|(k, &g)| {
                    (1.0 - beta) * beta.powi((t - 1 - k) as i32) * f64::from(g).powi(power)
                });
                weighted.sum::<f64>() / (1.0 - beta.powi(t as i32))
            };
            expected -= 0.01 * moment(0.9, 1) / (moment(0.99, 2).sqrt() + 1e-8);
            prop_assert!((f64::from(parameters[0]) - expected).abs() < 2e-6 * t as f64);
        }
    }

    #[test]
    fn norm_is_clipped_and_reported(mut gradient in proptest::collection::vec(-9.0_f32..9.0, 1..9), limit in 0.1_f32..20.0) {
        let before = gradient.clone();
        let norm = before.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        let reported = clip_norm(&mut gradient, limit);
        prop_assert!((f64::from(reported) - norm).abs() <= 1e-6 * norm);
        let factor = (f64::from(limit) / norm).min(1.0);
        for (after, before) in gradient.iter().zip(before) {
            prop_assert!((f64::from(*after) - factor * f64::from(before)).abs() < 1e-5);
        }
    }
}

/// Steps of one group leave the other's moments and their age alone: the same as if each group had
/// an optimiser of its own.
#[test]
fn groups_age_apart() {
    let mut both = Adam::new(2);
    let (mut first, mut second) = (Adam::new(1), Adam::new(1));
    let mut parameters = [0.0_f32; 2];
    let mut apart = [0.0_f32; 2];
    for round in 0..9 {
        let gradient = [round as f32 - 2.5, 1.5 - round as f32];
        let with_second = round % 3 == 0;
        let groups = [(0..1, 0.1), (1..2, 0.2)];
        both.step(
            &mut parameters,
            &gradient,
            groups.into_iter().take(1 + usize::from(with_second)),
        );
        first.step(&mut apart[..1], &gradient[..1], [(0..1, 0.1)].into_iter());
        if with_second {
            second.step(&mut apart[1..], &gradient[1..], [(0..1, 0.2)].into_iter());
        }
    }
    assert_eq!(parameters, apart);
}
