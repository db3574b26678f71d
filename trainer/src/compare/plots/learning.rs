//! Learning curves: gap by simulator calls.

use super::{Group, Labels, PANEL, averaged_gap, compared_with, distinct, gap_axis, reference};
use crate::compare::cell::CellResult;
use crate::compare::statistics::Sample;
use crate::report::svg::{Axis, Chart, Series, charts};

/// A panel per plant: gap by simulator calls, mean over the seeds with the range as a band.
///
/// Validation states are drawn by seed, the same for every algorithm. So the validation cost is related to the
/// best one with the same seed, whose gap on the test states is known.
pub(super) fn learning_curves(
    results: &[CellResult],
    groups: &[Group<'_>],
    labels: &Labels,
) -> String {
    let mut list = Vec::new();
    for plant in distinct(groups.iter().map(|g| &g[0].on.plant)) {
        let own: Vec<&Group<'_>> = groups.iter().filter(|g| g[0].on.plant == *plant).collect();
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
                points,
                spread,
                ..labels.series(group[0], &name)
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
        let label = match compared_with(own.iter().map(|g| g[0])) {
            Some(with) => format!("gap to {with}, % (validation)"),
            None => "excess over the best run, % (validation)".into(),
        };
        let classical = own[0][0].on.optimal_cost.is_none();
        list.push(Chart {
            title: plant.clone(),
            x: Axis::linear("simulator calls, look-ahead included").with(0.0),
            y: gap_axis(&label, &series, classical),
            series,
        });
    }
    charts("Learning curves", &list, 3, PANEL)
}

/// A learning curve as gap in percent.
pub(super) fn calibrate(result: &CellResult, results: &[CellResult]) -> Vec<(f64, f64)> {
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
    let known = 1.0 + best.gap_to_best_known().unwrap_or(0.0) / 100.0;
    result
        .curve
        .iter()
        .map(|&(steps, cost)| {
            let gap = (cost / least(best) * known - 1.0) * 100.0;
            (steps as f64, gap)
        })
        .collect()
}

/// Mean and range of several curves at the places of the first, as far as all of them go.
#[expect(clippy::type_complexity, reason = "points and spread of a series")]
pub(super) fn over_seeds(curves: &[Vec<(f64, f64)>]) -> (Vec<(f64, f64)>, Vec<(f64, f64, f64)>) {
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

pub(super) fn interpolate(curve: &[(f64, f64)], x: f64) -> Option<f64> {
    let after = curve.iter().position(|p| p.0 >= x)?;
    let (x1, y1) = curve[after];
    if x1 == x || after == 0 {
        return (x1 == x).then_some(y1);
    }
    let (x0, y0) = curve[after - 1];
    Some(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
}
