//! The policy's adjoints: one step backward, and the parameter gradient over all steps.

use std::ops::Range;

use crate::numeric::dense;
use crate::numeric::{Lanes, Real, Scalar};
use crate::policy::network::{Layers, Network, Pass};
use crate::policy::tape::{Tape, Track, mask};
use crate::policy::{InputKind, Model, input};

impl Model {
    /// Adjoint of one step of the policy.
    ///
    /// On entry `d_applied` `[m]` is the loss derivative of the applied control; unless `cross_term` is 0,
    /// [`Model::selector_adjoint`] must have been there for the step. Fills the laws' deltas of step `t` and
    /// adds the derivative of the state to `d_x` `[n]`: through the control always, through the
    /// selector scaled by `cross_term` (1 on, 0 off).
    #[expect(
        clippy::too_many_arguments,
        reason = "a step's arguments plus its cotangents"
    )]
    #[inline(always)]
    pub fn adjoint<T: Real>(
        &self,
        parameters: &[T],
        tape: &mut Tape<T>,
        t: usize,
        d_applied: &[Lanes<T>],
        cross_term: T,
        d_x: &mut [Lanes<T>],
        scratch: &mut AdjointScratch<T>,
    ) {
        scratch.d_input.fill(Lanes::default());
        let mut d_norm = Lanes::default();
        if cross_term > T::default() {
            for (d, &selector) in scratch.d_direction.iter_mut().zip(tape.d_direction.at(t)) {
                *d = selector * cross_term;
            }
        } else {
            scratch.d_direction.fill(Lanes::default());
        }

        let d_law = tape.d_law.at_mut(t);
        d_law.copy_from_slice(d_applied);
        self.region_adjoint(tape, t);
        let choices = tape.choice[t];
        let scale = self.head_scale(tape, t);
        if self.shape.heads() > 0 {
            let d_head = tape.d_head.at_mut(t);
            for ((d_head, &d), &y) in d_head.iter_mut().zip(tape.d_law.at(t)).zip(tape.head.at(t)) {
                *d_head = d * scale;
                d_norm = d.mul_add(y, d_norm);
            }
        }
        scratch.d_hidden.fill(Lanes::default());
        for choice in 0..self.shape.choices() {
            if self.one_law() {
                if let Some((weights, _)) = self.head(choice) {
                    let d_head = tape.d_head.at(t);
                    dense::backward_input(&parameters[weights], d_head, &mut scratch.d_hidden);
                }
                break;
            }
            let Some(mask) = mask::<T>(&choices, choice) else {
                continue;
            };
            let (gain, _) = self.gain(choice);
            if !gain.is_empty() {
                masked(tape.d_law.at(t), mask, &mut scratch.d_masked);
                dense::backward_input(&parameters[gain], &scratch.d_masked, &mut scratch.d_input);
            }
            if let Some((weights, _)) = self.head(choice) {
                masked(tape.d_head.at(t), mask, &mut scratch.d_masked);
                dense::backward_input(
                    &parameters[weights],
                    &scratch.d_masked,
                    &mut scratch.d_hidden,
                );
            }
        }
        if self.shape.heads() > 0 {
            match &self.trunk {
                Some(trunk) => {
                    let deltas = tape.d_control.at_mut(t);
                    deltas[trunk.output()].copy_from_slice(&scratch.d_hidden);
                    let activations = tape.control.at(t);
                    trunk.backward(
                        parameters,
                        activations,
                        deltas,
                        Some(&mut scratch.d_direction),
                    );
                }
                None => add(&scratch.d_hidden, &mut scratch.d_direction),
            }
        }
        match self.shape.input {
            InputKind::UnitNorm => input::unit_norm_adjoint(
                tape.direction.at(t),
                tape.norm.at(t)[1],
                &scratch.d_direction,
                d_norm,
                &mut scratch.d_input,
            ),
            InputKind::Affine => add(&scratch.d_direction, &mut scratch.d_input),
        }
        for (i, d_x) in d_x.iter_mut().enumerate() {
            let scale = T::from_f64(self.shape.input_scale[i]);
            *d_x = d_x.add_scaled(scale, scratch.d_input[i]);
        }
    }

    /// Adjoint of the selector at every step of `steps`: fills its deltas from `tape.d_logits`; with
    /// `to_direction` also `tape.d_direction`.
    #[inline(always)]
    pub fn selector_adjoint<T: Real>(
        &self,
        parameters: &[T],
        tape: &mut Tape<T>,
        steps: Range<usize>,
        to_direction: bool,
        scratch: &mut AdjointScratch<T>,
    ) {
        if to_direction {
            for t in steps.clone() {
                tape.d_direction.at_mut(t).fill(Lanes::default());
                if let Some(scores) = &self.scores {
                    scratch.d_monomials.fill(Lanes::default());
                    scores.backward_linear(
                        parameters,
                        tape.d_logits.at(t),
                        &mut scratch.d_monomials,
                    );
                    input::monomials_adjoint(
                        tape.direction.at(t),
                        &scratch.d_monomials,
                        tape.d_direction.at_mut(t),
                    );
                }
            }
        }
        if let Some(selector) = &self.selector {
            for t in steps.clone() {
                tape.d_selector.at_mut(t)[selector.output()].copy_from_slice(tape.d_logits.at(t));
            }
            let d_direction = to_direction.then_some(&mut tape.d_direction);
            selector.backward_steps(
                parameters,
                &tape.selector,
                &mut tape.d_selector,
                d_direction,
                steps,
            );
        }
    }

    /// Adjoint of the laws alone at every step of `steps`: fills the control network's deltas from `tape.d_law`
    /// (the loss derivative of the law before bounds), without the state's derivative.
    #[inline(always)]
    pub fn law_adjoint<T: Real>(
        &self,
        parameters: &[T],
        tape: &mut Tape<T>,
        steps: Range<usize>,
        scratch: &mut AdjointScratch<T>,
    ) {
        if self.shape.heads() == 0 {
            return;
        }
        for t in steps.clone() {
            let scale = self.head_scale(tape, t);
            for (d_head, &d) in tape.d_head.at_mut(t).iter_mut().zip(tape.d_law.at(t)) {
                *d_head = d * scale;
            }
        }
        let Some(trunk) = &self.trunk else {
            return;
        };
        for t in steps.clone() {
            scratch.d_hidden.fill(Lanes::default());
            let choices = tape.choice[t];
            for choice in 0..self.shape.choices() {
                let Some((weights, _)) = self.head(choice) else {
                    continue;
                };
                if self.one_law() {
                    let d_head = tape.d_head.at(t);
                    dense::backward_input(&parameters[weights], d_head, &mut scratch.d_hidden);
                    break;
                }
                let Some(mask) = mask::<T>(&choices, choice) else {
                    continue;
                };
                masked(tape.d_head.at(t), mask, &mut scratch.d_masked);
                dense::backward_input(
                    &parameters[weights],
                    &scratch.d_masked,
                    &mut scratch.d_hidden,
                );
            }
            tape.d_control.at_mut(t)[trunk.output()].copy_from_slice(&scratch.d_hidden);
        }
        trunk.backward_steps(parameters, &tape.control, &mut tape.d_control, None, steps);
    }

    /// Adds the selector's parameter gradient over `steps` to `gradient`.
    #[inline(always)]
    pub fn selector_gradient<T: Real>(
        &self,
        tape: &Tape<T>,
        steps: Range<usize>,
        layers: Layers,
        gradient: &mut [T],
    ) {
        if let Some(scores) = &self.scores {
            // A single linear layer has no activations below it and its deltas are the logits'.
            let pass = Pass {
                x: tape.monomials.all(),
                activations: &tape.probability,
                deltas: &tape.d_logits,
            };
            scores.gradient(steps.clone(), pass, Layers::All, gradient);
        }
        if let Some(selector) = &self.selector {
            selector.gradient(steps, selector_pass(tape), layers, gradient);
        }
    }

    /// Where weights of wide layers stand in the parameter vector: of the selector, and with `laws` of the control network.
    #[must_use]
    pub fn wide(&self, laws: bool) -> Vec<Range<usize>> {
        let trunk = self.trunk.as_ref().filter(|_| laws);
        let networks = self.selector.iter().chain(trunk);
        networks.flat_map(Network::wide).collect()
    }

    /// Overwrites what [`Model::wide`] names in `gradient` with the gradient over `steps` of all `tapes`, summed in their order.
    pub fn wide_gradient<T: Real>(
        &self,
        tapes: &[&Tape<T>],
        steps: Range<usize>,
        laws: bool,
        gradient: &mut [T],
    ) {
        if let Some(selector) = &self.selector {
            let passes: Vec<_> = tapes.iter().map(|tape| selector_pass(tape)).collect();
            selector.wide_gradient(steps.clone(), &passes, gradient);
        }
        if let Some(trunk) = self.trunk.as_ref().filter(|_| laws) {
            let passes: Vec<_> = tapes.iter().map(|tape| control_pass(tape)).collect();
            trunk.wide_gradient(steps, &passes, gradient);
        }
    }

    /// Adds the laws' parameter gradient over all steps to `gradient`.
    #[inline(always)]
    pub fn law_gradient<T: Real>(
        &self,
        tape: &Tape<T>,
        layers: Layers,
        gradient: &mut [T],
        masked_steps: &mut Track<T>,
    ) {
        let steps = 0..tape.steps();
        for choice in 0..self.shape.choices() {
            let (gain, offset) = self.gain(choice);
            if !gain.is_empty() && mask_steps(tape, choice, &tape.d_law, masked_steps) {
                let (dw, db) =
                    gradient[gain.start..offset.end.max(gain.end)].split_at_mut(gain.len());
                let db = (!offset.is_empty()).then_some(db);
                dense::gradient(steps.clone(), masked_steps.all(), tape.input.all(), dw, db);
            }
            if let Some((weights, bias)) = self.head(choice) {
                let input = match &self.trunk {
                    Some(trunk) => tape.control.part(trunk.output()),
                    None => tape.direction.all(),
                };
                if self.one_law() {
                    let (dw, db) = gradient[weights.start..bias.end].split_at_mut(weights.len());
                    dense::gradient(steps.clone(), tape.d_head.all(), input, dw, Some(db));
                    break;
                }
                if mask_steps(tape, choice, &tape.d_head, masked_steps) {
                    let (dw, db) = gradient[weights.start..bias.end].split_at_mut(weights.len());
                    dense::gradient(steps.clone(), masked_steps.all(), input, dw, Some(db));
                }
            }
        }
        if let Some(trunk) = &self.trunk {
            trunk.gradient(steps, control_pass(tape), layers, gradient);
        }
    }
}

