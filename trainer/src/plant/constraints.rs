//! Constraints of a plant file: rate limits, dwell times, hysteresis, masks, and what the supervisor watches.
//!
//! They are data here. Their meaning stands in `policy_format::constraint`, which the training simulator and the
//! device both call.

use std::path::Path;

use policy_format::{FallbackKind, ModeRules, Supervision};
use serde::Deserialize;
use toml::{Table, Value};

use super::values::Place;
use super::{ControlBounds, Dims};
use crate::Result;

/// Longest time the policy format can hold, in microseconds.
const MAX_MICROS: f64 = 2_147_483_647.0;
/// Greatest number of periods the policy format can hold.
const MAX_PERIODS: i64 = 1_000_000;

/// Rate limits of the controls.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimits {
    /// Greatest change from period to period `[m]`, positive, rounded to binary32 (`f32::MAX`: none).
    pub step: Vec<f32>,
    /// Control that the first period is limited against `[m]`, inside the bounds, rounded to binary32.
    pub start: Vec<f32>,
}

/// Dwell times, hysteresis and masks, owned; [`OwnedModeRules::view`] is what acts.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedModeRules {
    /// What a choice of the held mode is worth more than its logit, at least 0.
    pub hysteresis: f32,
    /// Least number of periods per mode `[M]`, at least 1.
    pub dwell: Vec<u32>,
    /// Rows of bits as in [`ModeRules::follow`]; empty: no mask.
    pub follow: Vec<u32>,
}

impl OwnedModeRules {
    /// The rules as the policy format and the device see them.
    #[inline(always)]
    #[must_use]
    pub fn view(&self) -> ModeRules<'_> {
        ModeRules {
            hysteresis: self.hysteresis,
            dwell: &self.dwell,
            follow: &self.follow,
        }
    }
}

/// What binds a policy in the training simulator and on the device alike.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Constraints {
    /// Rate limits, if there are any.
    pub rate: Option<RateLimits>,
    /// Mode rules, if there are any.
    pub modes: Option<OwnedModeRules>,
}

impl Constraints {
    /// Whether nothing is constrained beyond the control bounds.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rate.is_none() && self.modes.is_none()
    }
}

/// What the supervisor watches on the device alone; training does not see it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watch {
    /// Lower, upper, typical lower, typical upper `[n]`, in order.
    pub envelope: Option<[Vec<f32>; 4]>,
    /// Monitors, fallback kind, rule of return.
    pub supervision: Option<Supervision>,
}

/// `[limits]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsTable {
    pub(super) u_min: Option<Value>,
    pub(super) u_max: Option<Value>,
    rate: Option<Value>,
    start: Option<Value>,
}

impl LimitsTable {
    /// Whether the table limits the rate of a control.
    pub(super) fn has_rate(&self) -> bool {
        self.rate.is_some()
    }
}

/// `[dwell]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DwellTable {
    steps: Option<Value>,
    hysteresis: Option<f64>,
}

/// `[masks]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MasksTable {
    follow: Vec<Vec<i64>>,
}

/// `[supervision]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SupervisionTable {
    fallback: Option<String>,
    recover_after: Option<i64>,
    deadline_s: Option<f64>,
    max_age_s: Option<f64>,
    frozen_after: Option<i64>,
}

/// `[envelope]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnvelopeTable {
    lower: Value,
    upper: Value,
    typical_lower: Option<Value>,
    typical_upper: Option<Value>,
}

/// Bounds given as `limits.u_min` and `limits.u_max`, which mean what `[bounds]` means.
pub(super) fn bounds(
    limits: &LimitsTable,
    m: usize,
    also_bounds: bool,
    file: &Path,
) -> Result<Option<ControlBounds>> {
    let place = |field: &str| Place::new(file, format!("limits.{field}"));
    let (lower, upper) = match (&limits.u_min, &limits.u_max) {
        (None, None) => return Ok(None),
        (Some(lower), Some(upper)) => (lower, upper),
        (Some(_), None) => return Err(place("u_max").error("nothing", "as many values as u_min")),
        (None, Some(_)) => return Err(place("u_min").error("nothing", "as many values as u_max")),
    };
    if also_bounds {
        return Err(place("u_min").error(
            "bounds here and in [bounds]",
            "either limits.u_min and limits.u_max, or [bounds]",
        ));
    }
    let bounds = ControlBounds {
        lower: place("u_min").vector(lower, m)?,
        upper: place("u_max").vector(upper, m)?,
    };
    for i in 0..m {
        if bounds.lower[i] > bounds.upper[i] {
            let allowed = format!("at most limits.u_max[{i}] = {}", bounds.upper[i]);
            return Err(place("u_min").at(i).error(bounds.lower[i], allowed));
        }
    }
    Ok(Some(bounds))
}

