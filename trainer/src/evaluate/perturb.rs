//! What goes wrong between plant and controller: model mismatch, sensor noise, delay, dropout, process noise.
//!
//! Every draw is named by seed and episode (never by the controller), so that all controllers meet the same
//! numbers and differences between them are paired.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::numeric::random::{Purpose, Stream};
use crate::plant::{BuiltPlant, Disturbance, FamilyData, PlantModel};

use super::episode::Setting;

/// Longest delay in samples.
const MAX_DELAY: usize = 1000;
/// The keys of a specification, as errors show them.
const KEYS: &str = "params, sensor, delay, dropout, noise";

/// A perturbation of the loop; all zero is the nominal loop, bit for bit.
///
/// Written as `params=20,sensor=0.05,delay=1,dropout=0.1,noise=0.02` (any of the five, in any order).
/// The controller knows nothing of it: it keeps the policy that was made for the nominal plant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Perturbation {
    /// Model mismatch in percent, 0 to 100: every entry of A and B is multiplied by a factor of its own,
    /// uniform on 1 +- this, drawn for each episode. Modes whose matrices are equal have one matrix
    /// and keep it: one physical part has one error.
    pub params: f64,
    /// Standard deviation of the Gaussian noise added to every measured state, in the units of the state; at
    /// least 0, independent from sample to sample.
    pub sensor: f64,
    /// Whole samples between measurement and action, 0 to 1000: at step t the controller is given the measurement
    /// of step t - delay, before the first one has arrived that of step 0 (the plant has rested there).
    pub delay: usize,
    /// Probability in `[0, 1]` that a sample's measurement is lost: the controller does not run and the last mode
    /// and control are held. The first measurement always arrives.
    pub dropout: f64,
    /// Standard deviation of the Gaussian process noise added to every state in every step, in the
    /// units of the state; at least 0. Only for a plant whose file has none.
    pub noise: f64,
}

impl Perturbation {
    /// The nominal loop.
    pub const NONE: Self = Self {
        params: 0.0,
        sensor: 0.0,
        delay: 0,
        dropout: 0.0,
        noise: 0.0,
    };

    /// Whether this is the nominal loop.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

impl fmt::Display for Perturbation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = [
            ("params", self.params),
            ("sensor", self.sensor),
            ("delay", self.delay as f64),
            ("dropout", self.dropout),
            ("noise", self.noise),
        ]
        .into_iter()
        .filter(|(_, value)| *value != 0.0)
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
        f.write_str(if parts.is_empty() { "nominal" } else { "" })?;
        f.write_str(&parts.join(","))
    }
}

impl FromStr for Perturbation {
    type Err = Error;

    /// Reads a specification.
    ///
    /// # Errors
    /// [`Error::Usage`] with key, finding and what is allowed: an unknown or repeated key, a value that is no
    /// number or out of range.
    fn from_str(text: &str) -> Result<Self> {
        let mut perturbation = Self::NONE;
        let mut seen: Vec<&str> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let Some((key, value)) = part.split_once('=') else {
                return Err(Error::Usage(format!(
                    "--perturb: found `{part}`; allowed: all, or KEY=VALUE, comma separated, with the keys {KEYS}"
                )));
            };
            let (key, value) = (key.trim(), value.trim());
            if seen.contains(&key) {
                return Err(Error::Usage(format!(
                    "--perturb: {key}: found twice; allowed: once"
                )));
            }
            let number = |most: f64, allowed: &str| {
                let number = value.parse().ok();
                number
                    .filter(|v: &f64| v.is_finite() && (0.0..=most).contains(v))
                    // Minus zero is no perturbation, and shall not be shown as one.
                    .map(|v| v + 0.0)
                    .ok_or_else(|| {
                        Error::Usage(format!(
                            "--perturb: {key}: found `{value}`; allowed: {allowed}"
                        ))
                    })
            };
            match key {
                "params" => perturbation.params = number(100.0, "percent, 0 to 100")?,
                "sensor" => {
                    perturbation.sensor = number(
                        f64::MAX,
                        "a standard deviation in units of the state, 0 or more",
                    )?;
                }
                "delay" => {
                    let allowed = "whole samples, 0 to 1000";
                    let delay = number(MAX_DELAY as f64, allowed)?;
                    if delay.fract() != 0.0 {
                        return Err(Error::Usage(format!(
                            "--perturb: delay: found `{value}`; allowed: {allowed}"
                        )));
                    }
                    perturbation.delay = delay as usize;
                }
                "dropout" => perturbation.dropout = number(1.0, "a probability, 0 to 1")?,
                "noise" => {
                    perturbation.noise = number(
                        f64::MAX,
                        "a standard deviation in units of the state, 0 or more",
                    )?;
                }
                _ => {
                    return Err(Error::Usage(format!(
                        "--perturb: found the key `{key}`; allowed: {KEYS}"
                    )));
                }
            }
            seen.push(key);
        }
        Ok(perturbation)
    }
}

/// Episodes to run: the same for every controller that is compared.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    plant: &'a PlantModel,
    states: &'a [Vec<f64>],
    steps: usize,
    seed: u64,
    perturbation: Perturbation,
}

