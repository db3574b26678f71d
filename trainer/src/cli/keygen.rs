//! `hpo keygen`: a key pair to sign policies with.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::Result;
use crate::export::signing::make_keys;
use crate::train::run::hex;

/// Make a key pair to sign policies with.
///
/// The private key is readable by its owner only; the public one, in a file with .pub behind the name, goes into firmware
/// (`hpo firmware --keys`) and to whoever verifies. Existing files are never overwritten.
#[derive(Args, Clone, Debug)]
pub struct KeygenArgs {
    /// The file of the private key.
    #[arg(short, long)]
    pub output: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What `hpo keygen --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct KeygenReport {
    /// File of the private key.
    pub private: String,
    /// File of the public key.
    pub public: String,
    /// The public key, hexadecimal.
    pub public_key: String,
    /// The id by which signatures name it.
    pub key_id: String,
}

/// Runs `hpo keygen`.
///
/// # Errors
/// If a file exists or cannot be written.
pub fn run(args: &KeygenArgs) -> Result<()> {
    let (beside, key) = make_keys(&args.output)?;
    let report = KeygenReport {
        private: args.output.display().to_string(),
        public: beside.display().to_string(),
        public_key: hex(&key.0),
        key_id: hex(&firmware::signature::key_id(&key)),
    };
    if args.json {
        return super::output::print_json(&report);
    }
    println!("private key {} (keep it to yourself)", report.private);
    println!("public key  {}", report.public);
    println!("key id      {}", report.key_id);
    Ok(())
}
