//! The critic: an estimate of the cost-to-go from a state, used in training only.

use crate::numeric::{LANES, Lanes, Real};
use crate::policy::network::{Layers, Network, Output, Pass};
use crate::policy::tape::Choices;
use crate::policy::{InputKind, PolicyShape, Tape, Track, input};
use crate::train::settings::CriticSettings;

/// Cost-to-go of a state with direction z and monomials q(z).
///
/// With unit-norm input V = |xi|^2 (min_k p_k . q + net(q)): homogeneous of degree two and even by
/// construction, as the optimal value of an unconstrained linear-quadratic switched plant is, which is a least of
/// quadratic forms. With affine input V = scale (min_k p_k . q + r . z + net(z)), scale a typical value.
#[derive(Clone, Debug)]
pub struct Critic {
    /// One output per form p_k.
    quadratic: Network,
    linear: Option<Network>,
    network: Option<Network>,
    homogeneous: bool,
    /// Whether there are quadratic forms; without them their one output is 0 and nothing is computed.
    has_forms: bool,
    /// Unit of values where they are not relative to |xi|^2.
    scale: f64,
}

/// Working memory of [`Critic::value_at`].
#[derive(Clone, Debug)]
pub struct CriticScratch<T> {
    input: Vec<Lanes<T>>,
    direction: Vec<Lanes<T>>,
    monomials: Vec<Lanes<T>>,
    activations: Vec<Lanes<T>>,
}

impl Critic {
    /// A critic for policies of `shape`.
    #[must_use]
    pub fn new(shape: &PolicyShape, settings: &CriticSettings) -> Self {
        let CriticSettings { forms, hidden } = settings;
        let homogeneous = shape.input == InputKind::UnitNorm;
        let quadratic = Network::new(0, shape.monomials(), &[(*forms).max(1)], Output::Linear);
        let linear = (!homogeneous)
            .then(|| Network::new(quadratic.end(), shape.state, &[1], Output::Linear));
        let network = (!hidden.is_empty()).then(|| {
            let widths: Vec<usize> = hidden.iter().copied().chain([1]).collect();
            let start = linear.as_ref().unwrap_or(&quadratic).end();
            let inputs = if homogeneous {
                shape.monomials()
            } else {
                shape.state
            };
            Network::new(start, inputs, &widths, Output::Linear)
        });
        Self {
            quadratic,
            linear,
            network,
            homogeneous,
            has_forms: shape.has_monomials(),
            scale: if homogeneous { 1.0 } else { shape.value_scale },
        }
    }

