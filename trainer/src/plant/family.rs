//! The closed set of plant families, and what each of them provides.
//!
//! A family is one kind of equations with its numbers in `f64` (its *data*). Adding one is one file that implements
//! [`Family`] for the data and [`Plant`] for the data rounded to `T`, and one line in `families!` below. Training,
//! evaluation, export, hardware in the loop and reports then work for it; references that hold for one family only are asked
//! for by that family and are absent elsewhere.

use std::fmt::Debug;
use std::path::Path;

use toml::{Table, Value};

use super::dynamics::Origin;
use super::inventory::InventoryData;
use super::model::{ControlBounds, InitialBox};
use super::own::{self, OwnData};
use super::recast::Jumps;
use super::sampled::{BuckBoost, GearedCar, SampledData, SatelliteAxis, ThreeTank};
use super::switched_lqr::SwitchedLqrData;
use super::values::Place;
use super::{Baseline, Constraints, Dims, Disturbance, Plant};
use crate::Result;
use crate::numeric::{Real, Scalar};

/// Typical magnitudes, by which the trainer makes states and costs of order 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// Subtracted from each of the n states before the networks see them.
    pub shift: Vec<f64>,
    /// Factor of each shifted state, greater than 0.
    pub scale: Vec<f64>,
    /// Typical value of each of the m controls: where the laws begin.
    pub control_offset: Vec<f64>,
    /// Typical magnitude of each of the m controls, greater than 0: what a step of training is relative to.
    pub control_scale: Vec<f64>,
    /// Typical stage cost, greater than 0.
    pub stage_cost: f64,
}

impl Scaling {
    /// States, controls and costs as they are.
    #[must_use]
    pub fn none(dims: Dims) -> Self {
        Self {
            shift: vec![0.0; dims.state],
            scale: vec![1.0; dims.state],
            control_offset: vec![0.0; dims.control],
            control_scale: vec![1.0; dims.control],
            stage_cost: 1.0,
        }
    }
}

/// A safe law for the device to fall back to: `u = offset - gain x` in one mode, before bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct SafeLaw {
    /// The mode.
    pub mode: usize,
    /// m x n, row by row.
    pub gain: Vec<f64>,
    /// Length m.
    pub offset: Vec<f64>,
}

impl SafeLaw {
    /// Control 0 in mode 0.
    #[must_use]
    pub fn nothing(dims: Dims) -> Self {
        Self {
            mode: 0,
            gain: vec![0.0; dims.control * dims.state],
            offset: vec![0.0; dims.control],
        }
    }
}

/// Names and units that a family gives its states, controls and modes where the plant file does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FamilyNames {
    /// (name, unit) of each state; empty: `x0`, `x1`, ... without units.
    pub state: Vec<(String, String)>,
    /// (name, unit) of each control; empty: `u0`, `u1`, ... without units.
    pub control: Vec<(String, String)>,
    /// Name of each mode; empty: `mode0`, `mode1`, ...
    pub modes: Vec<String>,
}

/// What a `[dynamics]` table is read against.
#[derive(Debug)]
pub struct ReadAt<'a> {
    /// The plant file, for messages.
    pub(super) file: &'a Path,
    /// Where files named in the table are found.
    pub(super) origin: &'a Origin,
    /// `--set seed=..`, for families that generate their numbers.
    pub(super) seed: Option<u64>,
}

impl<'a> ReadAt<'a> {
    /// The key `dynamics.KEY` of the file.
    pub(super) fn place(&self, key: &str) -> Place<'a> {
        Place::new(self.file, format!("dynamics.{key}"))
    }

    /// The whole table as a settings type with `serde(deny_unknown_fields)`.
    ///
    /// # Errors
    /// [`crate::Error::Input`] that names `dynamics` and what is wrong in it.
    pub(super) fn table<S: serde::de::DeserializeOwned>(&self, table: Table) -> Result<S> {
        Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| {
                let message = error.message().trim().replace('\n', "; ");
                let (found, allowed) = match message.split_once(", expected ") {
                    Some((found, allowed)) => (found.to_owned(), allowed.to_owned()),
                    None => (message, "the keys of this kind of plant".to_owned()),
                };
                Place::new(self.file, "dynamics").error(found, allowed)
            })
    }
}

/// What a classical controller is made for, beside the family's data.
#[derive(Debug)]
pub struct BaselineSetting<'a> {
    /// Steps of an episode.
    pub horizon: usize,
    /// First step whose cost counts.
    pub cost_from: usize,
    /// Where episodes begin.
    pub initial: &'a InitialBox,
    /// Bounds on the controls.
    pub bounds: Option<&'a ControlBounds>,
    /// Rate limits and mode rules.
    pub constraints: &'a Constraints,
    /// Jumps of the control.
    pub jumps: Option<&'a Jumps>,
    /// Time between two steps, in seconds.
    pub sample_time_s: f64,
}

/// A family as read, with what else its table settles.
#[derive(Debug)]
pub struct Loaded<F> {
    /// The family's data, checked.
    pub data: F,
    /// Horizon where the plant file states none.
    pub horizon: Option<usize>,
    /// Seed of the generator, if there was one.
    pub seed: Option<u64>,
}

