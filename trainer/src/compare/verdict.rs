//! Whether the first algorithm is better, and whether the more so the greater the dimension.

use std::collections::BTreeSet;

use serde::Serialize;

use super::cell::CellResult;
use super::grid::hidden_label;
use super::statistics::{kendall, spearman, welch_lower};
use super::table::sample;

/// Greatest p-value at which a difference counts.
pub const SIGNIFICANCE: f64 = 0.01;

/// Fewest different dimensions for a rank correlation: two always correlate perfectly.
const FEWEST_DIMENSIONS: usize = 3;

/// The first algorithm against another one on one plant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Name of the plant.
    pub plant: String,
    /// States.
    pub n: usize,
    /// Modes.
    pub modes: usize,
    /// Structure of both.
    pub structure: String,
    /// Hidden widths asked for, of both.
    pub hidden: String,
    /// The first algorithm.
    pub first: String,
    /// The other one.
    pub other: String,
    /// Seeds of the first.
    pub first_seeds: usize,
    /// Seeds of the other.
    pub other_seeds: usize,
    /// Mean cost of the other less that of the first.
    pub cost_difference: f64,
    /// Mean gap of the other less that of the first, in percent of the best known cost (of the cheapest classical controller's where no
    /// optimum is valid); null without either.
    pub gap_difference: Option<f64>,
    /// One-sided p-value of Welch's test that the first's mean cost is lower; null with fewer than two seeds.
    pub p_value: Option<f64>,
}

/// How the difference goes with the dimension, at one number of modes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// Modes.
    pub modes: usize,
    /// Plants that count.
    pub plants: usize,
    /// Spearman's correlation of n with the difference in gap; null with fewer than three dimensions.
    pub spearman: Option<f64>,
    /// Kendall's tau-b of the same.
    pub kendall: Option<f64>,
}

/// One pair of algorithms over all plants.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The first algorithm.
    pub first: String,
    /// The other one.
    pub other: String,
    /// Structure of both.
    pub structure: String,
    /// Hidden widths asked for, of both.
    pub hidden: String,
    /// Whether the first is lower on every plant (p < 0.01) and the difference grows with the dimension at every
    /// number of modes.
    pub holds: bool,
    /// Whether the first is lower on every plant.
    pub lower_everywhere: bool,
    /// Per number of modes.
    pub trends: Vec<Trend>,
    /// Why it does not hold, or what it rests on.
    pub why: String,
}

/// Compares `algorithms[0]` with each other one, plant by plant. Where an algorithm has several groups (other
/// settings), each pair of groups is a comparison.
#[must_use]
pub fn compare(groups: &[Vec<&CellResult>], algorithms: &[String]) -> Vec<Comparison> {
    let Some((first, others)) = algorithms.split_first() else {
        return Vec::new();
    };
    let mut list = Vec::new();
    for other in others.iter().filter(|other| *other != first) {
        for a in groups.iter().filter(|group| group[0].algo == *first) {
            let key = |r: &CellResult| (r.on.plant.clone(), r.structure.clone(), r.hidden.clone());
            let partners = groups.iter().filter(|b| {
                b[0].algo == *other
                    && key(b[0]) == key(a[0])
                    // Another plant of the same name.
                    && b[0].on.best_fixed_mode_cost == a[0].on.best_fixed_mode_cost
            });
            for b in partners {
                list.extend(comparison(a, b));
            }
        }
    }
    list
}

fn comparison(a: &[&CellResult], b: &[&CellResult]) -> Option<Comparison> {
    let cost = |r: &CellResult| Some(r.mean_cost);
    let (cost_a, cost_b) = (sample(a, cost)?, sample(b, cost)?);
    let gap = CellResult::gap_to_best_known;
    let gap_difference = match (sample(a, gap), sample(b, gap)) {
        (Some(a), Some(b)) => Some(b.mean - a.mean),
        _ => None,
    };
    Some(Comparison {
        plant: a[0].on.plant.clone(),
        n: a[0].on.n,
        modes: a[0].on.modes,
        structure: a[0].structure.clone(),
        hidden: hidden_label(a[0].hidden.as_deref()),
        first: a[0].algo.clone(),
        other: b[0].algo.clone(),
        first_seeds: a.len(),
        other_seeds: b.len(),
        cost_difference: cost_b.mean - cost_a.mean,
        gap_difference,
        p_value: welch_lower(&cost_a, &cost_b),
    })
}

/// One verdict per pair of algorithms, structure and network size.
#[must_use]
pub fn verdicts(tests: &[Comparison]) -> Vec<Verdict> {
    let key = |t: &Comparison| {
        (
            t.first.clone(),
            t.other.clone(),
            t.structure.clone(),
            t.hidden.clone(),
        )
    };
    let mut keys = Vec::new();
    for test in tests {
        if !keys.contains(&key(test)) {
            keys.push(key(test));
        }
    }
    keys.into_iter()
        .map(|wanted| {
            let own: Vec<&Comparison> = tests.iter().filter(|t| key(t) == wanted).collect();
            verdict(&own)
        })
        .collect()
}

