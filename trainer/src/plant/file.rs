//! Plant files: TOML text to a checked [`PlantModel`].

use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use super::constraints::{
    self, DwellTable, EnvelopeTable, LimitsTable, MasksTable, SupervisionTable,
};
use super::dynamics::Origin;
use super::family::{Family, FamilyData, FamilyNames, KINDS, ReadAt};
use super::generator;
use super::model::{InitialBox, Names, PlantModel, default_target_class};
use super::own::{self, OwnData};
use super::recast::{self, JumpTable, Jumps, RecastTable};
use super::states::parse_states;
use super::units;
use super::values::Place;
use super::{ControlBounds, Dims, SwitchedLqrData};
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
    dynamics: Table,
    cost_from: Option<i64>,
    accept_percent: Option<f64>,
    bounds: Option<BoundsTable>,
    #[serde(default)]
    jump: Vec<Table>,
    recast: Option<Table>,
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
    pub(super) jumps: Option<String>,
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
    let dynamics = read_family(&raw.dynamics, file, origin, overrides.seed)?;
    let mut family = dynamics.data;
    let n = family.dims().state;

    let horizon = overrides
        .horizon
        .or(raw.horizon)
        .or(dynamics.horizon.map(|t| t as i64))
        .ok_or_else(|| place("horizon").error("nothing", "a number of steps, 1 or more"))?;
    if !(1..=MAX_HORIZON as i64).contains(&horizon) {
        let allowed = format!("1 to {MAX_HORIZON} steps");
        return Err(place("horizon").error(horizon, allowed));
    }
    family.check_horizon(horizon as usize, file)?;
    let discount = raw.discount.unwrap_or(1.0);
    if !(discount > 0.0 && discount <= 1.0) {
        return Err(place("discount").error(discount, "greater than 0, at most 1"));
    }
    if let Some(clamp) = overrides.state_clamp.or(raw.state_clamp) {
        let clamp = positive(clamp, &place("state_clamp"))?;
        if !family.set_state_clamp(clamp) {
            let allowed = format!(
                "nothing: a plant of kind \"{}\" has no such clamp",
                family.kind()
            );
            return Err(place("state_clamp").error(clamp, allowed));
        }
    }
    let sample_time_s = positive(raw.sample_time_s.unwrap_or(0.01), &place("sample_time_s"))?;
    family.set_sample_time(sample_time_s);

    if let Some(value) = &raw.noise {
        let std = place("noise").vector(value, n)?;
        if let Some(i) = std.iter().position(|&s| s < 0.0) {
            return Err(place("noise")
                .at(i)
                .error(std[i], "a standard deviation, 0 or more"));
        }
        // All zero is no noise: the exact references then apply.
        if std.iter().any(|&s| s > 0.0) && !family.set_noise(std) {
            let allowed = format!(
                "nothing: a plant of kind \"{}\" has no normal noise",
                family.kind()
            );
            return Err(place("noise").error("noise", allowed));
        }
    }
    let cost_from = raw.cost_from.unwrap_or(0);
    if !(0..horizon).contains(&cost_from) {
        let allowed = format!("0 to {}, less than the horizon", horizon - 1);
        return Err(place("cost_from").error(cost_from, allowed));
    }
    if let Some(percent) = raw.accept_percent
        && !(percent > 0.0 && percent < 100.0)
    {
        let allowed = "greater than 0, less than 100 (percent of the baseline's cost)";
        return Err(place("accept_percent").error(percent, allowed));
    }
    let own = family.dims();
    let mut bounds = None;
    if let Some(table) = &raw.bounds {
        bounds = Some(read_bounds(table, own.control, file)?);
    }
    if let Some(limits) = &raw.limits
        && let Some(limits) = constraints::bounds(limits, own.control, bounds.is_some(), file)?
    {
        bounds = Some(limits);
    }
    let names = read_names(&raw, own, &family.names(), file)?;
    let scaling = family.scaling();
    let (jumps, recast_table) = read_jumps(
        &raw,
        overrides.jumps.as_deref(),
        &recast::Surroundings {
            dims: own,
            bounds: bounds.as_ref(),
            control_units: &names.control_units,
            control_scale: &scaling.control_scale,
            rate_limits: raw.limits.as_ref().is_some_and(LimitsTable::has_rate),
            mode_rules: raw.dwell.is_some() || raw.masks.is_some(),
            file,
        },
    )?;
    let (dims, names) = match &jumps {
        None => (own, names),
        Some(jumps) => (
            jumps.dims(own),
            Names {
                modes: jumps.mode_names(&names.modes),
                ..names
            },
        ),
    };
    if jumps.is_some() {
        // Names of modes and regions together name a mode of the policy.
        for name in &names.modes {
            check_name(name, &place("jump.regions"))?;
        }
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
        bounds: bounds.as_ref(),
    };
    let constraints = constraints::read(&tables, &setting, file)?;
    let target_class = match raw.target_class {
        Some(class) => u32::try_from(class)
            .map_err(|_| place("target_class").error(class, format!("0 to {}", u32::MAX)))?,
        None => default_target_class(&raw.name, dims, dynamics.seed, &names, bounds.as_ref()),
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
        disturbance: family.disturbance(),
        family,
        jumps,
        jump_tables: raw.jump,
        recast_table,
        cost_from: cost_from as usize,
        accept_percent: raw.accept_percent,
        bounds,
        constraints,
        watch,
        initial,
        test_states,
        source_text: text.to_owned(),
    })
}

