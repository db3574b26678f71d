//! Blocks: a bias and a matrix laid out in panels of eight or four rows.

/// Number of rows after padding: panels of 8 while 5 or more rows remain, then a panel of 4 for 1 to 4.
#[inline]
#[must_use]
pub const fn padded_rows(rows: usize) -> usize {
    rows.div_ceil(4) * 4
}

/// Floats of a block of `rows` by `columns`: bias and panels. Both stay within the limits of the format
/// (4104 padded rows, 32896 columns), so 32-bit arithmetic is enough.
#[inline]
pub(crate) const fn block_len(rows: usize, columns: usize) -> usize {
    padded_rows(rows) * (columns + 1)
}

/// A borrowed block of `rows` by `columns`, in the panel layout of the file.
///
/// There is no way to make one in which `bias` has another length than [`padded_rows`] of `rows`, or `panels` another
/// than that times `columns`, and [`Block::floats`] is the two, one behind the other: kernels that read through pointers rely on it.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    floats: &'a [f32],
    bias: &'a [f32],
    weights: &'a [f32],
    rows: usize,
    columns: usize,
}

impl<'a> Block<'a> {
    /// Takes a block from the front of `floats` and gives it with the rest; `None` if they do not suffice.
    #[inline(always)]
    pub(crate) fn take(
        floats: &'a [f32],
        rows: usize,
        columns: usize,
    ) -> Option<(Self, &'a [f32])> {
        let padded = padded_rows(rows);
        let weights = padded.checked_mul(columns)?;
        let (floats, rest) = floats.split_at_checked(padded.checked_add(weights)?)?;
        let (bias, weights) = floats.split_at_checked(padded)?;
        let block = Self {
            floats,
            bias,
            weights,
            rows,
            columns,
        };
        Some((block, rest))
    }

    /// Number of rows, without padding (outputs).
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns (inputs).
    #[must_use]
    pub const fn columns(&self) -> usize {
        self.columns
    }

    /// [`Block::bias`] and [`Block::panels`], one behind the other.
    #[must_use]
    pub const fn floats(&self) -> &'a [f32] {
        self.floats
    }

    /// The bias, [`padded_rows`] floats.
    #[must_use]
    pub const fn bias(&self) -> &'a [f32] {
        self.bias
    }

    /// The weights in panel order, [`padded_rows`] times `columns` floats: panel after panel of 8 rows, the last
    /// one of 4 where the padded row count is not a multiple of 8; within a panel column after column.
    #[must_use]
    pub const fn panels(&self) -> &'a [f32] {
        self.weights
    }

    /// Weight of `row` and `column`, `None` outside the block (padding rows are outside).
    #[must_use]
    pub fn weight(&self, row: usize, column: usize) -> Option<f32> {
        if row >= self.rows || column >= self.columns {
            return None;
        }
        let start = row / 8 * 8;
        let height = if self.bias.len() - start < 8 { 4 } else { 8 };
        let index = start * self.columns + column * height + (row - start);
        self.weights.get(index).copied()
    }

    /// Index in [`Block::bias`] of the first padding value that is not +0.0, or in [`Block::panels`] plus the
    /// padded rows; `None` if all padding is clean.
    pub(crate) fn dirty_padding(&self) -> Option<usize> {
        let padding = self.bias.len() - self.rows;
        if padding == 0 {
            return None;
        }
        let unclean = |v: &f32| v.to_bits() != 0;
        if let Some(i) = self.bias.iter().skip(self.rows).position(unclean) {
            return Some(self.rows + i);
        }
        // Padding is at most 3 rows: all of it lies in the last panel.
        let height = if self.bias.len().is_multiple_of(8) {
            8
        } else {
            4
        };
        let first = (self.bias.len() - height) * self.columns;
        let used = height - padding;
        let panel = self.weights.get(first..).unwrap_or_default();
        panel
            .iter()
            .enumerate()
            .position(|(i, v)| i % height >= used && unclean(v))
            .map(|i| self.bias.len() + first + i)
    }

    /// Applies the block: `y_r = bias_r + sum_k w_rk x_k`, k ascending, product and sum rounded separately.
    ///
    /// `x` holds `columns` floats and `y` at least `rows`. A longer `y` receives padding outputs, which carry no
    /// meaning, behind the rows. Cannot panic: a shorter `x` or `y` is used as far as it goes.
    #[inline]
    pub fn apply(&self, x: &[f32], y: &mut [f32]) {
        self.each_panel(&Direct(x), y);
    }

    /// Applies the block to the monomials `z_i * z_k`, i <= k, of `z` in the order (0,0), (0,1)..(1,1)..
    ///
    /// `columns` is n(n+1)/2 for n inputs; `y` as in [`Block::apply`]. The monomials are formed on the way: no
    /// buffer of n(n+1)/2 floats is needed.
    #[inline]
    pub fn apply_to_monomials(&self, z: &[f32], y: &mut [f32]) {
        self.each_panel(&Monomials(z), y);
    }

    /// As [`Block::apply`], row by row: the same bits from less code, for what is not worth speed.
    pub(crate) fn apply_rows(&self, x: &[f32], y: &mut [f32]) {
        for (row, (y, &bias)) in y.iter_mut().zip(self.bias).enumerate() {
            let weights = (0..self.columns).map_while(|column| self.weight(row, column));
            *y = weights.zip(x).fold(bias, |sum, (w, &x)| sum + w * x);
        }
    }

    #[inline(always)]
    fn each_panel(&self, inputs: &impl Inputs, y: &mut [f32]) {
        // The layout needs no panel counts: what chunks of 8 leave over is the panel of 4, or nothing.
        let (biases, bias_rest) = self.bias.as_chunks::<8>();
        let mut panels = self.weights.chunks_exact((8 * self.columns).max(8));
        let mut outputs = y.chunks_mut(8);
        for ((bias, panel), output) in biases.iter().zip(&mut panels).zip(&mut outputs) {
            let sums = inputs.accumulate(*bias, panel.as_chunks::<8>().0);
            store(output, sums);
        }
        if let (Some(bias), Some(output)) = (bias_rest.first_chunk::<4>(), outputs.next()) {
            let sums = inputs.accumulate(*bias, panels.remainder().as_chunks::<4>().0);
            store(output, sums);
        }
    }
}

