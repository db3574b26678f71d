//! The metrics files of a run directory: one line an epoch, in CSV and as JSON lines.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::error::{Error, Result};
use crate::train::checkpoint::write_atomically;
use crate::train::learner::{EpochMetrics, State};

/// The two metrics files, one line an epoch.
pub(super) struct Metrics {
    csv: (PathBuf, File),
    jsonl: (PathBuf, File),
}

impl Metrics {
    /// Opens the files of the run in `folder`, cut back to `epochs` lines, ready for the next.
    pub fn open(folder: &Path, epochs: usize) -> Result<Self> {
        let header = "epoch,env_steps,cost,validation_cost,entropy,critic_error,\
                      selector_gradient,law_gradient,clamped";
        Ok(Self {
            csv: cut(&folder.join("metrics.csv"), Some(header), epochs)?,
            jsonl: cut(&folder.join("metrics.jsonl"), None, epochs)?,
        })
    }

    /// Appends the line of an epoch.
    pub fn write(
        &mut self,
        state: &State,
        m: &EpochMetrics,
        validation: Option<f64>,
    ) -> Result<()> {
        let shown = validation.map(|cost| cost.to_string()).unwrap_or_default();
        let row = format!(
            "{},{},{},{shown},{},{},{},{},{}\n",
            state.epoch,
            state.env_steps,
            m.cost,
            m.entropy,
            m.critic_error,
            m.selector_gradient,
            m.law_gradient,
            m.clamped
        );
        let object = json!({
            "epoch": state.epoch,
            "env_steps": state.env_steps,
            "cost": m.cost,
            "validation_cost": validation,
            "entropy": m.entropy,
            "critic_error": m.critic_error,
            "selector_gradient": m.selector_gradient,
            "law_gradient": m.law_gradient,
            "clamped": m.clamped,
        });
        let line = format!("{object}\n");
        for ((path, file), text) in [(&mut self.csv, row), (&mut self.jsonl, line)] {
            file.write_all(text.as_bytes())
                .map_err(|e| Error::io(&*path, "cannot write", e))?;
        }
        Ok(())
    }

    /// Makes the lines so far last, so that no checkpoint is ahead of its metrics.
    pub fn sync(&self) -> Result<()> {
        for (path, file) in [&self.csv, &self.jsonl] {
            file.sync_data()
                .map_err(|e| Error::io(path, "cannot write", e))?;
        }
        Ok(())
    }
}

/// Opens a metrics file with its header and the first `epochs` lines, dropping later ones.
fn cut(path: &Path, header: Option<&str>, epochs: usize) -> Result<(PathBuf, File)> {
    let old = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::io(path, "cannot read", error)),
    };
    let skip = usize::from(header.is_some());
    let mut text: String = header.map(|h| format!("{h}\n")).unwrap_or_default();
    for line in old.lines().skip(skip).take(epochs) {
        text.push_str(line);
        text.push('\n');
    }
    write_atomically(path, text.as_bytes())?;
    let file = OpenOptions::new()
        .append(true)
        .open(path)
        .map_err(|e| Error::io(path, "cannot open", e))?;
    Ok((path.to_path_buf(), file))
}
