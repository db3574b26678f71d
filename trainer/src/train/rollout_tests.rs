//! The reverse sweep with given choices: gradients of costs and of log-probabilities along whole
//! trajectories against differences, for every structure of policy and plant.

use proptest::prelude::*;

use super::*;
use crate::train::testing::{Case, Sizes, Structure, assert_close, difference, lanes, stream};

/// Weights that make a scalar of a rollout: of each lane's cost, and of each log-probability.
struct Weights {
    cost: Lanes<f64>,
    choice: Vec<Lanes<f64>>,
}

impl Weights {
    fn random(stream: &mut crate::numeric::Stream, steps: usize) -> Self {
        Self {
            cost: lanes(stream, 1)[0],
            choice: lanes(stream, steps),
        }
    }

    /// `sum_lane w_lane sum_t gamma^t l_t + sum_t A_t log pi(c_t | s_t)` at `parameters`.
    fn value(&self, case: &Case, parameters: &[f64]) -> f64 {
        let mut worker = case.worker.clone();
        case.run(&mut worker, parameters, false);
        let mut value = case.cost(&worker) * self.cost;
        for (t, &weight) in self.choice.iter().enumerate() {
            let tape = &worker.tape;
            let taken = crate::train::advantage::taken(tape, tape.probability.at(t), t);
            value = value + weight * taken.map(f64::ln);
        }
        value.sum()
    }

    fn gradient(&self, case: &Case, cross_term: f64) -> Vec<f64> {
        let mut worker = case.worker.clone();
        case.run(&mut worker, &case.parameters, false);
        for (t, &weight) in self.choice.iter().enumerate() {
            worker.tape.d_logits.at_mut(t).fill(Lanes::default());
            crate::train::advantage::add_sampled(&mut worker.tape, t, weight);
        }
        let mut gradient = vec![0.0; case.model.parameters()];
        let objective = Objective {
            cost_weight: self.cost,
            discount: case.discount,
            cross_term,
            layers: Layers::All,
        };
        worker.sweep(
            &case.plant,
            &case.model,
            &case.parameters,
            objective,
            &mut gradient,
        );
        gradient
    }
}

/// Bounds and clamp really act in some lanes of a rough case, and not in all.
fn is_mixed(case: &Case) -> bool {
    let tape = &case.worker.tape;
    let bounded = (0..tape.steps()).flat_map(|t| {
        let pairs = tape.law.at(t).iter().zip(tape.applied.at(t));
        pairs.flat_map(|(law, applied)| (0..LANES).map(|lane| law.0[lane] != applied.0[lane]))
    });
    let (active, all) = bounded.fold((0, 0), |(a, n), b| (a + usize::from(b), n + 1));
    0 < active && active < all
}

fn check(index: usize, seed: u64) {
    let structure = Structure::number(index);
    let mut stream = stream(seed);
    let sizes = Sizes::random(&mut stream);
    let case = Case::smooth(&structure, sizes, seed);
    let weights = Weights::random(&mut stream, sizes.steps);

    let total = crate::train::testing::differences(&case.parameters, |p| weights.value(&case, p));
    case.assert_close("total", &weights.gradient(&case, 1.0), &total, 1e-6);

    // Without the cross term the laws see the costs alone and the selector what it saw before.
    let costs_only = Weights {
        cost: weights.cost,
        choice: vec![Lanes::default(); sizes.steps],
    };
    let pathwise =
        crate::train::testing::differences(&case.parameters, |p| costs_only.value(&case, p));
    let selector_end = case.model.groups()[1].1.end;
    let off = weights.gradient(&case, 0.0);
    assert_close(
        "selector, off",
        &off[..selector_end],
        &total[..selector_end],
        1e-6,
    );
    assert_close(
        "laws, off",
        &off[selector_end..],
        &pathwise[selector_end..],
        1e-6,
    );
}

