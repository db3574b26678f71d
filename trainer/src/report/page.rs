//! The HTML page of a run: one file, nothing loaded, no scripts.

use std::fmt::Write as _;

use super::episodes;
use super::figures::Figures;
use super::modes::legend;
use super::run::RunRecord;
use super::svg::{Axis, Chart, Scale, Series, document, escape, short};
use super::tables;
use super::trace::LoadedPolicy;
use crate::error::Result;

const STYLE: &str = include_str!("page.css");

/// Size of a chart in pixels.
pub(super) const CHART: (f64, f64) = (500.0, 290.0);

/// The page.
///
/// # Errors
/// [`crate::Error::Usage`] if the run's policy is not valid.
pub fn page(run: &RunRecord, figures: &Figures) -> Result<String> {
    let title = format!("{} on {}", run.algorithm(), run.plant.name());
    let mut body = String::new();
    body += &header(run, &title);
    body += &divergence(run);
    body += &cards(run, figures)?;
    body += &comparison(run, figures);
    body += &learning(run);
    body += &episodes::section(run, figures);
    body += &maps(run, figures);
    body += &tables::robustness(figures);
    body += &tables::structure(run)?;
    body += &settings(run);
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(&title)
    ))
}

/// A reference's name on the command line as people write it.
pub(super) fn controller_name(name: &str) -> String {
    match name {
        "averaged-riccati" => "averaged Riccati".into(),
        "switched-riccati" => "switched Riccati".into(),
        other => other.replace(['-', ':'], " "),
    }
}

/// A figure with a caption; an empty caption is left out.
pub(super) fn figure(svg: &str, caption: &str) -> String {
    if caption.is_empty() {
        format!("<figure>{svg}</figure>\n")
    } else {
        format!(
            "<figure>{svg}<figcaption>{}</figcaption></figure>\n",
            escape(caption)
        )
    }
}

pub(super) fn chart(chart: &Chart) -> String {
    let elements = chart.elements(CHART.0, CHART.1);
    figure(&document(CHART.0, CHART.1, &chart.title, &elements), "")
}

fn header(run: &RunRecord, title: &str) -> String {
    let dims = run.plant.dims();
    let description = run.plant.description();
    let mut text = format!("<header><h1>{}</h1>\n", escape(title));
    let _ = writeln!(
        text,
        "<p class=\"soft\">{}{} states, {} controls, {} modes, {} steps of {} s. Seed {}.</p></header>",
        if description.is_empty() {
            String::new()
        } else {
            format!("{}. ", escape(description.trim_end_matches('.')))
        },
        dims.state,
        dims.control,
        dims.modes,
        run.plant.horizon(),
        run.plant.sample_time_s(),
        run.seed
    );
    text
}

/// What was said when training diverged.
fn divergence(run: &RunRecord) -> String {
    match &run.diverged {
        Some(message) => format!(
            "<div class=\"note\"><b>Training diverged.</b> The page shows the best policy before that. What was said: {}</div>\n",
            escape(message)
        ),
        None => String::new(),
    }
}

pub(super) fn percent(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(v) if v.abs() >= 1e5 => format!("{v:+.1e} %"),
        Some(v) if v.abs() >= 100.0 => format!("{v:+.0} %"),
        Some(v) => format!("{v:+.2} %"),
    }
}

fn cost(value: f64) -> String {
    if value.abs() < 1e6 {
        format!("{value:.4}")
    } else {
        format!("{value:.3e}")
    }
}

/// A cost that fits on a card: to six significant digits, at most four behind the point.
fn short_cost(value: f64) -> String {
    if value.abs() < 1e6 {
        let before = value.abs().max(1.0).log10() as usize;
        let decimals = 5_usize.saturating_sub(before).min(4);
        format!("{value:.decimals$}")
    } else {
        cost(value)
    }
}

/// A classical controller's name, as `hpo eval` takes it.
fn classical_name(name: &str) -> &str {
    match name {
        "averaged-riccati" => "averaged Riccati",
        other => other,
    }
}

/// To three significant digits.
fn rounded(value: f64) -> String {
    short(format!("{value:.2e}").parse().unwrap_or(value))
}

