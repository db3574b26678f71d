//! From a binary32 policy to one with 8-bit networks.

use crate::container::RawPolicy;
use crate::encode_error::EncodeError;
use crate::golden::GoldenVector;
use crate::int8::{check_factor, check_row};
use crate::meta::{Capacity, MAX_META_BYTES, Meta};
use crate::section::SectionId;
use crate::writer::ContainerWriter;
use crate::{FormatError, MAX_SECTIONS, checks};

/// A block of R rows by K columns in 8 bits, row-major and without padding.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Int8BlockSpec<'a> {
    /// Bias in units of the sum, R of them.
    pub bias: &'a [i32],
    /// Per row: the multiplier of a hidden layer (1..=32767), the bits of the binary32 scale of an output block.
    pub factor: &'a [u32],
    /// Weights, -127..=127; the weight of row r and column k is at `r*K + k`.
    pub weights: &'a [i8],
}

/// A network in 8 bits.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Int8NetworkSpec<'a> {
    /// Scale of each input, n positive floats: what stands for `1 / scale` is quantised to 1.
    pub input_scale: &'a [f32],
    /// Hidden layers.
    pub hidden: &'a [Int8BlockSpec<'a>],
    /// Output blocks, as many as the network has in binary32.
    pub heads: &'a [Int8BlockSpec<'a>],
}

/// Writes the policy `float` with its networks in 8 bits and other golden vectors to `out`; returns the length.
///
/// Everything else is taken over as it is, sections this version does not know included. `selector` and `control`
/// are given exactly if the policy has that network. Whether the golden vectors are *true* it cannot know
/// ([`GoldenVector`] says how to make them). An empty `out` tells the length by its error.
///
/// # Errors
/// [`EncodeError`]: a policy that is not valid or has no binary32 network, a list of the wrong length, a value that no reader
/// would accept, or `out` too small.
pub fn encode_int8(
    float: &[u8],
    selector: Option<&Int8NetworkSpec<'_>>,
    control: Option<&Int8NetworkSpec<'_>>,
    golden: &[GoldenVector<'_>],
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let raw = RawPolicy::parse(float)?;
    let policy = raw.validate(&Capacity::FORMAT)?;
    let mut meta: Meta = policy.meta.clone();
    if meta.precision != 0 {
        return Err(FormatError::OutOfRange {
            field: "precision",
            found: meta.precision.into(),
            min: 0,
            max: 0,
        }
        .into());
    }
    meta.precision = 1;
    meta.check::<FormatError>()?;
    let (n, m) = (policy.state_dim(), policy.control_dim());
    for vector in golden {
        expect("golden.state", vector.state.len(), n)?;
        expect("golden.control", vector.control.len(), m)?;
    }
    checks::check_golden_count::<FormatError>(golden.len())?;
    checks::check_golden::<FormatError>(golden.iter().copied(), policy.choices())?;

    let networks = [
        (
            SectionId::SELECTOR_INT8,
            selector,
            policy.selector_hidden(),
            policy.logits(),
            1,
        ),
        (
            SectionId::CONTROL_INT8,
            control,
            policy.control_hidden(),
            m,
            policy.control_heads(),
        ),
    ];
    let mut ids: heapless::Vec<SectionId, { MAX_SECTIONS + 2 }> = heapless::Vec::new();
    let kept = raw.sections().map(|section| section.id);
    let kept = kept.filter(|&id| id != SectionId::SELECTOR && id != SectionId::CONTROL);
    let new = networks.iter().filter(|network| network.2.is_some());
    for id in kept.chain(new.map(|network| network.0)) {
        ids.push(id).map_err(|_| EncodeError::TooLong {
            field: "sections",
            found: MAX_SECTIONS + 1,
            allowed: MAX_SECTIONS,
        })?;
    }
    ids.sort_unstable();

    let mut file = ContainerWriter::new(out, raw.target_class(), ids.len());
    for id in ids {
        let flags = raw.sections().find(|s| s.id == id).map_or(1, |s| s.flags);
        file.section(id, flags & 1 == 1);
        match id {
            SectionId::META => {
                let mut buffer = [0; MAX_META_BYTES];
                let encoded = postcard::to_slice(&meta, &mut buffer);
                file.put(encoded.map_err(|_| FormatError::MetaEncoding)?);
            }
            SectionId::GOLDEN => put_golden(&mut file, golden),
            SectionId::SELECTOR_INT8 | SectionId::CONTROL_INT8 => {
                let network = networks.iter().find(|network| network.0 == id);
                if let Some(&(_, spec, Some(hidden), outputs, heads)) = network {
                    let spec = spec.ok_or(EncodeError::Shape {
                        field: "networks",
                        found: 0,
                        expected: 1,
                    })?;
                    put_network(&mut file, id, spec, n, hidden, outputs, heads)?;
                }
            }
            _ => file.put(raw.section(id).unwrap_or_default()),
        }
    }
    file.finish()
}

fn put_golden(file: &mut ContainerWriter<'_>, golden: &[GoldenVector<'_>]) {
    file.put_word(golden.len() as u32);
    file.put_zeros(12);
    for vector in golden {
        for value in vector.state {
            file.put_word(value.to_bits());
        }
        file.put_word(vector.choice);
        for value in vector.control {
            file.put_word(value.to_bits());
        }
    }
}

