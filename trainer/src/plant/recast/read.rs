//! `[recast]` and `[[jump]]` of a plant file.

mod kinds;

use std::path::Path;

use serde::Deserialize;
use toml::Value;

use super::check::{check_cover, check_treatment, check_whole};
use super::{Jumps, Treatment};
use crate::plant::values::Place;
use crate::plant::{ControlBounds, Dims};
use crate::{Error, Result};
use kinds::read_jump;

/// `[recast]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::plant) struct RecastTable {
    pub(in crate::plant) treatment: Option<String>,
    pub(in crate::plant) width: Option<f64>,
}

/// `[[jump]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::plant) struct JumpTable {
    kind: String,
    controls: Option<Vec<i64>>,
    unit: Option<String>,
    corner: Option<f64>,
    cost: Option<f64>,
    minimum: Option<f64>,
    threshold: Option<f64>,
    breaks: Option<Vec<f64>>,
    prices: Option<Vec<f64>>,
    regions: Option<Vec<RegionTable>>,
}

/// An entry of `jump.regions`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegionTable {
    name: Option<String>,
    lower: Option<Value>,
    upper: Option<Value>,
    gain: Option<f64>,
    cost: Option<f64>,
    price: Option<f64>,
    mode: Option<i64>,
    #[serde(default)]
    forbidden: bool,
}

/// What jumps are read against.
pub(in crate::plant) struct Surroundings<'a> {
    pub(in crate::plant) dims: Dims,
    pub(in crate::plant) bounds: Option<&'a ControlBounds>,
    pub(in crate::plant) control_units: &'a [String],
    pub(in crate::plant) control_scale: &'a [f64],
    /// Rate limits are in the file.
    pub(in crate::plant) rate_limits: bool,
    /// Dwell times or masks are in the file.
    pub(in crate::plant) mode_rules: bool,
    pub(in crate::plant) file: &'a Path,
}

impl Surroundings<'_> {
    pub(super) fn range(&self, control: usize) -> (f64, f64) {
        match self.bounds {
            Some(bounds) => (bounds.lower[control], bounds.upper[control]),
            None => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }
}

/// Reads the jumps of a plant file; `None` if it has none.
pub(in crate::plant) fn read(
    table: Option<&RecastTable>,
    tables: &[JumpTable],
    treatment: Option<&str>,
    at: &Surroundings<'_>,
) -> Result<Option<Jumps>> {
    let place = |field: String| Place::new(at.file, field);
    if tables.is_empty() {
        return match (table, treatment) {
            (Some(_), _) => {
                Err(place("recast".into()).error("a plant without [[jump]]", "[[jump]] beside it"))
            }
            (None, Some(word)) => Err(Error::Usage(format!(
                "--set jumps: found `{word}` on a plant without jumps; allowed: a plant with [[jump]]"
            ))),
            (None, None) => Ok(None),
        };
    }
    let word = treatment
        .or(table.and_then(|table| table.treatment.as_deref()))
        .unwrap_or("regions");
    let width = table.and_then(|table| table.width);
    let treatment = match (word, width) {
        ("regions", _) => Treatment::Regions,
        ("raw", _) => Treatment::Raw,
        ("smoothed", Some(width)) if width > 0.0 && width.is_finite() => Treatment::Smoothed(width),
        ("smoothed", width) => {
            let found = width.map_or("nothing".into(), |width| width.to_string());
            let allowed = "a number greater than 0: half the width of a smooth step";
            return Err(place("recast.width".into()).error(found, allowed));
        }
        (other, _) => {
            let allowed = "\"regions\", \"raw\" or \"smoothed\"";
            return Err(place("recast.treatment".into()).error(format!("{other:?}"), allowed));
        }
    };
    let mut list = Vec::new();
    let mut taken = vec![false; at.dims.control];
    for (index, table) in tables.iter().enumerate() {
        let place = place(format!("jump[{index}]"));
        for jump in read_jump(table, &place, at)? {
            for &control in &jump.controls {
                if std::mem::replace(&mut taken[control], true) {
                    let found = format!("control {control}, which another jump has");
                    return Err(field(&place, "controls").error(found, "each control in one jump"));
                }
            }
            check_cover(&jump, &place, at)?;
            check_treatment(&jump, treatment, &place)?;
            list.push(jump);
        }
    }
    let jumps = Jumps { list, treatment };
    check_whole(&jumps, &place("jump".into()), at)?;
    Ok(Some(jumps))
}

pub(super) fn field<'a>(place: &Place<'a>, key: &str) -> Place<'a> {
    Place::new(place.file, format!("{}.{key}", place.field))
}
