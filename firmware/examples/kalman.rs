//! A state estimator in front of a policy: a Kalman filter for a switched linear plant, of which only some states are measured.
//!
//! The filter implements [`Estimator`]; [`ControlLoop::cycle_with`] runs it between sensors and policy. The plant is a cart whose
//! position is measured and whose velocity is not, with a strong and a weak drive.
//!
//! Run it: `cargo run --release -p firmware --example kalman`

use firmware::supervisor::RECORD_WORDS;
use firmware::{
    Actuators, Clock, Command, ControlLoop, Estimator, ResetCause, RetainedMemory, Sensors,
    Watchdog,
};
use policy_format::{
    Bounds, FallbackSpec, GainsSpec, GoldenVector, InputKind, PolicySpec, encode, encoded_len,
};

/// `x' = a x + b u` in one mode.
pub struct Mode<const N: usize, const M: usize> {
    /// State matrix.
    pub a: [[f32; N]; N],
    /// Input matrix.
    pub b: [[f32; M]; N],
}

/// The Kalman filter of a switched linear plant with `y_i = c_i x + v_i`, process noise of variances `q` and measurement noise of
/// variances `r`, all independent (Anderson and Moore, Optimal Filtering, 1979, chapter 3). Measurements are taken up one after
/// the other, so that nothing is inverted.
pub struct Kalman<'m, const N: usize, const M: usize, const P: usize> {
    /// The plant in each mode.
    pub modes: &'m [Mode<N, M>],
    /// Rows of the measurement matrix.
    pub c: [[f32; N]; P],
    /// Variances of the process noise.
    pub q: [f32; N],
    /// Variances of the measurement noise.
    pub r: [f32; P],
    /// The estimate.
    pub x: [f32; N],
    /// Its covariance.
    pub p: [[f32; N]; N],
    /// A step was missed that the model could not make: the estimate is of another time.
    pub behind: bool,
}

impl<const N: usize, const M: usize, const P: usize> Kalman<'_, N, M, P> {
    /// One step of the plant under a command. An unknown mode or a control of another length is none.
    fn predict(&mut self, command: &Command<'_>) -> bool {
        let Some(mode) = self.modes.get(usize::from(command.mode())) else {
            return false;
        };
        let Ok(u) = <[f32; M]>::try_from(command.control()) else {
            return false;
        };
        let x = self.x;
        for i in 0..N {
            self.x[i] = dot(&mode.a[i], &x) + dot(&mode.b[i], &u);
        }
        // p = a p a' + q
        let mut ap = [[0.0; N]; N];
        for i in 0..N {
            for j in 0..N {
                ap[i][j] = (0..N).map(|k| mode.a[i][k] * self.p[k][j]).sum();
            }
        }
        for i in 0..N {
            for j in 0..N {
                self.p[i][j] = dot(&ap[i], &mode.a[j]);
            }
            self.p[i][i] += self.q[i];
        }
        true
    }

    /// Takes up measurement `i`; false if it makes no sense.
    fn correct(&mut self, i: usize, y: f32) -> bool {
        let c = self.c[i];
        let pc: [f32; N] = core::array::from_fn(|k| dot(&self.p[k], &c));
        let s = dot(&c, &pc) + self.r[i];
        let innovation = y - dot(&c, &self.x);
        if !(s > 0.0 && s.is_finite() && innovation.is_finite()) {
            return false;
        }
        for k in 0..N {
            self.x[k] += pc[k] / s * innovation;
            for j in 0..N {
                self.p[k][j] -= pc[k] / s * pc[j];
            }
        }
        true
    }
}

impl<const N: usize, const M: usize, const P: usize> Estimator for Kalman<'_, N, M, P> {
    fn measurement_len(&self) -> usize {
        P
    }

    fn update(
        &mut self,
        measured: &[f32],
        applied: Option<&Command<'_>>,
        state: &mut [f32],
    ) -> bool {
        if applied.is_some_and(|command| !self.predict(command)) || self.behind {
            return false;
        }
        let sound = measured
            .iter()
            .enumerate()
            .all(|(i, &y)| i < P && self.correct(i, y));
        for (out, &x) in state.iter_mut().zip(&self.x) {
            *out = x;
        }
        sound && state.len() == N
    }

    fn miss(&mut self, applied: Option<&Command<'_>>) {
        // There is no estimate from then on, until somebody starts the filter anew.
        self.behind |= applied.is_some_and(|command| !self.predict(command));
    }
}

fn dot<const K: usize>(a: &[f32; K], b: &[f32; K]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Sample time in seconds.
const DT: f32 = 0.05;

/// The cart with its strong and its weak drive: position, velocity.
pub const CART: [Mode<2, 1>; 2] = [
    Mode {
        a: [[1.0, DT], [0.0, 0.99]],
        b: [[0.0], [DT]],
    },
    Mode {
        a: [[1.0, DT], [0.0, 0.99]],
        b: [[0.0], [0.3 * DT]],
    },
];

/// A filter for the cart that knows the position to 1 and the velocity to 2 at the start.
pub fn cart_filter() -> Kalman<'static, 2, 1, 1> {
    Kalman {
        modes: &CART,
        c: [[1.0, 0.0]],
        q: [0.0, 1e-4],
        r: [4e-4],
        x: [0.0; 2],
        p: [[1.0, 0.0], [0.0, 4.0]],
        behind: false,
    }
}

