//! The one door to firmware builds.
//!
//! Boards are crates outside the workspace; they are built with whatever compiler
//! [`setup`](crate::device::setup) found. One build runs at a time (a file lock), and every target class
//! gets its own copy of the ELF, so that parallel tests never load each other's firmware.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use firmware::{Offer, PublicKey};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, elf};
use policy_format::{RawPolicy, SectionId};
use serde::Serialize;

use super::board::Board;
use super::flash::identity::MOST_KEYS;
use super::setup::{CrossToolchain, lock_exclusively, set_up};
use crate::train::run::hex;
use crate::{Error, Result};

/// Emulated boards that have slots, on a model of flash or on their own.
const WITH_SLOTS: [&str; 2] = ["microbit", "mps2-an386"];

/// A built firmware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Firmware {
    /// The board's name.
    pub board: String,
    /// Plant and actuator set it is built for.
    pub target_class: u32,
    /// The ELF; only builds of the same variant for the same board and class ever replace it, by renaming.
    pub elf: PathBuf,
    /// What it takes of the board's memory.
    #[serde(flatten)]
    pub sizes: Sizes,
}

/// Memory a firmware takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Bytes of flash: code, constants and the start values of statics, without a policy.
    pub flash_bytes: u64,
    /// Bytes of RAM: statics, without the stack.
    pub ram_bytes: u64,
}

/// What a firmware is built to do beside running any policy without regions in its slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// It runs policies whose control keeps to regions (section REGIONS) as well.
    pub regions: bool,
    /// Public keys: it runs signed policies only. Empty: it runs any.
    pub keys: Vec<PublicKey>,
    /// Two slots with trial, confirmation and revert; on real boards, and on some emulated ones a loop of its own beside.
    pub slots: bool,
}

impl Variant {
    /// The least that runs the policy in `bytes`, whoever signed it; the default one for bytes that are no policy.
    #[must_use]
    pub fn for_policy(bytes: &[u8]) -> Self {
        let has = |id| RawPolicy::parse(bytes).is_ok_and(|raw| raw.section(id).is_some());
        Self {
            regions: has(SectionId::REGIONS),
            ..Self::default()
        }
    }

    /// What chooses the features of the board's crate, whose default is `unsigned`.
    fn arguments(&self, board: &Board) -> Vec<String> {
        let signed = !self.keys.is_empty();
        let features = [
            signed.then_some("signed"),
            self.slots.then_some("slots"),
            self.regions.then_some("board-support/regions"),
            board.feature,
        ];
        let features = features
            .into_iter()
            .flatten()
            .map(|feature| format!("--features={feature}"));
        let without = signed.then(|| "--no-default-features".to_owned());
        without.into_iter().chain(features).collect()
    }

    /// Tells the ELFs apart.
    fn suffix(&self) -> String {
        let mut suffix = String::new();
        if self.regions {
            suffix += "-regions";
        }
        if let [first, ..] = self.keys.as_slice() {
            let id = firmware::signature::key_id(first);
            suffix += &format!("-signed-{}x{}", hex(&id), self.keys.len());
        }
        if self.slots {
            suffix += "-slots";
        }
        suffix
    }
}

/// As [`build_variant`], for a firmware that runs any policy without regions.
///
/// # Errors
/// As [`build_variant`].
pub fn build_firmware(
    board: &Board,
    target_class: u32,
    progress: &dyn Fn(&str),
) -> Result<Firmware> {
    build_variant(board, target_class, &Variant::default(), progress)
}

