//! Running `hpo` in a folder of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The plant of the tests that need just any.
pub const PLANT: &str = "switched-lqr-3-2";

/// Settings under which an epoch takes about a millisecond.
pub const SMALL: [&str; 6] = [
    "--set",
    "train.batch=16",
    "--set",
    "train.batches_per_epoch=1",
    "--set",
    "train.validation_states=16",
];

/// What a command left.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A folder to run commands in, with a reference cache of its own.
pub struct Hpo {
    folder: TempDir,
}

impl Hpo {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// `hpo` with `args`, standard output and error piped, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hpo"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("XDG_CACHE_HOME", self.folder.path().join(".cache"))
            .env("HPO_SETUP", "never")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &[&str]) -> Outcome {
        let output = self.command(args).output().unwrap();
        Outcome {
            code: output.status.code().expect("hpo ended by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must succeed without a word on standard error.
    pub fn done(&self, args: &[&str]) -> String {
        let outcome = self.run(args);
        assert_eq!(outcome.code, 0, "{args:?}: {outcome:?}");
        assert_eq!(outcome.stderr, "", "{args:?}");
        outcome.stdout
    }

    /// Runs a command that must print one JSON object and nothing else.
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.done(&[args, &["--json"]].concat());
        assert_eq!(text.lines().count(), 1, "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(value.is_object(), "{text}");
        value
    }

    /// Runs a command that must fail with `code`: standard output stays empty, no file is made,
    /// changed or lost, and the message is one line that holds all of `parts`.
    pub fn fails(&self, code: i32, args: &[&str], parts: &[&str]) {
        let before = self.files();
        let outcome = self.run(args);
        assert_eq!(outcome.code, code, "{args:?}: {outcome:?}");
        assert_eq!(outcome.stdout, "", "{args:?}");
        assert!(outcome.stderr.starts_with("error: "), "{outcome:?}");
        for part in parts {
            assert!(
                outcome.stderr.contains(part),
                "{args:?}: no `{part}` in: {}",
                outcome.stderr
            );
        }
        assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
        assert!(
            before == self.files(),
            "{args:?} changed files: {:?} before, {:?} after",
            before.keys(),
            self.files().keys()
        );
    }

    /// As [`Hpo::fails`] with exit code 2: bad usage or input file.
    pub fn refuses(&self, args: &[&str], parts: &[&str]) {
        self.fails(2, args, parts);
    }

    /// Trains for two epochs and returns the policy's bytes; the run is in the folder `run`.
    pub fn small_run(&self) -> Vec<u8> {
        let args = ["train", PLANT, "--epochs", "2", "--out", "run"];
        self.done(&[&args, &SMALL[..]].concat());
        self.read("run/policy.hpo")
    }

    /// Every file and folder but the cache, with the files' content.
    fn files(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        fn walk(folder: &Path, files: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
            for entry in folder.read_dir().unwrap() {
                let path = entry.unwrap().path();
                if path.ends_with(".cache") {
                    continue;
                }
                if path.is_dir() {
                    walk(&path, files);
                    files.insert(path, None);
                } else {
                    let content = std::fs::read(&path).unwrap();
                    files.insert(path, Some(content));
                }
            }
        }
        let mut files = BTreeMap::new();
        walk(self.folder.path(), &mut files);
        files
    }
}
