//! Dense kernels: the bits of a plain loop, and the adjoint identities.

use proptest::prelude::*;

use super::backward::Backward;
use super::forward::{DEPTH, Forward};
use super::gradient::Gradient;
use super::*;
use crate::train::testing::{assert_close, dot, lanes, stream, vector};

type Tree = fn(&[f32]) -> f32;

/// The tree of [`Lanes::sum`], written on its own.
const TREE: Tree = |values| {
    let mut values = values.to_vec();
    while values.len() > 1 {
        let half = values.len() / 2;
        values = (0..half).map(|i| values[i] + values[i + half]).collect();
    }
    values[0]
};

fn same_bits(a: &[Lanes<f32>], b: &[Lanes<f32>]) -> bool {
    a.iter()
        .zip(b)
        .all(|(a, b)| a.0.map(f32::to_bits) == b.0.map(f32::to_bits))
}

proptest! {
    // Sizes reach beyond two tiles in each direction, so that every remainder occurs.
    #[test]
    fn kernels_are_plain_loops(out in 1_usize..19, inputs in 1_usize..19, seed: u64) {
        let mut stream = stream(seed);
        let w: Vec<f32> = vector(&mut stream, out * inputs, 1.0);
        let b: Vec<f32> = vector(&mut stream, out, 1.0);
        let x = lanes::<f32>(&mut stream, inputs);
        let dy = lanes::<f32>(&mut stream, out);
        let start = lanes::<f32>(&mut stream, inputs);

        let mut y = vec![Lanes::default(); out];
        forward(&w, &b, &x, &mut y);
        let mut dx = start.clone();
        backward_input(&w, &dy, &mut dx);
        for lane in 0..crate::numeric::LANES {
            for o in 0..out {
                let mut sum = b[o];
                for i in 0..inputs {
                    sum = w[o * inputs + i].mul_add(x[i].0[lane], sum);
                }
                prop_assert_eq!(y[o].0[lane].to_bits(), sum.to_bits());
            }
            for i in 0..inputs {
                let mut sum = start[i].0[lane];
                for o in 0..out {
                    sum = w[o * inputs + i].mul_add(dy[o].0[lane], sum);
                }
                prop_assert_eq!(dx[i].0[lane].to_bits(), sum.to_bits());
            }
        }
    }

    #[test]
    fn gradient_is_a_plain_loop(
        out in 1_usize..19,
        inputs in 1_usize..70,
        steps in 1_usize..20,
        from in 0_usize..3,
        seed: u64,
    ) {
        let mut stream = stream(seed);
        let range = from.min(steps - 1)..steps;
        // Both vectors stand inside wider ones, as parts of a tape do.
        let (wide_out, wide_in) = (out + 2, inputs + 1);
        let dy = lanes::<f32>(&mut stream, steps * wide_out);
        let x = lanes::<f32>(&mut stream, steps * wide_in);
        let part = |data, stride, offset, len| Steps { data, stride, offset, len };
        let before: Vec<f32> = vector(&mut stream, out * inputs + out, 1.0);
        let mut after = before.clone();
        let (dw, db) = after.split_at_mut(out * inputs);
        gradient(
            range.clone(),
            part(&dy, wide_out, 2, out),
            part(&x, wide_in, 1, inputs),
            dw,
            Some(db),
        );
        for o in 0..out {
            let d = |t: usize, lane: usize| dy[t * wide_out + 2 + o].0[lane];
            for i in 0..inputs {
                // The stated order: stretches of steps, in each steps and then lanes ascending.
                let mut expected = before[o * inputs + i];
                for start in range.clone().step_by(GRADIENT_STEPS) {
                    let mut sum = 0.0_f32;
                    for t in start..range.end.min(start + GRADIENT_STEPS) {
                        for lane in 0..LANES {
                            sum = d(t, lane).mul_add(x[t * wide_in + 1 + i].0[lane], sum);
                        }
                    }
                    expected += sum;
                }
                prop_assert_eq!(after[o * inputs + i].to_bits(), expected.to_bits());
            }
            let mut sums = [0.0_f32; crate::numeric::LANES];
            for t in range.clone() {
                for (lane, sum) in sums.iter_mut().enumerate() {
                    *sum += d(t, lane);
                }
            }
            let expected = before[out * inputs + o] + TREE(&sums);
            prop_assert_eq!(after[out * inputs + o].to_bits(), expected.to_bits());
        }
    }

    /// Many steps give the bits of one step at a time, on every instruction set of this machine, with
    /// vectors apart or side by side in one array; nothing else is written.
    #[test]
    fn steps_sets_and_places_do_not_matter(
        out in 1_usize..37,
        inputs in 1_usize..37,
        deep in 0_usize..3,
        steps in 1_usize..6,
        from in 0_usize..3,
        tanh: bool,
        seed: u64,
    ) {
        // Beyond one stretch of inputs now and then.
        let inputs = if deep == 0 { inputs + DEPTH } else { inputs };
        let mut stream = stream(seed);
        let range = from.min(steps - 1)..steps;
        let w: Vec<f32> = vector(&mut stream, out * inputs, 1.0);
        let b: Vec<f32> = vector(&mut stream, out, 1.0);
        let stride = 1 + inputs + out;
        let both = lanes::<f32>(&mut stream, steps * stride);

        let mut expected = both.clone();
        for t in range.clone() {
            let (x, y) = expected[t * stride + 1..][..inputs + out].split_at_mut(inputs);
            forward(&w, &b, x, y);
            if tanh {
                y.iter_mut().for_each(|y| *y = y.map(Real::tanh));
            }
        }
        let mut expected_back = both.clone();
        for t in range.clone() {
            let (dx, dy) = expected_back[t * stride + 1..][..inputs + out].split_at_mut(inputs);
            backward_input(&w, dy, dx);
        }
        for (name, arch) in crate::numeric::arch::available() {
            for beside in [false, true] {
                let own = both.clone();
                let source = |offset, len| if beside {
                    Source::Beside(offset)
                } else {
                    Source::Apart(Steps { data: &own, stride, offset, len })
                };
                let mut found = both.clone();
                arch.dispatch(Forward {
                    w: &w,
                    b: &b,
                    x: source(1, inputs),
                    inputs,
                    y: Target { data: &mut found, stride, offset: 1 + inputs },
                    steps: range.clone(),
                    tanh,
                });
                prop_assert!(same_bits(&found, &expected), "forward, {}", name);
                let mut found = both.clone();
                arch.dispatch(Backward {
                    w: &w,
                    dy: source(1 + inputs, out),
                    out,
                    dx: Target { data: &mut found, stride, offset: 1 },
                    inputs,
                    steps: range.clone(),
                });
                prop_assert!(same_bits(&found, &expected_back), "backward, {}", name);
            }
        }
    }

    /// The weight gradient has the same bits on every instruction set of this machine.
    #[test]
    fn gradient_does_not_depend_on_the_instruction_set(
        out in 1_usize..20,
        inputs in 1_usize..70,
        steps in 1_usize..12,
        seed: u64,
    ) {
        let mut stream = stream(seed);
        let dy = lanes::<f32>(&mut stream, steps * out);
        let x = lanes::<f32>(&mut stream, steps * inputs);
        let part = |data, len| Steps { data, stride: len, offset: 0, len };
        let mut results = Vec::new();
        for (_, arch) in crate::numeric::arch::available() {
            let mut dw = vec![0.5_f32; out * inputs];
            arch.dispatch(Gradient {
                steps: 0..steps,
                samples: &[(part(&dy, out), part(&x, inputs))],
                rows: 0..out,
                dw: &mut dw,
                fresh: false,
            });
            results.push(dw.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        }
        for result in &results {
            prop_assert_eq!(result, &results[0]);
        }
    }

    /// Rows of several arrays' gradient are what one gradient each, from zeros, gives when it is added in order; what was there is
    /// forgotten. On every instruction set of this machine.
    #[test]
    fn rows_of_several_arrays_are_gradients_added(
        out in 1_usize..20,
        inputs in 1_usize..150,
        steps in 1_usize..20,
        arrays in 1_usize..4,
        from in 0_usize..9,
        seed: u64,
    ) {
        let mut stream = stream(seed);
        let part = |data, len| Steps { data, stride: len, offset: 0, len };
        let own: Vec<_> = (0..arrays)
            .map(|_| (lanes::<f32>(&mut stream, steps * out), lanes::<f32>(&mut stream, steps * inputs)))
            .collect();
        let mut expected = vec![0.0_f32; out * inputs];
        for (index, (dy, x)) in own.iter().enumerate() {
            let mut dw = vec![0.0; out * inputs];
            gradient(0..steps, part(dy, out), part(x, inputs), &mut dw, None);
            for (sum, dw) in expected.iter_mut().zip(dw) {
                *sum = if index == 0 { dw } else { *sum + dw };
            }
        }
        let rows = from.min(out - 1)..out;
        let samples: Vec<_> = own.iter().map(|(dy, x)| (part(dy, out), part(x, inputs))).collect();
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        for (name, arch) in crate::numeric::arch::available() {
            let mut dw = vec![f32::NAN; rows.len() * inputs];
            arch.dispatch(Gradient {
                steps: 0..steps,
                samples: &samples,
                rows: rows.clone(),
                dw: &mut dw,
                fresh: true,
            });
            prop_assert_eq!(bits(&dw), bits(&expected[rows.start * inputs..]), "{}", name);
        }
    }

    /// <dy, W x> = <W' dy, x> = <dW, W> for dW = dy x'.
    #[test]
    fn adjoint_identities(out in 1_usize..12, inputs in 1_usize..12, seed: u64) {
        let mut stream = stream(seed);
        let w: Vec<f64> = vector(&mut stream, out * inputs, 1.0);
        let x = lanes::<f64>(&mut stream, inputs);
        let dy = lanes::<f64>(&mut stream, out);
        let mut y = vec![Lanes::default(); out];
        forward(&w, &vec![0.0; out], &x, &mut y);
        let mut dx = vec![Lanes::default(); inputs];
        backward_input(&w, &dy, &mut dx);
        let mut dw = vec![0.0; out * inputs];
        let all = |data, len| Steps { data, stride: len, offset: 0, len };
        gradient(0..1, all(&dy, out), all(&x, inputs), &mut dw, None);
        let through_w: f64 = w.iter().zip(&dw).map(|(w, d)| w * d).sum();
        let forward = dot(&dy, &y);
        assert_close("W' dy", &[dot(&dx, &x)], &[forward], 1e-9);
        assert_close("dW", &[through_w], &[forward], 1e-9);
    }
}