/// Builds the firmware of `board` for `target_class`, after setting the tools up where needed.
///
/// Nothing is compiled if nothing changed. `progress` gets one line before each slow step.
///
/// # Errors
/// [`Error::Environment`] if tools are missing or the build fails (with the compiler's words),
/// [`Error::Io`] if the project's target folder cannot be written.
pub fn build_variant(
    board: &Board,
    target_class: u32,
    variant: &Variant,
    progress: &dyn Fn(&str),
) -> Result<Firmware> {
    if variant.keys.len() > MOST_KEYS {
        return Err(Error::Usage(format!(
            "--keys: found {} keys; allowed: at most {MOST_KEYS}, as many as the record in front of the slot holds",
            variant.keys.len()
        )));
    }
    if variant.slots && board.emulator.is_some() && !WITH_SLOTS.contains(&board.name) {
        return Err(Error::Usage(format!(
            "--slots: found {}; allowed: a real board, {}",
            board.name,
            WITH_SLOTS.join(", ")
        )));
    }
    let toolchain = set_up(progress)?.toolchain;
    let root = project_root()?;
    let target_dir = target_dir(&root)?;
    let lock = lock_exclusively(&target_dir.join("lock"))?;
    progress(&format!("build {} for class {target_class}", board.name));
    let keys: Vec<_> = variant.keys.iter().map(|key| hex(&key.0)).collect();
    let mut command = cargo(&toolchain, board.core.target(), &target_dir);
    let crate_folder = folder(&root, board);
    command
        .current_dir(&crate_folder)
        .args(["build", "--release"])
        // A new board's first build writes the file.
        .args(
            crate_folder
                .join("Cargo.lock")
                .exists()
                .then_some("--locked"),
        )
        .args(variant.arguments(board))
        .env("HPO_TARGET_CLASS", target_class.to_string())
        .env("HPO_PUBLIC_KEYS", keys.join(","));
    run(command)?;
    let built = target_dir
        .join(board.core.target())
        .join("release")
        .join(crate_folder.file_name().unwrap_or_default());
    let suffix = variant.suffix();
    let elf = firmware_path(board, target_class, variant)?;
    // Renamed into place: an emulator that has the old file open keeps it whole.
    let fresh = target_dir.join(format!("{}-{target_class}{suffix}.new", board.name));
    std::fs::copy(&built, &fresh).map_err(|e| Error::io(&built, "cannot copy", e))?;
    std::fs::rename(&fresh, &elf).map_err(|e| Error::io(&elf, "cannot rename to", e))?;
    let sizes = sizes_of(&elf)?;
    drop(lock);
    Ok(Firmware {
        board: board.name.to_string(),
        target_class,
        elf,
        sizes,
    })
}

/// Where [`build_variant`] leaves the ELF of `board` for `target_class`.
///
/// # Errors
/// [`Error::Usage`] without the project's folder, [`Error::Io`] if its target folder cannot be made.
pub fn firmware_path(board: &Board, target_class: u32, variant: &Variant) -> Result<PathBuf> {
    let folder = target_dir(&project_root()?)?;
    let suffix = variant.suffix();
    Ok(folder.join(format!("{}-{target_class}{suffix}.elf", board.name)))
}

/// Compiles the libraries that run on devices, each alone, for the smallest core there is.
///
/// A workspace build cannot show that they do without the standard library: its feature unification
/// hides a leak. `cargo check` can, in a fraction of the time of a build.
///
/// # Errors
/// As [`build_firmware`].
pub fn check_no_std(progress: &dyn Fn(&str)) -> Result<()> {
    const TARGET: &str = "thumbv6m-none-eabi";
    let toolchain = set_up(progress)?.toolchain;
    let root = project_root()?;
    let target_dir = target_dir(&root)?;
    let _lock = lock_exclusively(&target_dir.join("lock"))?;
    // Both with and without what the boards leave out. A firmware without keys that runs nothing unsigned does not compile.
    for (library, features) in [
        ("policy-format", ""),
        ("policy-format", "regions,slots"),
        ("firmware", "unsigned"),
        ("firmware", "unsigned,regions,slots"),
        // As it is beside a crate that takes the format with all its features.
        (
            "firmware",
            "unsigned,policy-format/regions,policy-format/slots",
        ),
    ] {
        progress(&format!("check {library} ({features}) for {TARGET}"));
        let mut command = cargo(&toolchain, TARGET, &target_dir);
        command.current_dir(&root).args([
            "check",
            "--release",
            "--lib",
            "--no-default-features",
            "-p",
            library,
            "--features",
            features,
        ]);
        run(command)?;
    }
    Ok(())
}

