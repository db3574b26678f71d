//! The message loop: one request in, one reply out.

use core::sync::atomic::{Ordering, compiler_fence};

use heapless::Vec;
use policy_format::message::{
    Action, FrameReader, Hello, MAX_FRAME, PROTOCOL, Reply, Request, Stats, encode_frame,
    encode_numbered,
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

/// What answers the requests of a host.
pub trait Answer<B> {
    /// Answers one request.
    fn answer(
        &mut self,
        board: &mut B,
        request: Request,
        scratch: &mut [f32; SCRATCH_LEN],
    ) -> Reply;

    /// A frame did not decode.
    fn bad_frame(&mut self);

    /// The link had no bytes, or a reply was sent: time for what is to be done between requests.
    fn between(&mut self, board: &mut B, scratch: &mut [f32; SCRATCH_LEN]) {
        let _ = (board, scratch);
    }
}

/// Lets `answers` answer requests until the host says [`Request::Shutdown`] or is gone.
///
/// First it sends a lone zero byte, an empty frame: the mark that it is ready to receive. A host may
/// wait for it, because some UARTs lose what comes before they are switched on. A frame that does not decode is answered
/// with [`Reply::Error`]. A request that repeats the number of the last one gets the same reply again and is not acted on; a
/// greeting begins the numbers anew. Never panics, whatever bytes come.
///
/// # Errors
/// [`LinkClosed`] when the host is gone.
pub fn converse<B: Link, A: Answer<B>>(
    board: &mut B,
    answers: &mut A,
    memory: &mut Memory,
) -> Result<(), LinkClosed> {
    let mut reader = FrameReader::new();
    let Memory {
        scratch,
        inbox,
        frame,
    } = memory;
    // Number of the last request that had one; `frame` still holds the reply, of this length.
    let mut last: Option<u16> = None;
    let mut length = 0;
    board.send(&[0])?;
    loop {
        let received = board.receive(inbox)?;
        for &byte in inbox.iter().take(received) {
            let request = match reader.feed(byte) {
                None => continue,
                Some(Ok(request)) => request,
                Some(Err(error)) => {
                    answers.bad_frame();
                    refuse(board, Fault::from(error))?;
                    continue;
                }
            };
            let number = reader.number();
            if number.is_none() || number != last {
                let reply = answers.answer(board, request, scratch);
                // Every reply fits a frame (tested); were one too long, the host's time limit shows it.
                length = encode_numbered(number, &reply, frame).unwrap_or(0);
                last = number;
                if reply == Reply::Bye {
                    return board.send(frame.get(..length).unwrap_or_default());
                }
            }
            board.send(frame.get(..length).unwrap_or_default())?;
        }
        answers.between(board, scratch);
    }
}

/// Answers a frame that does not decode. The last reply stays where it is: the request may be a repetition of the last one.
#[inline(never)]
fn refuse<B: Link>(board: &mut B, fault: Fault) -> Result<(), LinkClosed> {
    let mut frame = [0; MAX_FRAME];
    let reply = Reply::Error {
        fault: fault.code(),
    };
    let length = encode_frame(&reply, &mut frame).unwrap_or(0);
    board.send(frame.get(..length).unwrap_or_default())
}

/// Answers requests until the host says [`Request::Shutdown`] or is gone: [`converse`] with control steps that the host asks for.
/// `target_class` is the one the firmware was built with.
pub fn serve<B: Link + Instruments>(
    board: &mut B,
    controller: &Controller<'_>,
    target_class: u32,
    memory: &mut Memory,
) {
    let mut session = Session::new(board, controller, target_class);
    // Whether it ends by a request or by a lost host, the board does the same: it stops.
    let _: Result<(), LinkClosed> = converse(board, &mut session, memory);
}

/// Control steps that the host asks for, one by one.
#[derive(Debug)]
pub struct Session<'a, 'p> {
    controller: &'a Controller<'p>,
    target_class: u32,
    state: ControllerState,
    stats: Stats,
}

impl<'a, 'p> Session<'a, 'p> {
    /// A device at rest. Reads the board's counter a few times.
    pub fn new<B: Instruments>(
        board: &mut B,
        controller: &'a Controller<'p>,
        target_class: u32,
    ) -> Self {
        Self {
            controller,
            target_class,
            state: ControllerState::new(),
            stats: Stats {
                overhead_ticks: overhead(board),
                ..Stats::default()
            },
        }
    }
}

impl Session<'_, '_> {
    /// As after a reset that `fault` caused: the fallback law acts, with this fault, until the host begins an episode.
    #[must_use]
    pub fn after_reset(mut self, fault: Option<Fault>) -> Self {
        if let Some(fault) = fault {
            self.state = ControllerState::after_reset(fault);
        }
        self
    }
}

impl<B: Instruments> Answer<B> for Session<'_, '_> {
    fn answer(
        &mut self,
        board: &mut B,
        request: Request,
        scratch: &mut [f32; SCRATCH_LEN],
    ) -> Reply {
        match request {
            Request::Hello { .. } => Reply::Hello(hello(self.controller, self.target_class)),
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
            // This loop is the host's: there is no other one to watch, and who has slots answers before. Without that feature here the
            // messages may know of slots all the same, if another crate of the build asks for it.
            _ => UNSUPPORTED,
        }
    }

    fn bad_frame(&mut self) {
        self.stats.bad_frames = self.stats.bad_frames.wrapping_add(1);
    }
}

/// The answer to a request that a firmware does not serve.
pub const UNSUPPORTED: Reply = Reply::Error {
    fault: Fault::UNSUPPORTED.code(),
};

/// Who a device is: its firmware, and the policy that `controller` has.
#[must_use]
pub fn hello(controller: &Controller<'_>, target_class: u32) -> Hello {
    let policy = controller.as_ref().ok().map(|armed| armed.policy());
    // Dimensions are within CAPACITY, far below u16::MAX.
    let short = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
    Hello {
        protocol: PROTOCOL,
        firmware: VERSION,
        target_class,
        boot_fault: Fault::code_of(controller.as_ref().err().copied()),
        policy_crc32: policy.map_or(0, |p| p.crc32()),
        policy_version: policy.map_or(0, |p| p.policy_version()),
        state_dim: policy.map_or(0, |p| short(p.state_dim())),
        control_dim: policy.map_or(0, |p| short(p.control_dim())),
    }
}

impl Session<'_, '_> {
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
