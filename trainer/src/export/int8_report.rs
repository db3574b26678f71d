//! What a policy loses in 8 bits, where it matters: on the states it visits, and in closed loop.

use policy_format::{Capacity, Policy, RawPolicy};
use serde::Serialize;

use super::PolicyBuffer;
use super::int8::{Int8Policy, int8_policy};
use crate::device::hil::HostPlant;
use crate::device::plant_loop::PlantLoop;
use crate::error::{Error, Result};
use crate::evaluate::closed_loop::{Evaluation, Selection, evaluate_policy};
use crate::plant::PlantModel;

/// Episodes whose states are taken as visited.
const EPISODES: u64 = 256;

/// What `hpo export --precision int8` reports. Percentages are of the binary32 policy's figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Int8Report {
    /// Bytes of the binary32 file.
    pub f32_bytes: usize,
    /// Bytes of the 8-bit file.
    pub int8_bytes: usize,
    /// The second in percent of the first.
    pub bytes_percent: f64,
    /// Root mean square of what rounding moved the networks' weights by, in percent of theirs.
    pub weight_error_percent: f64,
    /// States the binary32 policy visited, on which the next figures are taken.
    pub visited_states: usize,
    /// Visited states with another plant mode, in percent.
    pub mode_flip_percent: f64,
    /// Greatest difference of a control value over the visited states with the same choice, in the plant's unit.
    pub action_error_max: f64,
    /// Root mean square of the difference of the control over the same states, in percent of that of the control.
    pub action_error_percent: f64,
    /// Episodes of the closed loops, from the plant's test states or 1024 drawn ones.
    pub episodes: usize,
    /// Mean cost of the binary32 policy in closed loop.
    pub mean_cost_f32: f64,
    /// Mean cost of the 8-bit policy, from the same states with the same noise.
    pub mean_cost_int8: f64,
    /// Change of the mean cost in percent.
    pub cost_change_percent: f64,
}

/// Quantises `policy` for `plant` and compares the two on visited states and, from `states` (n values each), in closed loop.
/// Noise and the visited episodes follow `seed`.
///
/// # Errors
/// As [`int8_policy`] and [`evaluate_policy`]; [`Error::Negative`] if the binary32 policy decides at no visited state.
pub fn int8_with_report(
    plant: &PlantModel,
    policy: &PolicyBuffer,
    states: &[Vec<f64>],
    seed: u64,
) -> Result<(PolicyBuffer, Int8Report)> {
    let visited = visited_states(plant, policy, seed)?;
    let Int8Policy {
        file,
        weight_error_percent,
    } = int8_policy(policy, &visited)?;
    let actions = compare_actions(&read(policy)?, &read(&file)?, &visited)?;
    let run = |policy: &PolicyBuffer| -> Result<Evaluation> {
        let horizon = plant.horizon();
        evaluate_policy(
            plant,
            policy.bytes(),
            states,
            horizon,
            seed,
            Selection::ArgMax,
        )
    };
    let (float, eight) = (run(policy)?, run(&file)?);
    let (f32_bytes, int8_bytes) = (policy.bytes().len(), file.bytes().len());
    let report = Int8Report {
        f32_bytes,
        int8_bytes,
        bytes_percent: 100.0 * int8_bytes as f64 / f32_bytes as f64,
        weight_error_percent,
        visited_states: visited.len(),
        mode_flip_percent: 100.0 * actions.flips as f64 / visited.len() as f64,
        action_error_max: actions.greatest,
        action_error_percent: 100.0 * (actions.errors / actions.controls.max(1e-300)).sqrt(),
        episodes: states.len(),
        mean_cost_f32: float.mean_cost,
        mean_cost_int8: eight.mean_cost,
        cost_change_percent: 100.0 * (eight.mean_cost / float.mean_cost - 1.0),
    };
    Ok((file, report))
}

fn read(policy: &PolicyBuffer) -> Result<Policy<'_>> {
    RawPolicy::parse(policy.bytes())
        .and_then(|raw| raw.validate(&Capacity::FORMAT))
        .map_err(|error| Error::Usage(format!("policy: {error}")))
}

/// The measured states of the policy's own closed loop.
fn visited_states(plant: &PlantModel, policy: &PolicyBuffer, seed: u64) -> Result<Vec<Vec<f32>>> {
    let policy = read(policy)?;
    let dims = plant.dims();
    if (policy.state_dim(), policy.control_dim()) != (dims.state, dims.control) {
        return Err(Error::Usage(format!(
            "policy: found {} states and {} controls; the plant has {} and {}",
            policy.state_dim(),
            policy.control_dim(),
            dims.state,
            dims.control
        )));
    }
    let mut world = PlantLoop::new(plant, seed);
    let mut control = vec![0.0; dims.control];
    let mut scratch = vec![0.0; policy.scratch_len()];
    let mut visited = Vec::new();
    for episode in 0..EPISODES {
        world.reset(episode);
        for _ in 0..plant.horizon() {
            let measured: Vec<f32> = world.state().iter().map(|&x| x as f32).collect();
            // Where the policy refuses, a device takes the fallback law: no state of the policy's.
            let Ok(decision) = policy.decide(&measured, &mut control, &mut scratch) else {
                break;
            };
            world.step(decision.mode.into(), &control);
            visited.push(measured);
        }
    }
    if visited.is_empty() {
        return Err(Error::Negative(
            "the policy decides at no state of its own closed loop".into(),
        ));
    }
    Ok(visited)
}

#[derive(Default)]
struct Actions {
    flips: usize,
    greatest: f64,
    errors: f64,
    controls: f64,
}

fn compare_actions(
    float: &Policy<'_>,
    eight: &Policy<'_>,
    visited: &[Vec<f32>],
) -> Result<Actions> {
    let mut scratch = vec![0.0; float.scratch_len().max(eight.scratch_len())];
    let (mut u, mut v) = (
        vec![0.0; float.control_dim()],
        vec![0.0; float.control_dim()],
    );
    let mut actions = Actions::default();
    for state in visited {
        let refused = |error| Error::Negative(format!("8-bit policy: visited state: {error}"));
        let one = float.decide(state, &mut u, &mut scratch).map_err(refused)?;
        let other = eight.decide(state, &mut v, &mut scratch).map_err(refused)?;
        actions.flips += usize::from(one.mode != other.mode);
        if one.choice != other.choice {
            continue;
        }
        for (&u, &v) in u.iter().zip(&v) {
            let error = f64::from(v) - f64::from(u);
            actions.greatest = actions.greatest.max(error.abs());
            actions.errors += error * error;
            actions.controls += f64::from(u).powi(2);
        }
    }
    Ok(actions)
}
