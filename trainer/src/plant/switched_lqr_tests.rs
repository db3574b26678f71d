//! Derivatives against finite differences and dual numbers, clamp conventions, lanes.

use std::ops::{Add, Mul, Neg};

use num_dual::Dual64;
use proptest::prelude::*;

use super::*;
use crate::numeric::object::{Adjoint, Calls, Point};
use crate::numeric::{LANES, Lanes, Purpose, Stream};

/// A dual number as [`Scalar`]: the derivative of a clamp is that of its active branch.
#[derive(Clone, Copy)]
struct Dual(Dual64);

impl Add for Dual {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}
impl Mul for Dual {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }
}
impl Mul<f64> for Dual {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self(self.0 * factor)
    }
}
impl Neg for Dual {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}
impl std::ops::Sub for Dual {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}
impl Scalar<f64> for Dual {
    fn constant(value: f64) -> Self {
        Self(Dual64::from_re(value))
    }
    fn add_scaled(self, a: f64, b: Self) -> Self {
        Self(self.0 + b.0 * a)
    }
    fn clamp(self, lower: f64, upper: f64) -> Self {
        if self.0.re <= lower {
            Self::constant(lower)
        } else if self.0.re >= upper {
            Self::constant(upper)
        } else {
            self
        }
    }
    fn gate(self, lower: f64, upper: f64) -> Self {
        Self::constant(f64::from(self.0.re > lower && self.0.re < upper))
    }
    fn chain(self, value: impl Fn(f64) -> f64, slope: impl Fn(f64) -> f64) -> Self {
        let eps = self.0.eps * slope(self.0.re);
        Self(Dual64::new(value(self.0.re), eps))
    }
    fn count_outside(self, lower: f64, upper: f64) -> u32 {
        u32::from(self.0.re < lower || self.0.re > upper)
    }
    fn step_of(_: &dyn Calls<f64>, _: Point<'_, Self>, _: &mut [Self]) -> Self {
        unreachable!("a switched plant is no object")
    }
    fn vjp_of(
        _: &dyn Calls<f64>,
        _: Point<'_, Self>,
        _: Adjoint<'_, Self>,
        _: &mut [Self],
        _: &mut [Self],
    ) {
        unreachable!("a switched plant is no object")
    }
}

/// A random plant; `diagonal` makes B, Q, R diagonal (then m = n), else everything is dense.
fn random_data(seed: u64, n: usize, m: usize, modes: usize, diagonal: bool) -> SwitchedLqrData {
    let mut stream = Stream::new(seed, Purpose::Generator, 1);
    let m = if diagonal { n } else { m };
    let mut matrix = |rows: usize, columns: usize, only_diagonal: bool| {
        DMatrix::from_fn(rows, columns, |i, j| {
            let value = stream.normal();
            if only_diagonal && i != j { 0.0 } else { value }
        })
    };
    let a: Vec<_> = (0..modes).map(|_| matrix(n, n, false)).collect();
    let b: Vec<_> = (0..modes).map(|_| matrix(n, m, diagonal)).collect();
    // Not symmetric: only the symmetric part may matter.
    let q: Vec<_> = (0..modes).map(|_| matrix(n, n, diagonal)).collect();
    let r: Vec<_> = (0..modes).map(|_| matrix(m, m, diagonal)).collect();
    let affine = (0..modes)
        .map(|_| DVector::from_fn(n, |_, _| stream.normal()))
        .collect();
    SwitchedLqrData {
        a,
        b,
        q,
        r,
        affine,
        noise_std: (0..n).map(|i| 0.1 * i as f64).collect(),
        state_clamp: 4.0,
    }
}

fn normals(stream: &mut Stream, count: usize) -> Vec<f64> {
    (0..count).map(|_| stream.normal()).collect()
}

/// A point, its cotangents, and what step and vjp give there.
struct Case {
    plant: SwitchedLqr<f64>,
    mode: usize,
    x: Vec<f64>,
    u: Vec<f64>,
    w: Vec<f64>,
    next: Vec<f64>,
    cost: f64,
    d_next: Vec<f64>,
    d_cost: f64,
    d_x: Vec<f64>,
    d_u: Vec<f64>,
}