#[test]
fn sweep_is_the_derivative_for_every_structure() {
    for index in 0..Structure::COUNT {
        check(index, index as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn sweep_is_the_derivative(index in 0..Structure::COUNT, seed in 0_u64..1_000_000) {
        check(index, seed);
    }
}

#[test]
fn bounds_and_clamp_are_active_in_some_lanes_of_rough_cases() {
    let rough: Vec<usize> = (0..Structure::COUNT)
        .filter(|&i| Structure::number(i).rough)
        .collect();
    let (mut bounded, mut clamped) = (0, 0);
    for &index in &rough {
        let sizes = Sizes::random(&mut stream(index as u64));
        let case = Case::smooth(&Structure::number(index), sizes, index as u64);
        bounded += usize::from(is_mixed(&case));
        clamped += usize::from(case.worker.tape.clamped > 0);
    }
    assert!(2 * bounded > rough.len(), "{bounded} of {}", rough.len());
    assert!(4 * clamped > rough.len(), "{clamped} of {}", rough.len());
}

/// The look-ahead rollout walks the same path and its values are those of single steps.
#[test]
fn look_ahead_walks_the_same_path() {
    for index in 0..Structure::COUNT {
        let sizes = Sizes::random(&mut stream(index as u64));
        let case = Case::new(&Structure::number(index), sizes, index as u64);
        let (mut plain, mut look) = (case.worker.clone(), case.worker.clone());
        case.run(&mut plain, &case.parameters, false);
        case.run(&mut look, &case.parameters, true);
        for t in 0..sizes.steps {
            assert_eq!(plain.tape.cost.at(t), look.tape.cost.at(t));
            assert_eq!(plain.tape.law.at(t), look.tape.law.at(t));
            assert_eq!(plain.tape.state.at(t + 1), look.tape.state.at(t + 1));
            // The taken choice's value is its own cost and the critic of where it really went.
            let taken = crate::train::advantage::taken_value(&look.tape, t);
            let mut scratch = case.critic.scratch(case.model.shape());
            let value = case.critic.value_at(
                case.model.shape(),
                &case.critic_parameters,
                look.tape.state.at(t + 1),
                &mut scratch,
            );
            let expected = look.tape.cost.at(t)[0] + value * case.discount;
            assert!(difference(&taken.0, &expected.0) < 1e-14);
            // Any other choice: what a rollout that takes it there would get.
            for choice in 0..case.model.shape().choices() {
                let mut other = plain.clone();
                other.tape.choice[t] = [choice as u16; LANES];
                case.run(&mut other, &case.parameters, false);
                let value = case.critic.value_at(
                    case.model.shape(),
                    &case.critic_parameters,
                    other.tape.state.at(t + 1),
                    &mut scratch,
                );
                let expected = other.tape.cost.at(t)[0] + value * case.discount;
                assert!(difference(&look.tape.look_ahead.at(t)[choice].0, &expected.0) < 1e-14);
            }
        }
        assert_eq!(plain.tape.clamped, look.tape.clamped);
    }
}

/// Every lane is its own trajectory: what the others do changes none of its bits.
#[test]
fn lanes_do_not_see_each_other() {
    for index in 0..Structure::COUNT {
        let sizes = Sizes::random(&mut stream(index as u64));
        let case = Case::new(&Structure::number(index), sizes, index as u64);
        let mut all = case.worker.clone();
        case.run(&mut all, &case.parameters, false);
        let mut alone = case.worker.clone();
        let lane = index % LANES;
        for t in 0..sizes.steps {
            let own = |x: &Lanes<f64>| Lanes([x.0[lane]; LANES]);
            for noise in alone.tape.noise.at_mut(t) {
                *noise = own(noise);
            }
            alone.tape.choice[t] = [alone.tape.choice[t][lane]; LANES];
        }
        for x in alone.tape.state.at_mut(0) {
            *x = Lanes([x.0[lane]; LANES]);
        }
        case.run(&mut alone, &case.parameters, false);
        for t in 0..sizes.steps {
            for (a, b) in all
                .tape
                .state
                .at(t + 1)
                .iter()
                .zip(alone.tape.state.at(t + 1))
            {
                assert_eq!([a.0[lane].to_bits(); LANES], b.0.map(f64::to_bits));
            }
            assert_eq!(
                all.tape.cost.at(t)[0].0[lane],
                alone.tape.cost.at(t)[0].0[lane]
            );
        }
    }
}
