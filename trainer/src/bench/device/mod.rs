//! What a control step costs on a device: `hpo bench --device`.
//!
//! The firmware that ships runs in the emulator one instruction at a time, and every executed instruction is logged. The
//! count is exact and repeats; the cycles are an estimate.

mod bound;
mod cycles;
pub mod networks;
mod run;
pub mod search;
pub mod trace;
mod verification;

use self::networks::{NETWORKS, NetworkShape};
use self::run::{Frames, run};
use self::trace::{Code, Count, Step};
use super::{Entry, entry};
use crate::device::board;
use crate::device::build::build_firmware;
use crate::error::{Error, Result};
use crate::export::PolicyBuffer;
use crate::export::int8::int8_policy;

/// Instructions of networks a to d on `board`, in binary32 and in 8 bits, of a policy of the demo's shape, and of a to c as the
/// policies of switched plants; each without the
/// sections that constrain and supervise, and with all of them (`a/f32-sections`): `step` (the whole control step, supervisor included,
/// from decoded observation to checked action), `first-step`, and `step-cycles`, an estimate. With an FPU also `network` (its kernels, from the first
/// instruction of each to its return), `overhead` (the step without all kernels), `limit` (issue 5's for the overhead), `spread` and `step-spread`
/// (greatest less least network and step over states that meet every path, the episode's first step left out of the latter),
/// and `network-cycles`; without one a step takes as many as its values make it take, and the longest of the first three such states
/// is given. Then `received` and `sent`: instructions of the link, per byte of the frames
/// (COBS, CRC-32, the message itself, the calls of the semihosting link), of all steps together.
///
/// Only what has `filter` in its name (`a/f32`, ..) is run. With the filter `verification` it is the instructions of
/// verifying a signature at a boot. `progress` is told the name before.
///
/// # Errors
/// [`Error::Usage`] for an unknown or real board, or a filter that nothing has in its name;
/// [`Error::Environment`] if tools are missing or the emulator fails.
pub fn device_bench(
    board_name: &str,
    filter: &str,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<Entry>> {
    let board = board::find(board_name)?;
    if filter == "verification" {
        return verification::verification(board, progress);
    }
    let cases: Vec<Case> = NETWORKS
        .iter()
        .flat_map(Case::of)
        .filter(|case| case.name().contains(filter))
        .collect();
    if cases.is_empty() {
        return Err(unknown_filter(filter));
    }
    let mut entries = Vec::new();
    progress("firmware");
    let elf = build_firmware(board, 0, &|_| {})?.elf;
    let code = Code::read(&elf, board.core)?;
    for case in cases {
        let name = case.name();
        progress(&name);
        let (steps, frames) = run(board, &elf, &code, &case.policy()?, &case.shape)?;
        entries.extend(figures(&name, &case, board.core.has_fpu(), &steps)?);
        entries.extend(link_figures(&name, &steps, &frames));
    }
    Ok(entries)
}

fn unknown_filter(filter: &str) -> Error {
    Error::Usage(format!(
        "--filter: found {filter}; allowed with --device: a part of a/f32, a/int8, a/f32-sections, .., d/int8-sections, \
         demo/f32, demo/f32-sections, switched-a/f32, .., switched-c/int8-sections; or verification"
    ))
}

/// What is measured at once.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The network.
    pub shape: NetworkShape,
    /// Whether the network is in 8 bits.
    pub int8: bool,
    /// Whether the policy has all sections that constrain and supervise.
    pub sections: bool,
}

impl Case {
    /// The cases of a shape.
    #[must_use]
    pub fn of(shape: &NetworkShape) -> Vec<Self> {
        let case = |int8, sections| Self {
            shape: *shape,
            int8,
            sections,
        };
        let mut cases = vec![case(false, false), case(false, true)];
        if !shape.is_quadratic() {
            cases.extend([case(true, false), case(true, true)]);
        }
        cases
    }

    /// Its name, such as `a/f32` or `a/int8-sections`.
    #[must_use]
    pub fn name(&self) -> String {
        let precision = if self.int8 { "int8" } else { "f32" };
        let sections = if self.sections { "-sections" } else { "" };
        format!("{}/{precision}{sections}", self.shape.name)
    }

    /// Its policy.
    ///
    /// # Errors
    /// [`Error::Negative`] if the policy cannot be made, which would be a bug.
    pub fn policy(&self) -> Result<PolicyBuffer> {
        let float = self.shape.policy(self.sections)?;
        if self.int8 {
            Ok(int8_policy(&float, &[])?.file)
        } else {
            Ok(float)
        }
    }
}

/// Instructions of the link per byte; the first request, before which there is no other, and the last reply are left out.
fn link_figures(name: &str, steps: &[Step], frames: &[Frames]) -> Vec<Entry> {
    let pairs = || steps.iter().zip(frames);
    let received: u64 = pairs().map(|(step, _)| step.received.instructions).sum();
    let requests: usize = pairs().map(|(_, frame)| frame.request).sum();
    let answered = steps.len().saturating_sub(1);
    let sent: u64 = pairs()
        .take(answered)
        .map(|(step, _)| step.sent.instructions)
        .sum();
    let replies: usize = pairs().take(answered).map(|(_, frame)| frame.reply).sum();
    let figure = |what: &str, instructions: u64, bytes: usize| {
        let per_byte = instructions as f64 / bytes.max(1) as f64;
        entry(name, what, per_byte, "instructions per byte")
    };
    vec![
        figure("received", received, requests),
        figure("sent", sent, replies),
    ]
}

/// The figures of one case; the first kernel calls of a step are the network.
fn figures(name: &str, case: &Case, kernels: bool, steps: &[Step]) -> Result<Vec<Entry>> {
    let calls = if kernels { case.shape.calls() } else { 0 };
    let sum = |counts: &[Count], of: fn(&Count) -> u64| counts.iter().map(of).sum::<u64>();
    let wholes = steps.iter().map(|step| step.whole.instructions);
    let greatest = wholes.max().unwrap_or_default();
    let networks = steps
        .iter()
        .filter_map(|step| Some(sum(step.kernels.get(..calls)?, |c| c.instructions)));
    let (least, most) = networks.fold((u64::MAX, 0), |(a, b), n| (a.min(n), b.max(n)));
    let slowest = steps
        .iter()
        .find(|step| step.whole.instructions == greatest && step.kernels.len() >= calls);
    let Some(step) = slowest else {
        return Err(Error::Negative(format!(
            "{name}: the longest step did not run the network"
        )));
    };
    let first = steps.first().map_or(0, |step| step.whole.instructions);
    let figure = |what: &str, figure: u64, unit| entry(name, what, figure as f64, unit);
    let estimate = |what: &str, cycles| figure(what, cycles, "cycles (estimate)");
    let mut entries = vec![
        figure("step", greatest, "instructions"),
        figure("first-step", first, "instructions"),
        estimate("step-cycles", step.whole.cycles),
    ];
    if kernels {
        let network = &step.kernels[..calls];
        let all = sum(&step.kernels, |c| c.instructions);
        let later = || steps.iter().skip(1).map(|step| step.whole.instructions);
        let step_spread = later().max().unwrap_or_default() - later().min().unwrap_or_default();
        entries.extend([
            figure("network", sum(network, |c| c.instructions), "instructions"),
            figure("overhead", greatest - all, "instructions"),
            figure("limit", case.shape.limit() as u64, "instructions"),
            figure("spread", most - least, "instructions"),
            figure("step-spread", step_spread, "instructions"),
            estimate("network-cycles", sum(network, |c| c.cycles)),
        ]);
    }
    Ok(entries)
}
