//! A search for states whose control step takes the most, or the fewest, instructions.
//!
//! The firmware counts its own steps by the board's counter, under a clock of the emulator so slow that a count is exact where the
//! core has an FPU. Half of the states are drawn from a mixture, half are the slowest one so far with some of its values drawn anew.

use std::path::Path;
use std::time::Duration;

use super::Case;
use super::bound::bound;
use super::networks::NETWORKS;
use crate::bench::{Entry, entry};
use crate::device::board::{self, Board, Emulator};
use crate::device::build::build_firmware;
use crate::device::qemu::{LinkKind, Qemu, QemuConfig};
use crate::device::session::Session;
use crate::error::{Error, Result};
use crate::numeric::random::{Purpose, Stream};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Instructions of the control step over `states` states of each case that has `filter` in its name: `least`, `most`, `decided` (in how
/// many of them the policy acted; the others are refused, which is a class of its own and not counted) and, on a core without an
/// FPU, `bound`. The first step of an episode is left out. A count covers what the firmware times: [`crate::device::hil`]'s.
///
/// # Errors
/// [`Error::Usage`] for an unknown or real board or a filter that nothing has in its name; [`Error::Environment`] if tools are
/// missing or the emulator fails; [`Error::Negative`] if the device does not arm a policy.
pub fn search(
    board_name: &str,
    filter: &str,
    states: usize,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<Entry>> {
    let board = board::find(board_name)?;
    let cases: Vec<Case> = NETWORKS
        .iter()
        .flat_map(Case::of)
        .filter(|case| case.name().contains(filter))
        .collect();
    if cases.is_empty() {
        return Err(super::unknown_filter(filter));
    }
    let exact = with_exact_counts(board)?;
    progress("firmware");
    let elf = build_firmware(board, 0, &|_| {})?.elf;
    let mut entries = Vec::new();
    for case in cases {
        let name = case.name();
        progress(&name);
        let found = search_case(exact, &elf, &case, states)?;
        let figure = |what: &str, figure: u64, unit| entry(&name, what, figure as f64, unit);
        entries.push(figure("least", found.least, "instructions"));
        entries.push(figure("most", found.most, "instructions"));
        entries.push(figure("decided", found.decided, "states"));
        if let Some(bound) = bound(board.core, &case) {
            entries.push(figure("bound", bound, "instructions"));
        }
    }
    Ok(entries)
}

/// What a search found.
#[derive(Clone, Copy, Debug)]
struct Found {
    least: u64,
    most: u64,
    decided: u64,
}

/// The board with the slowest clock that QEMU has, where its counter does not wrap within a step: more than ten ticks are an
/// instruction then. Without an FPU a step takes too long for it, and some half an instruction is lost.
fn with_exact_counts(board: &Board) -> Result<&'static Board> {
    let emulator = board.emulator()?;
    let emulator = if board.core.has_fpu() {
        let shift: i32 = emulator
            .icount
            .trim_start_matches("shift=")
            .split(',')
            .next()
            .and_then(|shift| shift.parse().ok())
            .ok_or_else(|| Error::Environment(format!("{}: no shift", board.name)))?;
        Emulator {
            icount: "shift=10,sleep=off",
            ticks_per_instruction: emulator.ticks_per_instruction * 2_f64.powi(10 - shift),
            ..emulator
        }
    } else {
        emulator
    };
    // The emulator asks for a board that lives as long as the table's; one such record a search.
    Ok(Box::leak(Box::new(Board {
        emulator: Some(emulator),
        ..*board
    })))
}

fn search_case(board: &'static Board, elf: &Path, case: &Case, states: usize) -> Result<Found> {
    let policy = case.policy()?;
    let per_instruction = board.emulator()?.ticks_per_instruction;
    let mut session = Session::greet(Qemu::start(QemuConfig {
        board,
        elf,
        policy: policy.bytes(),
        link: LinkKind::Semihosting,
        timeout: PATIENCE,
    })?)?;
    if let Some(fault) = session.boot_fault() {
        return Err(Error::Negative(format!(
            "{}: the device did not arm the policy: {fault}",
            case.name()
        )));
    }
    let usual = case.shape.states().swap_remove(0);
    let mut stream = Stream::new(7, Purpose::Evaluation, usual.len() as u64);
    let mut found = Found {
        least: u64::MAX,
        most: 0,
        decided: 0,
    };
    let mut slowest = usual.clone();
    let mut begun = false;
    for seq in 0..states as u32 {
        if !begun {
            session.step(seq, &usual)?;
            begun = true;
        }
        let state = if seq % 2 == 0 {
            let kind = stream.below(KINDS);
            slowest.iter().map(|_| value(&mut stream, kind)).collect()
        } else {
            neighbour(&mut stream, &slowest)
        };
        let action = session.step(seq, &state)?;
        if action.fault != 0 {
            session.reset()?;
            begun = false;
            continue;
        }
        let count = (f64::from(action.ticks) / per_instruction).round() as u64;
        found.decided += 1;
        found.least = found.least.min(count);
        if count >= found.most {
            found.most = count;
            slowest = state;
        }
    }
    session.shut_down()?;
    Ok(found)
}

/// Kinds of value that [`value`] draws; the last of them draws among the others.
const KINDS: u64 = 7;

/// A finite value: usual, of any magnitude below 1e18, beside a threshold, subnormal, a power of two, or any bit pattern below 2^60.
fn value(stream: &mut Stream, kind: u64) -> f32 {
    let bits = stream.next_u64();
    let sign = if bits & 1 == 0 { 1.0 } else { -1.0 };
    match kind {
        0 => stream.normal() as f32,
        1 => (stream.normal() * 10_f64.powf(48.0 * stream.uniform() - 30.0)) as f32,
        2 => {
            let threshold = [9.0_f32, 1.0, 3.0, f32::MIN_POSITIVE, 0.25][(bits >> 8) as usize % 5];
            let near = threshold.to_bits().wrapping_add((bits >> 16) as u32 % 5);
            sign * f32::from_bits(near - 2)
        }
        3 => f32::from_bits((bits >> 32) as u32 & 0x807f_ffff),
        4 => sign * 2_f32.powi((bits >> 8) as i32 % 180 - 120),
        5 => {
            // Exponents up to 2^60: what the networks take without overflow.
            let raw = (bits >> 32) as u32;
            let exponent = (raw >> 23 & 0xff) % 187;
            f32::from_bits(raw & 0x807f_ffff | exponent << 23)
        }
        _ => {
            let kind = stream.below(KINDS - 1);
            value(stream, kind)
        }
    }
}

/// `state` with about a third of its values drawn anew or with a bit of their fraction turned over, at least one.
fn neighbour(stream: &mut Stream, state: &[f32]) -> Vec<f32> {
    let sure = stream.below(state.len() as u64) as usize;
    let mut other = state.to_vec();
    for (index, x) in other.iter_mut().enumerate() {
        if index != sure && stream.below(3) != 0 {
            continue;
        }
        let kind = stream.below(2 * KINDS);
        *x = if kind < KINDS {
            value(stream, kind)
        } else {
            f32::from_bits(x.to_bits() ^ 1 << stream.below(23))
        };
    }
    other
}
