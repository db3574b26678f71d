//! What an episode did against what the plant file allows, step by step.
//!
//! The audit sees what reached the plant and nothing of how it was decided, and shares no code with what holds a policy back
//! (`policy_format::constraint`, the supervisor): it would find a mistake there. The device computes in binary32, so limits are
//! compared after rounding to it.

use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

use crate::plant::PlantModel;

/// Number of times that a limit of the plant file was passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violations {
    /// States outside `[envelope]`, coordinate by coordinate, the last state included.
    pub states: u64,
    /// Controls outside the bounds, or not finite.
    pub controls: u64,
    /// Controls that changed faster than `limits.rate`.
    pub rates: u64,
    /// Modes left before their dwell time was over.
    pub dwell: u64,
    /// Modes that `masks.follow` does not let follow the one before.
    pub masks: u64,
}

impl Violations {
    /// All of them together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.states + self.controls + self.rates + self.dwell + self.masks
    }
}

impl Add for Violations {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            states: self.states + other.states,
            controls: self.controls + other.controls,
            rates: self.rates + other.rates,
            dwell: self.dwell + other.dwell,
            masks: self.masks + other.masks,
        }
    }
}

impl Sum for Violations {
    fn sum<I: Iterator<Item = Self>>(violations: I) -> Self {
        violations.fold(Self::default(), Add::add)
    }
}

/// The audit of one episode.
pub(super) struct Audit<'a> {
    plant: &'a PlantModel,
    found: Violations,
    /// Mode of the step before and for how many steps it has been held.
    held: Option<(usize, u32)>,
    /// Control of the step before `[m]`.
    before: Vec<f32>,
}

impl<'a> Audit<'a> {
    pub(super) fn new(plant: &'a PlantModel) -> Self {
        let rate = plant.constraints().rate.as_ref();
        Self {
            plant,
            found: Violations::default(),
            held: None,
            before: rate.map_or_else(Vec::new, |rate| rate.start.clone()),
        }
    }

    /// What was found so far.
    pub(super) fn found(&self) -> Violations {
        self.found
    }

    /// A state before a step, or after the last one.
    pub(super) fn state(&mut self, x: &[f64]) {
        if let Some([lower, upper, ..]) = &self.plant.watch().envelope {
            for (i, &x) in x.iter().enumerate() {
                let x = x as f32;
                let inside = lower[i] <= x && x <= upper[i];
                self.found.states += u64::from(!inside);
            }
        }
    }

    /// What reached the plant in a step.
    pub(super) fn step(&mut self, mode: usize, u: &[f64]) {
        for (i, &u) in u.iter().enumerate() {
            let inside = self.plant.bounds().is_none_or(|bounds| {
                let (lower, upper) = (bounds.lower[i] as f32, bounds.upper[i] as f32);
                lower <= u as f32 && u as f32 <= upper
            });
            self.found.controls += u64::from(!inside || !u.is_finite());
        }
        if let Some(rate) = &self.plant.constraints().rate {
            for (i, (before, &u)) in self.before.iter_mut().zip(u).enumerate() {
                let u = u as f32;
                let inside = *before - rate.step[i] <= u && u <= *before + rate.step[i];
                self.found.rates += u64::from(!inside);
                *before = u;
            }
        }
        let age = match self.held {
            Some((held, age)) if held == mode => age.saturating_add(1),
            Some((held, age)) => {
                if let Some(rules) = &self.plant.constraints().modes {
                    self.found.dwell += u64::from(age < rules.dwell[held]);
                    let words = rules.dwell.len().div_ceil(32);
                    let bits = rules.follow.get(held * words + mode / 32);
                    let masked = bits.is_some_and(|bits| bits >> (mode % 32) & 1 == 0);
                    self.found.masks += u64::from(masked);
                }
                1
            }
            None => 1,
        };
        self.held = Some((mode, age));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::load_plant;

    const FILE: &str = r#"
name = "gears"
horizon = 40
sample_time_s = 0.5
[dynamics]
A = [[[1.0]], [[0.98]], [[0.95]]]
B = [[[0.3]], [[0.2]], [[0.1]]]
Q = [[1.0]]
R = [[0.1]]
[limits]
u_min = -1.0
u_max = 1.0
rate = 1.0
[dwell]
steps = [3, 2, 1]
[masks]
follow = [[0, 1], [0, 1, 2], [1, 2]]
[envelope]
lower = -5.0
upper = 5.0
"#;

    /// Modes and controls, then what they pass: states, controls, rates, dwell, masks.
    #[test]
    fn every_kind_of_violation_is_found_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gears.toml");
        std::fs::write(&file, FILE).unwrap();
        let plant = load_plant(file.to_str().unwrap(), &[]).unwrap();
        let audit = |steps: &[(usize, f64)], states: &[f64]| {
            let mut audit = Audit::new(&plant);
            for &(mode, u) in steps {
                audit.step(mode, &[u]);
            }
            for &x in states {
                audit.state(&[x]);
            }
            let Violations {
                states,
                controls,
                rates,
                dwell,
                masks,
            } = audit.found();
            [states, controls, rates, dwell, masks]
        };
        let good = [(0, 0.5), (0, 1.0), (0, 0.5), (1, 0.0), (1, 0.0), (2, 0.0)];
        assert_eq!(audit(&good, &[-5.0, 5.0]), [0; 5]);
        assert_eq!(audit(&[], &[-5.1, f64::NAN]), [2, 0, 0, 0, 0]);
        assert_eq!(
            audit(&[(0, 0.5), (0, 1.0), (0, 1.25)], &[]),
            [0, 1, 0, 0, 0]
        );
        // Against the start, 0, too.
        assert_eq!(audit(&[(0, 0.75), (0, 0.0)], &[]), [0, 0, 2, 0, 0]);
        assert_eq!(audit(&[(0, 0.0), (0, 0.0), (1, 0.0)], &[]), [0, 0, 0, 1, 0]);
        assert_eq!(audit(&[(2, 0.0), (0, 0.0)], &[]), [0, 0, 0, 0, 1]);
        assert_eq!(audit(&[(0, 0.0), (2, 0.0)], &[]), [0, 0, 0, 1, 1]);
        let sum: Violations = [Violations {
            states: 1,
            ..Default::default()
        }; 3]
            .into_iter()
            .sum();
        assert_eq!(sum.total(), 3);
    }
}