fn cards(run: &RunRecord, figures: &Figures) -> Result<String> {
    let loaded = LoadedPolicy::new(&run.policy)?;
    let policy = loaded.policy();
    let own = figures.evaluation.mean_cost;
    let references = &figures.references;
    let classical = figures.classical.as_ref();
    let classical = classical.map(|(name, cost)| (classical_name(name), *cost));
    let certified = match figures.gap_percent_certified(own) {
        Some(gap) => format!("{} to the certified bound", percent(Some(gap))),
        None => "no certified bound".into(),
    };
    let (compared, difference, note) = match (figures.difference_percent(own), classical) {
        (Some(gap), None) => ("gap to the optimum".into(), percent(Some(gap)), certified),
        (Some(gap), Some((name, _))) => (
            format!("difference to {name}"),
            percent(Some(gap)),
            "the cheapest classical controller; no optimum is known".into(),
        ),
        (None, _) => (
            "gap to the optimum".into(),
            "none".into(),
            "no valid reference on this plant".into(),
        ),
    };
    let last = run.epochs.last();
    let best = match (references.optimal_cost, classical) {
        (Some(cost), _) => format!("best known {}", short_cost(cost)),
        (None, Some((name, cost))) => format!("{name} {}", short_cost(cost)),
        (None, None) => "best known: none is valid".into(),
    };
    let averaged = references.averaged_riccati_cost;
    let untrained = averaged
        .map(|cost| ("averaged Riccati", cost))
        .or(classical);
    let against = match untrained {
        Some((_, cost)) if own < cost => "better",
        Some(_) => "not better",
        None => "–",
    };
    let against_note = match untrained {
        Some((name, cost)) => {
            let relative = (own / cost - 1.0) * 100.0;
            format!("{} against {name}", percent(Some(relative)))
        }
        None => "averaged Riccati has no solution".into(),
    };
    let list = [
        (compared, difference, note),
        ("mean cost".into(), short_cost(own), best),
        ("against no training".into(), against.into(), against_note),
        (
            "policy".into(),
            format!("{:.1} KiB", run.policy.bytes().len() as f64 / 1024.0),
            format!(
                "{} numbers, {} choices",
                policy.parameters(),
                policy.choices()
            ),
        ),
        (
            "simulator calls".into(),
            last.map_or("0".into(), |e| rounded(e.env_steps as f64)),
            format!(
                "{} epochs, look-ahead included",
                last.map_or(0, |e| e.epoch)
            ),
        ),
        (
            "mode switches".into(),
            format!("{:.1}", figures.evaluation.switches_per_episode),
            match references.optimal_switches {
                Some(switches) => format!("per episode; best known control {switches:.1}"),
                None => "per episode".into(),
            },
        ),
    ];
    let mut text = String::from("<div class=\"cards\">\n");
    for (index, (name, value, more)) in list.iter().enumerate() {
        let class = if index == 0 { "card main" } else { "card" };
        let _ = writeln!(
            text,
            "<div class=\"{class}\"><div class=\"name\">{}</div><div class=\"value\">{}</div>\
             <div class=\"more\">{}</div></div>",
            escape(name),
            escape(value),
            escape(more)
        );
    }
    text += "</div>\n";
    Ok(text)
}

fn comparison(run: &RunRecord, figures: &Figures) -> String {
    let references = &figures.references;
    let mut rows: Vec<(String, Option<f64>, bool)> = vec![
        (
            "certified lower bound".into(),
            references.lower_bound,
            false,
        ),
        (
            "optimum (best known control)".into(),
            references.optimal_cost,
            false,
        ),
        (
            format!("{}, arg-max", run.algorithm()),
            Some(figures.evaluation.mean_cost),
            true,
        ),
        (
            format!("{}, sampled choices", run.algorithm()),
            Some(figures.sampled_cost),
            false,
        ),
        (
            format!(
                "start ({}), before the first epoch",
                run.settings.train.start
            ),
            figures.start_cost,
            false,
        ),
        (
            "averaged Riccati, one-step look-ahead".into(),
            references.averaged_riccati_cost,
            false,
        ),
        ("round robin".into(), references.round_robin_cost, false),
    ];
    for (mode, &cost) in references.fixed_mode_costs.iter().enumerate() {
        rows.push((format!("fixed mode {mode}"), Some(cost), false));
    }
    for baseline in &references.baselines {
        rows.push((baseline.name.clone(), Some(baseline.mean_cost), false));
    }
    let (count, own) = figures.states;
    let mut text = format!(
        "<section><h2>Against the references</h2>\n<p class=\"soft\">Mean undiscounted cost over {count} {}, standard \
         error of the policy's {:.3}. Every controller meets the same episodes.</p>\n",
        if own {
            "test states of the plant"
        } else {
            "initial states drawn for evaluation"
        },
        figures.evaluation.std_error
    );
    if references.optimal_cost.is_none() {
        let instead = match &figures.classical {
            Some((name, _)) => format!(
                " Differences are to {}, the cheapest classical controller.",
                classical_name(name)
            ),
            None => String::new(),
        };
        let _ = writeln!(
            text,
            "<div class=\"note\">No reference for the optimum is valid on this plant, so there is no gap.{}</div>",
            escape(&instead)
        );
    }
    for note in &references.notes {
        let _ = writeln!(text, "<div class=\"note\">{}</div>", escape(note));
    }
    let compared = match &figures.classical {
        Some((name, _)) => format!("difference to {}", classical_name(name)),
        None => "gap to the optimum".into(),
    };
    let _ = writeln!(
        text,
        "<div class=\"scroll\"><table><tr><th>controller</th><th>mean cost</th><th>{}</th></tr>",
        escape(&compared)
    );
    for (name, value, own) in rows {
        let _ = writeln!(
            text,
            "<tr{}><td>{}</td><td>{}</td><td>{}</td></tr>",
            if own { " class=\"own\"" } else { "" },
            escape(&name),
            value.map_or("not valid".into(), cost),
            percent(value.and_then(|v| figures.difference_percent(v)))
        );
    }
    text += "</table></div></section>\n";
    text
}

