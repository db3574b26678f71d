//! How good a controller is: rollouts on given states, and references to compare with.

pub mod closed_loop;
pub mod reference;
