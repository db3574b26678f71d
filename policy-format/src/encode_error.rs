//! Why a specification could not be written as a policy file.

use core::fmt;

use crate::error::FormatError;

/// Why a policy could not be encoded.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum EncodeError {
    /// A list has the wrong length.
    Shape {
        /// Field of the specification.
        field: &'static str,
        /// Length found.
        found: usize,
        /// Length asked for.
        expected: usize,
    },
    /// A string or list is longer than the format allows.
    TooLong {
        /// Field of the specification.
        field: &'static str,
        /// Length found.
        found: usize,
        /// Greatest length.
        allowed: usize,
    },
    /// The output does not suffice.
    BufferTooSmall {
        /// Bytes found.
        found: usize,
        /// Bytes needed.
        needed: usize,
    },
    /// A value that no reader would accept.
    Invalid(FormatError),
}

impl From<FormatError> for EncodeError {
    fn from(error: FormatError) -> Self {
        Self::Invalid(error)
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Shape {
                field,
                found,
                expected,
            } => {
                write!(
                    f,
                    "{field} has {found} elements; its dimensions ask for {expected}"
                )
            }
            Self::TooLong {
                field,
                found,
                allowed,
            } => {
                write!(
                    f,
                    "{field} has length {found}; at most {allowed} is allowed"
                )
            }
            Self::BufferTooSmall { found, needed } => {
                write!(f, "output has {found} bytes; {needed} are needed")
            }
            Self::Invalid(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for EncodeError {}
