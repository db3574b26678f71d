//! What every command prints the same way.

use std::fmt;
use std::io::{ErrorKind, Write as _};

use serde::Serialize;

use crate::{Error, Result};

/// Shows one line of progress on standard error.
pub(super) fn show_progress(line: &str) {
    eprintln!("{line}");
}

/// Writes one line to standard output. A reader that has gone wants no more: the command goes on, and
/// its exit code still tells. Any other failure ends the program with exit code 2.
pub(super) fn print_line(line: fmt::Arguments<'_>) {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let error = Error::io("standard output", "cannot write", error);
            eprintln!("error: {error}");
            std::process::exit(error.exit_code().into());
        }
        _ => {}
    }
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
