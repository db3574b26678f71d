//! Ranges and combinations that are allowed.

use crate::error::{Error, Result};
use crate::numeric::LANES;
use crate::policy::InputKind;
use crate::train::settings::{
    Advantage, Algorithm, ChoiceWeight, CrossTerm, MOST_FORMS, PlantTraits, Settings, Variant,
};

impl Settings {
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
        let affine = policy.input == InputKind::Affine;
        count(
            "critic.forms",
            self.critic.forms,
            usize::from(!affine),
            MOST_FORMS,
        )?;
        if plant.factors > 1 {
            count(
                "policy.laws_per_mode (several factors)",
                policy.laws_per_mode,
                1,
                1,
            )?;
            if train.algo == Algorithm::Gumbel {
                return Err(Error::Usage(format!(
                    "train.algo: found gumbel on a plant with {} factors; allowed: hpo, ppo, reinforce",
                    plant.factors
                )));
            }
        }
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
        count("train.critic_warmup", train.critic_warmup, 0, 99)?;
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
            ("train.noise_start", train.noise_start),
            ("train.noise_least", train.noise_least),
            ("train.temperature_start", train.temperature_start),
            ("train.temperature_end", train.temperature_end),
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
            ("train.target_kl", train.target_kl),
            ("train.step_noise", train.step_noise),
        ] {
            number(key, value, value >= 0.0, "0 or more")?;
        }
        // Far beyond any selector that is not an arg-max already, far within single precision.
        let spread = policy.score_spread;
        number(
            "policy.score_spread",
            spread,
            (0.0..=1e6).contains(&spread),
            "0 to 1e6",
        )?;
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
                "policy.input = \"unit-norm\" on a plant with bounds, rate limits, affine terms or noise",
                "\"affine\": the best mode of this plant depends on more than the direction",
            );
        }
        let score_function = matches!(train.algo, Algorithm::Ppo | Algorithm::Reinforce);
        if score_function && train.advantage == Advantage::LookAhead {
            // A look-ahead over the choices says nothing about the control's noise.
            return refuse(
                "train.advantage = \"look-ahead\" with ppo or reinforce",
                "\"gae\" or \"monte-carlo\"",
            );
        }
        if score_function && train.cross_term != CrossTerm::Off {
            return refuse(
                "train.cross_term other than off with ppo or reinforce",
                "\"off\": their gradient has none",
            );
        }
        if score_function && train.noise_start < train.noise_least {
            return refuse(
                "train.noise_start below train.noise_least",
                "train.noise_start at or above it",
            );
        }
        if train.cross_term == CrossTerm::Auto && train.batch < 2 * LANES {
            return refuse(
                "train.cross_term = \"auto\" with train.batch = 16",
                "train.batch = 32 or more: its noise is seen between groups of sixteen",
            );
        }
        if train.algo == Algorithm::Reinforce && train.passes > 1 {
            return refuse("train.passes > 1 with reinforce", "1");
        }
        if train.algo == Algorithm::Gumbel && train.cross_term != CrossTerm::On {
            return refuse(
                "train.cross_term other than on with gumbel",
                "\"on\": its gradient is the total derivative",
            );
        }
        if train.algo == Algorithm::Gumbel && train.critic_warmup > 0 {
            return refuse(
                "train.critic_warmup above 0 with gumbel",
                "0: it has no critic",
            );
        }
        if train.algo != Algorithm::Hpo && train.variant == Variant::Exact {
            return refuse(
                "train.variant = \"exact\" with another algorithm than hpo",
                "\"practical\"",
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
