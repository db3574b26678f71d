//! Closed-loop episodes in the report: states, controls, stage cost and mode ribbons.

use std::fmt::Write as _;

use super::figures::{Figures, Pair};
use super::modes::{legend, ribbon};
use super::page::{CHART, chart, controller_name, figure};
use super::run::RunRecord;
use super::svg::{Axis, Chart, Series, document, escape, text};
use super::trace::Trace;

/// Most coordinates that are drawn: more lines than colours tell nothing.
const LINES: usize = 6;
/// Colour of the controller beside the policy where the two share a chart.
const BESIDE: usize = 1;

/// The section of the page; empty without episodes.
pub(super) fn section(run: &RunRecord, figures: &Figures) -> String {
    let beside = figures.beside.map(controller_name);
    let mut out = String::from("<section><h2>Episodes</h2>\n");
    let _ = writeln!(
        out,
        "<p class=\"soft\">Closed loop from {} test states{}.</p>",
        figures.pairs.len(),
        match &beside {
            Some(name) => format!(": the policy (solid) and {} (dashed)", escape(name)),
            None => String::new(),
        }
    );
    for pair in &figures.pairs {
        out += &episode(run, pair, beside.as_deref());
    }
    out += "</section>\n";
    out
}

fn episode(run: &RunRecord, pair: &Pair, beside: Option<&str>) -> String {
    let cost = match &pair.reference {
        Some(reference) => format!(
            "cost {:.3}, {} {:.3}",
            pair.policy.cost(),
            beside.unwrap_or("reference"),
            reference.cost()
        ),
        None => format!("cost {:.3}", pair.policy.cost()),
    };
    let mut out = format!(
        "<h3>Test state {}: {}</h3>\n<div class=\"charts\">\n",
        pair.index,
        escape(&cost)
    );
    let names = run.plant.names();
    out += &coordinates("States", pair, &names.state, &names.state_units, |t| {
        &t.states
    });
    out += &coordinates(
        "Controls",
        pair,
        &names.control,
        &names.control_units,
        |t| &t.controls,
    );
    let line = |name: &str, color: usize, dashed: bool, trace: &Trace| Series {
        name: name.into(),
        color,
        dash: usize::from(dashed),
        points: steps(trace.costs.iter().copied()),
        ..Series::default()
    };
    let mut series = vec![line("policy", 0, false, &pair.policy)];
    if let Some(reference) = &pair.reference {
        series.push(line(beside.unwrap_or("reference"), BESIDE, true, reference));
    }
    out += &chart(&Chart {
        title: "Stage cost".into(),
        x: Axis::linear("step"),
        y: Axis::log("stage cost"),
        series,
    });
    out += &ribbons(pair, run.plant.dims().modes, beside);
    out += "</div>\n";
    out
}

fn steps(values: impl Iterator<Item = f64>) -> Vec<(f64, f64)> {
    values.enumerate().map(|(t, v)| (t as f64, v)).collect()
}

/// The largest coordinates of both episodes by time, the same colour for the same coordinate.
fn coordinates(
    title: &str,
    pair: &Pair,
    names: &[String],
    units: &[String],
    of: fn(&Trace) -> &Vec<Vec<f64>>,
) -> String {
    let mut order: Vec<usize> = (0..names.len()).collect();
    let greatest = |i: usize| {
        let values = of(&pair.policy).iter().map(|v| v[i].abs());
        values.fold(0.0, f64::max)
    };
    order.sort_by(|&a, &b| greatest(b).total_cmp(&greatest(a)));
    order.truncate(LINES);
    order.sort_unstable();
    let mut series = Vec::new();
    for (color, &i) in order.iter().enumerate() {
        let line = |trace: &Trace, dashed: bool| Series {
            name: if dashed {
                String::new()
            } else {
                names[i].clone()
            },
            color,
            dash: usize::from(dashed),
            points: steps(of(trace).iter().map(|v| v[i])),
            ..Series::default()
        };
        if let Some(reference) = &pair.reference {
            series.push(line(reference, true));
        }
        series.push(line(&pair.policy, false));
    }
    let mut shown: Vec<&str> = order.iter().map(|&i| units[i].as_str()).collect();
    shown.dedup();
    let label = match shown.as_slice() {
        [unit] if !unit.is_empty() => format!("{}, {unit}", title.to_lowercase()),
        _ => title.to_lowercase(),
    };
    let title = if names.len() > order.len() {
        format!("{title} (the {} largest of {})", order.len(), names.len())
    } else {
        title.to_owned()
    };
    chart(&Chart {
        title,
        x: Axis::linear("step"),
        y: Axis::linear(&label),
        series,
    })
}

/// The modes of both episodes as ribbons, one under the other.
fn ribbons(pair: &Pair, modes: usize, beside: Option<&str>) -> String {
    let (width, height) = (CHART.0, CHART.1);
    let mut out = String::new();
    text(&mut out, 4.0, 16.0, "Modes", "start", 13.5, "#111827", true);
    out += &legend(modes, 6.0, 36.0);
    let (left, across) = (8.0, width - 24.0);
    let switches = |t: &Trace| t.modes.windows(2).filter(|w| w[0] != w[1]).count();
    let mut row = |y: f64, name: &str, trace: &Trace| {
        let label = format!("{name}: {} switches", switches(trace));
        text(&mut out, left, y, &label, "start", 11.5, "#374151", false);
        out += &ribbon(&trace.modes, left, y + 8.0, across, 44.0);
    };
    row(72.0, "policy", &pair.policy);
    if let Some(reference) = &pair.reference {
        row(156.0, beside.unwrap_or("reference"), reference);
    }
    let count = pair.policy.modes.len();
    let bottom = if pair.reference.is_some() {
        224.0
    } else {
        140.0
    };
    for t in (0..count).step_by(count.div_ceil(10).max(1)) {
        let x = left + (t as f64 + 0.5) * across / count as f64;
        text(
            &mut out,
            x,
            bottom,
            &t.to_string(),
            "middle",
            11.0,
            "#4b5563",
            false,
        );
    }
    text(
        &mut out,
        left + across / 2.0,
        bottom + 20.0,
        "step",
        "middle",
        11.5,
        "#374151",
        false,
    );
    figure(&document(width, height, "Modes", &out), "")
}
