//! The C compiler for Cortex-M, which only the example of the C interface needs.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::setup::lock_exclusively;
use crate::{Error, Result};

/// The compiler's program, and the Debian package of the same name it comes from.
const PROGRAM: &str = "arm-none-eabi-gcc";
const PACKAGE: &str = "gcc-arm-none-eabi";

/// What to do about a compiler that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Use,
    Install,
    GiveUp,
}

/// `HPO_SETUP=never` forbids installing; apt-get needs root.
const fn plan(found: bool, may_install: bool, apt_as_root: bool) -> Plan {
    match (found, may_install && apt_as_root) {
        (true, _) => Plan::Use,
        (false, true) => Plan::Install,
        (false, false) => Plan::GiveUp,
    }
}

/// The path of `arm-none-eabi-gcc`; installs Debian's package if it is missing and may be installed.
///
/// # Errors
/// [`Error::Environment`] that says what to install where it could not be installed here.
pub fn c_compiler(progress: &dyn Fn(&str)) -> Result<PathBuf> {
    if let Some(path) = on_path(PROGRAM) {
        return Ok(path);
    }
    let may_install = env::var_os("HPO_SETUP").is_none_or(|v| v != "never");
    let apt_as_root = on_path("apt-get").is_some() && rustix::process::geteuid().is_root();
    let mut why = String::new();
    if plan(false, may_install, apt_as_root) == Plan::Install {
        // Whoever waited for the lock finds it installed.
        let _lock = lock_exclusively(&env::temp_dir().join("hpo-c-compiler.lock"))?;
        if let Some(path) = on_path(PROGRAM) {
            return Ok(path);
        }
        for arguments in [
            &["update"][..],
            &["install", "-y", "--no-install-recommends", PACKAGE][..],
        ] {
            progress(&format!("apt-get {}", arguments.join(" ")));
            let output = Command::new("apt-get")
                .args(["-q", "-o", "DPkg::Lock::Timeout=600"])
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .stdin(Stdio::null())
                .output()
                .map_err(|error| Error::Environment(format!("apt-get: {error}")))?;
            if !output.status.success() {
                why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            }
        }
        if let Some(path) = on_path(PROGRAM) {
            return Ok(path);
        }
    }
    let why = if why.is_empty() {
        String::new()
    } else {
        format!(" (apt-get: {why})")
    };
    Err(Error::Environment(format!(
        "{PROGRAM} is not installed{why}; as root: apt-get install -y --no-install-recommends {PACKAGE}"
    )))
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| Path::is_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_used_and_nothing_is_installed_against_the_rules() {
        for (may_install, root) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_eq!(plan(true, may_install, root), Plan::Use);
            let missing = plan(false, may_install, root);
            assert_eq!(missing == Plan::Install, may_install && root);
            assert_eq!(missing == Plan::GiveUp, !(may_install && root));
        }
    }

    #[test]
    fn the_path_is_searched() {
        assert!(on_path("sh").is_some());
        assert!(on_path("no-such-program-anywhere").is_none());
    }
}