fn case(seed: u64, n: usize, m: usize, modes: usize, diagonal: bool) -> Case {
    let data = random_data(seed, n, m, modes, diagonal);
    let plant = SwitchedLqr::<f64>::from_data(&data);
    let m = data.dims().control;
    let mut stream = Stream::new(seed, Purpose::InitialState, 0);
    let mode = stream.below(modes as u64) as usize;
    let (x, u, w) = (
        normals(&mut stream, n),
        normals(&mut stream, m),
        normals(&mut stream, n),
    );
    let (d_next, d_cost) = (normals(&mut stream, n), stream.normal());
    let mut next = vec![0.0; n];
    let cost = plant.step(mode, &x, &u, &w, &mut next);
    let (mut d_x, mut d_u) = (vec![f64::NAN; n], vec![f64::NAN; m]);
    plant.vjp(mode, &x, &u, &w, &next, &d_next, d_cost, &mut d_x, &mut d_u);
    Case {
        plant,
        mode,
        x,
        u,
        w,
        next,
        cost,
        d_next,
        d_cost,
        d_x,
        d_u,
    }
}

/// The next state before the clamp, from the definition with nalgebra.
fn unclamped(data: &SwitchedLqrData, case: &Case) -> DVector<f64> {
    let d = case.mode;
    let noise = DVector::from_fn(case.w.len(), |i, _| data.noise_std[i] * case.w[i]);
    &data.a[d] * DVector::from_row_slice(&case.x)
        + &data.b[d] * DVector::from_row_slice(&case.u)
        + &data.affine[d]
        + noise
}

proptest! {
    #[test]
    fn step_is_the_definition(seed in 0_u64..1000, n in 1_usize..10, m in 1_usize..7, modes in 1_usize..4, diagonal: bool) {
        let data = random_data(seed, n, m, modes, diagonal);
        let case = case(seed, n, m, modes, diagonal);
        let expected = unclamped(&data, &case);
        for i in 0..n {
            prop_assert!((case.next[i] - expected[i].clamp(-4.0, 4.0)).abs() < 1e-12);
        }
        let x = DVector::from_row_slice(&case.x);
        let u = DVector::from_row_slice(&case.u);
        let cost = x.dot(&(&data.q[case.mode] * &x)) + u.dot(&(&data.r[case.mode] * &u));
        prop_assert!((case.cost - cost).abs() < 1e-11 * (1.0 + cost.abs()));
    }

    #[test]
    fn vjp_equals_dual_numbers(seed in 0_u64..1000, n in 1_usize..10, m in 1_usize..7, modes in 1_usize..4, diagonal: bool) {
        let case = case(seed, n, m, modes, diagonal);
        let constants = |values: &[f64]| -> Vec<Dual> { values.iter().map(|&v| Dual::constant(v)).collect() };
        let w = constants(&case.w);
        for (is_control, gradient) in [(false, &case.d_x), (true, &case.d_u)] {
            for k in 0..gradient.len() {
                let (mut x, mut u) = (constants(&case.x), constants(&case.u));
                let target = if is_control { &mut u[k] } else { &mut x[k] };
                target.0 = target.0.derivative();
                let mut next = vec![Dual::constant(0.0); n];
                let cost = case.plant.step(case.mode, &x, &u, &w, &mut next);
                let expected = case.d_cost * cost.0.eps
                    + next.iter().zip(&case.d_next).map(|(a, g)| a.0.eps * g).sum::<f64>();
                prop_assert!((gradient[k] - expected).abs() < 1e-11 * (1.0 + expected.abs()));
            }
        }
    }

    #[test]
    fn vjp_equals_finite_differences(seed in 0_u64..1000, n in 1_usize..10, m in 1_usize..7, modes in 1_usize..4, diagonal: bool) {
        let data = random_data(seed, n, m, modes, diagonal);
        let case = case(seed, n, m, modes, diagonal);
        // Away from the kinks of the clamp, where no derivative exists.
        let free = unclamped(&data, &case);
        prop_assume!(free.iter().all(|v| (v.abs() - 4.0).abs() > 1e-3));
        let value = |x: &[f64], u: &[f64]| {
            let mut next = vec![0.0; n];
            let cost = case.plant.step(case.mode, x, u, &case.w, &mut next);
            case.d_cost * cost + next.iter().zip(&case.d_next).map(|(a, g)| a * g).sum::<f64>()
        };
        let h = 1e-5;
        for (is_control, gradient) in [(false, &case.d_x), (true, &case.d_u)] {
            for k in 0..gradient.len() {
                let shifted = |by: f64| {
                    let (mut x, mut u) = (case.x.clone(), case.u.clone());
                    let target = if is_control { &mut u[k] } else { &mut x[k] };
                    *target += by;
                    value(&x, &u)
                };
                // Central differences are exact for quadratics up to rounding.
                let expected = (shifted(h) - shifted(-h)) / (2.0 * h);
                prop_assert!((gradient[k] - expected).abs() < 1e-7 * (1.0 + expected.abs()));
            }
        }
    }

    #[test]
    fn lanes_equal_scalars_bit_for_bit(seed in 0_u64..1000, n in 1_usize..10, m in 1_usize..7, diagonal: bool) {
        let data = random_data(seed, n, m, 2, diagonal);
        let m = data.dims().control;
        let plant = SwitchedLqr::<f32>::from_data(&data);
        let mut stream = Stream::new(seed, Purpose::Evaluation, 0);
        let mut lanes = |count: usize| -> Vec<Lanes<f32>> {
            (0..count).map(|_| Lanes(core::array::from_fn(|_| stream.normal() as f32))).collect()
        };
        let (x, u, w, g) = (lanes(n), lanes(m), lanes(n), lanes(n));
        let scale = lanes(1)[0];
        let (mut next, mut d_x, mut d_u) = (lanes(n), lanes(n), lanes(m));
        let cost = plant.step(1, &x, &u, &w, &mut next);
        plant.vjp(1, &x, &u, &w, &next, &g, scale, &mut d_x, &mut d_u);
        let mut clamped = 0;
        for lane in 0..LANES {
            let pick = |values: &[Lanes<f32>]| -> Vec<f32> { values.iter().map(|v| v.0[lane]).collect() };
            let (x1, u1, w1, g1) = (pick(&x), pick(&u), pick(&w), pick(&g));
            let (mut next1, mut d_x1, mut d_u1) = (vec![0.0; n], vec![0.0; n], vec![0.0; m]);
            let cost1 = plant.step(1, &x1, &u1, &w1, &mut next1);
            plant.vjp(1, &x1, &u1, &w1, &next1, &g1, scale.0[lane], &mut d_x1, &mut d_u1);
            let bits = |values: Vec<f32>| -> Vec<u32> { values.into_iter().map(f32::to_bits).collect() };
            prop_assert_eq!(cost.0[lane].to_bits(), cost1.to_bits());
            prop_assert_eq!(bits(pick(&next)), bits(next1.clone()));
            prop_assert_eq!(bits(pick(&d_x)), bits(d_x1));
            prop_assert_eq!(bits(pick(&d_u)), bits(d_u1));
            clamped += plant.count_clamped(&next1);
        }
        prop_assert_eq!(plant.count_clamped(&next), clamped);
    }
}

