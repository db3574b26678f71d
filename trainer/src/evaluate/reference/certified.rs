//! Lower bounds that hold for every policy: value sets pruned in the semidefinite order.
//!
//! `rho_d` is monotone, so if every member P of the exact set has some kept L <= P, then
//! `V_t(x) >= min_L x'Lx` for all x, and the next set may be built from the kept members alone. A
//! candidate P is dropped if a kept P' satisfies `P' <= (1 + eps) P`; P' is then replaced by
//! `P' / (1 + eps)`, which lies below both (Zhang, Abate, Hu 2009, with the factor moved to the
//! covering member so that it acts only where something was dropped).

use nalgebra::{Cholesky, DMatrix};
use rayon::prelude::*;

use super::forms::Points;
use super::riccati::RiccatiModes;
use crate::numeric::{Purpose, Stream};

/// Relative widths of the pruning that are tried, narrowest first.
const WIDTHS: [f64; 20] = [
    0.0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 5e-5, 1e-4, 1.5e-4, 2e-4, 3e-4, 4e-4, 7e-4, 1.5e-3, 4e-3, 1e-2, 2e-2,
    4e-2, 8e-2, 0.16,
];
/// Directions on which a pair is compared before the costly test.
const SCREEN: usize = 96;
/// Candidates whose coverers are searched side by side.
const BLOCK: usize = 64;
/// Relative slack for rounding in the comparisons, taken off the bound at the end (once per step
/// with a wide margin: values are sums of at most a few thousand positive terms).
const ROUNDING: f64 = 1e-12;

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

/// The bound from the narrowest pruning whose sets stay within `max_forms` members; `None` if none
/// does. `states` are homogeneous.
pub(super) fn certify(
    modes: &RiccatiModes,
    horizon: usize,
    states: &[Vec<f64>],
    max_forms: usize,
    progress: &dyn Fn(f64),
) -> Option<Certificate> {
    WIDTHS.iter().find_map(|&width| {
        progress(width);
        let (set, largest_set) = backward(modes, horizon, width, max_forms)?;
        let points = Points::new(modes.state(), states.iter().map(Vec::as_slice));
        let rounding = 1.0 - 1e3 * ROUNDING * horizon as f64;
        Some(Certificate {
            values: points
                .least(&set)
                .into_iter()
                .map(|(_, value)| value * rounding)
                .collect(),
            width,
            largest_set,
        })
    })
}

/// The candidates at t = 0, not pruned, and the largest kept set; `None` if a set overflows.
fn backward(
    modes: &RiccatiModes,
    horizon: usize,
    width: f64,
    max_forms: usize,
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
        set = prune(candidates, &screen, width, max_forms)?;
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

/// A set such that every candidate lies above a member; `None` beyond `max_forms` members.
fn prune(
    candidates: Vec<DMatrix<f64>>,
    screen: &Points,
    width: f64,
    max_forms: usize,
) -> Option<Vec<DMatrix<f64>>> {
    let values = screen.values(&candidates);
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    // Small members first, since only smaller ones cover others.
    let traces: Vec<f64> = candidates.iter().map(DMatrix::trace).collect();
    order.sort_by(|&a, &b| traces[a].total_cmp(&traces[b]).then(a.cmp(&b)));
    let mut kept: Vec<Kept> = Vec::new();
    for block in order.chunks(BLOCK) {
        let known = kept.len();
        let found: Vec<Option<(usize, f64)>> = block
            .par_iter()
            .map(|&c| coverer(&kept, 0, &candidates[c], &values[c], width))
            .collect();
        for (&c, found) in block.iter().zip(found) {
            // Members added inside this block have not been compared yet.
            let found = match found {
                Some((_, divisor)) if divisor == 1.0 => found,
                _ => match coverer(&kept, known, &candidates[c], &values[c], width) {
                    Some(later) if found.is_none_or(|(_, divisor)| later.1 < divisor) => Some(later),
                    _ => found,
                },
            };
            match found {
                Some((index, divisor)) => {
                    kept[index].divisor = kept[index].divisor.max(divisor);
                }
                None if kept.len() == max_forms => return None,
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
    for (index, member) in kept.iter().enumerate().skip(from) {
        let ratio = member
            .screen
            .iter()
            .zip(screen)
            .map(|(a, b)| a - (1.0 + width) * b)
            .fold(f64::NEG_INFINITY, f64::max);
        if ratio > 0.0 {
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

/// Whether `small <= factor * large` in the semidefinite order, up to [`ROUNDING`].
fn below(small: &DMatrix<f64>, large: &DMatrix<f64>, factor: f64) -> bool {
    let mut gap = large * factor - small;
    let slack = ROUNDING * large.trace();
    for i in 0..gap.nrows() {
        gap[(i, i)] += slack;
    }
    Cholesky::new(gap).is_some()
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
    let is_diagonal =
        |x: &DMatrix<f64>| (0..n).all(|i| (0..n).all(|j| i == j || x[(i, j)] == 0.0));
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
    let points = Points::new(n, states.iter().map(Vec::as_slice));
    Some(points.least(&[value]).into_iter().map(|(_, v)| v).collect())
}
