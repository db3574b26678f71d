//! The `[dynamics]` table: matrices inline, from a file, or from the generator.

use std::borrow::Cow;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use nalgebra::{DMatrix, DVector};
use serde::Deserialize;
use toml::Value;

use super::family::{Loaded, ReadAt};
use super::generator::{self, switched_actuators};
use super::values::{MAX_SIZE, Place};
use super::{SwitchedLqrData, check};
use crate::{Error, Result};

/// `[dynamics]` as it stands in the file; exactly one of the three sources.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DynamicsTable {
    #[serde(rename = "A")]
    a: Option<Value>,
    #[serde(rename = "B")]
    b: Option<Value>,
    #[serde(rename = "Q")]
    q: Option<Value>,
    #[serde(rename = "R")]
    r: Option<Value>,
    affine: Option<Value>,
    file: Option<String>,
    generator: Option<GeneratorTable>,
}

/// `generator = { n = 8, modes = 4, seed = 3 }`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GeneratorTable {
    n: usize,
    modes: usize,
    #[serde(default)]
    seed: u64,
}

/// The matrices, and what else the source settles; `noise_std` is empty, `state_clamp` the source's own or the default.
type Dynamics = Loaded<SwitchedLqrData>;

/// Where files named in a plant file are found.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// Relative to this folder.
    Folder(PathBuf),
    /// Among files that are part of the program.
    BuiltIn(&'static [(&'static str, &'static [u8])]),
}

impl Origin {
    /// The path to show and the bytes of the file `name`.
    pub(super) fn read(&self, name: &str) -> Result<(PathBuf, Cow<'static, [u8]>)> {
        match self {
            Origin::Folder(folder) => {
                let path = folder.join(name);
                let bytes = std::fs::read(&path)
                    .map_err(|source| Error::io(&path, "cannot read", source))?;
                Ok((path, Cow::Owned(bytes)))
            }
            Origin::BuiltIn(files) => {
                let path = Path::new("plants").join(name);
                match files.iter().find(|(known, _)| *known == name) {
                    Some((_, bytes)) => Ok((path, Cow::Borrowed(*bytes))),
                    None => Err(Error::io(
                        path,
                        "cannot read",
                        std::io::ErrorKind::NotFound.into(),
                    )),
                }
            }
        }
    }
}

impl DynamicsTable {
    /// Reads and checks the matrices. A seed of the command line overrides the generator's.
    pub(super) fn read(&self, at: &ReadAt<'_>) -> Result<Dynamics> {
        let ReadAt { file, origin, seed } = *at;
        let inline = [&self.a, &self.b, &self.q, &self.r];
        let any_inline = self.affine.is_some() || inline.iter().any(|m| m.is_some());
        let sources = usize::from(any_inline)
            + usize::from(self.file.is_some())
            + usize::from(self.generator.is_some());
        if sources != 1 {
            return Err(Error::input(
                file,
                "dynamics",
                format!("{sources} sources of matrices"),
                "exactly one of: A, B, Q and R inline; file; generator",
            ));
        }
        if seed.is_some() && self.generator.is_none() {
            return Err(Error::Usage(format!(
                "seed: {} has given matrices; only a plant with \
                 `generator = {{ n = .., modes = .., seed = .. }}` (such as switched-lqr-10-3) takes a seed",
                file.display()
            )));
        }
        if let Some(table) = self.generator {
            return generate(table, seed, file);
        }
        if let Some(name) = &self.file {
            let (path, bytes) = origin.read(name)?;
            return match path.extension().and_then(|e| e.to_str()) {
                Some("npz") => read_npz(&path, &bytes),
                Some("json") => read_json(&path, &bytes),
                _ => Err(Error::input(
                    file,
                    "dynamics.file",
                    format!("`{name}`"),
                    "a file named *.npz (arrays A, B, Q, R) or *.json",
                )),
            };
        }
        self.read_inline(file)
    }

