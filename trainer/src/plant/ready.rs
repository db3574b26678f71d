//! Plants that are part of the program, and the one door to any plant: [`load_plant`].

use std::path::Path;

use super::dynamics::Origin;
use super::file::{Overrides, parse_plant};
use super::model::PlantModel;
use crate::{Error, Result};

/// A ready plant: its name, its plant file, and the files which that one names.
struct Ready {
    name: &'static str,
    text: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

macro_rules! ready {
    ($name:literal) => {
        Ready {
            name: $name,
            text: include_str!(concat!("../../../plants/", $name, ".toml")),
            files: &[],
        }
    };
    ($name:literal, $matrices:literal, $states:literal) => {
        Ready {
            name: $name,
            text: include_str!(concat!("../../../plants/", $name, ".toml")),
            files: &[
                (
                    $matrices,
                    include_bytes!(concat!("../../../plants/", $matrices)),
                ),
                (
                    $states,
                    include_bytes!(concat!("../../../plants/", $states)),
                ),
            ],
        }
    };
}

static READY: [Ready; 20] = [
    ready!("switched-lqr-3-2", "lqr_n3_m2.json", "x0_test_n3.csv"),
    ready!("switched-lqr-8-2", "lqr_n8_m2.json", "x0_test_n8.csv"),
    // The archive holds the same numbers as the JSON file: the ready plants exercise both readers.
    ready!("switched-lqr-8-4", "lqr_n8_m4.npz", "x0_test_n8.csv"),
    ready!("switched-lqr-16-4", "lqr_n16_m4.json", "x0_test_n16.csv"),
    ready!("switched-lqr-32-8", "lqr_n32_m8.json", "x0_test_n32.csv"),
    ready!("switched-lqr-48-8", "lqr_n48_m8.json", "x0_test_n48.csv"),
    ready!("textbook-pair"),
    ready!("satellite-axis"),
    ready!("buck-boost"),
    ready!("three-tank"),
    ready!("geared-car"),
    ready!("inventory-1"),
    ready!("inventory-3"),
    ready!("inventory-5"),
    ready!("inventory-7"),
    ready!("inventory-10"),
    ready!("inventory-20"),
    ready!("inventory-30"),
    ready!("inventory-50"),
    ready!("actuator-jump"),
];

/// Names of the ready plants: the paper's, smallest first, then the others. Beside them, `switched-lqr-N-M` names a generated
/// plant of any other size.
#[must_use]
pub fn ready_names() -> Vec<&'static str> {
    READY.iter().map(|plant| plant.name).collect()
}

/// Whether a key of `--set` belongs to the plant: `seed`, `horizon`, `state_clamp` or `jumps`.
#[must_use]
pub fn is_plant_key(key: &str) -> bool {
    matches!(key, "seed" | "horizon" | "state_clamp" | "jumps")
}

/// The plant called `name_or_path`: a ready plant, `switched-lqr-N-M` for one by the generator, or
/// the path of a plant file.
///
/// `sets` are the `--set key=value` pairs of the command line. Those of [`is_plant_key`] replace
/// the plant's own value (`seed` only where the plant comes from the generator); all others are
/// left to the trainer and not looked at.
///
/// # Errors
/// [`Error::Usage`] for an unknown name (listing the ready plants) or a plant key with a value it
/// cannot take, [`Error::Io`] for a file that cannot be read, [`Error::Input`] for a file that is
/// no acceptable plant.
pub fn load_plant(name_or_path: &str, sets: &[(String, String)]) -> Result<PlantModel> {
    let overrides = read_overrides(sets)?;
    if let Some(ready) = READY.iter().find(|plant| plant.name == name_or_path) {
        let shown = format!("plants/{}.toml", ready.name);
        let origin = Origin::BuiltIn(ready.files);
        return parse_plant(ready.text, Path::new(&shown), &origin, &overrides);
    }
    if let Some((n, modes)) = generated_size(name_or_path) {
        let text = generated_text(name_or_path, n, modes, overrides.seed.unwrap_or(0));
        let origin = Origin::BuiltIn(&[]);
        return parse_plant(&text, Path::new(name_or_path), &origin, &overrides);
    }
    let path = Path::new(name_or_path);
    let is_path = name_or_path.ends_with(".toml")
        || name_or_path.contains(std::path::is_separator)
        || path.is_file();
    if !is_path {
        return Err(Error::Usage(format!(
            "unknown plant `{name_or_path}`; ready plants: {}, switched-lqr-N-M for any other \
             size, or the path of a plant file (*.toml)",
            ready_names().join(", ")
        )));
    }
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::io(path, "cannot read", source))?;
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    parse_plant(&text, path, &Origin::Folder(folder), &overrides)
}

/// N and M of `switched-lqr-N-M`.
fn generated_size(name: &str) -> Option<(usize, usize)> {
    let (n, modes) = name.strip_prefix("switched-lqr-")?.split_once('-')?;
    let digits = |word: &str| {
        // Only the plain spelling is a name: no sign, no leading zero.
        let plain = word.bytes().all(|b| b.is_ascii_digit()) && !word.starts_with('0');
        plain.then(|| word.parse().ok()).flatten()
    };
    Some((digits(n)?, digits(modes)?))
}

/// The plant file of a generated plant.
fn generated_text(name: &str, n: usize, modes: usize, seed: u64) -> String {
    format!(
        "name = \"{name}\"\n\
         description = \"Switched actuators, {n} states, {modes} modes, generated (seed {seed})\"\n\
         source = \"generator, after arXiv 2605.14297\"\n\
         horizon = 20\n\
         state_clamp = 100.0\n\
         sample_time_s = 0.01\n\
         \n\
         [dynamics]\n\
         generator = {{ n = {n}, modes = {modes}, seed = {seed} }}\n\
         \n\
         [initial]\n\
         half_width = 10.0\n\
         divide_by_sqrt_n = true\n"
    )
}

fn read_overrides(sets: &[(String, String)]) -> Result<Overrides> {
    fn parse<T: std::str::FromStr>(key: &str, value: &str, allowed: &str) -> Result<Option<T>> {
        value
            .parse()
            .map(Some)
            .map_err(|_| Error::Usage(format!("--set {key}: found `{value}`; allowed: {allowed}")))
    }
    let mut overrides = Overrides::default();
    for (key, value) in sets {
        match key.as_str() {
            "seed" => overrides.seed = parse(key, value, "a whole number, 0 to 2^63 - 1")?,
            "horizon" => overrides.horizon = parse(key, value, "a number of steps, 1 or more")?,
            "state_clamp" => {
                overrides.state_clamp = parse(key, value, "a number greater than 0")?;
            }
            "jumps" => overrides.jumps = Some(value.clone()),
            _ => {}
        }
    }
    if overrides
        .seed
        .is_some_and(|seed| i64::try_from(seed).is_err())
    {
        return Err(Error::Usage(
            "--set seed: allowed: a whole number, 0 to 2^63 - 1".into(),
        ));
    }
    Ok(overrides)
}

#[cfg(test)]
#[path = "ready_tests.rs"]
mod tests;
