//! The META section and the maxima of a reader.

use heapless::Vec;
use serde::Serialize;

use crate::block::padded_rows;
use crate::error::{FormatError, Refusal};
use crate::wire::Decoder;

/// Greatest number of selector factors.
pub const MAX_FACTORS: usize = 8;
/// Greatest number of hidden layers of one network.
pub const MAX_HIDDEN_LAYERS: usize = 4;
/// Bytes that any valid META section fits in.
pub(crate) const MAX_META_BYTES: usize = 96;

const MAX_DIMENSION: u16 = 256;
const MAX_CHOICES: u32 = 4096;
const MAX_WIDTH: u16 = 1024;

/// What the networks and scores see (`docs/policy-format.md`, section 3, step 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InputKind {
    /// The shifted and scaled state itself.
    Affine,
    /// The shifted and scaled state divided by its Euclidean norm; the control network's output is multiplied
    /// by that norm.
    UnitNorm,
}

pub(crate) type Factors = Vec<u16, MAX_FACTORS, u8>;
pub(crate) type Hidden = Vec<u16, MAX_HIDDEN_LAYERS, u8>;

/// META as it is on the wire.
#[derive(Clone, Serialize, PartialEq, Debug)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct Meta {
    pub state_dim: u16,
    pub control_dim: u16,
    pub modes: u16,
    pub factors: Factors,
    pub input: u8,
    pub selector_hidden: Option<Hidden>,
    pub control_hidden: Option<Hidden>,
    pub control_heads: u16,
    pub precision: u8,
    pub sample_time_s: f32,
    pub policy_version: u32,
}

impl Meta {
    /// Decodes a META section; refuses trailing bytes and any encoding but the canonical one.
    pub(crate) fn decode<E: Refusal>(bytes: &[u8]) -> Result<Self, E> {
        let mut decoder = Decoder::new(bytes);
        let meta = Self::read(&mut decoder).ok_or(E::of(FormatError::MetaEncoding))?;
        let rest = decoder.rest();
        if !rest.is_empty() {
            return Err(E::of(FormatError::MetaTrailing { found: rest.len() }));
        }
        // Numbers are all that has more than one encoding.
        if decoder.canonical() {
            Ok(meta)
        } else {
            Err(E::of(FormatError::MetaNotCanonical))
        }
    }

    fn read(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self {
            state_dim: from.u16()?,
            control_dim: from.u16()?,
            modes: from.u16()?,
            factors: from.list(Decoder::u16)?,
            input: from.byte()?,
            selector_hidden: from.option(Self::read_hidden)?,
            control_hidden: from.option(Self::read_hidden)?,
            control_heads: from.u16()?,
            precision: from.byte()?,
            sample_time_s: from.f32()?,
            policy_version: from.u32()?,
        })
    }

    fn read_hidden(from: &mut Decoder<'_>) -> Option<Hidden> {
        from.list(Decoder::u16)
    }

    /// Checks every field against the limits of the format.
    pub(crate) fn check<E: Refusal>(&self) -> Result<(), E> {
        let range = |field, found: u32, min, max| {
            if found < min || found > max {
                Err(E::of(FormatError::OutOfRange {
                    field,
                    found,
                    min,
                    max,
                }))
            } else {
                Ok(())
            }
        };
        range("state_dim", self.state_dim.into(), 1, MAX_DIMENSION.into())?;
        range(
            "control_dim",
            self.control_dim.into(),
            1,
            MAX_DIMENSION.into(),
        )?;
        range("modes", self.modes.into(), 1, MAX_DIMENSION.into())?;
        range("factors (count)", self.factors.len() as u32, 1, 8)?;
        let mut choices = 1_u32;
        for &size in &self.factors {
            range("factor", size.into(), 1, MAX_CHOICES)?;
            choices = choices.saturating_mul(size.into());
        }
        range("choices (product of the factors)", choices, 1, MAX_CHOICES)?;
        range("input", self.input.into(), 0, 1)?;
        for hidden in [&self.selector_hidden, &self.control_hidden] {
            for &width in hidden.iter().flatten() {
                range("hidden width", width.into(), 1, MAX_WIDTH.into())?;
            }
        }
        let heads = u32::from(self.control_heads);
        if self.control_hidden.is_none() {
            range("control_heads (without CONTROL)", heads, 0, 0)?;
        } else if heads != 1 && heads != choices {
            return Err(E::of(FormatError::ControlHeads {
                found: heads,
                choices,
            }));
        }
        let networks = self.selector_hidden.is_some() || self.control_hidden.is_some();
        let (field, greatest) = if networks {
            ("precision", 1)
        } else {
            ("precision (without networks)", 0)
        };
        range(field, self.precision.into(), 0, greatest)?;
        if !(self.sample_time_s.is_finite() && self.sample_time_s > 0.0) {
            return Err(E::of(FormatError::SampleTime {
                found: self.sample_time_s,
            }));
        }
        Ok(())
    }

    /// Refuses what is larger than the reader's maxima.
    pub(crate) fn check_capacity<E: Refusal>(&self, capacity: &Capacity) -> Result<(), E> {
        let fits = |what, found: usize, allowed: usize| {
            if found > allowed {
                Err(E::of(FormatError::DimensionExceedsCapacity {
                    what,
                    found: found as u32,
                    allowed: allowed as u32,
                }))
            } else {
                Ok(())
            }
        };
        fits("state_dim", self.state_dim.into(), capacity.state)?;
        fits("control_dim", self.control_dim.into(), capacity.control)?;
        fits("modes", self.modes.into(), capacity.modes)?;
        fits("choices", self.choices(), capacity.choices)?;
        fits("logits", self.logits(), capacity.logits)?;
        fits("hidden width", self.width(), capacity.width)
    }

    /// Number of choices C. At most 4096 once [`Meta::check`] has passed.
    pub(crate) fn choices(&self) -> usize {
        self.factors
            .iter()
            .fold(1_usize, |c, &size| c.saturating_mul(size.into()))
    }

    /// Number of logits L.
    pub(crate) fn logits(&self) -> usize {
        self.factors.iter().map(|&size| usize::from(size)).sum()
    }

    /// The widest hidden layer, 0 without any.
    pub(crate) fn width(&self) -> usize {
        [&self.selector_hidden, &self.control_hidden]
            .into_iter()
            .flat_map(|hidden| hidden.iter().flatten())
            .fold(0, |widest, &width| widest.max(width.into()))
    }

    /// The dimensions of this policy as a capacity: the least one that admits it.
    pub(crate) fn capacity(&self) -> Capacity {
        Capacity {
            state: self.state_dim.into(),
            control: self.control_dim.into(),
            modes: self.modes.into(),
            choices: self.choices(),
            logits: self.logits(),
            width: self.width(),
        }
    }
}

