//! What every command prints the same way.

use serde::Serialize;

use crate::{Error, Result};

/// Shows one line of progress on standard error.
pub(super) fn show_progress(line: &str) {
    eprintln!("{line}");
}

/// Prints `value` as one JSON object on standard output.
///
/// # Errors
/// [`Error::Environment`] if the value has no JSON form.
pub(super) fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|e| Error::Environment(e.to_string()))?;
    println!("{text}");
    Ok(())
}
