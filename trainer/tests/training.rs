//! Training runs as a whole: the same bytes however they are run, and every way to fail.

#[path = "training/divergence.rs"]
mod divergence;
#[path = "training/learning.rs"]
mod learning;
#[path = "training/refusals.rs"]
mod refusals;
#[path = "training/same_bytes.rs"]
mod same_bytes;
#[path = "training/support.rs"]
mod support;
