//! Three tanks in a row with two connecting valves and two pumps.
//!
//! States: levels h1, h3, h2 (m) in the order of the flow, tank 3 in the middle. Controls: pump flows into tank 1 and tank 2 as shares of the
//! greatest flow. Mode: which connecting valves are open (none, 1-3, 3-2, both); tank 2 always drains.
//!
//! ```text
//! S dh1/dt = q_max u1 - v13 k g(h1 - h3)
//! S dh3/dt = v13 k g(h1 - h3) - v32 k g(h3 - h2)
//! S dh2/dt = q_max u2 + v32 k g(h3 - h2) - k g(h2)
//! k = az s sqrt(2 * 9.81)          g(d) = d / (d^2 + e^2)^(1/4)
//! cost = sum_i ((h_i - target_i) / h_tol)^2 + pump_weight (u1^2 + u2^2) + valve_d
//! ```
//!
//! Torricelli's law has g(d) = sign(d) sqrt(|d|), whose slope is infinite at equal levels; g here is that within 1 % for |d| > 5 e and
//! linear (laminar) for |d| much below e. The rig with S = 0.0154 m^2 and pipes of 5e-5 m^2 is the three-tank benchmark (Amira DTS200; Heiming,
//! Lunze, "Definition of the three-tank benchmark problem for controller reconfiguration", ECC 1999). Targets, weights and e of the ready plant are ours.

use super::parameters::parameters;
use super::{Equations, Model, named, texts};
use crate::numeric::{Real, Scalar};
use crate::plant::family::{FamilyNames, SafeLaw, Scaling};

/// Acceleration of gravity, m/s^2.
const GRAVITY: f64 = 9.81;

parameters! {
    /// Numbers of the tanks.
    ThreeTank {
        /// Cross-section of each tank S, m^2.
        tank_area_m2: 1 Positive physical,
        /// Cross-section of each pipe s, m^2.
        pipe_area_m2: 1 Positive physical,
        /// Outflow coefficient az.
        outflow_coefficient: 1 Positive physical,
        /// Greatest flow of a pump, m^3/s.
        pump_flow_m3_s: 1 Positive physical,
        /// Level difference e below which the flow is laminar, m.
        laminar_m: 1 Positive physical,
        /// Wanted levels of tanks 1, 3, 2, m.
        target_m: 3 Positive cost,
        /// Level error that costs 1 per step, m.
        level_tolerance_m: 1 Positive cost,
        /// Cost of a pump at full flow per step.
        pump_weight: 1 Weight cost,
        /// Cost of the valves held open per step: none, 1-3, 3-2, both.
        valve: 4 Weight cost,
    }
}

impl<T: Real> ThreeTank<T> {
    /// k, m^2.5/s.
    #[inline(always)]
    fn conductance(&self) -> T {
        self.outflow_coefficient[0] * self.pipe_area_m2[0] * T::from_f64(2.0 * GRAVITY).sqrt()
    }

    /// g(d).
    #[inline(always)]
    fn flow<S: Scalar<T>>(&self, d: S) -> S {
        let e = self.laminar_m[0];
        d * (d * d).chain(
            |square| T::from(1.0) / (square + e * e).sqrt().sqrt(),
            |square| {
                let y = square + e * e;
                -(T::from(0.25) / (y * y.sqrt().sqrt()))
            },
        )
    }

    /// g'(d) = (d^2 / 2 + e^2) / (d^2 + e^2)^(5/4).
    #[inline(always)]
    fn flow_slope<S: Scalar<T>>(&self, d: S) -> S {
        let e = self.laminar_m[0];
        let slope = |square: T| {
            let y = square + e * e;
            (T::from(0.5) * square + e * e) / (y * y.sqrt().sqrt())
        };
        // The slope's own slope is asked for by no one: a vector-Jacobian product is not differentiated.
        (d * d).chain(slope, |_| T::default())
    }
}

/// Whether the valves 1-3 and 3-2 are open.
#[inline(always)]
fn open(mode: usize) -> [bool; 2] {
    [mode & 1 == 1, mode & 2 == 2]
}

impl<T: Real> Equations<T> for ThreeTank<T> {
    #[inline(always)]
    fn rate<S: Scalar<T>>(&self, mode: usize, x: &[S], u: &[S], rate: &mut [S]) {
        let per_area = T::from(1.0) / self.tank_area_m2[0];
        let (pump, pipe) = (
            self.pump_flow_m3_s[0] * per_area,
            self.conductance() * per_area,
        );
        let [first, second] = open(mode);
        rate[0] = u[0] * pump;
        rate[1] = S::constant(T::default());
        rate[2] = (u[1] * pump).add_scaled(-pipe, self.flow(x[2]));
        if first {
            let flow = self.flow(x[0] - x[1]) * pipe;
            rate[0] = rate[0] - flow;
            rate[1] = rate[1] + flow;
        }
        if second {
            let flow = self.flow(x[1] - x[2]) * pipe;
            rate[1] = rate[1] - flow;
            rate[2] = rate[2] + flow;
        }
    }

