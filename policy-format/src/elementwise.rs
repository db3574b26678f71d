//! What a control step does with each value beside the blocks, value by value and bit for bit.

use crate::constraint::limit_rate;
use crate::policy::Bounds;

/// All ones in the exponent: not finite.
const NOT_FINITE: u32 = 0x7f80_0000;

/// Whether no value is NaN or infinite, in integers: without an FPU a product costs more than all of this.
#[inline(always)]
#[must_use]
pub fn all_finite(values: &[f32]) -> bool {
    let finite = |v: &f32| v.to_bits() & NOT_FINITE != NOT_FINITE;
    values.iter().fold(true, |all, v| all & finite(v))
}

/// Writes `(s - shift) * scale` to `xi`; whether all of it is finite.
#[inline(always)]
pub(crate) fn shift_and_scale(state: &[f32], shift: &[f32], scale: &[f32], xi: &mut [f32]) -> bool {
    let inputs = state.iter().zip(shift).zip(scale);
    for (xi, ((&s, &shift), &scale)) in xi.iter_mut().zip(inputs) {
        *xi = (s - shift) * scale;
    }
    all_finite(xi)
}

/// Index of the greatest value, the lowest one on ties; 0 for an empty slice. `None` if one of them is not finite.
#[inline(always)]
pub(crate) fn greatest(values: &[f32]) -> Option<usize> {
    let (mut best, mut index) = (f32::NEG_INFINITY, 0);
    for (at, &value) in values.iter().enumerate() {
        if value > best {
            (best, index) = (value, at);
        }
    }
    all_finite(values).then_some(index)
}

/// Writes `u` to `control`, each value moved onto the bound it lies beyond, then to within `rate` of what `control` held
/// ([`limit_rate`]); `false`, and `control` as it was, if a value of `u` is not finite. Everything else is finite and the slices have
/// one length.
#[inline(always)]
#[must_use]
pub fn admit(
    u: &[f32],
    bounds: Option<Bounds<'_>>,
    rate: Option<&[f32]>,
    control: &mut [f32],
) -> bool {
    if !all_finite(u) {
        return false;
    }
    for (index, (control, &u)) in control.iter_mut().zip(u).enumerate() {
        let mut value = u;
        if let Some(Bounds { lower, upper }) = bounds
            && let (Some(&lower), Some(&upper)) = (lower.get(index), upper.get(index))
        {
            value = bounded(value, lower, upper);
        }
        if let Some(&rate) = rate.and_then(|rate| rate.get(index)) {
            value = limit_rate(value, *control, rate);
        }
        *control = value;
    }
    true
}

/// Whether every value lies between its bounds; NaN does not. The slices have one length.
#[inline(always)]
#[must_use]
pub fn inside(lower: &[f32], upper: &[f32], x: &[f32]) -> bool {
    let values = x.iter().zip(lower).zip(upper);
    values.fold(true, |all, ((&x, &lower), &upper)| {
        all & (lower <= x) & (x <= upper)
    })
}

/// The value, or the bound it lies beyond.
#[inline(always)]
pub(crate) fn bounded(u: f32, lower: f32, upper: f32) -> f32 {
    if u < lower {
        lower
    } else if u > upper {
        upper
    } else {
        u
    }
}
