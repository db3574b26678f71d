//! 8-bit networks: blocks of 8-bit weights, integer sums, tanh from a table (`docs/policy-format.md`, section 8).
//!
//! Every number between the quantised input and the last sum is an integer, and every sum is exact: validation
//! bounds what a row can reach. So there is one right result, and kernels have to give it.

use crate::checks::is_positive_normal;
use crate::error::{FormatError, Refusal};
use crate::section::SectionId;

/// Least activation: inputs are limited to it, and no hidden unit goes below.
pub const INT8_ACTIVATION_MIN: i32 = -1024;
/// Greatest activation; it stands for 1 behind a hidden layer.
pub const INT8_ACTIVATION_MAX: i32 = 1023;
/// What a row may reach: `|bias| + 1024 * sum |weights|` is at most this, so that 256 sums and two rows in one
/// 32-bit accumulator stay exact. It limits the fan-in: 64 columns of full weights, more of smaller ones.
pub const INT8_SUM_MAX: i64 = (1 << 23) - 1;
/// Greatest multiplier of a hidden row.
pub const INT8_MULTIPLIER_MAX: u16 = 0x7fff;
/// What a multiplier of 1 is: the pre-activation of one unit of a hidden row's sum is `multiplier * 2^-26`.
pub const INT8_MULTIPLIER_UNIT: f64 = 1.0 / (1 << 26) as f64;

/// The integers nearest `1023 tanh(i / 16)`, i = 0 to 63.
const TANH_VALUES: [u32; 64] = [
    0, 64, 127, 190, 251, 310, 367, 421, 473, 522, 567, 610, 650, 686, 720, 751, 779, 805, 828,
    849, 868, 885, 900, 914, 926, 937, 947, 955, 963, 970, 976, 981, 986, 990, 994, 998, 1001,
    1003, 1005, 1007, 1009, 1011, 1012, 1014, 1015, 1016, 1017, 1017, 1018, 1019, 1019, 1020, 1020,
    1020, 1021, 1021, 1021, 1021, 1022, 1022, 1022, 1022, 1022, 1022,
];

/// tanh in 128 intervals of 1/16 from -4 on: value at the start in the upper half, its rise over the interval times
/// 256 in the lower one; the first and the last interval are flat.
#[allow(clippy::indexing_slicing)] // evaluated at compile time
pub static INT8_TANH: [u32; 128] = {
    let mut table = [0; 128];
    let mut index = 0;
    while index < 128 {
        table[index] = tanh_entry(index);
        index += 1;
    }
    table
};

#[allow(clippy::indexing_slicing)] // evaluated at compile time
const fn tanh_entry(index: usize) -> u32 {
    if index == 0 {
        0_u32.wrapping_sub(TANH_VALUES[63]) << 16
    } else if index < 64 {
        let (value, next) = (TANH_VALUES[64 - index], TANH_VALUES[63 - index]);
        (0_u32.wrapping_sub(value) << 16) | ((value - next) * 256)
    } else if index < 127 {
        let (value, next) = (TANH_VALUES[index - 64], TANH_VALUES[index - 63]);
        (value << 16) | ((next - value) * 256)
    } else {
        TANH_VALUES[63] << 16
    }
}

/// The activation of a hidden unit: `1023 tanh` of its pre-activation `sum * multiplier * 2^-26`, in integers.
///
/// `t = floor(sum * multiplier / 256)`; the interval is `t / 2^14` rounded down and limited to -64..=63; with its table
/// entry (value v, rise r) and the next 8 bits f of t the result is `(65536 v + r (f + 1)) / 65536`, rounded down.
#[inline]
#[must_use]
pub fn int8_tanh(sum: i32, multiplier: u16) -> i16 {
    let t = ((i64::from(sum) * i64::from(multiplier)) >> 8) as i32;
    let interval = (t >> 14).clamp(-64, 63);
    let fraction = (t >> 6) & 255;
    let entry = INT8_TANH
        .get((interval + 64) as usize)
        .copied()
        .unwrap_or_default() as i32;
    (entry.wrapping_add(i32::from(entry as i16) * fraction) >> 16) as i16
}

/// Quantises a network's input: `z_k * scale_k` to the nearest integer, ties to even, limited to -1024..=1023.
// Comparisons written out: they are the specification, and `clamp` holds an assertion.
#[allow(clippy::manual_clamp)]
#[inline]
#[must_use]
pub fn int8_input(z: f32, scale: f32) -> i16 {
    let limited = {
        let v = z * scale;
        if v > 1023.0 {
            1023.0
        } else if v < -1024.0 {
            -1024.0
        } else {
            v
        }
    };
    // Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the sum.
    ((limited + 12_582_912.0).to_bits() as i32 - 0x4b40_0000) as i16
}

/// Words (pairs of activations) that `count` activations take: padded to a multiple of 4.
#[inline]
#[must_use]
#[allow(clippy::manual_div_ceil)]
pub const fn int8_words(count: usize) -> usize {
    // Not `div_ceil`, which costs three instructions more on the device.
    (count + 3) / 4 * 2
}