fn put_network(
    file: &mut ContainerWriter<'_>,
    id: SectionId,
    spec: &Int8NetworkSpec<'_>,
    n: usize,
    hidden: &[u16],
    outputs: usize,
    heads: usize,
) -> Result<(), EncodeError> {
    expect("input_scale", spec.input_scale.len(), n)?;
    checks::check_int8_input::<FormatError>(id, spec.input_scale, n)?;
    expect("hidden", spec.hidden.len(), hidden.len())?;
    expect("heads", spec.heads.len(), heads)?;
    for scale in spec.input_scale {
        file.put_word(scale.to_bits());
    }
    file.put_zeros(4 * (n.next_multiple_of(4) - n));
    let (mut columns, mut first) = (n, 0);
    for (block, &width) in spec.hidden.iter().zip(hidden) {
        put_block(file, id, block, width.into(), columns, first, false)?;
        columns = width.into();
        first += columns.next_multiple_of(4);
    }
    for block in spec.heads {
        put_block(file, id, block, outputs, columns, first, true)?;
        first += outputs.next_multiple_of(4);
    }
    Ok(())
}

fn put_block(
    file: &mut ContainerWriter<'_>,
    id: SectionId,
    block: &Int8BlockSpec<'_>,
    rows: usize,
    columns: usize,
    first: usize,
    output: bool,
) -> Result<(), EncodeError> {
    expect("block.bias", block.bias.len(), rows)?;
    expect("block.factor", block.factor.len(), rows)?;
    expect("block.weights", block.weights.len(), rows * columns)?;
    let weights = block.weights.chunks(columns);
    for (row, ((&bias, &factor), weights)) in
        block.bias.iter().zip(block.factor).zip(weights).enumerate()
    {
        check_factor::<FormatError>(id, first + row, factor, output)?;
        check_row::<FormatError>(id, first + row, bias, weights.iter().map(|&w| w.into()))?;
    }
    let bias = |row: usize| block.bias.get(row).copied().unwrap_or_default();
    let factor = |row: usize| block.factor.get(row).copied().unwrap_or_default();
    let weight = |row: usize, column: usize| {
        let inside = row < rows && column < columns;
        let weight = inside.then(|| block.weights.get(row * columns + column));
        i32::from(weight.flatten().copied().unwrap_or_default())
    };
    for panel in (0..rows).step_by(4) {
        for row in [panel, panel + 2] {
            file.put_word(bias(row) as u32);
            // Both are below 2^23, and so is their pair below 2^31.
            file.put_word((256 * bias(row + 1)).wrapping_add(bias(row)) as u32);
        }
        for pair in (0..columns.next_multiple_of(4)).step_by(2) {
            for row in [panel, panel + 2] {
                let lane = |column| {
                    let lane = 256 * weight(row + 1, column) + weight(row, column);
                    u32::from(lane as u16)
                };
                file.put_word(lane(pair) | (lane(pair + 1) << 16));
            }
        }
        if output {
            (panel..panel + 4).for_each(|row| file.put_word(factor(row)));
        } else {
            for row in [panel, panel + 2] {
                file.put_word(factor(row) | (factor(row + 1) << 16));
            }
        }
    }
    Ok(())
}

fn expect(field: &'static str, found: usize, expected: usize) -> Result<(), EncodeError> {
    if found == expected {
        Ok(())
    } else {
        Err(EncodeError::Shape {
            field,
            found,
            expected,
        })
    }
}
