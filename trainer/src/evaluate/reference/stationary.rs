//! The value of switched linear-quadratic regulation over an endless horizon, as a minimum of few quadratic forms.
//!
//! Value iteration on sets of forms from {0}: `H' = prune { rho_d(P) : P in H, d }`. A form P is redundant if a convex
//! combination of kept forms is at most `(1 + width) P` in the semidefinite order: where P were the least form, a kept one
//! is at most `1 + width` times as large, since a minimum is at most every convex combination (Zhang, Hu, Abate, "On the value
//! functions of the discrete-time switched LQR problem", IEEE TAC 54(11), 2009; numerical relaxation as in Zhang, Abate,
//! Hu, CDC 2009).
//!
//! What is certain: every form that was dropped had weights whose combination passed a Cholesky test. What is not: a form that stays may
//! still be redundant, if the search for weights missed them; the set is then larger than it need be and no less right. The
//! width is lost anew in every step, so the set is the value of a relaxed iteration, within the widths' sum of the exact one; it is
//! not used for any certified bound.

use nalgebra::{Cholesky, DMatrix, DVector};

use super::riccati::RiccatiModes;

/// Relative width of the pruning, that of the published example.
pub(super) const WIDTH: f64 = 1e-3;
/// Largest state for which the set is computed: the search for weights is exhaustive over pairs.
const MAX_STATE: usize = 4;
/// A set that grows beyond this is given up.
const MAX_FORMS: usize = 32;
/// Steps within which the set must settle.
const MAX_STEPS: usize = 200;
/// Relative change of every entry at which the set has settled.
const SETTLED: f64 = 1e-10;
/// Rounds of the ascent over weights, and halvings of a line search.
const ROUNDS: usize = 12;
const LINE: usize = 40;
/// Entries beyond this are compared no more.
const GREATEST: f64 = 1e12;

/// The forms of the settled set, each n x n (homogeneous where the plant is affine), in the order of their traces;
/// `None` for states beyond four, where a set grows beyond 32 forms or has not settled after 200 steps.
#[must_use]
pub fn stationary_forms(modes: &RiccatiModes, width: f64) -> Option<Vec<DMatrix<f64>>> {
    let n = modes.state();
    if n > MAX_STATE {
        return None;
    }
    let mut set = vec![DMatrix::zeros(n, n)];
    for _ in 0..MAX_STEPS {
        let candidates = set
            .iter()
            .flat_map(|p| (0..modes.count()).map(move |mode| modes.map(mode, p)));
        let next = prune(candidates.collect(), width)?;
        // A NaN compares as false.
        if !next.iter().all(|p| p.amax() < GREATEST) {
            return None;
        }
        let settled = next.len() == set.len()
            && next
                .iter()
                .zip(&set)
                .all(|(new, old)| (new - old).amax() <= SETTLED * new.amax());
        set = next;
        if settled {
            return Some(set);
        }
    }
    None
}

/// The candidates without those that the others make redundant, by trace; `None` beyond [`MAX_FORMS`].
fn prune(mut candidates: Vec<DMatrix<f64>>, width: f64) -> Option<Vec<DMatrix<f64>>> {
    // Small forms first, since only smaller ones make others redundant.
    candidates.sort_by(|a, b| a.trace().total_cmp(&b.trace()));
    let mut kept: Vec<DMatrix<f64>> = Vec::new();
    for p in candidates {
        if !is_redundant(&kept, &p, width) {
            if kept.len() == MAX_FORMS {
                return None;
            }
            kept.push(p);
        }
    }
    // A form may be made redundant by later ones as well.
    let mut index = kept.len();
    while index > 0 && kept.len() > 1 {
        index -= 1;
        let p = kept.remove(index);
        if !is_redundant(&kept, &p, width) {
            kept.insert(index, p);
        }
    }
    Some(kept)
}

/// Whether weights were found with `sum w_i kept_i <= (1 + width) p`.
fn is_redundant(kept: &[DMatrix<f64>], p: &DMatrix<f64>, width: f64) -> bool {
    weights(kept, p, width).is_some()
}

/// Weights of a convex combination of `kept` at most `(1 + width) p`, confirmed by a Cholesky factorisation.
///
/// The least eigenvalue of `(1 + width) p - sum w_i kept_i` is concave in w. All pairs are searched by line search (exact
/// for one or two forms), then single forms are mixed into the best point in rounds; an ascent along edges may stop early where that
/// eigenvalue is a double one.
fn weights(kept: &[DMatrix<f64>], p: &DMatrix<f64>, width: f64) -> Option<DVector<f64>> {
    let target = p * (1.0 + width);
    let slack = |combination: &DMatrix<f64>| (&target - combination).symmetric_eigenvalues().min();
    let confirmed = |combination: &DMatrix<f64>| {
        // The smallest shift that lets a form cover its own copy.
        let rounding = DMatrix::identity(p.nrows(), p.nrows()) * (1e-12 * p.amax());
        Cholesky::new(&target - combination + rounding).is_some()
    };
    let unit = |i: usize| DVector::from_fn(kept.len(), |j, _| f64::from(u8::from(i == j)));
    let mut best: Option<(DVector<f64>, DMatrix<f64>, f64)> = None;
    for i in 0..kept.len() {
        for j in 0..=i {
            let step = best_step(&slack, &kept[i], &kept[j]);
            let combination = &kept[i] * (1.0 - step) + &kept[j] * step;
            let value = slack(&combination);
            if best.as_ref().is_none_or(|(_, _, known)| value > *known) {
                let w = unit(i) * (1.0 - step) + unit(j) * step;
                if confirmed(&combination) {
                    return Some(w);
                }
                best = Some((w, combination, value));
            }
        }
    }
    let (mut w, mut combination, mut value) = best?;
    for _ in 0..ROUNDS {
        let before = value;
        for (i, form) in kept.iter().enumerate() {
            let step = best_step(&slack, &combination, form);
            let mixed = &combination * (1.0 - step) + form * step;
            let reached = slack(&mixed);
            if reached > value {
                w = &w * (1.0 - step) + unit(i) * step;
                (combination, value) = (mixed, reached);
                if confirmed(&combination) {
                    return Some(w);
                }
            }
        }
        if value - before <= 1e-12 * p.amax() {
            break;
        }
    }
    None
}

