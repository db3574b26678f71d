//! Random numbers that enter a plant's transition: process noise, demand.

use crate::numeric::Stream;

/// Greatest mean of a Poisson variable: beyond it the table below is no longer small.
pub const MAX_POISSON_MEAN: f64 = 10_000.0;

/// Distribution of the noise vector that [`super::Plant::step`] is given.
#[derive(Clone, Debug, PartialEq)]
pub enum Disturbance {
    /// So many independent standard normal numbers; the plant scales them.
    Normal(usize),
    /// Independent Poisson counts.
    Poisson(Vec<Poisson>),
}

impl Disturbance {
    /// Length of the noise vector.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Normal(count) => *count,
            Self::Poisson(counts) => counts.len(),
        }
    }

    /// Whether the plant is deterministic.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Draws the noise of one step into `out`, one number after the other from `stream`: the k-th step of a stream does
    /// not depend on the policy, so that all policies meet the same noise. Only the first [`Disturbance::len`] entries of
    /// `out` are written.
    pub fn draw(&self, stream: &mut Stream, out: &mut [f64]) {
        match self {
            Self::Normal(count) => {
                for value in &mut out[..*count] {
                    *value = stream.normal();
                }
            }
            Self::Poisson(counts) => {
                for (value, count) in out.iter_mut().zip(counts) {
                    *value = count.quantile(stream.uniform()) as f64;
                }
            }
        }
    }
}

/// A Poisson variable with its distribution function in a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Poisson {
    mean: f64,
    /// P(X <= k) for k = 0, 1, ..., up to where it is 1 in `f64`.
    cumulative: Vec<f64>,
}

impl Poisson {
    /// The variable with this mean, greater than 0 and at most [`MAX_POISSON_MEAN`].
    ///
    /// # Panics
    /// If the mean is out of range.
    #[must_use]
    pub fn new(mean: f64) -> Self {
        assert!(
            mean > 0.0 && mean <= MAX_POISSON_MEAN,
            "mean of a Poisson variable"
        );
        // Beyond mean + 12 deviations + 40 the tail is below 1e-17 for every mean in range.
        let last = (mean + 12.0 * libm::sqrt(mean) + 40.0) as usize;
        let mut sum = 0.0;
        let mut log_factorial = 0.0;
        let mut cumulative = Vec::with_capacity(last + 1);
        for k in 0..=last {
            if k > 0 {
                log_factorial += libm::log(k as f64);
            }
            sum += libm::exp(k as f64 * libm::log(mean) - mean - log_factorial);
            cumulative.push(sum);
        }
        // Rounding of the sum, about 1e-13, must not leave a quantile beyond the table.
        for value in &mut cumulative {
            *value /= sum;
        }
        Self { mean, cumulative }
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The least k with P(X <= k) > `uniform`, for `uniform` in `[0, 1)`.
    #[must_use]
    pub fn quantile(&self, uniform: f64) -> usize {
        let last = self.cumulative.len() - 1;
        self.cumulative.partition_point(|&p| p <= uniform).min(last)
    }

    /// P(X = k) for k = 0, 1, ... to the end of the table; they sum to 1.
    pub fn probabilities(&self) -> impl Iterator<Item = f64> + '_ {
        let before = std::iter::once(0.0).chain(self.cumulative.iter().copied());
        self.cumulative.iter().zip(before).map(|(p, q)| p - q)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::Purpose;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn poisson_has_its_moments(mean in 0.01_f64..400.0) {
            let variable = Poisson::new(mean);
            let sum: f64 = variable.probabilities().sum();
            let first: f64 = variable.probabilities().enumerate().map(|(k, p)| k as f64 * p).sum();
            let second: f64 =
                variable.probabilities().enumerate().map(|(k, p)| (k as f64).powi(2) * p).sum();
            prop_assert!((sum - 1.0).abs() < 1e-12);
            prop_assert!((first - mean).abs() < 1e-9 * mean.max(1.0));
            prop_assert!((second - first * first - mean).abs() < 1e-8 * mean.max(1.0));
        }

        #[test]
        fn quantile_inverts_the_distribution(mean in 0.1_f64..100.0, uniform in 0.0_f64..1.0) {
            let variable = Poisson::new(mean);
            let k = variable.quantile(uniform);
            prop_assert!(variable.cumulative[k] > uniform || k + 1 == variable.cumulative.len());
            prop_assert!(k == 0 || variable.cumulative[k - 1] <= uniform);
        }
    }

    #[test]
    fn draws_depend_on_the_stream_alone() {
        let demand = Disturbance::Poisson(vec![Poisson::new(6.0), Poisson::new(14.0)]);
        let draw = |count: usize| {
            let mut stream = Stream::new(1, Purpose::Noise, 7);
            let mut out = [0.0; 2];
            (0..count)
                .map(|_| {
                    demand.draw(&mut stream, &mut out);
                    out
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(50), draw(100)[..50]);
        let mean = draw(20_000).iter().map(|d| d[1]).sum::<f64>() / 20_000.0;
        assert!(
            (mean - 14.0).abs() < 5.0 * (14.0_f64 / 20_000.0).sqrt(),
            "{mean}"
        );
    }
}
