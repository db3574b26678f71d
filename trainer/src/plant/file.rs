//! Plant files: TOML text to a checked [`PlantModel`].

use std::path::Path;

use serde::Deserialize;
use toml::Value;

use super::constraints::{
    self, DwellTable, EnvelopeTable, LimitsTable, MasksTable, SupervisionTable,
};
use super::dynamics::{DynamicsTable, Origin};
use super::generator;
use super::model::{InitialBox, Names, PlantModel, default_target_class};
use super::states::parse_states;
use super::values::Place;
use super::{ControlBounds, Dims};
use crate::{Error, Result};

/// Longest horizon that is accepted.
const MAX_HORIZON: usize = 1_000_000;
/// Longest name or unit in bytes, as in the policy format.
const MAX_NAME: usize = 64;

/// A plant file as it stands, before any check.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlantFile {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    source: String,
    horizon: Option<i64>,
    discount: Option<f64>,
    state_clamp: Option<f64>,
    sample_time_s: Option<f64>,
    target_class: Option<i64>,
    noise: Option<Value>,
    dynamics: DynamicsTable,
    bounds: Option<BoundsTable>,
    limits: Option<LimitsTable>,
    dwell: Option<DwellTable>,
    masks: Option<MasksTable>,
    supervision: Option<SupervisionTable>,
    envelope: Option<EnvelopeTable>,
    #[serde(default)]
    initial: InitialTable,
    #[serde(default)]
    names: NamesTable,
    #[serde(default)]
    units: UnitsTable,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BoundsTable {
    lower: Value,
    upper: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct InitialTable {
    center: Option<Value>,
    half_width: Option<Value>,
    #[serde(default)]
    divide_by_sqrt_n: bool,
    test_states: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamesTable {
    state: Option<Vec<String>>,
    control: Option<Vec<String>>,
    modes: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitsTable {
    state: Option<Vec<String>>,
    control: Option<Vec<String>>,
}

/// Values of `--set` that replace those of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Overrides {
    pub(super) seed: Option<u64>,
    pub(super) horizon: Option<i64>,
    pub(super) state_clamp: Option<f64>,
}

/// Reads the text of a plant file.
///
/// `file` is named in errors; files that the text names are read from `origin`.
pub(super) fn parse_plant(
    text: &str,
    file: &Path,
    origin: &Origin,
    overrides: &Overrides,
) -> Result<PlantModel> {
    let raw: PlantFile = toml::from_str(text).map_err(|error| toml_error(&error, text, file))?;
    let place = |field: &str| Place::new(file, field);
    check_name(&raw.name, &place("name"))?;
    let dynamics = raw.dynamics.read(file, origin, overrides.seed)?;
    let mut data = dynamics.data;
    let n = data.dims().state;

    let horizon = overrides
        .horizon
        .or(raw.horizon)
        .or(dynamics.horizon.map(|t| t as i64))
        .ok_or_else(|| place("horizon").error("nothing", "a number of steps, 1 or more"))?;
    if !(1..=MAX_HORIZON as i64).contains(&horizon) {
        let allowed = format!("1 to {MAX_HORIZON} steps");
        return Err(place("horizon").error(horizon, allowed));
    }
    let discount = raw.discount.unwrap_or(1.0);
    if !(discount > 0.0 && discount <= 1.0) {
        return Err(place("discount").error(discount, "greater than 0, at most 1"));
    }
    if let Some(clamp) = overrides.state_clamp.or(raw.state_clamp) {
        data.state_clamp = positive(clamp, &place("state_clamp"))?;
    }
    let sample_time_s = positive(raw.sample_time_s.unwrap_or(0.01), &place("sample_time_s"))?;

    if let Some(value) = &raw.noise {
        let std = place("noise").vector(value, n)?;
        if let Some(i) = std.iter().position(|&s| s < 0.0) {
            return Err(place("noise")
                .at(i)
                .error(std[i], "a standard deviation, 0 or more"));
        }
        // All zero is no noise: the exact references then apply.
        if std.iter().any(|&s| s > 0.0) {
            data.noise_std = std;
        }
    }
    let dims = data.dims();
    if let Some(bounds) = &raw.bounds {
        data.bounds = Some(read_bounds(bounds, dims.control, file)?);
    }
    if let Some(limits) = &raw.limits
        && let Some(bounds) =
            constraints::bounds(limits, dims.control, data.bounds.is_some(), file)?
    {
        data.bounds = Some(bounds);
    }
    let tables = constraints::Tables {
        limits: raw.limits.as_ref(),
        dwell: raw.dwell.as_ref(),
        masks: raw.masks.as_ref(),
        supervision: raw.supervision.as_ref(),
        envelope: raw.envelope.as_ref(),
    };
    let setting = constraints::Setting {
        dims,
        horizon: horizon as usize,
        sample_time_s,
        bounds: data.bounds.as_ref(),
    };
    let constraints = constraints::read(&tables, &setting, file)?;
    let names = read_names(&raw, dims, file)?;
    let target_class = match raw.target_class {
        Some(class) => u32::try_from(class)
            .map_err(|_| place("target_class").error(class, format!("0 to {}", u32::MAX)))?,
        None => default_target_class(&raw.name, dims, dynamics.seed, &names, data.bounds.as_ref()),
    };
    let initial = read_initial(&raw.initial, n, file)?;
    let edge = |side: f64| -> Vec<f64> {
        let edges = initial.center.iter().zip(&initial.half_width);
        edges.map(|(center, half)| center + side * half).collect()
    };
    let watch = constraints::read_watch(&tables, &setting, (&edge(-1.0), &edge(1.0)), file)?;
    let test_states = match &raw.initial.test_states {
        Some(name) => Some(read_test_states(name, n, origin)?),
        None => None,
    };
    Ok(PlantModel {
        name: raw.name,
        description: raw.description,
        source: raw.source,
        horizon: horizon as usize,
        discount,
        sample_time_s,
        target_class,
        names,
        data,
        constraints,
        watch,
        initial,
        test_states,
        source_text: text.to_owned(),
    })
}

fn positive(value: f64, place: &Place) -> Result<f64> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(place.error(value, "a finite number greater than 0"))
    }
}

