//! A policy file in closed loop with its plant: the firmware library runs on the host, so the loop
//! that is simulated is the loop that ships.

use firmware::supervisor::{Selection as Scores, step_by};
use firmware::{Controller, ControllerState, Fault, Observation, SCRATCH_LEN, control_step};
use policy_format::{Capacity, Policy, RawPolicy, Safety};
use rayon::prelude::*;

use super::audit::Violations;
use super::episode::{Action, Episode, run_episode};
use super::perturb::{Link, Trial};
use crate::error::{Error, Result};
use crate::export::safety_of;
use crate::numeric::random::{Purpose, Stream};
use crate::plant::PlantModel;

/// How the choice is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The greatest logit, as the device does.
    ArgMax,
    /// Drawn from the selector's distribution, as in training.
    Sampled,
}

/// Means over the episodes of one evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Number of episodes.
    pub episodes: usize,
    /// Mean undiscounted cost per episode.
    pub mean_cost: f64,
    /// Standard error of the mean.
    pub std_error: f64,
    /// Mean number of mode switches per episode.
    pub switches_per_episode: f64,
    /// Coordinates that stood at the state clamp, over all episodes.
    pub clamped_steps: u64,
    /// Episodes with such a coordinate: they diverged, or nearly so.
    pub clamped_episodes: usize,
    /// Steps in which the fallback law acted, over all episodes.
    pub fallback_steps: u64,
    /// Limits of the plant file that were passed, over all episodes.
    pub violations: Violations,
}

impl Evaluation {
    /// Means and counts of at least one episode.
    #[must_use]
    pub fn new(episodes: &[Episode]) -> Self {
        let count = episodes.len() as f64;
        let mean = episodes.iter().map(|e| e.cost).sum::<f64>() / count;
        let square = episodes
            .iter()
            .map(|e| (e.cost - mean).powi(2))
            .sum::<f64>();
        Self {
            episodes: episodes.len(),
            mean_cost: mean,
            std_error: (square / (count - 1.0).max(1.0) / count).sqrt(),
            switches_per_episode: episodes.iter().map(|e| f64::from(e.switches)).sum::<f64>()
                / count,
            clamped_steps: episodes.iter().map(|e| u64::from(e.clamped)).sum(),
            clamped_episodes: episodes.iter().filter(|e| e.clamped > 0).count(),
            fallback_steps: episodes.iter().map(|e| u64::from(e.fallback)).sum(),
            violations: episodes.iter().map(|e| e.violations).sum(),
        }
    }
}

/// Runs `steps` steps of `policy` (the bytes of a policy file, 16-aligned) from each state.
///
/// Arg-max selection goes through the firmware's boot and control step, sensors in `f32`, plant in
/// `f64`; a policy beyond the firmware's capacity is run by the reference evaluator. Noise and
/// choices depend on `seed` and the index of the state alone.
///
/// # Errors
/// [`Error::Usage`] if the policy is not valid or does not fit the plant, with what differs;
/// [`Error::Negative`] if a golden vector of the policy does not hold: a device would refuse it.
pub fn evaluate_policy(
    plant: &PlantModel,
    policy: &[u8],
    states: &[Vec<f64>],
    steps: usize,
    seed: u64,
    selection: Selection,
) -> Result<Evaluation> {
    let trial = Trial::nominal(plant, states, steps, seed);
    Ok(Evaluation::new(&policy_episodes(
        &trial, policy, selection,
    )?))
}

/// The episodes of a trial under `policy` (the bytes of a policy file, 16-aligned), in the order of its states;
/// without perturbation those behind [`evaluate_policy`]. Sensors are `f32`, as on the device: what the
/// perturbed measurement is rounded to.
///
/// # Errors
/// As [`evaluate_policy`].
pub fn policy_episodes(
    trial: &Trial<'_>,
    policy: &[u8],
    selection: Selection,
) -> Result<Vec<Episode>> {
    let (plant, seed) = (trial.plant(), trial.seed());
    let parsed = RawPolicy::parse(policy)
        .and_then(|raw| raw.validate(&Capacity::FORMAT))
        .map_err(|error| Error::Usage(format!("policy: {error}")))?;
    check_fit(plant, &parsed)?;
    parsed
        .check_golden(
            &mut vec![0.0; parsed.control_dim()],
            &mut vec![0.0; parsed.scratch_len()],
        )
        .map_err(|error| Error::Negative(format!("policy: {error}")))?;
    let world = trial.world();
    let mut scratch = [0.0; SCRATCH_LEN];
    let armed = firmware::boot(policy, parsed.target_class(), &mut scratch);
    if let Err(fault) = &armed
        && *parsed.safety() != Safety::NONE
    {
        // The reference evaluator, which takes what the firmware has no room for, knows no constraints.
        return Err(Error::Usage(format!(
            "policy: constraints in a policy that the firmware does not arm ({fault}); allowed: without constraints, or smaller"
        )));
    }
    Ok(trial
        .states()
        .par_iter()
        .enumerate()
        .map(|(index, state)| {
            let index = index as u64;
            let mut device = Device::new(&parsed, &armed, selection, seed, index);
            let mut measured = vec![0.0_f32; plant.dims().state];
            let mut control = vec![0.0_f32; plant.dims().control];
            run_episode(
                world.plant(index).as_ref(),
                &mut Link::new(trial.perturbation(), seed, index),
                &mut world.setting(index),
                state,
                trial.steps(),
                |_, x, u| {
                    for (sensor, &x) in measured.iter_mut().zip(x) {
                        *sensor = x as f32;
                    }
                    let (mode, fallback) = device.act(&measured, &mut control);
                    for (u, &c) in u.iter_mut().zip(&control) {
                        *u = f64::from(c);
                    }
                    Action {
                        mode,
                        limited: 0,
                        fallback,
                    }
                },
                |_, _| {},
            )
        })
        .collect())
}