/// Writes the outputs of a panel, as many as there is room for.
#[inline(always)]
fn store<const H: usize>(output: &mut [f32], sums: [f32; H]) {
    for (y, sum) in output.iter_mut().zip(sums) {
        *y = sum;
    }
}

/// The input of a block: how columns meet their values.
trait Inputs {
    /// `accumulator + sum_k column_k * x_k`, k ascending, product and sum rounded separately.
    fn accumulate<const H: usize>(&self, accumulator: [f32; H], columns: &[[f32; H]]) -> [f32; H];
}

struct Direct<'x>(&'x [f32]);

impl Inputs for Direct<'_> {
    #[inline(always)]
    fn accumulate<const H: usize>(
        &self,
        mut accumulator: [f32; H],
        columns: &[[f32; H]],
    ) -> [f32; H] {
        for (column, &x) in columns.iter().zip(self.0) {
            add_scaled(&mut accumulator, column, x);
        }
        accumulator
    }
}

struct Monomials<'x>(&'x [f32]);

impl Inputs for Monomials<'_> {
    #[inline(always)]
    fn accumulate<const H: usize>(
        &self,
        mut accumulator: [f32; H],
        columns: &[[f32; H]],
    ) -> [f32; H] {
        let (mut columns, mut tail) = (columns, self.0);
        while let Some((&first, rest)) = tail.split_first() {
            let Some((line, below)) = columns.split_at_checked(tail.len()) else {
                break;
            };
            for (column, &other) in line.iter().zip(tail) {
                add_scaled(&mut accumulator, column, first * other);
            }
            (columns, tail) = (below, rest);
        }
        accumulator
    }
}

#[inline(always)]
fn add_scaled<const H: usize>(accumulator: &mut [f32; H], column: &[f32; H], x: f32) {
    for (a, &w) in accumulator.iter_mut().zip(column) {
        *a += w * x;
    }
}

/// Several blocks of one shape, one behind the other.
///
/// As of a [`Block`], there is no way to make one whose floats do not have the length its numbers say.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    floats: &'a [f32],
    rows: usize,
    columns: usize,
    /// Floats of one block.
    length: usize,
    /// Rows of one, padded.
    padded: usize,
    count: usize,
}

impl<'a> Blocks<'a> {
    /// Takes `count` blocks of `rows` by `columns` that fill `floats` exactly, else `None`.
    pub(crate) fn new(
        floats: &'a [f32],
        rows: usize,
        columns: usize,
        count: usize,
    ) -> Option<Self> {
        let length = block_len(rows, columns);
        (length.checked_mul(count)? == floats.len()).then_some(Self {
            floats,
            rows,
            columns,
            length,
            padded: padded_rows(rows),
            count,
        })
    }

    /// The block of `index`, `None` beyond the last one.
    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> Option<Block<'a>> {
        // Beyond the last one this is beyond the floats, as `new` checked their number.
        let start = self.length.wrapping_mul(index);
        let floats = self.floats.get(start..start.wrapping_add(self.length))?;
        let (bias, weights) = floats.split_at_checked(self.padded)?;
        Some(Block {
            floats,
            bias,
            weights,
            rows: self.rows,
            columns: self.columns,
        })
    }

    /// Floats of all blocks, one behind the other: [`Blocks::count`] times [`Blocks::length`].
    #[inline(always)]
    #[must_use]
    pub const fn floats(&self) -> &'a [f32] {
        self.floats
    }

    /// Number of blocks.
    #[inline(always)]
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Floats of one block: its bias of [`Blocks::padded`] floats, then that times [`Blocks::columns`] weights.
    #[inline(always)]
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Rows of one block, padded.
    #[inline(always)]
    #[must_use]
    pub const fn padded(&self) -> usize {
        self.padded
    }

    /// Columns of one block.
    #[inline(always)]
    #[must_use]
    pub const fn columns(&self) -> usize {
        self.columns
    }

    /// All blocks, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Block<'a>> + use<'a> {
        let blocks = *self;
        (0..).map_while(move |index| blocks.get(index))
    }
}
