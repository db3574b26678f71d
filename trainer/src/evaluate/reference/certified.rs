//! Lower bounds that hold for every policy: value sets pruned in the semidefinite order.
//!
//! `rho_d` is monotone, so if every member P of the exact set has some kept L <= P, then
//! `V_t(x) >= min_L x'Lx` for all x, and the next set may be built from the kept members alone. A
//! candidate P is dropped if a kept P' satisfies `P' <= (1 + eps) P`; P' is then replaced by
//! `P' / (1 + eps)`, which lies below both (Zhang, Abate, Hu 2009, with the factor moved to the
//! covering member so that it acts only where something was dropped).

use std::time::Instant;

use nalgebra::{Cholesky, DMatrix};
use rayon::prelude::*;

use super::forms::Points;
use super::riccati::RiccatiModes;
use crate::numeric::{Purpose, Stream};

/// Relative widths of the pruning that are tried, narrowest first.
const WIDTHS: [f64; 20] = [
    0.0, 1e-9, 1e-7, 1e-6, 1e-5, 5e-5, 1e-4, 1.5e-4, 2e-4, 3e-4, 4e-4, 7e-4, 1.5e-3, 4e-3, 1e-2,
    2e-2, 4e-2, 6e-2, 8e-2, 0.12,
];
/// Directions on which a pair is compared before the costly test.
const SCREEN: usize = 96;
/// Candidates whose coverers are searched side by side.
const BLOCK: usize = 64;
/// Relative slack of every comparison, so that equal members computed in two ways cover each
/// other; taken off the bound once per step, twice over for the rounding of the values themselves.
const ROUNDING: f64 = 1e-10;

/// A certified lower bound of the value at each state, for the plant without clamp, bounds and
/// noise.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    /// One bound per state.
    pub(super) values: Vec<f64>,
    /// Relative width of the pruning; 0 means that nothing was lost.
    pub(super) width: f64,
    /// Largest number of kept members at a step.
    pub(super) largest_set: usize,
}

/// How far a certificate may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Most members of a set.
    pub(super) forms: usize,
    /// When the search ends, where time is limited.
    pub(super) until: Option<Instant>,
}