/// The tables as they stand in the file, any of them absent.
pub(super) struct Tables<'a> {
    pub(super) limits: Option<&'a LimitsTable>,
    pub(super) dwell: Option<&'a DwellTable>,
    pub(super) masks: Option<&'a MasksTable>,
    pub(super) supervision: Option<&'a SupervisionTable>,
    pub(super) envelope: Option<&'a EnvelopeTable>,
}

/// What the tables are read against.
pub(super) struct Setting<'a> {
    pub(super) dims: Dims,
    pub(super) horizon: usize,
    pub(super) sample_time_s: f64,
    pub(super) bounds: Option<&'a ControlBounds>,
}

/// Reads what binds a policy.
pub(super) fn read(tables: &Tables<'_>, at: &Setting<'_>, file: &Path) -> Result<Constraints> {
    Ok(Constraints {
        rate: match tables.limits {
            Some(table) => read_rate(table, at, file)?,
            None => None,
        },
        modes: read_modes(tables, at, file)?,
    })
}

fn read_rate(table: &LimitsTable, at: &Setting<'_>, file: &Path) -> Result<Option<RateLimits>> {
    let m = at.dims.control;
    let place = |field: &str| Place::new(file, format!("limits.{field}"));
    let Some(rate) = &table.rate else {
        return match table.start {
            Some(_) => Err(place("start").error("a start without a rate", "limits.rate beside it")),
            None => Ok(None),
        };
    };
    let mut step = Vec::with_capacity(m);
    for (i, rate) in place("rate").vector(rate, m)?.into_iter().enumerate() {
        // A rate beyond the range of binary32 limits nothing.
        let limit = (rate * at.sample_time_s).min(f64::from(f32::MAX)) as f32;
        if limit <= 0.0 {
            let allowed = "a number greater than 0, in control units per second";
            return Err(place("rate").at(i).error(rate, allowed));
        }
        step.push(limit);
    }
    let inside = |i: usize, u: f64| match at.bounds {
        Some(bounds) => u.clamp(bounds.lower[i], bounds.upper[i]),
        None => u,
    };
    let start = match &table.start {
        Some(start) => {
            let start = place("start").vector(start, m)?;
            if let Some(i) = (0..m).find(|&i| inside(i, start[i]) != start[i]) {
                let allowed = "a control inside the bounds";
                return Err(place("start").at(i).error(start[i], allowed));
            }
            start
        }
        None => (0..m).map(|i| inside(i, 0.0)).collect(),
    };
    Ok(Some(RateLimits {
        step,
        start: start.into_iter().map(|u| u as f32).collect(),
    }))
}

fn read_modes(
    tables: &Tables<'_>,
    at: &Setting<'_>,
    file: &Path,
) -> Result<Option<OwnedModeRules>> {
    let modes = at.dims.modes;
    if tables.dwell.is_none() && tables.masks.is_none() {
        return Ok(None);
    }
    let mut rules = OwnedModeRules {
        hysteresis: 0.0,
        dwell: vec![1; modes],
        follow: Vec::new(),
    };
    if let Some(table) = tables.dwell {
        if let Some(steps) = &table.steps {
            let place = Place::new(file, "dwell.steps");
            for (mode, steps) in place.vector(steps, modes)?.into_iter().enumerate() {
                if steps.fract() != 0.0 || !(1.0..=at.horizon as f64).contains(&steps) {
                    let allowed = format!(
                        "1 to {} periods, whole ones and no more than the horizon",
                        at.horizon
                    );
                    return Err(place.at(mode).error(steps, allowed));
                }
                rules.dwell[mode] = steps as u32;
            }
        }
        let hysteresis = table.hysteresis.unwrap_or(0.0);
        if !(hysteresis >= 0.0 && (hysteresis as f32).is_finite()) {
            let place = Place::new(file, "dwell.hysteresis");
            return Err(place.error(hysteresis, "a finite number, 0 or more (in logits)"));
        }
        rules.hysteresis = hysteresis as f32;
    }
    if let Some(table) = tables.masks {
        rules.follow = read_masks(table, modes, file)?;
    }
    Ok(Some(rules))
}

