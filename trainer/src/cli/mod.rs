//! The command line `hpo`: one file per command, arguments and output only.

use serde::Serialize;

use crate::{Error, Result};

pub mod firmware;
pub mod hil;
pub mod setup;

/// Shows one line of progress on standard error.
fn show_progress(line: &str) {
    eprintln!("{line}");
}

/// Prints `value` as one JSON object on standard output.
fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|e| Error::Environment(e.to_string()))?;
    println!("{text}");
    Ok(())
}
