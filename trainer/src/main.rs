//! The hpo command.

use clap::Parser;
use trainer::cli;

#[derive(Parser)]
enum Command {
    Plants(cli::plants::Args),
    Reference(cli::reference::Args),
}

fn main() -> std::process::ExitCode {
    let result = match Command::parse() {
        Command::Plants(args) => cli::plants::run(&args),
        Command::Reference(args) => cli::reference::run(&args),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::from(error.exit_code())
        }
    }
}