/// x' = x + u with clamp 100, cost x^2 + 0.1 u^2.
fn integrator() -> SwitchedLqrData {
    SwitchedLqrData {
        a: vec![DMatrix::identity(1, 1)],
        b: vec![DMatrix::identity(1, 1)],
        q: vec![DMatrix::identity(1, 1)],
        r: vec![DMatrix::identity(1, 1) * 0.1],
        affine: vec![],
        noise_std: vec![],
        state_clamp: 100.0,
    }
}

#[test]
fn clamp_stops_derivative_also_at_equality() {
    let plant = SwitchedLqr::<f64>::from_data(&integrator());
    let gradient = |x: f64, u: f64| {
        let (mut next, mut d_x, mut d_u) = ([0.0], [0.0], [0.0]);
        plant.step(0, &[x], &[u], &[], &mut next);
        plant.vjp(0, &[x], &[u], &[], &next, &[1.0], 0.0, &mut d_x, &mut d_u);
        (next[0], d_x[0], d_u[0], plant.count_clamped(&next))
    };
    assert_eq!(gradient(60.0, 30.0), (90.0, 1.0, 1.0, 0));
    assert_eq!(gradient(60.0, 40.0), (100.0, 0.0, 0.0, 1));
    assert_eq!(gradient(60.0, 50.0), (100.0, 0.0, 0.0, 1));
    assert_eq!(gradient(-60.0, -50.0), (-100.0, 0.0, 0.0, 1));
    let below = 100.0_f64.next_down();
    assert_eq!(gradient(below, 0.0), (below, 1.0, 1.0, 0));
}

#[test]
fn count_clamped_is_exact_in_single_precision() {
    let plant = SwitchedLqr::<f32>::from_data(&integrator());
    assert_eq!(plant.count_clamped(&[100.0_f32]), 1);
    assert_eq!(plant.count_clamped(&[-100.0_f32]), 1);
    assert_eq!(plant.count_clamped(&[100.0_f32.next_down()]), 0);
    assert_eq!(plant.count_clamped(&[0.0_f32]), 0);
}
