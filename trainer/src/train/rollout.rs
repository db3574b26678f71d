//! Sixteen trajectories forward, and their reverse sweep.

use crate::numeric::dense::splat;
use crate::numeric::{LANES, Lanes, Real};
use crate::plant::Plant;
use crate::policy::Model;
use crate::policy::model::{AdjointScratch, LawScratch};
use crate::policy::network::Layers;
use crate::policy::tape::{Choices, Tape, Track, blend, mask};
use crate::train::advantage::power;
use crate::train::critic::{Critic, CriticScratch};

/// What one rollout looks at besides the policy.
#[derive(Clone, Copy)]
pub struct LookAhead<'a, T> {
    /// The critic that values successor states.
    pub critic: &'a Critic,
    /// Its parameters.
    pub parameters: &'a [T],
    /// Discount of the successor's value.
    pub discount: T,
}

/// How a choice is taken from the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Drawn from the selector's distribution (training).
    Sample,
    /// The greatest logit (validation, as on the device).
    ArgMax,
    /// What `tape.choice` holds already (enumeration of choice sequences).
    Given,
}

/// Tape and working memory of sixteen trajectories; nothing is allocated after construction.
#[derive(Clone, Debug)]
pub struct Worker<T> {
    /// What the last rollout left.
    pub tape: Tape<T>,
    law: LawScratch<T>,
    adjoint: AdjointScratch<T>,
    critic: CriticScratch<T>,
    applied: Vec<Lanes<T>>,
    next: Vec<Lanes<T>>,
    masked_steps: Track<T>,
    d_next: Vec<Lanes<T>>,
    d_state: Vec<Lanes<T>>,
    d_part: Vec<Lanes<T>>,
    d_control: Vec<Lanes<T>>,
    d_control_part: Vec<Lanes<T>>,
    /// Loss derivative that the rate limit of the step after sends to the control before it; empty without rate limits.
    d_previous: Vec<Lanes<T>>,
}

impl<T: Real> Worker<T> {
    /// Memory for `steps` steps of `model` on a plant with `noise` noise components.
    #[must_use]
    pub fn new(model: &Model, critic: &Critic, steps: usize, noise: usize) -> Self {
        let shape = model.shape();
        let zeros = |len| vec![Lanes::default(); len];
        Self {
            tape: Tape::new(model, steps, noise),
            law: LawScratch::new(model),
            adjoint: AdjointScratch::new(model),
            critic: critic.scratch(shape),
            applied: zeros(shape.control),
            next: zeros(shape.state),
            masked_steps: Track::new(steps, shape.control),
            d_next: zeros(shape.state),
            d_state: zeros(shape.state),
            d_part: zeros(shape.state),
            d_control: zeros(shape.control),
            d_control_part: zeros(shape.control),
            d_previous: zeros(if model.has_rate_limits() {
                shape.control
            } else {
                0
            }),
        }
    }

    /// Runs the policy from `tape.state[0]` with the tape's uniform numbers and noise.
    ///
    /// With `look_ahead` every choice is tried for one step from every state, and the tape's
    /// look-ahead values are filled. Returns the number of simulator calls (trajectory steps).
    #[inline(always)]
    pub fn rollout<P: Plant<T>>(
        &mut self,
        plant: &P,
        model: &Model,
        parameters: &[T],
        selection: Selection,
        look_ahead: Option<LookAhead<'_, T>>,
    ) -> u64 {
        let steps = self.tape.steps();
        self.tape.clamped = 0;
        for t in 0..steps {
            model.observe(&mut self.tape, t);
            model.select(parameters, &mut self.tape, t);
            match selection {
                Selection::Sample => model.draw(&mut self.tape, t),
                Selection::ArgMax => model.arg_max(&mut self.tape, t),
                Selection::Given => {}
            }
            model.hidden(parameters, &mut self.tape, t);
            match look_ahead {
                Some(look) => self.try_every_choice(plant, model, parameters, look, t),
                None => {
                    model.act(parameters, &mut self.tape, t, &mut self.law);
                    self.step_chosen(plant, model, t);
                }
            }
            self.tape.clamped += plant.count_clamped(self.tape.state.at(t + 1));
        }
        let calls = if look_ahead.is_some() {
            model.shape().choices()
        } else {
            1
        };
        (steps * LANES * calls) as u64
    }

