//! What a rollout remembers for its reverse sweep: sixteen trajectories, step by step.

use std::ops::Range;

use policy_format::ModeHistory;

use crate::numeric::dense::Steps;
use crate::numeric::{LANES, Lanes, Real, Stream};
use crate::plant::Disturbance;
use crate::policy::Model;

/// A vector of lanes per step, stored contiguously.
#[derive(Clone, Debug)]
pub struct Track<T> {
    data: Vec<Lanes<T>>,
    width: usize,
}

impl<T: Real> Track<T> {
    /// Zeros: `steps` vectors of `width` lanes.
    #[must_use]
    pub fn new(steps: usize, width: usize) -> Self {
        Self {
            data: vec![Lanes::default(); steps * width],
            width,
        }
    }

    /// The vector of step `t`. Panics beyond the number of steps.
    #[inline(always)]
    #[must_use]
    pub fn at(&self, t: usize) -> &[Lanes<T>] {
        &self.data[t * self.width..(t + 1) * self.width]
    }

    /// The vector of step `t`, to be written. Panics beyond the number of steps.
    #[inline(always)]
    pub fn at_mut(&mut self, t: usize) -> &mut [Lanes<T>] {
        &mut self.data[t * self.width..(t + 1) * self.width]
    }

    /// Steps `t` (to be read) and `t + 1` (to be written).
    #[inline(always)]
    pub fn pair(&mut self, t: usize) -> (&[Lanes<T>], &mut [Lanes<T>]) {
        let (before, after) = self.data.split_at_mut((t + 1) * self.width);
        (&before[t * self.width..], &mut after[..self.width])
    }

    /// All vectors one behind the other, and the width of one.
    #[inline(always)]
    pub fn raw_mut(&mut self) -> (&mut [Lanes<T>], usize) {
        (&mut self.data, self.width)
    }

    /// A part of every step's vector.
    #[inline(always)]
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Steps<'_, T> {
        Steps {
            data: &self.data,
            stride: self.width,
            offset: range.start,
            len: range.end - range.start,
        }
    }

    /// Every step's whole vector.
    #[inline(always)]
    #[must_use]
    pub fn all(&self) -> Steps<'_, T> {
        self.part(0..self.width)
    }
}

/// Sampled choices of one step, one per lane.
pub type Choices = [u16; LANES];

/// 1 in the lanes whose choice is `choice`, else 0; `None` if there is no such lane.
#[inline(always)]
#[must_use]
pub fn mask<T: Real>(choices: &Choices, choice: usize) -> Option<Lanes<T>> {
    let mut mask = Lanes::default();
    let mut any = false;
    for lane in 0..LANES {
        if usize::from(choices[lane]) == choice {
            mask.0[lane] = T::from_f64(1.0);
            any = true;
        }
    }
    any.then_some(mask)
}

/// `new` where `mask` is 1, else `old`.
#[inline(always)]
#[must_use]
pub fn blend<T: Real>(mask: Lanes<T>, new: Lanes<T>, old: Lanes<T>) -> Lanes<T> {
    let mut out = old;
    for lane in 0..LANES {
        if mask.0[lane] > T::default() {
            out.0[lane] = new.0[lane];
        }
    }
    out
}

