//! The error every library function of the trainer returns, and the exit code it stands for.

use std::path::{Path, PathBuf};

/// Result with the trainer's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, with the values a user needs to mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file's content is not acceptable.
    #[error("{}: {field}: found {found}; allowed: {allowed}", file.display())]
    Input {
        /// The file that was read.
        file: PathBuf,
        /// Path of the field inside the file, such as `train.epochs`.
        field: String,
        /// What stands there.
        found: String,
        /// What may stand there.
        allowed: String,
    },
    /// The command line asks for something that does not exist or does not go together.
    #[error("{0}")]
    Usage(String),
    /// A file or folder could not be read or written.
    #[error("{}: {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, such as `cannot read`.
        action: &'static str,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The command ran and its answer is no: a mismatch, a rejection, an interruption.
    #[error("{0}")]
    Negative(String),
    /// A tool, compiler or emulator is missing or broken.
    #[error("{0}")]
    Environment(String),
}

impl Error {
    /// The process exit code of design section 4.2: 1 answer is no, 2 bad usage or input,
    /// 3 environment.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Negative(_) => 1,
            Error::Input { .. } | Error::Usage(_) | Error::Io { .. } => 2,
            Error::Environment(_) => 3,
        }
    }

    /// An [`Error::Input`] from displayable parts.
    pub fn input(
        file: impl AsRef<Path>,
        field: impl Into<String>,
        found: impl std::fmt::Display,
        allowed: impl Into<String>,
    ) -> Self {
        Error::Input {
            file: file.as_ref().to_path_buf(),
            field: field.into(),
            found: found.to_string(),
            allowed: allowed.into(),
        }
    }

    /// An [`Error::Io`] about `path`.
    pub fn io(path: impl AsRef<Path>, action: &'static str, source: std::io::Error) -> Self {
        Error::Io {
            path: path.as_ref().to_path_buf(),
            action,
            source,
        }
    }
}
