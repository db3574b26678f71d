//! Adam (Kingma and Ba, 2015, algorithm 1) with a step size per parameter group.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Exponential decay of the first moment.
const BETA1: f32 = 0.9;
/// Exponential decay of the second moment.
const BETA2: f32 = 0.99;
/// Added to the root of the second moment.
const EPSILON: f32 = 1e-8;

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
            self.steps[range.clone()].fill(steps);
            let correction1 = 1.0 - libm::powf(BETA1, steps as f32);
            let correction2 = 1.0 - libm::powf(BETA2, steps as f32);
            for i in range {
                let g = gradient[i];
                self.first[i] = BETA1 * self.first[i] + (1.0 - BETA1) * g;
                self.second[i] = BETA2 * self.second[i] + (1.0 - BETA2) * g * g;
                let mean = self.first[i] / correction1;
                let deviation = (self.second[i] / correction2).sqrt() + EPSILON;
                parameters[i] -= step_size * mean / deviation;
            }
        }
    }
}

/// Scales `gradient` down so that its Euclidean norm is at most `limit`; returns the norm before.
pub fn clip_norm(gradient: &mut [f32], limit: f32) -> f32 {
    let norm = gradient
        .iter()
        .map(|&g| f64::from(g) * f64::from(g))
        .sum::<f64>()
        .sqrt() as f32;
    if norm > limit {
        let factor = limit / norm;
        for g in gradient {
            *g *= factor;
        }
    }
    norm
}

#[cfg(test)]
#[path = "adam_tests.rs"]
mod tests;
