//! Columns that the line of a cell, the rows of the table and the references share.

use serde::{Deserialize, Serialize};

/// A plant, and what it can be controlled for without training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct References {
    /// Name of the plant.
    pub plant: String,
    /// States.
    pub n: usize,
    /// Modes.
    pub modes: usize,
    /// Cost of the best known control; null where none is valid.
    pub optimal_cost: Option<f64>,
    /// Certified lower bound; null where none is valid.
    pub lower_bound: Option<f64>,
    /// Cost of averaged Riccati with one-step look-ahead; null where it has no solution.
    pub averaged_riccati_cost: Option<f64>,
    /// Cost of the best fixed mode; null for plants that are not linear-quadratic.
    pub best_fixed_mode_cost: Option<f64>,
    /// Cost of round robin; null for plants that are not linear-quadratic.
    pub round_robin_cost: Option<f64>,
    /// The cheapest classical controller of the plant's family; null where it has none.
    #[serde(default)]
    pub best_baseline: Option<String>,
    /// Its cost.
    #[serde(default)]
    pub best_baseline_cost: Option<f64>,
    /// Switches per episode of the best known control.
    pub optimal_switches: Option<f64>,
}

impl References {
    /// The cost that gaps are shown against: the optimum's best upper bound, and where none is valid, the cheapest classical controller's.
    #[must_use]
    pub fn best_known_cost(&self) -> Option<f64> {
        self.optimal_cost.or(self.best_baseline_cost)
    }
}

/// Size of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Trained numbers.
    pub parameters: usize,
    /// Bytes of the policy file.
    pub policy_bytes: usize,
    /// Bytes of the trained numbers in `f32`.
    pub weight_bytes: usize,
    /// Bytes of the trained numbers with 8-bit network weights.
    pub weight_bytes_8_bit: usize,
}
