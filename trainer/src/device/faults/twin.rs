//! The device and its model: the same bytes to both, and their answers compared.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use firmware::Offer;
use policy_format::message::{
    Action, FrameReader, Hello, MAX_FRAME, Message, PROTOCOL, Reply, Request, Stats,
    encode_numbered,
};

use crate::device::board::Board;
use crate::device::gdb::Gdb;
use crate::device::image::Image;
use crate::device::local::{LocalConfig, LocalDevice, LocalFlash};
use crate::device::session::Session;
use crate::device::transport::Transport;
use crate::{Error, Result};

/// A device with the model of it.
pub(super) struct Twin<'s, D> {
    session: &'s mut Session<D>,
    model: LocalDevice,
    config: LocalConfig,
    stub: Option<Stub>,
    patience: Duration,
    /// The device runs from memory that is not what it booted from: its actions may differ from the model's.
    rotten: bool,
}

/// The debug stub of the emulator that the device runs in.
#[derive(Debug)]
pub(in crate::device) struct Stub {
    pub socket: PathBuf,
    pub board: &'static Board,
    pub timeout: Duration,
}

/// What both answered to some bytes.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The device's replies, without times.
    pub replies: Vec<Reply>,
    /// Their frames.
    pub frames: Vec<Vec<u8>>,
    /// How they differ from the model's.
    pub difference: Option<String>,
    /// Actions that differ from the model's where they may.
    pub deviations: u64,
    /// Device and model started anew by themselves, and greeted.
    pub greeting: Option<Hello>,
}

impl<'s, D: Transport> Twin<'s, D> {
    /// The model of a device that runs, with what is in its slot; with `slots`, that in the first of two.
    ///
    /// # Errors
    /// As [`LocalDevice::start`].
    pub fn new(
        session: &'s mut Session<D>,
        slot: &[u8],
        target_class: u32,
        offer: Option<Offer>,
        slots: bool,
        stub: Option<Stub>,
        patience: Duration,
    ) -> Result<Self> {
        let config = LocalConfig {
            slot: slot.to_vec(),
            target_class,
            offer,
            flash: stub
                .as_ref()
                .filter(|_| slots)
                .map(|stub| LocalFlash::with(slot, stub.board)),
        };
        let mut twin = Self {
            session,
            model: LocalDevice::start(config.clone())?,
            config,
            stub,
            patience,
            rotten: false,
        };
        // The model's mark that it is ready; the device's has been taken by the session.
        twin.model.exchange(&[])?;
        Ok(twin)
    }

    /// What is in the slot.
    pub fn slot(&self) -> &[u8] {
        &self.config.slot
    }

    /// Sends a request as it is.
    ///
    /// # Errors
    /// As [`Twin::deliver`].
    pub fn request(&mut self, request: &Request) -> Result<Answers> {
        self.deliver(&framed(None, request)?)
    }

    /// Sends frames to both. One after the other where one of them may let the devices start anew.
    ///
    /// # Errors
    /// As [`Twin::deliver`].
    pub fn deliver_all(&mut self, frames: &[Vec<u8>]) -> Result<Answers> {
        if self.config.flash.is_none() {
            return self.deliver(&frames.concat());
        }
        let mut all = Answers::default();
        for frame in frames {
            let one = self.deliver(frame)?;
            all.replies.extend(one.replies);
            all.frames.extend(one.frames);
            all.deviations += one.deviations;
            all.greeting = one.greeting.or(all.greeting);
            if one.difference.is_some() {
                all.difference = one.difference;
                break;
            }
        }
        Ok(all)
    }

    /// Sends bytes to both, waits for as many replies of the device as the model gave, and compares them.
    ///
    /// # Errors
    /// [`Error::Environment`] if the model has ended. A device that fails is a difference.
    pub fn deliver(&mut self, bytes: &[u8]) -> Result<Answers> {
        let expected = replies(&self.model.exchange(bytes)?);
        let mut answers = Answers::default();
        if let Err(error) = self.session.device_mut().send(bytes) {
            answers.difference = Some(error.to_string());
            return Ok(answers);
        }
        let deadline = Instant::now() + self.patience;
        for (number, expected) in expected {
            let found = match self.session.reply_before(deadline) {
                Ok(Some(Ok(reply))) => reply,
                Ok(Some(Err(error))) => {
                    answers.difference = Some(format!("the device sent a {error}"));
                    return Ok(answers);
                }
                Ok(None) => {
                    let due = format!("the device was silent; due: {expected:?}");
                    answers.difference = Some(due);
                    return Ok(answers);
                }
                Err(error) => {
                    answers.difference = Some(error.to_string());
                    return Ok(answers);
                }
            };
            let found_number = self.session.number_of_reply();
            let deviates =
                self.rotten && matches!((&found, &expected), (Reply::Action(_), Reply::Action(_)));
            if deviates && found_number == number {
                answers.deviations += u64::from(!same(&found, &expected));
            } else if !same(&found, &expected) || found_number != number {
                let difference =
                    format!("device {found_number:?} {found:?}; model {number:?} {expected:?}");
                answers.difference.get_or_insert(difference);
            }
            // Encoding is canonical: but for their times these are the bytes that came. Times differ between boards, links and runs, in
            // length too, and faults that are drawn byte by byte must not.
            let found = timeless(found);
            answers.frames.push(framed(found_number, &found)?);
            answers.replies.push(found);
        }
        if self.model.has_ended() && self.config.flash.is_some() {
            let greeted = self.start_anew()?;
            answers.greeting = greeted.replies.iter().find_map(|reply| match reply {
                Reply::Hello(hello) => Some(hello.clone()),
                _ => None,
            });
            answers.difference = answers.difference.or(greeted.difference);
        }
        Ok(answers)
    }

