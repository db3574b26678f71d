//! Network adjoints against differences; lanes against a scalar network.

use proptest::prelude::*;

use super::*;
use crate::numeric::LANES;
use crate::train::testing::{
    assert_close, differences, dot, flat, lane_differences, lanes, stream, vector,
};

/// Output of the network for one lane by plain loops.
fn scalar_network<T: Real>(net: &Network, parameters: &[T], x: &[T], tanh_out: bool) -> Vec<T> {
    let mut values = x.to_vec();
    let count = net.layers().count();
    for (index, (inputs, outputs, weights, bias)) in net.layers().enumerate() {
        let (w, b) = (&parameters[weights], &parameters[bias]);
        values = (0..outputs)
            .map(|o| {
                let mut sum = b[o];
                for i in 0..inputs {
                    sum = w[o * inputs + i].mul_add(values[i], sum);
                }
                if index + 1 < count || tanh_out {
                    T::tanh(sum)
                } else {
                    sum
                }
            })
            .collect();
    }
    values
}

proptest! {
    #[test]
    fn lanes_have_the_bits_of_a_scalar_network(
        inputs in 1_usize..6,
        widths in proptest::collection::vec(1_usize..20, 1..4),
        tanh_out: bool,
        start in 0_usize..5,
        seed: u64,
    ) {
        let output = if tanh_out { Output::Tanh } else { Output::Linear };
        let net = Network::new(start, inputs, &widths, output);
        let mut stream = stream(seed);
        let parameters: Vec<f32> = vector(&mut stream, net.end(), 0.5);
        let x = lanes::<f32>(&mut stream, inputs);
        let mut activations = vec![Lanes::default(); net.activations()];
        net.forward(&parameters, &x, &mut activations);
        for lane in 0..LANES {
            let own: Vec<f32> = x.iter().map(|v| v.0[lane]).collect();
            let expected = scalar_network(&net, &parameters, &own, tanh_out);
            for (y, e) in activations[net.output()].iter().zip(expected) {
                prop_assert_eq!(y.0[lane].to_bits(), e.to_bits());
            }
        }
    }

    #[test]
    fn adjoint_is_the_derivative(
        inputs in 1_usize..4,
        widths in proptest::collection::vec(1_usize..5, 1..4),
        tanh_out: bool,
        start in 0_usize..3,
        seed: u64,
    ) {
        let output = if tanh_out { Output::Tanh } else { Output::Linear };
        let net = Network::new(start, inputs, &widths, output);
        let mut stream = stream(seed);
        let parameters: Vec<f64> = vector(&mut stream, net.end(), 0.7);
        let steps = 2;
        let mut x = Track::<f64>::new(steps, inputs);
        let mut d_y = Track::<f64>::new(steps, net.output().len());
        for t in 0..steps {
            x.at_mut(t).copy_from_slice(&lanes(&mut stream, inputs));
            d_y.at_mut(t).copy_from_slice(&lanes(&mut stream, net.output().len()));
        }
        let loss = |parameters: &[f64], t: usize, x: &[Lanes<f64>]| {
            let mut activations = vec![Lanes::default(); net.activations()];
            net.forward(parameters, x, &mut activations);
            dot(&activations[net.output()], d_y.at(t))
        };

        let mut activations = Track::new(steps, net.activations());
        let mut deltas = Track::new(steps, net.activations());
        for t in 0..steps {
            net.forward(&parameters, x.at(t), activations.at_mut(t));
            deltas.at_mut(t)[net.output()].copy_from_slice(d_y.at(t));
            let mut d_x = vec![Lanes::default(); inputs];
            net.backward(&parameters, activations.at(t), deltas.at_mut(t), Some(&mut d_x));
            let expected = lane_differences(x.at(t), |x| loss(&parameters, t, x));
            assert_close("input", &flat(&d_x), &expected, 1e-7);
        }
        let mut gradient = vec![0.0; net.end()];
        let pass = Pass {
            x: x.all(),
            activations: &activations,
            deltas: &deltas,
        };
        net.gradient(0..steps, pass, Layers::All, &mut gradient);
        let expected = differences(&parameters, |p| {
            (0..steps).map(|t| loss(p, t, x.at(t))).sum()
        });
        assert_close("parameters", &gradient, &expected, 1e-7);
        prop_assert!(gradient[..start].iter().all(|&g| g == 0.0));
    }
}

/// The gradient of wide layers, of several passes at once, has the bits of one gradient for each pass and a sum of these.
#[test]
fn wide_layers_have_the_bits_of_a_sum_of_gradients() {
    let (inputs, steps) = (5, 11);
    let net = Network::new(3, inputs, &[170, 200, 7, 180, 190, 2], Output::Linear);
    let wide: Vec<Range<usize>> = net.wide().collect();
    assert_eq!(wide.len(), 2);
    let mut stream = stream(1);
    let parameters: Vec<f32> = vector(&mut stream, net.end(), 0.2);
    let shards: Vec<_> = (0..3)
        .map(|_| {
            let mut x = Track::<f32>::new(steps, inputs);
            let mut activations = Track::new(steps, net.activations());
            let mut deltas = Track::new(steps, net.activations());
            for t in 0..steps {
                x.at_mut(t).copy_from_slice(&lanes(&mut stream, inputs));
                let d_y = lanes(&mut stream, net.output().len());
                deltas.at_mut(t)[net.output()].copy_from_slice(&d_y);
            }
            net.forward_steps(&parameters, x.all(), &mut activations, 0..steps);
            net.backward_steps(&parameters, &activations, &mut deltas, None, 0..steps);
            (x, activations, deltas)
        })
        .collect();
    let passes: Vec<_> = shards
        .iter()
        .map(|(x, activations, deltas)| Pass {
            x: x.all(),
            activations,
            deltas,
        })
        .collect();
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    // One stretch of a sum, and two.
    for range in [2..7, 0..steps] {
        let add = |layers| {
            let mut sum: Vec<f32> = Vec::new();
            for &pass in &passes {
                let mut own = vec![0.0; net.end()];
                net.gradient(range.clone(), pass, layers, &mut own);
                if sum.is_empty() {
                    sum = own;
                } else {
                    sum.iter_mut().zip(own).for_each(|(sum, g)| *sum += g);
                }
            }
            sum
        };
        let expected = add(Layers::All);
        let mut found = add(Layers::Narrow);
        for weights in &wide {
            assert!(found[weights.clone()].iter().all(|&g| g == 0.0));
            // What is there is forgotten.
            found[weights.clone()].fill(f32::NAN);
        }
        for threads in [1, 2, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let mut found = found.clone();
            pool.expect("threads")
                .install(|| net.wide_gradient(range.clone(), &passes, &mut found));
            assert_eq!(bits(&found), bits(&expected), "{threads} threads");
        }
    }
}
