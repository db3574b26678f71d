//! Plants of a user's own, written in Rust outside this crate (`docs/add-a-plant.md`).
//!
//! A user implements [`OwnPlant`] and calls [`register`]; from then on `dynamics.kind` of a plant file may name the plant, and
//! everything that works for the families of this crate works for it. The equations stand once, in [`OwnPlant::step`]; the
//! adjoint is taken from them by dual numbers, one direction after the other, exact up to rounding.

mod adapter;

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::family::{BaselineSetting, Family, FamilyNames, Loaded, ReadAt, SafeLaw, Scaling};
use super::{Baseline, Dims, Disturbance, ReferencePolicy};
use crate::numeric::object::Object;
use crate::numeric::{Real, Scalar};
use crate::{Error, Result};

pub use adapter::Own;

/// Most states, controls and noise numbers of an own plant, each.
pub const MAX_OWN: usize = 16;
/// Name of an own plant's classical controller.
const RULE: &str = "own-rule";

/// A plant: its numbers, as they stand in `[dynamics]` of a plant file, and its equations.
///
/// The fields of the implementing type are the keys of `[dynamics]`; put `#[serde(deny_unknown_fields)]` on it, so that a wrong key is
/// an error.
pub trait OwnPlant:
    Clone + Debug + PartialEq + Send + Sync + Serialize + DeserializeOwned + 'static
{
    /// Value of `dynamics.kind`.
    const KIND: &'static str;
    /// Fields whose numbers `hpo eval --perturb params=..` varies: those that are uncertain in reality.
    const UNCERTAIN: &'static [&'static str] = &[];

    /// Numbers of states, controls, modes, and of standard normal random numbers that a step takes: 1 to [`MAX_OWN`] states and
    /// controls, 0 to [`MAX_OWN`] random numbers, 1 to 256 modes.
    fn dims(&self) -> Dims;

    /// Writes the state one sample time of `seconds` later to `next` and returns the stage cost, 0 or more.
    ///
    /// `mode` is less than `dims().modes`; `x`, `u`, `noise` and `next` have the lengths of [`OwnPlant::dims`]. Numbers of the plant become
    /// coefficients by [`Real::from_f64`], functions beyond sums, products and clamps are written with [`Scalar::chain`]. Put `#[inline]`
    /// on it: it is compiled for the machine's vector units.
    fn step<T: Real, S: Scalar<T>>(
        &self,
        seconds: f64,
        mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        next: &mut [S],
    ) -> S;

    /// Checks the numbers.
    ///
    /// # Errors
    /// What is wrong, as (field, what was found, what is allowed).
    fn check(&self) -> std::result::Result<(), (&'static str, String, &'static str)> {
        Ok(())
    }
    /// Typical magnitudes, by which training makes everything of order 1: worth a thought.
    fn scaling(&self) -> Scaling {
        Scaling::none(self.dims())
    }
    /// Names and units.
    fn names(&self) -> FamilyNames {
        FamilyNames::default()
    }
    /// What the device falls back to: mode 0 and control 0 by default.
    fn safe_law(&self) -> SafeLaw {
        SafeLaw::nothing(self.dims())
    }
    /// A classical controller, which a trained policy should beat: writes the control for state `x` and returns the mode. `None`, the
    /// default: there is none. Under the plant's dwell times and masks it is called again with the mode that it has to take.
    fn rule(&self, _x: &[f64], _must: Option<usize>, _u: &mut [f64]) -> Option<usize> {
        None
    }
}

