//! Results grouped over the seeds, as rows and as a table for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::cell::CellResult;
use super::columns::{References, Size};
use super::grid::hidden_label;
use super::statistics::Sample;
use super::verdict::{Comparison, Verdict, compare, verdicts};
use crate::evaluate::reference::gap_percent;

/// One plant, structure, network size and algorithm, over the seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Name of the plant.
    pub plant: String,
    /// States.
    pub n: usize,
    /// Modes.
    pub modes: usize,
    /// Structure.
    pub structure: String,
    /// Hidden widths asked for, such as `64x64`; `-` for the structure's own.
    pub hidden: String,
    /// Algorithm.
    pub algo: String,
    /// Number of seeds.
    pub seeds: usize,
    /// Number of seeds whose training diverged; they count with their last good policy.
    pub diverged: usize,
    /// Mean cost on the test states.
    pub mean_cost: f64,
    /// Mean gap to the best known cost in percent; null where no reference is valid, as the five behind it.
    pub gap_percent: Option<f64>,
    /// Mean gap before the first epoch; null also for lines of versions that did not write it.
    pub gap_percent_start: Option<f64>,
    /// Half the length of its 95 % confidence interval (Student's t over the seeds); null for one seed.
    pub gap_percent_half_width_95: Option<f64>,
    /// Least gap.
    pub gap_percent_min: Option<f64>,
    /// Greatest gap.
    pub gap_percent_max: Option<f64>,
    /// Mean gap to the certified lower bound.
    pub gap_percent_certified: Option<f64>,
    /// Mean gap to the plant's cheapest classical controller in percent; null where it has none, as the four behind it.
    pub baseline_gap_percent: Option<f64>,
    /// The same before the first epoch.
    pub baseline_gap_percent_start: Option<f64>,
    /// Half the length of its 95 % confidence interval; null for one seed.
    pub baseline_gap_percent_half_width_95: Option<f64>,
    /// Its least value.
    pub baseline_gap_percent_min: Option<f64>,
    /// Its greatest value.
    pub baseline_gap_percent_max: Option<f64>,
    /// Mean gap with 8-bit network weights; null for policies without networks.
    pub gap_percent_8_bit_weights: Option<f64>,
    /// Mean switches per episode.
    pub switches_per_episode: f64,
    /// Mean number of simulator calls.
    pub env_steps: f64,
    /// Mean seconds of training.
    pub seconds: f64,
    /// Size of the policy.
    #[serde(flatten)]
    pub size: Size,
    /// Settings that differ from the defaults.
    pub settings: std::collections::BTreeMap<String, serde_json::Value>,
}

/// What a comparison says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// References, by plant.
    pub references: Vec<References>,
    /// Rows, in the order of the cells.
    pub table: Vec<Row>,
    /// The first algorithm against each other one, by plant, structure and network size.
    pub tests: Vec<Comparison>,
    /// Over the plants, by pair of algorithms, structure and network size.
    pub verdicts: Vec<Verdict>,
}

/// Groups results (of any number of seeds) and compares `algorithms[0]` with the others.
#[must_use]
pub fn summarise(results: &[CellResult], algorithms: &[String]) -> Summary {
    let mut references: Vec<References> = Vec::new();
    for r in results {
        if references.iter().all(|known| known.plant != r.on.plant) {
            references.push(r.on.clone());
        }
    }
    let groups = groups(results);
    let tests = compare(&groups, algorithms);
    Summary {
        references,
        table: groups.iter().map(|group| row(group)).collect(),
        verdicts: verdicts(&tests),
        tests,
    }
}

/// Results that differ in the seed alone, in the order of their first.
#[must_use]
pub fn groups(results: &[CellResult]) -> Vec<Vec<&CellResult>> {
    let mut groups: Vec<Vec<&CellResult>> = Vec::new();
    for result in results {
        match groups.iter_mut().find(|group| same_group(group[0], result)) {
            Some(group) => group.push(result),
            None => groups.push(vec![result]),
        }
    }
    groups
}

