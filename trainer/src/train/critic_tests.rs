//! The critic's regression gradient against differences, and its structure.

use proptest::prelude::*;

use super::*;
use crate::numeric::LANES;
use crate::train::settings::CriticSettings;
use crate::train::testing::{
    Case, Sizes, Structure, assert_close, differences, lanes, stream, vector,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn gradient_is_the_derivative(
        affine: bool,
        hidden in proptest::collection::vec(1_usize..5, 0..3),
        forms in 1_usize..5,
        from in 0_usize..3,
        seed in 0_u64..1_000_000,
    ) {
        let mut stream = stream(seed);
        let sizes = Sizes::random(&mut stream);
        let mut case = Case::new(&Structure::number(usize::from(affine)), sizes, seed);
        let critic = Critic::new(case.model.shape(), &CriticSettings { forms, hidden });
        prop_assert_eq!(critic.homogeneous(), !affine);
        let parameters: Vec<f64> = vector(&mut stream, critic.parameters(), 0.6);
        let mut worker = case.worker.clone();
        case.run(&mut worker, &case.parameters, false);
        case.worker = worker;
        let mut memory = CriticMemory::new(&critic, sizes.steps);
        for t in 0..sizes.steps {
            memory.target.at_mut(t).copy_from_slice(&lanes(&mut stream, 1));
            // Samples count or do not; one near the kink between two forms has no derivative to compare with.
            let monomials = case.worker.tape.monomials.at(t);
            memory.weight.at_mut(t)[0] = Lanes(std::array::from_fn(|lane| {
                let mut values: Vec<f64> = (0..forms)
                    .map(|k| {
                        let weights = parameters[critic.form(k)].iter().zip(monomials);
                        let bias = parameters[critic.form(forms - 1).end + k];
                        weights.map(|(p, q)| p * q.0[lane]).sum::<f64>() + bias
                    })
                    .collect();
                values.sort_by(f64::total_cmp);
                let apart = values.len() == 1 || values[1] - values[0] > 0.1;
                if apart { stream.below(2) as f64 } else { 0.0 }
            }));
        }
        let steps = from..sizes.steps;
        let mut loss = |p: &[f64], gradient: &mut [f64]| {
            critic.gradient(p, &case.worker.tape, steps.clone(), &mut memory, Layers::All, gradient)
        };
        let mut gradient = vec![0.0; parameters.len()];
        let value = loss(&parameters, &mut gradient);
        let expected = differences(&parameters, |p| loss(p, &mut vec![0.0; p.len()]));
        assert_close("critic", &gradient, &expected, 1e-7);

        // The loss is what it says, from the critic's values at the states themselves.
        let mut by_hand = 0.0;
        let mut scratch = critic.scratch(case.model.shape());
        for t in steps {
            let tape = &case.worker.tape;
            let v = critic.value_at(case.model.shape(), &parameters, tape.state.at(t), &mut scratch);
            for lane in 0..LANES {
                let norm = if affine { 1.0 } else { tape.norm.at(t)[0].0[lane] };
                let error = v.0[lane] / (norm * norm) - memory.target.at(t)[0].0[lane];
                by_hand += 0.5 * memory.weight.at(t)[0].0[lane] * error * error;
            }
        }
        assert_close("loss", &[value], &[by_hand], 1e-9);
    }

    /// The value is the least of the forms, each of which a critic of its own gives too.
    #[test]
    fn the_least_form_counts(forms in 2_usize..6, seed in 0_u64..1000) {
        let mut stream = stream(seed);
        let case = Case::new(&Structure::number(0), Sizes::random(&mut stream), seed);
        let shape = case.model.shape();
        let critic = |forms| Critic::new(shape, &CriticSettings { forms, hidden: Vec::new() });
        let (whole, single) = (critic(forms), critic(1));
        let mut parameters: Vec<f64> = vector(&mut stream, whole.parameters(), 1.0);
        // As after training: biases too.
        let state = case.worker.tape.state.at(0);
        let value = whole.value_at(shape, &parameters, state, &mut whole.scratch(shape));
        let biases = parameters.split_off(whole.form(forms - 1).end);
        for lane in 0..LANES {
            let least = (0..forms)
                .map(|k| {
                    let own: Vec<f64> = parameters[whole.form(k)].iter().chain(&biases[k..=k]).copied().collect();
                    single.value_at(shape, &own, state, &mut single.scratch(shape)).0[lane]
                })
                .fold(f64::INFINITY, f64::min);
            prop_assert!((value.0[lane] - least).abs() <= 1e-12 * (1.0 + least.abs()));
        }
    }

    #[test]
    fn unit_norm_critic_is_homogeneous_of_degree_two(seed in 0_u64..1000, factor in -9.0_f64..9.0) {
        prop_assume!(factor.abs() > 0.01);
        let sizes = Sizes::random(&mut stream(seed));
        let case = Case::new(&Structure::number(0), sizes, seed);
        let mut scratch = case.critic.scratch(case.model.shape());
        let state = case.worker.tape.state.at(0);
        let scaled: Vec<_> = state.iter().map(|&x| x * factor).collect();
        let mut value = |x: &[Lanes<f64>]| {
            case.critic.value_at(case.model.shape(), &case.critic_parameters, x, &mut scratch)
        };
        let expected = value(state) * (factor * factor);
        assert_close("V(a s) = a^2 V(s)", &value(&scaled).0, &expected.0, 1e-11);
    }
}
