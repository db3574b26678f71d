//! Gap to the optimum, or to the cheapest classical controller, against dimension, modes, size and precision.

use super::{GREY, Group, Labels, PANEL, averaged_gap, compared_with, distinct, gap, gap_axis};
use crate::compare::cell::CellResult;
use crate::compare::table::sample;
use crate::report::svg::{Axis, Chart, Mark, Scale, Series, charts};

/// Least distance of two sizes, as a share of all of them, at which they still stand apart on a linear axis.
const APART: f64 = 0.06;

/// An axis of a few sizes, and where the points of several lines stand at each.
struct Across {
    axis: Axis,
    /// Least distance of two sizes, in logarithms where the axis is logarithmic.
    step: f64,
}

impl Across {
    /// For distinct sizes in rising order.
    fn new(label: &str, sizes: &[usize]) -> Self {
        let values: Vec<f64> = sizes.iter().map(|&v| v as f64).collect();
        let (first, last) = match values.as_slice() {
            [] => (0.0, 0.0),
            [first, .., last] => (*first, *last),
            [one] => (*one, *one),
        };
        let least = |values: &[f64]| {
            let steps = values.windows(2).map(|w| w[1] - w[0]);
            steps.reduce(f64::min)
        };
        let step = least(&values).unwrap_or(1.0);
        let mut across = Self {
            axis: Axis::linear(label),
            step,
        };
        if first > 0.0 && step < APART * (last - first) {
            let logs: Vec<f64> = values.iter().map(|v| v.ln()).collect();
            across.axis = Axis::log(label);
            across.step = least(&logs).unwrap_or(1.0);
        }
        let ticks = values.iter().map(|&v| (v, v.to_string()));
        across.axis.ticks = Some(ticks.collect());
        across.axis.include = vec![across.place(first, -0.3), across.place(last, 0.3)];
        across
    }

    /// A size moved by a share of the least distance.
    fn place(&self, size: f64, by: f64) -> f64 {
        match self.axis.scale {
            Scale::Log => size * (by * self.step).exp(),
            _ => size + by * self.step,
        }
    }
}

/// A panel per value of `panel`, with `x` across: mean gap with its 95 % interval, by algorithm.
fn gap_against(
    groups: &[Group<'_>],
    labels: &Labels,
    label: &str,
    x_label: &str,
    panel: impl Fn(&CellResult) -> usize,
    panel_title: impl Fn(usize) -> String,
    x: impl Fn(&CellResult) -> usize,
) -> String {
    let mut values = distinct(groups.iter().map(|g| panel(g[0])));
    values.sort_unstable();
    let mut list = Vec::new();
    for value in values {
        let own: Vec<&Group<'_>> = groups.iter().filter(|g| panel(g[0]) == value).collect();
        let mut xs = distinct(own.iter().map(|g| x(g[0])));
        xs.sort_unstable();
        let across = Across::new(x_label, &xs);
        let mut series = Vec::new();
        let names = distinct(own.iter().map(|g| labels.name(g[0], true)));
        for name in names {
            let members: Vec<&&Group<'_>> = own
                .iter()
                .filter(|g| labels.name(g[0], true) == name)
                .collect();
            // Error bars of several algorithms at one place stand beside each other.
            let count = labels.names.len() as f64;
            let by = (0.6 / count).min(0.12) * (labels.slot(&name) as f64 - (count - 1.0) / 2.0);
            let mut points: Vec<(f64, (f64, f64, f64))> = members
                .iter()
                .filter_map(|g| Some((across.place(x(g[0]) as f64, by), gap(g)?)))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            series.push(Series {
                mark: Mark::LineAndMarks,
                points: points.iter().map(|p| (p.0, p.1.0)).collect(),
                spread: points.iter().map(|p| (p.0, p.1.1, p.1.2)).collect(),
                ..labels.series(members[0][0], &name)
            });
        }
        let mut averaged: Vec<(f64, f64)> = own
            .iter()
            .filter_map(|g| Some((x(g[0]) as f64, averaged_gap(g[0])?)))
            .collect();
        averaged.sort_by(|a, b| a.0.total_cmp(&b.0));
        averaged.dedup();
        series.push(Series {
            name: "averaged Riccati (no training)".into(),
            color: GREY,
            dash: 1,
            shape: 3,
            mark: Mark::LineAndMarks,
            points: averaged,
            ..Series::default()
        });
        list.push(Chart {
            title: panel_title(value),
            x: across.axis,
            y: axis_of(&own, &series),
            series,
        });
    }
    charts(label, &list, 2, PANEL)
}

/// The axis of gaps of these groups.
fn axis_of(groups: &[&Group<'_>], series: &[Series]) -> Axis {
    let with = compared_with(groups.iter().map(|g| g[0]));
    let label = format!("gap to {}, %", with.unwrap_or("the best known cost"));
    let classical = groups.iter().any(|g| g[0].on.optimal_cost.is_none());
    gap_axis(&label, series, classical)
}

pub(super) fn gap_dimension(groups: &[Group<'_>], labels: &Labels) -> String {
    gap_against(
        groups,
        labels,
        "Gap against dimension",
        "number of states",
        |r| r.on.modes,
        |modes| format!("{modes} modes"),
        |r| r.on.n,
    )
}

pub(super) fn gap_modes(groups: &[Group<'_>], labels: &Labels) -> String {
    gap_against(
        groups,
        labels,
        "Gap against modes",
        "number of modes",
        |r| r.on.n,
        |n| format!("{n} states"),
        |r| r.on.modes,
    )
}

/// A panel per plant: gap by bytes of the trained numbers, in both precisions.
pub(super) fn gap_size(groups: &[Group<'_>], labels: &Labels) -> String {
    let mut list = Vec::new();
    for plant in distinct(groups.iter().map(|g| &g[0].on.plant)) {
        let own: Vec<&Group<'_>> = groups.iter().filter(|g| g[0].on.plant == *plant).collect();
        let mut series = Vec::new();
        for name in distinct(own.iter().map(|g| labels.name(g[0], false))) {
            let members: Vec<&&Group<'_>> = own
                .iter()
                .filter(|g| labels.name(g[0], false) == name)
                .collect();
            let places = |bytes: fn(&CellResult) -> usize, of: fn(&CellResult) -> Option<f64>| {
                let mut points: Vec<(f64, f64)> = members
                    .iter()
                    .filter_map(|g| Some((bytes(g[0]) as f64, sample(g, of)?.mean)))
                    .collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                points
            };
            let single = places(|r| r.size.weight_bytes, CellResult::gap_to_best_known);
            series.push(Series {
                mark: if single.len() > 1 {
                    Mark::LineAndMarks
                } else {
                    Mark::Filled
                },
                points: single,
                ..labels.series(members[0][0], &format!("{name}, f32"))
            });
            series.push(Series {
                mark: Mark::Hollow,
                points: places(
                    |r| r.size.weight_bytes_8_bit,
                    CellResult::gap_to_best_known_8_bit_weights,
                ),
                ..labels.series(members[0][0], &format!("{name}, 8-bit weights"))
            });
        }
        list.push(Chart {
            title: plant.clone(),
            x: Axis::log("bytes of the trained numbers"),
            y: axis_of(&own, &series),
            series,
        });
    }
    charts("Gap against size and precision", &list, 3, PANEL)
}
