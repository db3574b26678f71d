//! The one function that finds or installs the cross toolchain and QEMU.
//!
//! Order: (1) the active rustc already has the targets; (2) `rustup target add`, unless
//! `RUSTUP_AUTO_INSTALL=0`; (3) a rustc with the library source beside it, from which `core` is
//! built (Debian's `rustc-web` with `rust-web-src`, installed with apt-get when root); (4) a message
//! that says what to install. `HPO_SETUP=never` forbids every installation. What to do is decided by
//! [`plan`], a pure function of the [`Facts`], so that each branch is tested without a machine of
//! that kind.

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::{Error, Result};

/// Targets the project builds for: those of the boards' cores; the smallest checks `no_std`.
pub const TARGETS: [&str; 4] = [
    "thumbv6m-none-eabi",
    "thumbv7m-none-eabi",
    "thumbv7em-none-eabihf",
    "thumbv8m.main-none-eabihf",
];

/// Name of the emulator's program.
pub const QEMU: &str = "qemu-system-arm";

/// Debian's packages for building `core` from source and linking it.
const DEBIAN_RUST: [&str; 3] = ["rustc-web", "rust-web-src", "lld"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A compiler that can build for the devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CrossToolchain {
    /// The compiler's program.
    pub rustc: PathBuf,
    /// What `rustc --version` says.
    pub version: String,
    /// `core` has to be built from source, because the compiler ships none for the targets.
    pub build_std: bool,
    /// Linker to name explicitly; `None` leaves the target's own (`rust-lld`).
    pub linker: Option<PathBuf>,
}

/// What set-up found and what it did; `hpo setup` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetupReport {
    /// The compiler firmware is built with.
    pub toolchain: CrossToolchain,
    /// Targets it can build for.
    pub targets: Vec<String>,
    /// The emulator's program.
    pub qemu: PathBuf,
    /// First line of its `--version`.
    pub qemu_version: String,
    /// What was installed or tried, in order; empty if everything was there.
    pub actions: Vec<String>,
}

/// What the decision depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The active rustc has `core` for every one of [`TARGETS`].
    pub targets_installed: bool,
    /// A rustc that is new enough and has the library source beside it.
    pub source_toolchain: bool,
    /// `rustup` can be called.
    pub rustup: bool,
    /// `RUSTUP_AUTO_INSTALL` is not `0`.
    pub rustup_allowed: bool,
    /// `rustup target add` was tried in this run and did not help.
    pub rustup_failed: bool,
    /// `apt-get` can be called and this process is root.
    pub apt_as_root: bool,
    /// apt-get was tried in this run and did not help.
    pub apt_failed: bool,
    /// QEMU's program is on the path.
    pub qemu: bool,
    /// `HPO_SETUP` is not `never`.
    pub may_install: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Everything is there, with the active rustc's own targets.
    UseInstalledTargets,
    /// Everything is there, with `core` built from source.
    UseSource,
    /// Call `rustup target add`.
    RustupTargets,
    /// Install Debian packages.
    Apt {
        /// The compiler with its library source and the linker.
        rust: bool,
        /// The emulator.
        qemu: bool,
    },
    /// Nothing allowed is left: tell the user what to install.
    GiveUp {
        /// A compiler is missing.
        rust: bool,
        /// The emulator is missing.
        qemu: bool,
    },
}

/// Decides the next action. Never panics.
///
/// A source toolchain that is already there beats asking rustup: what is installed beats what would
/// have to be fetched.
#[must_use]
pub fn plan(facts: &Facts) -> Plan {
    let may_rustup = facts.may_install
        && facts.rustup
        && facts.rustup_allowed
        && !facts.rustup_failed
        && !facts.targets_installed
        && !facts.source_toolchain;
    if may_rustup {
        return Plan::RustupTargets;
    }
    let rust = !(facts.targets_installed || facts.source_toolchain);
    let qemu = !facts.qemu;
    match (rust || qemu, facts.targets_installed) {
        (false, true) => Plan::UseInstalledTargets,
        (false, false) => Plan::UseSource,
        (true, _) if facts.may_install && facts.apt_as_root && !facts.apt_failed => {
            Plan::Apt { rust, qemu }
        }
        (true, _) => Plan::GiveUp { rust, qemu },
    }
}

