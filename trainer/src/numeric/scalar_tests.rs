//! Lanes are scalars side by side: every operation gives the bits of the scalar one.

use proptest::prelude::*;

use super::*;
use crate::train::testing::{lanes, stream};

/// Numbers of all sizes, zeros of both signs and subnormals among them.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => any::<f32>().prop_filter("finite", |v| v.is_finite()),
        1 => Just(0.0_f32),
        1 => Just(-0.0_f32),
        4 => -10.0_f32..10.0,
    ]
}

fn vector() -> impl Strategy<Value = Lanes<f32>> {
    proptest::array::uniform16(value()).prop_map(Lanes)
}

fn bits(values: Lanes<f32>) -> [u32; LANES] {
    // All NaN are alike: their bits depend on the instruction.
    values
        .0
        .map(|v| if v.is_nan() { u32::MAX } else { v.to_bits() })
}

proptest! {
    #[test]
    fn lanes_are_scalars_side_by_side(a in vector(), b in vector(), c in vector(), s in value()) {
        let each = |f: &dyn Fn(usize) -> f32| bits(Lanes(std::array::from_fn(f)));
        prop_assert_eq!(bits(a + b), each(&|i| a.0[i] + b.0[i]));
        prop_assert_eq!(bits(a - b), each(&|i| a.0[i] - b.0[i]));
        prop_assert_eq!(bits(a * b), each(&|i| a.0[i] * b.0[i]));
        prop_assert_eq!(bits(a / b), each(&|i| a.0[i] / b.0[i]));
        prop_assert_eq!(bits(a * s), each(&|i| a.0[i] * s));
        prop_assert_eq!(bits(-a), each(&|i| -a.0[i]));
        prop_assert_eq!(bits(a.mul_add(b, c)), each(&|i| f32::mul_add(a.0[i], b.0[i], c.0[i])));
        prop_assert_eq!(bits(a.add_scaled(s, b)), each(&|i| f32::mul_add(s, b.0[i], a.0[i])));
        prop_assert_eq!(bits(a.map(<f32 as Real>::exp)), each(&|i| Real::exp(a.0[i])));
        prop_assert_eq!(bits(a.map(<f32 as Real>::tanh)), each(&|i| Real::tanh(a.0[i])));
    }

    #[test]
    fn clamp_gate_and_count_agree(a in vector(), x in value(), y in value()) {
        let (low, high) = if x < y { (x, y) } else { (y, x) };
        let clamped = Scalar::clamp(a, low, high);
        let gate = a.gate(low, high);
        for lane in 0..LANES {
            let v = a.0[lane];
            prop_assert!((low..=high).contains(&clamped.0[lane]));
            prop_assert_eq!(gate.0[lane], if low < v && v < high { 1.0 } else { 0.0 });
            if gate.0[lane] == 1.0 {
                prop_assert_eq!(clamped.0[lane].to_bits(), v.to_bits());
            }
        }
        let outside = a.0.iter().filter(|&&v| v < low || v > high).count();
        prop_assert_eq!(a.count_outside(low, high) as usize, outside);
    }

    #[test]
    fn sum_is_the_tree_of_halves(a in vector()) {
        fn tree(values: &[f32]) -> f32 {
            match values {
                [one] => *one,
                _ => {
                    let (low, high) = values.split_at(values.len() / 2);
                    let halves: Vec<f32> = low.iter().zip(high).map(|(a, b)| a + b).collect();
                    tree(&halves)
                }
            }
        }
        prop_assert_eq!(a.sum().to_bits(), tree(&a.0).to_bits());
    }
}

#[test]
fn sum_in_another_order_would_be_seen() {
    // Otherwise the property above could hold of any order.
    let seen = (0..100).any(|seed| {
        let a = lanes::<f32>(&mut stream(seed), 1)[0];
        a.sum().to_bits() != a.0.iter().sum::<f32>().to_bits()
    });
    assert!(seen);
}

#[test]
fn f64_functions_are_libm() {
    for i in -50..50 {
        let x = f64::from(i) * 0.37;
        assert_eq!(Real::exp(x), libm::exp(x));
        assert_eq!(Real::tanh(x), libm::tanh(x));
        if x > 0.0 {
            assert_eq!(Real::ln(x), libm::log(x));
        }
    }
}
