//! How a policy is made: Hybrid Policy Optimization.

pub mod adam;
pub mod advantage;

pub mod critic;
pub mod hpo;
pub mod initial;
pub mod rollout;
pub mod settings;
