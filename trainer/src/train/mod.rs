//! How a policy is made: Hybrid Policy Optimization, and the algorithms that it is compared with.

pub mod adam;
pub mod advantage;
pub mod checkpoint;
pub mod critic;
pub mod cross_term;
mod directory;
mod divergence;
pub mod estimator;
mod gaussian;
pub mod gradcheck;
pub mod gumbel;
pub mod hpo;
pub mod initial;
pub mod learner;
mod metrics;
pub mod phases;
pub mod ppo;
pub mod reinforce;
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
