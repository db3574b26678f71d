//! What must hold of the parts of a policy, for a reader and a writer alike.

use crate::MAX_GOLDEN;
use crate::block::{Block, Blocks, padded_rows};
use crate::error::{FormatError, Refusal};
use crate::golden::GoldenVector;
use crate::network::Int8Network;
use crate::policy::Bounds;
use crate::section::SectionId;

/// Words of the header of the sections FALLBACK and GOLDEN.
pub(crate) const HEADER_WORDS: usize = 4;

/// Reads a section in place; its length must be exactly `expected` bytes.
pub(crate) fn words<E: Refusal>(
    section: SectionId,
    bytes: &[u8],
    expected: u64,
) -> Result<&[u32], E> {
    if bytes.len() as u64 != expected {
        return Err(size_error(section, bytes.len(), expected));
    }
    Ok(words_of(bytes))
}

/// The words of a section, none if they are not whole: sections start 16-aligned in an aligned buffer.
pub(crate) fn words_of(bytes: &[u8]) -> &[u32] {
    bytemuck::try_cast_slice(bytes).unwrap_or_default()
}

/// The words of a section as floats, all finite.
pub(crate) fn finite<E: Refusal>(section: SectionId, words: &[u32]) -> Result<&[f32], E> {
    let floats = bytemuck::must_cast_slice(words);
    check_finite(section, 0, floats)?;
    Ok(floats)
}

pub(crate) fn size_error<E: Refusal>(section: SectionId, found: usize, expected: u64) -> E {
    E::of(FormatError::SectionSize {
        section,
        found,
        expected,
    })
}

/// Every float is finite; `start` is the word offset of the first one in its section.
pub(crate) fn check_finite<E: Refusal>(
    section: SectionId,
    start: usize,
    floats: &[f32],
) -> Result<(), E> {
    match floats.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(E::of(FormatError::NonFinite {
            section,
            word: start + index,
        })),
        None => Ok(()),
    }
}

/// Scales of an 8-bit network's inputs are positive and normal, and +0.0 behind them.
pub(crate) fn check_int8_input<E: Refusal>(
    section: SectionId,
    scales: &[f32],
    inputs: usize,
) -> Result<(), E> {
    for (index, &scale) in scales.iter().enumerate() {
        let good = if index < inputs {
            is_positive_normal(scale)
        } else {
            scale.to_bits() == 0
        };
        if !good {
            return Err(E::of(FormatError::Int8InputScale { section, index }));
        }
    }
    Ok(())
}

/// The padding of the blocks of a section: hidden layers, then `heads`.
pub(crate) fn check_padding<E: Refusal>(
    section: SectionId,
    hidden: &[Block<'_>],
    heads: &Blocks<'_>,
) -> Result<(), E> {
    let mut number = 0;
    for block in hidden {
        check_block(section, number, block)?;
        number += 1;
    }
    let mut head = 0;
    while let Some(block) = heads.get(head) {
        check_block(section, number + head, &block)?;
        head += 1;
    }
    Ok(())
}

/// The padding of the block with this number in its section.
pub(crate) fn check_block<E: Refusal>(
    section: SectionId,
    block: usize,
    content: &Block<'_>,
) -> Result<(), E> {
    match content.dirty_padding() {
        Some(index) => Err(E::of(FormatError::BlockPadding {
            section,
            block,
            index,
        })),
        None => Ok(()),
    }
}

/// Scales and rows of an 8-bit network; `wrong_size` is the error if it is none.
pub(crate) fn check_int8<'a, E: Refusal>(
    section: SectionId,
    network: Option<Int8Network<'a>>,
    inputs: usize,
    heads: usize,
    wrong_size: impl FnOnce() -> E,
) -> Result<Int8Network<'a>, E> {
    let network = network.ok_or_else(wrong_size)?;
    check_int8_input(section, network.input_scale, inputs)?;
    let mut first = 0;
    for block in &network.hidden {
        block.check(section, first)?;
        first += padded_rows(block.rows());
    }
    for head in 0..heads {
        if let Some(block) = network.head(head) {
            block.check(section, first)?;
            first += padded_rows(block.rows());
        }
    }
    Ok(network)
}

