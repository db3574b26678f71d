//! The policy's equations: observe, select, act. Their adjoints stand in `adjoint`.

use std::ops::Range;

use crate::numeric::dense::{self, splat};
use crate::numeric::{LANES, Lanes, Real, Scalar};
use crate::policy::input;
use crate::policy::network::{Network, Output};
use crate::policy::tape::{Tape, blend, mask};

use crate::policy::{InputKind, PolicyShape};

pub use super::adjoint::AdjointScratch;

/// A part of the parameter vector that one step size belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Quadratic scores of the selector.
    Scores,
    /// Selector network.
    Selector,
    /// Linear gains and their offsets.
    Gains,
    /// Control network.
    Control,
}

/// Where each part of a policy stands in the parameter vector, with the equations over it.
#[derive(Clone, Debug)]
pub struct Model {
    pub(super) shape: PolicyShape,
    /// A linear layer from the monomials to the logits.
    pub(super) scores: Option<Network>,
    pub(super) selector: Option<Network>,
    /// First gain; choice c is a block of m x n weights, then m offsets where there are some.
    gains: Range<usize>,
    pub(super) trunk: Option<Network>,
    /// First head; each is m x width weights, then m biases.
    heads: Range<usize>,
    pub(super) head_inputs: usize,
}

impl Model {
    /// Lays `shape` out: scores, selector network, gains, control network.
    #[must_use]
    pub fn new(shape: PolicyShape) -> Self {
        let (n, m, choices) = (shape.state, shape.control, shape.choices());
        let logits = shape.logits();
        let mut at = 0;
        let scores = shape.scores.then(|| {
            let layer = Network::new(at, shape.monomials(), &[logits], Output::Linear);
            at = layer.end();
            layer
        });
        let selector = shape.selector_hidden.as_ref().map(|hidden| {
            let widths: Vec<usize> = hidden.iter().copied().chain([logits]).collect();
            let network = Network::new(at, n, &widths, Output::Linear);
            at = network.end();
            network
        });
        let gain = if shape.gains { m * n } else { 0 } + if shape.gain_offsets() { m } else { 0 };
        let gains = at..at + choices * gain;
        at = gains.end;
        let hidden = shape.control_hidden.clone().unwrap_or_default();
        let trunk = (!hidden.is_empty()).then(|| {
            let network = Network::new(at, n, &hidden, Output::Tanh);
            at = network.end();
            network
        });
        let head_inputs = hidden.last().copied().unwrap_or(n);
        let heads = at..at + shape.heads() * (m * head_inputs + m);
        Self {
            shape,
            scores,
            selector,
            gains,
            trunk,
            heads,
            head_inputs,
        }
    }

    /// The structure.
    #[must_use]
    pub fn shape(&self) -> &PolicyShape {
        &self.shape
    }

