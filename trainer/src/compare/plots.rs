//! The plots of a comparison: learning curves, gap against dimension, modes, size and precision, switching.

use std::collections::BTreeMap;

use super::cell::CellResult;
use super::grid::hidden_label;
use super::statistics::Sample;
use super::table::{groups, sample};
use crate::evaluate::reference::gap_percent;
use crate::report::modes::stacked_shares;
use crate::report::svg::{Axis, Chart, Mark, Series, panels};

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
    let has_gap = results.iter().any(|r| r.gap_percent.is_some());
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
    let sample = sample(group, |r| r.gap_percent)?;
    let half = sample.half_width_95().unwrap_or(0.0);
    Some((sample.mean, sample.mean - half, sample.mean + half))
}

fn averaged_gap(result: &CellResult) -> Option<f64> {
    gap_percent(result.on.averaged_riccati_cost?, result.on.optimal_cost?)
}

/// A panel per plant: gap by simulator calls, mean over the seeds with the range as a band.
///
/// Validation states are drawn by seed, the same for every algorithm. So the validation cost is related to the
/// best one with the same seed, whose gap on the test states is known.
fn learning_curves(results: &[CellResult], groups: &[Group<'_>], labels: &Labels) -> String {
    let mut list = Vec::new();
    for plant in distinct(groups.iter().map(|g| &g[0].on.plant)) {
        let own: Vec<&Group<'_>> = groups.iter().filter(|g| g[0].on.plant == *plant).collect();
        let calibrated = own[0][0].on.optimal_cost.is_some();
        let mut series = Vec::new();
        for group in &own {
            let curves: Vec<Vec<(f64, f64)>> = group
                .iter()
                .map(|result| calibrate(result, results))
                .filter(|curve| !curve.is_empty())
                .collect();
            let name = labels.name(group[0], true);
            let (points, spread) = over_seeds(&curves);
            series.push(Series {
                color: labels.color(&name),
                name,
                points,
                spread,
                ..Series::default()
            });
        }
        let last = own.iter().flat_map(|g| g.iter()).map(|r| r.env_steps).max();
        if let Some(value) = averaged_gap(own[0][0]) {
            series.push(reference(
                "averaged Riccati",
                value,
                last.unwrap_or(0) as f64,
            ));
        }
        let label = if calibrated {
            "gap to the best known cost, % (validation)"
        } else {
            "excess over the best run, % (validation)"
        };
        list.push(
            Chart {
                title: plant.clone(),
                x: Axis::linear("simulator calls, look-ahead included").with(0.0),
                y: Axis::log(label),
                series,
            }
            .elements(PANEL.0, PANEL.1),
        );
    }
    panels("Learning curves", &list, 3, PANEL)
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

/// A learning curve as gap in percent.
fn calibrate(result: &CellResult, results: &[CellResult]) -> Vec<(f64, f64)> {
    let least = |r: &CellResult| r.curve.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
    let same = |r: &&CellResult| {
        (&r.on.plant, r.seed, r.on.n) == (&result.on.plant, result.seed, result.on.n)
            && r.on.best_fixed_mode_cost == result.on.best_fixed_mode_cost
    };
    let best = results
        .iter()
        .filter(same)
        .min_by(|a, b| least(a).total_cmp(&least(b)));
    let Some(best) = best else { return Vec::new() };
    let known = 1.0 + best.gap_percent.unwrap_or(0.0) / 100.0;
    result
        .curve
        .iter()
        .map(|&(steps, cost)| {
            let gap = (cost / least(best) * known - 1.0) * 100.0;
            (steps as f64, gap.max(LEAST_GAP))
        })
        .collect()
}

/// Mean and range of several curves at the places of the first, as far as all of them go.
#[expect(clippy::type_complexity, reason = "points and spread of a series")]
fn over_seeds(curves: &[Vec<(f64, f64)>]) -> (Vec<(f64, f64)>, Vec<(f64, f64, f64)>) {
    let Some(first) = curves.first() else {
        return (Vec::new(), Vec::new());
    };
    first
        .iter()
        .filter_map(|&(x, _)| {
            let values: Option<Vec<f64>> = curves.iter().map(|c| interpolate(c, x)).collect();
            let sample = Sample::new(&values?)?;
            Some(((x, sample.mean), (x, sample.min, sample.max)))
        })
        .unzip()
}

fn interpolate(curve: &[(f64, f64)], x: f64) -> Option<f64> {
    let after = curve.iter().position(|p| p.0 >= x)?;
    let (x1, y1) = curve[after];
    if x1 == x || after == 0 {
        return (x1 == x).then_some(y1);
    }
    let (x0, y0) = curve[after - 1];
    Some(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
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

fn gap_dimension(groups: &[Group<'_>], labels: &Labels) -> String {
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

fn gap_modes(groups: &[Group<'_>], labels: &Labels) -> String {
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
fn gap_size(groups: &[Group<'_>], labels: &Labels) -> String {
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

/// Mode switches per episode, by plant, beside those of the best known control.
fn switching(groups: &[Group<'_>], labels: &Labels) -> String {
    let plants = distinct(groups.iter().map(|g| &g[0].on.plant));
    let mut series = Vec::new();
    let count = labels.names.len() + 1;
    let place = |plant: &String, slot: usize| {
        let index = plants.iter().position(|p| *p == plant).unwrap_or(0);
        index as f64 + 0.5 * ((slot as f64 + 0.5) / count as f64 - 0.5)
    };
    for (slot, name) in labels.names.iter().enumerate() {
        let own = groups.iter().filter(|g| labels.name(g[0], true) == *name);
        let (points, spread) = own
            .filter_map(|g| {
                let s = sample(g, |r| Some(r.switches_per_episode))?;
                let x = place(&g[0].on.plant, slot);
                Some(((x, s.mean), (x, s.min, s.max)))
            })
            .unzip();
        series.push(Series {
            name: name.clone(),
            color: labels.color(name),
            mark: Mark::Filled,
            points,
            spread,
            ..Series::default()
        });
    }
    let optimum: Vec<(f64, f64)> = plants
        .iter()
        .filter_map(|plant| {
            let group = groups.iter().find(|g| g[0].on.plant == **plant)?;
            Some((place(plant, count - 1), group[0].on.optimal_switches?))
        })
        .collect();
    series.push(Series {
        name: "best known control".into(),
        color: GREY,
        mark: Mark::Hollow,
        points: optimum,
        ..Series::default()
    });
    let mut axis = Axis::linear("");
    let short = |name: &str| {
        name.strip_prefix("switched-lqr-")
            .unwrap_or(name)
            .to_owned()
    };
    axis.ticks = Some(
        plants
            .iter()
            .enumerate()
            .map(|(i, plant)| (i as f64, short(plant)))
            .collect(),
    );
    axis.include = vec![-0.4, plants.len() as f64 - 0.6];
    axis.label = "plant (mean, least and greatest over the seeds)".into();
    let width = (150.0 + 90.0 * plants.len() as f64).max(PANEL.0);
    let chart = Chart {
        title: "Mode switches per episode".into(),
        x: axis,
        y: Axis::linear("switches per episode").with(0.0),
        series,
    };
    let size = (width, PANEL.1 + 30.0);
    panels(
        "Mode switches per episode",
        &[chart.elements(size.0, size.1)],
        1,
        size,
    )
}

/// A row of panels per plant: share of the episodes in each mode over time, by algorithm, and of the best known
/// control.
fn modes_over_time(groups: &[Group<'_>], labels: &Labels, optimum: &OptimumShares) -> String {
    let size = (340.0, 220.0);
    let columns = labels.names.len() + usize::from(!optimum.is_empty());
    let mut list = Vec::new();
    for plant in distinct(groups.iter().map(|g| &g[0].on.plant)) {
        let mut row = Vec::new();
        for name in &labels.names {
            let group = groups
                .iter()
                .find(|g| g[0].on.plant == *plant && labels.name(g[0], true) == *name);
            if let Some(group) = group {
                let title = format!("{plant}: {name}");
                row.push(stacked_shares(&title, &mean_shares(group), size));
            }
        }
        if let Some(shares) = optimum.get(plant) {
            let title = format!("{plant}: best known control");
            row.push(stacked_shares(&title, shares, size));
        }
        row.resize(columns.max(row.len()), String::new());
        list.extend(row);
    }
    panels("Share of the episodes in each mode", &list, columns, size)
}

/// Mean over the seeds.
fn mean_shares(group: &Group<'_>) -> Vec<Vec<f64>> {
    let mut mean = group[0].mode_shares.clone();
    for (t, row) in mean.iter_mut().enumerate() {
        for (mode, share) in row.iter_mut().enumerate() {
            let values = group.iter().filter_map(|r| r.mode_shares.get(t)?.get(mode));
            *share = values.sum::<f64>() / group.len() as f64;
        }
    }
    mean
}

#[cfg(test)]
#[path = "plots_tests.rs"]
mod tests;