impl Budget {
    /// Whether the time given is over.
    pub(super) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// The bound from the narrowest pruning whose sets stay within the budget; `None` if none does. `states` are homogeneous.
pub(super) fn certify(
    modes: &RiccatiModes,
    horizon: usize,
    states: &[Vec<f64>],
    budget: Budget,
    progress: &(dyn Fn(f64) + Sync),
) -> Option<Certificate> {
    WIDTHS.iter().find_map(|&width| {
        progress(width);
        let (set, largest_set) = backward(modes, horizon, width, budget)?;
        let rounding = 1.0 - 2.0 * ROUNDING * horizon as f64;
        Some(Certificate {
            values: least_values(&set, states)
                .into_iter()
                .map(|value| value * rounding)
                .collect(),
            width,
            largest_set,
        })
    })
}

/// The candidates at t = 0, not pruned, and the largest kept set; `None` if a set overflows or the time is over.
fn backward(
    modes: &RiccatiModes,
    horizon: usize,
    width: f64,
    budget: Budget,
) -> Option<(Vec<DMatrix<f64>>, usize)> {
    let n = modes.state();
    let screen = screen_points(n);
    let mut set = vec![DMatrix::zeros(n, n)];
    let mut largest = 1;
    for t in (0..horizon).rev() {
        let pairs: Vec<(usize, usize)> = (0..set.len())
            .flat_map(|k| (0..modes.count()).map(move |mode| (mode, k)))
            .collect();
        let candidates: Vec<DMatrix<f64>> = pairs
            .par_iter()
            .map(|&(mode, k)| modes.map(mode, &set[k]))
            .collect();
        if t == 0 {
            return Some((candidates, largest));
        }
        set = prune(candidates, &screen, width, budget)?;
        largest = largest.max(set.len());
    }
    Some((set, largest))
}

/// A member that stays, with what the cheap test needs.
struct Kept {
    p: DMatrix<f64>,
    screen: Vec<f64>,
    /// The member stands for `p / divisor`.
    divisor: f64,
}

/// A set such that every candidate lies above a member; `None` beyond the budget.
fn prune(
    candidates: Vec<DMatrix<f64>>,
    screen: &Points,
    width: f64,
    budget: Budget,
) -> Option<Vec<DMatrix<f64>>> {
    let values = screen.values(&candidates);
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    // Small members first, since only smaller ones cover others.
    let traces: Vec<f64> = candidates.iter().map(DMatrix::trace).collect();
    order.sort_by(|&a, &b| traces[a].total_cmp(&traces[b]).then(a.cmp(&b)));
    let mut kept: Vec<Kept> = Vec::new();
    for block in order.chunks(BLOCK) {
        if budget.is_over() {
            return None;
        }
        let known = kept.len();
        let found: Vec<Option<(usize, f64)>> = block
            .par_iter()
            .map(|&c| coverer(&kept, 0, &candidates[c], &values[c], width))
            .collect();
        for (&c, found) in block.iter().zip(found) {
            // Members added inside this block have not been compared yet.
            let found = match found {
                Some((_, 1.0)) => found,
                _ => match coverer(&kept, known, &candidates[c], &values[c], width) {
                    Some(later) if found.is_none_or(|(_, divisor)| later.1 < divisor) => {
                        Some(later)
                    }
                    _ => found,
                },
            };
            match found {
                Some((index, divisor)) => {
                    kept[index].divisor = kept[index].divisor.max(divisor);
                }
                None if kept.len() == budget.forms => return None,
                None => kept.push(Kept {
                    p: candidates[c].clone(),
                    screen: values[c].clone(),
                    divisor: 1.0,
                }),
            }
        }
    }
    Some(kept.into_iter().map(|k| k.p / k.divisor).collect())
}

/// A member from index `from` on that lies below `(1 + width) p`, and the divisor that puts it below
/// p. A member that needs no more than its present divisor is preferred, since it costs nothing.
fn coverer(
    kept: &[Kept],
    from: usize,
    p: &DMatrix<f64>,
    screen: &[f64],
    width: f64,
) -> Option<(usize, f64)> {
    let mut best: Option<(usize, f64)> = None;
    let limit = (1.0 + width) * (1.0 + 2.0 * ROUNDING);
    for (index, member) in kept.iter().enumerate().skip(from) {
        let outside = member
            .screen
            .iter()
            .zip(screen)
            .any(|(a, b)| *a > limit * b);
        if outside {
            continue;
        }
        let free = member.divisor;
        if below(&member.p, p, free) {
            return Some((index, free));
        }
        if width > 0.0 && best.is_none() && below(&member.p, p, 1.0 + width) {
            best = Some((index, 1.0 + width));
        }
    }
    best
}

/// Whether `small <= factor (1 + ROUNDING) large` in the semidefinite order, up to the rounding of
/// a Cholesky factorisation.
fn below(small: &DMatrix<f64>, large: &DMatrix<f64>, factor: f64) -> bool {
    let gap = large * (factor * (1.0 + ROUNDING)) - small;
    Cholesky::new(gap).is_some()
}

/// The least value of the forms at each state, a thousand states at a time to bound the memory.
fn least_values(forms: &[DMatrix<f64>], states: &[Vec<f64>]) -> Vec<f64> {
    let n = forms[0].nrows();
    states
        .chunks(1024)
        .flat_map(|part| Points::new(n, part.iter().map(Vec::as_slice)).least(forms))
        .map(|(_, value)| value)
        .collect()
}

/// Unit coordinate vectors and random directions.
fn screen_points(n: usize) -> Points {
    let mut stream = Stream::new(0, Purpose::Generator, 999);
    let mut directions: Vec<Vec<f64>> = (0..n)
        .map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect())
        .collect();
    for _ in 0..SCREEN {
        directions.push((0..n).map(|_| stream.normal()).collect());
    }
    Points::new(n, directions.iter().map(Vec::as_slice))
}

