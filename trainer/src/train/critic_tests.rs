//! The critic's regression gradient against differences, and its structure.

use proptest::prelude::*;

use super::*;
use crate::numeric::LANES;
use crate::train::testing::{
    Case, Sizes, Structure, assert_close, differences, lanes, stream, vector,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn gradient_is_the_derivative(
        affine: bool,
        hidden in proptest::collection::vec(1_usize..5, 0..3),
        from in 0_usize..3,
        seed in 0_u64..1_000_000,
    ) {
        let mut stream = stream(seed);
        let sizes = Sizes::random(&mut stream);
        let mut case = Case::new(&Structure::number(usize::from(affine)), sizes, seed);
        let critic = Critic::new(case.model.shape(), &hidden);
        prop_assert_eq!(critic.homogeneous(), !affine);
        let parameters: Vec<f64> = vector(&mut stream, critic.parameters(), 0.6);
        let mut worker = case.worker.clone();
        case.run(&mut worker, &case.parameters, false);
        case.worker = worker;
        let mut memory = CriticMemory::new(&critic, sizes.steps);
        for t in 0..sizes.steps {
            memory.target.at_mut(t).copy_from_slice(&lanes(&mut stream, 1));
            // Samples count or do not.
            memory.weight.at_mut(t)[0] = Lanes(std::array::from_fn(|_| stream.below(2) as f64));
        }
        let steps = from..sizes.steps;
        let mut loss = |p: &[f64], gradient: &mut [f64]| {
            critic.gradient(p, &case.worker.tape, steps.clone(), &mut memory, gradient)
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
