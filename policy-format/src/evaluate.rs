//! What a policy computes: the meaning of every policy file, bit for bit.

use core::fmt;

use crate::arithmetic::{all_finite, normalise};
use crate::block::Block;
use crate::kernels::{Kernels, Portable};
use crate::meta::InputKind;
use crate::policy::{Bounds, Network, Policy};

/// What the selector decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Choice, below [`Policy::choices`].
    pub choice: u16,
    /// Plant mode of the choice, below [`Policy::modes`].
    pub mode: u16,
}

/// Why a policy gave no decision. The fallback law acts then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecideError {
    /// The state, or the state shifted, scaled or its norm, is not finite.
    NonFiniteInput,
    /// A logit or a control value is not finite.
    NonFiniteValue,
    /// A slice does not have the length the policy asks for.
    WrongLength,
}

impl fmt::Display for DecideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NonFiniteInput => {
                "the state is not finite, or not in range once shifted and scaled"
            }
            Self::NonFiniteValue => "a logit or control value is not finite",
            Self::WrongLength => "a slice does not have the length the policy asks for",
        })
    }
}

impl core::error::Error for DecideError {}

impl Policy<'_> {
    /// Decides choice and mode and writes the control, as `docs/policy-format.md`, section 3 says.
    ///
    /// `state` holds n floats, `control` exactly m, `scratch` at least [`Policy::scratch_len`] (its content is
    /// overwritten and carries nothing from call to call). Control values are finite and inside the bounds.
    ///
    /// # Errors
    /// [`DecideError`]; `control` is untouched then.
    pub fn decide(
        &self,
        state: &[f32],
        control: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<Decision, DecideError> {
        self.decide_with::<Portable>(state, control, scratch)
    }

    /// As [`Policy::decide`], with the kernels `K`: the same bits, sooner.
    ///
    /// # Errors
    /// As [`Policy::decide`].
    #[inline]
    pub fn decide_with<K: Kernels>(
        &self,
        state: &[f32],
        control: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<Decision, DecideError> {
        self.evaluate::<K>(state, control, scratch, |logits| {
            self.greatest_choice(logits)
        })
    }

    /// As [`Policy::decide`], but the choice is taken from the logits by `pick`: a simulation draws it from the
    /// selector's distribution. `pick` gets the L logits, all finite, and returns a choice below C.
    ///
    /// # Errors
    /// As [`Policy::decide`]; [`DecideError::WrongLength`] also for a choice that is not below C.
    #[inline(always)]
    pub fn decide_by(
        &self,
        state: &[f32],
        control: &mut [f32],
        scratch: &mut [f32],
        pick: impl FnOnce(&[f32]) -> usize,
    ) -> Result<Decision, DecideError> {
        self.evaluate::<Portable>(state, control, scratch, pick)
    }

    #[inline(always)]
    fn evaluate<K: Kernels>(
        &self,
        state: &[f32],
        control: &mut [f32],
        scratch: &mut [f32],
        pick: impl FnOnce(&[f32]) -> usize,
    ) -> Result<Decision, DecideError> {
        use DecideError::{NonFiniteInput, NonFiniteValue, WrongLength};

        let n = self.state_dim();
        let width = self.capacity().buffer_len();
        if state.len() != n || control.len() != self.control_dim() {
            return Err(WrongLength);
        }
        let (xi, rest) = scratch.split_at_mut_checked(n).ok_or(WrongLength)?;
        let (z, rest) = rest.split_at_mut_checked(n).ok_or(WrongLength)?;
        let (first, rest) = rest.split_at_mut_checked(width).ok_or(WrongLength)?;
        let second = rest.get_mut(..width).ok_or(WrongLength)?;

        if !all_finite(state) {
            return Err(NonFiniteInput);
        }
        let inputs = state.iter().zip(self.shift).zip(self.scale);
        for (xi, ((&s, &shift), &scale)) in xi.iter_mut().zip(inputs) {
            *xi = (s - shift) * scale;
        }
        if !all_finite(xi) {
            return Err(NonFiniteInput);
        }
        let (xi, unit_norm) = (&*xi, self.input_kind() == InputKind::UnitNorm);
        let (z, rho) = if unit_norm {
            let rho = normalise(xi, z);
            if !rho.is_finite() {
                return Err(NonFiniteInput);
            }
            (&*z, rho)
        } else {
            (xi, 1.0)
        };

        let choice = pick(self.finite_logits::<K>(z, first, second)?);
        let &mode = self.choice_modes.get(choice).ok_or(WrongLength)?;

        let (u, a) = match &self.control {
            Some(network) => {
                let head = if self.meta.control_heads == 1 {
                    0
                } else {
                    choice
                };
                let head = network.heads.get(head).ok_or(WrongLength)?;
                let (b, spare) = network.run::<K>(head, z, first, second);
                if unit_norm {
                    for b in b.iter_mut() {
                        *b *= rho;
                    }
                }
                (b, Some(spare))
            }
            None => (first, None),
        };
        if let Some(gains) = &self.gains {
            let gain = gains.get(choice).ok_or(WrongLength)?;
            match a {
                Some(a) => {
                    K::dense(&gain, xi, a);
                    for (u, &a) in u.iter_mut().zip(a.iter()) {
                        *u += a;
                    }
                }
                None => K::dense(&gain, xi, u),
            }
        }
        let u = u.get_mut(..control.len()).ok_or(WrongLength)?;
        if !all_finite(u) {
            return Err(NonFiniteValue);
        }
        clamp(u, self.bounds);
        for (control, &u) in control.iter_mut().zip(u.iter()) {
            *control = u;
        }
        Ok(Decision {
            choice: choice as u16,
            mode,
        })
    }

    /// The logits for the network input `z`, all finite; none where C = 1 needs no selector.
    fn finite_logits<'s, K: Kernels>(
        &self,
        z: &[f32],
        first: &'s mut [f32],
        second: &'s mut [f32],
    ) -> Result<&'s [f32], DecideError> {
        let logits = match (&self.scores, &self.selector) {
            (None, None) => return Ok(&[]),
            (Some(scores), None) => {
                K::quadratic(scores, z, first);
                first
            }
            (None, Some(selector)) => {
                let output = selector.heads.get(0).ok_or(DecideError::WrongLength)?;
                selector.run::<K>(output, z, first, second).0
            }
            (Some(scores), Some(selector)) => {
                let output = selector.heads.get(0).ok_or(DecideError::WrongLength)?;
                let (network, score) = selector.run::<K>(output, z, first, second);
                K::quadratic(scores, z, score);
                for (score, &network) in score.iter_mut().zip(network.iter()) {
                    *score += network;
                }
                score
            }
        };
        let logits = logits
            .get(..self.logits())
            .ok_or(DecideError::WrongLength)?;
        if all_finite(logits) {
            Ok(logits)
        } else {
            Err(DecideError::NonFiniteValue)
        }
    }

    /// Per factor the index of the greatest logit, as a mixed-radix number.
    fn greatest_choice(&self, logits: &[f32]) -> usize {
        let mut rest = logits;
        let mut choice: usize = 0;
        for &size in self.factors() {
            let size = usize::from(size);
            let (factor, behind) = rest.split_at_checked(size).unwrap_or((rest, &[]));
            choice = choice.wrapping_mul(size).wrapping_add(greatest(factor));
            rest = behind;
        }
        choice
    }

    /// The fallback law: writes an admissible control for *any* state, also one that is not finite, and
    /// returns the plant mode.
    ///
    /// `state` holds n floats and `control` m. If a length differs, or a state or control value is not finite,
    /// the control is the constant of the file (as many values of it as `control` takes; a control
    /// longer than m is filled up with zeros).
    pub fn fallback(&self, state: &[f32], control: &mut [f32]) -> u16 {
        let law = &self.fallback;
        let fits = state.len() == self.state_dim() && control.len() == self.control_dim();
        if fits && all_finite(state) {
            law.gain.apply_rows(state, control);
            if all_finite(control) {
                clamp(control, self.bounds);
                return law.mode;
            }
        }
        control.fill(0.0);
        for (control, &constant) in control.iter_mut().zip(law.constant) {
            *control = constant;
        }
        law.mode
    }
}