/// The maxima of a reader: what its buffers are sized for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Greatest length n of the state.
    pub state: usize,
    /// Greatest length m of the control.
    pub control: usize,
    /// Greatest number M of plant modes.
    pub modes: usize,
    /// Greatest number C of choices.
    pub choices: usize,
    /// Greatest number L of logits (sum of the factor sizes).
    pub logits: usize,
    /// Greatest width of a hidden layer.
    pub width: usize,
}

impl Capacity {
    /// The limits of the format: every valid version 1 policy fits.
    pub const FORMAT: Self = Self {
        state: MAX_DIMENSION as usize,
        control: MAX_DIMENSION as usize,
        modes: MAX_DIMENSION as usize,
        choices: MAX_CHOICES as usize,
        // One factor of 4096 and seven of 1.
        logits: MAX_CHOICES as usize + MAX_FACTORS - 1,
        width: MAX_WIDTH as usize,
    };

    /// Floats of scratch that [`crate::Policy::decide`] needs for any policy within this capacity:
    /// `2 n + 2 w`, for xi and z and two buffers of w = the greatest of the padded hidden width, the padded
    /// logits, the padded control and half of the state.
    #[must_use]
    pub const fn scratch_len(&self) -> usize {
        2 * self.state + 2 * self.buffer_len()
    }

    /// Floats of one of the two working buffers.
    pub(crate) const fn buffer_len(&self) -> usize {
        let mut widest = self.width;
        // The packed input of an 8-bit network.
        if self.state.div_ceil(2) > widest {
            widest = self.state.div_ceil(2);
        }
        if self.logits > widest {
            widest = self.logits;
        }
        if self.control > widest {
            widest = self.control;
        }
        padded_rows(widest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Decoding as postcard does it: read, nothing left over, the same bytes when written again.
    fn by_postcard(bytes: &[u8]) -> Result<Meta, FormatError> {
        let (meta, rest) =
            postcard::take_from_bytes::<Meta>(bytes).map_err(|_| FormatError::MetaEncoding)?;
        if !rest.is_empty() {
            return Err(FormatError::MetaTrailing { found: rest.len() });
        }
        let mut buffer = [0; MAX_META_BYTES];
        match postcard::to_slice(&meta, &mut buffer) {
            Ok(canonical) if *canonical == *bytes => Ok(meta),
            _ => Err(FormatError::MetaNotCanonical),
        }
    }

    fn meta() -> impl Strategy<Value = Meta> {
        let widths = |most| proptest::collection::vec(any::<u16>(), 0..=most);
        let hidden = move || proptest::option::of(widths(MAX_HIDDEN_LAYERS));
        let numbers = any::<([u16; 4], [u8; 2], f32, u32)>();
        (numbers, widths(MAX_FACTORS), hidden(), hidden()).prop_map(
            |((shorts, bytes, sample_time_s, policy_version), factors, selector, control)| Meta {
                state_dim: shorts[0],
                control_dim: shorts[1],
                modes: shorts[2],
                factors: Factors::from_slice(&factors).unwrap(),
                input: bytes[0],
                selector_hidden: selector.map(|widths| Hidden::from_slice(&widths).unwrap()),
                control_hidden: control.map(|widths| Hidden::from_slice(&widths).unwrap()),
                control_heads: shorts[3],
                precision: bytes[1],
                sample_time_s,
                policy_version,
            },
        )
    }

    proptest! {
        #[test]
        fn decodes_what_postcard_decodes(
            meta in meta(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0x80), Just(0)]), 0..3),
            longer in proptest::option::of(any::<prop::sample::Index>()),
            cut in proptest::option::of(any::<prop::sample::Index>()),
        ) {
            let mut buffer = [0; MAX_META_BYTES];
            let mut bytes: Vec<u8> = postcard::to_slice(&meta, &mut buffer).unwrap().to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(at) = longer {
                // A number with a needless byte, if one ends here.
                let at = at.index(bytes.len());
                bytes[at] |= 0x80;
                bytes.insert(at + 1, 0);
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            crate::wire::at_most_five(&mut bytes);
            let text = |result: Result<Meta, FormatError>| std::format!("{result:?}");
            prop_assert_eq!(text(Meta::decode(&bytes)), text(by_postcard(&bytes)));
        }
    }
}
