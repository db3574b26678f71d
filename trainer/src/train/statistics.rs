//! Statistics of gradient estimates: means, variances, and tests of a mean against an exact value.

use std::ops::Range;

use crate::numeric::random::{Purpose, Stream};

/// Vectors of +-1 per parameter block, beside the exact gradient itself.
const RANDOM_VECTORS: u64 = 8;

/// Mean and variance of estimates, over a range of parameters.
#[derive(Clone, Debug)]
pub struct Spread {
    /// Mean of each parameter of the range.
    pub mean: Vec<f64>,
    /// Sum over the parameters of the variance of one estimate.
    pub variance: f64,
    /// Squared norm of the mean, less what the noise of the mean adds to it; at least 0.
    pub signal: f64,
}

impl Spread {
    /// Of at least two estimates.
    #[must_use]
    pub fn new(estimates: &[Vec<f64>], range: Range<usize>) -> Self {
        let count = estimates.len() as f64;
        let mut mean = vec![0.0; range.len()];
        for estimate in estimates {
            for (mean, &g) in mean.iter_mut().zip(&estimate[range.clone()]) {
                *mean += g / count;
            }
        }
        let mut squares = 0.0;
        for estimate in estimates {
            for (&mean, &g) in mean.iter().zip(&estimate[range.clone()]) {
                squares += (g - mean) * (g - mean);
            }
        }
        let variance = squares / (count - 1.0).max(1.0);
        let norm: f64 = mean.iter().map(|m| m * m).sum();
        Self {
            mean,
            variance,
            signal: (norm - variance / count).max(0.0),
        }
    }
}

/// Vectors on which gradients are compared: per block the exact gradient and eight of +-1.
#[derive(Clone, Debug)]
pub struct Projections {
    exact: Vec<f64>,
    /// Block and vector (of the block's length).
    vectors: Vec<(Range<usize>, Vec<f64>)>,
}

impl Projections {
    /// For the given exact gradient and parameter blocks.
    #[must_use]
    pub fn new(exact: &[f64], blocks: &[Range<usize>], seed: u64) -> Self {
        let mut vectors = Vec::new();
        for (number, block) in blocks.iter().enumerate() {
            vectors.push((block.clone(), exact[block.clone()].to_vec()));
            for index in 0..RANDOM_VECTORS {
                let stream_index = number as u64 * RANDOM_VECTORS + index;
                let mut stream = Stream::new(seed, Purpose::Shuffle, stream_index);
                let signs = (0..block.len())
                    .map(|_| if stream.uniform() < 0.5 { -1.0 } else { 1.0 })
                    .collect();
                vectors.push((block.clone(), signs));
            }
        }
        Self {
            exact: exact.to_vec(),
            vectors,
        }
    }

    /// Greatest |z| over the vectors: the mean's projection less the exact one, over its standard error.
    #[must_use]
    pub fn max_z(&self, estimates: &[Vec<f64>]) -> f64 {
        self.vectors
            .iter()
            .map(|(block, vector)| {
                let (mean, error) = projected(estimates, block, vector);
                let exact = dot(&self.exact[block.clone()], vector);
                (mean - exact).abs() / error.max(rounding(estimates, block, vector))
            })
            .fold(0.0, f64::max)
    }

    /// Greatest |z| that estimates of this spread with a bias of `bias` are expected to show: what a test of so many
    /// can see. Does not depend on their mean.
    #[must_use]
    pub fn expected_z(&self, estimates: &[Vec<f64>], bias: &[f64]) -> f64 {
        self.vectors
            .iter()
            .map(|(block, vector)| {
                let (_, error) = projected(estimates, block, vector);
                dot(&bias[block.clone()], vector).abs()
                    / error.max(rounding(estimates, block, vector))
            })
            .fold(0.0, f64::max)
    }

    /// Standard error of the mean's projection on the whole exact gradient, relative to the gradient's norm.
    #[must_use]
    pub fn relative_standard_error(&self, estimates: &[Vec<f64>]) -> f64 {
        let (_, error) = projected(estimates, &(0..self.exact.len()), &self.exact);
        error / dot(&self.exact, &self.exact)
    }

    /// Greatest difference between the exact gradient's projections and central differences (fourth
    /// order) of `objective` along the vectors, relative to the norm of the whole gradient times the vector's.
    pub fn difference_error(&self, at: &[f64], objective: impl Fn(&[f64]) -> f64) -> f64 {
        self.vectors
            .iter()
            .filter(|(_, vector)| dot(vector, vector) > 0.0)
            .map(|(block, vector)| {
                let length = dot(vector, vector).sqrt();
                // A sharp selector bends within a thousandth; the rounding of the objective allows this.
                let step = 2e-4 / length;
                let moved = |factor: f64| {
                    let mut parameters = at.to_vec();
                    for (p, v) in parameters[block.clone()].iter_mut().zip(vector) {
                        *p += factor * step * v;
                    }
                    objective(&parameters)
                };
                let slope =
                    (8.0 * (moved(1.0) - moved(-1.0)) - (moved(2.0) - moved(-2.0))) / (12.0 * step);
                let exact = dot(&self.exact[block.clone()], vector);
                let scale = dot(&self.exact, &self.exact).sqrt() * length;
                (slope - exact).abs() / scale.max(1e-12)
            })
            .fold(0.0, f64::max)
    }
}

/// Estimates are sums of rounded numbers: what a projection can be off by without any chance in it.
const ROUNDING: f64 = 1e-10;

/// Standard error below which nothing can be told from rounding. Some directions have no spread at all: the
/// derivatives of the logits sum to zero over the choices, and with one mode nothing is drawn.
fn rounding(estimates: &[Vec<f64>], block: &Range<usize>, vector: &[f64]) -> f64 {
    let squares: f64 = estimates
        .iter()
        .map(|estimate| dot(&estimate[block.clone()], &estimate[block.clone()]))
        .sum();
    ROUNDING * (dot(vector, vector) * squares / estimates.len() as f64).sqrt()
}

/// Mean of the estimates' projections and its standard error.
fn projected(estimates: &[Vec<f64>], block: &Range<usize>, vector: &[f64]) -> (f64, f64) {
    let count = estimates.len() as f64;
    let values: Vec<f64> = estimates
        .iter()
        .map(|estimate| dot(&estimate[block.clone()], vector))
        .collect();
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    (mean, (squares / (count - 1.0).max(1.0) / count).sqrt())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