fn learning(run: &RunRecord) -> String {
    type Of = fn(&super::run::Epoch) -> Option<f64>;
    let line = |name: &str, color: usize, of: Of| Series {
        name: name.into(),
        color,
        points: run
            .epochs
            .iter()
            .filter_map(|e| Some((e.env_steps as f64, of(e)?)))
            .collect(),
        ..Series::default()
    };
    // A run that diverged at once has the start's cost alone: its axis goes up from 0 all the same.
    let first = if run.epochs.is_empty() { 1.0 } else { 0.0 };
    let x = || Axis::linear("simulator calls").with(0.0).with(first);
    let spans = |series: &Series| {
        let (low, high) = series
            .points
            .iter()
            .fold((f64::INFINITY, 0.0_f64), |(l, h), p| {
                (l.min(p.1), h.max(p.1))
            });
        high > 20.0 * low
    };
    let mut validation = line("validation, arg-max", 0, |e| e.validation_cost);
    let start = run.start_validation.map(|cost| (0.0, cost));
    validation.points.splice(0..0, start);
    let charts = [
        (
            "Cost",
            "cost per episode",
            vec![line("training, sampled", 5, |e| e.cost), validation],
        ),
        (
            "Entropy of the selector",
            "nats",
            vec![line("", 2, |e| e.entropy)],
        ),
        (
            "Gradient norms",
            "Euclidean norm",
            vec![
                line("selector", 0, |e| e.selector_gradient),
                line("laws", 1, |e| e.law_gradient),
            ],
        ),
        (
            "Error of the critic",
            "relative error",
            vec![line("", 3, |e| e.critic_error)],
        ),
    ];
    let mut text = String::from(
        "<section><h2>Learning</h2>\n<p class=\"soft\">Training cost is that of sampled choices in training episodes; \
         validation has its own states and the arg-max selector, and begins before the first epoch. The policy with the least validation cost is \
         the run's result.</p>\n<div class=\"charts\">\n",
    );
    for (title, label, series) in charts {
        let series: Vec<Series> = series
            .into_iter()
            .filter(|s| !s.points.is_empty())
            .collect();
        if series.is_empty() {
            continue;
        }
        let scale = if series.iter().any(spans) {
            Scale::Log
        } else {
            Scale::Linear
        };
        let y = Axis {
            scale,
            ..Axis::linear(label)
        };
        text += &self::chart(&Chart {
            title: title.into(),
            x: x(),
            y,
            series,
        });
    }
    text += "</div></section>\n";
    text
}

fn maps(run: &RunRecord, figures: &Figures) -> String {
    if figures.slices.is_empty() {
        return String::new();
    }
    let whose = match figures.beside {
        Some(name) => format!(
            "the policy (left) and {} (right). Where they differ, two modes often cost nearly the same",
            escape(&controller_name(name))
        ),
        None => "the policy alone, since no Riccati controller is valid on this plant".into(),
    };
    let mut text = format!(
        "<section><h2>Mode maps</h2>\n<p class=\"soft\">The mode over two coordinates of the state at t = 0, the others \
         at the centre of the initial states: {whose}.</p>\n"
    );
    let modes = run.plant.dims().modes;
    let width = 8.0 + 34.0 * modes.min(12) as f64;
    text += &document(width, 20.0, "modes", &legend(modes, 4.0, 14.0));
    text += "<div class=\"maps\">\n";
    for slice in &figures.slices {
        let size = 300.0;
        let mut elements = slice.policy.elements(size);
        let (mut width, mut caption) = (size, String::new());
        if let Some(reference) = &slice.reference {
            let _ = write!(
                elements,
                "<g transform=\"translate({size} 0)\">{}</g>",
                reference.elements(size)
            );
            width = 2.0 * size;
            let share = slice.policy.agreement_percent(reference);
            caption = format!("same mode on {share:.1} % of the slice");
        }
        let label = format!("modes over {} and {}", slice.policy.x.0, slice.policy.y.0);
        let svg = document(width, size + 18.0, &label, &elements);
        text += &figure(&svg, &caption);
    }
    text += "</div></section>\n";
    text
}

fn settings(run: &RunRecord) -> String {
    format!(
        "<section><h2>To make it again</h2>\n<pre class=\"command\">{}</pre>\n<p class=\"soft\">hpo {}</p>\n\
         <details><summary>All settings</summary><pre>{}</pre></details></section>\n",
        escape(&run.command()),
        escape(&run.version),
        escape(&run.settings_text)
    )
}
