//! The structure of a policy, apart from its parameters.

use policy_format::Region;

use crate::numeric::Real;
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

/// Regions of the control by choice: `C * m` numbers in each list, choice by choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlRegions {
    /// Lower ends.
    pub lower: Vec<f64>,
    /// Upper ends; `f32::MAX` for none.
    pub upper: Vec<f64>,
    /// Half widths of the rounding at the ends.
    pub corner: Vec<f64>,
}

impl ControlRegions {
    /// The regions of `m` controls for `laws` choices of each mode.
    #[must_use]
    pub fn repeated(&self, m: usize, laws: usize) -> Self {
        let each = |list: &[f64]| -> Vec<f64> {
            let rows = list.chunks(m);
            rows.flat_map(|row| std::iter::repeat_n(row, laws).flatten().copied())
                .collect()
        };
        Self {
            lower: each(&self.lower),
            upper: each(&self.upper),
            corner: each(&self.corner),
        }
    }

    /// The region of entry `choice * m + i`.
    #[inline(always)]
    #[must_use]
    pub fn get<T: Real>(&self, entry: usize) -> Region<T> {
        Region {
            lower: T::from_f64(self.lower[entry]),
            upper: T::from_f64(self.upper[entry]),
            corner: T::from_f64(self.corner[entry]),
        }
    }
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
    /// Sizes of the selector's independent factors, the first one most significant; their product is C.
    pub factors: Vec<usize>,
    /// What the networks see.
    pub input: InputKind,
    /// Shift of the state `[n]`.
    pub input_shift: Vec<f64>,
    /// Scale of the shifted state `[n]`, each > 0.
    pub input_scale: Vec<f64>,
    /// Typical cost-to-go, > 0: the critic's unit where it is not homogeneous.
    pub value_scale: f64,
    /// Whether the critic has quadratic forms.
    pub critic_forms: bool,
    /// Whether the selector has a quadratic score per logit.
    pub scores: bool,
    /// Hidden widths of the selector network, if there is one.
    pub selector_hidden: Option<Vec<usize>>,
    /// Whether each choice has a linear gain.
    pub gains: bool,
    /// Hidden widths of the control network, if there is one.
    pub control_hidden: Option<Vec<usize>>,
    /// Whether the control network has an output head per choice (else one for all).
    pub head_per_choice: bool,
    /// Typical law `[m]`: what the laws begin with where they have an offset.
    pub law_offset: Vec<f64>,
    /// Typical magnitude of the law `[m]`, > 0: factor of the step sizes of gains, offsets and heads.
    pub law_scale: Vec<f64>,
    /// Regions of the control by choice, if the plant's control jumps.
    pub regions: Option<ControlRegions>,
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

    /// Number of logits L: the sum of the factors' sizes, which is C where there is one factor.
    #[must_use]
    pub fn logits(&self) -> usize {
        self.factors.iter().sum()
    }

    /// Index of `choice` in factor `factor`.
    #[inline(always)]
    #[must_use]
    pub fn part(&self, choice: usize, factor: usize) -> usize {
        choice / self.stride(factor) % self.factors[factor]
    }

    /// By how much a choice changes with its index in factor `factor`.
    #[inline(always)]
    #[must_use]
    pub fn stride(&self, factor: usize) -> usize {
        self.factors[factor + 1..].iter().product()
    }

    /// Whether monomials of the input are used: by scores, or by the critic.
    #[must_use]
    pub fn has_monomials(&self) -> bool {
        self.scores || self.critic_forms
    }

    /// Number of monomials n(n+1)/2; 0 where nothing uses them.
    #[must_use]
    pub fn monomials(&self) -> usize {
        if self.has_monomials() {
            self.state * (self.state + 1) / 2
        } else {
            0
        }
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
