//! Shards: the first pass, and `f32` against `f64`.

use super::*;
use crate::numeric::Real;
use crate::numeric::dense::splat;
use crate::plant::load_plant;
use crate::train::run::{plant_traits, policy_shape};
use crate::train::settings::{Advantage, Algorithm, Settings};
use crate::train::testing::difference;
use pulp::Arch;

fn pairs(sets: &[(&str, &str)]) -> Vec<(String, String)> {
    sets.iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Runs `check` on a shard of the plant `switched-lqr-3-2` that has been rolled out.
fn with_shard(
    sets: &[(&str, &str)],
    check: impl Fn(&mut Shard, Context<'_, crate::plant::BuiltPlant<f32>>, &PlantModel),
) {
    let description =
        load_plant("switched-lqr-3-2", &pairs(&[("horizon", "6")])).expect("a ready plant");
    let settings = Settings::resolve(&pairs(sets), plant_traits(&description)).expect("settings");
    let model = Model::new(policy_shape(&description, &settings));
    let critic = Critic::new(model.shape(), &settings.critic);
    let plant = description.build::<f32>();
    let mut state = State::new(&model, &critic, &settings, 3);
    // Gains away from zero, so that the laws have something to say.
    for (i, p) in state.parameters.iter_mut().enumerate() {
        *p += 0.2 * ((i * 7 % 11) as f32 / 11.0 - 0.5);
    }
    let mut shard = Shard::new(&model, &critic, description.horizon(), 0, Algorithm::Hpo);
    shard.draw(&description, 3, 0, &mut [0.0; 3]);
    let context = Context {
        plant: &plant,
        model: &model,
        critic: &critic,
        train: &settings.train,
        discount: 1.0,
        state: &state,
    };
    Arch::Scalar.dispatch(RollOut {
        shard: &mut shard,
        context,
    });
    check(&mut shard, context, &description);
}

const LOSS: ChoiceLoss<f32> = ChoiceLoss {
    advantage: 0.01,
    entropy: 0.02,
};

/// Before the first step a detached pass over all steps clips nothing and gives the bits of the
/// selector's gradient of the attached pass, whatever the cross term.
#[test]
fn first_detached_pass_is_the_attached_one() {
    for advantage in ["look-ahead", "gae", "monte-carlo"] {
        for cross_term in ["on", "off"] {
            let sets = [
                ("train.advantage", advantage),
                ("train.cross_term", cross_term),
                ("policy.selector_hidden", "[5]"),
            ];
            with_shard(&sets, |shard, context, _| {
                Arch::Scalar.dispatch(Differentiate {
                    shard,
                    context,
                    loss: LOSS,
                    cross_term: f32::from(u8::from(cross_term == "on")),
                    layers: Layers::All,
                });
                let attached = shard.gradient.clone();
                Arch::Scalar.dispatch(Detached {
                    shard,
                    context,
                    loss: LOSS,
                    range: 0..6,
                });
                assert_eq!(shard.clipped, 0);
                let end = context.model.groups()[1].1.end;
                assert!(attached[..end].iter().any(|&g| g != 0.0));
                assert_eq!(shard.gradient[..end], attached[..end]);
                assert_eq!(shard.gradient[end..], attached[end..], "left alone");
            });
        }
    }
}

/// Minibatches are stretches of time: their gradients add up to that of the whole pass.
#[test]
fn minibatches_add_up() {
    with_shard(&[("train.advantage", "gae")], |shard, context, _| {
        let mut run = |range| {
            Arch::Scalar.dispatch(Detached {
                shard,
                context,
                loss: LOSS,
                range,
            });
            shard
                .gradient
                .iter()
                .map(|&g| f64::from(g))
                .collect::<Vec<f64>>()
        };
        let whole = run(0..6);
        let sum: Vec<f64> = run(0..2)
            .iter()
            .zip(run(2..6))
            .map(|(a, b)| a + b)
            .collect();
        assert!(difference(&sum, &whole) < 1e-5);
    });
}

/// The `f32` gradient that trains is that of `f64`, whose mathematics the other tests prove.
#[test]
fn single_precision_follows_double() {
    let networks = ("policy.control_hidden", "[6]");
    for (variant, advantage) in [
        ("exact", "monte-carlo"),
        ("exact", "look-ahead"),
        ("practical", "look-ahead"),
        ("practical", "gae"),
    ] {
        let sets = [
            ("train.variant", variant),
            ("train.advantage", advantage),
            ("train.cross_term", "on"),
            networks,
        ];
        with_shard(&sets, |shard, context, description| {
            Arch::Scalar.dispatch(Differentiate {
                shard,
                context,
                loss: LOSS,
                cross_term: 1.0,
                layers: Layers::All,
            });
            let (model, critic, train) = (context.model, context.critic, context.train);
            let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
            let parameters = wide(&context.state.parameters);
            let critic_parameters = wide(&context.state.critic);
            let mut worker = Worker::<f64>::new(model, critic, 6, 0);
            let single = &shard.worker.tape;
            worker.tape.choice.clone_from(&single.choice);
            for (x, s) in worker
                .tape
                .state
                .at_mut(0)
                .iter_mut()
                .zip(single.state.at(0))
            {
                *x = Lanes(s.0.map(Real::to_f64));
            }
            let look = (train.advantage == Advantage::LookAhead).then_some(LookAhead {
                critic,
                parameters: &critic_parameters,
                discount: 1.0,
            });
            let plant = description.build::<f64>();
            worker.rollout(&plant, model, &parameters, Selection::Given, look);
            if look.is_none() {
                worker.value_last(model, critic, &critic_parameters);
            }
            let mut advantages = Advantages::new(critic, 6);
            advantages.evaluate(critic, &critic_parameters, &worker.tape, train.bootstrap);
            estimator::estimate(train, &worker.tape, 1.0, &mut advantages);
            let loss = ChoiceLoss {
                advantage: f64::from(LOSS.advantage),
                entropy: f64::from(LOSS.entropy),
            };
            for t in 0..6 {
                estimator::fill_logits(train, &mut worker.tape, 1.0, &advantages, loss, None, t);
            }
            let objective = estimator::objective(train, 1.0, 1.0 / train.batch as f64);
            assert_eq!(objective.cost_weight, splat(1.0 / train.batch as f64));
            let mut expected = vec![0.0; model.parameters()];
            worker.sweep(&plant, model, &parameters, objective, &mut expected);
            for (group, range) in model.groups() {
                let error = difference(&wide(&shard.gradient[range.clone()]), &expected[range]);
                assert!(error < 2e-4, "{variant} {advantage} {group:?}: {error:e}");
            }
        });
    }
}

/// A trajectory's random numbers belong to its own number, not to the shard it is in.
#[test]
fn draws_belong_to_the_trajectory() {
    with_shard(&[], |shard, context, description| {
        let mut other = Shard::new(context.model, context.critic, 6, 0, Algorithm::Hpo);
        other.draw(description, 3, 1, &mut [0.0; 3]);
        assert_ne!(other.worker.tape.state.at(0), shard.worker.tape.state.at(0));
        assert_ne!(
            other.worker.tape.uniform.at(0),
            shard.worker.tape.uniform.at(0)
        );
        let mut stream = Stream::new(3, Purpose::InitialState, 16 + 5);
        let mut initial = [0.0; 3];
        description.draw_initial(&mut stream, &mut initial);
        let lane: Vec<f32> = other
            .worker
            .tape
            .state
            .at(0)
            .iter()
            .map(|x| x.0[5])
            .collect();
        assert_eq!(lane, initial.map(|x| x as f32));
        other.draw(description, 3, 0, &mut [0.0; 3]);
        assert_eq!(other.worker.tape.state.at(0), shard.worker.tape.state.at(0));
    });
}