/// A policy for the cart: `u = -4 position - 3 velocity` in the strong mode, within +-10; its length in bytes.
///
/// # Panics
/// Never: the policy is sound and the room suffices.
pub fn cart_policy(out: &mut [u128; 64]) -> usize {
    let gain = [-4.0, -3.0];
    let zero = [0.0];
    let spec = PolicySpec {
        target_class: 1,
        state_dim: 2,
        control_dim: 1,
        modes: 2,
        factors: &[1],
        input: InputKind::Affine,
        sample_time_s: DT,
        policy_version: 1,
        choice_modes: &[0],
        input_shift: &[0.0; 2],
        input_scale: &[1.0; 2],
        scores: None,
        selector: None,
        gains: Some(GainsSpec {
            offset: &zero,
            matrix: &gain,
        }),
        control: None,
        regions: None,
        bounds: Some(Bounds {
            lower: &[-10.0],
            upper: &[10.0],
        }),
        fallback: FallbackSpec {
            mode: 1,
            constant: &zero,
            offset: &zero,
            gain: &[0.0, 0.0],
        },
        // -4 times the least subnormal.
        golden: &[GoldenVector {
            state: &[f32::from_bits(1), 0.0],
            choice: 0,
            control: &[-f32::from_bits(4)],
        }],
        names: &[],
    };
    let length = encoded_len(&spec).expect("a sound policy");
    encode(&spec, &mut bytemuck::cast_slice_mut(out)[..length]).expect("a sound policy")
}

/// A simulated cart with a position sensor.
pub struct Cart {
    /// True position and velocity.
    pub x: [f32; 2],
    /// Time in microseconds.
    pub time_us: u64,
    seed: u32,
    /// Put in place of the next measurement.
    pub broken: Option<f32>,
    /// Periods in which the sensor gives nothing.
    pub silent: u32,
}

/// The sensor gave nothing.
#[derive(Debug)]
pub struct Silence;

impl Cart {
    /// One unit away, on its way back.
    pub fn new() -> Self {
        Self {
            x: [1.0, -0.5],
            time_us: 0,
            seed: 1,
            broken: None,
            silent: 0,
        }
    }

    /// Uniform noise of the given standard deviation (xorshift).
    fn noise(&mut self, deviation: f32) -> f32 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 17;
        self.seed ^= self.seed << 5;
        (self.seed as f32 / 4_294_967_296.0 - 0.5) * 3.464_101_6 * deviation
    }
}

impl Default for Cart {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for Cart {
    fn now_us(&mut self) -> u64 {
        self.time_us + 40
    }
}

impl Sensors for Cart {
    type Error = Silence;

    fn read(&mut self, measured: &mut [f32]) -> Result<u64, Silence> {
        if let Some(rest) = self.silent.checked_sub(1) {
            self.silent = rest;
            return Err(Silence);
        }
        let noise = self.noise(0.02);
        measured[0] = self.broken.take().unwrap_or(self.x[0] + noise);
        Ok(self.time_us)
    }
}

impl Actuators for Cart {
    type Error = core::convert::Infallible;

    fn apply(&mut self, command: &Command<'_>) -> Result<(), Self::Error> {
        let mode = &CART[usize::from(command.mode())];
        let (x, u) = (self.x, [command.control()[0]]);
        let noise = self.noise(0.01);
        self.x = [
            dot(&mode.a[0], &x) + dot(&mode.b[0], &u),
            dot(&mode.a[1], &x) + dot(&mode.b[1], &u) + noise,
        ];
        self.time_us += 50_000;
        Ok(())
    }
}

impl RetainedMemory for Cart {
    fn load(&mut self) -> [u32; RECORD_WORDS] {
        [0; RECORD_WORDS]
    }

    fn store(&mut self, _words: &[u32; RECORD_WORDS]) {}
}

impl Watchdog for Cart {
    fn feed(&mut self) {}
}

/// The loop on a host; on a device the cart is real and `control` a static.
#[allow(dead_code)]
fn main() {
    let mut file = [0; 64];
    let length = cart_policy(&mut file);
    let mut control = ControlLoop::new();
    let slot = &bytemuck::cast_slice(&file)[..length];
    control
        .start(slot, 1, ResetCause::Other, &[0; RECORD_WORDS])
        .expect("the policy arms");
    let (mut cart, mut filter) = (Cart::new(), cart_filter());
    println!("time  position  velocity  estimated  control");
    for period in 0..100 {
        let x = cart.x;
        let command = control.cycle_with(&mut cart, &mut filter);
        if period % 10 == 0 {
            let t = period as f32 * DT;
            let u = command.control()[0];
            println!(
                "{t:4.1}  {:8.3}  {:8.3}  {:9.3}  {u:7.3}",
                x[0], x[1], filter.x[1]
            );
        }
    }
}