/// Plants are told apart by name, size and reference: two of one name may differ in a setting.
fn same_group(a: &CellResult, b: &CellResult) -> bool {
    (
        &a.on.plant,
        a.on.n,
        &a.structure,
        &a.hidden,
        &a.algo,
        &a.settings,
    ) == (
        &b.on.plant,
        b.on.n,
        &b.structure,
        &b.hidden,
        &b.algo,
        &b.settings,
    ) && a.on.best_fixed_mode_cost == b.on.best_fixed_mode_cost
}

/// Mean over the results of a figure that every one of them has.
fn mean(group: &[&CellResult], of: impl Fn(&CellResult) -> Option<f64>) -> Option<f64> {
    sample(group, of).map(|sample| sample.mean)
}

/// Sample of a figure over the results; `None` if one of them lacks it.
pub(super) fn sample(
    group: &[&CellResult],
    of: impl Fn(&CellResult) -> Option<f64>,
) -> Option<Sample> {
    let values: Option<Vec<f64>> = group.iter().map(|result| of(result)).collect();
    Sample::new(&values?)
}

fn row(group: &[&CellResult]) -> Row {
    let first = group[0];
    let gap = sample(group, |r| r.gap_percent);
    let baseline = sample(group, CellResult::baseline_gap_percent);
    let of = |f: fn(&CellResult) -> f64| mean(group, |r| Some(f(r))).unwrap_or_default();
    Row {
        plant: first.on.plant.clone(),
        n: first.on.n,
        modes: first.on.modes,
        structure: first.structure.clone(),
        hidden: hidden_label(first.hidden.as_deref()),
        algo: first.algo.clone(),
        seeds: group.len(),
        diverged: group.iter().filter(|r| r.diverged).count(),
        mean_cost: of(|r| r.mean_cost),
        gap_percent: gap.map(|s| s.mean),
        gap_percent_start: mean(group, |r| r.gap_percent_start),
        gap_percent_half_width_95: gap.and_then(|s| s.half_width_95()),
        gap_percent_min: gap.map(|s| s.min),
        gap_percent_max: gap.map(|s| s.max),
        gap_percent_certified: mean(group, |r| r.gap_percent_certified),
        baseline_gap_percent: baseline.map(|s| s.mean),
        baseline_gap_percent_start: mean(group, CellResult::baseline_gap_percent_start),
        baseline_gap_percent_half_width_95: baseline.and_then(|s| s.half_width_95()),
        baseline_gap_percent_min: baseline.map(|s| s.min),
        baseline_gap_percent_max: baseline.map(|s| s.max),
        gap_percent_8_bit_weights: mean(group, |r| r.gap_percent_8_bit_weights),
        switches_per_episode: of(|r| r.switches_per_episode),
        env_steps: of(|r| r.env_steps as f64),
        seconds: of(|r| r.seconds),
        size: first.size,
        settings: first.settings.clone(),
    }
}

impl Row {
    /// Mean gap, the same before the first epoch, half width of its interval, least and greatest: to the optimum, or to the cheapest
    /// classical controller.
    fn gaps(&self, to_optimum: bool) -> [Option<f64>; 5] {
        if to_optimum {
            [
                self.gap_percent,
                self.gap_percent_start,
                self.gap_percent_half_width_95,
                self.gap_percent_min,
                self.gap_percent_max,
            ]
        } else {
            [
                self.baseline_gap_percent,
                self.baseline_gap_percent_start,
                self.baseline_gap_percent_half_width_95,
                self.baseline_gap_percent_min,
                self.baseline_gap_percent_max,
            ]
        }
    }
}

