//! Speed control of a car with five gears, an engine and a brake.
//!
//! States: speed v and wanted speed r (m/s; r is constant in an episode). Controls: shares of the greatest engine torque and brake force.
//! Mode: the gear d, with G_d = gear ratio times final drive over the wheel's radius (1/m), so that the engine turns at G_d v.
//!
//! ```text
//! m dv/dt = G_d torque u1 - (brake u2 + roll) clamp(v, 0, 1) - beta v         dr/dt = 0
//! w = G_d v
//! cost = ((v - r) / v_tol)^2 + brake_weight u2^2 + fuel (idle + u1) w / w_max
//!        + (max(w - w_max, 0) / w_tol)^2 + (max(w_min - w, 0) / w_tol)^2
//! ```
//!
//! Brake and rolling resistance fade below 1 m/s, so that a car that stands does not move backwards. Model after Torrisi, Bemporad, "HYSDEL", IEEE
//! Transactions on Control Systems Technology 12(2), 2004; the ready plant's parameters are ours, of the size of the small car there (mass 1020 kg, beta
//! 25 N s/m). How long a gear is held after a shift is `[dwell]` of the plant file.

use super::parameters::parameters;
use super::{Equations, Model, named, texts};
use crate::numeric::{Real, Scalar};
use crate::plant::family::{FamilyNames, SafeLaw, Scaling};

parameters! {
    /// Numbers of the car.
    GearedCar {
        /// Mass m, kg.
        mass_kg: 1 Positive physical,
        /// Drag beta, N s/m.
        drag_n_s_m: 1 Weight physical,
        /// Rolling resistance, N.
        roll_n: 1 Weight physical,
        /// Greatest engine torque, N m.
        torque_n_m: 1 Positive physical,
        /// Greatest brake force, N.
        brake_n: 1 Positive physical,
        /// Turns of the engine per metre in each gear, as an angle: rad/m.
        gear_1_m: 5 Positive physical,
        /// Greatest engine speed w_max, rad/s.
        engine_max_rad_s: 1 Positive cost,
        /// Least engine speed w_min, rad/s.
        engine_min_rad_s: 1 Positive cost,
        /// Engine speed beyond its range that costs 1 per step, rad/s.
        engine_tolerance_rad_s: 1 Positive cost,
        /// Speed error that costs 1 per step, m/s.
        speed_tolerance_m_s: 1 Positive cost,
        /// Cost of full braking per step.
        brake_weight: 1 Weight cost,
        /// Cost of full torque at greatest engine speed per step.
        fuel: 1 Weight cost,
        /// Share of full torque that the engine burns for itself.
        idle: 1 Weight cost,
    }
}

/// Beyond this an engine speed is not looked at in the penalty, rad/s.
const UNREACHABLE: f32 = 1e6;

impl<T: Real> GearedCar<T> {
    /// Engine speed above its range (0 inside it) and below it.
    #[inline(always)]
    fn beyond<S: Scalar<T>>(&self, engine: S) -> [S; 2] {
        let excess = |speed: S| speed.clamp(T::default(), T::from(UNREACHABLE));
        [
            excess(engine - S::constant(self.engine_max_rad_s[0])),
            excess(S::constant(self.engine_min_rad_s[0]) - engine),
        ]
    }
}

impl<T: Real> Equations<T> for GearedCar<T> {
    #[inline(always)]
    fn rate<S: Scalar<T>>(&self, mode: usize, x: &[S], u: &[S], rate: &mut [S]) {
        let one = T::from(1.0);
        let moving = x[0].clamp(T::default(), one);
        let held = S::constant(self.roll_n[0]).add_scaled(self.brake_n[0], u[1]) * moving;
        let force = (u[0] * (self.gear_1_m[mode] * self.torque_n_m[0]) - held)
            .add_scaled(-self.drag_n_s_m[0], x[0]);
        rate[0] = force * (one / self.mass_kg[0]);
        rate[1] = S::constant(T::default());
    }

