//! What a policy computes: the meaning of every policy file, bit for bit.

use core::fmt;

use crate::arithmetic::normalise;
use crate::constraint::Constraints;
#[cfg(doc)]
use crate::constraint::ModeRules;
use crate::elementwise::{admit, all_finite, bounded, greatest, shift_and_scale};
use crate::meta::InputKind;
use crate::network::halves;
use crate::policy::{Bounds, Policy};
#[cfg(feature = "regions")]
use crate::region::Regions;

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

/// Takes a choice from logits that are all finite.
type Pick<'p> = &'p mut dyn FnMut(&[f32]) -> usize;

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
        self.decide_constrained(state, control, scratch, None)
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
        self.decide_constrained_by(state, control, scratch, None, pick)
    }

    /// As [`Policy::decide`], with the choice that the mode rules allow ([`ModeRules::choose`]), and the control then limited
    /// to within the rate of what `control` held ([`crate::constraint::limit_rate`]). `None`: no constraint.
    ///
    /// # Errors
    /// As [`Policy::decide`]; [`DecideError::WrongLength`] also where the rules allow no choice, or for a rate that does not have m
    /// floats.
    pub fn decide_constrained(
        &self,
        state: &[f32],
        control: &mut [f32],
        scratch: &mut [f32],
        constraints: Option<&Constraints<'_>>,
    ) -> Result<Decision, DecideError> {
        unpacked(self.decide_packed(state, control, scratch, constraints, None))
    }

    /// [`Policy::decide_constrained`] with a choice as [`Policy::decide_by`] takes it: the mode rules are not looked at.
    ///
    /// # Errors
    /// As [`Policy::decide_by`].
    #[inline(always)]
    pub fn decide_constrained_by(
        &self,
        state: &[f32],
        control: &mut [f32],
        scratch: &mut [f32],
        constraints: Option<&Constraints<'_>>,
        pick: impl FnOnce(&[f32]) -> usize,
    ) -> Result<Decision, DecideError> {
        let mut pick = Some(pick);
        let mut once = |logits: &[f32]| pick.take().map_or(usize::MAX, |pick| pick(logits));
        unpacked(self.decide_packed(state, control, scratch, constraints, Some(&mut once)))
    }

    /// One copy in an image, for control step, golden vectors and mode rules; the result goes through two registers.
    #[inline(never)]
    fn decide_packed(
        &self,
        state: &[f32],
        control: &mut [f32],
        scratch: &mut [f32],
        constraints: Option<&Constraints<'_>>,
        pick: Option<Pick<'_>>,
    ) -> u64 {
        let rate = constraints.and_then(|constraints| constraints.rate);
        let take = |logits: &[f32]| match (pick, constraints) {
            (Some(pick), _) => all_finite(logits).then(|| pick(logits)),
            (
                None,
                Some(&Constraints {
                    rules: Some(rules),
                    history,
                    ..
                }),
            ) => all_finite(logits).then(|| {
                let (modes, factors) = (self.choice_modes, self.factors());
                let choice = rules.choose(history, modes, factors, logits);
                choice.unwrap_or(usize::MAX)
            }),
            _ => self.greatest_choice(logits),
        };
        packed(self.evaluate(state, control, scratch, rate, take))
    }

    /// Whether a state `[n]` gets past steps 1 to 3 of the evaluation: finite, finite shifted and scaled, and with unit norm a finite norm. What follows
    /// may still be [`DecideError::NonFiniteValue`]. `false` for another length, or a scratch below [`Policy::scratch_len`].
    #[must_use]
    pub fn accepts(&self, state: &[f32], scratch: &mut [f32]) -> bool {
        let n = self.shift.len();
        let Some(Working { xi, z, .. }) = Working::of(scratch, n, self.buffer_len) else {
            return false;
        };
        state.len() == n && self.input(state, xi, z, &mut 1.0)
    }

    /// Steps 1 to 3: the state shifted and scaled to `xi`, with unit norm its direction to `z` and its norm to `rho`. Whether all of it is finite.
    #[inline(never)]
    fn input(&self, state: &[f32], xi: &mut [f32], z: &mut [f32], rho: &mut f32) -> bool {
        // What is not finite stays so: the scale is positive, shift and scale are finite.
        if !shift_and_scale(state, self.shift, self.scale, xi) {
            return false;
        }
        if self.input_kind() == InputKind::UnitNorm {
            *rho = normalise(xi, z);
        }
        rho.is_finite()
    }

    /// `pick` gives `None` for logits that are not finite.
    #[inline(always)]
    fn evaluate(
        &self,
        state: &[f32],
        control: &mut [f32],
        scratch: &mut [f32],
        rate: Option<&[f32]>,
        pick: impl FnOnce(&[f32]) -> Option<usize>,
    ) -> Result<Decision, DecideError> {
        use DecideError::{NonFiniteInput, NonFiniteValue, WrongLength};

        // The length of the shift is n; so the kernels need not compare again.
        let (n, m) = (self.shift.len(), self.control_dim());
        if state.len() != n || control.len() != m {
            return Err(WrongLength);
        }
        let Some(Working { xi, z, buffers }) = Working::of(scratch, n, self.buffer_len) else {
            return Err(WrongLength);
        };

        let mut rho = 1.0;
        if !self.input(state, xi, z, &mut rho) {
            return Err(NonFiniteInput);
        }
        let (xi, unit_norm) = (&*xi, self.input_kind() == InputKind::UnitNorm);
        let z = if unit_norm { &*z } else { xi };

        let Some(logits) = self.logit_values(z, buffers) else {
            return Err(WrongLength);
        };
        let Some(choice) = pick(logits) else {
            return Err(NonFiniteValue);
        };
        let Some(&mode) = self.choice_modes.get(choice) else {
            return Err(WrongLength);
        };

        if let Some(network) = &self.control {
            let head = if self.meta.control_heads == 1 {
                0
            } else {
                choice
            };
            if !network.run(head, z, buffers) {
                return Err(WrongLength);
            }
            if unit_norm {
                scale_back(buffers.get_mut(..m).unwrap_or_default(), &rho);
            }
        }
        if let Some(gains) = &self.gains {
            let Some(gain) = gains.get(choice) else {
                return Err(WrongLength);
            };
            if self.control.is_some() {
                let (u, a) = halves(buffers);
                gain.apply(xi, a);
                for (u, &a) in u.iter_mut().zip(a.iter()).take(m) {
                    *u += a;
                }
            } else {
                gain.apply(xi, buffers);
            }
        }
        let Some(u) = buffers.get_mut(..m) else {
            return Err(WrongLength);
        };
        #[cfg(feature = "regions")]
        if let Some(regions) = &self.regions
            && !keep_to(regions, choice, u)
        {
            return Err(NonFiniteValue);
        }
        if !admit(u, self.bounds, rate, control) {
            return Err(NonFiniteValue);
        }
        Ok(Decision {
            choice: choice as u16,
            mode,
        })
    }

    /// The logits for the network input `z`; none where C = 1 needs no selector. `None` if the buffers do not suffice.
    #[inline(always)]
    fn logit_values<'s>(&self, z: &[f32], buffers: &'s mut [f32]) -> Option<&'s [f32]> {
        match (&self.selector, &self.scores) {
            (None, None) => return Some(&[]),
            (None, Some(scores)) => scores.apply_to_monomials(z, buffers),
            (Some(selector), scores) => {
                if !selector.run(0, z, buffers) {
                    return None;
                }
                if let Some(scores) = scores {
                    let (network, score) = halves(buffers);
                    scores.apply_to_monomials(z, score);
                    let sums = network.iter_mut().zip(score.iter());
                    for (network, &score) in sums.take(self.logits()) {
                        *network += score;
                    }
                }
            }
        }
        buffers.get(..self.logits())
    }

    /// Per factor the index of the greatest logit, as a mixed-radix number; 0 without logits. `None` if one of
    /// them is not finite.
    #[inline(always)]
    fn greatest_choice(&self, logits: &[f32]) -> Option<usize> {
        // One factor is the usual case; without logits the index is 0 too.
        if self.factors().len() == 1 {
            return greatest(logits);
        }
        let mut rest = logits;
        let mut choice: usize = 0;
        for &size in self.factors() {
            let size = usize::from(size);
            let (factor, behind) = rest.split_at_checked(size).unwrap_or((rest, &[]));
            choice = choice.wrapping_mul(size).wrapping_add(greatest(factor)?);
            rest = behind;
        }
        Some(choice)
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
                #[cfg(feature = "regions")]
                if let Some(regions) = &self.regions {
                    regions.apply(self.fallback_choice.into(), control);
                }
                if let Some(Bounds { lower, upper }) = self.bounds {
                    for (u, (&lower, &upper)) in control.iter_mut().zip(lower.iter().zip(upper)) {
                        *u = bounded(*u, lower, upper);
                    }
                }
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

/// A decision in the low word, else 1, 2, 3 in the high one.
#[inline(always)]
fn packed(result: Result<Decision, DecideError>) -> u64 {
    match result {
        Ok(Decision { choice, mode }) => u64::from(choice) | u64::from(mode) << 16,
        Err(DecideError::NonFiniteInput) => 1 << 32,
        Err(DecideError::NonFiniteValue) => 2 << 32,
        Err(DecideError::WrongLength) => 3 << 32,
    }
}

#[inline(always)]
fn unpacked(packed: u64) -> Result<Decision, DecideError> {
    let error = (packed >> 32) as u32;
    if error == 0 {
        return Ok(Decision {
            choice: packed as u16,
            mode: (packed >> 16) as u16,
        });
    }
    match error {
        1 => Err(DecideError::NonFiniteInput),
        2 => Err(DecideError::NonFiniteValue),
        _ => Err(DecideError::WrongLength),
    }
}

/// Scales the outputs of a network back.
#[inline(never)]
fn scale_back(u: &mut [f32], rho: &f32) {
    for u in u {
        *u *= rho;
    }
}

/// Moves `u` onto the regions of `choice`; whether it was finite (the map takes the infinite to an end).
#[cfg(feature = "regions")]
#[inline(never)]
fn keep_to(regions: &Regions<'_>, choice: usize, u: &mut [f32]) -> bool {
    let finite = all_finite(u);
    regions.apply(choice, u);
    finite
}

/// The parts of the scratch.
struct Working<'s> {
    /// Shifted and scaled state.
    xi: &'s mut [f32],
    /// Network input with unit norm.
    z: &'s mut [f32],
    /// Two buffers of one length.
    buffers: &'s mut [f32],
}

impl<'s> Working<'s> {
    /// `None` if the scratch does not suffice for n inputs and two buffers of `width`.
    #[inline(always)]
    fn of(scratch: &'s mut [f32], n: usize, width: usize) -> Option<Self> {
        let (xi, rest) = scratch.split_at_mut_checked(n)?;
        let (z, rest) = rest.split_at_mut_checked(n)?;
        let buffers = rest.get_mut(..2 * width)?;
        Some(Self { xi, z, buffers })
    }
}
