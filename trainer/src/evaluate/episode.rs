//! The closed loop itself: one episode of any controller, nominal or perturbed.

use super::audit::{Audit, Violations};
use super::perturb::Link;
use crate::numeric::Stream;
use crate::plant::{Disturbance, Plant, PlantModel};

/// What one episode came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Episode {
    /// Undiscounted sum of the stage costs that count, of the true state and the applied control.
    pub cost: f64,
    /// Number of steps whose mode differs from that of the step before.
    pub switches: u32,
    /// Coordinates of a state that stood at the state clamp, over all steps.
    pub clamped: u32,
    /// Controls of a reference that the plant's bounds cut, over all steps.
    pub limited: u32,
    /// Steps in which a policy's fallback law acted.
    pub fallback: u32,
    /// Limits of the plant file that were passed.
    pub violations: Violations,
}

/// What a controller decided in one step, beside the control.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Action {
    pub(super) mode: usize,
    pub(super) limited: u32,
    pub(super) fallback: bool,
}

/// Random numbers of one episode, which of its costs count, and what it is held against.
pub(super) struct Setting<'a> {
    /// The nominal plant with its limits.
    pub(super) model: &'a PlantModel,
    pub(super) disturbance: &'a Disturbance,
    /// Stream that the disturbance is drawn from.
    pub(super) noise: Stream,
    /// First step whose cost counts.
    pub(super) cost_from: usize,
}

/// Runs one episode of `steps` steps: `act` turns time and measurement (length n) into the control (length m)
/// and an [`Action`]; `visit` sees every true state before its step.
pub(super) fn run_episode<P: Plant<f64>>(
    plant: &P,
    link: &mut Link,
    setting: &mut Setting<'_>,
    state: &[f64],
    steps: usize,
    mut act: impl FnMut(usize, &[f64], &mut [f64]) -> Action,
    mut visit: impl FnMut(usize, &[f64]),
) -> Episode {
    let dims = plant.dims();
    let mut x = state.to_vec();
    let mut next = vec![0.0; dims.state];
    let mut u = vec![0.0; dims.control];
    let mut w = vec![0.0; dims.noise];
    let mut episode = Episode::default();
    let mut action = Action::default();
    let mut previous = None;
    let mut audit = Audit::new(setting.model);
    for t in 0..steps {
        visit(t, &x);
        audit.state(&x);
        // Where nothing arrives, mode and control stay what they were.
        if let Some(measured) = link.measure(t, &x) {
            action = act(t, measured, &mut u);
            episode.limited += action.limited;
        }
        audit.step(action.mode, &u);
        setting.disturbance.draw(&mut setting.noise, &mut w);
        let cost = plant.step(action.mode, &x, &u, &w, &mut next);
        if t >= setting.cost_from {
            episode.cost += cost;
        }
        // What the last step leads to has no cost, so a clamp there hides nothing.
        if t + 1 < steps {
            episode.clamped += plant.count_clamped(&next);
        }
        episode.switches += u32::from(previous.is_some_and(|p| p != action.mode));
        episode.fallback += u32::from(action.fallback);
        previous = Some(action.mode);
        std::mem::swap(&mut x, &mut next);
    }
    audit.state(&x);
    episode.violations = audit.found();
    episode
}