/// The data of a plant family, in `f64`; checked when read.
pub trait Family: Clone + Debug + PartialEq + Send + Sync {
    /// Value of `dynamics.kind` in a plant file.
    const KIND: &'static str;
    /// The plant over coefficients of type `T`.
    type Simulator<T: Real>: Plant<T> + Clone + Debug;

    /// Value of `dynamics.kind` in this plant's file.
    fn kind(&self) -> &'static str {
        Self::KIND
    }
    /// Reads and checks the `[dynamics]` table (without `kind`).
    ///
    /// # Errors
    /// [`crate::Error::Input`] that names the key, what was found and what is allowed.
    fn read(table: Table, at: &ReadAt<'_>) -> Result<Loaded<Self>>;
    /// The table that [`Family::read`] reads back to an equal value in any folder, without `kind`.
    fn to_table(&self) -> Table;
    /// Sizes.
    fn dims(&self) -> Dims;
    /// Rounds the data to `T` and lays it out for fast steps.
    fn build<T: Real>(&self) -> Self::Simulator<T>;

    /// Checks what depends on the horizon; `at` names the file.
    ///
    /// # Errors
    /// [`crate::Error::Input`] that names the key of `[dynamics]`.
    fn check_horizon(&self, _horizon: usize, _at: &Path) -> Result<()> {
        Ok(())
    }
    /// Distribution of the noise vector, as long as [`Dims::noise`].
    fn disturbance(&self) -> Disturbance {
        Disturbance::Normal(self.dims().noise)
    }
    /// Makes `std` `[n]` the standard deviation of a normal process noise on each state; false if this family has none.
    fn set_noise(&mut self, _std: Vec<f64>) -> bool {
        false
    }
    /// Standard deviations given to [`Family::set_noise`]; empty: none.
    fn noise_std(&self) -> &[f64] {
        &[]
    }
    /// Tells the family the time between two steps in seconds, greater than 0; of no interest to equations in discrete time.
    fn set_sample_time(&mut self, _seconds: f64) {}
    /// Sets the greatest absolute value of a state coordinate; false if this family has no such clamp.
    fn set_state_clamp(&mut self, _clamp: f64) -> bool {
        false
    }
    /// The greatest absolute value of a state coordinate, where the family has one.
    fn state_clamp(&self) -> Option<f64> {
        None
    }
    /// Multiplies every number of the model that may be uncertain by a factor of its own, in a fixed order: model mismatch.
    fn scale_parameters(&mut self, factor: &mut dyn FnMut() -> f64);
    /// Names of the classical controllers that [`Family::baseline`] makes, the best known first.
    fn baseline_names(&self) -> &'static [&'static str] {
        &[]
    }
    /// The classical controller `name` of [`Family::baseline_names`]. A search that it needs is limited by counts and draws
    /// from streams of its own, never from those of an evaluation.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] where the controller does not exist for these numbers.
    fn baseline(&self, _name: &str, _setting: &BaselineSetting<'_>) -> Result<Option<Baseline>> {
        Ok(None)
    }
    /// Typical magnitudes.
    fn scaling(&self) -> Scaling {
        Scaling::none(self.dims())
    }
    /// Names and units of the family's own.
    fn names(&self) -> FamilyNames {
        FamilyNames::default()
    }
    /// The safe law of the family, where it is not computed from [`PlantModel::lqr_data`](super::PlantModel::lqr_data):
    /// mode 0 with control 0 by default.
    fn safe_law(&self) -> SafeLaw {
        SafeLaw::nothing(self.dims())
    }
}

