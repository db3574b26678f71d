//! Dense kernels: the bits of a plain loop, and the adjoint identities.

use proptest::prelude::*;

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
        out in 1_usize..10,
        inputs in 1_usize..7,
        steps in 1_usize..6,
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
                let mut sums = [0.0_f32; crate::numeric::LANES];
                for t in range.clone() {
                    for (lane, sum) in sums.iter_mut().enumerate() {
                        *sum = d(t, lane).mul_add(x[t * wide_in + 1 + i].0[lane], *sum);
                    }
                }
                let expected = before[o * inputs + i] + TREE(&sums);
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
