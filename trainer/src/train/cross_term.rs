//! `cross_term = auto`: how much of the cross term is worth its variance.
//!
//! Scaling an unbiased estimate g of a vector c with covariance S by a factor f has the squared error
//! f^2 tr S + (1 - f)^2 |c|^2, least at f = |c|^2 / (|c|^2 + tr S). Both are estimated from the shards of
//! earlier batches (|mean|^2 less its own variance, and the variance of the mean), averaged
//! exponentially. The factor never depends on the batch that it scales, so it brings no correlation
//! into the gradient; the gradient is biased by (f - 1) c.

use serde::{Deserialize, Serialize};

/// Weight of the newest measurement in the averages.
const WEIGHT: f64 = 0.2;

/// Running estimate of the cross term's signal and noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CrossTermFactor {
    /// Average of |c|^2, estimated without bias (may be negative).
    signal: f64,
    /// Average of the variance of a batch's mean.
    noise: f64,
    /// Number of measurements.
    measured: u32,
}

impl CrossTermFactor {
    /// The factor in [0, 1]; 1 (no bias) before the first measurement.
    #[must_use]
    pub fn factor(&self) -> f32 {
        if self.measured == 0 {
            return 1.0;
        }
        let signal = self.signal.max(0.0);
        let total = signal + self.noise;
        if total > 0.0 && total.is_finite() {
            (signal / total) as f32
        } else {
            0.0
        }
    }

    /// Takes one batch's measurement: the cross term's gradient as each shard saw it (their sum is the
    /// batch's). With fewer than two shards there is no variance to be seen, and nothing changes.
    pub fn observe(&mut self, shards: &[&[f32]]) {
        let count = shards.len() as f64;
        if shards.len() < 2 {
            return;
        }
        let (mut square, mut variance) = (0.0, 0.0);
        for i in 0..shards[0].len() {
            let sum: f64 = shards.iter().map(|s| f64::from(s[i])).sum();
            let mean = sum / count;
            let spread: f64 = shards
                .iter()
                .map(|s| (f64::from(s[i]) - mean).powi(2))
                .sum();
            square += sum * sum;
            // Variance of the sum of `count` independent shards.
            variance += spread * count / (count - 1.0);
        }
        let signal = square - variance;
        if !(signal.is_finite() && variance.is_finite()) {
            return;
        }
        let weight = if self.measured == 0 { 1.0 } else { WEIGHT };
        self.signal += weight * (signal - self.signal);
        self.noise += weight * (variance - self.noise);
        self.measured = self.measured.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::random::{Purpose, Stream};

    /// Shards with mean `signal` in every one of 50 components and standard deviation `noise`.
    fn batch(stream: &mut Stream, signal: f64, noise: f64) -> Vec<Vec<f32>> {
        (0..8)
            .map(|_| {
                (0..50)
                    .map(|_| (signal + noise * stream.normal()) as f32)
                    .collect()
            })
            .collect()
    }

    #[test]
    fn factor_is_the_one_of_least_squared_error() {
        let mut stream = Stream::new(3, Purpose::Noise, 0);
        for (signal, noise) in [(1.0, 0.0), (1.0, 2.0), (0.3, 1.0), (0.0, 1.0)] {
            let mut factor = CrossTermFactor::default();
            for _ in 0..200 {
                let shards = batch(&mut stream, signal, noise);
                factor.observe(&shards.iter().map(Vec::as_slice).collect::<Vec<_>>());
            }
            // The sum of 8 shards has mean 8 signal and variance 8 noise^2 in each component.
            let (square, variance) = (64.0 * signal * signal, 8.0 * noise * noise);
            let best = if square > 0.0 {
                square / (square + variance)
            } else {
                0.0
            };
            let found = f64::from(factor.factor());
            assert!(
                (found - best).abs() < 0.15,
                "{signal} {noise}: {found} against {best}"
            );
        }
    }

    #[test]
    fn nothing_seen_means_no_bias_and_bad_numbers_change_nothing() {
        let mut factor = CrossTermFactor::default();
        assert_eq!(factor.factor(), 1.0);
        factor.observe(&[&[1.0, 2.0]]);
        factor.observe(&[&[f32::NAN], &[1.0]]);
        assert_eq!(factor, CrossTermFactor::default());
        factor.observe(&[&[0.0, 0.0], &[0.0, 0.0]]);
        assert_eq!(factor.factor(), 0.0);
    }
}
