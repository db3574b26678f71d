//! References on disk: an evaluation needs them again and again, and they take seconds.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::report::{ReferenceEvent, ReferenceReport, compute};
use crate::plant::PlantModel;

/// Part of every key; to be raised whenever [`compute`] may give other values.
const VERSION: u32 = 3;

/// A folder with one file per (plant, states, seed). Files that cannot be read back are ignored.
#[derive(Clone, Debug)]
pub struct ReferenceCache {
    folder: PathBuf,
}

/// Content of a file.
#[derive(Serialize, Deserialize)]
struct Entry {
    version: u32,
    key: String,
    report: ReferenceReport,
}

impl ReferenceCache {
    /// The cache in a given folder, which need not exist yet.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The user's cache: `$XDG_CACHE_HOME/hpo`, or `$HOME/.cache/hpo`; `None` if neither variable
    /// holds an absolute path.
    #[must_use]
    pub fn of_user() -> Option<Self> {
        let absolute = |name: &str| {
            let path = PathBuf::from(std::env::var_os(name)?);
            path.is_absolute().then_some(path)
        };
        let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        Some(Self::new(base.join("hpo")))
    }

    /// The stored report, if there is one for exactly this plant, states and seed.
    #[must_use]
    pub fn get(
        &self,
        model: &PlantModel,
        states: &[Vec<f64>],
        seed: u64,
    ) -> Option<ReferenceReport> {
        let key = key(model, states, seed);
        let text = std::fs::read(self.path(&key)).ok()?;
        let entry: Entry = serde_json::from_slice(&text).ok()?;
        (entry.version == VERSION && entry.key == key).then_some(entry.report)
    }

    /// Stores a report: first under another name, so that a reader never sees half of it.
    ///
    /// # Errors
    /// What the operating system says if the folder or the file cannot be written.
    pub fn put(
        &self,
        model: &PlantModel,
        states: &[Vec<f64>],
        seed: u64,
        report: &ReferenceReport,
    ) -> std::io::Result<()> {
        let key = key(model, states, seed);
        let path = self.path(&key);
        let entry = Entry {
            version: VERSION,
            key,
            report: report.clone(),
        };
        std::fs::create_dir_all(&self.folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&serde_json::to_vec(&entry)?)?;
        file.persist(path)?;
        Ok(())
    }

    fn path(&self, key: &str) -> PathBuf {
        Path::new(&self.folder).join(format!("reference-{}.json", &key[..32]))
    }
}

/// [`compute`] through a cache; without one, or where it cannot be written, plain [`compute`].
///
/// # Panics
/// As [`compute`].
#[must_use]
pub fn compute_cached(
    cache: Option<&ReferenceCache>,
    model: &PlantModel,
    states: &[Vec<f64>],
    seed: u64,
    progress: &(dyn Fn(ReferenceEvent) + Sync),
) -> ReferenceReport {
    if let Some(report) = cache.and_then(|cache| cache.get(model, states, seed)) {
        return report;
    }
    let report = compute(model, states, seed, progress);
    if let Some(cache) = cache {
        // A cache that cannot be written costs time, not results.
        let _ = cache.put(model, states, seed, &report);
    }
    report
}

/// SHA-256 of everything that the report depends on, in hexadecimal.
fn key(model: &PlantModel, states: &[Vec<f64>], seed: u64) -> String {
    let mut hash = Sha256::new();
    let mut number = |value: u64| hash.update(value.to_le_bytes());
    number(u64::from(VERSION));
    // The noise is the only thing that the seed changes.
    number(if model.disturbance().is_empty() {
        0
    } else {
        seed
    });
    number(states.len() as u64);
    for value in states.iter().flatten() {
        number(value.to_bits());
    }
    // Every number of the plant stands in its self-contained file, and reads back to the same bits.
    hash.update(model.resolved_toml().as_bytes());
    hash.update(model.name().as_bytes());
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::load_plant;

    #[test]
    fn reports_come_back_and_damage_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ReferenceCache::new(folder.path().join("deep/er"));
        let model = load_plant("switched-lqr-3-2", &[]).unwrap();
        let states = &model.test_states().unwrap()[..8];
        assert!(cache.get(&model, states, 0).is_none());
        let report = compute_cached(Some(&cache), &model, states, 0, &|_| {});
        // Equal to the last bit, time included: it was read, not computed.
        assert_eq!(cache.get(&model, states, 0).unwrap(), report);
        assert_eq!(
            compute_cached(Some(&cache), &model, states, 5, &|_| {}),
            report
        );
        assert!(cache.get(&model, &states[..7], 0).is_none());
        let other = load_plant("switched-lqr-3-2", &[("horizon".into(), "19".into())]).unwrap();
        assert!(cache.get(&other, states, 0).is_none());

        let file = std::fs::read_dir(folder.path().join("deep/er")).unwrap();
        let file = file.map(|entry| entry.unwrap().path()).next().unwrap();
        let text = std::fs::read(&file).unwrap();
        for damaged in [&text[..text.len() / 2], b"", b"{}", &[0xff; 40]] {
            std::fs::write(&file, damaged).unwrap();
            assert!(cache.get(&model, states, 0).is_none());
        }
        let old = String::from_utf8(text)
            .unwrap()
            .replacen("\"version\":2", "\"version\":0", 1);
        std::fs::write(&file, old).unwrap();
        assert!(cache.get(&model, states, 0).is_none());
        let again = compute_cached(Some(&cache), &model, states, 0, &|_| {});
        assert_eq!(again.optimal_cost, report.optimal_cost);
        assert!(cache.get(&model, states, 0).is_some());
    }

    #[test]
    fn unwritable_cache_still_computes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = ReferenceCache::new(file.path());
        let model = load_plant("switched-lqr-3-2", &[]).unwrap();
        let states = &model.test_states().unwrap()[..4];
        let report = compute_cached(Some(&cache), &model, states, 0, &|_| {});
        assert_eq!(report.episodes, 4);
        assert!(cache.put(&model, states, 0, &report).is_err());
    }
}