/// The folder that holds the project's sources: `HPO_ROOT`, else where this crate was compiled, else
/// the first folder above the current one that looks like it.
///
/// # Errors
/// [`Error::Usage`] if none of them holds `firmware/boards`.
pub fn project_root() -> Result<PathBuf> {
    let is_root = |path: &PathBuf| path.join("firmware/boards").is_dir();
    if let Some(root) = env::var_os("HPO_ROOT").map(PathBuf::from) {
        return if is_root(&root) {
            Ok(root)
        } else {
            Err(Error::Usage(format!(
                "HPO_ROOT: found {}; allowed: the project's folder, which holds firmware/boards",
                root.display()
            )))
        };
    }
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf);
    let current = env::current_dir().unwrap_or_default();
    compiled
        .into_iter()
        .chain(current.ancestors().map(Path::to_path_buf))
        .find(is_root)
        .ok_or_else(|| {
            Error::Usage(
                "the project's folder was not found; set HPO_ROOT to the one that holds \
                 firmware/boards"
                    .into(),
            )
        })
}

/// The offer that a firmware makes to policies, by its symbols.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::Input`] if it is no firmware of this project.
pub fn offer_of(path: &Path, board: &Board) -> Result<Offer> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
    let file = object::File::parse(bytes.as_slice())
        .map_err(|e| Error::input(path, "ELF", e, "an ELF file"))?;
    let symbol = |name: &str| {
        file.symbols()
            .find(|symbol| symbol.name() == Ok(name))
            .map(|symbol| symbol.address())
            .ok_or_else(|| Error::input(path, "symbols", format!("no {name}"), "firmware"))
    };
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let stack = symbol("_stack_start")?.saturating_sub(symbol("_stack_end")?);
    Ok(Offer {
        core: board.core.class(),
        instructions: narrow(symbol("_budget_instructions")?),
        stack_bytes: narrow(stack),
    })
}

/// Flash and RAM that an ELF takes, by its sections.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::Input`] if it is no ELF.
pub fn sizes_of(path: &Path) -> Result<Sizes> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
    let file = object::File::parse(bytes.as_slice())
        .map_err(|e| Error::input(path, "ELF", e, "an ELF file"))?;
    let mut sizes = Sizes {
        flash_bytes: 0,
        ram_bytes: 0,
    };
    for section in file.sections() {
        let SectionFlags::Elf { sh_flags, sh_type } = section.flags() else {
            continue;
        };
        if !sh_flags.contains(elf::SHF_ALLOC) {
            continue;
        }
        // Start values of writable sections lie in flash; zeroed ones have none.
        if sh_type != elf::SHT_NOBITS {
            sizes.flash_bytes += section.size();
        }
        if sh_flags.contains(elf::SHF_WRITE) {
            sizes.ram_bytes += section.size();
        }
    }
    Ok(sizes)
}

/// The folder of a board's crate.
pub(crate) fn folder(root: &Path, board: &Board) -> PathBuf {
    root.join("firmware/boards").join(board.folder)
}

pub(super) fn target_dir(root: &Path) -> Result<PathBuf> {
    let dir = root.join("target/boards");
    std::fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, "cannot create", e))?;
    Ok(dir)
}

/// A cargo call for a device, free of settings that were meant for the host's build.
pub(super) fn cargo(toolchain: &CrossToolchain, target: &str, target_dir: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for host_only in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_TARGET_DIR",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTDOCFLAGS",
    ] {
        command.env_remove(host_only);
    }
    // The boards' own profile is part of what a firmware is.
    for (variable, _) in env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PROFILE_") || name == "CARGO_INCREMENTAL" {
            command.env_remove(&variable);
        }
    }
    command
        .env("RUSTC", &toolchain.rustc)
        .env("CARGO_BUILD_TARGET", target)
        .env("CARGO_TARGET_DIR", target_dir)
        .stdin(Stdio::null());
    if toolchain.build_std {
        command
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_UNSTABLE_BUILD_STD", "core");
    }
    if let Some(linker) = &toolchain.linker {
        let variable = target.to_uppercase().replace(['-', '.'], "_");
        command.env(format!("CARGO_TARGET_{variable}_LINKER"), linker);
    }
    command
}

pub(super) fn run(mut command: Command) -> Result<()> {
    let output = command
        .output()
        .map_err(|e| Error::Environment(format!("cannot run cargo: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Environment(format!(
        "the firmware build ended with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )))
}