pub(crate) fn check_choice_modes<E: Refusal>(choice_modes: &[u16], modes: u16) -> Result<(), E> {
    for (choice, &mode) in choice_modes.iter().enumerate() {
        if mode >= modes {
            return Err(E::of(FormatError::ChoiceMode {
                choice: choice as u32,
                found: mode.into(),
                modes: modes.into(),
            }));
        }
    }
    Ok(())
}

pub(crate) fn check_scale<E: Refusal>(scale: &[f32]) -> Result<(), E> {
    for (index, &found) in scale.iter().enumerate() {
        if found <= 0.0 {
            return Err(E::of(FormatError::InputScale { index, found }));
        }
    }
    Ok(())
}

pub(crate) fn check_selector<E: Refusal>(choices: usize, present: bool) -> Result<(), E> {
    if choices > 1 && !present {
        return Err(E::of(FormatError::NoSelector {
            choices: choices as u32,
        }));
    }
    Ok(())
}

pub(crate) fn check_bounds<E: Refusal>(lower: &[f32], upper: &[f32]) -> Result<(), E> {
    for (index, (&lower, &upper)) in lower.iter().zip(upper).enumerate() {
        if lower > upper {
            return Err(E::of(FormatError::BoundsOrder {
                index,
                lower,
                upper,
            }));
        }
    }
    Ok(())
}

pub(crate) fn check_fallback_mode<E: Refusal>(mode: u32, modes: u16) -> Result<u16, E> {
    match u16::try_from(mode) {
        Ok(mode) if mode < modes => Ok(mode),
        _ => Err(E::of(FormatError::FallbackMode {
            found: mode,
            modes: modes.into(),
        })),
    }
}

pub(crate) fn check_fallback_constant<E: Refusal>(
    constant: &[f32],
    bounds: Option<Bounds<'_>>,
) -> Result<(), E> {
    let Some(Bounds { lower, upper }) = bounds else {
        return Ok(());
    };
    for (index, (&found, (&lower, &upper))) in
        constant.iter().zip(lower.iter().zip(upper)).enumerate()
    {
        if found < lower || found > upper {
            return Err(E::of(FormatError::FallbackConstant { index, found }));
        }
    }
    Ok(())
}

/// As `f32::is_subnormal`, which asks for the whole class.
fn is_subnormal(v: &f32) -> bool {
    (1..0x0080_0000).contains(&(v.to_bits() & 0x7FFF_FFFF))
}

/// As `v.is_normal() && v > 0.0`.
pub(crate) fn is_positive_normal(v: f32) -> bool {
    (0x0080_0000..0x7F80_0000).contains(&v.to_bits())
}

pub(crate) fn check_golden_count<E: Refusal>(count: usize) -> Result<(), E> {
    if count == 0 || count > MAX_GOLDEN {
        return Err(E::of(FormatError::GoldenCount {
            found: count as u32,
        }));
    }
    Ok(())
}

/// Golden vectors: finite, of existing choices, and one of them with a subnormal state value.
pub(crate) fn check_golden<'a, E: Refusal>(
    vectors: impl Iterator<Item = GoldenVector<'a>>,
    choices: usize,
) -> Result<(), E> {
    let mut subnormal = false;
    let mut word = HEADER_WORDS;
    for (index, vector) in vectors.enumerate() {
        check_finite(SectionId::GOLDEN, word, vector.state)?;
        word += vector.state.len() + 1;
        check_finite(SectionId::GOLDEN, word, vector.control)?;
        word += vector.control.len();
        if vector.choice as usize >= choices {
            return Err(E::of(FormatError::GoldenChoice {
                index,
                found: vector.choice,
                choices: choices as u32,
            }));
        }
        subnormal |= vector.state.iter().any(is_subnormal);
    }
    if subnormal {
        Ok(())
    } else {
        Err(E::of(FormatError::GoldenWithoutSubnormal))
    }
}