fn read_masks(table: &MasksTable, modes: usize, file: &Path) -> Result<Vec<u32>> {
    let place = Place::new(file, "masks.follow");
    if table.follow.len() != modes {
        let allowed = format!("{modes} lists, the modes that may follow each mode");
        return Err(place.error(format!("{} lists", table.follow.len()), allowed));
    }
    let words = ModeRules::row_words(modes);
    let mut bits = vec![0_u32; modes * words];
    for (mode, row) in table.follow.iter().enumerate() {
        if row.is_empty() {
            let allowed = "at least one mode: a mode that none may follow is a trap";
            return Err(place.at(mode).error("no mode", allowed));
        }
        for (i, &next) in row.iter().enumerate() {
            let next = usize::try_from(next).ok().filter(|&k| k < modes);
            let Some(next) = next else {
                let allowed = format!("a mode from 0 to {}", modes - 1);
                return Err(place.at(mode).at(i).error(row[i], allowed));
            };
            bits[mode * words + next / 32] |= 1 << (next % 32);
        }
    }
    Ok(bits)
}

/// Reads what the supervisor watches. Typical values are those of `typical` (lower, upper) unless the file states them.
pub(super) fn read_watch(
    tables: &Tables<'_>,
    at: &Setting<'_>,
    typical: (&[f64], &[f64]),
    file: &Path,
) -> Result<Watch> {
    Ok(Watch {
        envelope: match tables.envelope {
            Some(table) => Some(read_envelope(table, at.dims.state, typical, file)?),
            None => None,
        },
        supervision: match tables.supervision {
            Some(table) => Some(read_supervision(table, at, file)?),
            None => None,
        },
    })
}

fn read_envelope(
    table: &EnvelopeTable,
    n: usize,
    typical: (&[f64], &[f64]),
    file: &Path,
) -> Result<[Vec<f32>; 4]> {
    let place = |field: &str| Place::new(file, format!("envelope.{field}"));
    let lower = place("lower").vector(&table.lower, n)?;
    let upper = place("upper").vector(&table.upper, n)?;
    for i in 0..n {
        if lower[i] > upper[i] {
            let allowed = format!("at most envelope.upper[{i}] = {}", upper[i]);
            return Err(place("lower").at(i).error(lower[i], allowed));
        }
    }
    let inner = |field: &str, value: &Option<Value>, default: &[f64]| match value {
        Some(value) => {
            let values = place(field).vector(value, n)?;
            match (0..n).find(|&i| values[i] < lower[i] || values[i] > upper[i]) {
                Some(i) => Err(place(field).at(i).error(
                    values[i],
                    format!("inside the envelope, {} to {}", lower[i], upper[i]),
                )),
                None => Ok(values),
            }
        }
        None => Ok((0..n)
            .map(|i| default[i].clamp(lower[i], upper[i]))
            .collect()),
    };
    let low = inner("typical_lower", &table.typical_lower, typical.0)?;
    let high = inner("typical_upper", &table.typical_upper, typical.1)?;
    if let Some(i) = (0..n).find(|&i| low[i] > high[i]) {
        let allowed = format!("at most envelope.typical_upper[{i}] = {}", high[i]);
        return Err(place("typical_lower").at(i).error(low[i], allowed));
    }
    let single = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<_>>();
    let envelope = [single(lower), single(upper), single(low), single(high)];
    match envelope.iter().flatten().find(|value| !value.is_finite()) {
        Some(value) => Err(place("lower").error(value, "numbers within the range of binary32")),
        None => Ok(envelope),
    }
}

