//! A tanh network over a flat parameter vector, with its adjoint.

use std::ops::Range;

use rayon::prelude::*;

use crate::numeric::dense::{self, Source, Steps, Target};
use crate::numeric::{Lanes, Real};
use crate::policy::Track;

/// One dense layer's place in the parameter vector.
#[derive(Clone, Debug, PartialEq)]
struct Layer {
    inputs: usize,
    outputs: usize,
    /// Weights `[outputs x inputs]`, row-major.
    weights: Range<usize>,
    /// Bias `[outputs]`.
    bias: Range<usize>,
    /// First lane of this layer's output in the activations.
    offset: usize,
}

impl Layer {
    fn is_wide(&self) -> bool {
        self.weights.len() >= WIDE
    }

    /// Deltas and inputs of this layer, which is the one at `index`.
    #[inline(always)]
    fn samples<'a, T: Real>(
        &self,
        index: usize,
        pass: Pass<'a, T>,
    ) -> (Steps<'a, T>, Steps<'a, T>) {
        let input = if index == 0 {
            pass.x
        } else {
            pass.activations
                .part(self.offset - self.inputs..self.offset)
        };
        let delta = pass.deltas.part(self.offset..self.offset + self.outputs);
        (delta, input)
    }
}

/// Weights from which a layer is *wide*: a matrix of them for each shard would not stay in a core's cache.
const WIDE: usize = 1 << 15;

/// Which layers' gradients are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// All weights and biases.
    All,
    /// All but the weights of wide layers, which are left to [`Network::wide_gradient`].
    Narrow,
}

/// What a network's gradient is made of: input, activations and deltas of sixteen trajectories.
#[derive(Clone, Copy)]
pub struct Pass<'a, T> {
    /// Input at every step.
    pub x: Steps<'a, T>,
    /// Activations that [`Network::forward_steps`] has filled.
    pub activations: &'a Track<T>,
    /// Deltas that [`Network::backward_steps`] has filled.
    pub deltas: &'a Track<T>,
}

/// What follows the last layer of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nothing.
    Linear,
    /// tanh, as after every hidden layer.
    Tanh,
}

/// A network of dense layers with tanh between them.
///
/// *Activations* are the outputs of all layers side by side (after tanh where there is one), in order;
/// *deltas* have the same shape and hold the loss derivative before each tanh.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    layers: Vec<Layer>,
    activations: usize,
    output: Output,
}

impl Network {
    /// Lays a network out in a parameter vector from `start` on: one layer per entry of `widths`,
    /// which must not be empty.
    #[must_use]
    pub fn new(start: usize, inputs: usize, widths: &[usize], output: Output) -> Self {
        let mut layers = Vec::new();
        let (mut at, mut offset, mut width) = (start, 0, inputs);
        for &next in widths {
            let weights = at..at + width * next;
            let bias = weights.end..weights.end + next;
            at = bias.end;
            layers.push(Layer {
                inputs: width,
                outputs: next,
                weights,
                bias,
                offset,
            });
            offset += next;
            width = next;
        }
        Self {
            layers,
            activations: offset,
            output,
        }
    }

