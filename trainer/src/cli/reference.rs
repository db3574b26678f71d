//! `hpo reference`: the optimum with certified bounds, and what simple controllers reach.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::Result;
use crate::evaluate::reference::{ReferenceEvent, ReferenceReport, compute_within, gap_percent};
use crate::numeric::Purpose;
use crate::plant::{PlantModel, load_plant, read_states};

/// Evaluation states that are drawn where neither file nor plant gives any.
const DRAWN_STATES: usize = 1024;
/// Quadratic forms that the table shows.
const SHOWN_FORMS: usize = 8;

/// Compute what a plant can be controlled for: optimum, certified lower bound, fixed modes,
/// round robin, averaged Riccati.
#[derive(Debug, Parser)]
pub struct ReferenceArgs {
    /// A ready plant (see `hpo plants`), switched-lqr-N-M, or a plant file.
    plant: String,
    /// Initial states, one a line [default: the plant's test states, else 1024 drawn by seed].
    #[arg(long, value_name = "CSV")]
    states: Option<PathBuf>,
    /// Seed of drawn states and process noise; `hpo eval` with the same seed has the same states.
    #[arg(long, default_value_t = 1, value_parser = super::seed, allow_negative_numbers = true)]
    seed: u64,
    /// Replaces a value of the plant: seed (generated plants), horizon, state_clamp.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = super::key_value)]
    sets: Vec<(String, String)>,
    /// Most time for the certified lower bound in seconds; what is not certified then is said. Without it work is limited by counts.
    #[arg(long, value_name = "S", value_parser = certify_time)]
    certify_seconds: Option<Duration>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// A time of 0 to one day.
fn certify_time(text: &str) -> std::result::Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    let seconds = seconds.filter(|s| (0.0..=86_400.0).contains(s));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "allowed: 0 to 86400".into())
}

/// Runs the command; progress goes to stderr.
///
/// # Errors
/// Those of reading plant and states; [`crate::Error::Usage`] for a `--set` key that is not of the plant.
pub fn run(args: &ReferenceArgs) -> Result<()> {
    super::only_plant_keys(&args.sets)?;
    let model = load_plant(&args.plant, &args.sets)?;
    let states = evaluation_states(&model, args)?;
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let limit = args.certify_seconds;
    let report = compute_within(&model, &states, args.seed, limit, &|event| {
        bar.set_message(match event {
            ReferenceEvent::Sweep { done, total } => {
                format!("switched Riccati: step {done} of {total}")
            }
            ReferenceEvent::Certificate { width } => {
                format!("lower bound: pruning to {width:e}")
            }
            ReferenceEvent::Controllers => "simple controllers".into(),
        });
    });
    bar.finish_and_clear();
    if args.json {
        super::output::print_json(&report)?;
    } else {
        println!("{}", table(&report).trim_end());
    }
    Ok(())
}

/// States of the file, else the plant's own, else drawn.
fn evaluation_states(model: &PlantModel, args: &ReferenceArgs) -> Result<Vec<Vec<f64>>> {
    let n = model.dims().state;
    if let Some(path) = &args.states {
        return read_states(path, n);
    }
    if let Some(states) = model.test_states() {
        return Ok(states.to_vec());
    }
    Ok(model.draw_states(args.seed, Purpose::Evaluation, DRAWN_STATES))
}