    #[inline(always)]
    fn rate_vjp<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        _u: &[S],
        p: &[S],
        d_x: &mut [S],
        d_u: &mut [S],
    ) {
        let per_area = T::from(1.0) / self.tank_area_m2[0];
        let (pump, pipe) = (
            self.pump_flow_m3_s[0] * per_area,
            self.conductance() * per_area,
        );
        let [first, second] = open(mode);
        d_u[0] = d_u[0].add_scaled(pump, p[0]);
        d_u[1] = d_u[1].add_scaled(pump, p[2]);
        d_x[2] = d_x[2] - self.flow_slope(x[2]) * p[2] * pipe;
        if first {
            let d = self.flow_slope(x[0] - x[1]) * (p[1] - p[0]) * pipe;
            d_x[0] = d_x[0] + d;
            d_x[1] = d_x[1] - d;
        }
        if second {
            let d = self.flow_slope(x[1] - x[2]) * (p[2] - p[1]) * pipe;
            d_x[1] = d_x[1] + d;
            d_x[2] = d_x[2] - d;
        }
    }

    #[inline(always)]
    fn cost<S: Scalar<T>>(&self, mode: usize, x: &[S], u: &[S]) -> S {
        let per_tolerance = T::from(1.0) / self.level_tolerance_m[0];
        let mut cost = S::constant(self.valve[mode]);
        for i in 0..3 {
            let error = (x[i] - S::constant(self.target_m[i])) * per_tolerance;
            cost = cost + error * error;
        }
        cost.add_scaled(self.pump_weight[0], u[0] * u[0] + u[1] * u[1])
    }

    #[inline(always)]
    fn cost_vjp<S: Scalar<T>>(
        &self,
        _mode: usize,
        x: &[S],
        u: &[S],
        d_cost: S,
        d_x: &mut [S],
        d_u: &mut [S],
    ) {
        let two = T::from(2.0);
        let [tolerance] = self.level_tolerance_m;
        let weight = two / (tolerance * tolerance);
        for i in 0..3 {
            d_x[i] = d_x[i].add_scaled(weight, d_cost * (x[i] - S::constant(self.target_m[i])));
        }
        for i in 0..2 {
            d_u[i] = d_u[i].add_scaled(two * self.pump_weight[0], d_cost * u[i]);
        }
    }
}

impl Model for ThreeTank<f64> {
    const KIND: &'static str = "three-tank";
    const STATE: usize = 3;
    const CONTROL: usize = 2;
    const MODES: usize = 4;
    const SUBSTEPS: usize = 4;
    const RULE: &'static str = "level-rules";
    const RULE_TEXT: &'static str = "proportional pumps with feed-forward of the steady flow; a valve opens while the tank behind it is below its target plus a margin \
        (1/m for each pump, margins in m)";
    const RULE_START: &'static [f64] = &[10.0, 10.0, 0.01, 0.01];
    type Over<T: Real> = ThreeTank<T>;

    fn over<T: Real>(&self) -> ThreeTank<T> {
        self.rounded()
    }

    fn scaling(&self) -> Scaling {
        Scaling {
            shift: self.target_m.to_vec(),
            scale: vec![0.5 / self.level_tolerance_m[0]; 3],
            control_offset: vec![0.3; 2],
            control_scale: vec![0.5; 2],
            stage_cost: 2.0,
        }
    }

    fn names(&self) -> FamilyNames {
        FamilyNames {
            state: named(&[
                ("level of tank 1", "m"),
                ("level of tank 3", "m"),
                ("level of tank 2", "m"),
            ]),
            control: named(&[("pump 1", "1"), ("pump 2", "1")]),
            modes: texts(&["closed", "1-3 open", "3-2 open", "both open"]),
        }
    }

    /// Pumps off, valves open: everything drains.
    fn safe_law(&self) -> SafeLaw {
        SafeLaw {
            mode: 3,
            gain: vec![0.0; 6],
            offset: vec![0.0; 2],
        }
    }

    fn rule_mode(&self, gains: &[f64], x: &[f64]) -> usize {
        let target = &self.target_m;
        usize::from(x[1] < target[1] + gains[2]) + 2 * usize::from(x[2] < target[2] + gains[3])
    }

    fn rule_control(&self, gains: &[f64], _mode: usize, x: &[f64], u: &mut [f64]) {
        let target = &self.target_m;
        let share = self.conductance() / self.pump_flow_m3_s[0];
        let through = self.flow(target[0] - target[1]) * share;
        u[0] = through + gains[0] * (target[0] - x[0]);
        u[1] = self.flow(target[2]) * share - through + gains[1] * (target[2] - x[2]);
    }
}