    /// Laws of the choices taken at step `t`.
    #[inline(always)]
    pub fn act(&mut self, model: &Model, parameters: &[T], t: usize) {
        model.act(parameters, &mut self.tape, t, &mut self.law);
    }

    /// Steps the plant with each lane's own mode.
    #[inline(always)]
    pub fn step_chosen<P: Plant<T>>(&mut self, plant: &P, model: &Model, t: usize) {
        let modes = modes_of(&self.tape.choice[t], model);
        let (state, successor) = self.tape.state.pair(t);
        for mode in 0..model.shape().modes {
            let Some(mask) = mask::<T>(&modes, mode) else {
                continue;
            };
            let cost = plant.step(
                mode,
                state,
                self.tape.applied.at(t),
                self.tape.noise.at(t),
                &mut self.next,
            );
            let kept = &mut self.tape.cost.at_mut(t)[0];
            *kept = blend(mask, cost, *kept);
            for (old, &new) in successor.iter_mut().zip(&self.next) {
                *old = blend(mask, new, *old);
            }
        }
    }

    /// One step with `choice` in every lane, from the states of step `t`: leaves the law in `self.law`, the control in
    /// `self.applied` and the successor in `self.next`, and returns the cost.
    #[inline(always)]
    fn branch<P: Plant<T>>(
        &mut self,
        plant: &P,
        model: &Model,
        parameters: &[T],
        t: usize,
        choice: usize,
    ) -> Lanes<T> {
        let tape = &mut self.tape;
        let law = &mut self.law;
        model.law(parameters, tape, t, choice, &mut law.head, &mut law.law);
        self.applied.copy_from_slice(&law.law);
        model.constrain(&tape.applied, t, choice, &mut self.applied);
        plant.step(
            model.shape().choice_modes[choice],
            tape.state.at(t),
            &self.applied,
            tape.noise.at(t),
            &mut self.next,
        )
    }

    /// Steps the plant with every choice, values the successors, keeps each lane's own.
    #[inline(always)]
    fn try_every_choice<P: Plant<T>>(
        &mut self,
        plant: &P,
        model: &Model,
        parameters: &[T],
        look: LookAhead<'_, T>,
        t: usize,
    ) {
        let choices = self.tape.choice[t];
        for choice in 0..model.shape().choices() {
            let cost = self.branch(plant, model, parameters, t, choice);
            let tape = &mut self.tape;
            let value =
                look.critic
                    .value_at(model.shape(), look.parameters, &self.next, &mut self.critic);
            let worth = value.mul_add(splat(look.discount), cost);
            keep_look_ahead(tape, t, &choices, choice, worth);
            let Some(mask) = mask::<T>(&choices, choice) else {
                continue;
            };
            let keep = |kept: &mut [Lanes<T>], new: &[Lanes<T>]| {
                for (old, &new) in kept.iter_mut().zip(new) {
                    *old = blend(mask, new, *old);
                }
            };
            keep(tape.head.at_mut(t), &self.law.head);
            keep(tape.law.at_mut(t), &self.law.law);
            keep(tape.applied.at_mut(t), &self.applied);
            keep(tape.cost.at_mut(t), &[cost]);
            keep(tape.successor_value.at_mut(t), &[value]);
            keep(tape.state.at_mut(t + 1), &self.next);
        }
    }

    /// Critic value of the last state, to `tape.successor_value` of the last step.
    #[inline(always)]
    pub fn value_last(&mut self, model: &Model, critic: &Critic, parameters: &[T]) {
        let steps = self.tape.steps();
        let value = critic.value_at(
            model.shape(),
            parameters,
            self.tape.state.at(steps),
            &mut self.critic,
        );
        self.tape.successor_value.at_mut(steps - 1)[0] = value;
    }

