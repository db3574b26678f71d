//! What a control step costs on a device: `hpo bench --device`.
//!
//! The firmware that ships runs in the emulator one instruction at a time, and every executed instruction is logged. The
//! count is exact and repeats; the cycles are an estimate.

mod cycles;
pub mod networks;
pub mod trace;

use std::time::Duration;

use self::networks::{NETWORKS, NetworkShape};
use self::trace::{Code, Count, Step};
use super::{Entry, entry};
use crate::device::board;
use crate::device::build::build_firmware;
use crate::device::qemu::{LinkKind, Qemu, QemuConfig};
use crate::device::session::Session;
use crate::error::{Error, Result};
use crate::export::PolicyBuffer;
use crate::export::int8::int8_policy;

/// Longest wait for an answer of a device that logs every instruction.
const PATIENCE: Duration = Duration::from_secs(120);

/// Instructions of networks a to d on `board`, in binary32 and in 8 bits: `network` (its kernels, from the first
/// instruction of each to its return), `step` (the whole control step), `overhead` (the step without all kernels),
/// `spread` (greatest less least network over states that meet every path), and `network-cycles`, an estimate.
///
/// Only what has `filter` in its name (`a/f32`, ..) is run. `progress` is told the name before.
///
/// # Errors
/// [`Error::Usage`] for an unknown board, one without assembly kernels, or a filter that nothing has in its name;
/// [`Error::Environment`] if tools are missing or the emulator fails.
pub fn device_bench(
    board_name: &str,
    filter: &str,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<Entry>> {
    let board = board::find(board_name)?;
    let wanted = |shape: &NetworkShape, precision: &str| {
        format!("{}/{precision}", shape.name).contains(filter)
    };
    let mut entries = Vec::new();
    let any = NETWORKS
        .iter()
        .any(|shape| wanted(shape, "f32") || wanted(shape, "int8"));
    if !any {
        return Err(Error::Usage(format!(
            "--filter: found {filter}; allowed with --device: a part of a/f32, a/int8, .., d/int8"
        )));
    }
    progress("firmware");
    let elf = build_firmware(board, 0, &|_| {})?.elf;
    let code = Code::read(&elf)?;
    for shape in &NETWORKS {
        for precision in ["f32", "int8"] {
            if !wanted(shape, precision) {
                continue;
            }
            let name = format!("{}/{precision}", shape.name);
            progress(&name);
            let float = shape.policy()?;
            let (policy, calls) = if precision == "f32" {
                (float, shape.hidden.len() + 1)
            } else {
                // The quantisation of the input is one kernel more.
                (int8_policy(&float, &[])?.file, shape.hidden.len() + 2)
            };
            let steps = run(board, &elf, &code, &policy, shape)?;
            entries.extend(figures(&name, &steps, calls)?);
        }
    }
    Ok(entries)
}

/// Runs a step on each of the shape's states, logging every instruction.
fn run(
    board: &'static board::Board,
    elf: &std::path::Path,
    code: &Code,
    policy: &PolicyBuffer,
    shape: &NetworkShape,
) -> Result<Vec<Step>> {
    let folder = tempfile::Builder::new()
        .prefix("hpo-trace-")
        .tempdir()
        .map_err(|e| Error::io(std::env::temp_dir(), "cannot make a folder in", e))?;
    let log = folder.path().join("log");
    let arguments = [
        "-singlestep".into(),
        "-d".into(),
        "exec,nochain".into(),
        "-D".into(),
        log.clone().into_os_string(),
    ];
    let device = Qemu::start_with(
        QemuConfig {
            board,
            elf,
            policy: policy.bytes(),
            link: LinkKind::Semihosting,
            timeout: PATIENCE,
        },
        &arguments,
    )?;
    let mut session = Session::greet(device)?;
    if let Some(fault) = session.boot_fault() {
        return Err(Error::Negative(format!(
            "network {}: the device did not arm the policy: {fault}",
            shape.name
        )));
    }
    let states = shape.states();
    for (seq, state) in states.iter().enumerate() {
        session.step(seq as u32, state)?;
    }
    session.shut_down()?;
    let file = std::fs::File::open(&log).map_err(|e| Error::io(&log, "cannot read", e))?;
    let steps = code.steps(std::io::BufReader::new(file))?;
    if steps.len() == states.len() {
        Ok(steps)
    } else {
        Err(Error::Environment(format!(
            "the emulator's log has {} control steps of {}",
            steps.len(),
            states.len()
        )))
    }
}

/// The figures of one network; its first `calls` kernel calls of a step are the network.
fn figures(name: &str, steps: &[Step], calls: usize) -> Result<Vec<Entry>> {
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
    let network = &step.kernels[..calls];
    let kernels = sum(&step.kernels, |c| c.instructions);
    let figure = |what: &str, figure: u64, unit| entry(name, what, figure as f64, unit);
    let cycles = sum(network, |c| c.cycles);
    Ok(vec![
        figure("network", sum(network, |c| c.instructions), "instructions"),
        figure("step", greatest, "instructions"),
        figure("overhead", greatest - kernels, "instructions"),
        figure("spread", most - least, "instructions"),
        figure("network-cycles", cycles, "cycles (estimate)"),
    ])
}
