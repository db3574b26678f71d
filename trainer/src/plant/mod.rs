//! What is controlled: plants, plant files, ready plants, initial states.
//!
//! A plant is written once, for any [`Scalar`]: training runs it on [`crate::numeric::Lanes`], references and
//! evaluation on `f64`, tests on dual numbers. Discrete time, cost is minimised:
//! `x' = f(x, d, u, w)`, stage cost `l(x, d, u)` at `t = 0..horizon`.

mod bank;
pub mod baseline;
mod check;
pub mod constraints;
pub mod disturbance;
mod dynamics;
pub mod family;
pub mod file;
pub mod generator;
pub mod inventory;
pub mod model;
pub mod outlined;
pub mod own;
pub mod ready;
pub mod recast;
mod resolved;
pub mod sampled;
pub mod states;
pub mod switched_lqr;
mod units;
mod values;

pub use baseline::{Baseline, Obedience, ReferencePolicy};
pub use constraints::{Constraints, OwnedModeRules, RateLimits, Watch};
pub use disturbance::Disturbance;
pub use family::{Family, FamilyData, FamilyPlant};
pub use inventory::InventoryData;
pub use model::{BuiltPlant, ControlBounds, InitialBox, Names, PlantModel};
pub use own::{OwnPlant, register};
pub use ready::{is_plant_key, load_plant, ready_names};
pub use recast::{Jumps, Treatment};
pub use states::read_states;
pub use switched_lqr::{SwitchedLqr, SwitchedLqrData};

use crate::numeric::{Real, Scalar};

/// Sizes of a plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Length n of the state vector.
    pub state: usize,
    /// Length m of the control vector.
    pub control: usize,
    /// Number M of modes; a mode is 0..M.
    pub modes: usize,
    /// Length of the noise vector (0: no process noise).
    pub noise: usize,
}

/// A switched plant with its pathwise derivatives, over coefficients of type `T`.
///
/// All vectors are slices of the lengths in [`Dims`]. With `S = Lanes<T>` one call handles sixteen
/// trajectories that share the mode. Implementations never allocate and never panic on slices of
/// the stated lengths.
pub trait Plant<T: Real>: Send + Sync {
    /// Sizes; constant over the life of the plant.
    fn dims(&self) -> Dims;

    /// Writes `f(x, mode, u, noise)` to `next` and returns the stage cost `l(x, mode, u)`.
    ///
    /// `noise` is what [`Disturbance::draw`] gives for the plant: standard normal numbers, which the plant scales, or demand.
    fn step<S: Scalar<T>>(&self, mode: usize, x: &[S], u: &[S], noise: &[S], next: &mut [S]) -> S;

    /// Vector-Jacobian product of [`Plant::step`].
    ///
    /// Writes (does not add) `d_x = (df/dx)' d_next + d_cost dl/dx` and
    /// `d_u = (df/du)' d_next + d_cost dl/du`. The derivative of a clamp is 0 where it is active
    /// and at equality. `next` is what `step` wrote for the same arguments.
    #[expect(
        clippy::too_many_arguments,
        reason = "the arguments of step plus its cotangents"
    )]
    fn vjp<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        next: &[S],
        d_next: &[S],
        d_cost: S,
        d_x: &mut [S],
        d_u: &mut [S],
    );

    /// Number of coordinates of `next` (over all lanes) that stand at the state clamp: 0 in a
    /// healthy run. A clamp must not hide divergence, so every rollout reports it.
    fn count_clamped<S: Scalar<T>>(&self, next: &[S]) -> u32;
}