#[inline(always)]
fn selector_pass<T: Real>(tape: &Tape<T>) -> Pass<'_, T> {
    Pass {
        x: tape.direction.all(),
        activations: &tape.selector,
        deltas: &tape.d_selector,
    }
}

#[inline(always)]
fn control_pass<T: Real>(tape: &Tape<T>) -> Pass<'_, T> {
    Pass {
        x: tape.direction.all(),
        activations: &tape.control,
        deltas: &tape.d_control,
    }
}

/// Working memory of [`Model::adjoint`].
#[derive(Clone, Debug)]
pub struct AdjointScratch<T> {
    d_input: Vec<Lanes<T>>,
    d_direction: Vec<Lanes<T>>,
    d_monomials: Vec<Lanes<T>>,
    d_hidden: Vec<Lanes<T>>,
    d_masked: Vec<Lanes<T>>,
}

impl<T: Real> AdjointScratch<T> {
    /// Working memory for `model`.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let shape = &model.shape;
        let zeros = |len| vec![Lanes::default(); len];
        Self {
            d_input: zeros(shape.state),
            d_direction: zeros(shape.state),
            d_monomials: zeros(shape.monomials()),
            d_hidden: zeros(model.head_inputs),
            d_masked: zeros(shape.control),
        }
    }
}

#[inline(always)]
fn masked<T: Real>(values: &[Lanes<T>], mask: Lanes<T>, out: &mut [Lanes<T>]) {
    for (out, &value) in out.iter_mut().zip(values) {
        *out = value * mask;
    }
}

#[inline(always)]
fn add<T: Real>(values: &[Lanes<T>], sum: &mut [Lanes<T>]) {
    for (sum, &value) in sum.iter_mut().zip(values) {
        *sum = *sum + value;
    }
}

/// Writes `track` with the lanes of other choices zeroed; false if no step has the choice.
#[inline(always)]
fn mask_steps<T: Real>(
    tape: &Tape<T>,
    choice: usize,
    track: &Track<T>,
    out: &mut Track<T>,
) -> bool {
    let mut any = false;
    for t in 0..tape.steps() {
        match mask::<T>(&tape.choice[t], choice) {
            Some(mask) => {
                any = true;
                masked(track.at(t), mask, out.at_mut(t));
            }
            None => out.at_mut(t).fill(Lanes::default()),
        }
    }
    any
}
