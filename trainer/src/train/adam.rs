//! Adam (Kingma and Ba, 2015, algorithm 1) with a step size per parameter group.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::numeric::{LANES, Lanes, arch};

/// Exponential decay of the first moment.
const BETA1: f32 = 0.9;
/// Exponential decay of the second moment.
const BETA2: f32 = 0.99;
/// Added to the root of the second moment.
const EPSILON: f32 = 1e-8;

/// Parameters that one thread moves at a time; fewer than two such chunks stay on one thread.
pub(super) const CHUNK: usize = 1 << 14;

/// First and second moments of every parameter, and the number of steps that moved it: a pass that
/// moves the selector alone must not age the laws' moments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    first: Vec<f32>,
    second: Vec<f32>,
    steps: Vec<u32>,
}

impl Adam {
    /// No steps taken yet, for `parameters` parameters.
    #[must_use]
    pub fn new(parameters: usize) -> Self {
        Self {
            first: vec![0.0; parameters],
            second: vec![0.0; parameters],
            steps: vec![0; parameters],
        }
    }

    /// Number of parameters the moments are for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether there are no parameters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// One descent step: each range of `groups` moves with its own step size. A range must always be
    /// given whole. Panics if a range reaches beyond the parameters.
    pub fn step(
        &mut self,
        parameters: &mut [f32],
        gradient: &[f32],
        groups: impl Iterator<Item = (Range<usize>, f32)>,
    ) {
        for (range, step_size) in groups {
            let Some(steps) = self.steps[range.clone()].first().map(|steps| steps + 1) else {
                continue;
            };
            let correction1 = 1.0 - libm::powf(BETA1, steps as f32);
            let correction2 = 1.0 - libm::powf(BETA2, steps as f32);
            let shared = Rule {
                step_size,
                correction1,
                correction2,
            };
            let move_chunk = |((parameters, gradient), ((first, second), count))| {
                <[u32]>::fill(count, steps);
                arch().dispatch(Move {
                    shared,
                    parameters,
                    gradient,
                    first,
                    second,
                });
            };
            let (parameters, gradient) = (&mut parameters[range.clone()], &gradient[range.clone()]);
            let (first, second) = (
                &mut self.first[range.clone()],
                &mut self.second[range.clone()],
            );
            let count = &mut self.steps[range];
            if parameters.len() < 2 * CHUNK {
                move_chunk(((parameters, gradient), ((first, second), count)));
            } else {
                let moments = first
                    .par_chunks_mut(CHUNK)
                    .zip(second.par_chunks_mut(CHUNK))
                    .zip(count.par_chunks_mut(CHUNK));
                parameters
                    .par_chunks_mut(CHUNK)
                    .zip(gradient.par_chunks(CHUNK))
                    .zip(moments)
                    .for_each(move_chunk);
            }
        }
    }
}

/// What all parameters of a step share.
#[derive(Clone, Copy)]
struct Rule {
    step_size: f32,
    correction1: f32,
    correction2: f32,
}

/// Moves a stretch of parameters; each is on its own, so neither threads nor vectors change a bit.
struct Move<'a> {
    shared: Rule,
    parameters: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl WithSimd for Move<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Rule {
            step_size,
            correction1,
            correction2,
        } = self.shared;
        let moments = self.first.iter_mut().zip(self.second);
        let values = self.parameters.iter_mut().zip(self.gradient);
        for ((parameter, &g), (first, second)) in values.zip(moments) {
            *first = BETA1 * *first + (1.0 - BETA1) * g;
            *second = BETA2 * *second + (1.0 - BETA2) * g * g;
            let mean = *first / correction1;
            let deviation = (*second / correction2).sqrt() + EPSILON;
            *parameter -= step_size * mean / deviation;
        }
    }
}

/// Scales `gradient` down so that its Euclidean norm is at most `limit`; returns the norm before.
///
/// Squares are summed in `f64`: entry i goes to sum i mod [`LANES`], and the sums are added as
/// [`Lanes::sum`] does.
pub fn clip_norm(gradient: &mut [f32], limit: f32) -> f32 {
    let norm = arch().dispatch(Squares(gradient)).sqrt() as f32;
    if norm > limit {
        let factor = limit / norm;
        for g in gradient {
            *g *= factor;
        }
    }
    norm
}

/// Sum of squares.
struct Squares<'a>(&'a [f32]);

impl WithSimd for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> f64 {
        let mut sums = Lanes::<f64>::default();
        let (whole, rest) = self.0.as_chunks::<LANES>();
        for chunk in whole {
            for lane in 0..LANES {
                let g = f64::from(chunk[lane]);
                sums.0[lane] += g * g;
            }
        }
        for (sum, &g) in sums.0.iter_mut().zip(rest) {
            *sum += f64::from(g) * f64::from(g);
        }
        sums.sum()
    }
}

#[cfg(test)]
#[path = "adam_tests.rs"]
mod tests;
