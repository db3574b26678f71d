//! A run of the emulator that logs every instruction.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use policy_format::message::{Action, MAX_FRAME, Reply, Request, encode_frame};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::networks::NetworkShape;
use super::trace::{Code, Step};
use crate::device::board::Board;
use crate::device::qemu::{LinkKind, Qemu, QemuConfig};
use crate::device::session::Session;
use crate::error::{Error, Result};
use crate::export::PolicyBuffer;

/// States on a core without an FPU, where a step has a million instructions and more.
const SAMPLES: usize = 3;

/// Longest wait for an answer of a device that logs every instruction.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes of a step's two frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frames {
    pub request: usize,
    pub reply: usize,
}

impl Frames {
    fn of(seq: u32, state: &[f32], action: &Action) -> Option<Self> {
        let mut frame = [0; MAX_FRAME];
        Some(Self {
            request: encode_frame(&Request::step(seq, state)?, &mut frame).ok()?,
            reply: encode_frame(&Reply::Action(action.clone()), &mut frame).ok()?,
        })
    }
}

/// Runs a step on each of the shape's states, logging every instruction; the steps, and the bytes of their frames.
pub(super) fn run(
    board: &'static Board,
    elf: &Path,
    code: &Code,
    policy: &PolicyBuffer,
    shape: &NetworkShape,
) -> Result<(Vec<Step>, Vec<Frames>)> {
    let folder = tempfile::Builder::new()
        .prefix("hpo-trace-")
        .tempdir()
        .map_err(|e| Error::io(std::env::temp_dir(), "cannot make a folder in", e))?;
    let log = folder.path().join("log");
    // A step without an FPU fills hundreds of megabytes: it is read while it is written.
    let pipe_error = |e: std::io::Error| Error::io(&log, "cannot make a pipe", e);
    mknodat(CWD, &log, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .map_err(|e| pipe_error(e.into()))?;
    // Held open on both ends, so that neither waits for the other to open.
    let mut both = std::fs::OpenOptions::new();
    let held = both.read(true).write(true).open(&log).map_err(pipe_error)?;
    let pipe = std::fs::File::open(&log).map_err(pipe_error)?;
    let arguments = [
        "-singlestep".into(),
        "-d".into(),
        "exec,nochain".into(),
        "-D".into(),
        log.clone().into_os_string(),
    ];
    let states = match board.core.has_fpu() {
        true => shape.states(),
        false => shape.states().into_iter().take(SAMPLES).collect(),
    };
    let (steps, frames) = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut pipe = std::io::BufReader::new(pipe);
            let steps = code.steps(&mut pipe);
            // What cannot be read is taken all the same: the emulator waits for that.
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
            steps
        });
        let frames = drive(board, elf, policy, shape, &states, &arguments);
        drop(held);
        let steps = reader
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, Error>((steps?, frames?))
    })?;
    if steps.len() == states.len() && frames.len() == states.len() {
        Ok((steps, frames))
    } else {
        Err(Error::Environment(format!(
            "the emulator's log has {} control steps of {}",
            steps.len(),
            states.len()
        )))
    }
}

/// Runs a step on each of the states; the bytes of the frames.
fn drive(
    board: &'static Board,
    elf: &Path,
    policy: &PolicyBuffer,
    shape: &NetworkShape,
    states: &[Vec<f32>],
    arguments: &[OsString],
) -> Result<Vec<Frames>> {
    let device = Qemu::start_with(
        QemuConfig {
            board,
            elf,
            policy: policy.bytes(),
            link: LinkKind::Semihosting,
            timeout: PATIENCE,
        },
        arguments,
    )?;
    let mut session = Session::greet(device)?;
    if let Some(fault) = session.boot_fault() {
        return Err(Error::Negative(format!(
            "network {}: the device did not arm the policy: {fault}",
            shape.name
        )));
    }
    let mut frames = Vec::new();
    for (seq, state) in states.iter().enumerate() {
        let seq = seq as u32;
        let action = session.step(seq, state)?;
        frames.extend(Frames::of(seq, state, &action));
    }
    session.shut_down()?;
    Ok(frames)
}
