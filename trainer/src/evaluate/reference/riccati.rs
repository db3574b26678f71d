//! The Riccati map of each mode, gains, and the algebraic Riccati equation.
//!
//! `rho_d(P) = Q_d + A_d'PA_d - A_d'PB_d (R_d + B_d'PB_d)^-1 B_d'PA_d` is the cost-to-go of mode d
//! followed by `x'Px`, attained by `u = -K_d(P) x` (Bertsekas, Dynamic Programming and Optimal
//! Control, vol. 1, section 3.1). An affine plant is treated in the homogeneous state `(x, 1)`.

use nalgebra::{Cholesky, DMatrix, DVector};

use crate::plant::SwitchedLqrData;

/// How a plant's state becomes the (homogeneous) state of the references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lift {
    plant_state: usize,
    state: usize,
}

impl Lift {
    /// Length of the (homogeneous) state.
    #[must_use]
    pub fn state(self) -> usize {
        self.state
    }

    /// `x`, with a 1 appended where the plant is affine.
    #[must_use]
    pub fn lift(self, x: &[f64]) -> DVector<f64> {
        DVector::from_fn(
            self.state,
            |i, _| {
                if i < self.plant_state { x[i] } else { 1.0 }
            },
        )
    }
}

/// The matrices on which the references work, in homogeneous coordinates where needed.
#[derive(Clone, Debug)]
pub struct RiccatiModes {
    a: Vec<DMatrix<f64>>,
    b: Vec<DMatrix<f64>>,
    q: Vec<DMatrix<f64>>,
    r: Vec<DMatrix<f64>>,
    /// Length of the plant's own state.
    plant_state: usize,
}

impl RiccatiModes {
    /// The modes of a plant, without its noise, clamp and bounds; with the affine terms as the
    /// column of a further state that is always 1.
    #[must_use]
    pub fn new(data: &SwitchedLqrData) -> Self {
        let n = data.dims().state;
        if data.affine.is_empty() {
            return Self {
                a: data.a.clone(),
                b: data.b.clone(),
                q: data.q.clone(),
                r: data.r.clone(),
                plant_state: n,
            };
        }
        let lift = |matrix: &DMatrix<f64>, corner: f64| {
            let mut lifted = matrix.clone().resize(n + 1, n + 1, 0.0);
            lifted[(n, n)] = corner;
            lifted
        };
        let a = data.a.iter().zip(&data.affine).map(|(a, c)| {
            let mut lifted = lift(a, 1.0);
            for i in 0..n {
                lifted[(i, n)] = c[i];
            }
            lifted
        });
        Self {
            a: a.collect(),
            b: data
                .b
                .iter()
                .map(|b| b.clone().resize_vertically(n + 1, 0.0))
                .collect(),
            q: data.q.iter().map(|q| lift(q, 0.0)).collect(),
            r: data.r.clone(),
            plant_state: n,
        }
    }

    /// One mode with the mean of every matrix over the modes.
    #[must_use]
    pub fn averaged(&self) -> Self {
        let mean = |matrices: &[DMatrix<f64>]| {
            let sum = matrices[1..]
                .iter()
                .fold(matrices[0].clone(), |sum, m| sum + m);
            vec![sum / matrices.len() as f64]
        };
        Self {
            a: mean(&self.a),
            b: mean(&self.b),
            q: mean(&self.q),
            r: mean(&self.r),
            plant_state: self.plant_state,
        }
    }

    /// A problem with one mode of these matrices, in the coordinates of this one.
    pub(super) fn single(
        &self,
        a: DMatrix<f64>,
        b: DMatrix<f64>,
        q: DMatrix<f64>,
        r: DMatrix<f64>,
    ) -> Self {
        Self {
            a: vec![a],
            b: vec![b],
            q: vec![q],
            r: vec![r],
            plant_state: self.plant_state,
        }
    }

    /// Number of modes.
    #[must_use]
    pub fn count(&self) -> usize {
        self.a.len()
    }

