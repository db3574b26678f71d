//! A plant of one's own in Rust: a room with a heat pump. This program is all of `hpo` with one more kind of plant:
//!
//!     cargo run --release --example own_plant -- train trainer/examples/room.toml --epochs 40 --out runs/room
//!     cargo run --release --example own_plant -- eval runs/room --plant trainer/examples/room.toml --accept
//! (docs/add-a-plant.md)

use serde::{Deserialize, Serialize};
use trainer::numeric::{Real, Scalar};
use trainer::plant::family::{FamilyNames, Scaling};
use trainer::plant::{Dims, OwnPlant};

/// The keys of `[dynamics]` in `room.toml`. Air and walls (degC) exchange heat; the heat pump heats or cools the air, or is off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Room {
    /// Heat capacities of air with furniture and of walls, J/K.
    capacity_j_k: [f64; 2],
    /// From air to walls and from walls to the outside, W/K.
    conductance_w_k: [f64; 2],
    outside_c: f64,
    wanted_c: f64,
    /// Thermal power of the heat pump when it heats and when it cools, W.
    power_w: [f64; 2],
    price: f64,
    running: f64,
}

const HEAT: usize = 0;
const COOL: usize = 1;
const OFF: usize = 2;

impl OwnPlant for Room {
    const KIND: &'static str = "room";
    const UNCERTAIN: &'static [&'static str] = &["capacity_j_k", "conductance_w_k", "power_w"];

    fn dims(&self) -> Dims {
        Dims {
            state: 2,
            control: 1,
            modes: 3,
            noise: 0,
        }
    }

    #[inline]
    fn step<T: Real, S: Scalar<T>>(
        &self,
        seconds: f64,
        mode: usize,
        x: &[S],
        u: &[S],
        _noise: &[S],
        next: &mut [S],
    ) -> S {
        let number = T::from_f64;
        let power = [self.power_w[HEAT], -self.power_w[COOL], 0.0][mode];
        let outside = S::constant(number(self.outside_c));
        let to_walls = (x[0] - x[1]) * number(self.conductance_w_k[0]);
        let to_outside = (x[1] - outside) * number(self.conductance_w_k[1]);
        let [air, walls] = self.capacity_j_k.map(|capacity| number(seconds / capacity));
        next[0] = x[0].add_scaled(air, u[0] * number(power) - to_walls);
        next[1] = x[1].add_scaled(walls, to_walls - to_outside);
        let error = x[0] - S::constant(number(self.wanted_c));
        let running = if mode == OFF { 0.0 } else { self.running };
        (error * error + S::constant(number(running))).add_scaled(number(self.price), u[0] * u[0])
    }

    fn scaling(&self) -> Scaling {
        Scaling {
            shift: vec![self.wanted_c; 2],
            scale: vec![0.5; 2],
            ..Scaling::none(self.dims())
        }
    }

    fn names(&self) -> FamilyNames {
        let text = |name: &str| name.to_owned();
        FamilyNames {
            state: vec![(text("air"), text("degC")), (text("walls"), text("degC"))],
            control: vec![(text("power share"), text("1"))],
            modes: ["heat", "cool", "off"].map(text).to_vec(),
        }
    }

    /// A thermostat: heats in proportion, with what the walls take in the mean, and cools from one degree too much on.
    fn rule(&self, x: &[f64], must: Option<usize>, u: &mut [f64]) -> Option<usize> {
        let error = x[0] - self.wanted_c;
        let mode = must.unwrap_or(if error > 1.0 { COOL } else { HEAT });
        u[0] = [0.2 - 0.25 * error, 0.25 * error, 0.0][mode];
        Some(mode)
    }
}

fn main() -> std::process::ExitCode {
    trainer::plant::register::<Room>();
    trainer::cli::start()
}
