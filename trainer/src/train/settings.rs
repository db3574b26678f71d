//! Everything that decides a training run, as written to its run directory.
//!
//! Read from TOML, where an unknown key is an error. Each option says what it does to the
//! bias and the variance of the gradient.

mod check;
mod preset;
mod resolve;

use serde::{Deserialize, Serialize};

use crate::policy::InputKind;
use crate::policy::model::Group;
use crate::train::start::Start;

/// Training algorithms, each read from top to bottom in a file of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Hybrid Policy Optimization: pathwise for the laws, score function for the choices.
    Hpo,
    /// Proximal policy optimisation: score function for choices and for controls with Gaussian noise.
    Ppo,
    /// Score function with a baseline, one step a batch.
    Reinforce,
    /// Pathwise throughout, choices relaxed by the straight-through Gumbel-softmax: biased.
    Gumbel,
}

impl Algorithm {
    /// Its name on the command line and in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hpo => "hpo",
            Self::Ppo => "ppo",
            Self::Reinforce => "reinforce",
            Self::Gumbel => "gumbel",
        }
    }
}

/// Preset of the policy's structure; every part can still be set on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Structure {
    /// Quadratic scores and linear gains, four laws per mode, no networks (networks are added on a plant with
    /// bounds, affine terms or noise).
    Quadratic,
    /// Two tanh networks of the state and nothing else, as in the paper; one law per mode.
    Plain,
    /// The same two networks of the state's direction beside quadratic scores and a linear gain per
    /// choice; one law per mode.
    Structured,
}

impl Structure {
    /// The default on a plant: quadratic where quadratics are what the optimum is made of, networks beside gains on a nonlinear plant. On one
    /// whose control jumps, or with a single mode, the quadratic one too, whose presets are made for it.
    #[must_use]
    pub fn of_choice(plant: PlantTraits) -> Self {
        if plant.linear || plant.jumps || plant.modes == 1 {
            Self::Quadratic
        } else {
            Self::Structured
        }
    }

    /// Its name on the command line and in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quadratic => "quadratic",
            Self::Plain => "plain",
            Self::Structured => "structured",
        }
    }
}

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
    /// A factor in [0, 1] from the cross term's signal and noise in earlier batches
    /// ([`crate::train::cross_term`]): biased, but less than `off`; less variance than `on`.
    Auto,
}

impl CrossTerm {
    /// Its name on the command line and in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Auto => "auto",
        }
    }
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
    /// The algorithm.
    pub algo: Algorithm,
    /// Where parameters come from before the first epoch: `scratch`, `averaged-riccati`, `switched-riccati`, or
    /// the path of a policy.
    pub start: Start,
    /// HPO: exact or practical.
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
    /// Percent of the epochs, at the start, in which the critic alone learns, 0 to 99; 0 for Gumbel, which has none. A start that is worth
    /// keeping must not be judged by a critic that knows nothing yet.
    pub critic_warmup: usize,
    /// How much a sample's choice counts.
    pub choice_weight: ChoiceWeight,
    /// Epochs between validations, at least 1; the last epoch is always validated.
    pub validate_every: usize,
    /// Number of validation states, drawn by the trainer, at least 1.
    pub validation_states: usize,
    /// PPO: passes end when the mean of the ratio's (r - 1) - ln r exceeds this; 0: never.
    pub target_kl: f64,
    /// PPO, REINFORCE: standard deviation of the control's Gaussian noise at the start, > 0; in units of the
    /// control's typical magnitude (1 on linear plants), with unit-norm input relative to |xi| / sqrt(n).
    pub noise_start: f64,
    /// PPO, REINFORCE: least standard deviation, > 0.
    pub noise_least: f64,
    /// PPO, REINFORCE: Adam step size of the logarithm of the standard deviations; 0: they stay.
    pub step_noise: f64,
    /// Gumbel-softmax: temperature at the first epoch, > 0. A high one gives a smooth, more biased gradient.
    pub temperature_start: f64,
    /// Gumbel-softmax: temperature at the last epoch, > 0; geometric in between. A low one gives variance.
    pub temperature_end: f64,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            algo: Algorithm::Hpo,
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
            critic_warmup: 0,
            choice_weight: ChoiceWeight::Direction,
            validate_every: 10,
            validation_states: 1024,
            target_kl: 0.0,
            noise_start: 0.5,
            noise_least: 0.01,
            step_noise: 0.0,
            temperature_start: 1.0,
            temperature_end: 0.3,
        }
    }
}

/// `[policy]`: the structure of the policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySettings {
    /// The preset that the other keys of this section start from.
    pub structure: Structure,
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
    /// Value of every law before the first epoch, where it has an offset; absent: the plant's typical control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub law_start: Option<f64>,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            structure: Structure::Quadratic,
            input: InputKind::UnitNorm,
            laws_per_mode: 4,
            scores: true,
            selector_hidden: None,
            gains: true,
            control_hidden: None,
            head_per_choice: true,
            score_spread: 0.3,
            law_start: None,
        }
    }
}

/// Most quadratic forms of a critic.
pub(super) const MOST_FORMS: usize = 256;

/// `[critic]`: the structure of the critic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CriticSettings {
    /// Quadratic forms, of which the least counts, 1 to 256, or 0 (no quadratic part) where the input is affine: the optimal value of an unconstrained switched
    /// linear-quadratic plant is a least of quadratic forms.
    #[serde(skip_serializing_if = "is_one")]
    pub forms: usize,
    /// Hidden widths of the critic's network beside its quadratic form; empty: none.
    pub hidden: Vec<usize>,
}

impl Default for CriticSettings {
    fn default() -> Self {
        Self {
            forms: 1,
            hidden: vec![32],
        }
    }
}

fn is_one(value: &usize) -> bool {
    *value == 1
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
    /// Number of modes.
    pub modes: usize,
    /// Number of states.
    pub states: usize,
    /// Factors that a mode is made of.
    pub factors: usize,
    /// Whether the plant is a switched linear-quadratic one without jumps.
    pub linear: bool,
    /// Whether the best mode depends on the direction of the state alone: no bounds, affine terms or noise.
    pub homogeneous: bool,
    /// Steps of an episode.
    pub horizon: usize,
    /// Whether cost or transition jump in the control.
    pub jumps: bool,
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
