//! The straight-through sweep is the gradient of the relaxed objective that it stands for.

use super::*;
use crate::train::testing::{Case, Sizes, Structure, differences, stream};
use proptest::prelude::*;

/// Gumbel noise for every step and choice.
fn noise(seed: u64, steps: usize, choices: usize) -> Track<f64> {
    let mut stream = stream(seed);
    let mut track = Track::new(steps, choices);
    for t in 0..steps {
        for g in track.at_mut(t) {
            *g = Lanes(std::array::from_fn(|_| {
                -(-stream.uniform().max(1e-12).ln()).ln()
            }));
        }
    }
    track
}

const TEMPERATURE: f64 = 0.7;

/// Cost of one rollout in which step t's choice weighs h = onehot + y - y0: at the base parameters the
/// one-hot choice, around them moving as the relaxed choice y does. `y0` is filled where it is empty.
fn relaxed_cost(
    case: &Case,
    noise: &Track<f64>,
    parameters: &[f64],
    y0: &mut Vec<Vec<Lanes<f64>>>,
) -> f64 {
    let mut worker = case.worker.clone();
    let (shape, steps) = (case.model.shape(), worker.tape.steps());
    let (mut next, mut cost) = (vec![Lanes::default(); shape.state], 0.0);
    let mut head = vec![Lanes::default(); shape.control];
    let mut law = head.clone();
    for t in 0..steps {
        let tape = &mut worker.tape;
        case.model.observe(tape, t);
        case.model.select(parameters, tape, t);
        case.model.hidden(parameters, tape, t);
        let mut y: Vec<Lanes<f64>> = tape
            .logit
            .at(t)
            .iter()
            .zip(noise.at(t))
            .map(|(&l, &g)| (l + g) * (1.0 / TEMPERATURE))
            .collect();
        softmax(&mut y);
        if y0.len() == t {
            y0.push(y.clone());
        }
        let mut successor = vec![Lanes::default(); shape.state];
        let mut stage = Lanes::default();
        for c in 0..shape.choices() {
            case.model.law(parameters, tape, t, c, &mut head, &mut law);
            case.model.bound(&mut law);
            let l = case.plant.step(
                shape.choice_modes[c],
                tape.state.at(t),
                &law,
                tape.noise.at(t),
                &mut next,
            );
            // The laws of other choices have weight zero and no derivative: only their values count.
            let onehot = Lanes(std::array::from_fn(|lane| {
                f64::from(usize::from(tape.choice[t][lane]) == c)
            }));
            let h = onehot + (y[c] - y0[t][c]);
            stage = stage + h * l;
            for (s, &x) in successor.iter_mut().zip(&next) {
                *s = *s + h * x;
            }
        }
        cost += case.discount.powi(t as i32) * stage.sum();
        tape.state.at_mut(t + 1).copy_from_slice(&successor);
    }
    cost
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sweep_is_the_gradient_of_the_relaxed_cost(seed in 0_u64..1_000_000) {
        let mut stream = stream(seed);
        let mut structure = Structure::number(stream.below(Structure::COUNT as u64) as usize);
        // Without kinks: mixtures of branches pass through clamps that no branch meets.
        structure.rough = false;
        let mut case = Case::smooth(&structure, Sizes::random(&mut stream), seed);
        let (steps, choices) = (case.worker.tape.steps(), case.model.shape().choices());
        let noise = noise(seed + 9, steps, choices);
        let parameters = case.parameters.clone();
        rollout(&mut case.worker, &noise, &case.plant, &case.model, &parameters);
        let mut worker = case.worker.clone();
        let mut gradient = vec![0.0; parameters.len()];
        let calls = sweep(
            &mut worker,
            &noise,
            &case.plant,
            &case.model,
            &parameters,
            Relaxation {
                objective: Objective {
                    cost_weight: Lanes([1.0; LANES]),
                    discount: case.discount,
                    cross_term: 1.0,
                    layers: Layers::All,
                },
                temperature: TEMPERATURE,
                entropy: 0.0,
            },
            &mut gradient,
        );
        prop_assert_eq!(calls, (steps * LANES * (choices - 1)) as u64);
        let mut y0 = Vec::new();
        relaxed_cost(&case, &noise, &parameters, &mut y0);
        let expected = differences(&parameters, |p| relaxed_cost(&case, &noise, p, &mut y0));
        case.assert_close("straight-through", &gradient, &expected, 1e-5);
    }

    /// Choices are drawn with the selector's probabilities (the Gumbel-max trick).
    #[test]
    fn choices_have_the_selectors_probabilities(seed in 0_u64..1_000) {
        let structure = Structure::number(0);
        let sizes = Sizes { state: 2, control: 1, modes: 3, laws: 1, steps: 3 };
        let case = Case::new(&structure, sizes, seed);
        let mut worker = case.worker.clone();
        let (mut counts, mut expected) = ([0.0; 3], [0.0; 3]);
        let draws = 600;
        for index in 0..draws {
            let noise = noise(1 + seed * draws + index, 3, 3);
            rollout(&mut worker, &noise, &case.plant, &case.model, &case.parameters);
            for lane in 0..LANES {
                counts[usize::from(worker.tape.choice[0][lane])] += 1.0;
                for (k, p) in expected.iter_mut().enumerate() {
                    *p += worker.tape.probability.at(0)[k].0[lane];
                }
            }
        }
        for (count, expected) in counts.iter().zip(expected) {
            // Five standard deviations of a count.
            prop_assert!((count - expected).abs() < 5.0 * expected.sqrt().max(1.0), "{counts:?} {expected}");
        }
    }
}
