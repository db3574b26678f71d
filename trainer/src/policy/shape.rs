//! The structure of a policy, apart from its parameters.

use crate::plant::Constraints;
use serde::{Deserialize, Serialize};

/// What the selector and the control network see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// The shifted and scaled state xi.
    Affine,
    /// xi / |xi|; the control network's output is multiplied by |xi|. Only for plants whose optimal
    /// mode depends on the direction of the state alone.
    UnitNorm,
}

/// Structure of a policy: sizes, which parts it has, and the choice table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyShape {
    /// Length n of the state.
    pub state: usize,
    /// Length m of the control.
    pub control: usize,
    /// Plant modes M.
    pub modes: usize,
    /// Plant mode of each choice; its length is the number of choices C.
    pub choice_modes: Vec<usize>,
    /// What the networks see.
    pub input: InputKind,
    /// Shift of the state `[n]`.
    pub input_shift: Vec<f64>,
    /// Scale of the shifted state `[n]`, each > 0.
    pub input_scale: Vec<f64>,
    /// Whether the selector has a quadratic score per choice.
    pub scores: bool,
    /// Hidden widths of the selector network, if there is one.
    pub selector_hidden: Option<Vec<usize>>,
    /// Whether each choice has a linear gain.
    pub gains: bool,
    /// Hidden widths of the control network, if there is one.
    pub control_hidden: Option<Vec<usize>>,
    /// Whether the control network has an output head per choice (else one for all).
    pub head_per_choice: bool,
    /// Control bounds `[m]` each, if the plant has them.
    pub bounds: Option<(Vec<f64>, Vec<f64>)>,
    /// Rate limits and mode rules of the plant.
    #[serde(skip)]
    pub constraints: Constraints,
}

impl PolicyShape {
    /// Number of choices C.
    #[must_use]
    pub fn choices(&self) -> usize {
        self.choice_modes.len()
    }

    /// Number of monomials n(n+1)/2.
    #[must_use]
    pub fn monomials(&self) -> usize {
        self.state * (self.state + 1) / 2
    }

    /// Whether the gains carry a constant offset: only where the law need not be homogeneous.
    #[must_use]
    pub fn gain_offsets(&self) -> bool {
        self.gains && self.input == InputKind::Affine
    }

    /// Number of control heads: 0 without a control network, else 1 or C.
    #[must_use]
    pub fn heads(&self) -> usize {
        match (&self.control_hidden, self.head_per_choice) {
            (None, _) => 0,
            (Some(_), true) => self.choices(),
            (Some(_), false) => 1,
        }
    }
}