impl<'a> Trial<'a> {
    /// One episode of `steps` steps from each state (length n), without perturbation.
    #[must_use]
    pub fn nominal(plant: &'a PlantModel, states: &'a [Vec<f64>], steps: usize, seed: u64) -> Self {
        Self {
            plant,
            states,
            steps,
            seed,
            perturbation: Perturbation::NONE,
        }
    }

    /// The same episodes under a perturbation.
    ///
    /// # Errors
    /// [`Error::Usage`] if it adds process noise to a plant that has its own.
    pub fn perturbed(self, perturbation: Perturbation) -> Result<Self> {
        if perturbation.noise > 0.0 && !self.plant.takes_noise() {
            return Err(Error::Usage(format!(
                "--perturb: noise: found {} on plant {}, whose kind \"{}\" has no normal noise; allowed: 0",
                perturbation.noise,
                self.plant.name(),
                self.plant.family().kind()
            )));
        }
        if perturbation.noise > 0.0 && self.plant.dims().noise > 0 {
            return Err(Error::Usage(format!(
                "--perturb: noise: found {} on plant {}, whose file has process noise; allowed: 0, the noise stays the file's",
                perturbation.noise,
                self.plant.name()
            )));
        }
        Ok(Self {
            perturbation,
            ..self
        })
    }

    /// The plant as the controller knows it.
    #[must_use]
    pub fn plant(&self) -> &'a PlantModel {
        self.plant
    }

    /// The initial states, one an episode.
    #[must_use]
    pub fn states(&self) -> &'a [Vec<f64>] {
        self.states
    }

    /// Steps per episode.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Seed of all draws.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What is perturbed.
    #[must_use]
    pub fn perturbation(&self) -> &Perturbation {
        &self.perturbation
    }

    /// The plants of the episodes.
    pub(super) fn world(&self) -> World<'a> {
        let mut family = self.plant.family().clone();
        if self.perturbation.noise > 0.0 {
            let std = vec![self.perturbation.noise; family.dims().state];
            let taken = family.set_noise(std);
            debug_assert!(taken, "Trial::perturbed refuses other plants");
        }
        World {
            shared: self.plant.build_with(&family),
            model: self.plant,
            disturbance: family.disturbance(),
            family,
            cost_from: self.plant.cost_from(),
            spread: self.perturbation.params / 100.0,
            seed: self.seed,
        }
    }
}

/// The true plant of every episode.
pub(super) struct World<'a> {
    model: &'a PlantModel,
    family: FamilyData,
    /// Without mismatch all episodes share one plant.
    shared: BuiltPlant<f64>,
    disturbance: Disturbance,
    cost_from: usize,
    spread: f64,
    seed: u64,
}

impl World<'_> {
    /// The plant of one episode.
    pub(super) fn plant(&self, episode: u64) -> Cow<'_, BuiltPlant<f64>> {
        if self.spread == 0.0 {
            return Cow::Borrowed(&self.shared);
        }
        Cow::Owned(self.model.build_with(&self.mismatched(episode)))
    }

    /// The numbers of one episode's plant: a factor of its own on each.
    fn mismatched(&self, episode: u64) -> FamilyData {
        let mut stream = Stream::new(self.seed, Purpose::Mismatch, episode);
        let mut family = self.family.clone();
        family.scale_parameters(&mut || 1.0 + self.spread * (2.0 * stream.uniform() - 1.0));
        family
    }

    /// Random numbers and counted costs of one episode.
    pub(super) fn setting(&self, episode: u64) -> Setting<'_> {
        Setting {
            model: self.model,
            disturbance: &self.disturbance,
            noise: Stream::new(self.seed, Purpose::Noise, episode),
            cost_from: self.cost_from,
        }
    }
}

/// The way from the plant's state to the controller in one episode.
pub(super) struct Link {
    sensor: f64,
    dropout: f64,
    noise: Stream,
    losses: Stream,
    /// The last delay + 1 measurements; slot t mod (delay + 1) is that of step t.
    ring: Vec<Vec<f64>>,
}

impl Link {
    /// The link of one episode.
    pub(super) fn new(perturbation: &Perturbation, seed: u64, episode: u64) -> Self {
        Self {
            sensor: perturbation.sensor,
            dropout: perturbation.dropout,
            noise: Stream::new(seed, Purpose::Sensor, episode),
            losses: Stream::new(seed, Purpose::Dropout, episode),
            ring: vec![Vec::new(); perturbation.delay + 1],
        }
    }

    /// What reaches the controller at step `t`, steps in order from 0; `None` where it is lost.
    pub(super) fn measure(&mut self, t: usize, x: &[f64]) -> Option<&[f64]> {
        let slots = self.ring.len();
        let slot = &mut self.ring[t % slots];
        slot.clear();
        slot.extend_from_slice(x);
        if self.sensor > 0.0 {
            for value in slot {
                *value += self.sensor * self.noise.normal();
            }
        }
        // A number is drawn in every step, so that a loss shifts no later draw.
        if self.dropout > 0.0 && self.losses.uniform() < self.dropout && t > 0 {
            return None;
        }
        // The slot behind the newest is the oldest, which is that of step t - delay.
        let oldest = if t + 1 < slots { 0 } else { (t + 1) % slots };
        Some(&self.ring[oldest])
    }
}

#[cfg(test)]
#[path = "perturb_tests.rs"]
mod tests;
