//! Everything that decides a training run, as written to its run directory.
//!
//! Read from TOML, where an unknown key is an error. Each option says what it does to the
//! bias and the variance of the gradient.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::numeric::LANES;
use crate::policy::InputKind;
use crate::policy::model::Group;
use crate::train::start::Start;

/// How the advantage of a choice is estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advantage {
    /// One step of the simulator for every choice, then the critic. Without the noise of the sampled
    /// choice; biased by the critic's error. In the exact variant a control variate: unbiased.
    LookAhead,
    /// Generalised advantage estimation with the critic: biased by the critic's error.
    Gae,
    /// Sampled cost-to-go minus the critic's value: unbiased, the greatest variance.
    MonteCarlo,
}

/// Which derivative of the score function is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CrossTerm {
    /// The total derivative: how earlier controls move the state at which a choice is made counts.
    On,
    /// The selector's own parameters only: biased away from a discrete best response, and without the
    /// variance that the cross term has near one.
    Off,
}

/// Exact or practical variant of HPO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// One scale, one discount, no normalisation, no bonus, no clipping, one pass: the unbiased gradient.
    Exact,
    /// Scaled advantages, entropy bonus, gradient norm clip, further passes on detached data.
    Practical,
}

/// How much a sample's choice gradient counts in the practical variant, with unit-norm input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChoiceWeight {
    /// As the cost counts it: proportional to |s|^2. No bias.
    Cost,
    /// Proportional to |s|.
    Norm,
    /// Every direction the same, whatever |s|. Biased as a gradient of the cost, but with the same best
    /// selector, which depends on the direction alone; uses late, small states as fully as early ones.
    Direction,
}

/// `[train]`: the algorithm's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSettings {
    /// Where parameters come from before the first epoch: `scratch`, `averaged-riccati`, `switched-riccati`, or
    /// the path of a policy.
    pub start: Start,
    /// Exact or practical.
    pub variant: Variant,
    /// Number of epochs, at least 1; training stops here and never by the clock.
    pub epochs: usize,
    /// Trajectories per update, a multiple of 16.
    pub batch: usize,
    /// Updates per epoch, at least 1.
    pub batches_per_epoch: usize,
    /// Generalised advantage estimation and the critic's targets: lambda in [0, 1].
    pub gae_lambda: f64,
    /// Advantage estimate.
    pub advantage: Advantage,
    /// Whether the cross term is kept.
    pub cross_term: CrossTerm,
    /// Passes over a batch, at least 1: the first with gradients attached, the others on detached data
    /// and for the selector alone (biased: the data is the old policy's).
    pub passes: usize,
    /// Minibatches of a detached pass and of the critic's regression, 1 to the horizon.
    pub minibatches: usize,
    /// Clip of the discrete probability ratio in detached passes, > 0.
    pub clip: f64,
    /// Whether the critic's value of the last state continues the cost beyond the horizon in advantages and
    /// targets; the critic is then stationary.
    pub bootstrap: bool,
    /// Weight of the pathwise part against the score function part, >= 0; matters to the cross term and
    /// to clipping only, since Adam takes the scale out of each parameter.
    pub pathwise_weight: f64,
    /// Entropy bonus at the first epoch, in units of the advantages' spread, > 0. Keeps several laws of a
    /// mode alive until they have told each other apart; biased.
    pub entropy_start: f64,
    /// Entropy bonus at the last epoch, > 0; geometric in between.
    pub entropy_end: f64,
    /// Greatest Euclidean norm of the gradient, > 0.
    pub gradient_norm: f64,
    /// Adam step size of the linear gains.
    pub step_gains: f64,
    /// Adam step size of the quadratic scores.
    pub step_scores: f64,
    /// Adam step size of the selector and control networks.
    pub step_networks: f64,
    /// Adam step size of the critic.
    pub step_critic: f64,
    /// Step sizes at the last epoch as a fraction of the first, in (0, 1]; cosine in between.
    pub step_final: f64,
    /// Passes of the critic's regression over each batch.
    pub critic_passes: usize,
    /// How much a sample's choice counts.
    pub choice_weight: ChoiceWeight,
    /// Epochs between validations, at least 1; the last epoch is always validated.
    pub validate_every: usize,
    /// Number of validation states, drawn by the trainer, at least 1.
    pub validation_states: usize,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            start: Start::Scratch,
            variant: Variant::Practical,
            epochs: 300,
            batch: 128,
            batches_per_epoch: 8,
            gae_lambda: 0.9,
            advantage: Advantage::LookAhead,
            cross_term: CrossTerm::Off,
            passes: 1,
            minibatches: 4,
            clip: 0.15,
            bootstrap: true,
            pathwise_weight: 1.0,
            entropy_start: 1.0,
            entropy_end: 1e-3,
            gradient_norm: 1e3,
            step_gains: 0.1,
            step_scores: 0.1,
            step_networks: 2e-3,
            step_critic: 3e-3,
            step_final: 0.02,
            critic_passes: 2,
            choice_weight: ChoiceWeight::Direction,
            validate_every: 10,
            validation_states: 1024,
        }
    }
}