/// The jumps, and the table `[recast]` that says what has become of them.
fn read_jumps(
    raw: &PlantFile,
    treatment: Option<&str>,
    at: &recast::Surroundings<'_>,
) -> Result<(Option<Jumps>, Option<Table>)> {
    fn table<S: serde::de::DeserializeOwned>(table: &Table, place: &Place<'_>) -> Result<S> {
        let read = Value::Table(table.clone()).try_into();
        read.map_err(|error: toml::de::Error| {
            let message = error.message().trim().replace('\n', "; ");
            let (found, allowed) = match message.split_once(", expected ") {
                Some((found, allowed)) => (found.to_owned(), allowed.to_owned()),
                None => (
                    message,
                    "the keys of this table in docs/plant-file.md".to_owned(),
                ),
            };
            place.error(found, allowed)
        })
    }
    let place = |field: String| Place::new(at.file, field);
    let mut recast: Option<RecastTable> = None;
    if let Some(given) = &raw.recast {
        recast = Some(table(given, &place("recast".into()))?);
    }
    let jumps: Vec<JumpTable> = raw
        .jump
        .iter()
        .enumerate()
        .map(|(index, given)| table(given, &place(format!("jump[{index}]"))))
        .collect::<Result<_>>()?;
    let jumps = recast::read(recast.as_ref(), &jumps, treatment, at)?;
    let mut kept = raw.recast.clone();
    if let Some(word) = treatment {
        kept.get_or_insert_default()
            .insert("treatment".into(), word.into());
    }
    Ok((jumps, kept))
}