/// The report for people, with gaps to the best known cost.
fn table(report: &ReferenceReport) -> String {
    let of_baselines = report.baselines.iter();
    let of_baselines = of_baselines.map(|b| (b.name.clone(), Some(b.mean_cost)));
    let mut rows: Vec<(String, Option<f64>)> = vec![
        ("certified lower bound".into(), report.lower_bound),
        ("optimum (best known)".into(), report.optimal_cost),
        ("averaged Riccati".into(), report.averaged_riccati_cost),
        ("round robin".into(), report.round_robin_cost),
    ];
    for (mode, &cost) in report.fixed_mode_costs.iter().enumerate() {
        rows.push((format!("fixed mode {mode}"), Some(cost)));
    }
    rows.extend(of_baselines);
    let mut text = format!(
        "{}: mean cost over {} initial states\n\n",
        report.plant, report.episodes
    );
    for (name, cost) in rows {
        let gap = cost
            .zip(report.optimal_cost)
            .and_then(|(cost, best)| gap_percent(cost, best))
            .map_or("-".into(), |gap| format!("{gap:+.3} %"));
        let cost = cost.map_or_else(|| "not valid".into(), |cost| format!("{cost:.6}"));
        text += &format!("  {name:<24}{cost:>16}{gap:>14}\n");
    }
    text.push('\n');
    if let Some(switches) = report.optimal_switches {
        text += &format!("  the best known control changes mode {switches:.1} times per episode\n");
    }
    if let (Some(width), Some(forms)) = (report.lower_bound_width, report.lower_bound_forms) {
        text += &format!("  certificate: at most {forms} quadratic forms, pruned to {width:e}\n");
    }
    if let Some(forms) = &report.stationary_forms {
        text += &format!(
            "  over an endless horizon the value is the least of {} quadratic forms (width 1e-3)\n",
            forms.len()
        );
        // More than a few are for --json.
        for form in forms.iter().take(SHOWN_FORMS) {
            let row = |row: &Vec<f64>| {
                let words: Vec<String> = row.iter().map(|v| format!("{v:.4}")).collect();
                format!("[{}]", words.join(", "))
            };
            let rows: Vec<String> = form.iter().map(row).collect();
            text += &format!("    [{}]\n", rows.join(", "));
        }
    }
    if report.clamped_steps > 0 {
        text += &format!("  state clamp met {} times\n", report.clamped_steps);
    }
    for baseline in &report.baselines {
        text += &format!("  {}: {}\n", baseline.name, baseline.description);
    }
    for note in &report.notes {
        text += &format!("  note: {note}\n");
    }
    text += &format!("  {:.1} s\n", report.seconds);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let args = ReferenceArgs::try_parse_from([
            "reference",
            "p.toml",
            "--set",
            "horizon=3",
            "--set",
            "seed=2",
            "--json",
        ])
        .unwrap();
        assert_eq!(args.sets.len(), 2);
        assert!(ReferenceArgs::try_parse_from(["reference", "p", "--set", "horizon"]).is_err());
        assert!(ReferenceArgs::try_parse_from(["reference", "p", "--set", "=3"]).is_err());
        let args = ReferenceArgs::try_parse_from(["reference", "p", "--set", "epochs=3"]).unwrap();
        let message = run(&args).unwrap_err().to_string();
        assert_eq!(
            message,
            "--set: found epochs; allowed here: seed, horizon, state_clamp, jumps"
        );
    }

    #[test]
    fn states_come_from_file_plant_or_seed() {
        let parse = |words: &[&str]| {
            ReferenceArgs::try_parse_from([&["reference"], words].concat()).unwrap()
        };
        let ready = load_plant("switched-lqr-3-2", &[]).unwrap();
        let generated = load_plant("switched-lqr-4-2", &[]).unwrap();
        let args = parse(&["p"]);
        assert_eq!(
            evaluation_states(&ready, &args).unwrap(),
            ready.test_states().unwrap()
        );
        let drawn = evaluation_states(&generated, &args).unwrap();
        assert_eq!(drawn.len(), 1024);
        let seeded = evaluation_states(&generated, &parse(&["p", "--seed", "2"])).unwrap();
        assert_ne!(drawn, seeded);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "1,2,3\n").unwrap();
        let args = parse(&["p", "--states", file.path().to_str().unwrap()]);
        assert_eq!(
            evaluation_states(&ready, &args).unwrap(),
            [vec![1.0, 2.0, 3.0]]
        );
        assert!(evaluation_states(&generated, &args).is_err());
    }

    #[test]
    fn missing_references_are_shown_as_such() {
        let report = ReferenceReport {
            plant: "p".into(),
            episodes: 1,
            optimal_cost: None,
            lower_bound: Some(1.0),
            fixed_mode_costs: vec![2.0],
            round_robin_cost: Some(3.0),
            stationary_forms: None,
            baselines: Vec::new(),
            averaged_riccati_cost: None,
            optimal_switches: None,
            lower_bound_width: None,
            lower_bound_forms: None,
            clamped_steps: 4,
            notes: vec!["why".into()],
            seconds: 0.0,
        };
        let text = table(&report);
        assert!(
            text.contains("optimum (best known)           not valid             -"),
            "{text}"
        );
        assert!(text.contains("note: why") && text.contains("state clamp met 4 times"));
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["optimal_cost"].is_null());
    }
}
