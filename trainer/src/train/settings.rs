//! Everything that decides a training run, as written to its run directory.

use serde::{Deserialize, Serialize};

use crate::policy::InputKind;

/// How the advantage of a choice is estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advantage {
    /// One step of the simulator for every choice, then the critic. No sampling noise of the choice;
    /// biased by the critic's error (exact variant: used as control variate, unbiased).
    LookAhead,
    /// Generalised advantage estimation with the critic; biased by the critic's error.
    Gae,
    /// Sampled cost-to-go; unbiased.
    MonteCarlo,
}

/// Which derivative of the score function is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrossTerm {
    /// The total derivative: how earlier controls move the state at which a choice is made counts.
    On,
    /// The selector's own parameters only: biased away from a discrete best response.
    Off,
}

/// Exact or practical variant of HPO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// One scale, one discount, no normalisation, no clipping, one pass: the unbiased gradient.
    Exact,
    /// Scaled advantages, entropy bonus, gradient norm clip, further passes on detached data.
    Practical,
}

/// `[train]`: the algorithm's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSettings {
    /// Exact or practical.
    pub variant: Variant,
    /// Number of epochs; training stops here and never by the clock.
    pub epochs: usize,
    /// Trajectories per update, a multiple of 16.
    pub batch: usize,
    /// Updates per epoch.
    pub batches_per_epoch: usize,
    /// Discount gamma in (0, 1].
    pub discount: f64,
    /// Lambda of generalised advantage estimation and of the critic's targets, in [0, 1].
    pub gae_lambda: f64,
    /// Advantage estimate.
    pub advantage: Advantage,
    /// Whether the cross term is kept.
    pub cross_term: CrossTerm,
    /// Passes over a batch: the first with gradients attached, the others on detached data.
    pub passes: usize,
    /// Minibatches of a detached pass.
    pub minibatches: usize,
    /// PPO clip on the discrete ratio in detached passes.
    pub clip: f64,
    /// Whether the critic's value of the last state continues the cost beyond the horizon in
    /// advantages and targets (the critic is then stationary).
    pub bootstrap: bool,
    /// Weight of the pathwise part against the score function part.
    pub pathwise_weight: f64,
    /// Entropy bonus at the first epoch, in units of the advantage scale.
    pub entropy_start: f64,
    /// Entropy bonus at the last epoch (geometric in between).
    pub entropy_end: f64,
    /// Greatest Euclidean norm of the gradient of the selector and of the laws.
    pub gradient_norm: f64,
    /// Adam step size of the linear gains.
    pub step_gains: f64,
    /// Adam step size of the quadratic scores.
    pub step_scores: f64,
    /// Adam step size of the networks.
    pub step_networks: f64,
    /// Adam step size of the critic.
    pub step_critic: f64,
    /// Step sizes at the last epoch as a fraction of the first (cosine in between).
    pub step_final: f64,
    /// Passes of the critic's regression over each batch.
    pub critic_passes: usize,
    /// Exponent of |s| in the weight of a sample's choice gradient (2: as the cost counts it).
    pub choice_weight: f64,
    /// Epochs between validations.
    pub validate_every: usize,
    /// Validation states, drawn by the trainer.
    pub validation_states: usize,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            variant: Variant::Practical,
            epochs: 400,
            batch: 128,
            batches_per_epoch: 8,
            discount: 1.0,
            gae_lambda: 0.9,
            advantage: Advantage::LookAhead,
            cross_term: CrossTerm::Off,
            passes: 1,
            minibatches: 4,
            clip: 0.15,
            bootstrap: true,
            pathwise_weight: 1.0,
            entropy_start: 0.1,
            entropy_end: 0.001,
            gradient_norm: 1e9,
            step_gains: 1e-2,
            step_scores: 3e-2,
            step_networks: 2e-3,
            step_critic: 3e-3,
            step_final: 0.02,
            critic_passes: 2,
            choice_weight: 0.0,
            validate_every: 10,
            validation_states: 1024,
        }
    }
}

/// `[policy]`: the structure of the policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySettings {
    /// What the networks see.
    pub input: InputKind,
    /// Control laws per plant mode; choices = modes x laws.
    pub laws_per_mode: usize,
    /// Whether the selector scores each choice by a quadratic of the direction.
    pub scores: bool,
    /// Hidden widths of the selector network; absent: no network.
    pub selector_hidden: Option<Vec<usize>>,
    /// Whether each choice has a linear gain.
    pub gains: bool,
    /// Hidden widths of the control network; absent: no network.
    pub control_hidden: Option<Vec<usize>>,
    /// Whether the control network has a head per choice.
    pub head_per_choice: bool,
    /// Standard deviation of the initial scores.
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
    /// Hidden widths of the network over the monomials beside the quadratic form.
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
    /// Adam step size of a parameter group at the first epoch.
    #[must_use]
    pub fn step_size(&self, group: crate::policy::model::Group) -> f64 {
        use crate::policy::model::Group;
        match group {
            Group::Scores => self.step_scores,
            Group::Gains => self.step_gains,
            Group::Selector | Group::Control => self.step_networks,
        }
    }
}
