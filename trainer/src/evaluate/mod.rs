//! How good a controller is: rollouts on given states, and references to compare with.

pub mod audit;
pub mod closed_loop;
mod episode;
pub mod perturb;
pub mod reference;
pub mod robustness;

pub use episode::Episode;
