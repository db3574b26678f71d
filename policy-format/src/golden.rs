//! Golden vectors: inputs whose outputs are stored in the file, bit for bit.

use core::fmt;

use crate::evaluate::{DecideError, Decision};
use crate::policy::Policy;

/// Iterator over the golden vectors of a policy. Made by [`Policy::golden`].
#[derive(Clone, Debug)]
pub struct Golden<'a> {
    vectors: core::slice::ChunksExact<'a, u32>,
    state_dim: usize,
}

/// One golden vector.
///
/// To *make* one: encode the policy with `choice` 0 and zeros as `control`, run [`Policy::decide`] on the state,
/// and encode again with what it gave.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GoldenVector<'a> {
    /// State, n floats, finite.
    pub state: &'a [f32],
    /// The choice the policy makes.
    pub choice: u32,
    /// The control it gives, m floats.
    pub control: &'a [f32],
}

impl<'a> Golden<'a> {
    /// `words` holds vectors of `state_dim + 1 + control_dim` words.
    pub(crate) fn new(words: &'a [u32], state_dim: usize, control_dim: usize) -> Self {
        Self {
            // Never 0, and `max` lets the compiler see it: chunks of 0 would panic.
            vectors: words.chunks_exact((state_dim + 1 + control_dim).max(1)),
            state_dim,
        }
    }
}

impl<'a> Iterator for Golden<'a> {
    type Item = GoldenVector<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (state, rest) = self.vectors.next()?.split_at_checked(self.state_dim)?;
        let (&choice, control) = rest.split_first()?;
        Some(GoldenVector {
            state: bytemuck::try_cast_slice(state).ok()?,
            choice,
            control: bytemuck::try_cast_slice(control).ok()?,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.vectors.size_hint()
    }
}

impl ExactSizeIterator for Golden<'_> {}

/// A policy that does not reproduce one of its golden vectors on this machine.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum GoldenError {
    /// The choice differs.
    Choice {
        /// Index of the vector.
        index: usize,
        /// Choice in the file.
        expected: u32,
        /// Choice computed.
        found: u32,
    },
    /// A control value differs.
    Control {
        /// Index of the vector.
        index: usize,
        /// Control coordinate.
        coordinate: usize,
        /// Bits in the file.
        expected: u32,
        /// Bits computed.
        found: u32,
    },
    /// The policy refused the state.
    Decide {
        /// Index of the vector.
        index: usize,
        /// Why.
        error: DecideError,
    },
}

impl GoldenError {
    /// Index of the golden vector that failed.
    #[must_use]
    pub const fn index(&self) -> usize {
        match *self {
            Self::Choice { index, .. }
            | Self::Control { index, .. }
            | Self::Decide { index, .. } => index,
        }
    }
}

impl fmt::Display for GoldenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Choice {
                index,
                expected,
                found,
            } => write!(
                f,
                "golden vector {index}: choice is {found}; the file says {expected}"
            ),
            Self::Control {
                index,
                coordinate,
                expected,
                found,
            } => write!(
                f,
                "golden vector {index}: control {coordinate} is {found:#010x} ({}); the file says {expected:#010x} ({})",
                f32::from_bits(found),
                f32::from_bits(expected)
            ),
            Self::Decide { index, error } => write!(f, "golden vector {index}: {error}"),
        }
    }
}

impl core::error::Error for GoldenError {}

impl Policy<'_> {
    /// Runs the policy on each of its golden vectors and compares choice and control bit for bit.
    ///
    /// `control` holds m floats and `scratch` at least [`Policy::scratch_len`]; both are overwritten.
    ///
    /// # Errors
    /// [`GoldenError`] for the first vector that differs.
    pub fn check_golden(
        &self,
        control: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), GoldenError> {
        for (index, vector) in self.golden().enumerate() {
            let decision = self
                .decide(vector.state, control, scratch)
                .map_err(|error| GoldenError::Decide { index, error })?;
            if u32::from(decision.choice) != vector.choice {
                return Err(GoldenError::Choice {
                    index,
                    expected: vector.choice,
                    found: decision.choice.into(),
                });
            }
            for (coordinate, (found, expected)) in control.iter().zip(vector.control).enumerate() {
                if found.to_bits() != expected.to_bits() {
                    return Err(GoldenError::Control {
                        index,
                        coordinate,
                        expected: expected.to_bits(),
                        found: found.to_bits(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether an evaluator of one's own gives choice and control of every golden vector bit for bit, as [`Policy::check_golden`]
    /// asks of [`Policy::decide`]; it gets a state and `control`, m floats.
    pub fn golden_agrees(
        &self,
        control: &mut [f32],
        mut decide: impl FnMut(&[f32], &mut [f32]) -> Result<Decision, DecideError>,
    ) -> bool {
        self.golden().all(|vector| {
            let decided = decide(vector.state, control);
            let choice = decided.is_ok_and(|d| u32::from(d.choice) == vector.choice);
            let mut values = control.iter().zip(vector.control);
            choice && values.all(|(found, expected)| found.to_bits() == expected.to_bits())
        })
    }
}