    /// The reverse sweep: adds the gradient of
    /// `sum_t cost_weight gamma^t l_t + (what d_logits stands for)` to `gradient`.
    ///
    /// `tape.d_logits` holds the loss derivative of every step's logits. `cross_term` scales how
    /// much of it flows into the states (1: the total derivative, 0: none).
    #[inline(always)]
    pub fn sweep<P: Plant<T>>(
        &mut self,
        plant: &P,
        model: &Model,
        parameters: &[T],
        objective: Objective<T>,
        gradient: &mut [T],
    ) {
        let cross_term = objective.cross_term > T::default();
        let steps = 0..self.tape.steps();
        model.selector_adjoint(
            parameters,
            &mut self.tape,
            steps,
            cross_term,
            &mut self.adjoint,
        );
        let nothing = |_: &mut Self, _: usize, _: Lanes<T>| {};
        self.sweep_with(plant, model, parameters, objective, gradient, nothing);
    }

    /// [`Worker::sweep`] with `before_step(self, t, d_cost)` called before step `t` is differentiated, where the
    /// loss derivative of state t + 1 is known. It is for `before_step` to fill `tape.d_logits` of step `t` and to call
    /// [`Worker::selector_adjoint`] on it.
    #[inline(always)]
    pub fn sweep_with<P: Plant<T>>(
        &mut self,
        plant: &P,
        model: &Model,
        parameters: &[T],
        objective: Objective<T>,
        gradient: &mut [T],
        mut before_step: impl FnMut(&mut Self, usize, Lanes<T>),
    ) {
        let steps = self.tape.steps();
        self.d_state.fill(Lanes::default());
        self.d_previous.fill(Lanes::default());
        for t in (0..steps).rev() {
            let d_cost = objective.cost_weight * power(objective.discount, t);
            self.d_next.copy_from_slice(&self.d_state);
            before_step(self, t, d_cost);
            self.d_state.fill(Lanes::default());
            self.d_control.fill(Lanes::default());
            self.plant_adjoint(plant, model, t, d_cost);
            model.rate_adjoint(
                &self.tape,
                t,
                &mut self.d_control,
                &mut self.d_previous,
                &mut self.applied,
            );
            model.adjoint(
                parameters,
                &mut self.tape,
                t,
                &self.d_control,
                objective.cross_term,
                &mut self.d_state,
                &mut self.adjoint,
            );
        }
        self.gradient(model, objective.layers, gradient);
    }

    /// Adds the parameter gradient over all steps from the tape's deltas to `gradient`.
    #[inline(always)]
    pub fn gradient(&mut self, model: &Model, layers: Layers, gradient: &mut [T]) {
        let steps = 0..self.tape.steps();
        model.selector_gradient(&self.tape, steps, layers, gradient);
        model.law_gradient(&self.tape, layers, gradient, &mut self.masked_steps);
    }

    /// What each choice at step `t` of a sweep is worth to first order: `d_cost l_c + lambda_{t+1} . f_c` (with rate limits
    /// plus what the control before the next step is worth), written to
    /// the tape's look-ahead. For use in [`Worker::sweep_with`].
    #[inline(always)]
    pub fn branch_values<P: Plant<T>>(
        &mut self,
        plant: &P,
        model: &Model,
        parameters: &[T],
        t: usize,
        d_cost: Lanes<T>,
    ) {
        for choice in 0..model.shape().choices() {
            let cost = self.branch(plant, model, parameters, t, choice);
            let mut value = cost * d_cost;
            for (&d, &x) in self.d_next.iter().zip(&self.next) {
                value = d.mul_add(x, value);
            }
            for (&d, &u) in self.d_previous.iter().zip(&self.applied) {
                value = d.mul_add(u, value);
            }
            self.tape.look_ahead.at_mut(t)[choice] = value;
        }
    }

    /// Score-function estimate of the laws' gradient for a control perturbed by Gaussian noise: adds
    /// `sum_t weight(t) (d law / d parameters)' w_t`, where w_t is the standard normal perturbation of
    /// the control, which stands in the tape's noise from component `first` on. Touches the laws' part of
    /// `gradient` alone, and leaves the tape's deltas overwritten.
    pub fn score_function_of_laws(
        &mut self,
        model: &Model,
        parameters: &[T],
        first: usize,
        weight: impl Fn(usize) -> Lanes<T>,
        gradient: &mut [T],
    ) {
        for t in 0..self.tape.steps() {
            let perturbation = &self.tape.noise.at(t)[first..];
            for (d, &w) in self.d_control.iter_mut().zip(perturbation) {
                *d = w * weight(t);
            }
            model.adjoint(
                parameters,
                &mut self.tape,
                t,
                &self.d_control,
                T::default(),
                &mut self.d_state,
                &mut self.adjoint,
            );
        }
        model.law_gradient(&self.tape, Layers::All, gradient, &mut self.masked_steps);
    }

