//! Episodes step by step, of a policy file or of a reference, for plots.

use firmware::{Controller, ControllerState, SCRATCH_LEN, control_step};
use policy_format::{Capacity, Policy, RawPolicy};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::evaluate::reference::ReferencePolicy;
use crate::export::PolicyBuffer;
use crate::numeric::random::{Purpose, Stream};
use crate::plant::{Plant, PlantModel};

/// One episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// States at t = 0..=steps, each of length n.
    pub states: Vec<Vec<f64>>,
    /// Controls as applied, at t = 0..steps, each of length m.
    pub controls: Vec<Vec<f64>>,
    /// Modes at t = 0..steps.
    pub modes: Vec<usize>,
    /// Stage costs at t = 0..steps.
    pub costs: Vec<f64>,
    /// First step whose cost counts.
    pub cost_from: usize,
}

impl Trace {
    /// Undiscounted sum of the stage costs that count.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.costs.iter().skip(self.cost_from).sum()
    }
}

/// A controller of one episode: writes the control (length m) for state `x` (length n) at step `t` and
/// returns the mode.
pub trait Actor {
    /// Acts once; called for t = 0, 1, .. in order.
    fn act(&mut self, t: usize, x: &[f64], u: &mut [f64]) -> usize;
}

/// A reference controller as an [`Actor`].
pub struct ReferenceActor<'a, P: ?Sized>(pub &'a P);

impl<P: ReferencePolicy + ?Sized> Actor for ReferenceActor<'_, P> {
    fn act(&mut self, t: usize, x: &[f64], u: &mut [f64]) -> usize {
        self.0.act(t, x, u)
    }
}

/// A policy file, checked once, that gives an [`Actor`] per episode.
pub struct LoadedPolicy<'a> {
    policy: Policy<'a>,
    controller: Controller<'a>,
}

impl<'a> LoadedPolicy<'a> {
    /// Checks the bytes of a policy file.
    ///
    /// # Errors
    /// [`Error::Usage`] if they are no valid policy.
    pub fn new(bytes: &'a PolicyBuffer) -> Result<Self> {
        let policy = RawPolicy::parse(bytes.bytes())
            .and_then(|raw| raw.validate(&Capacity::FORMAT))
            .map_err(|error| Error::Usage(format!("policy: {error}")))?;
        let mut scratch = [0.0; SCRATCH_LEN];
        let controller = firmware::boot(bytes.bytes(), policy.target_class(), &mut scratch);
        Ok(Self { policy, controller })
    }

    /// The checked policy.
    #[must_use]
    pub fn policy(&self) -> &Policy<'a> {
        &self.policy
    }

    /// The policy at the start of an episode, arg-max selector, by the firmware's own control step; a policy
    /// beyond the firmware's capacity is run by the reference evaluator.
    #[must_use]
    pub fn actor(&self) -> PolicyActor<'_, 'a> {
        PolicyActor {
            loaded: self,
            state: ControllerState::new(),
            measured: vec![0.0; self.policy.state_dim()],
            control: vec![0.0; self.policy.control_dim()],
            small: Box::new([0.0; SCRATCH_LEN]),
            large: vec![0.0; self.policy.scratch_len()],
        }
    }
}

/// A policy file in one episode.
pub struct PolicyActor<'l, 'a> {
    loaded: &'l LoadedPolicy<'a>,
    state: ControllerState,
    measured: Vec<f32>,
    control: Vec<f32>,
    small: Box<[f32; SCRATCH_LEN]>,
    large: Vec<f32>,
}

impl Actor for PolicyActor<'_, '_> {
    fn act(&mut self, _t: usize, x: &[f64], u: &mut [f64]) -> usize {
        for (sensor, &x) in self.measured.iter_mut().zip(x) {
            *sensor = x as f32;
        }
        let mode = if self.loaded.controller.is_ok() {
            let outcome = control_step(
                &self.loaded.controller,
                &mut self.state,
                &self.measured,
                &mut self.control,
                &mut self.small,
            );
            usize::from(outcome.mode)
        } else {
            let policy = &self.loaded.policy;
            match policy.decide(&self.measured, &mut self.control, &mut self.large) {
                Ok(decision) => usize::from(decision.mode),
                Err(_) => usize::from(policy.fallback(&self.measured, &mut self.control)),
            }
        };
        for (u, &c) in u.iter_mut().zip(&self.control) {
            *u = f64::from(c);
        }
        mode
    }
}