    /// Length of the critic's parameter vector.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.network
            .as_ref()
            .or(self.linear.as_ref())
            .unwrap_or(&self.quadratic)
            .end()
    }

    /// Number of quadratic forms, of which the least counts.
    #[must_use]
    pub fn forms(&self) -> usize {
        self.quadratic.activations()
    }

    /// Where the coefficients of form `k` stand, in the order of the policy's monomials.
    #[must_use]
    pub fn form(&self, k: usize) -> std::ops::Range<usize> {
        let inputs = self
            .quadratic
            .layers()
            .next()
            .map_or(0, |(inputs, ..)| inputs);
        k * inputs..(k + 1) * inputs
    }

    /// Every part of the critic: quadratic forms, linear part, network.
    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        [
            Some(&self.quadratic),
            self.linear.as_ref(),
            self.network.as_ref(),
        ]
        .into_iter()
        .flatten()
    }

    /// The network beside the quadratic, where there is one.
    #[must_use]
    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// Whether V is |xi|^2 times a function of the direction.
    #[must_use]
    pub fn homogeneous(&self) -> bool {
        self.homogeneous
    }

    /// Lanes of activations: of the forms, then of the network.
    #[must_use]
    pub fn activations(&self) -> usize {
        self.forms() + self.network.as_ref().map_or(0, Network::activations)
    }

    /// Working memory for [`Critic::value_at`].
    #[must_use]
    pub fn scratch<T: Real>(&self, shape: &PolicyShape) -> CriticScratch<T> {
        let zeros = |len| vec![Lanes::default(); len];
        CriticScratch {
            input: zeros(shape.state),
            direction: zeros(shape.state),
            monomials: zeros(shape.monomials()),
            activations: zeros(self.activations()),
        }
    }

    /// V / |xi|^2 (homogeneous) or V, from direction and monomials; fills `activations`.
    #[inline(always)]
    pub fn relative_value<T: Real>(
        &self,
        parameters: &[T],
        direction: &[Lanes<T>],
        monomials: &[Lanes<T>],
        activations: &mut [Lanes<T>],
    ) -> Lanes<T> {
        let (forms, activations) = activations.split_at_mut(self.forms());
        if self.has_forms {
            self.quadratic.forward(parameters, monomials, forms);
        } else {
            forms.fill(Lanes::default());
        }
        let mut value = [least(forms).0];
        if let Some(linear) = &self.linear {
            let mut part = [Lanes::default()];
            linear.forward(parameters, direction, &mut part);
            value[0] = value[0] + part[0];
        }
        if let Some(network) = &self.network {
            let features = if self.homogeneous {
                monomials
            } else {
                direction
            };
            network.forward(parameters, features, activations);
            value[0] = value[0] + activations[network.output().start];
        }
        value[0]
    }

    /// V of arbitrary states `[n]`.
    #[inline(always)]
    pub fn value_at<T: Real>(
        &self,
        shape: &PolicyShape,
        parameters: &[T],
        state: &[Lanes<T>],
        scratch: &mut CriticScratch<T>,
    ) -> Lanes<T> {
        let (norm, _) = input::observe(
            shape,
            state,
            &mut scratch.input,
            &mut scratch.direction,
            &mut scratch.monomials,
        );
        let value = self.relative_value(
            parameters,
            &scratch.direction,
            &scratch.monomials,
            &mut scratch.activations,
        );
        self.absolute(value, norm)
    }

    /// V from V / |xi|^2 where the critic is homogeneous.
    #[inline(always)]
    pub fn absolute<T: Real>(&self, value: Lanes<T>, norm: Lanes<T>) -> Lanes<T> {
        if self.homogeneous {
            value * (norm * norm)
        } else {
            value * T::from_f64(self.scale)
        }
    }

    /// Unit of values where they are not relative to |xi|^2, else 1.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// [`Critic::relative_value`] at every step of `steps`, with the same bits, to `memory.error`.
    #[inline(always)]
    fn relative_values<T: Real>(
        &self,
        parameters: &[T],
        tape: &Tape<T>,
        steps: std::ops::Range<usize>,
        memory: &mut CriticMemory<T>,
    ) {
        let (monomials, direction) = (tape.monomials.all(), tape.direction.all());
        if self.has_forms {
            self.quadratic
                .forward_steps(parameters, monomials, &mut memory.forms, steps.clone());
        } else {
            // Errors of the last regression stand there.
            for t in steps.clone() {
                memory.forms.at_mut(t).fill(Lanes::default());
            }
        }
        for t in steps.clone() {
            let (value, which) = least(memory.forms.at(t));
            memory.error.at_mut(t)[0] = value;
            memory.which[t] = which;
        }
        if let Some(linear) = &self.linear {
            linear.forward_steps(parameters, direction, &mut memory.part, steps.clone());
            for t in steps.clone() {
                let value = &mut memory.error.at_mut(t)[0];
                *value = *value + memory.part.at(t)[0];
            }
        }
        if let Some(network) = &self.network {
            let features = if self.homogeneous {
                monomials
            } else {
                direction
            };
            network.forward_steps(parameters, features, &mut memory.activations, steps.clone());
            for t in steps {
                let value = &mut memory.error.at_mut(t)[0];
                *value = *value + memory.activations.at(t)[network.output().start];
            }
        }
    }

    /// Adds the gradient of `sum_t sum_lane (v - target)^2 / 2` over `steps` to `gradient`, and
    /// returns that sum. `target` `[1]` is relative to |xi|^2 where the critic is homogeneous.
    #[inline(always)]
    pub fn gradient<T: Real>(
        &self,
        parameters: &[T],
        tape: &Tape<T>,
        steps: std::ops::Range<usize>,
        memory: &mut CriticMemory<T>,
        layers: Layers,
        gradient: &mut [T],
    ) -> T {
        self.relative_values(parameters, tape, steps.clone(), memory);
        let mut loss = Lanes::default();
        for t in steps.clone() {
            // The values stand where the errors go.
            let value = memory.error.at(t)[0];
            let error = (value - memory.target.at(t)[0]) * memory.weight.at(t)[0];
            loss = error.mul_add(error, loss);
            memory.error.at_mut(t)[0] = error;
            // The derivative goes to the form that is the least, lane by lane.
            for (k, form) in memory.forms.at_mut(t).iter_mut().enumerate() {
                for lane in 0..LANES {
                    let own = usize::from(memory.which[t][lane]) == k;
                    form.0[lane] = if own { error.0[lane] } else { T::default() };
                }
            }
            if let Some(network) = &self.network {
                memory.deltas.at_mut(t)[network.output().start] = error;
            }
        }
        if let Some(network) = &self.network {
            let (activations, deltas) = (&memory.activations, &mut memory.deltas);
            network.backward_steps(parameters, activations, deltas, None, steps.clone());
        }
        let monomials = tape.monomials.all();
        if self.has_forms {
            // A linear layer's activations are not read.
            let pass = Pass {
                x: monomials,
                activations: &memory.forms,
                deltas: &memory.forms,
            };
            self.quadratic
                .gradient(steps.clone(), pass, Layers::All, gradient);
        }
        if let Some(linear) = &self.linear {
            let pass = Pass {
                x: tape.direction.all(),
                activations: &memory.error,
                deltas: &memory.error,
            };
            linear.gradient(steps.clone(), pass, Layers::All, gradient);
        }
        if let Some(network) = &self.network {
            network.gradient(steps, self.pass(tape, memory), layers, gradient);
        }
        loss.sum() * T::from_f64(0.5)
    }

    /// What the network's gradient is made of after [`Critic::gradient`].
    #[inline(always)]
    fn pass<'a, T: Real>(&self, tape: &'a Tape<T>, memory: &'a CriticMemory<T>) -> Pass<'a, T> {
        Pass {
            x: if self.homogeneous {
                tape.monomials.all()
            } else {
                tape.direction.all()
            },
            activations: &memory.activations,
            deltas: &memory.deltas,
        }
    }

    /// Where weights of wide layers stand in the parameter vector.
    #[must_use]
    pub fn wide(&self) -> Vec<std::ops::Range<usize>> {
        self.network.iter().flat_map(Network::wide).collect()
    }

    /// Overwrites what [`Critic::wide`] names in `gradient` with what [`Critic::gradient`] with [`Layers::Narrow`] left over, of
    /// all `shards` (tape and memory), summed in their order.
    pub fn wide_gradient<T: Real>(
        &self,
        shards: &[(&Tape<T>, &CriticMemory<T>)],
        steps: std::ops::Range<usize>,
        gradient: &mut [T],
    ) {
        if let Some(network) = &self.network {
            let passes: Vec<_> = shards
                .iter()
                .map(|(tape, memory)| self.pass(tape, memory))
                .collect();
            network.wide_gradient(steps, &passes, gradient);
        }
    }
}