/// Everything one rollout of [`LANES`] trajectories leaves behind.
///
/// Sizes: n states, m controls, L logits (the number of choices where the selector has one factor), K monomials, `steps` = horizon; widths in brackets.
#[derive(Clone, Debug)]
pub struct Tape<T> {
    /// States `[n]`, one more than steps.
    pub state: Track<T>,
    /// Noise that the plant is given `[noise]`.
    pub noise: Track<T>,
    /// Uniform numbers in [0, 1) that draw the choices, one per factor.
    pub uniform: Track<T>,
    /// Shifted and scaled input xi `[n]`.
    pub input: Track<T>,
    /// Selector input z `[n]`: xi, or xi / |xi|.
    pub direction: Track<T>,
    /// |xi| and its inverse `[2]` (1 and 1 for affine input; the inverse of 0 is 0).
    pub norm: Track<T>,
    /// Products z_i z_k, i <= k `[K]`.
    pub monomials: Track<T>,
    /// Activations of the selector network.
    pub selector: Track<T>,
    /// Selector logits `[L]`, factor by factor.
    pub logit: Track<T>,
    /// Selector probabilities `[L]`; those of a factor sum to 1.
    pub probability: Track<T>,
    /// Activations of the control network's hidden layers.
    pub control: Track<T>,
    /// Output of the control network for the sampled choice, before it is scaled by |xi| `[m]`.
    pub head: Track<T>,
    /// Control before bounds `[m]`.
    pub law: Track<T>,
    /// Control as applied `[m]`.
    pub applied: Track<T>,
    /// Sizes of the selector's factors.
    pub factors: Vec<usize>,
    /// Sampled choice per lane.
    pub choice: Vec<Choices>,
    /// Modes up to each step, per lane; empty without mode rules.
    pub history: Vec<[ModeHistory; LANES]>,
    /// Stage cost `[1]`.
    pub cost: Track<T>,
    /// One-step look-ahead values Qhat(s, c) `[C]`; filled where the algorithm asks for them.
    pub look_ahead: Track<T>,
    /// Critic value of the successor state `[1]`; filled with the look-ahead.
    pub successor_value: Track<T>,
    /// Loss derivative of the logits `[C]`.
    pub d_logits: Track<T>,
    /// Deltas of the selector network.
    pub d_selector: Track<T>,
    /// Loss derivative of the selector input, through the selector alone `[n]`.
    pub d_direction: Track<T>,
    /// Deltas of the control network's hidden layers.
    pub d_control: Track<T>,
    /// Loss derivative of the control network's output for the sampled choice `[m]`.
    pub d_head: Track<T>,
    /// Loss derivative of the law's output before bounds `[m]`.
    pub d_law: Track<T>,
    /// Coordinates at the state clamp, over all steps and lanes.
    pub clamped: u32,
}

impl<T: Real> Tape<T> {
    /// An empty tape for `steps` steps of `model` on a plant with `noise` noise components.
    #[must_use]
    pub fn new(model: &Model, steps: usize, noise: usize) -> Self {
        let shape = model.shape();
        let (n, m, logits) = (shape.state, shape.control, shape.logits());
        let track = |width| Track::new(steps, width);
        Self {
            state: Track::new(steps + 1, n),
            noise: track(noise),
            uniform: track(shape.factors.len()),
            input: track(n),
            direction: track(n),
            norm: track(2),
            monomials: track(shape.monomials()),
            selector: track(model.selector_activations()),
            logit: track(logits),
            probability: track(logits),
            control: track(model.control_activations()),
            head: track(m),
            law: track(m),
            applied: track(m),
            factors: shape.factors.clone(),
            choice: vec![[0; LANES]; steps],
            history: match shape.constraints.modes {
                Some(_) => vec![[ModeHistory::start(); LANES]; steps],
                None => Vec::new(),
            },
            cost: track(1),
            look_ahead: track(logits),
            successor_value: track(1),
            d_logits: track(logits),
            d_selector: track(model.selector_activations()),
            d_direction: track(n),
            d_control: track(model.control_activations()),
            d_head: track(m),
            d_law: track(m),
            clamped: 0,
        }
    }

    /// Draws the noise of every step of one lane, steps in order, from `stream`.
    pub fn draw_noise(&mut self, disturbance: &Disturbance, stream: &mut Stream, lane: usize) {
        if disturbance.is_empty() {
            return;
        }
        let mut drawn = vec![0.0; disturbance.len()];
        for t in 0..self.steps() {
            disturbance.draw(stream, &mut drawn);
            for (w, &value) in self.noise.at_mut(t).iter_mut().zip(&drawn) {
                w.0[lane] = T::from_f64(value);
            }
        }
    }

    /// The range of the logits of factor `factor`, and each lane's index in it under `choices`.
    #[inline(always)]
    #[must_use]
    pub fn part(&self, choices: &Choices, factor: usize) -> (Range<usize>, Choices) {
        let size = self.factors[factor];
        let start: usize = self.factors[..factor].iter().sum();
        if self.factors.len() == 1 {
            return (start..start + size, *choices);
        }
        let stride: usize = self.factors[factor + 1..].iter().product();
        let part = choices.map(|choice| (usize::from(choice) / stride % size) as u16);
        (start..start + size, part)
    }

    /// Number of steps.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.choice.len()
    }
}