    /// Waits until the device is there again after a reset, starts the model, and compares their greetings.
    fn start_anew(&mut self) -> Result<Answers> {
        self.rotten = false;
        if let Err(error) = self.session.restarted() {
            return Ok(Answers {
                difference: Some(format!("after the reset: {error}")),
                ..Answers::default()
            });
        }
        self.model = LocalDevice::start(self.config.clone())?;
        // Its mark.
        self.model.exchange(&[])?;
        self.request(&Request::Hello { protocol: PROTOCOL })
    }

    /// Turns a bit of the device's slot over while it runs. The model runs on with what it was; both boot it at the next reset.
    ///
    /// # Errors
    /// [`Error::Environment`] if the stub fails.
    pub fn rot(&mut self, bit: u64) -> Result<()> {
        let mut slot = self.config.slot.clone();
        slot[(bit / 8) as usize] ^= 1 << (bit % 8);
        self.write(&slot)?.detach()?;
        self.config.slot = slot;
        self.rotten = true;
        Ok(())
    }

    /// Whether a bit was turned over since the last reset.
    pub fn is_rotten(&self) -> bool {
        self.rotten
    }

    /// Writes the slot through the stub, at which the device stands still.
    fn write(&self, slot: &[u8]) -> Result<Gdb> {
        let stub = self.stub()?;
        let mut gdb = Gdb::connect_unix(&stub.socket, stub.timeout)?;
        for segment in Image::of_policy(stub.board, slot)?.segments() {
            gdb.write(segment.address, &segment.bytes)?;
        }
        Ok(gdb)
    }

    fn stub(&self) -> Result<&Stub> {
        self.stub.as_ref().ok_or_else(|| {
            Error::Usage("faults: found a reset of a device without a debug stub".into())
        })
    }

    /// Resets device and model, with other bytes in the slot if any are given, and compares their greetings.
    ///
    /// # Errors
    /// [`Error::Environment`] if the stub fails or the device does not start again.
    pub fn reset(&mut self, slot: Option<Vec<u8>>) -> Result<Answers> {
        let before = self.read_to_the_end()?;
        if before.difference.is_some() {
            return Ok(before);
        }
        let mut gdb = match &slot {
            Some(slot) => self.write(slot)?,
            None => {
                let stub = self.stub()?;
                Gdb::connect_unix(&stub.socket, stub.timeout)?
            }
        };
        if let Some(slot) = slot {
            self.config.slot = slot;
        }
        gdb.monitor("system_reset")?;
        gdb.detach()?;
        // The model's flash is free again once its thread has ended.
        self.model.finish()?;
        let mut answers = self.start_anew()?;
        answers.replies.extend(before.replies);
        answers.frames.extend(before.frames);
        Ok(answers)
    }

    /// Waits until the device has read all that was sent to it: bytes that are due no reply may still be on their way, and would meet the
    /// fresh boot. What it names of them, without the answer to the question that this asks.
    fn read_to_the_end(&mut self) -> Result<Answers> {
        // A lone zero ends what a corrupted frame began.
        let mut bytes = vec![0];
        bytes.extend(framed(None, &Request::Hello { protocol: PROTOCOL })?);
        let mut answers = self.deliver(&bytes)?;
        answers
            .replies
            .retain(|reply| !matches!(reply, Reply::Hello(_)));
        answers.frames.clear();
        Ok(answers)
    }
}

/// The frame of a message.
pub(super) fn framed<T: Message>(number: Option<u16>, message: &T) -> Result<Vec<u8>> {
    let mut frame = [0; MAX_FRAME];
    let length = encode_numbered(number, message, &mut frame)
        .map_err(|e| Error::Usage(format!("message: {e}")))?;
    Ok(frame[..length].to_vec())
}

/// The replies in bytes that a device sent, with their numbers; what is none is left out.
fn replies(bytes: &[u8]) -> Vec<(Option<u16>, Reply)> {
    let mut reader = FrameReader::new();
    let mut replies = Vec::new();
    for &byte in bytes {
        if let Some(Ok(reply)) = reader.feed::<Reply>(byte) {
            replies.push((reader.number(), reply));
        }
    }
    replies
}

/// Whether two replies are the same but for times and stack; floats by their bits.
fn same(one: &Reply, other: &Reply) -> bool {
    match (timeless(one.clone()), timeless(other.clone())) {
        (Reply::Action(one), Reply::Action(other)) => {
            let bits = |control: &[f32]| control.iter().map(|u| u.to_bits()).collect::<Vec<_>>();
            (one.seq, one.choice, one.mode, one.fault)
                == (other.seq, other.choice, other.mode, other.fault)
                && bits(&one.control) == bits(&other.control)
        }
        (one, other) => one == other,
    }
}

/// A reply without what is the board's own: times and stack.
fn timeless(reply: Reply) -> Reply {
    match reply {
        Reply::Action(action) => Reply::Action(Action { ticks: 0, ..action }),
        Reply::Stats(stats) => Reply::Stats(Stats {
            stack_bytes: 0,
            overhead_ticks: 0,
            ..stats
        }),
        other => other,
    }
}