/// `[policy]`: the structure of the policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySettings {
    /// What scores and networks see. Unit norm is refused on a plant where the best mode does not depend
    /// on the direction of the state alone.
    pub input: InputKind,
    /// Control laws per plant mode, at least 1; choices = modes x laws.
    pub laws_per_mode: usize,
    /// Whether the selector scores each choice by a quadratic of its input.
    pub scores: bool,
    /// Hidden widths of the selector network; absent: no network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector_hidden: Option<Vec<usize>>,
    /// Whether each choice has a linear gain.
    pub gains: bool,
    /// Hidden widths of the control network; absent: no network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_hidden: Option<Vec<usize>>,
    /// Whether the control network has an output head per choice (else one for all).
    pub head_per_choice: bool,
    /// Standard deviation of the initial scores, >= 0.
    pub score_spread: f64,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            input: InputKind::UnitNorm,
            laws_per_mode: 4,
            scores: true,
            selector_hidden: None,
            gains: true,
            control_hidden: None,
            head_per_choice: true,
            score_spread: 0.3,
        }
    }
}

/// `[critic]`: the structure of the critic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CriticSettings {
    /// Hidden widths of the critic's network beside its quadratic form; empty: none.
    pub hidden: Vec<usize>,
}

impl Default for CriticSettings {
    fn default() -> Self {
        Self { hidden: vec![32] }
    }
}

/// A training run's settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The algorithm.
    pub train: TrainSettings,
    /// The policy.
    pub policy: PolicySettings,
    /// The critic.
    pub critic: CriticSettings,
}

impl TrainSettings {
    /// The exact variant with the look-ahead as control variate.
    #[must_use]
    pub fn exact() -> Self {
        Self {
            variant: Variant::Exact,
            advantage: Advantage::LookAhead,
            cross_term: CrossTerm::On,
            choice_weight: ChoiceWeight::Cost,
            passes: 1,
            ..Self::default()
        }
    }

    /// Adam step size of a parameter group at the first epoch.
    #[must_use]
    pub fn step_size(&self, group: Group) -> f64 {
        match group {
            Group::Scores => self.step_scores,
            Group::Gains => self.step_gains,
            Group::Selector | Group::Control => self.step_networks,
        }
    }
}

/// What the defaults depend on.
#[derive(Clone, Copy, Debug)]
pub struct PlantTraits {
    /// Whether the best mode depends on the direction of the state alone: no bounds, affine terms or noise.
    pub homogeneous: bool,
    /// Steps of an episode.
    pub horizon: usize,
}

