//! The cross product of plants, algorithms, structures, network sizes and seeds.

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::plant::PlantModel;
use crate::train::run::{TrainConfig, hex};
use crate::train::start::Start;

/// Name of the structure where none is asked for: the training command's defaults.
pub const DEFAULT_STRUCTURE: &str = "default";

/// What a comparison is made of; [`Grid::cells`] is the cross product.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grid {
    /// Plants, as named on the command line; at least one.
    pub plants: Vec<String>,
    /// Algorithms; at least one. The first is the one that the others are tested against.
    pub algorithms: Vec<String>,
    /// Structures; [`DEFAULT_STRUCTURE`] stands for none; at least one.
    pub structures: Vec<String>,
    /// Hidden widths; `None` for the structure's own; at least one.
    pub hidden: Vec<Option<Vec<usize>>>,
    /// Seeds 1 to this number, at least 1.
    pub seeds: u64,
    /// Settings for every cell.
    pub sets: Vec<(String, String)>,
    /// Settings for the cells of one algorithm: (selector, key, value). They stand behind `sets`. A selector is the
    /// algorithm's name, then, where the setting is not for all of its cells, `/STRUCTURE` and `@PLANT`.
    pub sets_for: Vec<(String, String, String)>,
}

/// Greatest number of seeds: more cells than anyone will wait for, and few enough to list.
const MAX_SEEDS: u64 = 10_000;

/// One training run of a comparison, by the words of the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct CellSpec {
    /// Plant, as named on the command line.
    pub plant: String,
    /// Algorithm.
    pub algorithm: String,
    /// Structure, or [`DEFAULT_STRUCTURE`].
    pub structure: String,
    /// Hidden widths of selector and control network, where they were asked for.
    pub hidden: Option<Vec<usize>>,
    /// Seed of the run.
    pub seed: u64,
    /// Settings, of plant and training.
    pub sets: Vec<(String, String)>,
}

impl Grid {
    /// All cells, all of seed 1 before any of seed 2: a comparison that is stopped early has some of
    /// everything.
    ///
    /// # Errors
    /// [`Error::Usage`] for an empty axis, zero seeds, or a setting for an algorithm that is not in the grid.
    pub fn cells(&self) -> Result<Vec<CellSpec>> {
        let usage = |text: String| Err(Error::Usage(text));
        if self.seeds == 0 || self.seeds > MAX_SEEDS {
            return usage(format!(
                "--seeds: found {}; allowed: 1 to {MAX_SEEDS}",
                self.seeds
            ));
        }
        for (name, count) in [
            ("PLANT", self.plants.len()),
            ("--algo", self.algorithms.len()),
            ("--structure", self.structures.len()),
            ("--hidden", self.hidden.len()),
        ] {
            if count == 0 {
                return usage(format!("{name}: found none; allowed: at least one"));
            }
        }
        let keys = self.sets.iter().map(|(key, _)| key);
        for key in keys.chain(self.sets_for.iter().map(|(_, key, _)| key)) {
            // What names a row must be what was run.
            if matches!(key.as_str(), "algo" | "train.algo" | "policy.structure") {
                return usage(format!(
                    "--set: found {key}; allowed: other settings; --algo and --structure name the runs"
                ));
            }
        }
        for (selector, ..) in &self.sets_for {
            let Selector {
                algorithm,
                structure,
                plant,
            } = Selector::parse(selector);
            let unknown = |word: Option<&str>, known: &[String], what: &str| match word {
                Some(word) if known.iter().all(|k| k != word) => usage(format!(
                    "--set-for: found {word}; allowed: {}, the {what} of this comparison",
                    known.join(", ")
                )),
                _ => Ok(Vec::new()),
            };
            unknown(Some(algorithm), &self.algorithms, "algorithms")?;
            unknown(structure, &self.structures, "structures")?;
            unknown(plant, &self.plants, "plants")?;
        }
        let mut cells = Vec::new();
        for seed in 1..=self.seeds {
            for plant in &self.plants {
                for structure in &self.structures {
                    for hidden in &self.hidden {
                        for algorithm in &self.algorithms {
                            let own = self.sets_for.iter().filter(|(selector, ..)| {
                                Selector::parse(selector).takes(algorithm, structure, plant)
                            });
                            let own = own.map(|(_, key, value)| (key.clone(), value.clone()));
                            cells.push(CellSpec {
                                plant: plant.clone(),
                                algorithm: algorithm.clone(),
                                structure: structure.clone(),
                                hidden: hidden.clone(),
                                seed,
                                sets: self.sets.iter().cloned().chain(own).collect(),
                            });
                        }
                    }
                }
            }
        }
        Ok(cells)
    }
}

/// Which cells a `--set-for` is for: `ALGO[/STRUCTURE][@PLANT]`.
struct Selector<'a> {
    algorithm: &'a str,
    structure: Option<&'a str>,
    plant: Option<&'a str>,
}

impl<'a> Selector<'a> {
    fn parse(text: &'a str) -> Self {
        let (rest, plant) = match text.split_once('@') {
            Some((rest, plant)) => (rest, Some(plant)),
            None => (text, None),
        };
        let (algorithm, structure) = match rest.split_once('/') {
            Some((algorithm, structure)) => (algorithm, Some(structure)),
            None => (rest, None),
        };
        Self {
            algorithm,
            structure,
            plant,
        }
    }

