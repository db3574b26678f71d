//! Tables of the report: perturbations, and the parts of the policy.

use std::fmt::Write as _;

use policy_format::InputKind;

use super::figures::{Figures, LongNoise};
use super::page::{controller_name, percent};
use super::run::RunRecord;
use super::svg::escape;
use super::trace::LoadedPolicy;
use crate::error::Result;
use crate::evaluate::robustness::{ControllerRow, RobustnessTable};

/// Costs under the standard perturbations, and beyond the horizon where that was asked for, controller by controller.
pub(super) fn robustness(figures: &Figures) -> String {
    let mut text = section(
        "When plant and model differ",
        &format!(
            "Mean cost over {} test states when something goes wrong that no controller knows of; the same draws for \
             each. Under it: percent above the same controller's cost without perturbation.",
            figures.robustness.episodes
        ),
        &figures.robustness,
        true,
        |row| row.mean_cost,
    );
    if let Some(long) = &figures.long {
        let noise = match long.noise {
            LongNoise::Added => {
                " with process noise; the same draws for each controller. Under it: percent above the same \
                 controller's cost without the noise."
            }
            LongNoise::Own => {
                " with the plant's own process noise; the same draws for each controller."
            }
            LongNoise::Absent => {
                ". The plant has no process noise, and none can be added to its equations."
            }
        };
        text += &section(
            "Beyond the horizon",
            &format!(
                "Mean cost per step over {} episodes of {} steps{noise}",
                long.table.episodes, long.table.steps
            ),
            &long.table,
            long.noise == LongNoise::Added,
            |row| row.cost_per_step,
        );
    }
    text
}

/// `perturbed`: whether something is perturbed here, so that what it is and what it does can be shown.
fn section(
    title: &str,
    what: &str,
    table: &RobustnessTable,
    perturbed: bool,
    cost: fn(&ControllerRow) -> f64,
) -> String {
    let mut text = format!(
        "<section><h2>{title}</h2>\n<p class=\"soft\">{what}</p>\n<div class=\"scroll\"><table>\n<tr>\
         <th>perturbation</th>"
    );
    let names: Vec<&str> = table.scenarios.first().map_or_else(Vec::new, |s| {
        s.controllers
            .iter()
            .map(|c| c.controller.as_str())
            .collect()
    });
    for name in &names {
        let _ = write!(text, "<th>{}</th>", escape(&controller_name(name)));
    }
    text += "</tr>\n";
    for scenario in &table.scenarios {
        let specification = if !perturbed || scenario.perturb == scenario.scenario {
            String::new()
        } else {
            format!(
                "<br><span class=\"soft\">{}</span>",
                escape(&scenario.perturb)
            )
        };
        let _ = write!(
            text,
            "<tr><td>{}{specification}</td>",
            escape(&scenario.scenario)
        );
        let best = scenario
            .controllers
            .iter()
            .map(cost)
            .fold(f64::INFINITY, f64::min);
        for row in &scenario.controllers {
            let found = cost(row);
            let value = match found {
                small if small < 10.0 => format!("{small:.4}"),
                small if small < 1e5 => format!("{small:.2}"),
                large => format!("{large:.1e}"),
            };
            let value = if found <= best {
                format!("<b>{value}</b>")
            } else {
                value
            };
            let mut more = Vec::new();
            if perturbed {
                more.push(percent(row.nominal_percent));
            }
            if row.clamped_episodes > 0 {
                more.push(format!("{} diverged", row.clamped_episodes));
            }
            let _ = write!(text, "<td>{value}");
            if !more.is_empty() {
                let more = more.join(", ");
                let _ = write!(text, "<br><span class=\"soft\">{more}</span>");
            }
            text += "</td>";
        }
        text += "</tr>\n";
    }
    text += "</table></div>\n";
    for note in &table.notes {
        let _ = writeln!(text, "<div class=\"note\">{}</div>", escape(note));
    }
    text += "</section>\n";
    text
}

/// The policy's parts and their sizes.
///
/// # Errors
/// [`crate::Error::Usage`] if the policy is not valid.
pub(super) fn structure(run: &RunRecord) -> Result<String> {
    let loaded = LoadedPolicy::new(&run.policy)?;
    let policy = loaded.policy();
    let network = |hidden: Option<&[u16]>| match hidden {
        None => "none".to_owned(),
        Some(widths) => {
            let widths: Vec<String> = widths.iter().map(u16::to_string).collect();
            format!("tanh, {}", widths.join(" x "))
        }
    };
    let size = |blocks: &mut dyn Iterator<Item = policy_format::Block<'_>>| -> usize {
        blocks.map(|b| b.rows() * (b.columns() + 1)).sum()
    };
    let gains = &mut (0..policy.choices()).filter_map(|c| policy.gain(c));
    let rows = [
        (
            "input",
            match policy.input_kind() {
                InputKind::Affine => "shifted and scaled state".into(),
                InputKind::UnitNorm => "direction of the state, control scaled by its norm".into(),
            },
            String::new(),
        ),
        (
            "quadratic scores",
            if policy.has_scores() {
                "one per choice".into()
            } else {
                "none".into()
            },
            size(&mut policy.scores().into_iter()).to_string(),
        ),
        (
            "selector network",
            network(policy.selector_hidden()),
            size(&mut policy.selector_blocks()).to_string(),
        ),
        (
            "linear gains",
            if policy.has_gains() {
                "one per choice".into()
            } else {
                "none".into()
            },
            size(gains).to_string(),
        ),
        (
            "control network",
            network(policy.control_hidden()),
            size(&mut policy.control_blocks()).to_string(),
        ),
    ];
    let mut text = format!(
        "<section><h2>The policy</h2>\n<p class=\"soft\">{} bytes in f32, {} choices for {} modes.</p>\n\
         <div class=\"scroll\"><table><tr><th>part</th><th>what</th><th>numbers</th></tr>\n",
        run.policy.bytes().len(),
        policy.choices(),
        policy.modes()
    );
    for (part, what, numbers) in rows {
        let _ = writeln!(
            text,
            "<tr><td>{part}</td><td>{}</td><td>{numbers}</td></tr>",
            escape(&what)
        );
    }
    text += "</table></div></section>\n";
    Ok(text)
}
