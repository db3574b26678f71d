//! Networks as the kernels in assembly walk them: every length, address and branch of a layer, worked out once.
#![expect(
    unsafe_code,
    reason = "assembly, and calls into it with a layout that was checked"
)]

use core::arch::global_asm;
use core::marker::PhantomData;
use policy_format::{
    Blocks, FloatNetwork, INT8_TANH, Int8Block, Int8Network, MAX_HIDDEN_LAYERS, int8_words,
};

use crate::boot::CAPACITY;

/// Floats of each of the two places that layers write to; also the distance between them.
pub(super) const PLACE: usize = {
    let widest = if CAPACITY.logits > CAPACITY.width {
        CAPACITY.logits
    } else {
        CAPACITY.width
    };
    if widest < CAPACITY.control {
        CAPACITY.control
    } else {
        widest
    }
};

/// Where a network's kernel and the number of its heads stand.
pub(super) const KERNEL: usize = core::mem::offset_of!(Network<'_>, kernel);
pub(super) const HEADS: usize = core::mem::offset_of!(Network<'_>, heads);

/// Layers of a network at most, its output block included.
const LAYERS: usize = MAX_HIDDEN_LAYERS + 1;

/// One layer, as the headers of `network_f32.s` and `network_int8.s` say.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Layer {
    words: *const u32,
    /// Bytes from one head's words to the next one's; 0 in a hidden layer.
    step: usize,
    /// Padded rows in binary32, bytes of the result in 8 bits.
    rows: usize,
    /// Bytes of the columns in eights, or in groups of four activations.
    block: usize,
    /// Columns; not read in 8 bits.
    columns: usize,
    /// Addresses in the kernel's code.
    routes: [usize; 3],
}

const NO_LAYER: Layer = Layer {
    words: core::ptr::null(),
    step: 0,
    rows: 0,
    block: 0,
    columns: 0,
    routes: [0; 3],
};

/// A network whose every layer fits the one before, and none more than [`PLACE`] floats.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Network<'p> {
    layers_used: usize,
    /// Bytes from the buffers to the first result and to the second one; every other result comes to the first place, the last one to
    /// the front.
    first: usize,
    second: usize,
    scale: *const f32,
    inputs: usize,
    tanh: *const u32,
    layers: [Layer; LAYERS],
    /// What walks the layers; `None`: there is no network.
    kernel: Option<unsafe extern "C" fn(*const u32, usize, *const f32, *mut f32)>,
    /// Number of output blocks.
    heads: usize,
    /// Where the words are.
    policy: PhantomData<&'p [u32]>,
}

impl<'p> Network<'p> {
    /// No network: without layers and heads.
    pub(super) const NONE: Self = Self {
        layers_used: 0,
        first: 0,
        second: 0,
        scale: core::ptr::null(),
        inputs: 0,
        tanh: core::ptr::null(),
        layers: [NO_LAYER; LAYERS],
        kernel: None,
        heads: 0,
        policy: PhantomData,
    };

    /// Whether there is one.
    #[inline(always)]
    pub(super) fn exists(&self) -> bool {
        self.kernel.is_some()
    }

    /// Where the results go, of which there are so many.
    fn place(&mut self, results: usize) {
        let back = PLACE * size_of::<f32>();
        self.first = if results % 2 == 1 { 0 } else { back };
        self.second = back - self.first;
    }

    fn push(&mut self, layer: Layer) -> Option<()> {
        *self.layers.get_mut(self.layers_used)? = layer;
        self.layers_used += 1;
        Some(())
    }

    /// Becomes `network`, from `inputs` to `outputs`. `None` if its layers do not follow each other or do not fit, which validation
    /// has excluded.
    pub(super) fn set(
        &mut self,
        network: &policy_format::Network<'p>,
        inputs: usize,
        outputs: usize,
    ) -> Option<()> {
        match network {
            policy_format::Network::Float(network) => self.set_float(network, inputs, outputs),
            policy_format::Network::Int8(network) => self.set_int8(network, inputs, outputs),
        }
    }

    fn set_float(
        &mut self,
        network: &FloatNetwork<'p>,
        inputs: usize,
        outputs: usize,
    ) -> Option<()> {
        let mut columns = inputs;
        for block in network.hidden() {
            if block.columns() != columns {
                return None;
            }
            let words = block.floats().as_ptr().cast();
            self.push(float_layer(words, 0, block.bias().len(), columns, false)?)?;
            columns = block.rows();
        }
        self.set_blocks(network.heads(), columns, outputs)
    }