/// Runs one episode of `steps` steps from `state`; process noise is that of evaluation state `index`. Controls
/// of a reference are cut to the plant's bounds; a policy applies them itself.
pub fn trace(
    plant: &PlantModel,
    actor: &mut dyn Actor,
    state: &[f64],
    steps: usize,
    seed: u64,
    index: u64,
) -> Trace {
    let dynamics = plant.build::<f64>();
    let dims = plant.dims();
    let mut noise = Stream::new(seed, Purpose::Noise, index);
    let mut w = vec![0.0; dims.noise];
    let mut x = state.to_vec();
    let mut next = vec![0.0; dims.state];
    let mut result = Trace {
        states: vec![x.clone()],
        controls: Vec::with_capacity(steps),
        modes: Vec::with_capacity(steps),
        costs: Vec::with_capacity(steps),
        cost_from: plant.cost_from(),
    };
    for t in 0..steps {
        let mut u = vec![0.0; dims.control];
        let mode = actor.act(t, &x, &mut u);
        if let Some(bounds) = plant.bounds() {
            for (i, u) in u.iter_mut().enumerate() {
                *u = u.clamp(bounds.lower[i], bounds.upper[i]);
            }
        }
        plant.disturbance().draw(&mut noise, &mut w);
        result
            .costs
            .push(dynamics.step(mode, &x, &u, &w, &mut next));
        std::mem::swap(&mut x, &mut next);
        result.states.push(x.clone());
        result.controls.push(u);
        result.modes.push(mode);
    }
    result
}

/// Share of the episodes in each mode at each step: `[t][mode]`, every row sums to 1.
pub fn mode_shares<'a, A: Actor + 'a>(
    plant: &PlantModel,
    actor: impl Fn() -> A + Sync,
    states: &[Vec<f64>],
    steps: usize,
    seed: u64,
) -> Vec<Vec<f64>> {
    let modes: Vec<Vec<usize>> = states
        .par_iter()
        .enumerate()
        .map(|(index, state)| trace(plant, &mut actor(), state, steps, seed, index as u64).modes)
        .collect();
    let mut shares = vec![vec![0.0; plant.dims().modes]; steps];
    for episode in &modes {
        for (share, &mode) in shares.iter_mut().zip(episode) {
            share[mode] += 1.0;
        }
    }
    for share in shares.iter_mut().flatten() {
        *share /= states.len() as f64;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::closed_loop::{Selection, evaluate_policy};
    use crate::evaluate::reference::{AveragedRiccati, RiccatiModes, simulate};
    use crate::export::policy_file;
    use crate::plant::load_plant;
    use crate::policy::Model;
    use crate::train::run::{plant_traits, policy_shape};
    use crate::train::settings::Settings;

    #[test]
    fn traces_cost_what_evaluation_says() {
        let plant = load_plant("switched-lqr-3-2", &[]).unwrap();
        let states = &plant.test_states().unwrap()[..40];
        let settings = Settings::resolve(&[], plant_traits(&plant)).unwrap();
        let model = Model::new(policy_shape(&plant, &settings));
        let parameters: Vec<f32> = (0..model.parameters())
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 300.0)
            .collect();
        let bytes = PolicyBuffer::new(&policy_file(&plant, &model, &parameters).unwrap());
        let loaded = LoadedPolicy::new(&bytes).unwrap();
        let traces: Vec<Trace> = states
            .iter()
            .enumerate()
            .map(|(i, x)| trace(&plant, &mut loaded.actor(), x, 20, 1, i as u64))
            .collect();
        let mean = traces.iter().map(Trace::cost).sum::<f64>() / 40.0;
        let known = evaluate_policy(&plant, bytes.bytes(), states, 20, 1, Selection::ArgMax);
        let known = known.unwrap().mean_cost;
        assert!((mean / known - 1.0).abs() < 1e-12, "{mean} {known}");

        let averaged = AveragedRiccati::new(&RiccatiModes::new(plant.lqr_data().unwrap())).unwrap();
        for (i, (x, known)) in states
            .iter()
            .zip(simulate(&plant, &averaged, states, 20, 1))
            .enumerate()
        {
            let found = trace(&plant, &mut ReferenceActor(&averaged), x, 20, 1, i as u64);
            assert!((found.cost() / known.cost - 1.0).abs() < 1e-12);
            let changes = found.modes.windows(2).filter(|w| w[0] != w[1]).count();
            assert_eq!(changes as u32, known.switches);
            assert_eq!(found.states.len(), 21);
        }
        let shares = mode_shares(&plant, || loaded.actor(), states, 20, 1);
        for (t, row) in shares.iter().enumerate() {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let ones = traces.iter().filter(|trace| trace.modes[t] == 1).count();
            assert!((row[1] - ones as f64 / 40.0).abs() < 1e-12);
        }
    }
}