    /// Length of the (homogeneous) state.
    #[must_use]
    pub fn state(&self) -> usize {
        self.a[0].nrows()
    }

    /// System, input, state cost and control cost matrix of a mode.
    #[must_use]
    pub fn matrices(&self, mode: usize) -> [&DMatrix<f64>; 4] {
        [&self.a[mode], &self.b[mode], &self.q[mode], &self.r[mode]]
    }

    /// How a state of the plant becomes one of these modes.
    #[must_use]
    pub fn lift(&self) -> Lift {
        Lift {
            plant_state: self.plant_state,
            state: self.state(),
        }
    }

    /// `rho_mode(P)`, exactly symmetric, for symmetric positive semidefinite `p`.
    ///
    /// Where `p` has grown so far that `R + B'PB` has no Cholesky factor, the value of no control,
    /// `Q + A'PA`: far above any value that is looked at, or not finite.
    #[must_use]
    pub fn map(&self, mode: usize, p: &DMatrix<f64>) -> DMatrix<f64> {
        let Some((factor, coupling)) = self.factor(mode, p) else {
            let a = &self.a[mode];
            let value = &self.q[mode] + a.tr_mul(&(p * a));
            return (&value + value.transpose()) * 0.5;
        };
        // G'S^-1 G = Y'Y with L Y = G: symmetric by construction and half the work of a solve.
        let mut y = coupling;
        factor.l_dirty().solve_lower_triangular_mut(&mut y);
        let a = &self.a[mode];
        let value = &self.q[mode] + a.tr_mul(&(p * a)) - y.tr_mul(&y);
        (&value + value.transpose()) * 0.5
    }

    /// The gain `K_mode(P)`, m x n: the best control before `x'Px` is `u = -K x`.
    /// Zero where [`RiccatiModes::map`] takes the value of no control.
    #[must_use]
    pub fn gain(&self, mode: usize, p: &DMatrix<f64>) -> DMatrix<f64> {
        match self.factor(mode, p) {
            Some((factor, coupling)) => factor.solve(&coupling),
            None => DMatrix::zeros(self.b[mode].ncols(), self.state()),
        }
    }

    /// The Cholesky factor of `R + B'PB`, and `B'PA`; `None` where rounding or overflow has left no positive
    /// definite matrix, which happens only as a cost grows beyond all bounds.
    fn factor(
        &self,
        mode: usize,
        p: &DMatrix<f64>,
    ) -> Option<(Cholesky<f64, nalgebra::Dyn>, DMatrix<f64>)> {
        let (a, b) = (&self.a[mode], &self.b[mode]);
        let pb = p * b;
        let curvature = &self.r[mode] + b.tr_mul(&pb);
        let factor = Cholesky::new(curvature)?;
        Some((factor, pb.tr_mul(a)))
    }