/// Finds the cross toolchain and QEMU, and installs what is missing where that is allowed.
///
/// Safe to call from many processes at once: installing happens under a file lock. `progress` is
/// called with one line before each slow step.
///
/// # Errors
/// [`Error::Environment`] that says exactly what to install when it could not be installed here.
pub fn set_up(progress: &dyn Fn(&str)) -> Result<SetupReport> {
    if let Some(report) = found(Vec::new()) {
        return Ok(report);
    }
    // Held until this function returns; whoever waited finds everything installed.
    let _lock = if may_install() {
        Some(lock_exclusively(&install_lock_path())?)
    } else {
        None
    };
    let mut actions = Vec::new();
    let mut failures = Vec::new();
    let mut facts = gather();
    loop {
        let outcome = match plan(&facts) {
            Plan::UseInstalledTargets | Plan::UseSource => {
                return found(actions).ok_or_else(|| {
                    Error::Environment("a tool found a moment ago no longer answers".into())
                });
            }
            Plan::RustupTargets => {
                let mut command = Command::new("rustup");
                command.args(["target", "add"]).args(TARGETS);
                let outcome = run(command, progress);
                facts.rustup_failed = true;
                outcome
            }
            Plan::Apt { rust, qemu } => {
                facts.apt_failed = true;
                apt_install(rust, qemu, progress)
            }
            Plan::GiveUp { rust, qemu } => {
                return Err(Error::Environment(advice(rust, qemu, &failures)));
            }
        };
        match outcome {
            Ok(done) => actions.extend(done),
            Err(why) => failures.push(why),
        }
        let (rustup_failed, apt_failed) = (facts.rustup_failed, facts.apt_failed);
        facts = Facts {
            rustup_failed,
            apt_failed,
            ..gather()
        };
    }
}

/// The report if nothing is missing; tries nothing.
fn found(actions: Vec<String>) -> Option<SetupReport> {
    let toolchain = toolchain_with_targets().or_else(toolchain_with_source)?;
    let qemu = on_path(QEMU)?;
    let version = output(Command::new(&qemu).arg("--version"))?;
    Some(SetupReport {
        toolchain,
        targets: TARGETS.map(String::from).to_vec(),
        qemu,
        qemu_version: version.lines().next().unwrap_or_default().to_string(),
        actions,
    })
}

fn gather() -> Facts {
    Facts {
        targets_installed: toolchain_with_targets().is_some(),
        source_toolchain: toolchain_with_source().is_some(),
        rustup: on_path("rustup").is_some(),
        rustup_allowed: env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|v| v != "0"),
        rustup_failed: false,
        apt_as_root: on_path("apt-get").is_some() && rustix::process::geteuid().is_root(),
        apt_failed: false,
        qemu: on_path(QEMU).is_some(),
        may_install: may_install(),
    }
}

fn may_install() -> bool {
    env::var_os("HPO_SETUP").is_none_or(|v| v != "never")
}

fn active_rustc() -> PathBuf {
    env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from)
}

fn toolchain_with_targets() -> Option<CrossToolchain> {
    let rustc = active_rustc();
    let has = |target: &str| {
        output(Command::new(&rustc).args(["--print", "target-libdir", "--target", target]))
            .and_then(|dir| std::fs::read_dir(dir.trim()).ok())
            .is_some_and(|mut dir| {
                dir.any(|entry| {
                    entry.is_ok_and(|e| e.file_name().to_string_lossy().starts_with("libcore-"))
                })
            })
    };
    TARGETS.iter().all(|target| has(target)).then_some(())?;
    let version = output(Command::new(&rustc).arg("--version"))?;
    Some(CrossToolchain {
        rustc,
        version: version.trim().to_string(),
        build_std: false,
        linker: None,
    })
}

