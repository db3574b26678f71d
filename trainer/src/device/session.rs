//! The protocol with a running device: one request, one reply.

use firmware::Fault;
use policy_format::message::{
    Action, FrameReader, Hello, MAX_FRAME, MAX_STATE, PROTOCOL, Reply, Request, Stats, encode_frame,
};

use super::qemu::Qemu;
use crate::{Error, Result};

/// A greeted device.
#[derive(Debug)]
pub struct Session {
    device: Qemu,
    reader: FrameReader,
    frame: [u8; MAX_FRAME],
    inbox: [u8; MAX_FRAME],
    unread: std::ops::Range<usize>,
    hello: Hello,
}

impl Session {
    /// Greets the device.
    ///
    /// # Errors
    /// [`Error::Environment`] if it does not answer, dies, or speaks another version of the protocol.
    pub fn greet(device: Qemu) -> Result<Self> {
        let mut session = Self {
            device,
            reader: FrameReader::new(),
            frame: [0; MAX_FRAME],
            inbox: [0; MAX_FRAME],
            unread: 0..0,
            hello: Hello {
                protocol: 0,
                firmware: (0, 0, 0),
                target_class: 0,
                boot_fault: 0,
                policy_crc32: 0,
                policy_version: 0,
                state_dim: 0,
                control_dim: 0,
            },
        };
        // The mark that the device is ready: a lone zero, which the reader then ignores.
        session.unread = 0..session.device.receive(&mut session.inbox)?;
        match session.request(&Request::Hello { protocol: PROTOCOL })? {
            Reply::Hello(hello) if hello.protocol == PROTOCOL => session.hello = hello,
            Reply::Hello(hello) => {
                return Err(Error::Environment(format!(
                    "the firmware speaks protocol {}; this program speaks {PROTOCOL}",
                    hello.protocol
                )));
            }
            other => return Err(unexpected("a greeting", &other)),
        }
        Ok(session)
    }

    /// What the device said about itself.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The fault that ended the device's boot, if any.
    #[must_use]
    pub fn boot_fault(&self) -> Option<Fault> {
        Fault::from_code(self.hello.boot_fault)
    }

    /// Begins an episode.
    ///
    /// # Errors
    /// As [`Session::request`].
    pub fn reset(&mut self) -> Result<()> {
        match self.request(&Request::Reset)? {
            Reply::Ready => Ok(()),
            other => Err(unexpected("ready", &other)),
        }
    }

    /// One control step on the device.
    ///
    /// # Errors
    /// As [`Session::request`], and [`Error::Usage`] if `state` is longer than a message can hold.
    pub fn step(&mut self, seq: u32, state: &[f32]) -> Result<Action> {
        let request = Request::step(seq, state).ok_or_else(|| too_long(state))?;
        self.action(seq, &request)
    }

    /// One control step on the device, with the time of the measurement and the present one in microseconds.
    ///
    /// # Errors
    /// As [`Session::step`].
    pub fn step_at(
        &mut self,
        seq: u32,
        measured_us: u32,
        now_us: u32,
        state: &[f32],
    ) -> Result<Action> {
        let request = Request::step_at(seq, measured_us, now_us, state);
        self.action(seq, &request.ok_or_else(|| too_long(state))?)
    }

    fn action(&mut self, seq: u32, request: &Request) -> Result<Action> {
        match self.request(request)? {
            Reply::Action(action) if action.seq == seq => Ok(action),
            other => Err(unexpected(&format!("the action of step {seq}"), &other)),
        }
    }

    /// Counters and stack use of the device.
    ///
    /// # Errors
    /// As [`Session::request`].
    pub fn stats(&mut self) -> Result<Stats> {
        match self.request(&Request::Stats)? {
            Reply::Stats(stats) => Ok(stats),
            other => Err(unexpected("its counters", &other)),
        }
    }

    /// Asks the device to stop and waits until the emulator has ended.
    ///
    /// # Errors
    /// As [`Session::request`], and [`Error::Environment`] if the emulator does not end.
    pub fn shut_down(mut self) -> Result<()> {
        match self.request(&Request::Shutdown)? {
            Reply::Bye => self.device.wait(),
            other => Err(unexpected("a farewell", &other)),
        }
    }

    /// The emulator, for tests that disturb it.
    #[must_use]
    pub fn device(&self) -> &Qemu {
        &self.device
    }

    /// Sends one request and waits for its reply.
    ///
    /// # Errors
    /// [`Error::Environment`] if the device died, hung or sent a damaged frame; [`Error::Negative`]
    /// if it ended itself with a numbered fault.
    pub fn request(&mut self, request: &Request) -> Result<Reply> {
        let length = encode_frame(request, &mut self.frame)
            .map_err(|e| Error::Usage(format!("request: {e}")))?;
        self.device.send(&self.frame[..length])?;
        self.reply()
    }

    /// Sends bytes as they are and waits for a reply, for tests of what the device makes of them.
    ///
    /// # Errors
    /// As [`Session::request`].
    pub fn request_raw(&mut self, bytes: &[u8]) -> Result<Reply> {
        self.device.send(bytes)?;
        self.reply()
    }

    fn reply(&mut self) -> Result<Reply> {
        loop {
            for at in self.unread.by_ref() {
                match self.reader.feed::<Reply>(self.inbox[at]) {
                    None => {}
                    Some(Ok(reply)) => return Ok(reply),
                    Some(Err(error)) => {
                        return Err(Error::Environment(format!("the device sent a {error}")));
                    }
                }
            }
            self.unread = 0..self.device.receive(&mut self.inbox)?;
        }
    }
}

fn too_long(state: &[f32]) -> Error {
    Error::Usage(format!(
        "state: found {} values; a device takes at most {MAX_STATE}",
        state.len()
    ))
}

fn unexpected(wanted: &str, reply: &Reply) -> Error {
    if let Reply::Error { fault } = reply
        && let Some(fault) = Fault::from_code(*fault)
    {
        return Error::Negative(format!("the device answered with {fault}"));
    }
    Error::Environment(format!("the device sent {reply:?} in place of {wanted}"))
}
