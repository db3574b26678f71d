//! What `hpo gradcheck` reports, and what of it must hold.

use serde::Serialize;

use crate::error::{Error, Result};

/// Greatest relative standard error along the exact gradient with which the mean counts as tested.
pub const RELATIVE_ERROR: f64 = 0.01;
/// |z| beyond which the far case must be without the cross term: the test that the estimator passes can see what is missing.
pub const POWER: f64 = 10.0;
/// Relative bias without the cross term below which there is no such term to miss, as with a single mode.
pub(super) const NO_CROSS_TERM: f64 = 1e-9;

/// What is measured of one policy.
#[derive(Clone, Debug, Serialize)]
pub struct CaseReport {
    /// Trajectories behind the sampled figures of this policy: as many as were asked for, or more.
    pub trajectories: usize,
    /// Greatest |z| of the estimator's mean against the exact gradient: its projection on the exact gradient and
    /// on eight vectors of +-1, for each parameter block.
    pub max_z: f64,
    /// Standard error of the mean along the exact gradient, relative to its norm.
    pub relative_standard_error: f64,
    /// |mean - exact| / |exact|; sampling noise included.
    pub relative_bias: f64,
    /// As `max_z`, for the estimator without the cross term.
    pub max_z_without_cross_term: f64,
    /// |E - exact| / |exact| of the estimator without the cross term, by enumeration: no sampling noise.
    pub relative_bias_without_cross_term: f64,
    /// Greatest difference between the exact gradient and central differences of the exact objective along the
    /// same vectors, relative.
    pub difference_error: f64,
    /// The parts of the gradient.
    pub parts: Vec<PartReport>,
}

impl CaseReport {
    /// The part of that name.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&PartReport> {
        self.parts.iter().find(|part| part.part == name)
    }
}

/// One part of the gradient.
#[derive(Clone, Debug, Serialize)]
pub struct PartReport {
    /// Which part: `score function (selector)`, `pathwise (laws)`, `cross term (laws)`, `mixed (laws)`, or
    /// `score function (laws)` of a perturbed control.
    pub part: &'static str,
    /// Sum over the parameters of the variance of one trajectory's estimate.
    pub variance: f64,
    /// Squared norm of the mean over that variance.
    pub signal_to_noise: f64,
    /// Mean cosine of an estimate from 512 trajectories with the exact gradient of the same parameters; null with
    /// fewer samples. A part that is not the whole gradient of its parameters need not come near 1.
    pub alignment: Option<f64>,
}

/// One point on the way from a random selector to a best response, all laws unchanged; by enumeration, without
/// sampling noise.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ResponsePoint {
    /// Percent by which the expected cost is above that of the best choice sequence from every start; no
    /// selector over these laws comes below 0.
    pub excess_percent: f64,
    /// Mean entropy of the selector in nats.
    pub entropy: f64,
    /// Norm of the laws' exact gradient.
    pub laws_gradient: f64,
    /// Norm of the cross term in it.
    pub cross_term: f64,
    /// Bias without the cross term, relative to the laws' gradient.
    pub relative_bias_of_laws: f64,
    /// The same relative to the whole gradient, as in [`CaseReport`].
    pub relative_bias_without_cross_term: f64,
    /// `excess_percent` of the random selector with its logits scaled to the same mean entropy: as sharp, and no
    /// response to the laws.
    pub as_sharp_excess_percent: f64,
    /// `cross_term` of that selector.
    pub as_sharp_cross_term: f64,
    /// `relative_bias_of_laws` of that selector.
    pub as_sharp_relative_bias_of_laws: f64,
}