    /// The stabilising solution of `P = rho_mode(P)` by iteration from 0.
    ///
    /// Gives the solution once a step changes no entry by more than 1e-12 of the largest, which is
    /// also its residual; `None` if that takes more than 20,000 steps (the mode cannot be
    /// stabilised, or its cost grows without bound).
    #[must_use]
    pub fn algebraic(&self, mode: usize) -> Option<DMatrix<f64>> {
        let mut p = DMatrix::zeros(self.state(), self.state());
        for _ in 0..20_000 {
            let next = self.map(mode, &p);
            let change = (&next - &p).amax();
            let scale = next.amax();
            p = next;
            if !scale.is_finite() || scale > 1e15 {
                return None;
            }
            if change <= 1e-12 * scale {
                return Some(p);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::{generator::switched_actuators, load_plant};
    use proptest::prelude::*;

    /// `min_u x'Qx + u'Ru + (Ax+Bu)'P(Ax+Bu)` evaluated at a control.
    fn objective(
        modes: &RiccatiModes,
        d: usize,
        p: &DMatrix<f64>,
        x: &DVector<f64>,
        u: &DVector<f64>,
    ) -> f64 {
        let [a, b, q, r] = modes.matrices(d);
        let next = a * x + b * u;
        x.dot(&(q * x)) + u.dot(&(r * u)) + next.dot(&(p * &next))
    }

    proptest! {
        #[test]
        fn map_is_the_minimum_over_controls(seed in 0_u64..500, n in 2_usize..7, scale in 0.0_f64..5.0) {
            let modes = RiccatiModes::new(&switched_actuators(n, 2, seed));
            let mut stream = crate::numeric::Stream::new(seed, crate::numeric::Purpose::Evaluation, 0);
            let mut draw = |r: usize, c: usize| DMatrix::from_fn(r, c, |_, _| stream.normal());
            let root = draw(n, n);
            let p = root.tr_mul(&root) * scale;
            let x = draw(n, 1).column(0).into_owned();
            let best = -(modes.gain(1, &p) * &x);
            let value = x.dot(&(modes.map(1, &p) * &x));
            let tolerance = 1e-9 * (1.0 + value);
            prop_assert!((objective(&modes, 1, &p, &x, &best) - value).abs() < tolerance);
            for _ in 0..5 {
                let other = &best + draw(n, 1).column(0);
                prop_assert!(objective(&modes, 1, &p, &x, &other) > value - tolerance);
            }
        }

        #[test]
        fn map_is_monotone(seed in 0_u64..500, n in 2_usize..7) {
            let modes = RiccatiModes::new(&switched_actuators(n, 2, seed));
            let mut stream = crate::numeric::Stream::new(seed, crate::numeric::Purpose::Evaluation, 1);
            let mut draw = || DMatrix::from_fn(n, n, |_, _| stream.normal());
            let (low, more) = (draw(), draw());
            let small = low.tr_mul(&low);
            let large = &small + more.tr_mul(&more);
            let gap = modes.map(0, &large) - modes.map(0, &small);
            prop_assert!(gap.symmetric_eigenvalues().min() > -1e-9 * (1.0 + large.amax()));
        }
    }

    #[test]
    fn scalar_equation_has_the_known_root() {
        // p = 1 + p - p^2 / (1 + p), so p^2 = p + 1: the golden ratio.
        let one = || vec![DMatrix::from_element(1, 1, 1.0)];
        let modes = RiccatiModes {
            a: one(),
            b: one(),
            q: one(),
            r: one(),
            plant_state: 1,
        };
        let p = modes.algebraic(0).unwrap()[(0, 0)];
        assert!((p - 0.5 * (1.0 + 5.0_f64.sqrt())).abs() < 1e-11);
    }

    #[test]
    fn unstabilisable_mode_has_no_solution() {
        let modes = RiccatiModes {
            a: vec![DMatrix::from_element(1, 1, 1.5)],
            b: vec![DMatrix::zeros(1, 1)],
            q: vec![DMatrix::identity(1, 1)],
            r: vec![DMatrix::identity(1, 1)],
            plant_state: 1,
        };
        assert!(modes.algebraic(0).is_none());
    }

    #[test]
    fn homogeneous_state_carries_the_affine_term() {
        let mut data = load_plant("switched-lqr-3-2", &[])
            .unwrap()
            .lqr_data()
            .unwrap()
            .clone();
        data.affine = vec![DVector::from_vec(vec![0.5, -1.0, 2.0]); 2];
        let modes = RiccatiModes::new(&data);
        let (x, u) = (
            modes.lift().lift(&[1.0, 2.0, 3.0]),
            DVector::from_element(3, 0.3),
        );
        let [a, b, q, _] = modes.matrices(1);
        let next = a * &x + b * &u;
        let expected =
            &data.a[1] * DVector::from_vec(vec![1.0, 2.0, 3.0]) + &data.b[1] * &u + &data.affine[1];
        assert!((next.rows(0, 3) - expected).amax() < 1e-14);
        assert_eq!(next[3], 1.0);
        assert_eq!(x.dot(&(q * &x)), 14.0);
    }
}
