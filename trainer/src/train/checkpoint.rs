//! A checkpoint: everything needed to continue a run with the same bytes, written atomically.

use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::train::learner::State;

/// First bytes of a checkpoint file, with the version of its layout.
const MAGIC: &[u8; 8] = b"HPOCKPT1";
/// Bytes of the SHA-256 digest behind the magic.
const DIGEST: usize = 32;

/// The best policy so far, by validation cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Epochs done when it was validated.
    pub epoch: usize,
    /// Its validation cost.
    pub cost: f64,
    /// Its parameters.
    pub parameters: Vec<f32>,
}

/// Contents of a checkpoint file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Seed of the run.
    pub seed: u64,
    /// SHA-256 of the resolved settings and plant: a checkpoint continues only its own run.
    pub fingerprint: [u8; 32],
    /// The learner.
    pub state: State,
    /// The best policy.
    pub best: Best,
    /// Validation cost before the first epoch.
    pub start_cost: f64,
}

impl Checkpoint {
    /// Writes the checkpoint; a crash leaves the old file or the new one.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let body = postcard::to_allocvec(self)
            .map_err(|error| Error::Usage(format!("checkpoint: {error}")))?;
        let mut bytes = Vec::with_capacity(MAGIC.len() + DIGEST + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&Sha256::digest(&body));
        bytes.extend_from_slice(&body);
        write_atomically(path, &bytes)
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::Input`] if it is not a whole checkpoint.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
        let damaged = |found: &str| {
            Error::input(
                path,
                "checkpoint",
                found,
                "a whole checkpoint of this version of hpo",
            )
        };
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| damaged("other magic"))?;
        let (digest, body) = rest
            .split_at_checked(DIGEST)
            .ok_or_else(|| damaged("a truncated file"))?;
        if Sha256::digest(body)[..] != *digest {
            return Err(damaged("bytes that do not match their digest"));
        }
        postcard::from_bytes(body).map_err(|error| damaged(&error.to_string()))
    }
}

/// Writes a whole file beside `path` and renames it into place. A link is followed, also to what is not there yet. What is no ordinary file, a device or a pipe, is not
/// replaced but written to, and so is what `/dev` or `/proc` leads to (`/dev/stdout`): at its end.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = |e| Error::io(path, "cannot write", e);
    let special = |found: std::fs::Metadata| !found.is_file() && !found.is_dir();
    if path.starts_with("/dev")
        || path.starts_with("/proc")
        || std::fs::metadata(path).is_ok_and(special)
    {
        let mut device = std::fs::OpenOptions::new();
        let mut device = device.append(true).open(path).map_err(cannot)?;
        return device.write_all(bytes).map_err(cannot);
    }
    let beside = |link: std::path::PathBuf| path.parent().unwrap_or(Path::new("")).join(link);
    let target = std::fs::canonicalize(path)
        .or_else(|_| std::fs::read_link(path).map(beside))
        .unwrap_or_else(|_| path.to_path_buf());
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    // A temporary file is private by default; the result is an ordinary file, less the user's mask.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(cannot)?;
    file.write_all(bytes).map_err(cannot)?;
    file.as_file().sync_all().map_err(cannot)?;
    file.persist(&target).map_err(|e| cannot(e.error))?;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Read as _;

    use super::write_atomically;

    #[test]
    fn a_file_is_replaced_a_link_followed_and_a_device_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write_atomically(&at("file"), b"one").unwrap();
        write_atomically(&at("file"), b"two").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        write_atomically(&at("link"), b"three").unwrap();
        assert_eq!(std::fs::read(at("file")).unwrap(), b"three");
        assert!(at("link").is_symlink());
        std::os::unix::fs::symlink("not yet", at("dangling")).unwrap();
        write_atomically(&at("dangling"), b"four").unwrap();
        assert_eq!(std::fs::read(at("not yet")).unwrap(), b"four");
        assert!(at("dangling").is_symlink());

        let pipe = at("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || {
                let mut text = Vec::new();
                std::fs::File::open(pipe)
                    .unwrap()
                    .read_to_end(&mut text)
                    .map(|_| text)
            }
        });
        write_atomically(&pipe, b"through").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), b"through");
        // Through a link of ours, so that a program that replaced it harmed nothing.
        std::os::unix::fs::symlink("/dev/full", at("full")).unwrap();
        let error = write_atomically(&at("full"), b"x").unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(write_atomically(folder.path(), b"x").is_err());
    }
}