    /// First parameter behind the network.
    #[must_use]
    pub fn end(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.bias.end)
    }

    /// Lanes of activations per step.
    #[must_use]
    pub fn activations(&self) -> usize {
        self.activations
    }

    /// Where the output layer stands inside the activations.
    #[must_use]
    pub fn output(&self) -> Range<usize> {
        let last = self.last();
        last.offset..self.activations
    }

    /// Per layer: inputs, outputs, weights `[outputs x inputs]` and bias ranges.
    pub fn layers(&self) -> impl Iterator<Item = (usize, usize, Range<usize>, Range<usize>)> + '_ {
        self.layers.iter().map(|layer| {
            (
                layer.inputs,
                layer.outputs,
                layer.weights.clone(),
                layer.bias.clone(),
            )
        })
    }

    fn last(&self) -> &Layer {
        // `widths` is not empty, so there is a last layer.
        &self.layers[self.layers.len() - 1]
    }

    /// Applies the network to `x`, filling `activations`.
    #[inline(always)]
    pub fn forward<T: Real>(&self, parameters: &[T], x: &[Lanes<T>], activations: &mut [Lanes<T>]) {
        let x = Steps {
            data: x,
            stride: 0,
            offset: 0,
            len: x.len(),
        };
        self.forward_in(parameters, x, activations, 0, 0..1);
    }

    /// [`Network::forward`] at every step of `steps`: faster, since a loaded weight serves several steps.
    #[inline(always)]
    pub fn forward_steps<T: Real>(
        &self,
        parameters: &[T],
        x: Steps<'_, T>,
        activations: &mut Track<T>,
        steps: Range<usize>,
    ) {
        let (data, stride) = activations.raw_mut();
        self.forward_in(parameters, x, data, stride, steps);
    }

    #[inline(always)]
    fn forward_in<T: Real>(
        &self,
        parameters: &[T],
        x: Steps<'_, T>,
        data: &mut [Lanes<T>],
        stride: usize,
        steps: Range<usize>,
    ) {
        for (index, layer) in self.layers.iter().enumerate() {
            let source = if index == 0 {
                Source::Apart(x)
            } else {
                Source::Beside(layer.offset - layer.inputs)
            };
            let target = Target {
                data: &mut *data,
                stride,
                offset: layer.offset,
            };
            dense::forward_steps(
                &parameters[layer.weights.clone()],
                &parameters[layer.bias.clone()],
                source,
                layer.inputs,
                target,
                steps.clone(),
                index + 1 < self.layers.len() || self.output == Output::Tanh,
            );
        }
    }

    /// Adjoint of [`Network::forward`]: on entry the output part of `deltas` holds the loss
    /// derivative of the output; on return all of `deltas` is filled. With `d_x` the derivative of the
    /// input is added there.
    #[inline(always)]
    pub fn backward<T: Real>(
        &self,
        parameters: &[T],
        activations: &[Lanes<T>],
        deltas: &mut [Lanes<T>],
        d_x: Option<&mut [Lanes<T>]>,
    ) {
        let activations = Steps {
            data: activations,
            stride: 0,
            offset: 0,
            len: self.activations,
        };
        let d_x = d_x.map(|d_x| (d_x, 0));
        self.backward_in(parameters, activations, deltas, 0, d_x, 0..1);
    }

    /// [`Network::backward`] at every step of `steps`: faster, since a loaded weight serves several steps.
    #[inline(always)]
    pub fn backward_steps<T: Real>(
        &self,
        parameters: &[T],
        activations: &Track<T>,
        deltas: &mut Track<T>,
        d_x: Option<&mut Track<T>>,
        steps: Range<usize>,
    ) {
        let (data, stride) = deltas.raw_mut();
        let d_x = d_x.map(Track::raw_mut);
        self.backward_in(parameters, activations.all(), data, stride, d_x, steps);
    }

    #[inline(always)]
    fn backward_in<T: Real>(
        &self,
        parameters: &[T],
        activations: Steps<'_, T>,
        data: &mut [Lanes<T>],
        stride: usize,
        d_x: Option<(&mut [Lanes<T>], usize)>,
        steps: Range<usize>,
    ) {
        if self.output == Output::Tanh {
            for t in steps.clone() {
                let output = self.output();
                let deltas = &mut data[t * stride..][output.clone()];
                for (delta, &y) in deltas.iter_mut().zip(&activations.at(t)[output]) {
                    *delta = tanh_adjoint(*delta, y);
                }
            }
        }
        for layer in self.layers.iter().skip(1).rev() {
            let below = layer.offset - layer.inputs..layer.offset;
            for t in steps.clone() {
                data[t * stride..][below.clone()].fill(Lanes::default());
            }
            dense::backward_input_steps(
                &parameters[layer.weights.clone()],
                Source::Beside(layer.offset),
                layer.outputs,
                Target {
                    data: &mut *data,
                    stride,
                    offset: below.start,
                },
                layer.inputs,
                steps.clone(),
            );
            for t in steps.clone() {
                let deltas = &mut data[t * stride..][below.clone()];
                for (delta, &y) in deltas.iter_mut().zip(&activations.at(t)[below.clone()]) {
                    *delta = tanh_adjoint(*delta, y);
                }
            }
        }
        if let Some((d_x, d_x_stride)) = d_x {
            let first = &self.layers[0];
            let deltas = Steps {
                data: &*data,
                stride,
                offset: 0,
                len: first.outputs,
            };
            let target = Target {
                data: d_x,
                stride: d_x_stride,
                offset: 0,
            };
            let weights = &parameters[first.weights.clone()];
            let source = Source::Apart(deltas);
            dense::backward_input_steps(
                weights,
                source,
                first.outputs,
                target,
                first.inputs,
                steps,
            );
        }
    }

    /// Adjoint of a network that is one linear layer: adds the derivative of the input to `d_x`.
    #[inline(always)]
    pub fn backward_linear<T: Real>(
        &self,
        parameters: &[T],
        d_y: &[Lanes<T>],
        d_x: &mut [Lanes<T>],
    ) {
        dense::backward_input(&parameters[self.last().weights.clone()], d_y, d_x);
    }

    /// Adds the parameter gradient over `steps` to `gradient` (a whole parameter vector).
    #[inline(always)]
    pub fn gradient<T: Real>(
        &self,
        steps: Range<usize>,
        pass: Pass<'_, T>,
        layers: Layers,
        gradient: &mut [T],
    ) {
        for (index, layer) in self.layers.iter().enumerate() {
            let (delta, input) = layer.samples(index, pass);
            // Weights and bias are neighbours: one split gives both mutable slices.
            let (dw, db) =
                gradient[layer.weights.start..layer.bias.end].split_at_mut(layer.weights.len());
            if layers == Layers::Narrow && layer.is_wide() {
                dense::bias_gradient(steps.clone(), delta, db);
            } else {
                dense::gradient(steps.clone(), delta, input, dw, Some(db));
            }
        }
    }

    /// Where the weights of wide layers stand in the parameter vector.
    pub fn wide(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let wide = self.layers.iter().filter(|layer| layer.is_wide());
        wide.map(|layer| layer.weights.clone())
    }

    /// Overwrites the weights of wide layers in `gradient` (a whole parameter vector) with the gradients over `steps` of all
    /// `passes`, summed in their order: the bits of [`Network::gradient`] into zeros for each pass and a sum of these. Uses the present
    /// thread pool, whose size changes no bit.
    pub fn wide_gradient<T: Real>(
        &self,
        steps: Range<usize>,
        passes: &[Pass<'_, T>],
        gradient: &mut [T],
    ) {
        for (index, layer) in self.layers.iter().enumerate() {
            if !layer.is_wide() {
                continue;
            }
            let samples: Vec<_> = passes
                .iter()
                .map(|&pass| layer.samples(index, pass))
                .collect();
            // A thread puts all inputs side by side for its own rows: as few blocks of rows as there are threads.
            let rows = layer.outputs.div_ceil(rayon::current_num_threads());
            gradient[layer.weights.clone()]
                .par_chunks_mut(rows * layer.inputs)
                .enumerate()
                .for_each(|(block, dw)| {
                    let from = block * rows;
                    let rows = from..from + dw.len() / layer.inputs;
                    dense::gradient_rows(steps.clone(), &samples, rows, dw);
                });
        }
    }
}

/// d (1 - y^2): the adjoint of y = tanh(v).
#[inline(always)]
fn tanh_adjoint<T: Real>(d: Lanes<T>, y: Lanes<T>) -> Lanes<T> {
    d.zip(y, |d, y| d * (-y).mul_add(y, T::from_f64(1.0)))
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