fn read_supervision(
    table: &SupervisionTable,
    at: &Setting<'_>,
    file: &Path,
) -> Result<Supervision> {
    let place = |field: &str| Place::new(file, format!("supervision.{field}"));
    let fallback = match table.fallback.as_deref() {
        None | Some("gain") => FallbackKind::Gain,
        Some("hold") => FallbackKind::Hold,
        Some("constant") => FallbackKind::Constant,
        Some(other) => {
            let allowed = "\"gain\", \"hold\" or \"constant\"";
            return Err(place("fallback").error(format!("{other:?}"), allowed));
        }
    };
    let periods = |field: &str, value: Option<i64>, least: i64| {
        let value = value.unwrap_or(0);
        if value != 0 && !(least..=MAX_PERIODS).contains(&value) {
            let allowed = format!("0 (off), or {least} to {MAX_PERIODS} periods");
            return Err(place(field).error(value, allowed));
        }
        Ok(value as u32)
    };
    let micros = |field: &str, value: Option<f64>, least: f64| {
        let Some(seconds) = value else {
            return Ok(0);
        };
        let micros = (seconds * 1e6).round();
        if !(seconds >= least && (1.0..=MAX_MICROS).contains(&micros)) {
            let allowed = format!("at least {least} s, at most {} s", MAX_MICROS / 1e6);
            return Err(place(field).error(seconds, allowed));
        }
        Ok(micros as u32)
    };
    Ok(Supervision {
        fallback,
        recover_after: periods("recover_after", table.recover_after, 1)?,
        // A deadline below the sample time would be missed at every step.
        deadline_us: micros("deadline_s", table.deadline_s, at.sample_time_s)?,
        max_age_us: micros("max_age_s", table.max_age_s, 1e-6)?,
        frozen_after: periods("frozen_after", table.frozen_after, 2)?,
    })
}

/// The tables of a self-contained plant file, as [`read`] and [`read_watch`] take them.
pub(super) fn to_tables(
    constraints: &Constraints,
    watch: &Watch,
    sample_time_s: f64,
) -> Vec<(&'static str, Table)> {
    let numbers =
        |values: &[f32]| Value::Array(values.iter().map(|&v| Value::Float(f64::from(v))).collect());
    let mut tables = Vec::new();
    if let Some(rate) = &constraints.rate {
        let per_second: Vec<_> = rate
            .step
            .iter()
            .map(|&step| Value::Float(rate_of(step, sample_time_s)))
            .collect();
        let mut table = Table::new();
        table.insert("rate".into(), Value::Array(per_second));
        table.insert("start".into(), numbers(&rate.start));
        tables.push(("limits", table));
    }
    if let Some(modes) = &constraints.modes {
        let mut dwell = Table::new();
        let steps = modes.dwell.iter().map(|&d| Value::Integer(d.into()));
        dwell.insert("steps".into(), Value::Array(steps.collect()));
        dwell.insert("hysteresis".into(), f64::from(modes.hysteresis).into());
        tables.push(("dwell", dwell));
        if !modes.follow.is_empty() {
            let count = modes.dwell.len() as u16;
            let rules = modes.view();
            let rows = (0..count).map(|held| {
                let row = (0..count).filter(|&next| rules.may_follow(held, next));
                Value::Array(row.map(|next| Value::Integer(next.into())).collect())
            });
            let mut masks = Table::new();
            masks.insert("follow".into(), Value::Array(rows.collect()));
            tables.push(("masks", masks));
        }
    }
    if let Some([lower, upper, typical_lower, typical_upper]) = &watch.envelope {
        let mut table = Table::new();
        table.insert("lower".into(), numbers(lower));
        table.insert("upper".into(), numbers(upper));
        table.insert("typical_lower".into(), numbers(typical_lower));
        table.insert("typical_upper".into(), numbers(typical_upper));
        tables.push(("envelope", table));
    }
    if let Some(supervision) = &watch.supervision {
        let mut table = Table::new();
        let kind = match supervision.fallback {
            FallbackKind::Gain => "gain",
            FallbackKind::Hold => "hold",
            FallbackKind::Constant => "constant",
        };
        table.insert("fallback".into(), kind.into());
        for (key, value) in [
            ("recover_after", supervision.recover_after),
            ("frozen_after", supervision.frozen_after),
        ] {
            table.insert(key.into(), Value::Integer(value.into()));
        }
        for (key, micros) in [
            ("deadline_s", supervision.deadline_us),
            ("max_age_s", supervision.max_age_us),
        ] {
            if micros > 0 {
                // Correctly rounded, so that it reads back to the same number.
                table.insert(key.into(), Value::Float(f64::from(micros) / 1e6));
            }
        }
        tables.push(("supervision", table));
    }
    tables
}

/// A rate per second that reads back to exactly this step.
fn rate_of(step: f32, sample_time_s: f64) -> f64 {
    // The quotient is within one rounding of a number whose product rounds to `step`; its f32 rounding absorbs that.
    f64::from(step) / sample_time_s
}

#[cfg(test)]
#[path = "constraints_tests.rs"]
mod tests;
