//! From a specification to a policy file.

use crate::block::padded_rows;
use crate::checks;
use crate::encode_error::EncodeError;
use crate::error::FormatError;
use crate::meta::{
    Factors, Hidden, InputKind, MAX_FACTORS, MAX_HIDDEN_LAYERS, MAX_META_BYTES, Meta,
};
use crate::names::{MAX_NAME_BYTES, WireName};
use crate::policy::Bounds;
use crate::region;
use crate::safety::Safety;
use crate::safety_encode::{self, encode_supervised};
use crate::section::SectionId;
use crate::spec::{BlockSpec, FallbackSpec, PolicySpec};
use crate::writer::ContainerWriter;

/// Bytes that any name record fits in: kind, index, two lengths, two strings.
const MAX_NAME_RECORD: usize = 8 + 2 * MAX_NAME_BYTES;

/// Writes a policy file to `out` and returns its length (a multiple of 16).
///
/// What it writes passes [`crate::RawPolicy::parse`] and [`crate::RawPolicy::validate`] with
/// [`crate::Capacity::FORMAT`], and decodes to the values given. Whether the golden vectors are *true* it cannot
/// know ([`crate::GoldenVector`] says how to make them). The same specification gives the same bytes.
///
/// # Errors
/// [`EncodeError`]: a list of the wrong length, a value no reader would accept, or `out` too small.
pub fn encode(spec: &PolicySpec<'_>, out: &mut [u8]) -> Result<usize, EncodeError> {
    encode_supervised(spec, &Safety::NONE, out)
}

/// See [`encode_supervised`].
pub(crate) fn encode_with(
    spec: &PolicySpec<'_>,
    safety: &Safety<'_>,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let meta = meta(spec)?;
    meta.check::<FormatError>()?;
    check(spec, &meta)?;
    safety_encode::check(spec, safety)?;
    check_regions(spec, safety, &meta)?;
    let (n, m) = (usize::from(spec.state_dim), usize::from(spec.control_dim));
    let (choices, logits) = (meta.choices(), meta.logits());

    let optional = [
        spec.scores.is_some(),
        spec.selector.is_some(),
        spec.gains.is_some(),
        spec.control.is_some(),
        spec.bounds.is_some(),
        spec.regions.is_some(),
        !spec.names.is_empty(),
    ];
    let sections =
        5 + optional.iter().filter(|&&present| present).count() + safety_encode::sections(safety);
    let mut file = Writer {
        container: ContainerWriter::new(out, spec.target_class, sections),
        section: SectionId::META,
    };

    file.start(SectionId::META);
    let mut buffer = [0; MAX_META_BYTES];
    let encoded = postcard::to_slice(&meta, &mut buffer).map_err(|_| FormatError::MetaEncoding)?;
    file.container.put(encoded);

    file.start(SectionId::CHOICE_MODES);
    for mode in spec.choice_modes {
        file.container.put(&mode.to_le_bytes());
    }

    file.start(SectionId::INPUT);
    file.floats(spec.input_shift)?;
    file.floats(spec.input_scale)?;

    if let Some(scores) = &spec.scores {
        file.start(SectionId::SCORES);
        file.block("scores", scores, logits, n * (n + 1) / 2)?;
    }
    if let Some(layers) = spec.selector {
        file.start(SectionId::SELECTOR);
        let (output, hidden) = layers.split_last().ok_or(shape("selector", 0, 1))?;
        let columns = file.hidden("selector", hidden, n)?;
        file.block("selector output", output, logits, columns)?;
    }
    if let Some(gains) = &spec.gains {
        file.start(SectionId::GAINS);
        expect("gains.offset", gains.offset.len(), choices * m)?;
        expect("gains.matrix", gains.matrix.len(), choices * m * n)?;
        let blocks = gains.offset.chunks(m).zip(gains.matrix.chunks(m * n));
        for (bias, weights) in blocks {
            file.block("gains", &BlockSpec { bias, weights }, m, n)?;
        }
    }
    if let Some(control) = &spec.control {
        file.start(SectionId::CONTROL);
        let columns = file.hidden("control.hidden", control.hidden, n)?;
        for head in control.heads {
            file.block("control.heads", head, m, columns)?;
        }
    }
    if let Some(bounds) = &spec.bounds {
        file.start(SectionId::BOUNDS);
        file.floats(bounds.lower)?;
        file.floats(bounds.upper)?;
    }
    file.start(SectionId::FALLBACK);
    file.fallback(&spec.fallback, n, m)?;

    file.start(SectionId::GOLDEN);
    file.header(spec.golden.len() as u32);
    for vector in spec.golden {
        file.floats(vector.state)?;
        file.container.put_word(vector.choice);
        file.floats(vector.control)?;
    }
    if !spec.names.is_empty() {
        file.start(SectionId::NAMES);
        for record in spec.names {
            let mut buffer = [0; MAX_NAME_RECORD];
            let encoded = postcard::to_slice(&WireName::from(*record), &mut buffer)
                .map_err(|_| too_long("names", record.name.len(), MAX_NAME_BYTES))?;
            file.container.put(encoded);
        }
    }
    safety_encode::write(safety, &mut file)?;
    if let Some(regions) = &spec.regions {
        file.start(SectionId::REGIONS);
        for list in [regions.lower, regions.upper, regions.corner] {
            file.floats(list)?;
        }
    }
    file.container.finish()
}

