//! The `hpo` command: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    trainer::cli::start()
}
