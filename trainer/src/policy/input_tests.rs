//! Adjoints of the input transform against differences; its bits against a plain loop.

use proptest::prelude::*;

use super::*;
use crate::numeric::LANES;
use crate::train::testing::{assert_close, dot, flat, lane_differences, lanes, stream};

proptest! {
    #[test]
    fn unit_norm_adjoint_is_its_derivative(n in 1_usize..6, seed: u64) {
        let mut stream = stream(seed);
        let xi = lanes::<f64>(&mut stream, n);
        let d_z = lanes::<f64>(&mut stream, n);
        let d_norm = lanes::<f64>(&mut stream, 1);
        let before = lanes::<f64>(&mut stream, n);
        let mut z = vec![Lanes::default(); n];
        let (norm, inverse) = unit_norm(&xi, &mut z);
        prop_assume!(norm.0.iter().all(|&r| r > 0.05));

        let mut d_xi = before.clone();
        unit_norm_adjoint(&z, inverse, &d_z, d_norm[0], &mut d_xi);
        let expected = lane_differences(&xi, |xi| {
            let mut z = vec![Lanes::default(); n];
            let (norm, _) = unit_norm(xi, &mut z);
            dot(&d_z, &z) + dot(&d_norm, &[norm])
        });
        let added: Vec<f64> = flat(&d_xi).iter().zip(flat(&before)).map(|(a, b)| a - b).collect();
        assert_close("unit norm", &added, &expected, 1e-8);
    }

    #[test]
    fn monomials_adjoint_is_its_derivative(n in 1_usize..6, seed: u64) {
        let mut stream = stream(seed);
        let count = n * (n + 1) / 2;
        let z = lanes::<f64>(&mut stream, n);
        let d_out = lanes::<f64>(&mut stream, count);
        let mut d_z = vec![Lanes::default(); n];
        monomials_adjoint(&z, &d_out, &mut d_z);
        let expected = lane_differences(&z, |z| {
            let mut out = vec![Lanes::default(); count];
            monomials(z, &mut out);
            dot(&d_out, &out)
        });
        assert_close("monomials", &flat(&d_z), &expected, 1e-9);
    }

    #[test]
    fn unit_norm_lanes_have_the_bits_of_a_scalar_loop(n in 1_usize..9, seed: u64) {
        let xi = lanes::<f32>(&mut stream(seed), n);
        let mut z = vec![Lanes::default(); n];
        let (norm, _) = unit_norm(&xi, &mut z);
        for lane in 0..LANES {
            let mut square = 0.0_f32;
            for v in &xi {
                square = v.0[lane].mul_add(v.0[lane], square);
            }
            prop_assert_eq!(norm.0[lane].to_bits(), square.sqrt().to_bits());
            for i in 0..n {
                let expected = xi[i].0[lane] * (1.0 / square.sqrt());
                prop_assert_eq!(z[i].0[lane].to_bits(), expected.to_bits());
            }
        }
    }
}

#[test]
fn origin_has_direction_zero_and_no_derivative() {
    let xi = [Lanes::<f64>::default(); 3];
    let mut z = [Lanes([7.0; LANES]); 3];
    let (norm, inverse) = unit_norm(&xi, &mut z);
    assert_eq!((norm, inverse), Default::default());
    assert_eq!(z, xi);
    let mut d_xi = [Lanes::default(); 3];
    let ones = [Lanes([1.0; LANES]); 3];
    unit_norm_adjoint(&z, inverse, &ones, ones[0], &mut d_xi);
    assert_eq!(d_xi, [Lanes::default(); 3]);
}
