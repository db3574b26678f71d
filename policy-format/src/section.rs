//! The sections of format version 1.

use core::fmt;

/// Id of a section. Ids outside version 1 are representable: a file may hold optional sections this reader
/// does not know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SectionId(pub u32);

impl SectionId {
    /// Dimensions, structure, sample time (postcard).
    pub const META: Self = Self(1);
    /// Plant mode of each choice.
    pub const CHOICE_MODES: Self = Self(2);
    /// Input shift and scale.
    pub const INPUT: Self = Self(3);
    /// Quadratic selector scores.
    pub const SCORES: Self = Self(4);
    /// Selector network.
    pub const SELECTOR: Self = Self(5);
    /// Linear gains, one block per choice.
    pub const GAINS: Self = Self(6);
    /// Control network.
    pub const CONTROL: Self = Self(7);
    /// Control bounds.
    pub const BOUNDS: Self = Self(8);
    /// Fallback law.
    pub const FALLBACK: Self = Self(9);
    /// Golden vectors.
    pub const GOLDEN: Self = Self(10);
    /// Names and units (optional, not read by devices).
    pub const NAMES: Self = Self(11);
    /// Selector network in 8 bits.
    pub const SELECTOR_INT8: Self = Self(20);
    /// Control network in 8 bits.
    pub const CONTROL_INT8: Self = Self(21);
    /// Rate limits of the control.
    pub const LIMITS: Self = Self(30);
    /// Dwell time, hysteresis and masks of the modes.
    pub const MODE_RULES: Self = Self(31);
    /// Envelope of the state.
    pub const ENVELOPE: Self = Self(32);
    /// Monitors, fallback kind and rule of return.
    pub const SUPERVISION: Self = Self(33);
    /// Regions of a control that jumps, by choice.
    pub const REGIONS: Self = Self(50);
    /// What the policy needs of a core (not in every file).
    pub const BUDGET: Self = Self(40);
    /// Who vouches for the file (optional; it ends the file).
    pub const SIGNATURE: Self = Self(60);

    /// The name of the section in `docs/policy-format.md`, `"UNKNOWN"` for an id outside version 1.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            1 => "META",
            2 => "CHOICE_MODES",
            3 => "INPUT",
            4 => "SCORES",
            5 => "SELECTOR",
            6 => "GAINS",
            7 => "CONTROL",
            8 => "BOUNDS",
            9 => "FALLBACK",
            10 => "GOLDEN",
            11 => "NAMES",
            20 => "SELECTOR_INT8",
            21 => "CONTROL_INT8",
            30 => "LIMITS",
            31 => "MODE_RULES",
            32 => "ENVELOPE",
            33 => "SUPERVISION",
            40 => "BUDGET",
            50 => "REGIONS",
            60 => "SIGNATURE",
            _ => "UNKNOWN",
        }
    }

    /// Whether format version 1 defines this id.
    #[must_use]
    pub const fn is_known(self) -> bool {
        matches!(self.0, 1..=11 | 20 | 21 | 30..=33 | 40 | 50 | 60)
    }

    /// Whether version 1 asks for the critical flag on this id (meaningful for known ids).
    #[must_use]
    pub const fn is_critical(self) -> bool {
        matches!(self.0, 1..=10 | 20 | 21 | 30..=33 | 40 | 50)
    }
}

impl fmt::Display for SectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}