impl Summary {
    /// The summary as aligned Markdown tables, which read well as plain text too.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for reference in &self.references {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "### {}: {} states, {} modes\n",
                reference.plant, reference.n, reference.modes
            );
            if let (None, Some(name)) = (reference.optimal_cost, &reference.best_baseline) {
                let _ = writeln!(
                    text,
                    "No optimum is valid; gaps are to the cheapest classical controller, {name}.\n"
                );
            }
            text += &self.plant_table(reference);
            text.push('\n');
        }
        if !self.tests.is_empty() {
            text += "### Is the first lower?\n\nWelch's t-test on the costs, one sided.\n\n";
            text += &self.test_table();
            text.push('\n');
        }
        for verdict in &self.verdicts {
            let _ = writeln!(text, "{}", verdict.sentence());
        }
        text
    }

    fn plant_table(&self, reference: &References) -> String {
        let mut rows = vec![
            [
                "controller",
                "structure",
                "hidden",
                "cost",
                "gap %",
                "at epoch 0",
                "95 % interval",
                "min",
                "max",
                "seeds",
                "diverged",
                "simulator calls",
                "seconds",
            ]
            .map(str::to_owned),
        ];
        let best_known = reference.best_known_cost();
        let gap = |cost: f64| gap_percent(cost, best_known?);
        let known = [
            ("certified lower bound", reference.lower_bound),
            ("optimum (best known)", reference.optimal_cost),
            ("averaged Riccati", reference.averaged_riccati_cost),
            ("best fixed mode", reference.best_fixed_mode_cost),
            ("round robin", reference.round_robin_cost),
            ("best baseline", reference.best_baseline_cost),
        ];
        for (name, cost) in known {
            let mut row = [const { String::new() }; 13];
            row[0] = name.into();
            row[3] = cost.map_or("not valid".into(), |cost| number(cost, 4));
            row[4] = cost.and_then(gap).map_or("-".into(), |gap| number(gap, 3));
            rows.push(row);
        }
        for row in self.table.iter().filter(|r| r.plant == reference.plant) {
            let shown = |value: Option<f64>| value.map_or("-".into(), |v| number(v, 3));
            let [mean, start, half, min, max] = row.gaps(reference.optimal_cost.is_some());
            let interval = match (mean, half) {
                (Some(gap), Some(half)) => {
                    format!("{} to {}", number(gap - half, 3), number(gap + half, 3))
                }
                _ => "-".into(),
            };
            rows.push([
                row.algo.clone(),
                row.structure.clone(),
                row.hidden.clone(),
                number(row.mean_cost, 4),
                shown(mean),
                shown(start),
                interval,
                shown(min),
                shown(max),
                row.seeds.to_string(),
                row.diverged.to_string(),
                format!("{:.3e}", row.env_steps),
                format!("{:.1}", row.seconds),
            ]);
        }
        markdown(&rows, 3)
    }

    fn test_table(&self) -> String {
        let header = [
            "plant",
            "n",
            "modes",
            "structure",
            "hidden",
            "lower",
            "than",
            "difference, gap %",
            "p",
        ];
        let mut rows = vec![header.map(str::to_owned)];
        for test in &self.tests {
            rows.push([
                test.plant.clone(),
                test.n.to_string(),
                test.modes.to_string(),
                test.structure.clone(),
                test.hidden.clone(),
                test.first.clone(),
                test.other.clone(),
                test.gap_difference.map_or("-".into(), |d| number(d, 3)),
                test.p_value.map_or("-".into(), |p| format!("{p:.2e}")),
            ]);
        }
        markdown(&rows, 7)
    }
}

/// A number for people: fixed decimals, or powers of ten where that would be a wall of digits.
#[must_use]
pub fn number(value: f64, decimals: usize) -> String {
    if value.abs() < 1e6 {
        format!("{value:.decimals$}")
    } else {
        format!("{value:.2e}")
    }
}

