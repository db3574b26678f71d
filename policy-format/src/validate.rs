//! From a sound container to a policy that may act.

use crate::block::{Block, Blocks, block_len, padded_rows};
use crate::checks::{
    HEADER_WORDS, check_block, check_bounds, check_choice_modes, check_fallback_constant,
    check_fallback_mode, check_finite, check_golden, check_golden_count, check_int8, check_padding,
    check_scale, check_selector, finite, size_error, words, words_of,
};
use crate::container::{FLAG_CRITICAL, RawPolicy};
use crate::error::{FormatError, Refusal};
use crate::golden::Golden;
use crate::meta::{Capacity, Meta};
use crate::network::{FloatNetwork, Int8Network, Network, int8_network_len, network_len};
use crate::policy::{Bounds, FallbackLaw, Policy};
#[cfg(feature = "regions")]
use crate::region::{self, Regions};
use crate::safety::Around;
#[cfg(feature = "regions")]
use crate::safety::Safety;
use crate::section::SectionId;

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
        self.validate_as(capacity)
    }

    /// As [`RawPolicy::validate`], with any kind of error.
    pub(crate) fn validate_as<E: Refusal>(self, capacity: &Capacity) -> Result<Policy<'a>, E> {
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
            return Err(E::of(FormatError::NoControlLaw));
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
        let golden = self.golden(choices, n, m)?;
        let safety = self.safety(&Around {
            n,
            m,
            modes: meta.modes.into(),
            bounds,
            choice_modes,
            fallback_mode: fallback.mode,
        })?;
        #[cfg(feature = "regions")]
        let (regions, fallback_choice) = self.regions(
            &safety,
            &region::Around {
                m,
                bounds,
                choice_modes,
                fallback_mode: fallback.mode,
                fallback_constant: fallback.constant,
            },
        )?;
        #[cfg(not(feature = "regions"))]
        if self.section(SectionId::REGIONS).is_some() {
            return Err(E::of(FormatError::RegionsNotBuilt));
        }
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
            #[cfg(feature = "regions")]
            regions,
            #[cfg(feature = "regions")]
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
    fn check_ids<E: Refusal>(&self) -> Result<(), E> {
        for section in self.sections() {
            let critical = section.flags & FLAG_CRITICAL != 0;
            if !section.id.is_known() {
                if critical {
                    return Err(E::of(FormatError::UnknownCriticalSection {
                        id: section.id.0,
                    }));
                }
            } else if critical != section.id.is_critical() {
                return Err(E::of(FormatError::WrongCriticalFlag {
                    id: section.id.0,
                    found: section.flags,
                }));
            }
        }
        Ok(())
    }

    fn require<E: Refusal>(&self, id: SectionId) -> Result<&'a [u8], E> {
        self.section(id)
            .ok_or(E::of(FormatError::MissingSection { section: id }))
    }

    /// The floats of a required section that must hold exactly `count`, all finite.
    fn floats<E: Refusal>(&self, id: SectionId, count: u64) -> Result<&'a [f32], E> {
        finite(id, words(id, self.require(id)?, 4 * count)?)
    }

    fn choice_modes<E: Refusal>(&self, choices: usize) -> Result<&'a [u16], E> {
        let id = SectionId::CHOICE_MODES;
        let bytes = self.require(id)?;
        match bytemuck::try_cast_slice(bytes) {
            Ok(modes) if modes.len() == choices => Ok(modes),
            _ => Err(size_error(id, bytes.len(), 2 * choices as u64)),
        }
    }

    /// Two vectors of `count` floats, one behind the other.
    fn two_vectors<E: Refusal>(
        &self,
        id: SectionId,
        count: usize,
    ) -> Result<(&'a [f32], &'a [f32]), E> {
        let floats = self.floats(id, 2 * count as u64)?;
        floats
            .split_at_checked(count)
            .ok_or(E::of(FormatError::MissingSection { section: id }))
    }

    /// The blocks of a section, `None` if the file does not have it.
    fn blocks<E: Refusal>(
        &self,
        id: SectionId,
        rows: usize,
        columns: usize,
        count: usize,
    ) -> Result<Option<Blocks<'a>>, E> {
        if self.section(id).is_none() {
            return Ok(None);
        }
        let bytes = self.require(id)?;
        let words = words_of(bytes);
        let floats = bytemuck::must_cast_slice(words);
        let blocks = Blocks::new(floats, rows, columns, count).ok_or_else(|| {
            let expected = block_len(rows, columns) as u64 * count as u64;
            size_error(id, bytes.len(), 4 * expected)
        })?;
        finite(id, words)?;
        check_padding(id, &[], &blocks)?;
        Ok(Some(blocks))
    }

    /// A network, which must be there exactly if META gives its hidden widths, in the section of its precision
    /// (`ids`: binary32, 8 bits).
    fn network<E: Refusal>(
        &self,
        ids: [SectionId; 2],
        int8: bool,
        inputs: usize,
        hidden: Option<&[u16]>,
        outputs: usize,
        heads: usize,
    ) -> Result<Option<Network<'a>>, E> {
        let [float, eight] = ids;
        let (id, other) = if int8 { (eight, float) } else { (float, eight) };
        let unexpected = [Some(other), hidden.is_none().then_some(id)];
        for section in unexpected.into_iter().flatten() {
            if self.section(section).is_some() {
                return Err(E::of(FormatError::UnexpectedSection { section }));
            }
        }
        let Some(hidden) = hidden else {
            return Ok(None);
        };
        let bytes = self.require(id)?;
        let words = words_of(bytes);
        Ok(Some(if int8 {
            let network = Int8Network::new(words, inputs, hidden, outputs, heads);
            Network::Int8(check_int8(id, network, inputs, heads, || {
                let expected = int8_network_len(inputs, hidden, outputs, heads);
                size_error(id, bytes.len(), 4 * expected)
            })?)
        } else {
            let floats = bytemuck::must_cast_slice(words);
            let network =
                FloatNetwork::new(floats, inputs, hidden, outputs, heads).ok_or_else(|| {
                    let expected = network_len(inputs, hidden, outputs, heads);
                    size_error(id, bytes.len(), 4 * expected)
                })?;
            finite(id, words)?;
            check_padding(id, &network.hidden, &network.heads)?;
            Network::Float(network)
        }))
    }

    fn fallback<E: Refusal>(&self, modes: u16, n: usize, m: usize) -> Result<FallbackLaw<'a>, E> {
        let id = SectionId::FALLBACK;
        let expected = HEADER_WORDS + padded_rows(m) + block_len(m, n);
        let words = words(id, self.require(id)?, 4 * expected as u64)?;
        let malformed = size_error(id, 4 * words.len(), 4 * expected as u64);
        let (&[mode, zeros @ ..], floats) =
            words.split_first_chunk::<HEADER_WORDS>().ok_or(malformed)?;
        let floats: &[f32] = bytemuck::must_cast_slice(floats);
        check_finite(id, HEADER_WORDS, floats)?;
        let (constant, gain) = floats.split_at_checked(padded_rows(m)).ok_or(malformed)?;
        let (constant, padding) = constant.split_at_checked(m).ok_or(malformed)?;
        if zeros != [0; 3] || padding.iter().any(|v| v.to_bits() != 0) {
            return Err(E::of(FormatError::FallbackPadding));
        }
        let (gain, _) = Block::take(gain, m, n).ok_or(malformed)?;
        check_block(id, 0, &gain)?;
        Ok(FallbackLaw {
            mode: check_fallback_mode(mode, modes)?,
            constant,
            gain,
        })
    }

    /// The regions and the choice whose ones the fallback law keeps to; `None` and 0 without the section.
    #[cfg(feature = "regions")]
    fn regions<E: Refusal>(
        &self,
        safety: &Safety<'_>,
        around: &region::Around<'_>,
    ) -> Result<(Option<Regions<'a>>, u16), E> {
        let id = SectionId::REGIONS;
        if self.section(id).is_none() {
            return Ok((None, 0));
        }
        let count = around.choice_modes.len().saturating_mul(around.m);
        let regions = Regions::new(self.floats(id, 3 * count as u64)?, count)?;
        let choice = region::check(&regions, safety, around)?;
        Ok((Some(regions), choice))
    }

    /// The words of the golden vectors, behind the header of the section.
    fn golden<E: Refusal>(&self, choices: usize, n: usize, m: usize) -> Result<&'a [u32], E> {
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
        let words = words(id, bytes, expected)?;
        let (&[_, zeros @ ..], vectors) = words
            .split_first_chunk::<HEADER_WORDS>()
            .ok_or(size_error(id, bytes.len(), expected))?;
        if zeros != [0; 3] {
            return Err(E::of(FormatError::GoldenPadding));
        }
        check_golden(Golden::new(vectors, n, m), choices)?;
        Ok(vectors)
    }
}
