//! What `hpo eval` prints for a person.

use super::EvalReport;
use crate::compare::table::number;
use crate::evaluate::audit::Violations;
use crate::evaluate::robustness::{ControllerRow, RobustnessTable};

/// Prints an evaluation.
pub(super) fn report(report: &EvalReport) {
    let loop_ = report.perturb.as_deref().unwrap_or("nominal loop");
    println!(
        "{} on {}: {} episodes of {} steps, {loop_}",
        report.policy, report.plant, report.episodes, report.steps
    );
    println!(
        "mean cost   {:.6} (standard error {:.4}), {:.6} per step",
        report.mean_cost, report.std_error, report.cost_per_step
    );
    if let Some(sampled) = report.mean_cost_sampled {
        println!("sampled     {sampled:.6}");
    }
    match (report.reference_cost, report.gap_percent) {
        (Some(cost), Some(gap)) => println!("reference   {cost:.6}, gap {gap:+.3} %"),
        (Some(cost), None) => println!("reference   {cost:.6}"),
        (None, _) => println!("reference   none is valid here"),
    }
    if let (Some(name), Some(cost), Some(gap)) = (
        &report.baseline,
        report.baseline_cost,
        report.baseline_gap_percent,
    ) {
        println!("baseline    {name} {cost:.6}, difference {gap:+.3} %");
    }
    if let Some(gap) = report.gap_percent_certified {
        println!("certified   gap to the lower bound {gap:+.3} %");
    }
    println!(
        "switches    {:.2} per episode; {} clamped steps in {} episodes; {} fallback steps",
        report.switches_per_episode,
        report.clamped_steps,
        report.clamped_episodes,
        report.fallback_steps
    );
    let Violations {
        states,
        controls,
        rates,
        dwell,
        masks,
    } = report.violations;
    println!(
        "violations  {} (states {states}, controls {controls}, rates {rates}, dwell {dwell}, masks {masks})",
        report.violations.total()
    );
    if let (Some(margin), Some(accepted)) = (report.accept_percent, report.accepted) {
        let word = if accepted { "met" } else { "not met" };
        println!("acceptance  {word}: at least {margin} % below the baseline, without violations");
    }
    if let Some(controllers) = &report.controllers {
        println!("");
        header();
        rows(controllers);
    }
    notes(&report.notes);
}

/// Prints the table of a suite of perturbations.
pub(super) fn table(table: &RobustnessTable) {
    println!(
        "{} on {}: {} episodes of {} steps a row, the same draws in every row",
        table.policy, table.plant, table.episodes, table.steps
    );
    header();
    for scenario in &table.scenarios {
        println!("{} ({})", scenario.scenario, scenario.perturb);
        rows(&scenario.controllers);
    }
    notes(&table.notes);
}

fn header() {
    println!(
        "  {:<20}{:>12}{:>12}{:>12}{:>24}{:>10}{:>9}{:>9}{:>9}",
        "controller",
        "cost",
        "per step",
        "to nominal",
        "to averaged Riccati",
        "switches",
        "clamped",
        "episodes",
        "fallback"
    );
}

fn rows(controllers: &[ControllerRow]) {
    for row in controllers {
        let percent = |value: Option<f64>| match value {
            None => "-".to_owned(),
            Some(v) if v.abs() < 1e5 => format!("{v:+.2} %"),
            Some(v) => format!("{v:+.1e} %"),
        };
        let averaged = match row.averaged_percent_std_error {
            Some(error) => {
                let error = number(error, if error < 1e4 { 2 } else { 0 });
                format!("{} +- {error}", percent(row.averaged_percent))
            }
            None => "-".to_owned(),
        };
        println!(
            "  {:<20}{:>12}{:>12}{:>12}{:>24}{:>10.2}{:>9}{:>9}{:>9}",
            row.controller,
            number(row.mean_cost, 4),
            number(
                row.cost_per_step,
                if row.cost_per_step < 1e5 { 5 } else { 2 }
            ),
            percent(row.nominal_percent),
            averaged,
            row.switches_per_episode,
            row.clamped_steps,
            row.clamped_episodes,
            row.fallback_steps
        );
    }
}

fn notes(list: &[String]) {
    for note in list {
        println!("note: {note}");
    }
}
