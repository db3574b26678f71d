//! `hpo verify`: whether a policy may run where certain keys are trusted.

use std::path::PathBuf;

use clap::Args;
use firmware::signature::key_id;
use policy_format::{Capacity, RawPolicy};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::export::signing::{read_public, verify};
use crate::train::run::hex;

/// Check a policy as a device does before it runs it: content, golden vectors, signature.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// A policy file or a run directory.
    pub policy: PathBuf,
    /// File of a public key that is trusted; may be given several times.
    #[arg(
        long = "key",
        value_name = "FILE",
        required_unless_present = "unsigned"
    )]
    pub keys: Vec<PathBuf>,
    /// Do not ask for a signature.
    #[arg(long, conflicts_with = "keys")]
    pub unsigned: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What `hpo verify --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    /// The file.
    pub policy: String,
    /// Golden vectors, all of which hold.
    pub golden_vectors: usize,
    /// Id of the key that signed it; null where none was asked for.
    pub key_id: Option<String>,
    /// Its anti-rollback counter; null where no signature was asked for.
    pub security_counter: Option<u32>,
}

/// Runs `hpo verify`.
///
/// # Errors
/// [`Error::Io`] or [`Error::Input`] for a file that is missing or no policy; [`Error::Negative`] if a golden vector or the
/// signature does not hold.
pub fn run(args: &VerifyArgs) -> Result<()> {
    let keys = args
        .keys
        .iter()
        .map(|path| read_public(path))
        .collect::<Result<Vec<_>>>()?;
    let buffer = super::train::read_policy(&args.policy)?;
    let invalid = |error: policy_format::FormatError| {
        Error::input(&args.policy, error.name(), error, "a valid policy")
    };
    let no =
        |why: &dyn std::fmt::Display| Error::Negative(format!("{}: {why}", args.policy.display()));
    let raw = RawPolicy::parse(buffer.bytes()).map_err(invalid)?;
    let policy = raw.validate(&Capacity::FORMAT).map_err(invalid)?;
    let parts = raw.signature().map_err(invalid)?;
    if !args.unsigned {
        verify(&buffer, &keys).map_err(|fault| match parts {
            Some(parts) => {
                let known: Vec<_> = keys.iter().map(|key| hex(&key_id(key))).collect();
                no(&format_args!(
                    "{fault}: found a signature by key {}; allowed: {}",
                    hex(&parts.key_id()),
                    known.join(", ")
                ))
            }
            None => no(&format_args!("{fault}: found no signature")),
        })?;
    }
    let (mut control, mut scratch) = (
        vec![0.0; policy.control_dim()],
        vec![0.0; policy.scratch_len()],
    );
    policy
        .check_golden(&mut control, &mut scratch)
        .map_err(|error| no(&error))?;
    let asked = parts.filter(|_| !args.unsigned);
    let report = VerifyReport {
        policy: args.policy.display().to_string(),
        golden_vectors: policy.golden().count(),
        key_id: asked.map(|parts| hex(&parts.key_id())),
        security_counter: asked.map(|parts| parts.security_counter()),
    };
    if args.json {
        return super::output::print_json(&report);
    }
    println!("content     valid");
    println!(
        "golden      {} vectors hold bit for bit",
        report.golden_vectors
    );
    match (&report.key_id, report.security_counter) {
        (Some(key), Some(counter)) => {
            println!("signature   holds, key {key}, security counter {counter}");
        }
        _ => println!("signature   not asked for"),
    }
    Ok(())
}