/// A borrowed block of 8-bit weights, `rows` by `columns`, in panels of four rows.
///
/// There is no way to make one with another number of words than rows, columns and kind ask for: kernels that read
/// through pointers rely on it. A validated one keeps every sum below 2^23.
#[derive(Clone, Copy, Debug)]
pub struct Int8Block<'a> {
    words: &'a [u32],
    rows: usize,
    columns: usize,
    output: bool,
}

/// One row of a block, decoded.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Int8Row {
    /// Bias, in units of the sum.
    pub bias: i32,
    /// Multiplier of a hidden row, bits of the binary32 scale of an output row.
    pub factor: u32,
}

impl<'a> Int8Block<'a> {
    /// Words of a panel: four biases, the weights, then four 16-bit multipliers or four scales.
    const fn panel_words(columns: usize, output: bool) -> usize {
        (if output { 8 } else { 6 }) + 2 * int8_words(columns)
    }

    /// Words of a block.
    pub(crate) const fn words_of(rows: usize, columns: usize, output: bool) -> usize {
        int8_words(rows) / 2 * Self::panel_words(columns, output)
    }

    /// Takes a block from the front of `words` and gives it with the rest; `None` if they do not suffice.
    #[inline(always)]
    pub(crate) fn take(
        words: &'a [u32],
        rows: usize,
        columns: usize,
        output: bool,
    ) -> Option<(Self, &'a [u32])> {
        let (words, rest) = words.split_at_checked(Self::words_of(rows, columns, output))?;
        let block = Self {
            words,
            rows,
            columns,
            output,
        };
        Some((block, rest))
    }

    /// Number of rows, without padding.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns, without padding.
    #[must_use]
    pub const fn columns(&self) -> usize {
        self.columns
    }

    /// Whether it is an output block (scales) and not a hidden layer (multipliers).
    #[must_use]
    pub const fn is_output(&self) -> bool {
        self.output
    }

    /// The words of the block, in the layout of the file.
    #[must_use]
    pub const fn words(&self) -> &'a [u32] {
        self.words
    }

    /// The panel of a row and the row within it; padding rows included.
    fn panel(&self, row: usize) -> Option<(&'a [u32], usize)> {
        let length = Self::panel_words(self.columns, self.output);
        let start = (row / 4).checked_mul(length)?;
        Some((self.words.get(start..start.checked_add(length)?)?, row % 4))
    }

    /// Bias and factor of a row; padding rows have zeros. `None` outside the block.
    #[must_use]
    pub fn row(&self, row: usize) -> Option<Int8Row> {
        let (panel, row) = self.panel(row)?;
        let even = *panel.get(row & !1)? as i32;
        let bias = if row % 2 == 0 {
            even
        } else {
            // The odd one stands as 256 * odd + even, ready for the sum of a pair.
            (*panel.get(row)? as i32).wrapping_sub(even) >> 8
        };
        let factors = panel.get(4 + 2 * int8_words(self.columns)..)?;
        let factor = if self.output {
            *factors.get(row)?
        } else {
            (*factors.get(row / 2)? >> (16 * (row % 2))) & 0xffff
        };
        Some(Int8Row { bias, factor })
    }

    /// The weight of `row` and `column`; padding has zeros. `None` outside the block.
    #[must_use]
    pub fn weight(&self, row: usize, column: usize) -> Option<i32> {
        let (panel, row) = self.panel(row)?;
        // Four columns are four words: columns 0 and 1 of rows 0 and 1, of rows 2 and 3, then columns 2 and 3.
        let word = *panel.get(4 + column / 4 * 4 + column % 4 / 2 * 2 + row / 2)?;
        let (even, odd) = split((word >> (16 * (column % 2))) as i16);
        Some(if row % 2 == 0 { even } else { odd })
    }

    /// The sums of the rows of one panel over the packed activations `x`.
    #[inline]
    fn sums(&self, panel: &[u32], x: &[u32]) -> [i32; 4] {
        let sums = match panel {
            &[a, ab, c, cd, ..] => {
                let (a, c) = (a as i32, c as i32);
                let odd = |pair: u32, even: i32| (pair as i32).wrapping_sub(even) >> 8;
                [a, odd(ab, a), c, odd(cd, c)]
            }
            _ => [0; 4],
        };
        let groups = panel.get(4..).unwrap_or_default().as_chunks::<2>().0;
        let columns = x.iter().take(int8_words(self.columns));
        // Written out: compiled for size, loops over the lanes and rows would take three times the instructions.
        let [mut a, mut b, mut c, mut d] = sums;
        let mut add = |ab: i16, cd: i16, x: i16| {
            let x = i32::from(x);
            let ((even, odd), (even2, odd2)) = (split(ab), split(cd));
            a = a.wrapping_add(even * x);
            b = b.wrapping_add(odd * x);
            c = c.wrapping_add(even2 * x);
            d = d.wrapping_add(odd2 * x);
        };
        for (&[ab, cd], &x) in groups.iter().zip(columns) {
            add(ab as i16, cd as i16, x as i16);
            add((ab >> 16) as i16, (cd >> 16) as i16, (x >> 16) as i16);
        }
        [a, b, c, d]
    }

    /// The whole panels, one after the other. Not `chunks_exact`, whose iterator divides by the length: code for a panic on
    /// cores where it is not inlined.
    fn panels(&self, output: bool) -> impl Iterator<Item = &'a [u32]> {
        let length = Self::panel_words(self.columns, output);
        let mut words = self.words;
        core::iter::from_fn(move || {
            let (panel, rest) = words.split_at_checked(length)?;
            words = rest;
            Some(panel)
        })
    }

    /// A hidden layer: the activations of all rows for the packed activations `x`, packed two to a word.
    ///
    /// `x` holds [`int8_words`] of `columns` words and `y` as many of `rows`; shorter ones are used as far as they go.
    /// Activations of padding rows are 0.
    #[inline]
    pub fn apply_hidden(&self, x: &[u32], y: &mut [u32]) {
        let mut panels = self.panels(false);
        for y in y.as_chunks_mut::<2>().0 {
            let Some(panel) = panels.next() else {
                return;
            };
            let sums = self.sums(panel, x);
            let &[.., ab, cd] = panel else {
                return;
            };
            let [a, b, c, d] = sums;
            let pack = |even: i32, odd: i32, factors: u32| {
                let even = int8_tanh(even, factors as u16);
                let odd = int8_tanh(odd, (factors >> 16) as u16);
                u32::from(even as u16) | (u32::from(odd as u16) << 16)
            };
            *y = [pack(a, b, ab), pack(c, d, cd)];
        }
    }

    /// An output block: `y_r = sum_r * scale_r` in binary32 for the packed activations `x`.
    ///
    /// `y` holds at least the padded rows (outputs of padding rows carry no meaning).
    #[inline]
    pub fn apply_output(&self, x: &[u32], y: &mut [f32]) {
        let mut panels = self.panels(true);
        for y in y.chunks_mut(4) {
            let Some(panel) = panels.next() else {
                return;
            };
            let scales = panel.iter().skip(4 + 2 * int8_words(self.columns));
            let scales = scales.map(|&bits| f32::from_bits(bits));
            for ((y, sum), scale) in y.iter_mut().zip(self.sums(panel, x)).zip(scales) {
                *y = sum as f32 * scale;
            }
        }
    }
}

