//! The program `hpo`, word for word, for tests that start it beside an emulator and kill it.

use std::process::ExitCode;

fn main() -> ExitCode {
    trainer::cli::start()
}