/// The least of `forms` and which one it is, lane by lane; the first where several are.
#[inline(always)]
fn least<T: Real>(forms: &[Lanes<T>]) -> (Lanes<T>, Choices) {
    let (mut value, mut which) = (forms[0], [0; LANES]);
    for (k, form) in forms.iter().enumerate().skip(1) {
        for lane in 0..LANES {
            if form.0[lane] < value.0[lane] {
                value.0[lane] = form.0[lane];
                which[lane] = k as u16;
            }
        }
    }
    (value, which)
}

/// Per-step memory of the critic's regression on one tape.
#[derive(Clone, Debug)]
pub struct CriticMemory<T> {
    /// Regression targets `[1]`.
    pub target: Track<T>,
    /// Weight of each sample's error `[1]`.
    pub weight: Track<T>,
    activations: Track<T>,
    deltas: Track<T>,
    error: Track<T>,
    part: Track<T>,
    forms: Track<T>,
    which: Vec<Choices>,
}

impl<T: Real> CriticMemory<T> {
    /// Memory for `steps` steps of `critic`.
    #[must_use]
    pub fn new(critic: &Critic, steps: usize) -> Self {
        let network = critic.network.as_ref().map_or(0, Network::activations);
        Self {
            target: Track::new(steps, 1),
            weight: Track::new(steps, 1),
            activations: Track::new(steps, network),
            deltas: Track::new(steps, network),
            error: Track::new(steps, 1),
            part: Track::new(steps, 1),
            forms: Track::new(steps, critic.forms()),
            which: vec![[0; LANES]; steps],
        }
    }
}

#[cfg(test)]
#[path = "critic_tests.rs"]
mod tests;
