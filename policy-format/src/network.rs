//! The two kinds of network a policy may hold.

use crate::arithmetic::tanh;
use crate::block::{Block, Blocks, block_len, padded_rows};
use crate::int8::{Int8Block, int8_input, int8_words};

/// A network in binary32 or in 8 bits.
#[derive(Clone, Debug)]
pub enum Network<'a> {
    /// In binary32.
    Float(FloatNetwork<'a>),
    /// In 8 bits.
    Int8(Int8Network<'a>),
}

/// Hidden layers, then one or several output blocks, in binary32.
///
/// There is no way to make one whose layers do not follow each other: the first has [`FloatNetwork::inputs`] columns, every other
/// one, and every output block, as many as the layer before has rows, and none has more padded rows than
/// [`FloatNetwork::width`]. Kernels that read through pointers rely on it.
#[derive(Clone, Debug)]
pub struct FloatNetwork<'a> {
    pub(crate) hidden: heapless::Vec<Block<'a>, { crate::MAX_HIDDEN_LAYERS }, u8>,
    pub(crate) heads: Blocks<'a>,
    inputs: usize,
    width: usize,
}

/// The same in 8 bits, and the scales of its inputs. Its layers follow each other too.
#[derive(Clone, Debug)]
pub struct Int8Network<'a> {
    pub(crate) input_scale: &'a [f32],
    pub(crate) hidden: heapless::Vec<Int8Block<'a>, { crate::MAX_HIDDEN_LAYERS }, u8>,
    heads: &'a [u32],
    outputs: usize,
    columns: usize,
}

impl<'a> Network<'a> {
    /// The blocks in file order; none of an 8-bit network.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Block<'a>> + '_ {
        let network = match self {
            Self::Float(network) => Some(network),
            Self::Int8(_) => None,
        };
        network
            .into_iter()
            .flat_map(|n| n.hidden.iter().copied().chain(n.heads.iter()))
    }

    /// The blocks of an 8-bit network in file order; none of another.
    pub(crate) fn int8_blocks(&self) -> impl Iterator<Item = Int8Block<'a>> + '_ {
        let network = match self {
            Self::Float(_) => None,
            Self::Int8(network) => Some(network),
        };
        network.into_iter().flat_map(|n| {
            let heads = (0..).map_while(|head| n.head(head));
            n.hidden.iter().copied().chain(heads)
        })
    }

    /// Runs the hidden layers and output block `head` on `input`, with the two halves of `buffers`; the outputs are at the front of
    /// the first. `false` if there is no such block or the buffers do not suffice.
    #[inline]
    pub(crate) fn run(&self, head: usize, input: &[f32], buffers: &mut [f32]) -> bool {
        match self {
            Self::Float(network) => network.run(head, input, buffers),
            Self::Int8(network) => network.run(head, input, buffers),
        }
    }
}

impl<'a> FloatNetwork<'a> {
    /// Splits the floats of a network `inputs -> hidden.. -> heads blocks of outputs rows`; `None` if they do
    /// not have exactly the length of [`network_len`].
    pub(crate) fn new(
        mut floats: &'a [f32],
        inputs: usize,
        hidden: &[u16],
        outputs: usize,
        heads: usize,
    ) -> Option<Self> {
        let mut blocks = heapless::Vec::new();
        let mut columns = inputs;
        let mut padded = padded_rows(outputs);
        for &width in hidden {
            let (block, rest) = Block::take(floats, width.into(), columns)?;
            blocks.push(block).ok()?;
            floats = rest;
            columns = width.into();
            padded = padded.max(padded_rows(columns));
        }
        Some(Self {
            hidden: blocks,
            heads: Blocks::new(floats, outputs, columns, heads)?,
            inputs,
            width: padded,
        })
    }

    /// Hidden layers.
    #[inline(always)]
    #[must_use]
    pub fn hidden(&self) -> &[Block<'a>] {
        &self.hidden
    }

    /// Output blocks.
    #[inline(always)]
    #[must_use]
    pub const fn heads(&self) -> &Blocks<'a> {
        &self.heads
    }

    /// Number of inputs.
    #[inline(always)]
    #[must_use]
    pub const fn inputs(&self) -> usize {
        self.inputs
    }

    /// Greatest number of padded rows of a layer: floats that each of the two buffers needs.
    #[inline(always)]
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    fn run(&self, head: usize, input: &[f32], buffers: &mut [f32]) -> bool {
        let Some(output) = self.heads.get(head) else {
            return false;
        };
        let (mut current, mut next) = halves(buffers);
        if current.len() < self.width || next.len() < self.width || input.len() < self.inputs {
            return false;
        }
        // So that the last of hidden.len() + 1 results comes into the first half.
        if self.hidden.len() % 2 == 1 {
            core::mem::swap(&mut current, &mut next);
        }
        let mut layers = self.hidden.iter();
        let Some(layer) = layers.next() else {
            output.apply(input, current);
            return true;
        };
        dense_tanh(layer, input, current);
        for layer in layers {
            dense_tanh(layer, current, next);
            core::mem::swap(&mut current, &mut next);
        }
        output.apply(current, next);
        true
    }
}