    fn read_inline(&self, file: &Path) -> Result<Dynamics> {
        let read = |key: &str, value: &Option<Value>| {
            let place = Place::new(file, format!("dynamics.{key}"));
            match value {
                Some(value) => place.matrices(value),
                None => Err(place.error("nothing", "a matrix, or one matrix per mode")),
            }
        };
        let mut set = [
            read("A", &self.a)?,
            read("B", &self.b)?,
            read("Q", &self.q)?,
            read("R", &self.r)?,
        ];
        let n = set[0][0].nrows();
        let mut affine = match &self.affine {
            Some(value) => read_affine(&Place::new(file, "dynamics.affine"), value, n)?,
            None => Vec::new(),
        };
        // A list of one is shared by all modes.
        let modes = set.iter().map(Vec::len).chain([affine.len(), 1]).max();
        let modes = modes.unwrap_or(1);
        for (key, matrices) in ["A", "B", "Q", "R"].iter().zip(&mut set) {
            share(
                matrices,
                modes,
                &Place::new(file, format!("dynamics.{key}")),
            )?;
        }
        if !affine.is_empty() {
            share(&mut affine, modes, &Place::new(file, "dynamics.affine"))?;
        }
        let [a, b, q, r] = set;
        finish(a, b, q, r, affine, file, "dynamics.")
    }
}

fn share<T: Clone>(items: &mut Vec<T>, modes: usize, place: &Place) -> Result<()> {
    if items.len() == 1 {
        *items = vec![items[0].clone(); modes];
    }
    if items.len() != modes {
        let allowed = format!("1 (shared by all modes) or {modes}, as elsewhere in this table");
        return Err(place.error(format!("{} entries", items.len()), allowed));
    }
    Ok(())
}

fn read_affine(place: &Place, value: &Value, n: usize) -> Result<Vec<DVector<f64>>> {
    let items = place.array(value, "an array of numbers, or one such array per mode")?;
    if items[0].is_array() {
        let rows = items.iter().enumerate();
        rows.map(|(d, row)| Ok(DVector::from_vec(place.at(d).vector(row, n)?)))
            .collect()
    } else {
        Ok(vec![DVector::from_vec(place.vector(value, n)?)])
    }
}

/// Checks the matrices and makes both costs exactly symmetric.
fn finish(
    a: Vec<DMatrix<f64>>,
    b: Vec<DMatrix<f64>>,
    q: Vec<DMatrix<f64>>,
    r: Vec<DMatrix<f64>>,
    affine: Vec<DVector<f64>>,
    file: &Path,
    prefix: &str,
) -> Result<Dynamics> {
    let mut data = SwitchedLqrData {
        a,
        b,
        q,
        r,
        affine,
        noise_std: Vec::new(),
        state_clamp: generator::STATE_CLAMP,
    };
    check::matrices(&data, file, prefix)?;
    for cost in data.q.iter_mut().chain(&mut data.r) {
        *cost = (&*cost + cost.transpose()) * 0.5;
    }
    Ok(Dynamics {
        data,
        horizon: None,
        seed: None,
    })
}

fn generate(table: GeneratorTable, seed: Option<u64>, file: &Path) -> Result<Dynamics> {
    let place = |key: &str| Place::new(file, format!("dynamics.generator.{key}"));
    if table.n == 0 || table.n > MAX_SIZE {
        return Err(place("n").error(table.n, format!("1 to {MAX_SIZE}")));
    }
    if table.modes == 0 || table.modes > table.n {
        let allowed = format!("1 to n = {} (each mode has its own actuators)", table.n);
        return Err(place("modes").error(table.modes, allowed));
    }
    let seed = seed.unwrap_or(table.seed);
    Ok(Dynamics {
        data: switched_actuators(table.n, table.modes, seed),
        horizon: Some(generator::HORIZON),
        seed: Some(seed),
    })
}

/// The JSON form of the paper's family: one A, the diagonals of B, R = lambda_u I, Q = I.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonPlant {
    n: usize,
    modes: usize,
    horizon: usize,
    lambda_u: f64,
    clamp: f64,
    /// Seed of the program that wrote the file; not used, the matrices stand below.
    #[serde(rename = "seed")]
    _seed: u64,
    #[serde(rename = "A")]
    a: Vec<Vec<f64>>,
    b_diag: Vec<Vec<f64>>,
}