/// The value of a single-mode problem that is never dearer than any of the modes: every control
/// channel as strong as in its strongest mode. `None` where that needs more than it can show.
///
/// It holds if all modes share A, every B and R is diagonal (square), and Q is shared or diagonal:
/// the control `u` of mode d does what `(b_d / b_max) u` does here, at no higher cost.
pub(super) fn all_channels_strong(
    modes: &RiccatiModes,
    horizon: usize,
    states: &[Vec<f64>],
) -> Option<Vec<f64>> {
    let count = modes.count();
    let [a, b, q, r] = modes.matrices(0);
    let (n, m) = b.shape();
    if n != m || (0..count).any(|d| modes.matrices(d)[0] != a) {
        return None;
    }
    let is_diagonal = |x: &DMatrix<f64>| (0..n).all(|i| (0..n).all(|j| i == j || x[(i, j)] == 0.0));
    let same_q = (0..count).all(|d| modes.matrices(d)[2] == q);
    for d in 0..count {
        let [_, b, q, r] = modes.matrices(d);
        if !is_diagonal(b) || !is_diagonal(r) || !(same_q || is_diagonal(q)) {
            return None;
        }
    }
    let (mut strong, mut cheap_q, mut cheap_r) = (b.abs(), q.clone(), r.clone());
    for d in 1..count {
        let [_, b, q, r] = modes.matrices(d);
        for i in 0..n {
            strong[(i, i)] = strong[(i, i)].max(b[(i, i)].abs());
            cheap_r[(i, i)] = cheap_r[(i, i)].min(r[(i, i)]);
            cheap_q[(i, i)] = cheap_q[(i, i)].min(q[(i, i)]);
        }
    }
    let relaxed = modes.single(a.clone(), strong, cheap_q, cheap_r);
    let mut value = DMatrix::zeros(n, n);
    for _ in 0..horizon {
        value = relaxed.map(0, &value);
    }
    Some(least_values(&[value], states))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::generator::switched_actuators;
    use proptest::prelude::*;

    /// The exact value by going through all M^T mode sequences.
    fn exhaustive(modes: &RiccatiModes, horizon: usize, states: &[Vec<f64>]) -> Vec<f64> {
        let n = modes.state();
        let mut set = vec![DMatrix::zeros(n, n)];
        for _ in 0..horizon {
            set = set
                .iter()
                .flat_map(|p| (0..modes.count()).map(|d| modes.map(d, p)))
                .collect();
        }
        let points = Points::new(n, states.iter().map(Vec::as_slice));
        points
            .least(&set)
            .into_iter()
            .map(|(_, value)| value)
            .collect()
    }

    fn states(n: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut stream = Stream::new(seed, Purpose::Evaluation, 0);
        (0..40)
            .map(|_| (0..n).map(|_| stream.normal()).collect())
            .collect()
    }

    fn forms(forms: usize) -> Budget {
        Budget { forms, until: None }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn bounds_lie_below_the_exact_value(seed in 0_u64..1000, n in 2_usize..6, modes in 2_usize..4, width in 0_usize..3) {
            prop_assume!(modes <= n);
            let horizon = 6;
            let width = [0.0, 1e-2, 0.5][width];
            let modes = RiccatiModes::new(&switched_actuators(n, modes, seed));
            let states = states(n, seed);
            let exact = exhaustive(&modes, horizon, &states);
            let (set, largest) = backward(&modes, horizon, width, forms(1000)).unwrap();
            prop_assert!(largest <= modes.count().pow(horizon as u32 - 1));
            let points = Points::new(n, states.iter().map(Vec::as_slice));
            let strong = all_channels_strong(&modes, horizon, &states).unwrap();
            for (i, (_, bound)) in points.least(&set).into_iter().enumerate() {
                prop_assert!(bound <= exact[i] * (1.0 + 1e-8));
                prop_assert!(strong[i] <= exact[i] * (1.0 + 1e-9));
                // No worse than one factor per step, and exact without width.
                prop_assert!(bound >= exact[i] * (1.0 - 1e-8) / (1.0 + width).powi(horizon as i32));
            }
        }

        #[test]
        fn pruned_members_cover_every_candidate(seed in 0_u64..1000, width in 0.0_f64..0.3) {
            let modes = RiccatiModes::new(&switched_actuators(4, 2, seed));
            let mut set = vec![DMatrix::zeros(4, 4)];
            for _ in 0..5 {
                set = set.iter().flat_map(|p| (0..2).map(|d| modes.map(d, p))).collect();
            }
            let kept = prune(set.clone(), &screen_points(4), width, forms(1000)).unwrap();
            for p in &set {
                // Eigenvalues decide here, not the Cholesky test that pruning itself uses.
                let covered = kept.iter().any(|k| (p - k).symmetric_eigenvalues().min() > -1e-8 * p.amax());
                prop_assert!(covered);
            }
        }
    }

    #[test]
    fn too_small_a_budget_gives_no_bound() {
        let modes = RiccatiModes::new(&switched_actuators(5, 3, 0));
        assert!(backward(&modes, 8, 0.0, forms(4)).is_none());
    }

    #[test]
    fn relaxation_is_refused_where_it_proves_nothing() {
        let mut data = switched_actuators(3, 2, 0);
        data.a[1][(0, 0)] += 0.1;
        let modes = RiccatiModes::new(&data);
        assert!(all_channels_strong(&modes, 5, &states(3, 0)).is_none());
        let mut data = switched_actuators(3, 2, 0);
        data.b[1][(0, 1)] = 0.1;
        let modes = RiccatiModes::new(&data);
        assert!(all_channels_strong(&modes, 5, &states(3, 0)).is_none());
    }
}
