//! `hpo inspect`: what a policy file holds.

use std::path::PathBuf;

use clap::Args;
use policy_format::{Capacity, InputKind, Policy, Precision, RawPolicy};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::train::run::hex;

/// Show what a policy file holds, and run its golden vectors.
#[derive(Args, Clone, Debug)]
pub struct InspectArgs {
    /// A policy file or a run directory.
    pub policy: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What `hpo inspect --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct InspectReport {
    /// Length of the state.
    pub state_dim: usize,
    /// Length of the control.
    pub control_dim: usize,
    /// Plant modes.
    pub modes: usize,
    /// Choices of the selector.
    pub choices: usize,
    /// Arithmetic of the weights.
    pub precision: &'static str,
    /// Numbers of scores, networks, gains and their offsets, without padding.
    pub parameters: usize,
    /// Bytes of the file.
    pub bytes: usize,
    /// Version of the format.
    pub format_version: u32,
    /// The producer's version of the policy.
    pub policy_version: u32,
    /// Sample time in seconds.
    pub sample_time_s: f32,
    /// Whether the file is signed.
    pub signed: bool,
    /// Id of the key that signed it, by its own word (`hpo verify` checks it); null if it is not signed.
    pub key_id: Option<String>,
    /// Anti-rollback counter; null if it is not signed.
    pub security_counter: Option<u32>,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Target class: plant and actuator set.
    pub target_class: u32,
    /// What scores and networks see.
    pub input: &'static str,
    /// Hidden widths of the selector network.
    pub selector_hidden: Option<Vec<u16>>,
    /// Hidden widths of the control network.
    pub control_hidden: Option<Vec<u16>>,
    /// Whether the selector scores choices by quadratics.
    pub scores: bool,
    /// Whether every choice has a linear gain.
    pub gains: bool,
    /// Number of golden vectors, all of which hold.
    pub golden_vectors: usize,
    /// Sections: name, whether critical, bytes.
    pub sections: Vec<(String, bool, usize)>,
}

/// Runs `hpo inspect`.
///
/// # Errors
/// [`Error::Io`] if there is no such file; [`Error::Input`] if it is not a valid policy; [`Error::Negative`] if a golden
/// vector does not hold.
pub fn run(args: &InspectArgs) -> Result<()> {
    let buffer = super::train::read_policy(&args.policy)?;
    let invalid = |error: policy_format::FormatError| {
        Error::input(
            &args.policy,
            error.name(),
            error,
            "a valid policy of format version 1",
        )
    };
    let raw = RawPolicy::parse(buffer.bytes()).map_err(invalid)?;
    let sections = raw
        .sections()
        .map(|s| (s.id.name().to_owned(), s.flags & 1 == 1, s.length))
        .collect();
    let version = raw.format_version();
    let signature = raw.signature().map_err(invalid)?;
    let policy = raw.validate(&Capacity::FORMAT).map_err(invalid)?;
    let (mut control, mut scratch) = (
        vec![0.0; policy.control_dim()],
        vec![0.0; policy.scratch_len()],
    );
    policy
        .check_golden(&mut control, &mut scratch)
        .map_err(|error| Error::Negative(format!("{}: {error}", args.policy.display())))?;
    let report = InspectReport {
        state_dim: policy.state_dim(),
        control_dim: policy.control_dim(),
        modes: policy.modes(),
        choices: policy.choices(),
        precision: match policy.precision() {
            Precision::F32 => "f32",
            Precision::Int8 => "int8",
        },
        parameters: policy.parameters(),
        bytes: buffer.bytes().len(),
        format_version: version,
        policy_version: policy.policy_version(),
        sample_time_s: policy.sample_time_s(),
        signed: signature.is_some(),
        key_id: signature.map(|parts| hex(&parts.key_id())),
        security_counter: signature.map(|parts| parts.security_counter()),
        sha256: hex(&Sha256::digest(buffer.bytes())),
        target_class: policy.target_class(),
        input: match policy.input_kind() {
            InputKind::Affine => "affine",
            InputKind::UnitNorm => "unit-norm",
        },
        selector_hidden: policy.selector_hidden().map(<[u16]>::to_vec),
        control_hidden: policy.control_hidden().map(<[u16]>::to_vec),
        scores: policy.has_scores(),
        gains: policy.has_gains(),
        golden_vectors: policy.golden().count(),
        sections,
    };
    if args.json {
        super::output::print_json(&report)
    } else {
        print(&report, &policy);
        Ok(())
    }
}

fn print(report: &InspectReport, policy: &Policy<'_>) {
    println!(
        "policy      format version {}, {} bytes, policy version {}",
        report.format_version, report.bytes, report.policy_version
    );
    println!("sha256      {}", report.sha256);
    match (&report.key_id, report.security_counter) {
        (Some(key), Some(counter)) => {
            println!("signature   by key {key}, security counter {counter}; not verified here");
        }
        _ => println!("signature   none"),
    }
    println!("target      class {:#010x}", report.target_class);
    for record in policy.names().flatten() {
        if record.kind == policy_format::NameKind::Plant {
            println!("plant       {}", record.name);
        }
    }
    println!(
        "size        {} states, {} controls, {} modes, {} choices",
        report.state_dim, report.control_dim, report.modes, report.choices
    );
    let network = |hidden: &Option<Vec<u16>>| match hidden {
        Some(widths) => format!("network {widths:?}"),
        None => "no network".to_owned(),
    };
    println!(
        "selector    {}quadratic scores, {}; input {}",
        if report.scores { "" } else { "no " },
        network(&report.selector_hidden),
        report.input
    );
    println!(
        "laws        {}linear gains, {}",
        if report.gains { "" } else { "no " },
        network(&report.control_hidden)
    );
    println!(
        "numbers     {} parameters, {}, sample time {} s",
        report.parameters, report.precision, report.sample_time_s
    );
    println!(
        "golden      {} vectors hold bit for bit",
        report.golden_vectors
    );
    println!("sections");
    for (name, critical, length) in &report.sections {
        let note = if *critical { "" } else { " (optional)" };
        println!("  {name:<13} {length:>7} bytes{note}");
    }
}
