//! `results.jsonl`: one line per finished cell, appended; rewritten only where lines of an earlier version are completed.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::cell::CellResult;
use crate::error::{Error, Result};
use crate::train::checkpoint::write_atomically;

/// The results of a folder, open for one writer.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    file: File,
    results: Vec<CellResult>,
    /// Files and folders that this store made, in the order of removal.
    made: Vec<PathBuf>,
    /// Held as long as the store lives: two comparisons would train the same cells twice.
    _lock: File,
}

impl Store {
    /// Opens `folder/results.jsonl`, which need not exist, and reads every line. A last line without its line
    /// feed was being written when the program was killed: it is completed if it is whole, else dropped.
    ///
    /// # Errors
    /// [`Error::Io`] if folder or file cannot be made, read or written; [`Error::Usage`] if another comparison
    /// works in the folder or it is a run directory; [`Error::Input`] naming the line that is no result of `hpo compare`.
    pub fn open(folder: &Path) -> Result<Self> {
        if folder.join("settings.toml").is_file() {
            return Err(Error::Usage(format!(
                "--out: found {}, a run directory of hpo train; allowed: a new folder or an earlier comparison's",
                folder.display()
            )));
        }
        let path = folder.join("results.jsonl");
        let lock_path = folder.join(".lock");
        let made = [path.as_path(), lock_path.as_path(), folder];
        let made = made.into_iter().filter(|path| !path.exists());
        let made = made.map(Path::to_path_buf).collect();
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, "cannot create the folder", e))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|e| Error::io(&lock_path, "cannot write", e))?;
        lock_soon(&lock).map_err(|error| match error {
            fs::TryLockError::WouldBlock => Error::Usage(format!(
                "--out: another hpo compare works in {}; allowed: one at a time",
                folder.display()
            )),
            fs::TryLockError::Error(e) => Error::io(&lock_path, "cannot lock", e),
        })?;
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| Error::io(&path, "cannot write", e))?;
        let bytes = fs::read(&path).map_err(|e| Error::io(&path, "cannot read", e))?;
        let (results, whole) = read_lines(&path, &bytes)?;
        let cannot = |e| Error::io(&path, "cannot write", e);
        // A line that was only part written goes; one that lacks no more than its end gets it.
        file.set_len(whole as u64).map_err(cannot)?;
        file.seek(SeekFrom::End(0)).map_err(cannot)?;
        if whole > 0 && bytes[whole - 1] != b'\n' {
            file.write_all(b"\n").map_err(cannot)?;
        }
        Ok(Self {
            path,
            file,
            results,
            made,
            _lock: lock,
        })
    }

    /// Gives the folder up after a cell was refused: without a result, what this store made goes away again.
    pub fn give_up(self) {
        let runs = self.path.with_file_name("runs");
        // A folder that holds a run to continue is not empty and stays, as the files beside it do.
        let left = runs.exists() && fs::remove_dir(&runs).is_err();
        if self.results.is_empty() && !left {
            for path in &self.made {
                let _ = if path.is_dir() {
                    fs::remove_dir(path)
                } else {
                    fs::remove_file(path)
                };
            }
        }
    }

    /// Every result of the folder, in the order of the file.
    #[must_use]
    pub fn results(&self) -> &[CellResult] {
        &self.results
    }

    /// The latest result with this fingerprint.
    #[must_use]
    pub fn get(&self, fingerprint: &str) -> Option<&CellResult> {
        self.results.iter().rfind(|r| r.fingerprint == fingerprint)
    }

    /// Appends one result and waits until it is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn append(&mut self, result: CellResult) -> Result<()> {
        let text = serde_json::to_string(&result).map_err(|e| Error::Environment(e.to_string()))?;
        // One write: what a kill leaves is a beginning of this line and nothing else.
        self.file
            .write_all(format!("{text}\n").as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(|e| Error::io(&self.path, "cannot write", e))?;
        self.results.push(result);
        Ok(())
    }

    /// Writes `completed` in the place of the results with their fingerprints, all at once or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written; it is then what it was.
    pub fn complete(&mut self, completed: Vec<CellResult>) -> Result<()> {
        if completed.is_empty() {
            return Ok(());
        }
        let mut results = self.results.clone();
        for result in completed {
            // The latest line of a cell is the one that counts.
            let old = results
                .iter_mut()
                .rfind(|old| old.fingerprint == result.fingerprint);
            if let Some(old) = old {
                *old = result;
            }
        }
        let mut text = String::new();
        for result in &results {
            text +=
                &serde_json::to_string(result).map_err(|e| Error::Environment(e.to_string()))?;
            text.push('\n');
        }
        write_atomically(&self.path, text.as_bytes())?;
        // The file that was open is the one that was replaced.
        self.file = OpenOptions::new()
            .append(true)
            .open(&self.path)
            .map_err(|e| Error::io(&self.path, "cannot write", e))?;
        self.results = results;
        Ok(())
    }
}

