//! From `--set key=value` pairs to settings.

use clap::ValueEnum as _;

use crate::error::{Error, Result};
use crate::train::settings::{
    Advantage, Algorithm, ChoiceWeight, CrossTerm, MOST_FORMS, PlantTraits, Settings, Structure,
};
use crate::train::start::Start;

impl Settings {
    /// Defaults for a plant, then `sets` (`train.epochs` = `300`, values in TOML), then the checks.
    ///
    /// A key without a section belongs to `[train]`.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the key, what was found and what is allowed.
    pub fn resolve(sets: &[(String, String)], plant: PlantTraits) -> Result<Self> {
        let word = |section: &str, key: &str| {
            let full = format!("{section}.{key}");
            let found = sets
                .iter()
                .rfind(|(k, _)| *k == full || (section == "train" && k == key))?;
            Some(found.1.trim_matches('"').to_owned())
        };
        // Words that name no preset are refused below, where the error can name their key.
        let algo = word("train", "algo").and_then(|w| Algorithm::from_str(&w, false).ok());
        let structure =
            word("policy", "structure").and_then(|w| Structure::from_str(&w, false).ok());
        let exact = word("train", "variant").is_some_and(|w| w == "exact");
        let mut settings = Self::preset(
            algo.unwrap_or(Algorithm::Hpo),
            structure.unwrap_or_else(|| Structure::of_choice(plant)),
            plant,
        );
        Start::among(sets).defaults(&mut settings, plant);
        if settings.train.algo == Algorithm::Gumbel {
            // There is no critic that could learn alone.
            settings.train.critic_warmup = 0;
        }
        if exact {
            settings.train.advantage = Advantage::LookAhead;
            settings.train.cross_term = CrossTerm::On;
            settings.train.choice_weight = ChoiceWeight::Cost;
            settings.train.passes = 1;
        }
        let mut table = toml::Table::try_from(&settings)
            .map_err(|error| Error::Usage(format!("settings: {error}")))?;
        for (key, value) in sets {
            set(&mut table, key, value)?;
            // One at a time, so that an error can name its key.
            settings = table
                .clone()
                .try_into()
                .map_err(|error: toml::de::Error| refused(key, value, error.message()))?;
        }
        if settings.train.start == Start::SwitchedRiccati && word("critic", "forms").is_none() {
            // One for each member of the set, however many laws were asked for.
            let choices = plant.modes * settings.policy.laws_per_mode;
            settings.critic.forms = choices.min(MOST_FORMS);
        }
        settings.check(plant)?;
        Ok(settings)
    }
}

/// What the reader said about a `--set` pair, as key, found and allowed.
fn refused(key: &str, value: &str, message: &str) -> Error {
    let message = message.trim().replace('\n', "; ");
    // serde: "unknown field `x`, expected one of `a`, `b`" or "invalid type: string "x", expected usize".
    match message.split_once(", expected ") {
        Some((found, allowed)) if found.starts_with("unknown field") => {
            Error::Usage(format!("--set {key}: {found}; allowed: {allowed}"))
        }
        Some((_, allowed)) => {
            let allowed = match allowed {
                "usize" => "a whole number, 0 or more",
                "f64" => "a number",
                other => other,
            };
            Error::Usage(format!("--set {key}: found {value}; allowed: {allowed}"))
        }
        None => Error::Usage(format!("--set {key}: found {value}; {message}")),
    }
}

/// Puts one `--set` pair into the settings' table.
fn set(table: &mut toml::Table, key: &str, value: &str) -> Result<()> {
    let (section, field) = key.split_once('.').unwrap_or(("train", key));
    // A bare word is a string: `--set train.cross_term=on` needs no quotes.
    let parsed = format!("value = {value}")
        .parse::<toml::Table>()
        .or_else(|_| format!("value = {value:?}").parse::<toml::Table>())
        .map_err(|error| Error::Usage(format!("--set {key}: {}", error.message())))?;
    let fields = table
        .get_mut(section)
        .and_then(toml::Value::as_table_mut)
        .ok_or_else(|| {
            Error::Usage(format!(
                "--set {key}: unknown section `{section}`; allowed: train, policy, critic"
            ))
        })?;
    let mut new = parsed["value"].clone();
    // `0` is a good value for a real setting.
    if let (Some(toml::Value::Float(_)), toml::Value::Integer(integer)) = (fields.get(field), &new)
    {
        new = toml::Value::Float(*integer as f64);
    }
    fields.insert(field.to_owned(), new);
    Ok(())
}
