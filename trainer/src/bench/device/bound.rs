//! The most instructions of a control step on a core without an FPU.
//!
//! There binary32 is software, and its instructions depend on the values. Each routine has a longest path: its code has no loop, so
//! the path is the longest way through the branches of its disassembly (compiler-builtins as the Debian package of rustc 1.96
//! compiles it). A step makes a number of calls that its shape fixes; all of them on their longest path at once, with what
//! stands around them, is the bound. How near a search comes to it: docs/benchmarks.md.

use policy_format::padded_rows;

use super::Case;
use super::networks::NetworkShape;
use crate::device::board::Core;

/// Instructions of the longest path of each routine, and what stands around them, taken amply.
struct Costs {
    add: u64,
    multiply: u64,
    divide: u64,
    compare: u64,
    /// Around a multiply-add: loads, the call's moves, the loop.
    around: u64,
    /// A multiply-add of 8-bit networks, whole: a product of integers, taking apart a lane, its share of the loop.
    integer: u64,
    /// Around a row of a layer or of a quadratic form, and around a state, a control or a choice.
    each: u64,
    /// Once a step.
    once: u64,
}

const M0: Costs = Costs {
    add: 285,
    multiply: 263,
    divide: 307,
    compare: 33,
    around: 22,
    integer: 30,
    each: 100,
    once: 2_000,
};

const M3: Costs = Costs {
    add: 110,
    multiply: 90,
    divide: 126,
    compare: 25,
    around: 18,
    integer: 20,
    each: 80,
    once: 1_500,
};

/// Calls of a step's arithmetic.
#[derive(Default)]
struct Calls {
    multiply_adds: usize,
    integers: usize,
    multiplies: usize,
    adds: usize,
    divides: usize,
    compares: usize,
    each: usize,
}

/// The bound of a control step of `case` after the episode's first, on a `core` without an FPU; `None` with one, where every step
/// takes the same number.
pub fn bound(core: Core, case: &Case) -> Option<u64> {
    let costs = match core {
        Core::M0 => M0,
        Core::M3 => M3,
        _ => return None,
    };
    let calls = calls(&case.shape, case.int8, case.sections);
    let sum = |count: usize, cost: u64| count as u64 * cost;
    Some(
        sum(
            calls.multiply_adds,
            costs.multiply + costs.add + costs.around,
        ) + sum(calls.integers, costs.integer)
            + sum(calls.multiplies, costs.multiply + costs.around)
            + sum(calls.adds, costs.add + costs.around)
            + sum(calls.divides, costs.divide + costs.around)
            + sum(calls.compares, costs.compare + costs.around)
            + sum(calls.each, costs.each)
            + costs.once,
    )
}

fn calls(shape: &NetworkShape, int8: bool, sections: bool) -> Calls {
    let mut calls = Calls::default();
    let (n, m, choices) = (shape.inputs, shape.controls(), shape.choices());
    if shape.is_quadratic() {
        let monomials = n * (n + 1) / 2;
        block(&mut calls, choices, monomials);
        // The products of two inputs are formed anew for each panel of eight rows.
        calls.multiplies += padded_rows(choices).div_ceil(8) * monomials;
    } else {
        let first = if shape.laws > 0 {
            shape.laws
        } else {
            shape.outputs
        };
        let network = if int8 { int8_network } else { network };
        network(&mut calls, shape, first);
        if shape.laws > 0 {
            network(&mut calls, shape, m);
        }
    }
    if !shape.is_control() && shape.laws == 0 {
        block(&mut calls, m, n);
    }
    // Shift and scale; the greatest logit; the bounds.
    calls.adds += n;
    calls.multiplies += n;
    calls.compares += choices + 2 * m;
    calls.each += n + m + choices;
    if sections {
        // Both boxes; hysteresis; rate limits.
        calls.compares += 4 * n + choices + 2 * m;
        calls.adds += choices + 2 * m;
        calls.each += n + m + choices;
    }
    calls
}

/// A network from the inputs through the hidden layers to one block of `outputs`.
fn network(calls: &mut Calls, shape: &NetworkShape, outputs: usize) {
    let mut columns = shape.inputs;
    for &width in shape.hidden {
        block(calls, width, columns);
        // tanh: the clamp, the square, two polynomials of degree four, a product and a quotient.
        calls.compares += 2 * width;
        calls.multiplies += 10 * width;
        calls.adds += 8 * width;
        calls.divides += width;
        columns = width;
    }
    block(calls, outputs, columns);
}

/// The same in 8 bits: the inputs are quantised, sums and tanh are of integers, and the outputs scaled.
fn int8_network(calls: &mut Calls, shape: &NetworkShape, outputs: usize) {
    let mut columns = shape.inputs;
    // A product, the two limits, the rounding addition.
    calls.multiplies += columns;
    calls.compares += 2 * columns;
    calls.adds += columns;
    calls.each += columns;
    for &width in shape.hidden {
        int8_block(calls, width, columns);
        columns = width;
    }
    int8_block(calls, outputs, columns);
    // Conversion of a sum, which takes less than an addition, and its scale.
    calls.adds += padded_rows(outputs);
    calls.multiplies += padded_rows(outputs);
}

fn int8_block(calls: &mut Calls, rows: usize, columns: usize) {
    let rows = padded_rows(rows);
    calls.integers += rows * columns.next_multiple_of(4);
    // A row's share of its panel's start, its activation by a product of 64 bits and the table.
    calls.each += 3 * rows;
}

fn block(calls: &mut Calls, rows: usize, columns: usize) {
    let rows = padded_rows(rows);
    calls.multiply_adds += rows * columns;
    calls.each += rows;
}
