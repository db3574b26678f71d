//! The `hpo` command line: arguments, output, one module per command.

pub mod firmware;
pub mod hil;
mod output;
pub mod setup;
