//! From a sound container to a policy that may act.

use crate::MAX_GOLDEN;
use crate::block::{Block, Blocks, block_len, padded_rows};
use crate::container::{FLAG_CRITICAL, RawPolicy};
use crate::error::FormatError;
use crate::golden::{Golden, GoldenVector};
use crate::meta::{Capacity, Meta};
use crate::network::{FloatNetwork, Int8Network, Network, int8_network_len, network_len};
use crate::policy::{Bounds, FallbackLaw, Policy};
use crate::region::{self, Regions};
use crate::safety::Around;
use crate::section::SectionId;

/// Words of the header of the sections FALLBACK and GOLDEN.
const HEADER_WORDS: usize = 4;

impl<'a> RawPolicy<'a> {
    /// Checks everything inside the sections and gives the policy.
    ///
    /// `capacity` are the maxima of the reader: [`Capacity::FORMAT`] on a host, what the buffers are built for on
    /// a device. The golden vectors are not run; [`Policy::check_golden`] does that. The target class is the
    /// caller's to compare. Section NAMES is not looked at.
    ///
    /// # Errors
    /// The [`FormatError`] of the first check that fails.
    pub fn validate(self, capacity: &Capacity) -> Result<Policy<'a>, FormatError> {
        self.check_ids()?;
        let meta = Meta::decode(self.require(SectionId::META)?)?;
        meta.check()?;
        meta.check_capacity(capacity)?;
        let (n, m) = (usize::from(meta.state_dim), usize::from(meta.control_dim));
        let (choices, logits) = (meta.choices(), meta.logits());

        let choice_modes = self.choice_modes(choices)?;
        check_choice_modes(choice_modes, meta.modes)?;

        let (shift, scale) = self.two_vectors(SectionId::INPUT, n)?;
        check_scale(scale)?;

        let scores = self.blocks(SectionId::SCORES, logits, n * (n + 1) / 2, 1)?;
        let int8 = meta.precision == 1;
        let selector = self.network(
            [SectionId::SELECTOR, SectionId::SELECTOR_INT8],
            int8,
            n,
            meta.selector_hidden.as_deref(),
            logits,
            1,
        )?;
        check_selector(choices, scores.is_some() || selector.is_some())?;
        let gains = self.blocks(SectionId::GAINS, m, n, choices)?;
        let control = self.network(
            [SectionId::CONTROL, SectionId::CONTROL_INT8],
            int8,
            n,
            meta.control_hidden.as_deref(),
            m,
            meta.control_heads.into(),
        )?;
        if gains.is_none() && control.is_none() {
            return Err(FormatError::NoControlLaw);
        }
        let bounds = if self.section(SectionId::BOUNDS).is_some() {
            let (lower, upper) = self.two_vectors(SectionId::BOUNDS, m)?;
            check_bounds(lower, upper)?;
            Some(Bounds { lower, upper })
        } else {
            None
        };
        let fallback = self.fallback(meta.modes, n, m)?;
        check_fallback_constant(fallback.constant, bounds)?;
        let regions = if self.section(SectionId::REGIONS).is_some() {
            let count = choices * m;
            let floats = self.floats(SectionId::REGIONS, 3 * count as u64)?;
            Some(Regions::new(floats, count)?)
        } else {
            None
        };
        let golden = self.golden(choices, n, m)?;
        let safety = self.safety(&Around {
            n,
            m,
            modes: meta.modes.into(),
            bounds,
            choice_modes,
            fallback_mode: fallback.mode,
        })?;
        let fallback_choice = match &regions {
            None => 0,
            Some(regions) => region::check(
                regions,
                &safety,
                &region::Around {
                    m,
                    bounds,
                    choice_modes,
                    fallback_mode: fallback.mode,
                    fallback_constant: fallback.constant,
                },
            )?,
        };
        let budget = self
            .section(SectionId::BUDGET)
            .map(crate::Budget::decode)
            .transpose()?;

