//! Four-switch buck-boost converter, averaged over its switching period, under supervisory control.
//!
//! States: inductor current i (A), output voltage v (V), wanted voltage r (V, constant in an episode). Controls: duty cycles u1, u2
//! of the two half bridges. The mode says which of them switches:
//!
//! ```text
//! buck: d1 = u1, d2 = 0      boost: d1 = 1, d2 = u2      buck-boost: d1 = u1, d2 = u2      idle: d1 = d2 = 0
//! L di/dt = d1 vs - (1 - d2) v - rL i
//! C dv/dt = (1 - d2) i - v / R
//! cost = ((v - r) / v_tol)^2 + (max(i - i_max, 0) / i_tol)^2 + duty_weight (u1^2 + u2^2) + loss_d
//! ```
//!
//! Averaged model: Mariethoz, Almer, Morari, "Integrated control and modulation for boost and buck-boost converters", CDC 2009;
//! Erickson, Maksimovic, Fundamentals of Power Electronics, chapter 7. The switches work at some hundred kHz in hardware; what is decided
//! here, at 1 to 5 kHz, is the mode and the duty cycles. Parameters of the ready plant are ours. The current may be negative (synchronous
//! switches).

use super::parameters::parameters;
use super::{Equations, Model, named, texts};
use crate::numeric::{Real, Scalar};
use crate::plant::family::{FamilyNames, SafeLaw, Scaling};

parameters! {
    /// Numbers of the converter.
    BuckBoost {
        /// Inductance L, H.
        inductance_h: 1 Positive physical,
        /// Output capacitance C, F.
        capacitance_f: 1 Positive physical,
        /// Resistance of the inductor rL, ohm.
        inductor_ohm: 1 Weight physical,
        /// Load R, ohm.
        load_ohm: 1 Positive physical,
        /// Supply vs, V.
        supply_v: 1 Positive physical,
        /// Voltage error that costs 1 per step, V.
        voltage_tolerance_v: 1 Positive cost,
        /// Current from which a penalty begins, A.
        current_limit_a: 1 Positive cost,
        /// Current above the limit that costs 1 per step, A.
        current_tolerance_a: 1 Positive cost,
        /// Cost of a duty cycle of 1 per step.
        duty_weight: 1 Weight cost,
        /// Switching loss of the mode per step: buck, boost, buck-boost, idle.
        loss: 4 Weight cost,
    }
}

const BUCK: usize = 0;
const BOOST: usize = 1;
const BUCK_BOOST: usize = 2;
const IDLE: usize = 3;
/// Beyond this a current is not looked at in the penalty, A.
const UNREACHABLE: f32 = 1e6;

/// The duty cycles that act in a mode.
#[inline(always)]
fn duties<T: Real, S: Scalar<T>>(mode: usize, u: &[S]) -> [S; 2] {
    let (zero, one) = (S::constant(T::default()), S::constant(T::from(1.0)));
    match mode {
        BUCK => [u[0], zero],
        BOOST => [one, u[1]],
        BUCK_BOOST => [u[0], u[1]],
        _ => [zero, zero],
    }
}

impl<T: Real> Equations<T> for BuckBoost<T> {
    #[inline(always)]
    fn rate<S: Scalar<T>>(&self, mode: usize, x: &[S], u: &[S], rate: &mut [S]) {
        let one = T::from(1.0);
        let (l, c) = (self.inductance_h[0], self.capacitance_f[0]);
        let [d1, d2] = duties(mode, u);
        let passed = S::constant(one) - d2;
        rate[0] = (d1 * self.supply_v[0] - passed * x[1]).add_scaled(-self.inductor_ohm[0], x[0])
            * (one / l);
        rate[1] = (passed * x[0]).add_scaled(-(one / self.load_ohm[0]), x[1]) * (one / c);
        rate[2] = S::constant(T::default());
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
        let a = p[0] * (one / self.inductance_h[0]);
        let b = p[1] * (one / self.capacitance_f[0]);
        let [_, d2] = duties(mode, u);
        let passed = S::constant(one) - d2;
        d_x[0] = d_x[0] + (passed * b).add_scaled(-self.inductor_ohm[0], a);
        d_x[1] = d_x[1] - (passed * a).add_scaled(one / self.load_ohm[0], b);
        if mode == BUCK || mode == BUCK_BOOST {
            d_u[0] = d_u[0].add_scaled(self.supply_v[0], a);
        }
        if mode == BOOST || mode == BUCK_BOOST {
            d_u[1] = d_u[1] + x[1] * a - x[0] * b;
        }
    }