fn check_name(name: &str, place: &Place) -> Result<()> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        let allowed = format!("1 to {MAX_NAME} bytes without control characters");
        return Err(place.error(format!("{name:?}"), allowed));
    }
    Ok(())
}

fn read_bounds(table: &BoundsTable, m: usize, file: &Path) -> Result<ControlBounds> {
    let bounds = ControlBounds {
        lower: Place::new(file, "bounds.lower").vector(&table.lower, m)?,
        upper: Place::new(file, "bounds.upper").vector(&table.upper, m)?,
    };
    for i in 0..m {
        if bounds.lower[i] > bounds.upper[i] {
            let allowed = format!("at most bounds.upper[{i}] = {}", bounds.upper[i]);
            return Err(Place::new(file, "bounds.lower")
                .at(i)
                .error(bounds.lower[i], allowed));
        }
    }
    Ok(bounds)
}

fn read_names(raw: &PlantFile, dims: Dims, file: &Path) -> Result<Names> {
    let read = |field: &str, list: &Option<Vec<String>>, count: usize, default: &str| {
        let place = Place::new(file, field);
        let Some(list) = list else {
            let name = |i| {
                if default.is_empty() {
                    String::new()
                } else {
                    format!("{default}{i}")
                }
            };
            return Ok((0..count).map(name).collect());
        };
        if list.len() != count {
            return Err(place.error(format!("{} texts", list.len()), format!("{count} texts")));
        }
        for (i, name) in list.iter().enumerate() {
            // A unit may be empty, a name may not.
            if !(default.is_empty() && name.is_empty()) {
                check_name(name, &place.at(i))?;
            }
        }
        Ok(list.clone())
    };
    Ok(Names {
        state: read("names.state", &raw.names.state, dims.state, "x")?,
        control: read("names.control", &raw.names.control, dims.control, "u")?,
        modes: read("names.modes", &raw.names.modes, dims.modes, "mode")?,
        state_units: read("units.state", &raw.units.state, dims.state, "")?,
        control_units: read("units.control", &raw.units.control, dims.control, "")?,
    })
}

/// The paper's box where the file gives no half width.
fn read_initial(table: &InitialTable, n: usize, file: &Path) -> Result<InitialBox> {
    let center = match &table.center {
        Some(value) => Place::new(file, "initial.center").vector(value, n)?,
        None => vec![0.0; n],
    };
    let place = Place::new(file, "initial.half_width");
    let (mut half_width, divide) = match &table.half_width {
        Some(value) => (place.vector(value, n)?, table.divide_by_sqrt_n),
        None => (vec![generator::HALF_WIDTH; n], true),
    };
    if let Some(i) = half_width.iter().position(|&w| w < 0.0) {
        return Err(place.at(i).error(half_width[i], "0 or more"));
    }
    if divide {
        for width in &mut half_width {
            *width /= (n as f64).sqrt();
        }
    }
    Ok(InitialBox { center, half_width })
}

fn read_test_states(name: &str, n: usize, origin: &Origin) -> Result<Vec<Vec<f64>>> {
    let (path, bytes) = origin.read(name)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| Error::input(&path, "text", error, "UTF-8 text"))?;
    parse_states(text, &path, n)
}

/// Names field, finding and allowed values of what the TOML reader refused.
fn toml_error(error: &toml::de::Error, text: &str, file: &Path) -> Error {
    let message = error.message().trim().replace('\n', "; ");
    let line = error.span().map_or(1, |span| {
        text.get(..span.start)
            .map_or(1, |before| before.matches('\n').count() + 1)
    });
    // serde: "unknown field `x`, expected one of `a`, `b`".
    let (found, allowed) = match message.split_once(", expected ") {
        Some((found, allowed)) => (found.to_owned(), allowed.to_owned()),
        None => (message, "a plant file as in plants/*.toml".to_owned()),
    };
    Error::input(file, format!("line {line}"), found, allowed)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
