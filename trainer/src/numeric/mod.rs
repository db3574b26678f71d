//! Numbers that training is made of: scalar traits, SIMD lanes, random streams.
//!
//! Everything here gives the same bits on every CPU: lanes are processed element by element
//! with fused multiply-add, so the vector width of the machine does not change a result.

pub mod arch;
pub mod dense;
pub mod dual;
pub mod elementary;
pub mod object;
pub mod random;
pub mod scalar;

pub use arch::arch;
pub use dual::Dual;
pub use random::{Purpose, Stream};
pub use scalar::{LANES, Lanes, Real, Scalar};