        Ok(Policy {
            budget,
            target_class: self.target_class(),
            crc32: self.crc32(),
            total_len: self.total_len(),
            choice_modes,
            shift,
            scale,
            scores: scores.and_then(|scores| scores.get(0)),
            selector,
            gains,
            control,
            regions,
            fallback_choice,
            bounds,
            fallback,
            safety,
            golden,
            names: self.section(SectionId::NAMES).unwrap_or_default(),
            dimensions: meta.capacity(),
            buffer_len: meta.capacity().buffer_len(),
            meta,
        })
    }

    /// Unknown critical sections and wrong flags.
    fn check_ids(&self) -> Result<(), FormatError> {
        for section in self.sections() {
            let critical = section.flags & FLAG_CRITICAL != 0;
            if !section.id.is_known() {
                if critical {
                    return Err(FormatError::UnknownCriticalSection { id: section.id.0 });
                }
            } else if critical != section.id.is_critical() {
                return Err(FormatError::WrongCriticalFlag {
                    id: section.id.0,
                    found: section.flags,
                });
            }
        }
        Ok(())
    }

    fn require(&self, id: SectionId) -> Result<&'a [u8], FormatError> {
        self.section(id)
            .ok_or(FormatError::MissingSection { section: id })
    }

    /// The floats of a required section that must hold exactly `count`, all finite.
    fn floats(&self, id: SectionId, count: u64) -> Result<&'a [f32], FormatError> {
        let floats: &[f32] = cast(id, self.require(id)?, 4 * count)?;
        check_finite(id, 0, floats)?;
        Ok(floats)
    }

    fn choice_modes(&self, choices: usize) -> Result<&'a [u16], FormatError> {
        let id = SectionId::CHOICE_MODES;
        cast(id, self.require(id)?, 2 * choices as u64)
    }

    /// Two vectors of `count` floats, one behind the other.
    fn two_vectors(
        &self,
        id: SectionId,
        count: usize,
    ) -> Result<(&'a [f32], &'a [f32]), FormatError> {
        let floats = self.floats(id, 2 * count as u64)?;
        floats
            .split_at_checked(count)
            .ok_or(FormatError::MissingSection { section: id })
    }

    /// The blocks of a section, `None` if the file does not have it.
    fn blocks(
        &self,
        id: SectionId,
        rows: usize,
        columns: usize,
        count: usize,
    ) -> Result<Option<Blocks<'a>>, FormatError> {
        if self.section(id).is_none() {
            return Ok(None);
        }
        let expected = block_len(rows, columns) as u64 * count as u64;
        let floats = self.floats(id, expected)?;
        let blocks = Blocks::new(floats, rows, columns, count).ok_or(size_error(
            id,
            4 * floats.len(),
            4 * expected,
        ))?;
        check_padding(id, blocks.iter())?;
        Ok(Some(blocks))
    }

    /// A network, which must be there exactly if META gives its hidden widths, in the section of its precision
    /// (`ids`: binary32, 8 bits).
    fn network(
        &self,
        ids: [SectionId; 2],
        int8: bool,
        inputs: usize,
        hidden: Option<&[u16]>,
        outputs: usize,
        heads: usize,
    ) -> Result<Option<Network<'a>>, FormatError> {
        let [float, eight] = ids;
        let (id, other) = if int8 { (eight, float) } else { (float, eight) };
        let unexpected = [Some(other), hidden.is_none().then_some(id)];
        for section in unexpected.into_iter().flatten() {
            if self.section(section).is_some() {
                return Err(FormatError::UnexpectedSection { section });
            }
        }
        let Some(hidden) = hidden else {
            return Ok(None);
        };
        if int8 {
            let network = self.int8_network(id, inputs, hidden, outputs, heads)?;
            return Ok(Some(Network::Int8(network)));
        }
        let expected = network_len(inputs, hidden, outputs, heads);
        let floats = self.floats(id, expected)?;
        let network = FloatNetwork::new(floats, inputs, hidden, outputs, heads)
            .ok_or(size_error(id, 4 * floats.len(), 4 * expected))?;
        let network = Network::Float(network);
        check_padding(id, network.blocks())?;
        Ok(Some(network))
    }

    fn int8_network(
        &self,
        id: SectionId,
        inputs: usize,
        hidden: &[u16],
        outputs: usize,
        heads: usize,
    ) -> Result<Int8Network<'a>, FormatError> {
        let expected = 4 * int8_network_len(inputs, hidden, outputs, heads);
        let words: &[u32] = cast(id, self.require(id)?, expected)?;
        let network = Int8Network::new(words, inputs, hidden, outputs, heads).ok_or(size_error(
            id,
            4 * words.len(),
            expected,
        ))?;
        check_int8_input(id, network.input_scale, inputs)?;
        let mut first = 0;
        let hidden = network.hidden.iter().copied();
        for block in hidden.chain((0..heads).map_while(|head| network.head(head))) {
            block.check(id, first)?;
            first += padded_rows(block.rows());
        }
        Ok(network)
    }

    fn fallback(&self, modes: u16, n: usize, m: usize) -> Result<FallbackLaw<'a>, FormatError> {
        let id = SectionId::FALLBACK;
        let expected = HEADER_WORDS + padded_rows(m) + block_len(m, n);
        let words: &[u32] = cast(id, self.require(id)?, 4 * expected as u64)?;
        let malformed = size_error(id, 4 * words.len(), 4 * expected as u64);
        let (&[mode, zeros @ ..], floats) =
            words.split_first_chunk::<HEADER_WORDS>().ok_or(malformed)?;
        let floats: &[f32] = bytemuck::try_cast_slice(floats).map_err(|_| malformed)?;
        check_finite(id, HEADER_WORDS, floats)?;
        let (constant, gain) = floats.split_at_checked(padded_rows(m)).ok_or(malformed)?;
        let (constant, padding) = constant.split_at_checked(m).ok_or(malformed)?;
        if zeros != [0; 3] || padding.iter().any(|v| v.to_bits() != 0) {
            return Err(FormatError::FallbackPadding);
        }
        let (gain, _) = Block::take(gain, m, n).ok_or(malformed)?;
        check_padding(id, core::iter::once(gain))?;
        Ok(FallbackLaw {
            mode: check_fallback_mode(mode, modes)?,
            constant,
            gain,
        })
    }

    /// The words of the golden vectors, behind the header of the section.
    fn golden(&self, choices: usize, n: usize, m: usize) -> Result<&'a [u32], FormatError> {
        let id = SectionId::GOLDEN;
        let bytes = self.require(id)?;
        let vector = n + 1 + m;
        let least = 4 * (HEADER_WORDS + vector) as u64;
        let count = bytes
            .first_chunk::<4>()
            .map(|count| u32::from_le_bytes(*count))
            .ok_or(size_error(id, bytes.len(), least))?;
        check_golden_count(count as usize)?;
        let expected = 4 * (HEADER_WORDS as u64 + u64::from(count) * vector as u64);
        let words: &[u32] = cast(id, bytes, expected)?;
        let (&[_, zeros @ ..], vectors) = words
            .split_first_chunk::<HEADER_WORDS>()
            .ok_or(size_error(id, bytes.len(), expected))?;
        if zeros != [0; 3] {
            return Err(FormatError::GoldenPadding);
        }
        check_golden(Golden::new(vectors, n, m), choices)?;
        Ok(vectors)
    }
}

