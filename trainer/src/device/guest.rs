//! Builds of the guests in `firmware/guest`: the control loop in other people's firmware.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::board::Board;
use super::build::{cargo, project_root, run, target_dir};
use super::c_compiler::c_compiler;
use super::setup::{lock_exclusively, set_up};
use crate::{Error, Result};

/// The core of mps2-an386, which the C guest runs on.
const TARGET: &str = "thumbv7em-none-eabihf";

/// Builds the control loop on bare metal (`firmware/guest/bare-metal`) for an emulated board with a watchdog and gives the ELF's path:
/// `mps2-an385`, `-an386`, `-an500`, `-an505` or `mps3-an547`. QEMU has no watchdog of the other two.
///
/// # Errors
/// As [`super::build::build_firmware`]; cargo's words for a board that the crate has no feature for.
pub fn build_bare_metal(board: &Board, progress: &dyn Fn(&str)) -> Result<PathBuf> {
    let (name, target) = ("bare-metal", board.core.target());
    let elf = build_guest(name, target, &["--features", board.name], name, progress)?;
    // The next board's comes to the same path.
    let copy = elf.with_file_name(format!("{name}-{}", board.name));
    std::fs::copy(&elf, &copy).map_err(|e| Error::io(&copy, "cannot write", e))?;
    Ok(copy)
}

/// Builds the control step in a task of `framework` (`firmware/guest/rtic` or `embassy`) for mps2-an386 and gives the ELF's path.
///
/// # Errors
/// As [`super::build::build_firmware`].
pub fn build_task_example(framework: &str, progress: &dyn Fn(&str)) -> Result<PathBuf> {
    let artefact = format!("{framework}-example");
    build_guest(framework, TARGET, &[], &artefact, progress)
}

/// Builds the examiner of policy slots under a power budget (`firmware/guest/slots`, the harness of the fuzz target) for mps2-an386 and gives the
/// ELF's path.
///
/// # Errors
/// As [`super::build::build_firmware`].
pub fn build_slots_examiner(progress: &dyn Fn(&str)) -> Result<PathBuf> {
    build_guest("slots", TARGET, &[], "slots", progress)
}

/// Builds the crate `firmware/guest/<name>` and gives the path of its artefact.
fn build_guest(
    name: &str,
    target: &str,
    features: &[&str],
    artefact: &str,
    progress: &dyn Fn(&str),
) -> Result<PathBuf> {
    let toolchain = set_up(progress)?.toolchain;
    let root = project_root()?;
    let folder = target_dir(&root)?;
    let _lock = lock_exclusively(&folder.join("lock"))?;
    progress(&format!("build {name}"));
    let mut command = cargo(&toolchain, target, &folder);
    command
        .current_dir(root.join("firmware/guest").join(name))
        .args(["build", "--release"])
        .args(features);
    // This one has a heap, which is to be built as well where `core` is.
    let built = |(variable, _): (&std::ffi::OsStr, _)| variable == "CARGO_UNSTABLE_BUILD_STD";
    if name == "slots" && command.get_envs().any(built) {
        command.env("CARGO_UNSTABLE_BUILD_STD", "core,alloc");
    }
    run(command)?;
    Ok(folder.join(target).join("release").join(artefact))
}

/// Builds the static library and compiles `firmware/guest/c/example/main.c` against it with `arm-none-eabi-gcc`, to
/// `elf`.
///
/// # Errors
/// As [`build_bare_metal`] and [`c_compiler`]; [`Error::Environment`] with the compiler's words if it refuses.
pub fn build_c_example(elf: &Path, progress: &dyn Fn(&str)) -> Result<()> {
    let compiler = c_compiler(progress)?;
    let library = build_guest("c", TARGET, &[], "libhpo_control.a", progress)?;
    let folder = project_root()?.join("firmware/guest/c");
    let output = Command::new(&compiler)
        .args(["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard"])
        .args(["-mfpu=fpv4-sp-d16", "-O2", "-Wall", "-Wextra", "-Werror"])
        .args(["-nostdlib", "-Wl,--gc-sections", "-Wl,-z,noexecstack"])
        .arg("-I")
        .arg(folder.join("include"))
        .arg("-T")
        .arg(folder.join("example/link.ld"))
        .arg(folder.join("example/main.c"))
        .arg(library)
        .args(["-lgcc", "-o"])
        .arg(elf)
        .output()
        .map_err(|error| Error::Environment(format!("{}: {error}", compiler.display())))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Environment(format!(
        "{} ended with {}:\n{}",
        compiler.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )))
}