    /// Gets these as output blocks, behind the hidden layers that it has.
    #[inline(never)]
    pub(super) fn set_blocks(
        &mut self,
        heads: &Blocks<'p>,
        columns: usize,
        outputs: usize,
    ) -> Option<()> {
        if heads.columns() != columns || heads.padded() != outputs.next_multiple_of(4) {
            return None;
        }
        let step = heads.length() * size_of::<f32>();
        let words = heads.floats().as_ptr().cast();
        self.push(float_layer(words, step, heads.padded(), columns, true)?)?;
        self.place(self.layers_used);
        self.heads = heads.count();
        self.kernel = Some(hpo_network_f32);
        Some(())
    }

    fn set_int8(&mut self, network: &Int8Network<'p>, inputs: usize, outputs: usize) -> Option<()> {
        if network.input_scale().len() < inputs || int8_words(inputs) > PLACE {
            return None;
        }
        self.inputs = inputs;
        self.scale = network.input_scale().as_ptr();
        // The entry of interval 0: the table has 64 in front of it.
        self.tanh = INT8_TANH.as_ptr().wrapping_add(64);
        let mut columns = inputs;
        for block in network.hidden() {
            self.push(int8_layer(block, 0, columns, block.rows(), false)?)?;
            columns = block.rows();
        }
        let head = network.head(0)?;
        let length = head.words().len();
        let step = length * size_of::<u32>();
        self.push(int8_layer(&head, step, columns, outputs, true)?)?;
        // The quantised input is a result too.
        self.place(self.layers_used + 1);
        self.heads = network.heads().len().checked_div(length)?;
        self.kernel = Some(hpo_network_int8);
        Some(())
    }

    /// Number of output blocks.
    pub(super) fn heads(&self) -> usize {
        self.heads
    }
}

/// A layer in binary32 with this many padded rows; `None` if it has none or they do not fit with what tanh leaves behind them, or
/// without columns.
#[inline(never)]
fn float_layer(
    words: *const u32,
    step: usize,
    padded: usize,
    columns: usize,
    linear: bool,
) -> Option<Layer> {
    let lost = if linear { 0 } else { 8 };
    if padded == 0 || padded > PLACE - lost || columns == 0 {
        return None;
    }
    // SAFETY: a table in the code that nothing writes.
    let [tanh, straight, tail, short, even, odd] = unsafe { hpo_routes_f32 };
    let sums = if linear { straight } else { tanh };
    let eights = match columns % 8 {
        0 => sums,
        4.. => tail,
        _ => short,
    };
    let begin = match columns / 8 {
        0 => eights,
        count if count % 2 == 0 => even,
        _ => odd,
    };
    Some(Layer {
        words,
        step,
        rows: padded,
        block: columns / 8 * 8 * size_of::<f32>(),
        columns,
        routes: [sums, eights, begin],
    })
}

/// A layer in 8 bits; `None` if its shape is not the one that its neighbours ask for, or does not fit.
#[inline(never)]
fn int8_layer(
    block: &Int8Block<'_>,
    step: usize,
    columns: usize,
    rows: usize,
    output: bool,
) -> Option<Layer> {
    let (groups, panels) = (int8_words(columns) / 2, int8_words(rows) / 2);
    let bytes = if output { 16 * panels } else { 8 * panels };
    let fits = block.is_output() == output && block.columns() == columns && block.rows() == rows;
    if !fits || groups == 0 || panels == 0 || bytes > PLACE * size_of::<f32>() {
        return None;
    }
    // SAFETY: a table in the code that nothing writes.
    let [hidden, end, entries @ ..] = unsafe { hpo_routes_int8 };
    let entry = entries.get(groups % 4)?;
    Some(Layer {
        words: block.words().as_ptr(),
        step,
        rows: bytes,
        block: 8 * groups,
        columns,
        routes: [if output { end } else { hidden }, 0, *entry],
    })
}

// SAFETY: the text defines the function and the table below, whose contracts its header states, local labels, and
// macros that it removes again. It changes neither section nor instruction set for what follows.
global_asm!(include_str!("network_f32.s"), options(raw));

// SAFETY: the signatures are those in the header of `network_f32.s`.
unsafe extern "C" {
    fn hpo_network_f32(network: *const u32, head: usize, x: *const f32, buffers: *mut f32);
    static hpo_routes_f32: [usize; 6];
}

// SAFETY: as for `network_f32.s`. The directive in front lets the assembler take the DSP instructions, which cores without have no
// use for: they are built with the feature `no-dsp`.
#[cfg(hpo_v8m)]
global_asm!(
    ".cpu cortex-m33",
    include_str!("network_int8.s"),
    options(raw)
);
// SAFETY: as for `network_f32.s`.
#[cfg(not(hpo_v8m))]
global_asm!(include_str!("network_int8.s"), options(raw));

// SAFETY: the signatures are those in the header of `network_int8.s`.
unsafe extern "C" {
    fn hpo_network_int8(network: *const u32, head: usize, x: *const f32, buffers: *mut f32);
    static hpo_routes_int8: [usize; 6];
}