/// Reads a section in place; its length must be exactly `expected` bytes.
pub(crate) fn cast<T: bytemuck::AnyBitPattern>(
    section: SectionId,
    bytes: &[u8],
    expected: u64,
) -> Result<&[T], FormatError> {
    let error = size_error(section, bytes.len(), expected);
    if bytes.len() as u64 != expected {
        return Err(error);
    }
    // Sections start 16-aligned in an aligned buffer: the cast cannot fail once the length is right.
    bytemuck::try_cast_slice(bytes).map_err(|_| error)
}

pub(crate) const fn size_error(section: SectionId, found: usize, expected: u64) -> FormatError {
    FormatError::SectionSize {
        section,
        found,
        expected,
    }
}

/// Every float is finite; `start` is the word offset of the first one in its section.
pub(crate) fn check_finite(
    section: SectionId,
    start: usize,
    floats: &[f32],
) -> Result<(), FormatError> {
    match floats.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(FormatError::NonFinite {
            section,
            word: start + index,
        }),
        None => Ok(()),
    }
}

/// Scales of an 8-bit network's inputs are positive and normal, and +0.0 behind them.
pub(crate) fn check_int8_input(
    section: SectionId,
    scales: &[f32],
    inputs: usize,
) -> Result<(), FormatError> {
    for (index, &scale) in scales.iter().enumerate() {
        let good = if index < inputs {
            scale.is_normal() && scale > 0.0
        } else {
            scale.to_bits() == 0
        };
        if !good {
            return Err(FormatError::Int8InputScale { section, index });
        }
    }
    Ok(())
}