impl Settings {
    /// Defaults for a plant, then `sets` (`train.epochs` = `300`, values in TOML), then the checks.
    ///
    /// A key without a section belongs to `[train]`.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the key, what was found and what is allowed.
    pub fn resolve(sets: &[(String, String)], plant: PlantTraits) -> Result<Self> {
        let mut settings = Self::default();
        settings.train.minibatches = settings.train.minibatches.min(plant.horizon);
        if !plant.homogeneous {
            settings.policy.input = InputKind::Affine;
            settings.policy.selector_hidden = Some(vec![32, 32]);
            settings.policy.control_hidden = Some(vec![32, 32]);
        }
        Start::among(sets).defaults(&mut settings);
        let exact = sets
            .iter()
            .rfind(|(key, _)| matches!(key.as_str(), "variant" | "train.variant"))
            .is_some_and(|(_, value)| value.trim_matches('"') == "exact");
        if exact {
            settings.train.cross_term = CrossTerm::On;
            settings.train.choice_weight = ChoiceWeight::Cost;
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
        settings.check(plant)?;
        Ok(settings)
    }

    /// Checks ranges and combinations.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the key, what was found and what is allowed.
    pub fn check(&self, plant: PlantTraits) -> Result<()> {
        let (train, policy) = (&self.train, &self.policy);
        let number = |key: &str, value: f64, ok: bool, allowed: &str| {
            if ok && value.is_finite() {
                Ok(())
            } else {
                Err(Error::Usage(format!(
                    "{key}: found {value}; allowed: {allowed}"
                )))
            }
        };
        let count = |key: &str, value: usize, min: usize, max: usize| {
            number(
                key,
                value as f64,
                (min..=max).contains(&value),
                &format!("{min} to {max}"),
            )
        };
        count("train.epochs", train.epochs, 1, 1_000_000)?;
        count("train.batch", train.batch, LANES, 65_536)?;
        number(
            "train.batch",
            train.batch as f64,
            train.batch.is_multiple_of(LANES),
            "a multiple of 16",
        )?;
        count(
            "train.batches_per_epoch",
            train.batches_per_epoch,
            1,
            10_000,
        )?;
        count("train.passes", train.passes, 1, 100)?;
        count("train.minibatches", train.minibatches, 1, plant.horizon)?;
        count("train.critic_passes", train.critic_passes, 0, 100)?;
        count("train.validate_every", train.validate_every, 1, 1_000_000)?;
        count(
            "train.validation_states",
            train.validation_states,
            1,
            1_000_000,
        )?;
        count("policy.laws_per_mode", policy.laws_per_mode, 1, 256)?;
        for (key, hidden) in [
            ("policy.selector_hidden", policy.selector_hidden.as_deref()),
            ("policy.control_hidden", policy.control_hidden.as_deref()),
            ("critic.hidden", Some(self.critic.hidden.as_slice())),
        ] {
            let hidden = hidden.unwrap_or_default();
            count(&format!("{key} (layers)"), hidden.len(), 0, 4)?;
            for &width in hidden {
                count(&format!("{key} (width)"), width, 1, 1024)?;
            }
        }
        let unit = |v: f64| (0.0..=1.0).contains(&v);
        number(
            "train.gae_lambda",
            train.gae_lambda,
            unit(train.gae_lambda),
            "0 to 1",
        )?;
        for (key, value) in [
            ("train.clip", train.clip),
            ("train.entropy_start", train.entropy_start),
            ("train.entropy_end", train.entropy_end),
            ("train.gradient_norm", train.gradient_norm),
            ("train.step_gains", train.step_gains),
            ("train.step_scores", train.step_scores),
            ("train.step_networks", train.step_networks),
            ("train.step_critic", train.step_critic),
            ("train.step_final", train.step_final),
        ] {
            number(key, value, value > 0.0, "above 0")?;
        }
        number(
            "train.step_final",
            train.step_final,
            train.step_final <= 1.0,
            "at most 1",
        )?;
        for (key, value) in [
            ("train.pathwise_weight", train.pathwise_weight),
            ("policy.score_spread", policy.score_spread),
        ] {
            number(key, value, value >= 0.0, "0 or more")?;
        }
        self.check_combinations(plant)
    }

    fn check_combinations(&self, plant: PlantTraits) -> Result<()> {
        let (train, policy) = (&self.train, &self.policy);
        let refuse = |found: &str, allowed: &str| {
            Err(Error::Usage(format!("found {found}; allowed: {allowed}")))
        };
        if !policy.scores && policy.selector_hidden.is_none() {
            return refuse(
                "policy.scores = false without policy.selector_hidden",
                "a selector: scores, a network, or both",
            );
        }
        if !policy.gains && policy.control_hidden.is_none() {
            return refuse(
                "policy.gains = false without policy.control_hidden",
                "a control law: gains, a network, or both",
            );
        }
        if policy.input == InputKind::UnitNorm && !plant.homogeneous {
            return refuse(
                "policy.input = \"unit-norm\" on a plant with bounds, affine terms or noise",
                "\"affine\": the best mode of this plant depends on more than the direction",
            );
        }
        if train.variant == Variant::Exact {
            if train.passes > 1 {
                return refuse("train.passes > 1 in the exact variant", "1");
            }
            if train.advantage == Advantage::Gae {
                return refuse(
                    "train.advantage = \"gae\" in the exact variant",
                    "\"monte-carlo\", or \"look-ahead\" as control variate",
                );
            }
            if train.choice_weight != ChoiceWeight::Cost {
                return refuse("train.choice_weight in the exact variant", "\"cost\"");
            }
        }
        Ok(())
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

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