fn toolchain_with_source() -> Option<CrossToolchain> {
    [active_rustc(), PathBuf::from(DEBIAN_RUSTC)]
        .into_iter()
        .find_map(|rustc| {
            let sysroot = output(Command::new(&rustc).args(["--print", "sysroot"]))?;
            let sysroot = Path::new(sysroot.trim()).to_path_buf();
            let library = sysroot.join("lib/rustlib/src/rust/library/Cargo.lock");
            let version = output(Command::new(&rustc).arg("--version"))?;
            let new_enough = version_of(&version)? >= version_of(env!("CARGO_PKG_RUST_VERSION"))?;
            (library.exists() && new_enough).then_some(())?;
            // Debian's compiler brings no rust-lld; a rustup compiler does.
            let linker = on_path("ld.lld");
            let has_own = std::fs::read_dir(sysroot.join("lib/rustlib"))
                .ok()?
                .filter_map(std::result::Result::ok)
                .any(|e| e.path().join("bin/rust-lld").exists());
            (has_own || linker.is_some()).then_some(())?;
            Some(CrossToolchain {
                rustc,
                version: version.trim().to_string(),
                build_std: true,
                linker: linker.filter(|_| !has_own),
            })
        })
}

/// Major and minor version in `rustc 1.96.0 (...)` or `1.95`.
fn version_of(text: &str) -> Option<(u32, u32)> {
    let number = text.trim().trim_start_matches("rustc ");
    let mut parts = number.split(['.', ' ', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn apt_install(
    rust: bool,
    qemu: bool,
    progress: &dyn Fn(&str),
) -> std::result::Result<Vec<String>, String> {
    let wanted = DEBIAN_RUST
        .into_iter()
        .filter(|_| rust)
        .chain([QEMU].into_iter().filter(|_| qemu));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(["-q", "-o", "DPkg::Lock::Timeout=600"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    // The lists that came with the machine may name an older compiler than there is.
    let mut done = match run(apt(&["update"]), progress) {
        Ok(done) => done,
        Err(why) => vec![format!("failed, went on: {why}")],
    };
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(wanted);
    done.extend(run(apt(&arguments), progress)?);
    Ok(done)
}

/// Runs a command to its end; `Ok` holds its line, `Err` line and last lines of output.
fn run(mut command: Command, progress: &dyn Fn(&str)) -> std::result::Result<Vec<String>, String> {
    let line = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    progress(&line);
    match command.stdin(Stdio::null()).output() {
        Ok(out) if out.status.success() => Ok(vec![line]),
        Ok(out) => {
            let text = String::from_utf8_lossy(&out.stderr);
            let tail: Vec<&str> = text.lines().rev().take(5).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            Err(format!("`{line}`: {}: {}", out.status, tail.join(" / ")))
        }
        Err(why) => Err(format!("`{line}`: {why}")),
    }
}

fn output(command: &mut Command) -> Option<String> {
    let out = command.stdin(Stdio::null()).output().ok()?;
    out.status
        .success()
        .then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

fn install_lock_path() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    env::temp_dir().join(format!("hpo-setup-{user}.lock"))
}

/// Opens (or makes) `path` and waits until no other process holds its lock; dropping releases it.
///
/// # Errors
/// [`Error::Io`] if the file cannot be made or locked.
pub(crate) fn lock_exclusively(path: &Path) -> Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|e| Error::io(path, "cannot open the lock file", e))?;
    file.lock().map_err(|e| Error::io(path, "cannot lock", e))?;
    Ok(file)
}

fn advice(rust: bool, qemu: bool, failures: &[String]) -> String {
    let mut text = String::from("tools are missing.");
    if rust {
        text += &format!(
            "\n  Rust for the device: `rustup target add {}`, or on Debian as root \
             `apt-get update && apt-get install {}` (rustc {} or newer)",
            TARGETS.join(" "),
            DEBIAN_RUST.join(" "),
            env!("CARGO_PKG_RUST_VERSION"),
        );
    }
    if qemu {
        text += &format!("\n  emulator: {QEMU}; on Debian as root `apt-get install {QEMU}`");
    }
    if !may_install() {
        text += "\n  HPO_SETUP=never forbids installing them here";
    }
    for failure in failures {
        text += &format!("\n  tried {failure}");
    }
    text
}

#[cfg(test)]
mod tests;
