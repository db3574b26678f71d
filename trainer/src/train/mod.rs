//! How a policy is made: Hybrid Policy Optimization.

pub mod adam;
pub mod advantage;
pub mod checkpoint;
pub mod critic;
pub mod hpo;
pub mod initial;
pub mod rollout;
pub mod run;
pub mod settings;
mod shard;
pub mod validate;
