//! One axis of a small satellite with exclusive actuator sets: reaction wheel, thruster pair, nothing.
//!
//! States: angle to the wanted attitude theta (rad), rate omega (rad/s), momentum of the wheel h (N m s). Control: u in [-1, 1], the
//! share of the set's greatest torque.
//!
//! ```text
//! dtheta/dt = omega
//! J domega/dt = tau_d u + tau_disturbance      tau_d: wheel, thruster, 0
//! dh/dt = -tau_wheel u in mode wheel, else 0
//! cost = (theta / theta_tol)^2 + (omega / omega_tol)^2 + (h / h_tol)^2 + effort_d u^2 + standby_d
//! ```
//!
//! Rigid body on one principal axis (Wertz, Spacecraft Attitude Determination and Control, 1978, chapter 18; Sidi, Spacecraft
//! Dynamics and Control, 1997, chapter 7). The wheel is cheap and weak and fills up under the disturbance; only thruster torque
//! takes momentum out of the satellite. Parameters of the ready plant are ours, of the size of a 6-unit CubeSat.

use super::parameters::parameters;
use super::{Equations, Model, named, texts};
use crate::numeric::{Real, Scalar};
use crate::plant::family::{FamilyNames, SafeLaw, Scaling};

parameters! {
    /// Numbers of the satellite axis.
    SatelliteAxis {
        /// Moment of inertia, kg m^2.
        inertia_kg_m2: 1 Positive physical,
        /// Greatest torque of the wheel, N m.
        wheel_torque_n_m: 1 Positive physical,
        /// Greatest torque of the thruster pair, N m.
        thruster_torque_n_m: 1 Positive physical,
        /// Constant disturbance torque, N m.
        disturbance_n_m: 1 Any physical,
        /// Angle that costs 1 per step, rad.
        angle_tolerance_rad: 1 Positive cost,
        /// Rate that costs 1 per step, rad/s.
        rate_tolerance_rad_s: 1 Positive cost,
        /// Wheel momentum that costs 1 per step, N m s.
        momentum_tolerance_n_m_s: 1 Positive cost,
        /// Cost of full torque per step: wheel, thruster, off.
        effort: 3 Weight cost,
        /// Cost of the mode per step: wheel, thruster, off.
        standby: 3 Weight cost,
    }
}

/// Modes in their order.
const WHEEL: usize = 0;
const THRUSTER: usize = 1;
const OFF: usize = 2;

impl<T: Real> SatelliteAxis<T> {
    /// Torque of u = 1, N m.
    #[inline(always)]
    fn torque(&self, mode: usize) -> T {
        match mode {
            WHEEL => self.wheel_torque_n_m[0],
            THRUSTER => self.thruster_torque_n_m[0],
            _ => T::default(),
        }
    }

    /// Factors of the squared states in the cost.
    #[inline(always)]
    fn weights(&self) -> [T; 3] {
        let [angle] = self.angle_tolerance_rad;
        let [rate] = self.rate_tolerance_rad_s;
        let [momentum] = self.momentum_tolerance_n_m_s;
        [angle, rate, momentum].map(|tolerance| T::from(1.0) / (tolerance * tolerance))
    }
}

impl SatelliteAxis<f64> {
    /// Torque that the classical controller wants, N m.
    fn wanted_torque(&self, gains: &[f64], x: &[f64]) -> f64 {
        -self.inertia_kg_m2[0] * (gains[0] * x[0] + gains[1] * x[1])
    }
}

impl<T: Real> Equations<T> for SatelliteAxis<T> {
    #[inline(always)]
    fn rate<S: Scalar<T>>(&self, mode: usize, x: &[S], u: &[S], rate: &mut [S]) {
        let [inertia] = self.inertia_kg_m2;
        let torque = self.torque(mode);
        rate[0] = x[1];
        rate[1] = S::constant(self.disturbance_n_m[0] / inertia).add_scaled(torque / inertia, u[0]);
        rate[2] = if mode == WHEEL {
            u[0] * -torque
        } else {
            S::constant(T::default())
        };
    }