    #[inline(always)]
    fn cost<S: Scalar<T>>(&self, mode: usize, x: &[S], u: &[S]) -> S {
        let one = T::from(1.0);
        let error = (x[1] - x[2]) * (one / self.voltage_tolerance_v[0]);
        let over = (x[0] - S::constant(self.current_limit_a[0]))
            .clamp(T::default(), T::from(UNREACHABLE))
            * (one / self.current_tolerance_a[0]);
        let duty = u[0] * u[0] + u[1] * u[1];
        (error * error + over * over + S::constant(self.loss[mode]))
            .add_scaled(self.duty_weight[0], duty)
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
        let (one, two) = (T::from(1.0), T::from(2.0));
        let square = |tolerance: T| two * (one / (tolerance * tolerance));
        let error = d_cost * (x[1] - x[2]) * square(self.voltage_tolerance_v[0]);
        d_x[1] = d_x[1] + error;
        d_x[2] = d_x[2] - error;
        // Zero at the limit itself, so no gate is needed.
        let over =
            (x[0] - S::constant(self.current_limit_a[0])).clamp(T::default(), T::from(UNREACHABLE));
        d_x[0] = d_x[0] + d_cost * over * square(self.current_tolerance_a[0]);
        for i in 0..2 {
            d_u[i] = d_u[i].add_scaled(two * self.duty_weight[0], d_cost * u[i]);
        }
    }
}

impl Model for BuckBoost<f64> {
    const KIND: &'static str = "buck-boost";
    const STATE: usize = 3;
    const CONTROL: usize = 2;
    const MODES: usize = 4;
    const SUBSTEPS: usize = 2;
    const RULE: &'static str = "cascade-rules";
    const RULE_TEXT: &'static str = "mode by the ratio of wanted to supply voltage, inner current and outer voltage loop with feed-forward \
        (A/V, ohm, ratio at which buck begins and, inverse, boost, duty of the first bridge in buck-boost)";
    const RULE_START: &'static [f64] = &[0.3, 1.0, 0.9, 0.9];
    type Over<T: Real> = BuckBoost<T>;

    fn over<T: Real>(&self) -> BuckBoost<T> {
        self.rounded()
    }

    fn scaling(&self) -> Scaling {
        let [supply] = self.supply_v;
        let limit = self.current_limit_a[0];
        Scaling {
            shift: vec![0.25 * limit, supply, supply],
            scale: vec![3.0 / limit, 3.0 / supply, 3.0 / supply],
            control_offset: vec![0.5; 2],
            control_scale: vec![0.5; 2],
            stage_cost: 1.0,
        }
    }

    fn names(&self) -> FamilyNames {
        FamilyNames {
            state: named(&[
                ("inductor current", "A"),
                ("output voltage", "V"),
                ("wanted voltage", "V"),
            ]),
            control: named(&[("duty 1", "1"), ("duty 2", "1")]),
            modes: texts(&["buck", "boost", "buck-boost", "idle"]),
        }
    }

    /// All switches to the output's side: the inductor empties into the load.
    fn safe_law(&self) -> SafeLaw {
        SafeLaw {
            mode: IDLE,
            gain: vec![0.0; 6],
            offset: vec![0.0; 2],
        }
    }

    fn rule_mode(&self, gains: &[f64], x: &[f64]) -> usize {
        let ([supply], wanted) = (self.supply_v, x[2]);
        if wanted < gains[2] * supply {
            BUCK
        } else if wanted * gains[2] > supply {
            BOOST
        } else {
            BUCK_BOOST
        }
    }

    fn rule_control(&self, gains: &[f64], mode: usize, x: &[f64], u: &mut [f64]) {
        let ([supply], [load]) = (self.supply_v, self.load_ohm);
        let (i, v, wanted) = (x[0], x[1], x[2]);
        let steady = (wanted / load) * (wanted / supply).max(1.0);
        let current = (steady + gains[0] * (wanted - v)).min(self.current_limit_a[0]);
        // Voltage that the inductor is to see, its resistance included.
        let push = self.inductor_ohm[0] * current + gains[1] * (current - i);
        match mode {
            BUCK => u[0] = (v + push) / supply,
            BOOST => u[1] = 1.0 - (supply - push) / v.max(1.0),
            BUCK_BOOST => {
                u[0] = gains[3].min(1.0);
                u[1] = 1.0 - (u[0] * supply - push) / v.max(1.0);
            }
            _ => {}
        }
    }
}
