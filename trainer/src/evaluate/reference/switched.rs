//! Switched Riccati dynamic programming: the value as a minimum of quadratic forms.
//!
//! Backwards from `V_T = 0`, `V_t(x) = min_P x'Px` over `H_t`, the union over the modes of
//! `rho_d(H_{t+1})` (Zhang, Abate, Hu, Vitus 2009). The union has M^(T-t) members. Here a member is
//! kept only if it is the least at one of many points: states that the policy visits, and random
//! directions. Every kept form is the exact cost of some mode sequence, so whatever is dropped the
//! policy is real and its cost an upper bound.

use nalgebra::DMatrix;
use rayon::prelude::*;

use super::averaged::AveragedRiccati;
use super::forms::{Points, dot_packed, pack, products};
use super::riccati::{Lift, RiccatiModes};
use super::schedule::Schedule;
use super::simulate::{ReferencePolicy, simulate_one};
use crate::evaluate::episode::Setting;
use crate::numeric::{Purpose, Stream};
use crate::plant::PlantModel;

/// Greatest number of points on which [`SwitchedRiccati::thinned`] compares laws.
const STATIONARY_POINTS: usize = 2048;
/// One over the share of the horizon from whose steps it takes laws: far from its end they are as good as stationary.
const STATIONARY_SHARE: usize = 8;

/// One member of a value set: its form, the mode that it begins with, and that mode's gain.
#[derive(Clone, Debug)]
pub struct Law {
    /// The mode.
    pub mode: usize,
    /// Matrix P of the cost-to-go `x'Px`, (homogeneous) n x n.
    pub p: DMatrix<f64>,
    /// Gain K, m x (homogeneous) n: the control is `-K x`.
    pub gain: DMatrix<f64>,
    packed: Vec<f64>,
}

/// A time-varying policy: at step t the law of `stages[t]` with the least `x'Px` acts.
#[derive(Clone, Debug)]
pub struct SwitchedRiccati {
    lift: Lift,
    stages: Vec<Vec<Law>>,
}

/// How much work the set may take; counts, so that the result does not depend on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchedBudget {
    /// Largest number of forms kept per step.
    pub max_forms: usize,
    /// Largest number of visited states per step at which forms are compared.
    pub max_points: usize,
    /// Backward sweeps; each one uses the states that the policy of the last one visits.
    pub sweeps: usize,
}

impl SwitchedBudget {
    /// The budget that `hpo reference` uses for a plant with n states, M modes and T steps.
    ///
    /// It keeps the floating-point operations of the whole sweep near a constant, so the smallest
    /// plants get all the forms they need and the largest a sample.
    #[must_use]
    pub fn for_size(n: usize, modes: usize, horizon: usize) -> Self {
        let max_points = (4_000_000 / (n * n)).clamp(64, 1024);
        let per_form = horizon * modes * (4 * n * n * n + n * n * max_points);
        Self {
            max_forms: (350_000_000_000 / per_form).clamp(16, 1200),
            max_points,
            // A second sweep gains 1e-5 on small plants and costs too much on large ones.
            sweeps: if n <= 16 { 2 } else { 1 },
        }
    }
}