    /// Deltas of the selector at every step of `steps` from `tape.d_logits`, without the state's derivative.
    #[inline(always)]
    pub fn detached_selector_adjoint(
        &mut self,
        model: &Model,
        parameters: &[T],
        steps: std::ops::Range<usize>,
    ) {
        model.selector_adjoint(parameters, &mut self.tape, steps, false, &mut self.adjoint);
    }

    /// Deltas of the selector at step `t` from `tape.d_logits`, and the derivative of its input.
    #[inline(always)]
    pub fn selector_adjoint(&mut self, model: &Model, parameters: &[T], t: usize) {
        model.selector_adjoint(
            parameters,
            &mut self.tape,
            t..t + 1,
            true,
            &mut self.adjoint,
        );
    }

    /// Deltas of the laws at every step of `steps` from `tape.d_law`, without the state's derivative.
    #[inline(always)]
    pub fn detached_law_adjoint(
        &mut self,
        model: &Model,
        parameters: &[T],
        steps: std::ops::Range<usize>,
    ) {
        model.law_adjoint(parameters, &mut self.tape, steps, &mut self.adjoint);
    }

    /// Fills `d_state` and `d_control` from `d_next`; each lane through its own mode.
    #[inline(always)]
    fn plant_adjoint<P: Plant<T>>(&mut self, plant: &P, model: &Model, t: usize, d_cost: Lanes<T>) {
        let modes = modes_of(&self.tape.choice[t], model);
        for mode in 0..model.shape().modes {
            let Some(mask) = mask::<T>(&modes, mode) else {
                continue;
            };
            // The product is linear in the cotangents: lanes of other modes are given zeros.
            for (masked, &d) in self.next.iter_mut().zip(&self.d_next) {
                *masked = d * mask;
            }
            plant.vjp(
                mode,
                self.tape.state.at(t),
                self.tape.applied.at(t),
                self.tape.noise.at(t),
                self.tape.state.at(t + 1),
                &self.next,
                mask * d_cost,
                &mut self.d_part,
                &mut self.d_control_part,
            );
            for (sum, &d) in self.d_state.iter_mut().zip(&self.d_part) {
                *sum = *sum + d;
            }
            for (sum, &d) in self.d_control.iter_mut().zip(&self.d_control_part) {
                *sum = *sum + d;
            }
        }
    }
}

/// What [`Worker::sweep`] differentiates.
#[derive(Clone, Copy, Debug)]
pub struct Objective<T> {
    /// Factor of every stage cost, lane by lane.
    pub cost_weight: Lanes<T>,
    /// Discount gamma.
    pub discount: T,
    /// 1: the score function's total derivative; 0: without the cross term.
    pub cross_term: T,
    /// Layers whose gradients are taken.
    pub layers: Layers,
}

/// Writes what `choice` is worth to the entries that it stands for: in a lane, that of factor f where the choice differs from the
/// lane's own in no other factor.
#[inline(always)]
fn keep_look_ahead<T: Real>(
    tape: &mut Tape<T>,
    t: usize,
    own: &Choices,
    choice: usize,
    worth: Lanes<T>,
) {
    let factors = tape.factors.len();
    if factors == 1 {
        tape.look_ahead.at_mut(t)[choice] = worth;
        return;
    }
    let all = [choice as u16; LANES];
    for factor in 0..factors {
        let (range, index) = tape.part(&all, factor);
        let (_, part) = tape.part(own, factor);
        let stride: usize = tape.factors[factor + 1..].iter().product();
        let entry = &mut tape.look_ahead.at_mut(t)[range.start + usize::from(index[0])];
        for lane in 0..LANES {
            let rest = usize::from(own[lane]) - usize::from(part[lane]) * stride;
            if rest + usize::from(index[0]) * stride == choice {
                entry.0[lane] = worth.0[lane];
            }
        }
    }
}

/// Plant mode of each lane's choice.
#[inline(always)]
fn modes_of(choices: &Choices, model: &Model) -> Choices {
    let table = &model.shape().choice_modes;
    choices.map(|choice| table[usize::from(choice)] as u16)
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