/// How the object of a registered kind is read.
type Read = fn(Table, &ReadAt<'_>) -> Result<OwnData>;

static REGISTERED: Mutex<Vec<(&'static str, Read)>> = Mutex::new(Vec::new());

/// Makes `P::KIND` a kind of plant in this process. A second plant of the same kind takes the place of the first.
pub fn register<P: OwnPlant>() {
    let mut list = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    list.retain(|(kind, _)| *kind != P::KIND);
    list.push((P::KIND, adapter::read::<P>));
}

/// Kinds that were registered.
pub(super) fn kinds() -> Vec<&'static str> {
    let list = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    list.iter().map(|(kind, _)| *kind).collect()
}

/// Reads the table of a registered kind; `None` if there is no such kind.
pub(super) fn read(kind: &str, table: Table, at: &ReadAt<'_>) -> Option<Result<Loaded<OwnData>>> {
    let list = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    let read = list.iter().find(|(known, _)| *known == kind)?.1;
    drop(list);
    Some(read(table, at).map(|data| Loaded {
        data,
        horizon: None,
        seed: None,
    }))
}

/// What the rest of the crate asks of an own plant, as an object.
pub(super) trait Described: Debug + Send + Sync {
    fn kind(&self) -> &'static str;
    fn dims(&self) -> Dims;
    fn table(&self) -> Table;
    fn scaling(&self) -> Scaling;
    fn names(&self) -> FamilyNames;
    fn safe_law(&self) -> SafeLaw;
    fn rule(&self, x: &[f64], must: Option<usize>, u: &mut [f64]) -> Option<usize>;
    /// The same plant with the numbers of [`OwnPlant::UNCERTAIN`] multiplied.
    fn scaled(&self, factor: &mut dyn FnMut() -> f64) -> Arc<dyn Described>;
    fn object(&self, seconds: f64) -> Arc<dyn Object>;
}

/// Data of an own plant.
#[derive(Clone, Debug)]
pub struct OwnData {
    plant: Arc<dyn Described>,
    sample_time_s: f64,
}

impl PartialEq for OwnData {
    fn eq(&self, other: &Self) -> bool {
        self.plant.kind() == other.plant.kind()
            && self.plant.table() == other.plant.table()
            && self.sample_time_s == other.sample_time_s
    }
}

impl Family for OwnData {
    const KIND: &'static str = "own";
    type Simulator<T: Real> = Own<T>;

    /// Without a registered kind there is nothing to read.
    fn read(_table: Table, at: &ReadAt<'_>) -> Result<Loaded<Self>> {
        Err(at.place("kind").error(
            "\"own\"",
            "the kind of a plant that this program registers (docs/add-a-plant.md)",
        ))
    }

    fn kind(&self) -> &'static str {
        self.plant.kind()
    }

    fn to_table(&self) -> Table {
        self.plant.table()
    }

    fn dims(&self) -> Dims {
        self.plant.dims()
    }

    fn build<T: Real>(&self) -> Own<T> {
        Own::new(self.plant.dims(), self.plant.object(self.sample_time_s))
    }

    fn disturbance(&self) -> Disturbance {
        Disturbance::Normal(self.plant.dims().noise)
    }

    fn set_sample_time(&mut self, seconds: f64) {
        self.sample_time_s = seconds;
    }

    fn scale_parameters(&mut self, factor: &mut dyn FnMut() -> f64) {
        self.plant = self.plant.scaled(factor);
    }

    fn baseline_names(&self) -> &'static [&'static str] {
        let dims = self.plant.dims();
        let (x, mut u) = (vec![0.0; dims.state], vec![0.0; dims.control]);
        match self.plant.rule(&x, None, &mut u) {
            Some(_) => &[RULE],
            None => &[],
        }
    }

    fn baseline(&self, name: &str, _setting: &BaselineSetting<'_>) -> Result<Option<Baseline>> {
        Ok(self.baseline_names().contains(&name).then(|| Baseline {
            name: RULE,
            description: format!("the rule that {} brings along", self.plant.kind()),
            policy: Box::new(Rule(Arc::clone(&self.plant))),
        }))
    }

    fn scaling(&self) -> Scaling {
        self.plant.scaling()
    }

    fn names(&self) -> FamilyNames {
        self.plant.names()
    }

    fn safe_law(&self) -> SafeLaw {
        self.plant.safe_law()
    }
}

/// The classical controller of an own plant.
struct Rule(Arc<dyn Described>);

impl ReferencePolicy for Rule {
    fn act(&self, _t: usize, x: &[f64], u: &mut [f64]) -> usize {
        u.fill(0.0);
        self.0.rule(x, None, u).unwrap_or(0)
    }

    fn act_in(&self, mode: usize, x: &[f64], u: &mut [f64]) -> bool {
        u.fill(0.0);
        self.0.rule(x, Some(mode), u).is_some()
    }
}

/// Multiplies every number of the named keys.
fn scale(table: &mut Table, keys: &[&str], factor: &mut dyn FnMut() -> f64) {
    fn each(value: &mut Value, factor: &mut dyn FnMut() -> f64) {
        match value {
            Value::Float(number) => *number *= factor(),
            Value::Array(items) => items.iter_mut().for_each(|item| each(item, factor)),
            _ => {}
        }
    }
    for key in keys {
        if let Some(value) = table.get_mut(*key) {
            each(value, factor);
        }
    }
}

/// The refusal of a plant whose type does not keep to the rules of [`OwnPlant`].
fn refused(kind: &str, what: &str) -> Error {
    Error::Usage(format!("plant kind \"{kind}\": {what}"))
}

#[cfg(test)]
mod tests;