/// Length in bytes of the file that [`encode`] writes for `spec`.
///
/// # Errors
/// As [`encode`], except [`EncodeError::BufferTooSmall`].
pub fn encoded_len(spec: &PolicySpec<'_>) -> Result<usize, EncodeError> {
    match encode(spec, &mut []) {
        Err(EncodeError::BufferTooSmall { needed, .. }) => Ok(needed),
        other => other,
    }
}

/// The META record of a specification; widths are those of its blocks.
fn meta(spec: &PolicySpec<'_>) -> Result<Meta, EncodeError> {
    let factors = Factors::from_slice(spec.factors)
        .map_err(|_| too_long("factors", spec.factors.len(), MAX_FACTORS))?;
    let selector_hidden = match spec.selector {
        Some(layers) => {
            let (_, hidden) = layers.split_last().ok_or(shape("selector", 0, 1))?;
            Some(widths("selector", hidden)?)
        }
        None => None,
    };
    let (control_hidden, heads) = match &spec.control {
        Some(control) => (
            Some(widths("control.hidden", control.hidden)?),
            control.heads.len(),
        ),
        None => (None, 0),
    };
    Ok(Meta {
        state_dim: spec.state_dim,
        control_dim: spec.control_dim,
        modes: spec.modes,
        factors,
        input: match spec.input {
            InputKind::Affine => 0,
            InputKind::UnitNorm => 1,
        },
        selector_hidden,
        control_hidden,
        control_heads: u16::try_from(heads)
            .map_err(|_| too_long("control.heads", heads, u16::MAX.into()))?,
        precision: 0,
        sample_time_s: spec.sample_time_s,
        policy_version: spec.policy_version,
    })
}

fn widths(field: &'static str, hidden: &[BlockSpec<'_>]) -> Result<Hidden, EncodeError> {
    let mut widths = Hidden::new();
    for layer in hidden {
        let width = u16::try_from(layer.bias.len())
            .map_err(|_| too_long(field, layer.bias.len(), u16::MAX.into()))?;
        widths
            .push(width)
            .map_err(|_| too_long(field, hidden.len(), MAX_HIDDEN_LAYERS))?;
    }
    Ok(widths)
}

/// Everything that is not checked while it is written.
fn check(spec: &PolicySpec<'_>, meta: &Meta) -> Result<(), EncodeError> {
    let (n, m) = (usize::from(spec.state_dim), usize::from(spec.control_dim));
    let choices = meta.choices();
    expect("choice_modes", spec.choice_modes.len(), choices)?;
    checks::check_choice_modes::<FormatError>(spec.choice_modes, spec.modes)?;
    expect("input_shift", spec.input_shift.len(), n)?;
    expect("input_scale", spec.input_scale.len(), n)?;
    checks::check_scale::<FormatError>(spec.input_scale)?;
    checks::check_selector::<FormatError>(
        choices,
        spec.scores.is_some() || spec.selector.is_some(),
    )?;
    if spec.gains.is_none() && spec.control.is_none() {
        return Err(FormatError::NoControlLaw.into());
    }
    if let Some(Bounds { lower, upper }) = spec.bounds {
        expect("bounds.lower", lower.len(), m)?;
        expect("bounds.upper", upper.len(), m)?;
        checks::check_bounds::<FormatError>(lower, upper)?;
    }
    checks::check_fallback_mode::<FormatError>(spec.fallback.mode.into(), spec.modes)?;
    expect("fallback.constant", spec.fallback.constant.len(), m)?;
    checks::check_fallback_constant::<FormatError>(spec.fallback.constant, spec.bounds)?;
    checks::check_golden_count::<FormatError>(spec.golden.len())?;
    for vector in spec.golden {
        expect("golden.state", vector.state.len(), n)?;
        expect("golden.control", vector.control.len(), m)?;
    }
    checks::check_golden::<FormatError>(spec.golden.iter().copied(), choices)?;
    for record in spec.names {
        for text in [record.name, record.unit] {
            if text.len() > MAX_NAME_BYTES {
                return Err(too_long("names", text.len(), MAX_NAME_BYTES));
            }
        }
    }
    Ok(())
}