impl Network<'_> {
    /// Runs the hidden layers and `output` on `input`; gives the buffer that holds the result and the other one.
    fn run<'s, K: Kernels>(
        &self,
        output: Block<'_>,
        input: &[f32],
        first: &'s mut [f32],
        second: &'s mut [f32],
    ) -> (&'s mut [f32], &'s mut [f32]) {
        let (mut current, mut spare) = (first, second);
        let mut layers = self.hidden.iter();
        let Some(layer) = layers.next() else {
            K::dense(&output, input, current);
            return (current, spare);
        };
        K::dense_tanh(layer, input, current);
        for layer in layers {
            K::dense_tanh(layer, current, spare);
            core::mem::swap(&mut current, &mut spare);
        }
        K::dense(&output, current, spare);
        (spare, current)
    }
}

/// Index of the greatest value, the lowest one on ties; 0 for an empty slice.
fn greatest(values: &[f32]) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, &value) in values.iter().enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

/// Moves each value onto the bound it lies beyond.
fn clamp(control: &mut [f32], bounds: Option<Bounds<'_>>) {
    let Some(Bounds { lower, upper }) = bounds else {
        return;
    };
    for (u, (&lower, &upper)) in control.iter_mut().zip(lower.iter().zip(upper)) {
        *u = if *u < lower {
            lower
        } else if *u > upper {
            upper
        } else {
            *u
        };
    }
}