/// Whether the policy is for a plant of this size and actuator set.
fn check_fit(plant: &PlantModel, policy: &Policy<'_>) -> Result<()> {
    let dims = plant.dims();
    for (what, found, allowed) in [
        ("states", policy.state_dim(), dims.state),
        ("controls", policy.control_dim(), dims.control),
        ("modes", policy.modes(), dims.modes),
    ] {
        if found != allowed {
            return Err(Error::Usage(format!(
                "policy: {what}: found {found}; allowed: {allowed}, as plant {} has",
                plant.name()
            )));
        }
    }
    if policy.target_class() != plant.target_class() {
        return Err(Error::Usage(format!(
            "policy: target class: found {:#010x}; allowed: {:#010x}, the class of plant {}",
            policy.target_class(),
            plant.target_class(),
            plant.name()
        )));
    }
    let (found, allowed) = (policy.safety(), safety_of(plant));
    for (what, same) in [
        ("rate limits", found.limits == allowed.limits),
        (
            "dwell times, hysteresis or masks",
            found.mode_rules == allowed.mode_rules,
        ),
    ] {
        if !same {
            return Err(Error::Usage(format!(
                "policy: {what}: found others than those of plant {}; allowed: the plant's, under which it was trained",
                plant.name()
            )));
        }
    }
    Ok(())
}

/// The controller of one episode.
struct Device<'a, 'p> {
    policy: &'a Policy<'p>,
    armed: &'a Controller<'p>,
    controller: Option<&'a Controller<'p>>,
    state: ControllerState,
    sampler: Option<Stream>,
    failed: bool,
    scratch: Box<[f32; SCRATCH_LEN]>,
    large_scratch: Vec<f32>,
    weights: Vec<f64>,
}

impl<'a, 'p> Device<'a, 'p> {
    fn new(
        policy: &'a Policy<'p>,
        controller: &'a std::result::Result<firmware::Armed<'p>, Fault>,
        selection: Selection,
        seed: u64,
        index: u64,
    ) -> Self {
        let shipped = selection == Selection::ArgMax && controller.is_ok();
        Self {
            policy,
            armed: controller,
            controller: shipped.then_some(controller),
            state: ControllerState::new(),
            sampler: (selection == Selection::Sampled)
                .then(|| Stream::new(seed, Purpose::Choice, index)),
            failed: false,
            scratch: Box::new([0.0; SCRATCH_LEN]),
            large_scratch: vec![0.0; policy.scratch_len()],
            weights: Vec::new(),
        }
    }

    /// Mode, and whether the fallback law acted.
    fn act(&mut self, measured: &[f32], control: &mut [f32]) -> (usize, bool) {
        if let Some(controller) = self.controller {
            let outcome = control_step(
                controller,
                &mut self.state,
                measured,
                control,
                &mut self.scratch,
            );
            return (usize::from(outcome.mode), outcome.fault.is_some());
        }
        if let (Ok(_), Some(stream), true) = (
            self.armed,
            &mut self.sampler,
            *self.policy.safety() != Safety::NONE,
        ) {
            let (choices, weights) = (self.policy.choices(), &mut self.weights);
            let command = step_by(
                self.armed,
                &mut self.state,
                &Observation::lockstep(measured),
                &mut self.scratch,
                |selection| draw_allowed(selection, choices, weights, stream),
            );
            control.copy_from_slice(command.control());
            return (usize::from(command.mode()), command.fault().is_some());
        }
        if !self.failed {
            let decision = match &mut self.sampler {
                Some(stream) => {
                    let (policy, weights) = (self.policy, &mut self.weights);
                    policy.decide_by(measured, control, &mut self.large_scratch, |logits| {
                        draw(policy.factors(), logits, weights, stream)
                    })
                }
                None => self
                    .policy
                    .decide(measured, control, &mut self.large_scratch),
            };
            if let Ok(decision) = decision {
                return (usize::from(decision.mode), false);
            }
            self.failed = true;
        }
        (usize::from(self.policy.fallback(measured, control)), true)
    }
}

/// Draws one index per factor with the probabilities softmax(logits); their mixed-radix number.
fn draw(factors: &[u16], logits: &[f32], weights: &mut Vec<f64>, stream: &mut Stream) -> usize {
    let mut rest = logits;
    let mut choice = 0;
    for &size in factors {
        let size = usize::from(size);
        // Without a selector there are no logits and one choice.
        let (factor, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        let top = factor.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        weights.clear();
        weights.extend(factor.iter().map(|&l| libm::exp(f64::from(l - top))));
        let mut left = stream.uniform() * weights.iter().sum::<f64>();
        let mut index = 0;
        while index + 1 < weights.len() && left >= weights[index] {
            left -= weights[index];
            index += 1;
        }
        choice = choice * size + index;
    }
    choice
}

/// Draws one of the choices that the mode rules allow with the probabilities softmax(scores).
fn draw_allowed(
    selection: &Scores<'_>,
    choices: usize,
    weights: &mut Vec<f64>,
    stream: &mut Stream,
) -> usize {
    let scores = || (0..choices).map(|choice| selection.score(choice));
    let top = scores().flatten().fold(f32::NEG_INFINITY, f32::max);
    weights.clear();
    weights
        .extend(scores().map(|score| score.map_or(0.0, |score| libm::exp(f64::from(score - top)))));
    let mut left = stream.uniform() * weights.iter().sum::<f64>();
    let mut last = 0;
    for (choice, &weight) in weights.iter().enumerate() {
        if weight > 0.0 {
            last = choice;
            if left < weight {
                break;
            }
            left -= weight;
        }
    }
    last
}