    fn takes(&self, algorithm: &str, structure: &str, plant: &str) -> bool {
        self.algorithm == algorithm
            && self.structure.is_none_or(|s| s == structure)
            && self.plant.is_none_or(|p| p == plant)
    }
}

/// What makes two cells the same cell, as 32 hexadecimal digits: algorithm, structure, seed, plant with its
/// matrices, test states, and every resolved setting.
///
/// # Errors
/// [`Error::Usage`] if the settings have no TOML form; [`Error::Io`] if a policy to start from cannot be read.
pub fn fingerprint(
    spec: &CellSpec,
    config: &TrainConfig,
    test_states: &[Vec<f64>],
) -> Result<String> {
    let settings = toml::to_string(&config.settings)
        .map_err(|error| Error::Usage(format!("settings: {error}")))?;
    let plant = config.plant.resolved_toml();
    let mut digest = Sha256::new();
    for text in [
        "hpo compare 1",
        &spec.algorithm,
        &spec.structure,
        &spec.seed.to_string(),
        &plant,
        &settings,
    ] {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text.as_bytes());
    }
    for value in test_states.iter().flatten() {
        digest.update(value.to_bits().to_le_bytes());
    }
    // A path is not what stands in the file.
    if let Start::Policy(path) = &config.settings.train.start {
        let inside = path.join("policy.hpo");
        let file = if path.is_dir() { &inside } else { path };
        digest.update(std::fs::read(file).map_err(|e| Error::io(file, "cannot read", e))?);
    }
    let mut text = hex(&digest.finalize());
    text.truncate(32);
    Ok(text)
}

/// Folder of a cell's run, below the comparison's `runs`.
#[must_use]
pub fn folder_name(spec: &CellSpec, plant: &PlantModel, fingerprint: &str) -> String {
    let name = format!(
        "{}-{}-{}-seed{}-{}",
        plant.name(),
        spec.algorithm,
        spec.structure,
        spec.seed,
        &fingerprint[..12.min(fingerprint.len())]
    );
    // A name of the user's must not lead out of the folder.
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.chars()
        .map(|c| if plain(c) { c } else { '-' })
        .collect()
}

/// Hidden widths as they are shown and keyed: `64x64`, or `-` where none were asked for.
#[must_use]
pub fn hidden_label(hidden: Option<&[usize]>) -> String {
    match hidden {
        None => "-".into(),
        Some([]) => "none".into(),
        Some(widths) => {
            let widths: Vec<String> = widths.iter().map(usize::to_string).collect();
            widths.join("x")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        Grid {
            plants: vec!["p".into(), "q".into()],
            algorithms: vec!["a".into(), "b".into()],
            structures: vec!["plain".into()],
            hidden: vec![None, Some(vec![8, 8])],
            seeds: 3,
            sets: vec![("train.batch".into(), "16".into())],
            sets_for: vec![("b".into(), "train.clip".into(), "0.2".into())],
        }
    }

    #[test]
    fn the_cross_product_has_every_combination_once() {
        let cells = grid().cells().unwrap();
        assert_eq!(cells.len(), 2 * 2 * 2 * 3);
        for (index, cell) in cells.iter().enumerate() {
            assert!(!cells[..index].contains(cell));
            let own = cell.sets.iter().any(|(key, _)| key == "train.clip");
            assert_eq!(own, cell.algorithm == "b");
            assert_eq!(cell.sets[0].0, "train.batch");
        }
        assert!(cells[..8].iter().all(|cell| cell.seed == 1));
    }

    #[test]
    fn a_setting_may_be_for_one_structure_and_plant() {
        let mut grid = grid();
        let structure = grid.structures[0].clone();
        let plant = grid.plants[1].clone();
        for selector in [
            format!("b/{structure}"),
            format!("b@{plant}"),
            format!("b/{structure}@{plant}"),
        ] {
            grid.sets_for = vec![(selector.clone(), "train.clip".into(), "0.3".into())];
            for cell in grid.cells().unwrap() {
                let set = cell.sets.iter().any(|(key, _)| key == "train.clip");
                let is = cell.algorithm == "b"
                    && (!selector.contains('/') || cell.structure == structure)
                    && (!selector.contains('@') || cell.plant == plant);
                assert_eq!(set, is, "{selector}: {cell:?}");
            }
        }
    }

    #[test]
    fn empty_axes_and_unknown_algorithms_are_refused() {
        let fails = |change: fn(&mut Grid), part: &str| {
            let mut grid = grid();
            change(&mut grid);
            let message = grid.cells().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };
        fails(|g| g.seeds = 0, "--seeds: found 0; allowed: 1 to 10000");
        fails(|g| g.plants.clear(), "PLANT: found none");
        fails(|g| g.algorithms.clear(), "--algo: found none");
        fails(
            |g| g.sets_for[0].0 = "c".into(),
            "--set-for: found c; allowed: a, b",
        );
        fails(
            |g| g.sets[0].0 = "train.algo".into(),
            "--set: found train.algo; allowed",
        );
        fails(
            |g| g.sets_for[0].1 = "policy.structure".into(),
            "--set: found policy.structure; allowed",
        );
        fails(|g| g.seeds = 10_001, "--seeds: found 10001; allowed: 1 to");
        fails(
            |g| g.sets_for[0].0 = "b@nowhere".into(),
            "--set-for: found nowhere; allowed",
        );
        fails(
            |g| g.sets_for[0].0 = "b/nothing".into(),
            "--set-for: found nothing; allowed",
        );
    }
}