/// The enum over the families and its dispatch.
macro_rules! families {
    ($($variant:ident($data:ty)),+ $(,)?) => {
        /// Data of any family.
        #[derive(Clone, Debug, PartialEq)]
        pub enum FamilyData {
            $(#[allow(missing_docs, reason = "the family's own type documents it")] $variant($data),)+
        }

        /// A plant of any family over coefficients of type `T`; made by [`FamilyData::build`].
        #[derive(Clone, Debug)]
        pub enum FamilyPlant<T: Real> {
            $(#[allow(missing_docs, reason = "the family's own type documents it")]
              $variant(<$data as Family>::Simulator<T>),)+
        }

        /// Values that `dynamics.kind` takes.
        pub(super) const KINDS: &[&str] = &[$(<$data as Family>::KIND),+];

        impl FamilyData {
            /// Reads the table of the family `kind`; `None` if there is no such family.
            pub(super) fn read(
                kind: &str,
                table: Table,
                at: &ReadAt<'_>,
            ) -> Option<Result<Loaded<Self>>> {
                $(if kind == <$data as Family>::KIND {
                    return Some(<$data as Family>::read(table, at).map(|loaded| Loaded {
                        data: Self::$variant(loaded.data),
                        horizon: loaded.horizon,
                        seed: loaded.seed,
                    }));
                })+
                own::read(kind, table, at).map(|read| {
                    read.map(|loaded| Loaded {
                        data: Self::Own(loaded.data),
                        horizon: loaded.horizon,
                        seed: loaded.seed,
                    })
                })
            }

            /// Value of `dynamics.kind` in a plant file.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(data) => Family::kind(data)),+ }
            }

            /// Sizes.
            #[must_use]
            pub fn dims(&self) -> Dims {
                match self { $(Self::$variant(data) => Family::dims(data)),+ }
            }

            /// Rounds the data to `T` and lays it out for fast steps.
            #[must_use]
            pub fn build<T: Real>(&self) -> FamilyPlant<T> {
                match self { $(Self::$variant(data) => FamilyPlant::$variant(Family::build(data))),+ }
            }

            pub(crate) fn to_table(&self) -> Table {
                match self { $(Self::$variant(data) => Family::to_table(data)),+ }
            }

            pub(super) fn check_horizon(&self, horizon: usize, at: &Path) -> Result<()> {
                match self { $(Self::$variant(data) => Family::check_horizon(data, horizon, at)),+ }
            }

            /// Distribution of the noise vector.
            #[must_use]
            pub fn disturbance(&self) -> Disturbance {
                match self { $(Self::$variant(data) => Family::disturbance(data)),+ }
            }

            /// Gives the plant a normal process noise; false if its family has none.
            pub(crate) fn set_noise(&mut self, std: Vec<f64>) -> bool {
                match self { $(Self::$variant(data) => Family::set_noise(data, std)),+ }
            }

            /// Standard deviations of the normal process noise; empty: none.
            #[must_use]
            pub fn noise_std(&self) -> &[f64] {
                match self { $(Self::$variant(data) => Family::noise_std(data)),+ }
            }

            pub(crate) fn set_sample_time(&mut self, seconds: f64) {
                match self { $(Self::$variant(data) => Family::set_sample_time(data, seconds)),+ }
            }

            pub(crate) fn set_state_clamp(&mut self, clamp: f64) -> bool {
                match self { $(Self::$variant(data) => Family::set_state_clamp(data, clamp)),+ }
            }

            /// The greatest absolute value of a state coordinate, where the family has one.
            #[must_use]
            pub fn state_clamp(&self) -> Option<f64> {
                match self { $(Self::$variant(data) => Family::state_clamp(data)),+ }
            }

            pub(crate) fn scale_parameters(&mut self, factor: &mut dyn FnMut() -> f64) {
                match self { $(Self::$variant(data) => Family::scale_parameters(data, factor)),+ }
            }

            /// Names of the family's classical controllers, the best known first.
            #[must_use]
            pub fn baseline_names(&self) -> &'static [&'static str] {
                match self { $(Self::$variant(data) => Family::baseline_names(data)),+ }
            }

            /// The classical controller `name`; `None` if the family has none of that name.
            ///
            /// # Errors
            /// [`crate::Error::Usage`] where the controller does not exist for these numbers.
            pub fn baseline(
                &self,
                name: &str,
                setting: &BaselineSetting<'_>,
            ) -> Result<Option<Baseline>> {
                match self { $(Self::$variant(data) => Family::baseline(data, name, setting)),+ }
            }

            /// Typical magnitudes.
            #[must_use]
            pub fn scaling(&self) -> Scaling {
                match self { $(Self::$variant(data) => Family::scaling(data)),+ }
            }

            /// Names and units of the family's own.
            #[must_use]
            pub fn names(&self) -> FamilyNames {
                match self { $(Self::$variant(data) => Family::names(data)),+ }
            }

            /// The safe law of the family.
            #[must_use]
            pub fn safe_law(&self) -> SafeLaw {
                match self { $(Self::$variant(data) => Family::safe_law(data)),+ }
            }
        }

        impl<T: Real> Plant<T> for FamilyPlant<T> {
            #[inline(always)]
            fn dims(&self) -> Dims {
                match self { $(Self::$variant(plant) => plant.dims()),+ }
            }

            #[inline(always)]
            fn step<S: Scalar<T>>(
                &self,
                mode: usize,
                x: &[S],
                u: &[S],
                noise: &[S],
                next: &mut [S],
            ) -> S {
                match self { $(Self::$variant(plant) => plant.step(mode, x, u, noise, next)),+ }
            }

            #[inline(always)]
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
            ) {
                match self {
                    $(Self::$variant(plant) => {
                        plant.vjp(mode, x, u, noise, next, d_next, d_cost, d_x, d_u);
                    })+
                }
            }

            #[inline(always)]
            fn count_clamped<S: Scalar<T>>(&self, next: &[S]) -> u32 {
                match self { $(Self::$variant(plant) => plant.count_clamped(next)),+ }
            }
        }
    };
}

families! {
    SwitchedLqr(SwitchedLqrData),
    Inventory(InventoryData),
    Own(OwnData),
    SatelliteAxis(SampledData<SatelliteAxis<f64>>),
    BuckBoost(SampledData<BuckBoost<f64>>),
    ThreeTank(SampledData<ThreeTank<f64>>),
    GearedCar(SampledData<GearedCar<f64>>),
}
