//! How a policy is made: Hybrid Policy Optimization.

pub mod adam;
pub mod advantage;
pub mod checkpoint;
pub mod critic;
mod divergence;
pub mod estimator;
pub mod gradcheck;
pub mod hpo;
pub mod initial;
mod metrics;
pub mod rollout;
pub mod run;
pub mod settings;
mod shard;
pub mod start;
pub mod statistics;
pub mod validate;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod unbiased_tests;