/// The step in [0, 1] from `from` to `to` at which the concave `slack` is greatest, by ternary search.
fn best_step(slack: &dyn Fn(&DMatrix<f64>) -> f64, from: &DMatrix<f64>, to: &DMatrix<f64>) -> f64 {
    let at = |step: f64| slack(&(from * (1.0 - step) + to * step));
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..LINE {
        let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if at(a) < at(b) {
            low = a;
        } else {
            high = b;
        }
    }
    let middle = 0.5 * (low + high);
    // The ends exactly: a search comes only close to them.
    [0.0, 1.0, middle]
        .into_iter()
        .max_by(|&a, &b| at(a).total_cmp(&at(b)))
        .unwrap_or(middle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::{Purpose, Stream};
    use crate::plant::load_plant;
    use proptest::prelude::*;

    fn form(stream: &mut Stream, n: usize) -> DMatrix<f64> {
        let root = DMatrix::from_fn(n, n, |_, _| stream.normal());
        root.tr_mul(&root) + DMatrix::identity(n, n) * 0.1
    }

    #[test]
    fn textbook_pair_has_the_published_forms() {
        // Zhang, Hu, Abate 2009: entries (1,1), (1,2), (2,2).
        let published = [
            [6.065, 1.206, 1.905],
            [9.087, 3.235, 2.348],
            [5.108, 1.266, 1.935],
            [7.219, 2.561, 2.107],
        ];
        let plant = load_plant("textbook-pair", &[]).unwrap();
        let modes = RiccatiModes::new(plant.lqr_data().unwrap());
        let forms = stationary_forms(&modes, WIDTH).unwrap();
        assert_eq!(forms.len(), published.len());
        for expected in published {
            let close = |p: &&DMatrix<f64>| {
                let found = [p[(0, 0)], p[(0, 1)], p[(1, 1)]];
                found
                    .iter()
                    .zip(&expected)
                    .all(|(a, b)| (a - b).abs() < 0.002)
            };
            assert_eq!(
                forms.iter().filter(close).count(),
                1,
                "{expected:?} {forms:?}"
            );
        }
    }

    #[test]
    fn pruning_by_single_forms_alone_keeps_more() {
        // The combination matters: without it the example has more than four forms.
        let plant = load_plant("textbook-pair", &[]).unwrap();
        let modes = RiccatiModes::new(plant.lqr_data().unwrap());
        let forms = stationary_forms(&modes, WIDTH).unwrap();
        let candidates: Vec<_> = forms
            .iter()
            .flat_map(|p| [modes.map(0, p), modes.map(1, p)])
            .collect();
        let singly = |p: &&DMatrix<f64>| {
            !candidates
                .iter()
                .any(|k| k != *p && (*p * (1.0 + WIDTH) - k).symmetric_eigenvalues().min() >= 0.0)
        };
        assert!(candidates.iter().filter(singly).count() > forms.len());
    }

    proptest! {
        #[test]
        fn what_is_dropped_is_never_the_least(seed: u64, n in 1_usize..4, count in 1_usize..12, width in 0.0_f64..0.2) {
            let mut stream = Stream::new(seed, Purpose::Generator, 3);
            let forms: Vec<_> = (0..count).map(|_| form(&mut stream, n)).collect();
            let kept = prune(forms.clone(), width).unwrap();
            for _ in 0..40 {
                let x = DVector::from_fn(n, |_, _| stream.normal());
                let least = |set: &[DMatrix<f64>]| set.iter().map(|p| x.dot(&(p * &x))).fold(f64::INFINITY, f64::min);
                // Twice: the second pass may drop what covered a form in the first.
                prop_assert!(least(&kept) <= least(&forms) * (1.0 + width).powi(2) * (1.0 + 1e-9));
            }
        }

        #[test]
        fn a_form_above_a_combination_is_found(seed: u64, n in 1_usize..4, mix in 0.0_f64..1.0, above in 1e-6_f64..0.1) {
            let mut stream = Stream::new(seed, Purpose::Generator, 4);
            let (a, b) = (form(&mut stream, n), form(&mut stream, n));
            let p = &a * mix + &b * (1.0 - mix) + DMatrix::identity(n, n) * above;
            let w = weights(&[a.clone(), b.clone()], &p, 0.0).unwrap();
            prop_assert!((w.sum() - 1.0).abs() < 1e-12 && w.min() >= 0.0);
            prop_assert!((&p - &a * w[0] - &b * w[1]).symmetric_eigenvalues().min() > -1e-9 * p.amax());
        }
    }

    #[test]
    fn one_mode_gives_the_algebraic_riccati_solution_and_large_states_none() {
        let plant = load_plant("switched-lqr-3-1", &[]).unwrap();
        let modes = RiccatiModes::new(plant.lqr_data().unwrap());
        let forms = stationary_forms(&modes, 0.0).unwrap();
        let p = modes.algebraic(0).unwrap();
        assert!(forms.len() == 1 && (&forms[0] - &p).amax() < 1e-8 * p.amax());
        let plant = load_plant("switched-lqr-5-2", &[]).unwrap();
        assert!(stationary_forms(&RiccatiModes::new(plant.lqr_data().unwrap()), WIDTH).is_none());
    }
}