fn verdict(tests: &[&Comparison]) -> Verdict {
    let first = tests[0];
    let mut against = Vec::new();
    for test in tests {
        match test.p_value {
            None => against.push(format!("{}: fewer than two seeds", test.plant)),
            Some(_) if test.cost_difference <= 0.0 => {
                against.push(format!("{}: {} is not lower", test.plant, test.first));
            }
            Some(p) if p >= SIGNIFICANCE => against.push(format!("{}: p = {p:.3}", test.plant)),
            Some(_) => {}
        }
    }
    let lower_everywhere = against.is_empty();
    let modes: BTreeSet<usize> = tests.iter().map(|t| t.modes).collect();
    let trends: Vec<Trend> = modes.into_iter().map(|modes| trend(tests, modes)).collect();
    for trend in &trends {
        match trend.spearman {
            None => against.push(format!(
                "{} modes: no rank correlation with fewer than {FEWEST_DIMENSIONS} dimensions",
                trend.modes
            )),
            Some(r) if r <= 0.0 => against.push(format!(
                "{} modes: the difference does not grow with the dimension (rho = {r:.2})",
                trend.modes
            )),
            Some(_) => {}
        }
    }
    let holds = against.is_empty();
    let why = if holds {
        let correlations: Vec<String> = trends
            .iter()
            .filter_map(|t| Some(format!("{} modes: rho = {:.2}", t.modes, t.spearman?)))
            .collect();
        format!(
            "lower on all {} plants with p < {SIGNIFICANCE}; {}",
            tests.len(),
            correlations.join(", ")
        )
    } else {
        against.join("; ")
    };
    Verdict {
        first: first.first.clone(),
        other: first.other.clone(),
        structure: first.structure.clone(),
        hidden: first.hidden.clone(),
        holds,
        lower_everywhere,
        trends,
        why,
    }
}

fn trend(tests: &[&Comparison], modes: usize) -> Trend {
    let points: Vec<(f64, f64)> = tests
        .iter()
        .filter(|t| t.modes == modes)
        .filter_map(|t| Some((t.n as f64, t.gap_difference?)))
        .collect();
    let (n, difference): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    let dimensions: BTreeSet<u64> = n.iter().map(|n| n.to_bits()).collect();
    let enough = dimensions.len() >= FEWEST_DIMENSIONS;
    let measure = |f: fn(&[f64], &[f64]) -> Option<f64>| {
        // Equal differences do not grow.
        enough.then(|| f(&n, &difference).unwrap_or(0.0))
    };
    Trend {
        modes,
        plants: points.len(),
        spearman: measure(spearman),
        kendall: measure(kendall),
    }
}

impl Verdict {
    /// The verdict in one line.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!(
            "{} below {} everywhere, the more so the greater the dimension ({}, hidden {}): {}: {}",
            self.first,
            self.other,
            self.structure,
            self.hidden,
            if self.holds { "holds" } else { "does not hold" },
            self.why
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::cell::tests::result;
    use crate::compare::table::groups;

    /// Results of two algorithms on plants of sizes `n`; the other's gap is `gap(n)`.
    fn results(sizes: &[usize], gap: impl Fn(usize) -> f64, seeds: u64) -> Vec<CellResult> {
        let mut list = Vec::new();
        for &n in sizes {
            for seed in 1..=seeds {
                let noise = 0.01 * seed as f64;
                for (algo, gap) in [("a", 1.0 + noise), ("b", gap(n) - noise)] {
                    let mut r = result(algo, seed, gap);
                    (r.on.n, r.on.plant) = (n, format!("p{n}"));
                    list.push(r);
                }
            }
        }
        list
    }

    fn verdict_of(results: &[CellResult]) -> Verdict {
        let tests = compare(&groups(results), &["a".into(), "b".into()]);
        let mut list = verdicts(&tests);
        assert_eq!(list.len(), 1);
        list.remove(0)
    }

    #[test]
    fn holds_where_lower_everywhere_and_growing() {
        let verdict = verdict_of(&results(&[8, 16, 24], |n| 1.5 + 0.1 * n as f64, 5));
        assert!(verdict.holds, "{}", verdict.why);
        assert_eq!(verdict.trends[0].spearman, Some(1.0));
        assert!(
            verdict
                .sentence()
                .contains(": holds: lower on all 3 plants")
        );
    }

    #[test]
    fn does_not_hold_and_says_why() {
        let why = |results: &[CellResult]| {
            let verdict = verdict_of(results);
            assert!(!verdict.holds);
            verdict.sentence()
        };
        let shrinking = why(&results(&[8, 16, 24], |n| 9.0 - 0.1 * n as f64, 5));
        assert!(shrinking.contains("does not grow") && shrinking.contains("rho = -1.00"));
        let equal = why(&results(
            &[8, 16, 24],
            |n| if n == 16 { 0.5 } else { n as f64 },
            5,
        ));
        assert!(equal.contains("p16: a is not lower"), "{equal}");
        let few = why(&results(&[8, 16], |n| n as f64, 5));
        assert!(few.contains("fewer than 3 dimensions"), "{few}");
        let one = why(&results(&[8, 16, 24], |n| n as f64, 1));
        assert!(one.contains("p8: fewer than two seeds"), "{one}");
    }

    #[test]
    fn modes_are_judged_apart_and_differences_have_the_right_sign() {
        let mut list = results(&[8, 16, 24], |n| 2.0 + n as f64, 3);
        let mut four = results(&[8, 16, 24], |n| 50.0 - n as f64, 3);
        for r in &mut four {
            r.on.modes = 4;
            r.on.plant += "-4";
        }
        list.extend(four);
        let tests = compare(&groups(&list), &["a".into(), "b".into()]);
        assert_eq!(tests.len(), 6);
        assert!(tests.iter().all(|t| t.cost_difference > 0.0));
        let verdict = &verdicts(&tests)[0];
        assert!(verdict.lower_everywhere && !verdict.holds);
        let rho: Vec<_> = verdict
            .trends
            .iter()
            .map(|t| (t.modes, t.spearman))
            .collect();
        assert_eq!(rho, [(2, Some(1.0)), (4, Some(-1.0))]);
    }
}