    #[inline(always)]
    fn rate_vjp<S: Scalar<T>>(
        &self,
        mode: usize,
        _x: &[S],
        _u: &[S],
        p: &[S],
        d_x: &mut [S],
        d_u: &mut [S],
    ) {
        let torque = self.torque(mode);
        d_x[1] = d_x[1] + p[0];
        d_u[0] = d_u[0].add_scaled(torque / self.inertia_kg_m2[0], p[1]);
        if mode == WHEEL {
            d_u[0] = d_u[0].add_scaled(-torque, p[2]);
        }
    }

    #[inline(always)]
    fn cost<S: Scalar<T>>(&self, mode: usize, x: &[S], u: &[S]) -> S {
        let mut cost = S::constant(self.standby[mode]).add_scaled(self.effort[mode], u[0] * u[0]);
        for (i, weight) in self.weights().into_iter().enumerate() {
            cost = cost.add_scaled(weight, x[i] * x[i]);
        }
        cost
    }

    #[inline(always)]
    fn cost_vjp<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        d_cost: S,
        d_x: &mut [S],
        d_u: &mut [S],
    ) {
        let two = T::from(2.0);
        for (i, weight) in self.weights().into_iter().enumerate() {
            d_x[i] = d_x[i].add_scaled(two * weight, d_cost * x[i]);
        }
        d_u[0] = d_u[0].add_scaled(two * self.effort[mode], d_cost * u[0]);
    }
}

impl Model for SatelliteAxis<f64> {
    const KIND: &'static str = "satellite-axis";
    const STATE: usize = 3;
    const CONTROL: usize = 1;
    const MODES: usize = 3;
    /// The equations are polynomials of degree 2 in time under a held control: one substep is exact.
    const SUBSTEPS: usize = 1;
    const RULE: &'static str = "pd-rules";
    const RULE_TEXT: &'static str = "proportional-derivative torque; thruster beyond a torque, else wheel that unloads beyond a momentum, off below a torque \
        (gains 1/s^2 and 1/s over the inertia; both torques over the wheel's; momentum over its tolerance; unloading 1/s)";
    const RULE_START: &'static [f64] = &[0.3, 1.0, 1.5, 0.1, 1.0, 0.3];
    type Over<T: Real> = SatelliteAxis<T>;

    fn over<T: Real>(&self) -> SatelliteAxis<T> {
        self.rounded()
    }

    fn scaling(&self) -> Scaling {
        Scaling {
            shift: vec![0.0; 3],
            scale: vec![
                0.5 / self.angle_tolerance_rad[0],
                0.5 / self.rate_tolerance_rad_s[0],
                0.5 / self.momentum_tolerance_n_m_s[0],
            ],
            control_offset: vec![0.0],
            control_scale: vec![1.0],
            stage_cost: 0.5,
        }
    }

    fn names(&self) -> FamilyNames {
        FamilyNames {
            state: named(&[
                ("angle", "rad"),
                ("rate", "rad/s"),
                ("wheel momentum", "N m s"),
            ]),
            control: named(&[("torque share", "1")]),
            modes: texts(&["wheel", "thruster", "off"]),
        }
    }

    /// Nothing acts.
    fn safe_law(&self) -> SafeLaw {
        SafeLaw {
            mode: OFF,
            gain: vec![0.0; 3],
            offset: vec![0.0],
        }
    }

    fn rule_mode(&self, gains: &[f64], x: &[f64]) -> usize {
        let wanted = self.wanted_torque(gains, x).abs() / self.wheel_torque_n_m[0];
        let full = x[2].abs() > gains[4] * self.momentum_tolerance_n_m_s[0];
        if wanted > gains[2] {
            THRUSTER
        } else if full || wanted >= gains[3] {
            WHEEL
        } else {
            OFF
        }
    }

    fn rule_control(&self, gains: &[f64], mode: usize, x: &[f64], u: &mut [f64]) {
        let wanted = self.wanted_torque(gains, x);
        let full = x[2].abs() > gains[4] * self.momentum_tolerance_n_m_s[0];
        match mode {
            WHEEL if full => u[0] = (wanted + gains[5] * x[2]) / self.wheel_torque_n_m[0],
            WHEEL => u[0] = wanted / self.wheel_torque_n_m[0],
            THRUSTER => u[0] = wanted / self.thruster_torque_n_m[0],
            _ => {}
        }
    }
}
