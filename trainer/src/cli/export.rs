//! `hpo export`: a run's best policy as a file.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use policy_format::{Capacity, RawPolicy};

use crate::error::{Error, Result};
use crate::train::checkpoint::write_atomically;

/// Arithmetic of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// 32-bit floating point.
    F32,
}

/// Write a run's best policy to a file.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// A run directory.
    pub run: PathBuf,
    /// Arithmetic of the weights.
    #[arg(long, value_enum, default_value = "f32")]
    pub precision: Precision,
    /// The file to write.
    #[arg(short, long, default_value = "policy.hpo")]
    pub output: PathBuf,
}

/// Runs `hpo export`.
///
/// # Errors
/// For a folder without a valid policy and a file that cannot be written.
pub fn run(args: &ExportArgs) -> Result<()> {
    let policy = super::train::read_policy(&args.run)?;
    RawPolicy::parse(policy.bytes())
        .and_then(|raw| raw.validate(&Capacity::FORMAT))
        .map_err(|error| Error::input(&args.run, error.name(), error, "a valid policy"))?;
    write_atomically(&args.output, policy.bytes())?;
    println!("{} ({} bytes)", args.output.display(), policy.bytes().len());
    Ok(())
}