fn check_regions(
    spec: &PolicySpec<'_>,
    safety: &Safety<'_>,
    meta: &Meta,
) -> Result<(), EncodeError> {
    let Some(regions) = &spec.regions else {
        return Ok(());
    };
    let m = usize::from(spec.control_dim);
    let lists = [
        ("regions.lower", regions.lower),
        ("regions.upper", regions.upper),
        ("regions.corner", regions.corner),
    ];
    for (field, list) in lists {
        expect(field, list.len(), meta.choices() * m)?;
    }
    region::check::<FormatError>(
        regions,
        safety,
        &region::Around {
            m,
            bounds: spec.bounds,
            choice_modes: spec.choice_modes,
            fallback_mode: spec.fallback.mode,
            fallback_constant: spec.fallback.constant,
        },
    )?;
    Ok(())
}

const fn shape(field: &'static str, found: usize, expected: usize) -> EncodeError {
    EncodeError::Shape {
        field,
        found,
        expected,
    }
}

const fn too_long(field: &'static str, found: usize, allowed: usize) -> EncodeError {
    EncodeError::TooLong {
        field,
        found,
        allowed,
    }
}

pub(crate) fn expect(
    field: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), EncodeError> {
    if found == expected {
        Ok(())
    } else {
        Err(shape(field, found, expected))
    }
}

/// The container plus the section being written, for error messages.
pub(crate) struct Writer<'o> {
    pub(crate) container: ContainerWriter<'o>,
    section: SectionId,
}

impl Writer<'_> {
    pub(crate) fn start(&mut self, section: SectionId) {
        self.container.section(section, section.is_critical());
        self.section = section;
    }

    /// A word and three zero words.
    fn header(&mut self, word: u32) {
        self.container.put_word(word);
        self.container.put_zeros(12);
    }

    fn float(&mut self, value: f32) -> Result<(), EncodeError> {
        if !value.is_finite() {
            return Err(FormatError::NonFinite {
                section: self.section,
                word: self.container.section_word(),
            }
            .into());
        }
        self.container.put_word(value.to_bits());
        Ok(())
    }

    pub(crate) fn floats(&mut self, values: &[f32]) -> Result<(), EncodeError> {
        values.iter().try_for_each(|&value| self.float(value))
    }

    /// Bias and panels of a block.
    fn block(
        &mut self,
        field: &'static str,
        block: &BlockSpec<'_>,
        rows: usize,
        columns: usize,
    ) -> Result<(), EncodeError> {
        expect(field, block.bias.len(), rows)?;
        expect(field, block.weights.len(), rows * columns)?;
        self.floats(block.bias)?;
        self.container.put_zeros(4 * (padded_rows(rows) - rows));
        let mut start = 0;
        while start < rows {
            let height = if rows - start > 4 { 8 } else { 4 };
            for column in 0..columns {
                for row in start..start + height {
                    let weight = block.weights.get(row * columns + column);
                    match weight {
                        Some(&weight) => self.float(weight)?,
                        None => self.container.put_zeros(4),
                    }
                }
            }
            start += height;
        }
        Ok(())
    }

    /// Hidden layers in order; gives the columns of the layer behind them.
    fn hidden(
        &mut self,
        field: &'static str,
        layers: &[BlockSpec<'_>],
        inputs: usize,
    ) -> Result<usize, EncodeError> {
        let mut columns = inputs;
        for layer in layers {
            let rows = layer.bias.len();
            self.block(field, layer, rows, columns)?;
            columns = rows;
        }
        Ok(columns)
    }

    fn fallback(&mut self, law: &FallbackSpec<'_>, n: usize, m: usize) -> Result<(), EncodeError> {
        self.header(law.mode.into());
        self.floats(law.constant)?;
        self.container.put_zeros(4 * (padded_rows(m) - m));
        let block = BlockSpec {
            bias: law.offset,
            weights: law.gain,
        };
        self.block("fallback", &block, m, n)
    }
}