    #[inline(always)]
    fn rate_vjp<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        p: &[S],
        d_x: &mut [S],
        d_u: &mut [S],
    ) {
        let one = T::from(1.0);
        let p = p[0] * (one / self.mass_kg[0]);
        let moving = x[0].clamp(T::default(), one);
        let held = S::constant(self.roll_n[0]).add_scaled(self.brake_n[0], u[1]);
        let slope = (held * x[0].gate(T::default(), one)) + S::constant(self.drag_n_s_m[0]);
        d_x[0] = d_x[0] - slope * p;
        d_u[0] = d_u[0].add_scaled(self.gear_1_m[mode] * self.torque_n_m[0], p);
        d_u[1] = d_u[1] - moving * p * self.brake_n[0];
    }

    #[inline(always)]
    fn cost<S: Scalar<T>>(&self, mode: usize, x: &[S], u: &[S]) -> S {
        let one = T::from(1.0);
        let error = (x[0] - x[1]) * (one / self.speed_tolerance_m_s[0]);
        let engine = x[0] * self.gear_1_m[mode];
        let burnt = (u[0] + S::constant(self.idle[0])) * engine;
        let mut cost = (error * error).add_scaled(self.brake_weight[0], u[1] * u[1]);
        cost = cost.add_scaled(self.fuel[0] / self.engine_max_rad_s[0], burnt);
        for speed in self.beyond(engine) {
            let speed = speed * (one / self.engine_tolerance_rad_s[0]);
            cost = cost + speed * speed;
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
        let (one, two) = (T::from(1.0), T::from(2.0));
        let square = |tolerance: T| two * (one / (tolerance * tolerance));
        let gear = self.gear_1_m[mode];
        let error = d_cost * (x[0] - x[1]) * square(self.speed_tolerance_m_s[0]);
        let engine = x[0] * gear;
        let [over, under] = self.beyond(engine);
        let fuel = self.fuel[0] / self.engine_max_rad_s[0];
        let burnt = (u[0] + S::constant(self.idle[0])) * (fuel * gear);
        let range = (over - under) * (square(self.engine_tolerance_rad_s[0]) * gear);
        d_x[0] = d_x[0] + error + d_cost * (burnt + range);
        d_x[1] = d_x[1] - error;
        d_u[0] = d_u[0].add_scaled(fuel, d_cost * engine);
        d_u[1] = d_u[1].add_scaled(two * self.brake_weight[0], d_cost * u[1]);
    }
}

impl Model for GearedCar<f64> {
    const KIND: &'static str = "geared-car";
    const STATE: usize = 2;
    const CONTROL: usize = 2;
    const MODES: usize = 5;
    const SUBSTEPS: usize = 2;
    const RULE: &'static str = "shift-schedule";
    const RULE_TEXT: &'static str = "highest gear above an engine speed, with kick-down by the wanted acceleration; proportional torque and brake with feed-forward of the drag \
        (torque share per m/s, brake share per m/s, rad/s, further rad/s per m/s of missing speed, m/s before the brake acts)";
    const RULE_START: &'static [f64] = &[0.2, 0.2, 150.0, 20.0, 0.5];
    type Over<T: Real> = GearedCar<T>;

    fn over<T: Real>(&self) -> GearedCar<T> {
        self.rounded()
    }

    fn scaling(&self) -> Scaling {
        // The middle of what the top gear and the engine allow.
        let middle = 0.5 * self.engine_max_rad_s[0] / self.gear_1_m[3];
        Scaling {
            shift: vec![middle; 2],
            scale: vec![2.0 / middle; 2],
            // Not at a bound, where a clamp has no slope.
            control_offset: vec![0.3, 0.1],
            control_scale: vec![0.5; 2],
            stage_cost: 2.0,
        }
    }

    fn names(&self) -> FamilyNames {
        FamilyNames {
            state: named(&[("speed", "m/s"), ("wanted speed", "m/s")]),
            control: named(&[("torque share", "1"), ("brake share", "1")]),
            modes: texts(&["gear 1", "gear 2", "gear 3", "gear 4", "gear 5"]),
        }
    }

    /// Third gear, no torque, no brake: the car coasts.
    fn safe_law(&self) -> SafeLaw {
        SafeLaw {
            mode: 2,
            gain: vec![0.0; 4],
            offset: vec![0.0; 2],
        }
    }

    fn rule_mode(&self, gains: &[f64], x: &[f64]) -> usize {
        let (v, missing) = (x[0], x[1] - x[0]);
        let least = gains[2] + gains[3] * missing.max(0.0);
        let gear = (0..5).rev().find(|&d| self.gear_1_m[d] * v >= least);
        // No gear is above the threshold: the lowest that keeps the engine within its range.
        let allowed = |d: &usize| self.gear_1_m[*d] * v <= self.engine_max_rad_s[0];
        gear.filter(allowed)
            .or_else(|| (0..5).find(allowed))
            .unwrap_or(4)
    }

    fn rule_control(&self, gains: &[f64], mode: usize, x: &[f64], u: &mut [f64]) {
        let missing = x[1] - x[0];
        let drag = self.drag_n_s_m[0] * x[1] + self.roll_n[0];
        u[0] = drag / (self.gear_1_m[mode] * self.torque_n_m[0]) + gains[0] * missing;
        u[1] = gains[1] * (-missing - gains[4]);
    }
}
