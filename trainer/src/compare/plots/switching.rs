//! Switching behaviour: switches per episode and shares of the modes over time.

use super::{GREY, Group, Labels, OptimumShares, PANEL, distinct};
use crate::compare::table::sample;
use crate::report::modes::stacked_shares;
use crate::report::svg::{Axis, Chart, Mark, Series, charts, panels};

/// Mode switches per episode, by plant, beside those of the best known control.
pub(super) fn switching(groups: &[Group<'_>], labels: &Labels) -> String {
    let plants = distinct(groups.iter().map(|g| &g[0].on.plant));
    let mut series = Vec::new();
    let count = labels.names.len() + 1;
    let place = |plant: &String, slot: usize| {
        let index = plants.iter().position(|p| *p == plant).unwrap_or(0);
        index as f64 + 0.5 * ((slot as f64 + 0.5) / count as f64 - 0.5)
    };
    for (slot, name) in labels.names.iter().enumerate() {
        let own = groups.iter().filter(|g| labels.name(g[0], true) == *name);
        let own: Vec<&Group<'_>> = own.collect();
        let (points, spread) = own
            .iter()
            .filter_map(|g| {
                let s = sample(g, |r| Some(r.switches_per_episode))?;
                let x = place(&g[0].on.plant, slot);
                Some(((x, s.mean), (x, s.min, s.max)))
            })
            .unzip();
        series.push(Series {
            mark: Mark::Filled,
            points,
            spread,
            ..labels.series(own[0][0], name)
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
        shape: 3,
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
    // Marks of one plant stand beside each other, whatever their number.
    let each = (2.0 * 11.0 * count as f64).max(90.0);
    let width = (150.0 + each * plants.len() as f64).max(PANEL.0);
    let chart = Chart {
        title: "Mode switches per episode".into(),
        x: axis,
        y: Axis::linear("switches per episode").with(0.0),
        series,
    };
    let size = (width, PANEL.1 + 30.0);
    charts("Mode switches per episode", &[chart], 1, size)
}

/// A row of panels per plant: share of the episodes in each mode over time, by algorithm, and of the best known
/// control.
pub(super) fn modes_over_time(
    groups: &[Group<'_>],
    labels: &Labels,
    optimum: &OptimumShares,
) -> String {
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