/// Reads `[dynamics]` as the family that its `kind` names; without one it is a switched linear-quadratic plant.
fn read_family(
    table: &Table,
    file: &Path,
    origin: &Origin,
    seed: Option<u64>,
) -> Result<super::family::Loaded<FamilyData>> {
    let mut table = table.clone();
    let at = ReadAt { file, origin, seed };
    let place = at.place("kind");
    let kind = match table.remove("kind") {
        None => SwitchedLqrData::KIND.to_owned(),
        Some(Value::String(kind)) => kind,
        Some(other) => return Err(place.error(other, "a text")),
    };
    FamilyData::read(&kind, table, &at).unwrap_or_else(|| {
        let known = KINDS.iter().filter(|known| **known != OwnData::KIND);
        let known: Vec<&str> = known.copied().chain(own::kinds()).collect();
        let allowed = format!("one of {}", known.join(", "));
        Err(place.error(format!("\"{kind}\""), allowed))
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

/// Names and units: the file's, else the family's, else `x0`, `u0`, `mode0` and so on.
fn read_names(raw: &PlantFile, dims: Dims, own: &FamilyNames, file: &Path) -> Result<Names> {
    let read = |field: &str, list: &Option<Vec<String>>, defaults: Vec<String>| {
        let place = Place::new(file, field);
        let Some(list) = list else {
            return Ok(defaults);
        };
        let count = defaults.len();
        if list.len() != count {
            return Err(place.error(format!("{} texts", list.len()), format!("{count} texts")));
        }
        for (i, name) in list.iter().enumerate() {
            // A unit may be empty, a name may not.
            if !(field.starts_with("units") && name.is_empty()) {
                check_name(name, &place.at(i))?;
            }
        }
        Ok(list.clone())
    };
    let numbered = |letter: &str, count: usize| -> Vec<(String, String)> {
        (0..count)
            .map(|i| (format!("{letter}{i}"), String::new()))
            .collect()
    };
    let or_numbered = |own: &[(String, String)], letter: &str, count: usize| {
        if own.is_empty() {
            numbered(letter, count)
        } else {
            own.to_vec()
        }
    };
    let (state, state_units) = or_numbered(&own.state, "x", dims.state).into_iter().unzip();
    let (control, control_units) = or_numbered(&own.control, "u", dims.control)
        .into_iter()
        .unzip();
    let modes = if own.modes.is_empty() {
        (0..dims.modes).map(|d| format!("mode{d}")).collect()
    } else {
        own.modes.clone()
    };
    let check_units = |field: &str, list: &Option<Vec<String>>, own: &[(String, String)]| {
        let own = own
            .iter()
            .map(|(_, unit)| Some(unit))
            .chain(std::iter::repeat(None));
        for (i, (unit, own)) in list.iter().flatten().zip(own).enumerate() {
            let place = Place::new(file, field).at(i);
            match own {
                // Numbers and equations of the kind are made for this unit.
                Some(own) if own != unit => {
                    return Err(place.error(
                        format!("\"{unit}\""),
                        format!("\"{own}\", the unit in which this kind of plant computes"),
                    ));
                }
                None if !units::is_known(unit) => {
                    return Err(place.error(format!("\"{unit}\""), units::ALLOWED));
                }
                _ => {}
            }
        }
        Ok(())
    };
    let names = Names {
        state: read("names.state", &raw.names.state, state)?,
        control: read("names.control", &raw.names.control, control)?,
        modes: read("names.modes", &raw.names.modes, modes)?,
        state_units: read("units.state", &raw.units.state, state_units)?,
        control_units: read("units.control", &raw.units.control, control_units)?,
    };
    check_units("units.state", &raw.units.state, &own.state)?;
    check_units("units.control", &raw.units.control, &own.control)?;
    Ok(names)
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
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    // Of a value the key that stands in front of it on its line; other errors name what they are about.
    let is_value = message.starts_with("invalid type") || message.starts_with("invalid value");
    let key = text
        .lines()
        .nth(line - 1)
        .and_then(|line| line.split_once('='))
        .filter(|_| is_value);
    let key = key.map(|(key, _)| format!(" ({})", key.trim()));
    let place = format!("line {line}{}", key.unwrap_or_default());
    // serde: "unknown field `x`, expected one of `a`, `b`".
    let (found, allowed) = match message.split_once(", expected ") {
        Some((found, "i64" | "u64" | "u32" | "usize")) => {
            (found.to_owned(), "a whole number".to_owned())
        }
        Some((found, "f64")) => (found.to_owned(), "a number".to_owned()),
        Some((found, allowed)) => (found.to_owned(), allowed.to_owned()),
        None => (message, "a plant file as in plants/*.toml".to_owned()),
    };
    Error::input(file, place, found, allowed)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