    /// Length of the parameter vector.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.heads.end
    }

    /// Lanes of selector network activations per step.
    #[must_use]
    pub fn selector_activations(&self) -> usize {
        self.selector.as_ref().map_or(0, Network::activations)
    }

    /// Lanes of control trunk activations per step.
    #[must_use]
    pub fn control_activations(&self) -> usize {
        self.trunk.as_ref().map_or(0, Network::activations)
    }

    /// The groups with their parameter ranges, in order, without gaps.
    #[must_use]
    pub fn groups(&self) -> Vec<(Group, Range<usize>)> {
        let selector = self.scores.as_ref().map_or(0, Network::end);
        let control = self.gains.end;
        vec![
            (Group::Scores, 0..selector),
            (Group::Selector, selector..self.gains.start),
            (Group::Gains, self.gains.clone()),
            (Group::Control, control..self.heads.end),
        ]
    }

    /// The groups as [`Model::groups`] gives them, with the factor of their step sizes: what makes the law of each control belongs to
    /// that control's typical magnitude.
    #[must_use]
    pub fn step_ranges(&self) -> Vec<(Group, Range<usize>, f64)> {
        let whole = self
            .groups()
            .into_iter()
            .map(|(group, range)| (group, range, 1.0));
        let scales = &self.shape.law_scale;
        if scales.iter().all(|&scale| scale == 1.0) {
            return whole.collect();
        }
        let law = |group: &Group| matches!(group, Group::Gains | Group::Control);
        let mut ranges: Vec<_> = whole.filter(|(group, ..)| !law(group)).collect();
        let mut rows = |group: Group, weights: Range<usize>, bias: Range<usize>| {
            let width = weights.len() / scales.len();
            for (i, &scale) in scales.iter().enumerate() {
                let start = weights.start + i * width;
                ranges.push((group, start..start + width, scale));
                if !bias.is_empty() {
                    ranges.push((group, bias.start + i..bias.start + i + 1, scale));
                }
            }
        };
        for choice in 0..self.shape.choices() {
            let (weights, offset) = self.gain(choice);
            rows(Group::Gains, weights, offset);
        }
        for head in 0..self.shape.heads() {
            if let Some((weights, bias)) = self.head(head) {
                rows(Group::Control, weights, bias);
            }
        }
        ranges.push((Group::Control, self.gains.end..self.heads.start, 1.0));
        ranges
    }

    /// Score layer: `[L x K]` weights and `[L]` biases, where there is one.
    #[must_use]
    pub fn scores(&self) -> Option<&Network> {
        self.scores.as_ref()
    }

    /// Selector network, where there is one.
    #[must_use]
    pub fn selector(&self) -> Option<&Network> {
        self.selector.as_ref()
    }

    /// Hidden layers of the control network, where there are some.
    #[must_use]
    pub fn trunk(&self) -> Option<&Network> {
        self.trunk.as_ref()
    }

    /// Gain `[m x n]` and offset `[m]` ranges of a choice; empty where the shape has none.
    #[inline(always)]
    #[must_use]
    pub fn gain(&self, choice: usize) -> (Range<usize>, Range<usize>) {
        let (n, m) = (self.shape.state, self.shape.control);
        let weights = if self.shape.gains { m * n } else { 0 };
        let offset = if self.shape.gain_offsets() { m } else { 0 };
        let start = self.gains.start + choice * (weights + offset);
        (
            start..start + weights,
            start + weights..start + weights + offset,
        )
    }

    /// Head weights `[m x width]` and bias `[m]` ranges of a choice; `None` without a network.
    #[inline(always)]
    #[must_use]
    pub fn head(&self, choice: usize) -> Option<(Range<usize>, Range<usize>)> {
        let m = self.shape.control;
        let index = match self.shape.heads() {
            0 => return None,
            1 => 0,
            _ => choice,
        };
        let start = self.heads.start + index * (m * self.head_inputs + m);
        let end = start + m * self.head_inputs;
        Some((start..end, end..end + m))
    }

    /// Transforms the state of step `t`: input, direction, norm, monomials.
    #[inline(always)]
    pub fn observe<T: Real>(&self, tape: &mut Tape<T>, t: usize) {
        let (norm, inverse) = input::observe(
            &self.shape,
            tape.state.at(t),
            tape.input.at_mut(t),
            tape.direction.at_mut(t),
            tape.monomials.at_mut(t),
        );
        tape.norm.at_mut(t).copy_from_slice(&[norm, inverse]);
    }

    /// Selector probabilities of step `t` from its direction and monomials.
    #[inline(always)]
    pub fn select<T: Real>(&self, parameters: &[T], tape: &mut Tape<T>, t: usize) {
        self.select_steps(parameters, tape, t..t + 1);
    }

    /// [`Model::select`] at every step of `steps`.
    #[inline(always)]
    pub fn select_steps<T: Real>(&self, parameters: &[T], tape: &mut Tape<T>, steps: Range<usize>) {
        match &self.scores {
            Some(scores) => {
                let monomials = tape.monomials.all();
                scores.forward_steps(parameters, monomials, &mut tape.logit, steps.clone());
            }
            None => {
                for t in steps.clone() {
                    tape.logit.at_mut(t).fill(Lanes::default());
                }
            }
        }
        if let Some(selector) = &self.selector {
            let direction = tape.direction.all();
            selector.forward_steps(parameters, direction, &mut tape.selector, steps.clone());
            for t in steps.clone() {
                let output = &tape.selector.at(t)[selector.output()];
                for (logit, &y) in tape.logit.at_mut(t).iter_mut().zip(output) {
                    *logit = *logit + y;
                }
            }
        }
        self.apply_mode_rules(tape, steps.clone());
        for t in steps {
            let probabilities = tape.probability.at_mut(t);
            probabilities.copy_from_slice(tape.logit.at(t));
            let mut rest = probabilities;
            for &size in &self.shape.factors {
                let (factor, behind) = rest.split_at_mut(size);
                softmax(factor);
                rest = behind;
            }
        }
    }

    /// Takes the choice with the greatest logit of each factor, the lowest index on ties.
    #[inline(always)]
    pub fn arg_max<T: Real>(&self, tape: &mut Tape<T>, t: usize) {
        let mut choice = [0_u16; LANES];
        let mut first = 0;
        for &size in &self.shape.factors {
            let logits = &tape.logit.at(t)[first..first + size];
            let mut best = logits[0];
            let mut part = [0_u16; LANES];
            for (index, logit) in logits.iter().enumerate().skip(1) {
                for lane in 0..LANES {
                    if logit.0[lane] > best.0[lane] {
                        best.0[lane] = logit.0[lane];
                        part[lane] = index as u16;
                    }
                }
            }
            for lane in 0..LANES {
                choice[lane] = choice[lane] * size as u16 + part[lane];
            }
            first += size;
        }
        tape.choice[t] = choice;
    }

    /// Draws the choices of step `t` from its probabilities and uniform numbers, one per factor.
    #[inline(always)]
    pub fn draw<T: Real>(&self, tape: &mut Tape<T>, t: usize) {
        let mut choice = [0_u16; LANES];
        let mut first = 0;
        for (factor, &size) in self.shape.factors.iter().enumerate() {
            let probabilities = &tape.probability.at(t)[first..first + size];
            let uniform = tape.uniform.at(t)[factor];
            let mut part = [0_u16; LANES];
            let mut cumulative = Lanes::<T>::default();
            // The last choice takes what rounding leaves over.
            for &p in &probabilities[..size - 1] {
                cumulative = cumulative + p;
                for lane in 0..LANES {
                    part[lane] += u16::from(uniform.0[lane] >= cumulative.0[lane]);
                }
            }
            for lane in 0..LANES {
                choice[lane] = choice[lane] * size as u16 + part[lane];
            }
            first += size;
        }
        tape.choice[t] = choice;
        self.keep_draw_allowed(tape, t);
    }

    /// Hidden layers of the control network at step `t`.
    #[inline(always)]
    pub fn hidden<T: Real>(&self, parameters: &[T], tape: &mut Tape<T>, t: usize) {
        if let Some(trunk) = &self.trunk {
            trunk.forward(parameters, tape.direction.at(t), tape.control.at_mut(t));
        }
    }

    /// [`Model::hidden`] at every step of `steps`.
    #[inline(always)]
    pub fn hidden_steps<T: Real>(&self, parameters: &[T], tape: &mut Tape<T>, steps: Range<usize>) {
        if let Some(trunk) = &self.trunk {
            trunk.forward_steps(parameters, tape.direction.all(), &mut tape.control, steps);
        }
    }

    #[inline(always)]
    fn head_input<'a, T: Real>(&self, tape: &'a Tape<T>, t: usize) -> &'a [Lanes<T>] {
        match &self.trunk {
            Some(trunk) => &tape.control.at(t)[trunk.output()],
            None => tape.direction.at(t),
        }
    }

    /// Law of one choice for all lanes of step `t`: writes the control network's part to `head`
    /// and the law before bounds to `law`, both `[m]`.
    #[inline(always)]
    pub fn law<T: Real>(
        &self,
        parameters: &[T],
        tape: &Tape<T>,
        t: usize,
        choice: usize,
        head: &mut [Lanes<T>],
        law: &mut [Lanes<T>],
    ) {
        law.fill(Lanes::default());
        let (gain, offset) = self.gain(choice);
        if !gain.is_empty() {
            let zero = [T::default(); 256];
            let bias = if offset.is_empty() {
                &zero[..law.len()]
            } else {
                &parameters[offset]
            };
            dense::forward(&parameters[gain], bias, tape.input.at(t), law);
        }
        if let Some((weights, bias)) = self.head(choice) {
            let input = self.head_input(tape, t);
            dense::forward(&parameters[weights], &parameters[bias], input, head);
            let scale = self.head_scale(tape, t);
            for (u, &y) in law.iter_mut().zip(head.iter()) {
                *u = y.mul_add(scale, *u);
            }
        }
    }

    /// Whether all choices have the same control law, so that it need not be computed by choice.
    #[inline(always)]
    pub(super) fn one_law(&self) -> bool {
        self.shape.heads() == 1 && !self.shape.gains && !self.shape.gain_offsets()
    }

    /// |xi| with unit-norm input, else 1.
    #[inline(always)]
    pub(super) fn head_scale<T: Real>(&self, tape: &Tape<T>, t: usize) -> Lanes<T> {
        match self.shape.input {
            InputKind::UnitNorm => tape.norm.at(t)[0],
            InputKind::Affine => splat(T::from_f64(1.0)),
        }
    }

    /// Law of the choices in `tape.choice[t]`: fills head, law and applied control.
    #[inline(always)]
    pub fn act<T: Real>(
        &self,
        parameters: &[T],
        tape: &mut Tape<T>,
        t: usize,
        scratch: &mut LawScratch<T>,
    ) {
        let choices = tape.choice[t];
        for choice in 0..self.shape.choices() {
            let mask = if self.one_law() {
                splat(T::from_f64(1.0))
            } else if let Some(mask) = mask::<T>(&choices, choice) {
                mask
            } else {
                continue;
            };
            self.law(
                parameters,
                tape,
                t,
                choice,
                &mut scratch.head,
                &mut scratch.law,
            );
            for (old, &new) in tape.head.at_mut(t).iter_mut().zip(&scratch.head) {
                *old = blend(mask, new, *old);
            }
            for (old, &new) in tape.law.at_mut(t).iter_mut().zip(&scratch.law) {
                *old = blend(mask, new, *old);
            }
            if self.one_law() {
                break;
            }
        }
        let applied = tape.applied.at_mut(t);
        applied.copy_from_slice(tape.law.at(t));
        self.constrain_applied(&mut tape.applied, &choices, t);
    }

    /// Applies the control bounds in place; does nothing where there are none.
    #[inline(always)]
    pub fn bound<T: Real>(&self, control: &mut [Lanes<T>]) {
        if let Some((lower, upper)) = &self.shape.bounds {
            for (i, u) in control.iter_mut().enumerate() {
                *u = Scalar::clamp(*u, T::from_f64(lower[i]), T::from_f64(upper[i]));
            }
        }
    }
}

/// Working memory of [`Model::act`].
#[derive(Clone, Debug)]
pub struct LawScratch<T> {
    /// Control network output `[m]`.
    pub head: Vec<Lanes<T>>,
    /// Law before bounds `[m]`.
    pub law: Vec<Lanes<T>>,
}

impl<T: Real> LawScratch<T> {
    /// Working memory for `model`.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let m = model.shape.control;
        Self {
            head: vec![Lanes::default(); m],
            law: vec![Lanes::default(); m],
        }
    }
}

/// Replaces logits by probabilities, lane by lane, in a fixed order.
#[inline(always)]
pub fn softmax<T: Real>(logits: &mut [Lanes<T>]) {
    let mut top = logits[0];
    for &logit in &logits[1..] {
        top = top.zip(logit, |a, b| if b > a { b } else { a });
    }
    let mut sum = Lanes::default();
    for logit in logits.iter_mut() {
        *logit = (*logit - top).map(T::exp);
        sum = sum + *logit;
    }
    let inverse = sum.map(|s| T::from_f64(1.0) / s);
    for logit in logits {
        *logit = *logit * inverse;
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