impl<'a> Int8Network<'a> {
    /// Scales of the inputs, with zeros behind them up to a multiple of four.
    #[must_use]
    pub const fn input_scale(&self) -> &'a [f32] {
        self.input_scale
    }

    /// Hidden layers.
    #[must_use]
    pub fn hidden(&self) -> &[Int8Block<'a>] {
        &self.hidden
    }

    /// As [`FloatNetwork::new`], with the scales of the inputs in front.
    pub(crate) fn new(
        words: &'a [u32],
        inputs: usize,
        hidden: &[u16],
        outputs: usize,
        heads: usize,
    ) -> Option<Self> {
        let (scales, mut words) = words.split_at_checked(inputs.div_ceil(4) * 4)?;
        let mut blocks = heapless::Vec::new();
        let mut columns = inputs;
        for &width in hidden {
            let (block, rest) = Int8Block::take(words, width.into(), columns, false)?;
            blocks.push(block).ok()?;
            words = rest;
            columns = width.into();
        }
        let length = Int8Block::words_of(outputs, columns, true).checked_mul(heads)?;
        (words.len() == length).then_some(Self {
            input_scale: bytemuck::try_cast_slice(scales).ok()?,
            hidden: blocks,
            heads: words,
            outputs,
            columns,
        })
    }

    /// The words of all output blocks, one behind the other.
    #[must_use]
    pub const fn heads(&self) -> &'a [u32] {
        self.heads
    }

    /// Output block `head`, `None` beyond the last one.
    #[must_use]
    pub fn head(&self, head: usize) -> Option<Int8Block<'a>> {
        let length = Int8Block::words_of(self.outputs, self.columns, true);
        let words = self.heads.get(length.checked_mul(head)?..)?;
        let (block, _) = Int8Block::take(words, self.outputs, self.columns, true)?;
        Some(block)
    }

    fn run(&self, head: usize, input: &[f32], buffers: &mut [f32]) -> bool {
        let Some(output) = self.head(head) else {
            return false;
        };
        let (mut current, mut next) = halves(buffers);
        // So that the last of hidden.len() + 2 results comes into the first half.
        if self.hidden.len().is_multiple_of(2) {
            core::mem::swap(&mut current, &mut next);
        }
        quantise(input, self.input_scale, words_mut(current));
        for layer in &self.hidden {
            layer.apply_hidden(words(current), words_mut(next));
            core::mem::swap(&mut current, &mut next);
        }
        output.apply_output(words(current), next);
        true
    }
}

/// A hidden layer: the block, then [`tanh`] of every row.
fn dense_tanh(block: &Block<'_>, x: &[f32], y: &mut [f32]) {
    block.apply(x, y);
    for y in y.iter_mut().take(block.rows()) {
        *y = tanh(*y);
    }
}

/// Quantises an input for an 8-bit network ([`int8_input`]) and packs it two to a word, padded with zeros to a
/// multiple of four activations. `x` is used as far as it goes.
fn quantise(z: &[f32], scale: &[f32], x: &mut [u32]) {
    let mut inputs = z
        .iter()
        .zip(scale)
        .map(|(&z, &scale)| u32::from(int8_input(z, scale) as u16));
    for x in x.iter_mut().take(int8_words(z.len())) {
        let low = inputs.next().unwrap_or_default();
        *x = low | (inputs.next().unwrap_or_default() << 16);
    }
}

/// A buffer as words: floats and words have one size and alignment.
#[inline(always)]
fn words(floats: &[f32]) -> &[u32] {
    bytemuck::must_cast_slice(floats)
}

#[inline(always)]
fn words_mut(floats: &mut [f32]) -> &mut [u32] {
    bytemuck::must_cast_slice_mut(floats)
}

/// Floats of a network, in 64 bits: 4096 heads of the greatest size exceed 32.
pub(crate) fn network_len(inputs: usize, hidden: &[u16], outputs: usize, heads: usize) -> u64 {
    let (mut total, mut columns) = (0_u64, inputs);
    for &width in hidden {
        total += block_len(width.into(), columns) as u64;
        columns = width.into();
    }
    total + block_len(outputs, columns) as u64 * heads as u64
}

/// Words of an 8-bit network.
pub(crate) fn int8_network_len(inputs: usize, hidden: &[u16], outputs: usize, heads: usize) -> u64 {
    let (mut total, mut columns) = (2 * int8_words(inputs) as u64, inputs);
    for &width in hidden {
        total += Int8Block::words_of(width.into(), columns, false) as u64;
        columns = width.into();
    }
    total + Int8Block::words_of(outputs, columns, true) as u64 * heads as u64
}

/// Both halves of `buffers`, the second one longer if its length is odd. Not `split_at_mut`: where the compiler loses sight of the length, that is
/// code for a panic on the device.
#[inline(always)]
pub(crate) fn halves(buffers: &mut [f32]) -> (&mut [f32], &mut [f32]) {
    let middle = buffers.len() / 2;
    buffers.split_at_mut_checked(middle).unwrap_or_default()
}