/// Aligned Markdown; columns from `right` on are flush right. The first row is the header.
fn markdown<const N: usize>(rows: &[[String; N]], right: usize) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = if column < right {
                write!(text, "| {cell:<width$} ")
            } else {
                write!(text, "| {cell:>width$} ")
            };
        }
        text += "|\n";
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let line = "-".repeat(width + 1);
                text += &if column < right {
                    format!("|{line}-")
                } else {
                    format!("|{line}:")
                };
            }
            text += "|\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::cell::tests::result;

    #[test]
    fn numbers_stay_short() {
        assert_eq!(number(12.345_67, 4), "12.3457");
        assert_eq!(number(-999_999.4, 1), "-999999.4");
        assert_eq!(number(1e6, 4), "1.00e6");
        assert_eq!(number(-1.234e30, 4), "-1.23e30");
    }

    #[test]
    fn rows_are_means_over_the_seeds_and_diverged_seeds_are_counted() {
        let mut results = vec![
            result("hpo", 1, 1.0),
            result("ppo", 1, 4.0),
            result("hpo", 2, 2.0),
            result("ppo", 2, 5.0),
            result("hpo", 3, 3.0),
        ];
        results[3].diverged = true;
        let summary = summarise(&results, &["hpo".into(), "ppo".into()]);
        assert_eq!(summary.references.len(), 1);
        let [hpo, ppo] = &summary.table[..] else {
            panic!("{:?}", summary.table)
        };
        assert_eq!((hpo.algo.as_str(), hpo.seeds, hpo.diverged), ("hpo", 3, 0));
        assert_eq!((ppo.algo.as_str(), ppo.seeds, ppo.diverged), ("ppo", 2, 1));
        assert_eq!(hpo.gap_percent, Some(2.0));
        assert_eq!(
            (hpo.gap_percent_min, hpo.gap_percent_max),
            (Some(1.0), Some(3.0))
        );
        assert_eq!(ppo.gap_percent, Some(4.5));
        assert!((hpo.mean_cost - 102.0).abs() < 1e-12);
        // t(0.975; 2) / sqrt(3) standard deviations.
        let half = hpo.gap_percent_half_width_95.unwrap();
        assert!(
            (half - 4.302_652_73 / 3.0_f64.sqrt()).abs() < 1e-6,
            "{half}"
        );
        let text = summary.markdown();
        for part in [
            "### p: 8 states, 2 modes",
            "averaged Riccati",
            "round robin",
            "| ppo ",
            "at epoch 0",
            " 150.000 |",
            "-0.484 to 4.484",
            "Is the first lower?",
        ] {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }

    #[test]
    fn other_settings_and_sizes_are_other_rows_and_no_reference_leaves_no_gap() {
        let mut results = vec![
            result("hpo", 1, 1.0),
            result("hpo", 2, 2.0),
            result("hpo", 3, 3.0),
        ];
        results[1].settings.clear();
        results[2].hidden = None;
        for r in &mut results {
            (r.on.optimal_cost, r.gap_percent) = (None, None);
        }
        let summary = summarise(&results, &["hpo".into()]);
        assert_eq!(summary.table.len(), 3);
        assert!(summary.tests.is_empty() && summary.verdicts.is_empty());
        assert!(summary.table.iter().all(|row| row.gap_percent.is_none()));
        assert_eq!(summary.table[2].hidden, "-");
        assert!(summary.markdown().contains("not valid"));
    }

    /// Inventory has no optimum to compare with; its heuristics take the place.
    #[test]
    fn without_an_optimum_gaps_are_to_the_cheapest_classical_controller() {
        let mut results = Vec::new();
        for (n, worse) in [(6, 4.0), (10, 8.0), (20, 16.0)] {
            for seed in 1..=3 {
                for (algo, cost) in [("hpo", 1.0), ("ppo", worse)] {
                    let mut r = result(algo, seed, cost + 0.01 * seed as f64);
                    (r.on.n, r.on.plant) = (n, format!("inventory-{n}"));
                    (r.on.optimal_cost, r.gap_percent, r.gap_percent_start) = (None, None, None);
                    (r.on.best_baseline, r.on.best_baseline_cost) =
                        (Some("q-S".into()), Some(101.0));
                    results.push(r);
                }
            }
        }
        let summary = summarise(&results, &["hpo".into(), "ppo".into()]);
        let row = &summary.table[0];
        assert_eq!(row.gap_percent, None);
        let gap = row.baseline_gap_percent.unwrap();
        assert!((gap - 2.0 / 101.0).abs() < 1e-9, "{gap}");
        assert!(row.baseline_gap_percent_min < row.baseline_gap_percent_max);
        let difference = summary.tests[2].gap_difference.unwrap();
        assert!((difference - 1500.0 / 101.0).abs() < 1e-9, "{difference}");
        assert!(summary.verdicts[0].holds, "{}", summary.verdicts[0].why);
        let text = summary.markdown();
        for part in [
            "cheapest classical controller, q-S",
            "| best baseline",
            " 0.020 |",
            "14.851 |",
            // 250 before the first epoch.
            " 147.525 |",
        ] {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }
}
