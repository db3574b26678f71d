//! Controllers that a plant family brings along: what a learned policy is to be measured against.

/// A controller that needs only time and state.
pub trait ReferencePolicy: Sync {
    /// Writes the control (length m) for state `x` (length n) at step `t` and returns the mode.
    ///
    /// Beyond the horizon for which a time-varying policy was made it acts as at its last step.
    fn act(&self, t: usize, x: &[f64], u: &mut [f64]) -> usize;
}

/// A classical controller of a plant family, by the name that `hpo eval` takes.
pub struct Baseline {
    /// Its name: lower case, no spaces.
    pub name: &'static str,
    /// What it is in one line, with the numbers it was tuned to.
    pub description: String,
    /// The controller.
    pub policy: Box<dyn ReferencePolicy + Send>,
}

impl std::fmt::Debug for Baseline {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Baseline({}: {})", self.name, self.description)
    }
}