fn check_padding<'a>(
    section: SectionId,
    blocks: impl Iterator<Item = Block<'a>>,
) -> Result<(), FormatError> {
    for (block, content) in blocks.enumerate() {
        if let Some(index) = content.dirty_padding() {
            return Err(FormatError::BlockPadding {
                section,
                block,
                index,
            });
        }
    }
    Ok(())
}

pub(crate) fn check_choice_modes(choice_modes: &[u16], modes: u16) -> Result<(), FormatError> {
    for (choice, &mode) in choice_modes.iter().enumerate() {
        if mode >= modes {
            return Err(FormatError::ChoiceMode {
                choice: choice as u32,
                found: mode.into(),
                modes: modes.into(),
            });
        }
    }
    Ok(())
}

pub(crate) fn check_scale(scale: &[f32]) -> Result<(), FormatError> {
    for (index, &found) in scale.iter().enumerate() {
        if found <= 0.0 {
            return Err(FormatError::InputScale { index, found });
        }
    }
    Ok(())
}

pub(crate) fn check_selector(choices: usize, present: bool) -> Result<(), FormatError> {
    if choices > 1 && !present {
        return Err(FormatError::NoSelector {
            choices: choices as u32,
        });
    }
    Ok(())
}

pub(crate) fn check_bounds(lower: &[f32], upper: &[f32]) -> Result<(), FormatError> {
    for (index, (&lower, &upper)) in lower.iter().zip(upper).enumerate() {
        if lower > upper {
            return Err(FormatError::BoundsOrder {
                index,
                lower,
                upper,
            });
        }
    }
    Ok(())
}

pub(crate) fn check_fallback_mode(mode: u32, modes: u16) -> Result<u16, FormatError> {
    match u16::try_from(mode) {
        Ok(mode) if mode < modes => Ok(mode),
        _ => Err(FormatError::FallbackMode {
            found: mode,
            modes: modes.into(),
        }),
    }
}

pub(crate) fn check_fallback_constant(
    constant: &[f32],
    bounds: Option<Bounds<'_>>,
) -> Result<(), FormatError> {
    let Some(Bounds { lower, upper }) = bounds else {
        return Ok(());
    };
    for (index, (&found, (&lower, &upper))) in
        constant.iter().zip(lower.iter().zip(upper)).enumerate()
    {
        if found < lower || found > upper {
            return Err(FormatError::FallbackConstant { index, found });
        }
    }
    Ok(())
}

pub(crate) fn check_golden_count(count: usize) -> Result<(), FormatError> {
    if count == 0 || count > MAX_GOLDEN {
        return Err(FormatError::GoldenCount {
            found: count as u32,
        });
    }
    Ok(())
}

/// Golden vectors: finite, of existing choices, and one of them with a subnormal state value.
pub(crate) fn check_golden<'a>(
    vectors: impl Iterator<Item = GoldenVector<'a>>,
    choices: usize,
) -> Result<(), FormatError> {
    let mut subnormal = false;
    let mut word = HEADER_WORDS;
    for (index, vector) in vectors.enumerate() {
        check_finite(SectionId::GOLDEN, word, vector.state)?;
        word += vector.state.len() + 1;
        check_finite(SectionId::GOLDEN, word, vector.control)?;
        word += vector.control.len();
        if vector.choice as usize >= choices {
            return Err(FormatError::GoldenChoice {
                index,
                found: vector.choice,
                choices: choices as u32,
            });
        }
        subnormal |= vector.state.iter().any(|v| v.is_subnormal());
    }
    if subnormal {
        Ok(())
    } else {
        Err(FormatError::GoldenWithoutSubnormal)
    }
}
