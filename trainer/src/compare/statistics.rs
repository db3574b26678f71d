//! Means with confidence intervals, Welch's test, rank correlation.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// Mean and spread of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Number of values, at least 1.
    pub count: usize,
    /// Mean.
    pub mean: f64,
    /// Variance with count - 1 in the denominator; 0 for one value.
    pub variance: f64,
    /// Least value.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
}

impl Sample {
    /// Of the given values; `None` for none.
    #[must_use]
    pub fn new(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        Some(Self {
            count,
            mean,
            variance: squares / (count - 1).max(1) as f64,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }

    /// Half the length of the 95 % confidence interval of the mean (Student's t); `None` for one value.
    #[must_use]
    pub fn half_width_95(&self) -> Option<f64> {
        if self.count < 2 {
            return None;
        }
        let t = StudentsT::new(0.0, 1.0, (self.count - 1) as f64).ok()?;
        Some(t.inverse_cdf(0.975) * (self.variance / self.count as f64).sqrt())
    }
}

/// Welch's t-test, one sided: the probability of a difference at least as great if the mean behind `a` were not
/// lower than that behind `b`. `None` with fewer than two values on a side.
///
/// B. L. Welch, Biometrika 34 (1947); degrees of freedom by Welch and Satterthwaite.
#[must_use]
pub fn welch_lower(a: &Sample, b: &Sample) -> Option<f64> {
    if a.count < 2 || b.count < 2 {
        return None;
    }
    let (va, vb) = (a.variance / a.count as f64, b.variance / b.count as f64);
    let difference = a.mean - b.mean;
    let total = va + vb;
    if total == 0.0 {
        // Both are constant: the answer is certain, or there is no difference at all.
        return Some(match difference.total_cmp(&0.0) {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Greater => 1.0,
        });
    }
    let freedom = total * total / (va * va / (a.count - 1) as f64 + vb * vb / (b.count - 1) as f64);
    let t = StudentsT::new(0.0, 1.0, freedom).ok()?;
    Some(t.cdf(difference / total.sqrt()))
}

/// Ranks from 1; equal values share the mean of their ranks.
#[must_use]
pub fn ranks(values: &[f64]) -> Vec<f64> {
    values
        .iter()
        .map(|v| {
            let below = values.iter().filter(|w| *w < v).count() as f64;
            let equal = values.iter().filter(|w| *w == v).count() as f64;
            below + (equal + 1.0) / 2.0
        })
        .collect()
}

/// Spearman's rank correlation, ties with mean ranks; `None` with fewer than two pairs or where a side is
/// constant.
///
/// # Panics
/// If the lengths differ.
#[must_use]
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "pairs");
    let (x, y) = (ranks(x), ranks(y));
    let mean = (x.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    let scale = (product(&x, &x) * product(&y, &y)).sqrt();
    (scale > 0.0).then(|| product(&x, &y) / scale)
}

/// Kendall's tau-b; `None` with fewer than two pairs or where a side is constant.
///
/// # Panics
/// If the lengths differ.
#[must_use]
pub fn kendall(x: &[f64], y: &[f64]) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "pairs");
    let sign = |a: f64, b: f64| (a > b) as i32 - (a < b) as i32;
    let (mut agreement, mut untied_x, mut untied_y) = (0, 0, 0);
    for i in 0..x.len() {
        for j in 0..i {
            let (dx, dy) = (sign(x[i], x[j]), sign(y[i], y[j]));
            agreement += dx * dy;
            untied_x += dx.abs();
            untied_y += dy.abs();
        }
    }
    let scale = (f64::from(untied_x) * f64::from(untied_y)).sqrt();
    (scale > 0.0).then(|| f64::from(agreement) / scale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(found: f64, known: f64) {
        assert!((found - known).abs() < 1e-6, "{found} {known}");
    }

    #[test]
    fn confidence_intervals_of_a_textbook_sample() {
        // t(0.975; 4) = 2.776445: Student's table.
        let sample = Sample::new(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        near(sample.mean, 3.0);
        near(sample.variance, 2.5);
        near(
            sample.half_width_95().unwrap(),
            2.776_445_105 * (2.5_f64 / 5.0).sqrt(),
        );
        assert_eq!((sample.min, sample.max), (1.0, 5.0));
        let one = Sample::new(&[7.0]).unwrap();
        assert_eq!(one.half_width_95(), None);
        assert_eq!(Sample::new(&[]), None);
    }

    #[test]
    fn welch_agrees_with_integration_of_the_density() {
        let a = Sample::new(&[27.5, 21.0, 19.0, 23.6, 17.0, 17.9]).unwrap();
        let b = Sample::new(&[27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8]).unwrap();
        let p = welch_lower(&a, &b).unwrap();
        let (va, vb) = (a.variance / 6.0, b.variance / 7.0);
        let freedom = (va + vb).powi(2) / (va * va / 5.0 + vb * vb / 6.0);
        let t = (a.mean - b.mean) / (va + vb).sqrt();
        // With the angle s = atan(x / sqrt(freedom)) the density is a power of a cosine.
        let density = |s: f64| s.cos().powf(freedom - 1.0);
        let integral = |from: f64, to: f64| {
            let steps = 20_000;
            let h = (to - from) / f64::from(steps);
            let inner: f64 = (0..steps)
                .map(|i| density(from + (f64::from(i) + 0.5) * h))
                .sum();
            inner * h
        };
        let half = std::f64::consts::FRAC_PI_2;
        let known = integral(-half, (t / freedom.sqrt()).atan()) / integral(-half, half);
        near(p, known);
        near(welch_lower(&b, &a).unwrap(), 1.0 - known);
        assert_eq!(welch_lower(&Sample::new(&[1.0]).unwrap(), &a), None);
        let constant = |v: f64| Sample::new(&[v, v]).unwrap();
        assert_eq!(welch_lower(&constant(1.0), &constant(2.0)), Some(0.0));
        assert_eq!(welch_lower(&constant(2.0), &constant(2.0)), Some(0.5));
    }

    #[test]
    fn rank_correlations_of_known_lists() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0];
        near(spearman(&x, &[2.0, 1.0, 4.0, 3.0, 5.0]).unwrap(), 0.8);
        near(kendall(&x, &[2.0, 1.0, 4.0, 3.0, 5.0]).unwrap(), 0.6);
        assert_eq!(ranks(&[3.0, 1.0, 3.0]), [2.5, 1.0, 2.5]);
        assert_eq!(spearman(&x, &[1.0; 5]), None);
        assert_eq!(kendall(&[1.0], &[1.0]), None);
    }

    proptest! {
        #[test]
        fn rank_correlations_see_order_alone(y in prop::collection::vec(-5.0..5.0_f64, 3..9)) {
            let x: Vec<f64> = (0..y.len()).map(|i| i as f64).collect();
            let cubed: Vec<f64> = y.iter().map(|v| v * v * v).collect();
            let negated: Vec<f64> = y.iter().map(|v| -v).collect();
            for measure in [spearman, kendall] {
                if let Some(r) = measure(&x, &y) {
                    prop_assert!((-1.0 - 1e-12..=1.0 + 1e-12).contains(&r));
                    prop_assert!((measure(&x, &cubed).unwrap() - r).abs() < 1e-12);
                    prop_assert!((measure(&x, &negated).unwrap() + r).abs() < 1e-12);
                    prop_assert!((measure(&y, &x).unwrap() - r).abs() < 1e-12);
                }
            }
            prop_assert!((spearman(&x, &x).unwrap() - 1.0).abs() < 1e-12);
        }
    }
}
