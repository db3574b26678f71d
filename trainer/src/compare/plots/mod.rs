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
use crate::report::svg::Series;

/// Size of a panel in pixels.
const PANEL: (f64, f64) = (440.0, 320.0);
/// Least gap that is drawn, in percent: below it a logarithmic axis shows rounding.
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

/// Names and colours of the lines: what differs between groups of one plant.
struct Labels {
    names: Vec<String>,
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
            structures: differ(|r| r.structure.clone()),
            hidden: differ(|r| hidden_label(r.hidden.as_deref())),
        };
        for group in groups {
            let name = labels.name(group[0], true);
            if !labels.names.contains(&name) {
                labels.names.push(name);
            }
        }
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

    /// Colours skip the grey of the references.
    fn color(&self, name: &str) -> usize {
        let index = self.names.iter().position(|n| n == name).unwrap_or(0);
        index % GREY
    }
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
        dashed: true,
        points: vec![(0.0, value), (to, value)],
        ..Series::default()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
