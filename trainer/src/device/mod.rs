//! Set-up only, for now.
pub mod setup;