/// The two weights of a lane, `256 * odd + even`.
#[inline(always)]
const fn split(lane: i16) -> (i32, i32) {
    let even = lane as i8 as i32;
    (even, (lane as i32 - even) >> 8)
}

/// Checks one row: weights above -128 in magnitude 127, and no sum beyond what stays exact. `None` is in order.
pub(crate) fn check_row<E: Refusal>(
    section: SectionId,
    row: usize,
    bias: i32,
    weights: impl Iterator<Item = i32>,
) -> Result<(), E> {
    let mut reach = i64::from(bias).abs();
    for (column, weight) in weights.enumerate() {
        if weight.abs() > 127 {
            return Err(E::of(FormatError::Int8Weight {
                section,
                row,
                column,
            }));
        }
        reach += 1024 * i64::from(weight.abs());
    }
    if reach > INT8_SUM_MAX {
        return Err(E::of(FormatError::Int8Range {
            section,
            row,
            found: reach,
        }));
    }
    Ok(())
}

/// Checks the factor of a row: 1 to 32767, or a scale that is a normal positive number.
pub(crate) fn check_factor<E: Refusal>(
    section: SectionId,
    row: usize,
    factor: u32,
    output: bool,
) -> Result<(), E> {
    let good = if output {
        is_positive_normal(f32::from_bits(factor))
    } else {
        factor >= 1 && factor <= INT8_MULTIPLIER_MAX.into()
    };
    if good {
        Ok(())
    } else {
        Err(E::of(FormatError::Int8Factor {
            section,
            row,
            found: factor,
        }))
    }
}

impl Int8Block<'_> {
    /// Checks all rows, and that padding rows and columns are zeros. `first` is the number of rows of the section
    /// before this block, for the message.
    pub(crate) fn check<E: Refusal>(&self, section: SectionId, first: usize) -> Result<(), E> {
        let columns = self.columns.div_ceil(4) * 4;
        for row in 0..self.rows.div_ceil(4) * 4 {
            let at = first + row;
            let weight = |column| self.weight(row, column).unwrap_or_default();
            let Int8Row { bias, factor } = self.row(row).unwrap_or(Int8Row { bias: 0, factor: 0 });
            if row >= self.rows {
                if bias != 0 || factor != 0 || (0..columns).any(|column| weight(column) != 0) {
                    return Err(E::of(FormatError::Int8Padding { section, row: at }));
                }
                continue;
            }
            if (self.columns..columns).any(|column| weight(column) != 0) {
                return Err(E::of(FormatError::Int8Padding { section, row: at }));
            }
            check_factor(section, at, factor, self.output)?;
            check_row(section, at, bias, (0..self.columns).map(weight))?;
        }
        Ok(())
    }
}
