//! Regions of a control that jumps: the map from a control law's value onto the closed region of the choice that was made.
//!
//! These functions are the one definition (`docs/policy-format.md`, section 9): the evaluator on the device and the training
//! simulator call them.

use core::ops::{Add, Div, Mul, Sub};

use crate::error::{FormatError, Refusal};
use crate::policy::Bounds;
use crate::safety::Safety;
#[cfg(feature = "regions")]
use crate::{checks::size_error, section::SectionId};

/// A closed interval with rounded corners.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Region<T> {
    /// Least value.
    pub lower: T,
    /// Greatest value, at least `lower`.
    pub upper: T,
    /// Half the width h of the rounding at either end, at least 0 and at most half of `upper - lower`.
    pub corner: T,
}

/// What the map computes with.
pub trait Number:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
}

impl<T> Number for T where
    T: Copy + PartialOrd + Add<Output = T> + Sub<Output = T> + Mul<Output = T> + Div<Output = T>
{
}

impl<T: Number> Region<T> {
    /// The value of the region that `v` is mapped to. `v` itself in the middle; towards an end a parabola, so that the map is
    /// continuously differentiable where h > 0; beyond an end the end itself. Every value of the region is reached, the ends too.
    #[inline(always)]
    #[must_use]
    pub fn onto(&self, v: T) -> T {
        let Self {
            lower,
            upper,
            corner,
        } = *self;
        let value = if v < lower + corner {
            let rise = v - (lower - corner);
            if v > lower - corner {
                lower + rise * rise / four(corner)
            } else {
                lower
            }
        } else if v > upper - corner {
            let fall = (upper + corner) - v;
            if v < upper + corner {
                upper - fall * fall / four(corner)
            } else {
                upper
            }
        } else {
            v
        };
        // Rounding must not leave the region.
        if value < lower {
            lower
        } else if value > upper {
            upper
        } else {
            value
        }
    }

    /// Derivative of [`Region::onto`] at `v`, from `zero` to `one`; without rounding 0 at the ends, as of a clamp.
    #[inline(always)]
    #[must_use]
    pub fn slope(&self, v: T, zero: T, one: T) -> T {
        let Self {
            lower,
            upper,
            corner,
        } = *self;
        let width = corner + corner;
        if v <= lower - corner || v >= upper + corner {
            zero
        } else if v < lower + corner {
            (v - (lower - corner)) / width
        } else if v > upper - corner {
            ((upper + corner) - v) / width
        } else {
            one
        }
    }
}

#[inline(always)]
fn four<T: Number>(value: T) -> T {
    let two = value + value;
    two + two
}

/// The regions of every choice: three vectors of `C * m` floats, choice by choice.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Regions<'a> {
    /// Lower ends.
    pub lower: &'a [f32],
    /// Upper ends.
    pub upper: &'a [f32],
    /// Half widths of the rounding.
    pub corner: &'a [f32],
}

impl<'a> Regions<'a> {
    /// The section's floats as the regions of `count` choices times controls.
    #[cfg(feature = "regions")]
    pub(crate) fn new<E: Refusal>(floats: &'a [f32], count: usize) -> Result<Self, E> {
        let malformed = size_error(SectionId::REGIONS, 4 * floats.len(), 12 * count as u64);
        let (lower, rest) = floats.split_at_checked(count).ok_or(malformed)?;
        let (upper, corner) = rest.split_at_checked(count).ok_or(malformed)?;
        Ok(Self {
            lower,
            upper,
            corner,
        })
    }

    /// The region of entry `choice * m + i`, `None` beyond the last one.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, entry: usize) -> Option<Region<f32>> {
        Some(Region {
            lower: *self.lower.get(entry)?,
            upper: *self.upper.get(entry)?,
            corner: *self.corner.get(entry)?,
        })
    }

    /// Moves every value of `control` `[m]` onto its region under `choice`.
    // One copy for the control step and the fallback law.
    #[cfg(feature = "regions")]
    #[inline(never)]
    pub fn apply(&self, choice: usize, control: &mut [f32]) {
        let first = choice.wrapping_mul(control.len());
        for (i, u) in control.iter_mut().enumerate() {
            if let Some(region) = self.get(first.wrapping_add(i)) {
                *u = region.onto(*u);
            }
        }
    }
}

/// What regions are checked against.
pub(crate) struct Around<'a> {
    pub(crate) m: usize,
    pub(crate) bounds: Option<Bounds<'a>>,
    pub(crate) choice_modes: &'a [u16],
    pub(crate) fallback_mode: u16,
    pub(crate) fallback_constant: &'a [f32],
}

/// Checks regions whose lists have the right lengths and finite values; gives the choice whose regions the fallback law
/// keeps to: the first one of its mode.
pub(crate) fn check<E: Refusal>(
    regions: &Regions<'_>,
    safety: &Safety<'_>,
    around: &Around<'_>,
) -> Result<u16, E> {
    let count = around.choice_modes.len().saturating_mul(around.m);
    for entry in 0..count {
        let Some(region) = regions.get(entry) else {
            break;
        };
        let place = |code: fn(u32) -> FormatError| Err(E::of(code(entry as u32)));
        if region.lower > region.upper {
            return place(|entry| FormatError::RegionOrder { entry });
        }
        // An unbounded region may be wider than the greatest number; half of it is not.
        let half = region.upper * 0.5 - region.lower * 0.5;
        if !(region.corner >= 0.0 && region.corner <= half) {
            return place(|entry| FormatError::RegionCorner { entry });
        }
        if let Some(Bounds { lower, upper }) = around.bounds {
            let i = entry.checked_rem(around.m).unwrap_or(0);
            let inside = lower.get(i).is_none_or(|&lower| region.lower >= lower)
                && upper.get(i).is_none_or(|&upper| region.upper <= upper);
            if !inside {
                return place(|entry| FormatError::RegionBounds { entry });
            }
        }
    }
    if safety.limits.is_some() {
        return Err(E::of(FormatError::RegionLimits));
    }
    let mut choices = around.choice_modes.iter();
    let Some(choice) = choices.position(|&mode| mode == around.fallback_mode) else {
        return Err(E::of(FormatError::RegionFallbackMode {
            found: around.fallback_mode,
        }));
    };
    for (index, &found) in around.fallback_constant.iter().enumerate() {
        if let Some(region) = regions.get(choice.wrapping_mul(around.m).wrapping_add(index))
            && !(region.lower <= found && found <= region.upper)
        {
            return Err(E::of(FormatError::RegionFallbackConstant { index, found }));
        }
    }
    Ok(choice as u16)
}