/// Reads the results of a folder without changing anything; the end of a torn last line is left out.
///
/// # Errors
/// [`Error::Io`] if there is no such file; [`Error::Input`] as [`Store::open`].
pub fn read_results(path: &Path) -> Result<Vec<CellResult>> {
    let bytes = fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
    Ok(read_lines(path, &bytes)?.0)
}

/// The results, and the number of bytes that they take.
fn read_lines(path: &Path, bytes: &[u8]) -> Result<(Vec<CellResult>, usize)> {
    let mut results = Vec::new();
    let mut at = 0;
    for (index, line) in bytes.split_inclusive(|&b| b == b'\n').enumerate() {
        match serde_json::from_slice(line) {
            Ok(result) => results.push(result),
            Err(_) if !line.ends_with(b"\n") => break,
            Err(error) => {
                return Err(Error::input(
                    path,
                    format!("line {}", index + 1),
                    format!("no result of a cell ({error})"),
                    "lines as hpo compare writes them; move the file away or choose another --out",
                ));
            }
        }
        at += line.len();
    }
    Ok((results, at))
}

/// Locks, waiting for half a second at most: a process that this one has just forked holds a copy of the lock
/// until it becomes another program.
fn lock_soon(lock: &File) -> std::result::Result<(), fs::TryLockError> {
    for _ in 0..10 {
        match lock.try_lock() {
            Err(fs::TryLockError::WouldBlock) => {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            done => return done,
        }
    }
    lock.try_lock()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::cell::tests::result;

    fn fingerprints(store: &Store) -> Vec<String> {
        let list = store.results().iter();
        list.map(|r| r.fingerprint.clone()).collect()
    }

    #[test]
    fn lines_come_back_and_a_torn_end_is_healed_at_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let mut store = Store::open(folder.path()).unwrap();
        store.append(result("a", 1, 1.0)).unwrap();
        store.append(result("b", 1, 2.0)).unwrap();
        let both = store.results().to_vec();
        drop(store);
        assert_eq!(Store::open(folder.path()).unwrap().results(), both);
        let whole = fs::read(&path).unwrap();
        let first = whole.iter().position(|&b| b == b'\n').unwrap() + 1;
        for end in first..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            let mut store = Store::open(folder.path()).unwrap();
            let kept = if end == whole.len() - 1 { 2 } else { 1 };
            assert_eq!(store.results(), &both[..kept], "cut at {end}");
            store.append(result("c", 1, 3.0)).unwrap();
            drop(store);
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().count(), kept + 1);
            assert!(text.ends_with('\n'));
        }
    }

    #[test]
    fn completed_lines_stand_where_they_stood_and_further_ones_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let mut store = Store::open(folder.path()).unwrap();
        for (name, gap) in [("a", 1.0), ("b", 2.0)] {
            store.append(result(name, 1, gap)).unwrap();
        }
        let before = fs::read_to_string(&path).unwrap();
        store.complete(Vec::new()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        let mut first = store.results()[0].clone();
        first.mean_cost_start = Some(1.0 / 3.0);
        let mut unknown = first.clone();
        unknown.fingerprint = "none".into();
        store.complete(vec![first.clone(), unknown]).unwrap();
        store.append(result("c", 1, 3.0)).unwrap();
        let kept = store.results().to_vec();
        drop(store);
        assert_eq!(Store::open(folder.path()).unwrap().results(), kept);
        assert_eq!((kept.len(), &kept[0]), (3, &first));
        let after = fs::read_to_string(&path).unwrap();
        let line = |text: &str, at| text.lines().nth(at).unwrap().to_owned();
        assert_ne!(line(&before, 0), line(&after, 0));
        assert_eq!(line(&before, 1), line(&after, 1));
    }

    #[test]
    fn foreign_lines_are_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        for foreign in ["hello\n", "{}\n", "[1, 2]\n", "\n"] {
            let mut text = serde_json::to_string(&result("a", 1, 1.0)).unwrap();
            text.push('\n');
            text.push_str(foreign);
            fs::write(&path, &text).unwrap();
            let message = Store::open(folder.path()).unwrap_err().to_string();
            assert!(
                message.contains("results.jsonl: line 2: found"),
                "{message}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_run_directory_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("settings.toml"), "").unwrap();
        let error = Store::open(folder.path()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("a run directory"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_writer_at_a_time_and_the_latest_line_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        let message = Store::open(folder.path()).unwrap_err().to_string();
        assert!(message.contains("another hpo compare"), "{message}");
        store.append(result("a", 1, 1.0)).unwrap();
        let mut later = result("a", 1, 5.0);
        later.fingerprint = store.results()[0].fingerprint.clone();
        store.append(later.clone()).unwrap();
        assert_eq!(fingerprints(&store).len(), 2);
        assert_eq!(store.get(&later.fingerprint), Some(&later));
        assert_eq!(store.get("none"), None);
    }
}