/// The gradient's parts in the family's plant of one size with two modes, for policies after ten epochs of training; means over
/// seeds (geometric ones of variances and their ratios).
#[derive(Clone, Debug, Serialize)]
pub struct DimensionReport {
    /// Length of state and control.
    pub n: usize,
    /// Parameters of the policy.
    pub parameters: usize,
    /// Horizon of the set-up, the same for all sizes.
    pub horizon: usize,
    /// Seeds of states, policies and samples.
    pub seeds: usize,
    /// The parts, and the score function of the laws with the greatest perturbation.
    pub parts: Vec<PartReport>,
    /// Variance of the score function over that of the mixed gradient, law parameters.
    pub variance_ratios: Vec<VarianceRatio>,
}

/// Score function against mixed gradient for one perturbation of the control.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct VarianceRatio {
    /// Standard deviation of the Gaussian perturbation, in units of the control.
    pub deviation: f64,
    /// Variance of the score function over the mixed gradient's.
    pub ratio: f64,
}

/// How a ratio of variances grows with the dimension.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Growth {
    /// Standard deviation of the perturbation.
    pub deviation: f64,
    /// Exponent e of the least-squares fit ratio ~ n^e.
    pub exponent: f64,
}

/// What `hpo gradcheck` measures.
#[derive(Clone, Debug, Serialize)]
pub struct GradcheckReport {
    /// Name of the plant.
    pub plant: String,
    /// Horizon of the set-up.
    pub horizon: usize,
    /// Choice sequences that were listed for each initial state.
    pub sequences: usize,
    /// Parameters of the policy.
    pub parameters: usize,
    /// Trajectories asked for, for each figure that is sampled; a case takes more where it needs them.
    pub samples: usize,
    /// The figures of the far case.
    #[serde(flatten)]
    pub far: CaseReport,
    /// Variance of the score function over that of the mixed gradient, law parameters, with the same
    /// Gaussian perturbation of the control of standard deviation 0.1 (far case); null on a plant with control bounds.
    pub variance_ratio: Option<f64>,
    /// The figures near a discrete best response to the same laws.
    pub near: CaseReport,
    /// The way from far to near.
    pub path: Vec<ResponsePoint>,
    /// The family's plants of other sizes, where they were asked for.
    pub dimensions: Vec<DimensionReport>,
    /// How the ratios grow over these sizes; empty for fewer than two.
    pub variance_ratio_growth: Vec<Growth>,
}

impl GradcheckReport {
    /// Fails where the mean of the estimator is not the exact gradient or is not known to 1 %, the exact gradient
    /// is not the slope of the exact objective, or the far case would not have seen that the cross term is missing.
    ///
    /// # Errors
    /// [`Error::Negative`] with the figure that is out of its limit.
    pub fn verdict(&self) -> Result<()> {
        for (name, case) in [("far", &self.far), ("near", &self.near)] {
            for (what, found, limit) in [
                ("greatest |z|", case.max_z, 5.0),
                (
                    "difference to finite differences",
                    case.difference_error,
                    1e-6,
                ),
            ] {
                if found.is_nan() || found >= limit {
                    return Err(Error::Negative(format!(
                        "{name} case: {what}: found {found:.3e}; allowed: below {limit:e}"
                    )));
                }
            }
            let error = case.relative_standard_error;
            if error.is_nan() || error > RELATIVE_ERROR {
                return Err(Error::Negative(format!(
                    "{name} case: standard error along the exact gradient, relative: found {:.2} % from {} \
                     trajectories; allowed: up to {} %; more --samples bring it down",
                    100.0 * error,
                    case.trajectories,
                    100.0 * RELATIVE_ERROR
                )));
            }
        }
        let (bias, z) = (
            self.far.relative_bias_without_cross_term,
            self.far.max_z_without_cross_term,
        );
        if bias > NO_CROSS_TERM && z.is_nan() | (z <= POWER) {
            return Err(Error::Negative(format!(
                "far case, without the cross term: greatest |z|: found {z:.2} from {} trajectories; allowed: above \
                 {POWER}, or the test has not the power to see a term of {bias:.1e} of the gradient; more --samples bring it up",
                self.far.trajectories
            )));
        }
        Ok(())
    }
}
