//! Axes of charts: scales, round ticks, short numbers.

/// A number as short as a tick label: at most four digits, with k, M or G behind thousands.
#[must_use]
pub fn short(value: f64) -> String {
    let magnitude = value.abs();
    let (scaled, unit) = if magnitude >= 1e12 || (magnitude < 1e-3 && magnitude > 0.0) {
        return format!("{value:.0e}");
    } else if magnitude >= 1e9 {
        (value / 1e9, "G")
    } else if magnitude >= 1e6 {
        (value / 1e6, "M")
    } else if magnitude >= 1e4 {
        (value / 1e3, "k")
    } else {
        (value, "")
    };
    let text = format!("{scaled:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{}{unit}", if text == "-0" { "0" } else { text })
}

/// How an axis is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps.
    #[default]
    Linear,
    /// Equal factors; values at or below 0 are left out.
    Log,
    /// Equal steps up to 0.1 on both sides of 0, equal factors beyond, for values of both signs.
    SymmetricLog,
}

/// Where the linear part of [`Scale::SymmetricLog`] ends.
const LINEAR_PART: f64 = 0.1;

/// Label and division of an axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// Its division.
    pub scale: Scale,
    /// Ticks in place of round numbers: position and label.
    pub ticks: Option<Vec<(f64, String)>>,
    /// Values that the axis must reach.
    pub include: Vec<f64>,
}

impl Axis {
    /// A linear axis.
    #[must_use]
    pub fn linear(label: &str) -> Self {
        Self {
            label: label.into(),
            ..Self::default()
        }
    }

    /// A logarithmic axis.
    #[must_use]
    pub fn log(label: &str) -> Self {
        Self {
            scale: Scale::Log,
            ..Self::linear(label)
        }
    }

    /// A logarithmic axis for values of both signs, with 0 on it.
    #[must_use]
    pub fn symmetric_log(label: &str) -> Self {
        Self {
            scale: Scale::SymmetricLog,
            ..Self::linear(label)
        }
        .with(0.0)
    }

    /// The axis with a value that it must reach.
    #[must_use]
    pub fn with(mut self, value: f64) -> Self {
        self.include.push(value);
        self
    }

    pub(super) fn shows(&self, value: f64) -> bool {
        value.is_finite() && (self.scale != Scale::Log || value > 0.0)
    }

    pub(super) fn at(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
            Scale::SymmetricLog => {
                let at = if value.abs() <= LINEAR_PART {
                    value.abs() / LINEAR_PART
                } else {
                    1.0 + value.abs().log10() - LINEAR_PART.log10()
                };
                at.copysign(value)
            }
        }
    }
}

/// Multiples of powers of ten that are ticks of a logarithmic axis, from coarse to fine.
const MULTIPLES: [&[f64]; 4] = [
    &[1.0],
    &[1.0, 3.0],
    &[1.0, 2.0, 5.0],
    &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
];

/// Range and ticks of an axis in its own scale, wide enough for `range`.
pub(super) fn ticks(axis: &Axis, range: Option<(f64, f64)>) -> ((f64, f64), Vec<(f64, String)>) {
    let (mut low, mut high) = range.unwrap_or((0.0, 1.0));
    if high - low < 1e-9 * high.abs().max(1e-9) {
        let pad = if axis.scale == Scale::Log {
            0.3
        } else {
            (0.1 * high.abs()).max(0.5)
        };
        (low, high) = (low - pad, high + pad);
    }
    if let Some(given) = &axis.ticks {
        let pad = 0.06 * (high - low);
        let list = given.iter().map(|(v, label)| (axis.at(*v), label.clone()));
        return ((low - pad, high + pad), list.collect());
    }
    if axis.scale == Scale::Log {
        let pad = 0.04 * (high - low);
        (low, high) = (low - pad, high + pad);
        let every = (((high - low) / 8.0).ceil() as i32).max(1);
        let coarsest = match high - low {
            d if d > 2.5 => 0,
            d if d > 1.2 => 1,
            d if d > 0.5 => 2,
            _ => 3,
        };
        let mut list = Vec::new();
        // One tick alone would give no scale.
        for multiples in &MULTIPLES[coarsest..] {
            list.clear();
            for exponent in low.floor() as i32..=high.ceil() as i32 {
                for multiple in *multiples {
                    let value = multiple * 10.0_f64.powi(exponent);
                    let at = value.log10();
                    if exponent.rem_euclid(every) == 0 && (low..=high).contains(&at) {
                        list.push((at, short(value)));
                    }
                }
            }
            if list.len() > 1 {
                break;
            }
        }
        return ((low, high), list);
    }
    if axis.scale == Scale::SymmetricLog && low.abs().max(high.abs()) > 1.0 {
        let pad = 0.04 * (high - low);
        (low, high) = (low - pad, high + pad);
        let values = symmetric_values(low, high);
        let list = values.into_iter().map(|v| (axis.at(v), short(v)));
        let list = list.filter(|(at, _)| (low..=high).contains(at));
        return ((low, high), list.collect());
    }
    // Within the linear part the symmetric axis is a linear one in other units.
    let unit = match axis.scale {
        Scale::SymmetricLog => LINEAR_PART,
        _ => 1.0,
    };
    let raw = (high - low) / 5.0;
    let power = 10.0_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|&s| s >= raw * 0.999)
        .unwrap_or(10.0 * power);
    let (first, last) = (
        (low / step).floor() as i64,
        (high / step - 1e-9).ceil() as i64,
    );
    let list = (first..=last).map(|i| (i as f64 * step, short(i as f64 * step * unit)));
    ((first as f64 * step, last as f64 * step), list.collect())
}

/// Values for the ticks of a symmetric logarithmic axis between two places on it, and some beyond.
fn symmetric_values(low: f64, high: f64) -> Vec<f64> {
    let span = high - low;
    let (inside, multiples): (&[f64], &[f64]) = if span < 4.0 {
        (&[0.5], &[1.0, 2.0, 5.0])
    } else {
        (&[], &[1.0])
    };
    let every = (span / 12.0).ceil().max(1.0) as usize;
    let mut parts = inside.to_vec();
    for exponent in (0..=low.abs().max(high.abs()) as i32).step_by(every) {
        parts.extend(multiples.iter().map(|m| m * 10.0_f64.powi(exponent)));
    }
    let negative = parts.iter().rev().map(|p| -p * LINEAR_PART);
    let positive = parts.iter().map(|p| p * LINEAR_PART);
    negative.chain([0.0]).chain(positive).collect()
}
