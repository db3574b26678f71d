//! The message loop: one request in, one reply out.

use core::sync::atomic::{Ordering, compiler_fence};

use heapless::Vec;
use policy_format::message::{
    Action, FrameReader, Hello, MAX_FRAME, PROTOCOL, Reply, Request, Stats, encode_frame,
};

use crate::boot::SCRATCH_LEN;
use crate::controller::{Controller, ControllerState};
use crate::fault::Fault;
use crate::link::{Instruments, Link, LinkClosed};
use crate::supervisor::{self, Observation};

/// Version of this firmware: major, minor, patch.
pub const VERSION: (u16, u16, u16) = (
    number(env!("CARGO_PKG_VERSION_MAJOR")),
    number(env!("CARGO_PKG_VERSION_MINOR")),
    number(env!("CARGO_PKG_VERSION_PATCH")),
);

/// A decimal number in an environment variable, at compile time.
const fn number(text: &str) -> u16 {
    match u16::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => u16::MAX,
    }
}

/// Bytes read from the link at once: a whole frame of a small plant.
const INBOX: usize = 128;

/// Everything the loop writes to; a board keeps one as a static.
#[derive(Debug)]
pub struct Memory {
    /// Working memory of the policy; also used by [`crate::boot()`].
    pub scratch: [f32; SCRATCH_LEN],
    inbox: [u8; INBOX],
    frame: [u8; MAX_FRAME],
}

impl Memory {
    /// Cleared memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            scratch: [0.0; SCRATCH_LEN],
            inbox: [0; INBOX],
            frame: [0; MAX_FRAME],
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Answers requests until the host says [`Request::Shutdown`] or is gone.
///
/// First it sends a lone zero byte, an empty frame: the mark that it is ready to receive. A host may
/// wait for it, because some UARTs lose what comes before they are switched on. `target_class` is the
/// one the firmware was built with. A frame that does not decode is answered
/// with [`Reply::Error`]. Never panics, whatever bytes come.
pub fn serve<B: Link + Instruments>(
    board: &mut B,
    controller: &Controller<'_>,
    target_class: u32,
    memory: &mut Memory,
) {
    let mut reader = FrameReader::new();
    let mut session = Session {
        controller,
        target_class,
        state: ControllerState::new(),
        stats: Stats {
            overhead_ticks: overhead(board),
            ..Stats::default()
        },
    };
    // Whether it ends by a request or by a lost host, the board does the same: it stops.
    let _: Result<(), LinkClosed> = session.run(board, &mut reader, memory);
}

struct Session<'a, 'p> {
    controller: &'a Controller<'p>,
    target_class: u32,
    state: ControllerState,
    stats: Stats,
}

impl Session<'_, '_> {
    fn run<B: Link + Instruments>(
        &mut self,
        board: &mut B,
        reader: &mut FrameReader,
        memory: &mut Memory,
    ) -> Result<(), LinkClosed> {
        let Memory {
            scratch,
            inbox,
            frame,
        } = memory;
        board.send(&[0])?;
        loop {
            let received = board.receive(inbox)?;
            for &byte in inbox.iter().take(received) {
                let reply = match reader.feed(byte) {
                    None => continue,
                    Some(Ok(request)) => self.answer(board, request, scratch),
                    Some(Err(error)) => {
                        self.stats.bad_frames = self.stats.bad_frames.wrapping_add(1);
                        Reply::Error {
                            fault: Fault::from(error).code(),
                        }
                    }
                };
                // Every reply fits a frame (tested); were one too long, the host's time limit shows it.
                if let Ok(length) = encode_frame(&reply, frame)
                    && let Some(bytes) = frame.get(..length)
                {
                    board.send(bytes)?;
                }
                if reply == Reply::Bye {
                    return Ok(());
                }
            }
        }
    }

    fn answer<B: Instruments>(
        &mut self,
        board: &mut B,
        request: Request,
        scratch: &mut [f32; SCRATCH_LEN],
    ) -> Reply {
        match request {
            Request::Hello { .. } => Reply::Hello(self.hello()),
            Request::Reset => {
                self.state = ControllerState::new();
                Reply::Ready
            }
            Request::Step { seq, state } => {
                self.step(board, seq, &Observation::lockstep(&state), scratch)
            }
            Request::StepAt {
                seq,
                measured_us,
                now_us,
                state,
            } => {
                let observation = Observation::new(&state, measured_us.into(), now_us.into());
                self.step(board, seq, &observation, scratch)
            }
            Request::Stats => Reply::Stats(Stats {
                latched_fault: Fault::code_of(self.state.latched()),
                stack_bytes: board.stack_bytes(),
                ..self.stats
            }),
            Request::Shutdown => Reply::Bye,
        }
    }

    fn hello(&self) -> Hello {
        let policy = self.controller.as_ref().ok().map(|armed| armed.policy());
        // Dimensions are within CAPACITY, far below u16::MAX.
        let short = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        Hello {
            protocol: PROTOCOL,
            firmware: VERSION,
            target_class: self.target_class,
            boot_fault: Fault::code_of(self.controller.as_ref().err().copied()),
            policy_crc32: policy.map_or(0, |p| p.crc32()),
            policy_version: policy.map_or(0, |p| p.policy_version()),
            state_dim: policy.map_or(0, |p| short(p.state_dim())),
            control_dim: policy.map_or(0, |p| short(p.control_dim())),
        }
    }

    fn step<B: Instruments>(
        &mut self,
        board: &mut B,
        seq: u32,
        observation: &Observation<'_>,
        scratch: &mut [f32; SCRATCH_LEN],
    ) -> Reply {
        // The fences keep memory accesses of the step between the two readings.
        let start = board.ticks();
        compiler_fence(Ordering::SeqCst);
        let command = supervisor::step(self.controller, &mut self.state, observation, scratch);
        compiler_fence(Ordering::SeqCst);
        let end = board.ticks();

        board.period(command.fault());
        self.stats.steps = self.stats.steps.wrapping_add(1);
        if command.fault().is_some() {
            self.stats.fallback_steps = self.stats.fallback_steps.wrapping_add(1);
        }
        Reply::Action(Action {
            seq,
            choice: command.choice(),
            mode: command.mode(),
            fault: Fault::code_of(command.fault()),
            // No longer than MAX_CONTROL: boot admits no policy beyond it.
            control: Vec::from_slice(command.control()).unwrap_or_default(),
            ticks: end
                .wrapping_sub(start)
                .saturating_sub(self.stats.overhead_ticks),
        })
    }
}

/// Ticks between two readings with nothing in between, the least of a few.
fn overhead<B: Instruments>(board: &mut B) -> u32 {
    (0..8)
        .map(|_| {
            let start = board.ticks();
            compiler_fence(Ordering::SeqCst);
            let end = board.ticks();
            end.wrapping_sub(start)
        })
        .fold(u32::MAX, u32::min)
}
