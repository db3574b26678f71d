//! How a hybrid policy is made, checked and delivered.
//!
//! Data flows plant -> train -> evaluate -> export -> device; each step is one module.

pub mod bench;
pub mod cli;
pub mod compare;
pub mod device;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod numeric;
pub mod plant;
pub mod policy;
pub mod report;
pub mod train;

pub use error::{Error, Result};
