//! `hpo export`: a run's best policy as a file.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use firmware::signature::key_id;
use policy_format::{Capacity, RawPolicy};
use serde::Serialize;

use crate::device::board;
use crate::device::build::{Variant, build_variant};
use crate::device::flash::admit_bytes;
use crate::device::image::{Image, ImageFormat};
use crate::error::{Error, Result};
use crate::export::PolicyBuffer;
use crate::export::int8_report::{Int8Report, int8_with_report};
use crate::export::signing::{public_of, read_private, sign};
use crate::plant::{PlantModel, load_plant};
use crate::report::run::RunRecord;
use crate::train::checkpoint::write_atomically;
use crate::train::run::hex;

/// Arithmetic of the networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point.
    F32,
    /// 8-bit weights and integer sums in the networks; all else stays 32-bit floating point.
    Int8,
}

/// Write a run's best policy to a file.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// A run directory, or a policy file.
    pub run: PathBuf,
    /// Arithmetic of the networks; int8 reports what it costs [default: as it is].
    #[arg(long, value_enum)]
    pub precision: Option<Precision>,
    /// The plant the report of int8 runs on [default: the run's].
    #[arg(long)]
    pub plant: Option<String>,
    /// Seed of the visited states, of drawn initial states and of noise.
    #[arg(long, default_value_t = 1, value_parser = super::seed, allow_negative_numbers = true)]
    pub seed: u64,
    /// Sign the policy with this private key (`hpo keygen`).
    #[arg(long, value_name = "KEY")]
    pub sign: Option<PathBuf>,
    /// The anti-rollback counter to sign: a device refuses it below that of the policy it confirmed last.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "sign")]
    pub security_counter: u32,
    /// The file to write [default: policy.hpo, of an image policy.bin, policy.hex or policy.uf2].
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Write an image of the board's policy slot in place of the policy file, for tools that write flash.
    #[arg(long, value_enum, requires = "board")]
    pub image: Option<ImageFormat>,
    /// The board of the image.
    #[arg(long, requires = "image")]
    pub board: Option<String>,
    /// Put the board's firmware into the image as well, built for the policy's target class.
    #[arg(long, requires = "image")]
    pub firmware: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What `hpo export --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct ExportReport {
    /// The file written.
    pub output: String,
    /// Arithmetic of the networks.
    pub precision: Precision,
    /// Bytes of the policy.
    pub bytes: usize,
    /// Id of the key that signed it; null without `--sign`.
    pub key_id: Option<String>,
    /// The image that was written; null where the policy itself was.
    pub image: Option<ImageReport>,
    /// What 8 bits cost; null for f32.
    pub int8: Option<Int8Report>,
}

/// The image that was written.
#[derive(Clone, Debug, Serialize)]
pub struct ImageReport {
    /// Its format.
    pub format: ImageFormat,
    /// The board.
    pub board: String,
    /// Address of its first byte.
    pub address: u64,
    /// Bytes of the file.
    pub bytes: usize,
    /// Whether it holds the firmware.
    pub firmware: bool,
}

/// Runs `hpo export`.
///
/// # Errors
/// For a folder without a valid policy, a policy without networks where int8 is asked for, and a file that cannot be
/// written.
pub fn run(args: &ExportArgs) -> Result<()> {
    // Before anything is measured: a key that cannot be used is found out at once.
    let key = args.sign.as_deref().map(read_private).transpose()?;
    let policy = super::train::read_policy(&args.run)?;
    let found = RawPolicy::parse(policy.bytes())
        .and_then(|raw| raw.validate(&Capacity::FORMAT))
        .map(|checked| match checked.precision() {
            policy_format::Precision::F32 => Precision::F32,
            policy_format::Precision::Int8 => Precision::Int8,
        })
        .map_err(|error| Error::input(&args.run, error.name(), error, "a valid policy"))?;
    let precision = args.precision.unwrap_or(found);
    let (policy, int8): (PolicyBuffer, _) = match (found, precision) {
        (Precision::Int8, Precision::F32) => {
            return Err(Error::input(
                &args.run,
                "precision",
                "networks in 8 bits, whose weights in 32 bits are not in the file",
                "with --precision f32: a policy in f32",
            ));
        }
        (found, wanted) if found == wanted => (policy, None),
        (_, _) => {
            let plant = plant(args)?;
            let states = super::eval::states(&plant, None, args.seed)?;
            let (policy, report) = int8_with_report(&plant, &policy, &states, args.seed)?;
            (policy, Some(report))
        }
    };
    let policy = match &key {
        None => policy,
        Some(key) => sign(&policy, key, args.security_counter)
            .map_err(|error| Error::input(&args.run, "sections", error, "room for a signature"))?,
    };
    let (file, image) = match image(args, policy.bytes())? {
        Some((file, image)) => (file, Some(image)),
        None => (policy.bytes().to_vec(), None),
    };
    let output = args.output.clone().unwrap_or_else(|| {
        let extension = args.image.map_or("hpo", ImageFormat::extension);
        PathBuf::from("policy").with_extension(extension)
    });
    write_atomically(&output, &file)?;
    let report = ExportReport {
        output: output.display().to_string(),
        precision,
        bytes: policy.bytes().len(),
        key_id: key.map(|key| hex(&key_id(&public_of(&key)))),
        image,
        int8,
    };
    if args.json {
        return super::output::print_json(&report);
    }
    match &report.image {
        None => println!("{} ({} bytes)", report.output, report.bytes),
        Some(image) => println!(
            "{} ({} bytes): for {} from {:#010x}, policy of {} bytes{}",
            report.output,
            image.bytes,
            image.board,
            image.address,
            report.bytes,
            if image.firmware { " and firmware" } else { "" }
        ),
    }
    if let Some(key) = &report.key_id {
        println!(
            "signed with key {key}, security counter {}",
            args.security_counter
        );
    }
    if let Some(int8) = report.int8 {
        print(&int8);
    }
    Ok(())
}

/// The image that is asked for, if one is: the file and what to say about it.
fn image(args: &ExportArgs, policy: &[u8]) -> Result<Option<(Vec<u8>, ImageReport)>> {
    let (Some(format), Some(name)) = (args.image, &args.board) else {
        return Ok(None);
    };
    let board = board::find(name)?;
    let admitted = admit_bytes(&args.run, policy, board, None)?;
    let mut image = Image::of_policy(board, policy)?;
    if args.firmware {
        let progress = super::output::show_progress;
        let variant = Variant::for_policy(admitted.policy.bytes());
        let firmware = build_variant(board, admitted.target_class, &variant, &progress)?;
        image = image.with_firmware(&firmware.elf)?;
    }
    let file = image.encode(format)?;
    let report = ImageReport {
        format,
        board: board.name.to_owned(),
        address: image.address(),
        bytes: file.len(),
        firmware: args.firmware,
    };
    Ok(Some((file, report)))
}

/// The plant of the run, or the one named.
fn plant(args: &ExportArgs) -> Result<PlantModel> {
    if args.run.is_dir() {
        return Ok(RunRecord::read(&args.run, args.plant.as_deref())?.plant);
    }
    match &args.plant {
        Some(plant) => load_plant(plant, &[]),
        None => Err(Error::Usage(format!(
            "--plant: found none for {}, which is no run directory; allowed with --precision int8: the policy's plant",
            args.run.display()
        ))),
    }
}

fn print(report: &Int8Report) {
    println!(
        "f32 {} bytes, int8 {} bytes: {:.1} %",
        report.f32_bytes, report.int8_bytes, report.bytes_percent
    );
    println!(
        "weights moved by {:.3} % (root mean square)",
        report.weight_error_percent
    );
    println!(
        "on {} visited states: mode flips {:.3} %, action error {:.3} % (root mean square), at most {:.3e}",
        report.visited_states,
        report.mode_flip_percent,
        report.action_error_percent,
        report.action_error_max
    );
    println!(
        "closed loop from {} states: cost {:.6} in f32, {:.6} in int8, change {:+.4} %",
        report.episodes, report.mean_cost_f32, report.mean_cost_int8, report.cost_change_percent
    );
}