impl SwitchedRiccati {
    /// Builds the policy for `horizon` steps; `progress(done, total)` is called after every step
    /// of a sweep.
    ///
    /// Points come from `states` (at least one; the initial states that matter) under the averaged
    /// Riccati controller, then under the policy of the sweep before, and from random directions.
    /// The plant's noise is left out, its clamp and bounds are met only in visited states.
    #[must_use]
    pub fn new(
        model: &PlantModel,
        modes: &RiccatiModes,
        horizon: usize,
        states: &[Vec<f64>],
        budget: SwitchedBudget,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Self {
        let states = &states[..states.len().min(budget.max_points)];
        let mut policy = Self {
            lift: modes.lift(),
            stages: Vec::new(),
        };
        let mut visited = match AveragedRiccati::new(modes) {
            Some(first) => visit(model, &first, modes.lift(), states, horizon),
            None => {
                let first = Schedule::round_robin(modes, horizon);
                visit(model, &first, modes.lift(), states, horizon)
            }
        };
        for sweep in 0..budget.sweeps {
            if sweep > 0 {
                visited = visit(model, &policy, modes.lift(), states, horizon);
            }
            policy.stages = backward(modes, &visited, budget.max_forms, &|done| {
                progress(sweep * horizon + done, budget.sweeps * horizon);
            });
        }
        policy
    }

    /// The same set of laws at every step: that of the first step of a problem of `horizon` steps, for runs that
    /// have no end in sight. Built as [`SwitchedRiccati::new`] builds it.
    #[must_use]
    pub fn stationary(
        model: &PlantModel,
        modes: &RiccatiModes,
        horizon: usize,
        states: &[Vec<f64>],
        budget: SwitchedBudget,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Self {
        let mut policy = Self::new(model, modes, horizon, states, budget, progress);
        policy.stages.truncate(1);
        policy
    }

    /// The laws that compete at each step; `stages().len()` is the horizon.
    #[must_use]
    pub fn stages(&self) -> &[Vec<Law>] {
        &self.stages
    }

    /// At most `cap` laws of the first eighth of the horizon, where the most steps are still to go, that describe its value best:
    /// chosen one by one so that the mean over `points` of the least `x'Px / x'x` falls the most. In the order
    /// in which they were chosen; fewer where no further one lowers the mean. (The laws of the first step alone are those
    /// that win at initial states; a state on the way may want one that is pruned there.)
    ///
    /// `points`: (homogeneous) states step by step, as [`visited_states`] gives them; those at 0 do not count.
    #[must_use]
    pub fn thinned(&self, points: &[Vec<Vec<f64>>], cap: usize) -> Vec<&Law> {
        let early = self.stages.len() / STATIONARY_SHARE + 1;
        let stage: Vec<&Law> = self.stages.iter().take(early).flatten().collect();
        let directions: Vec<Vec<f64>> = points
            .iter()
            .flatten()
            .filter_map(|x| {
                let norm = x.iter().map(|v| v * v).sum::<f64>().sqrt();
                (norm > 0.0).then(|| x.iter().map(|v| v / norm).collect())
            })
            .collect();
        // Evenly spread over steps and states.
        let stride = directions.len().div_ceil(STATIONARY_POINTS).max(1);
        let chosen_points: Vec<&[f64]> = directions
            .iter()
            .step_by(stride)
            .map(Vec::as_slice)
            .collect();
        let forms: Vec<DMatrix<f64>> = stage.iter().map(|law| law.p.clone()).collect();
        let values = Points::new(self.lift.state(), chosen_points.into_iter()).values(&forms);
        let mut least = vec![f64::MAX; values.first().map_or(0, Vec::len)];
        let mut kept = Vec::new();
        while kept.len() < cap {
            let totals: Vec<f64> = values
                .par_iter()
                .map(|v| {
                    v.iter()
                        .zip(&least)
                        .map(|(a, b)| a.min(*b) / least.len() as f64)
                        .sum()
                })
                .collect();
            let best = (0..totals.len()).min_by(|&a, &b| totals[a].total_cmp(&totals[b]));
            let Some(best) = best else { break };
            let now: f64 = least.iter().map(|b| b / least.len() as f64).sum();
            if totals[best] >= now {
                break;
            }
            for (least, &value) in least.iter_mut().zip(&values[best]) {
                *least = least.min(value);
            }
            kept.push(stage[best]);
        }
        kept
    }

    /// The law that acts at state `x` (length n) and step `t`.
    #[must_use]
    pub fn law(&self, t: usize, x: &[f64]) -> &Law {
        let stage = &self.stages[t.min(self.stages.len() - 1)];
        let products = products(self.lift.lift(x).as_slice());
        let mut best = (0, f64::INFINITY);
        for (index, law) in stage.iter().enumerate() {
            let value = dot_packed(&law.packed, &products);
            if value < best.1 {
                best = (index, value);
            }
        }
        &stage[best.0]
    }
}

impl ReferencePolicy for SwitchedRiccati {
    fn act(&self, t: usize, x: &[f64], u: &mut [f64]) -> usize {
        let law = self.law(t, x);
        let control = &law.gain * self.lift.lift(x);
        for (u, control) in u.iter_mut().zip(control.iter()) {
            *u = -control;
        }
        law.mode
    }
}

/// The (homogeneous) states that a policy visits from `states` (each of length n), step by step over
/// `horizon` steps, without noise.
#[must_use]
pub fn visited_states(
    model: &PlantModel,
    policy: &SwitchedRiccati,
    states: &[Vec<f64>],
    horizon: usize,
) -> Vec<Vec<Vec<f64>>> {
    visit(model, policy, policy.lift, states, horizon)
}

/// The (homogeneous) states that a policy visits, step by step, without noise.
fn visit<P: ReferencePolicy>(
    model: &PlantModel,
    policy: &P,
    lift: Lift,
    states: &[Vec<f64>],
    horizon: usize,
) -> Vec<Vec<Vec<f64>>> {
    let plant = model.build::<f64>();
    let paths: Vec<Vec<Vec<f64>>> = states
        .par_iter()
        .map(|state| {
            let mut path = Vec::with_capacity(horizon);
            let mut noise = Setting {
                model,
                disturbance: model.disturbance(),
                noise: Stream::new(0, Purpose::Noise, 0),
                cost_from: model.cost_from(),
            };
            simulate_one(model, &plant, policy, state, horizon, &mut noise, |_, x| {
                path.push(lift.lift(x).as_slice().to_vec());
            });
            path
        })
        .collect();
    (0..horizon)
        .map(|t| paths.iter().map(|path| path[t].clone()).collect())
        .collect()
}

/// One backward sweep that keeps the forms that are least at a visited state or a random direction.
fn backward(
    modes: &RiccatiModes,
    visited: &[Vec<Vec<f64>>],
    max_forms: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> Vec<Vec<Law>> {
    let (n, horizon) = (modes.state(), visited.len());
    let mut stages = Vec::with_capacity(horizon);
    let mut set = vec![DMatrix::zeros(n, n)];
    for t in (0..horizon).rev() {
        let candidates: Vec<(usize, usize)> = (0..set.len())
            .flat_map(|k| (0..modes.count()).map(move |mode| (mode, k)))
            .collect();
        let forms: Vec<DMatrix<f64>> = candidates
            .par_iter()
            .map(|&(mode, k)| modes.map(mode, &set[k]))
            .collect();
        let mut states = visited[t].clone();
        states.extend(random_directions(modes.lift(), t, visited[t].len() / 4));
        let points = Points::new(n, states.iter().map(Vec::as_slice));
        let mut wins = vec![0_usize; forms.len()];
        for (index, _) in points.least(&forms) {
            // None is the least where all have outgrown the numbers.
            if let Some(win) = wins.get_mut(index) {
                *win += 1;
            }
        }
        let mut kept: Vec<usize> = (0..forms.len()).filter(|&k| wins[k] > 0).collect();
        if kept.is_empty() {
            // A cost without bound, which whoever asks for it sees.
            kept.push(0);
        }
        if kept.len() > max_forms {
            // The most useful ones; the index breaks ties so that the order is total.
            kept.sort_by_key(|&k| (std::cmp::Reverse(wins[k]), k));
            kept.truncate(max_forms);
            kept.sort_unstable();
        }
        let stage: Vec<Law> = kept
            .par_iter()
            .map(|&k| {
                let (mode, parent) = candidates[k];
                Law {
                    mode,
                    gain: modes.gain(mode, &set[parent]),
                    packed: pack(&forms[k]).as_slice().to_vec(),
                    p: forms[k].clone(),
                }
            })
            .collect();
        set = stage.iter().map(|law| law.p.clone()).collect();
        stages.push(stage);
        progress(horizon - t);
    }
    stages.reverse();
    stages
}

/// Directions uniform on the sphere (times any length), lifted; the same for every sweep.
fn random_directions(lift: Lift, t: usize, count: usize) -> Vec<Vec<f64>> {
    let mut stream = Stream::new(0, Purpose::Generator, 1000 + t as u64);
    (0..count)
        .map(|_| {
            let x: Vec<f64> = (0..lift.state()).map(|_| stream.normal()).collect();
            lift.lift(&x).as_slice().to_vec()
        })
        .collect()
}

/// The best known cost of each state and whether it is that of the plant without its bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Achieved {
    pub(super) cost: f64,
    /// Controls that the bounds cut; 0 means that the bounds did not matter.
    pub(super) limited: u32,
    /// Mode changes.
    pub(super) switches: u32,
}

/// For each state the cost of the mode sequence that the policy chooses there, with the controls
/// that are optimal for the sequence: a real schedule, at most as costly as the policy.
pub(super) fn polish(
    model: &PlantModel,
    modes: &RiccatiModes,
    policy: &SwitchedRiccati,
    states: &[Vec<f64>],
) -> Vec<Achieved> {
    let plant = model.build::<f64>();
    let horizon = policy.stages.len();
    // A Riccati recursion per state: on large plants the policy's own cost has to do.
    let affordable = states.len() * horizon * modes.state().pow(3) < 5_000_000_000;
    states
        .par_iter()
        .map(|state| {
            let mut noise = Setting {
                model,
                disturbance: model.disturbance(),
                noise: Stream::new(0, Purpose::Noise, 0),
                cost_from: model.cost_from(),
            };
            let recorder = Recorder(policy, std::sync::Mutex::new(Vec::with_capacity(horizon)));
            let closed = simulate_one(
                model,
                &plant,
                &recorder,
                state,
                horizon,
                &mut noise,
                |_, _| {},
            );
            let mut best = closed;
            if affordable {
                let sequence = recorder.1.into_inner().unwrap_or_default();
                let schedule = Schedule::new(modes, sequence);
                let open = simulate_one(
                    model,
                    &plant,
                    &schedule,
                    state,
                    horizon,
                    &mut noise,
                    |_, _| {},
                );
                if open.cost < closed.cost {
                    best = open;
                }
            }
            Achieved {
                cost: best.cost,
                limited: best.limited,
                switches: best.switches,
            }
        })
        .collect()
}

/// Notes the modes that a policy chooses.
struct Recorder<'a>(&'a SwitchedRiccati, std::sync::Mutex<Vec<usize>>);

impl ReferencePolicy for Recorder<'_> {
    fn act(&self, t: usize, x: &[f64], u: &mut [f64]) -> usize {
        let mode = self.0.act(t, x, u);
        if let Ok(mut modes) = self.1.lock() {
            modes.push(mode);
        }
        mode
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::reference::simulate;
    use crate::plant::load_plant;

    #[test]
    fn small_problem_is_solved_exactly() {
        let sets = [("horizon".to_owned(), "6".to_owned())];
        let model = load_plant("switched-lqr-4-3", &sets).unwrap();
        let modes = RiccatiModes::new(model.lqr_data().unwrap());
        let mut stream = Stream::new(3, Purpose::Evaluation, 0);
        let states: Vec<Vec<f64>> = (0..50)
            .map(|_| {
                let mut x = vec![0.0; 4];
                model.draw_initial(&mut stream, &mut x);
                x
            })
            .collect();
        let budget = SwitchedBudget::for_size(4, 3, 6);
        let policy = SwitchedRiccati::new(&model, &modes, 6, &states, budget, &|_, _| {});
        let polished = polish(&model, &modes, &policy, &states);
        for (state, achieved) in states.iter().zip(polished) {
            let exact = (0..3_usize.pow(6))
                .map(|code| {
                    let sequence = (0..6).map(|t| code / 3_usize.pow(t) % 3).collect();
                    let schedule = Schedule::new(&modes, sequence);
                    let x = modes.lift().lift(state);
                    x.dot(&(schedule.value() * &x))
                })
                .fold(f64::INFINITY, f64::min);
            assert!(achieved.cost >= exact * (1.0 - 1e-12));
            assert!(
                achieved.cost <= exact * (1.0 + 1e-3),
                "{} {exact}",
                achieved.cost
            );
            assert_eq!(achieved.limited, 0);
        }
    }

    #[test]
    fn policy_costs_at_most_its_value_bound() {
        let model = load_plant("switched-lqr-8-4", &[]).unwrap();
        let modes = RiccatiModes::new(model.lqr_data().unwrap());
        let states = &model.test_states().unwrap()[..64];
        let budget = SwitchedBudget {
            max_forms: 20,
            max_points: 64,
            sweeps: 1,
        };
        let policy = SwitchedRiccati::new(&model, &modes, 20, states, budget, &|_, _| {});
        assert!(policy.stages().iter().all(|stage| stage.len() <= 20));
        let episodes = simulate(&model, &policy, states, 20, 0);
        for (state, episode) in states.iter().zip(episodes) {
            let first = policy.law(0, state);
            let x = modes.lift().lift(state);
            let promised = x.dot(&(&first.p * &x));
            assert!(episode.cost <= promised * (1.0 + 1e-9));
        }
    }
}
