//! Gap to the optimum against dimension, modes, size and precision.

use super::{GREY, Group, LEAST_GAP, Labels, PANEL, averaged_gap, distinct, gap};
use crate::compare::cell::CellResult;
use crate::compare::table::sample;
use crate::report::svg::{Axis, Chart, Mark, Series, panels};
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
        let mut series = Vec::new();
        let names = distinct(own.iter().map(|g| labels.name(g[0], true)));
        for name in names {
            let mut points: Vec<(f64, (f64, f64, f64))> = own
                .iter()
                .filter(|g| labels.name(g[0], true) == name)
                .filter_map(|g| Some((x(g[0]) as f64, gap(g)?)))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let color = labels.color(&name);
            // Error bars of several algorithms at one place stand beside each other.
            let step = xs.windows(2).map(|w| w[1] - w[0]).min().unwrap_or(1) as f64;
            let shift = 0.05 * step * (color as f64 - (labels.names.len() as f64 - 1.0) / 2.0);
            series.push(Series {
                name,
                color,
                mark: Mark::LineAndMarks,
                points: points
                    .iter()
                    .map(|p| (p.0 + shift, p.1.0.max(LEAST_GAP)))
                    .collect(),
                spread: points
                    .iter()
                    .map(|p| (p.0 + shift, p.1.1, p.1.2.max(LEAST_GAP)))
                    .collect(),
                ..Series::default()
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
            dashed: true,
            mark: Mark::LineAndMarks,
            points: averaged,
            ..Series::default()
        });
        let mut axis = Axis::linear(x_label);
        axis.ticks = Some(xs.iter().map(|&v| (v as f64, v.to_string())).collect());
        let step = xs.windows(2).map(|w| w[1] - w[0]).min().unwrap_or(1) as f64;
        let (first, last) = (xs.first().copied(), xs.last().copied());
        axis.include = vec![
            first.unwrap_or(0) as f64 - 0.3 * step,
            last.unwrap_or(0) as f64 + 0.3 * step,
        ];
        list.push(
            Chart {
                title: panel_title(value),
                x: axis,
                y: Axis::log("gap to the best known cost, %"),
                series,
            }
            .elements(PANEL.0, PANEL.1),
        );
    }
    panels(label, &list, 2, PANEL)
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
            let color = labels.color(&labels.name(members[0][0], true));
            let places = |bytes: fn(&CellResult) -> usize, of: fn(&CellResult) -> Option<f64>| {
                let mut points: Vec<(f64, f64)> = members
                    .iter()
                    .filter_map(|g| Some((bytes(g[0]) as f64, sample(g, of)?.mean.max(LEAST_GAP))))
                    .collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                points
            };
            let single = places(|r| r.size.weight_bytes, |r| r.gap_percent);
            series.push(Series {
                name: format!("{name}, f32"),
                color,
                mark: if single.len() > 1 {
                    Mark::LineAndMarks
                } else {
                    Mark::Filled
                },
                points: single,
                ..Series::default()
            });
            let rounded = places(
                |r| r.size.weight_bytes_8_bit,
                |r| r.gap_percent_8_bit_weights,
            );
            if !rounded.is_empty() {
                series.push(Series {
                    name: format!("{name}, 8-bit weights"),
                    color,
                    mark: Mark::Hollow,
                    points: rounded,
                    ..Series::default()
                });
            }
        }
        list.push(
            Chart {
                title: plant.clone(),
                x: Axis::log("bytes of the trained numbers"),
                y: Axis::log("gap to the best known cost, %"),
                series,
            }
            .elements(PANEL.0, PANEL.1),
        );
    }
    panels("Gap against size and precision", &list, 3, PANEL)
}
