//! The `hpo` command line: arguments, output, one module per command.

pub mod plants;
pub mod reference;
