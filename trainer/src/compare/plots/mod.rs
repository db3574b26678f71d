//! The plots of a comparison: learning curves, gap against dimension, modes, size and precision, switching.

mod gaps;
mod learning;
mod switching;

use std::collections::BTreeMap;

use gaps::{gap_dimension, gap_modes, gap_size};
use learning::learning_curves;
use switching::{modes_over_time, switching};

use super::cell::CellResult;
use super::grid::hidden_label;
use super::table::{groups, sample};
use crate::evaluate::reference::gap_percent;
use crate::report::svg::{Axis, Series};

/// Size of a panel in pixels.
const PANEL: (f64, f64) = (440.0, 320.0);
/// Least gap in percent for which an axis is logarithmic alone: below it that shows rounding, and at 0 nothing.
const LEAST_GAP: f64 = 1e-3;
/// Number of the palette's colour for references: grey.
const GREY: usize = 6;

/// Share of the episodes in each mode at each step (`[t][mode]`) under the best known control, by plant.
pub type OptimumShares = BTreeMap<String, Vec<Vec<f64>>>;

type Group<'a> = Vec<&'a CellResult>;

/// All plots: file name and SVG text.
#[must_use]
pub fn plots(results: &[CellResult], optimum: &OptimumShares) -> Vec<(&'static str, String)> {
    let groups = groups(results);
    let labels = Labels::new(&groups);
    let mut list = vec![(
        "learning-curves.svg",
        learning_curves(results, &groups, &labels),
    )];
    let has_gap = results.iter().any(|r| r.gap_to_best_known().is_some());
    if has_gap {
        list.push(("gap-dimension.svg", gap_dimension(&groups, &labels)));
        list.push(("gap-modes.svg", gap_modes(&groups, &labels)));
        list.push(("gap-size.svg", gap_size(&groups, &labels)));
    }
    list.push(("switching.svg", switching(&groups, &labels)));
    list.push((
        "modes-over-time.svg",
        modes_over_time(&groups, &labels, optimum),
    ));
    list
}

/// Names and looks of the lines: what differs between groups of one plant.
struct Labels {
    names: Vec<String>,
    algorithms: Vec<String>,
    /// Structures, with the hidden widths where several were asked for.
    variants: Vec<(String, Option<Vec<usize>>)>,
    structures: bool,
    hidden: bool,
}

impl Labels {
    fn new(groups: &[Group<'_>]) -> Self {
        let differ = |of: fn(&CellResult) -> String| {
            groups.iter().any(|group| of(group[0]) != of(groups[0][0]))
        };
        let mut labels = Self {
            names: Vec::new(),
            algorithms: distinct(groups.iter().map(|g| g[0].algo.clone())),
            variants: distinct(groups.iter().map(|g| variant(g[0]))),
            structures: differ(|r| r.structure.clone()),
            hidden: differ(|r| hidden_label(r.hidden.as_deref())),
        };
        labels.names = distinct(groups.iter().map(|g| labels.name(g[0], true)));
        labels
    }

    fn name(&self, result: &CellResult, with_size: bool) -> String {
        let mut name = result.algo.clone();
        if self.structures {
            name += &format!(" {}", result.structure);
        }
        if self.hidden && with_size {
            name += &format!(" {}", hidden_label(result.hidden.as_deref()));
        }
        name
    }

    /// Number of a line's place beside the others at one point of an axis.
    fn slot(&self, name: &str) -> usize {
        self.names.iter().position(|n| n == name).unwrap_or(0)
    }

    /// A series without points that looks as the lines of its algorithm and structure do: colour by algorithm, dashes and marks
    /// by structure, so that lines differ, up to six structures and sizes of networks in one plot. With one structure marks go by algorithm too: nobody needs the colour then.
    fn series(&self, result: &CellResult, name: &str) -> Series {
        let algorithm = self.algorithms.iter().position(|a| *a == result.algo);
        let algorithm = algorithm.unwrap_or(0);
        let own = variant(result);
        let variant = self.variants.iter().position(|v| *v == own).unwrap_or(0);
        Series {
            name: name.to_owned(),
            // Fewer algorithms than colours before the grey of the references.
            color: algorithm % GREY,
            dash: variant,
            shape: if self.variants.len() > 1 {
                variant
            } else {
                algorithm
            },
            ..Series::default()
        }
    }
}

fn variant(result: &CellResult) -> (String, Option<Vec<usize>>) {
    (result.structure.clone(), result.hidden.clone())
}

/// Distinct values in the order of their first appearance.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut list = Vec::new();
    for value in values {
        if !list.contains(&value) {
            list.push(value);
        }
    }
    list
}

/// Mean gap with the ends of its 95 % interval.
fn gap(group: &Group<'_>) -> Option<(f64, f64, f64)> {
    let sample = sample(group, CellResult::gap_to_best_known)?;
    let half = sample.half_width_95().unwrap_or(0.0);
    Some((sample.mean, sample.mean - half, sample.mean + half))
}

fn averaged_gap(result: &CellResult) -> Option<f64> {
    gap_percent(result.on.averaged_riccati_cost?, result.on.optimal_cost?)
}

fn reference(name: &str, value: f64, to: f64) -> Series {
    Series {
        name: name.into(),
        color: GREY,
        dash: 1,
        points: vec![(0.0, value), (to, value)],
        ..Series::default()
    }
}

/// What the gaps of these results are to; `None` where nothing is known of the plants.
fn compared_with<'a>(results: impl Iterator<Item = &'a CellResult>) -> Option<&'static str> {
    let (mut optimum, mut classical) = (false, false);
    for result in results {
        optimum |= result.on.optimal_cost.is_some();
        classical |= result.on.optimal_cost.is_none() && result.on.best_baseline_cost.is_some();
    }
    match (optimum, classical) {
        (true, false) => Some("the best known cost"),
        (false, true) => Some("the cheapest classical controller"),
        (true, true) => Some("the best known cost or the cheapest classical controller"),
        (false, false) => None,
    }
}

/// The axis of gaps: logarithmic where every one is positive, else logarithmic on both sides of 0. A bound that a certificate gives
/// makes the lower end of an interval below 0 meaningless; below a classical controller (`classical`) it is not.
fn gap_axis(label: &str, series: &[Series], classical: bool) -> Axis {
    let points = series.iter().flat_map(|s| &s.points).map(|p| p.1);
    let ends = series.iter().flat_map(|s| &s.spread).map(|s| s.1);
    let mut values = points.chain(ends.filter(|_| classical));
    if values.any(|v| v < LEAST_GAP) {
        Axis::symmetric_log(label)
    } else {
        Axis::log(label)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