fn read_json(path: &Path, bytes: &[u8]) -> Result<Dynamics> {
    let json: JsonPlant = serde_json::from_slice(bytes).map_err(|error| {
        let field = format!("line {}, column {}", error.line(), error.column());
        let allowed = "an object with the keys n, modes, horizon, lambda_u, clamp, seed, A, b_diag";
        Error::input(path, field, error, allowed)
    })?;
    for (field, size) in [("n", json.n), ("modes", json.modes)] {
        if size == 0 || size > MAX_SIZE {
            return Err(Error::input(path, field, size, format!("1 to {MAX_SIZE}")));
        }
    }
    for (field, rows, count) in [("A", &json.a, json.n), ("b_diag", &json.b_diag, json.modes)] {
        let allowed = format!("{count} rows of n = {} numbers", json.n);
        if rows.len() != count {
            let found = format!("{} rows", rows.len());
            return Err(Error::input(path, field, found, allowed));
        }
        if let Some(i) = rows.iter().position(|row| row.len() != json.n) {
            let found = format!("{} numbers", rows[i].len());
            return Err(Error::input(path, format!("{field}[{i}]"), found, allowed));
        }
    }
    if json.clamp <= 0.0 {
        return Err(Error::input(path, "clamp", json.clamp, "greater than 0"));
    }
    let a = DMatrix::from_fn(json.n, json.n, |i, j| json.a[i][j]);
    let data = generator::from_shared(&a, &json.b_diag, json.lambda_u, json.clamp);
    check::matrices(&data, path, "")?;
    Ok(Dynamics {
        data,
        horizon: Some(json.horizon),
        seed: None,
    })
}

fn read_npz(path: &Path, bytes: &[u8]) -> Result<Dynamics> {
    let mut archive = npyz::npz::NpzArchive::new(Cursor::new(bytes))
        .map_err(|error| Error::input(path, "archive", error, "a .npz file (numpy.savez)"))?;
    let mut names: Vec<String> = archive.array_names().map(str::to_owned).collect();
    names.sort_unstable();
    if names != ["A", "B", "Q", "R"] {
        let found = format!("arrays {}", names.join(", "));
        return Err(Error::input(
            path,
            "archive",
            found,
            "the arrays A, B, Q, R",
        ));
    }
    let mut read = |name: &str| {
        let array = archive
            .by_name(name)
            .map_err(|error| Error::input(path, name, error, "a readable array"))?
            .ok_or_else(|| Error::input(path, name, "nothing", "an array"))?;
        read_array(path, name, array)
    };
    finish(
        read("A")?,
        read("B")?,
        read("Q")?,
        read("R")?,
        Vec::new(),
        path,
        "",
    )
}

/// One matrix per leading index of a three-dimensional array of f64 or f32, in either order.
fn read_array<R: std::io::Read>(
    path: &Path,
    name: &str,
    array: npyz::NpyFile<R>,
) -> Result<Vec<DMatrix<f64>>> {
    let shape: Vec<u64> = array.shape().to_vec();
    let in_range = |size: &u64| (1..=MAX_SIZE as u64).contains(size);
    if shape.len() != 3 || !shape.iter().all(in_range) {
        let allowed = format!("shape [modes, rows, columns], each 1 to {MAX_SIZE}");
        return Err(Error::input(
            path,
            name,
            format!("shape {shape:?}"),
            allowed,
        ));
    }
    let [modes, rows, columns] = [shape[0] as usize, shape[1] as usize, shape[2] as usize];
    let fortran = array.order() == npyz::Order::Fortran;
    let dtype = array.dtype().descr();
    let unreadable = |error: std::io::Error| Error::input(path, name, error, "a complete array");
    let numbers: Vec<f64> = if dtype.contains("f8") {
        array.into_vec::<f64>().map_err(unreadable)?
    } else if dtype.contains("f4") {
        let numbers = array.into_vec::<f32>().map_err(unreadable)?;
        numbers.into_iter().map(f64::from).collect()
    } else {
        return Err(Error::input(path, name, dtype, "entries of type f8 or f4"));
    };
    let entry = |d: usize, i: usize, j: usize| {
        if fortran {
            numbers[d + modes * (i + rows * j)]
        } else {
            numbers[(d * rows + i) * columns + j]
        }
    };
    Ok((0..modes)
        .map(|d| DMatrix::from_fn(rows, columns, |i, j| entry(d, i, j)))
        .collect())
}

#[cfg(test)]
#[path = "dynamics_tests.rs"]
mod tests;
