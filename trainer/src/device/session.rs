//! The protocol with a running device: one request, one reply.

use std::time::{Duration, Instant};

use firmware::Fault;
use policy_format::message::{
    Action, FrameError, FrameReader, Hello, MAX_FRAME, MAX_STATE, PROTOCOL, Reply, Request, Stats,
    encode_frame, encode_numbered,
};

use super::qemu::Qemu;
use super::transport::Transport;
use crate::{Error, Result};

/// How long a device behind a port has for its greeting before it is asked again.
const GREETING: Duration = Duration::from_millis(250);

/// How long a reply may take until the request is sent again.
const AGAIN: Duration = Duration::from_secs(1);

/// A greeted device behind some [`Transport`].
#[derive(Debug)]
pub struct Session<D = Qemu> {
    device: D,
    reader: FrameReader,
    frame: [u8; MAX_FRAME],
    inbox: [u8; MAX_FRAME],
    unread: std::ops::Range<usize>,
    hello: Hello,
    /// Of the last request that had one.
    number: u16,
    dropped: Dropped,
}

/// What arrived and was of no use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Numbered errors of the device, about frames that it could not read.
    pub errors: u64,
    /// Replies to other requests.
    pub strays: u64,
    /// Frames that the host could not read.
    pub damaged: u64,
}

impl<D: Transport> Session<D> {
    /// Greets a device that was started a moment ago: waits for its mark that it is ready, then speaks.
    ///
    /// # Errors
    /// [`Error::Environment`] if it does not answer, dies, or speaks another version of the protocol.
    pub fn greet(device: D) -> Result<Self> {
        let mut session = Self::over(device);
        // The mark that the device is ready: a lone zero, which the reader then ignores.
        session.unread = 0..session.device.receive(&mut session.inbox)?;
        let hello = session.request(&Request::Hello { protocol: PROTOCOL })?;
        session.greeted(hello)
    }

    /// Greets a device that may have been running for long, in the middle of whatever frame, or may be starting: speaks until
    /// it answers, for at most `patience`.
    ///
    /// # Errors
    /// [`Error::Environment`] if it does not answer, is gone, or speaks another version of the protocol.
    pub fn join(device: D, patience: Duration) -> Result<Self> {
        let mut session = Self::over(device);
        let mut frame = [0; MAX_FRAME];
        let length = encode_frame(&Request::Hello { protocol: PROTOCOL }, &mut frame)
            .map_err(|e| Error::Usage(format!("request: {e}")))?;
        let deadline = Instant::now() + patience;
        loop {
            // A zero ends whatever the device was in the middle of.
            session.device.send(&[0])?;
            session.device.send(&frame[..length])?;
            let round = Instant::now() + GREETING;
            while let Some(reply) = session.reply_before(round)? {
                // Errors are about bytes from before.
                if let Ok(hello @ Reply::Hello(_)) = reply {
                    // A second greeting may be on its way, to the first question asked twice.
                    session.drain(GREETING)?;
                    return session.greeted(hello);
                }
            }
            if Instant::now() >= deadline {
                return Err(Error::Environment(format!(
                    "no device answered within {} s: is it this port, does firmware of this project run there, at this speed?",
                    patience.as_secs_f64()
                )));
            }
        }
    }

    /// Waits for the mark of a device that was reset; whatever frame it was in the middle of is forgotten. It is not greeted.
    ///
    /// # Errors
    /// [`Error::Environment`] if it does not start, is gone, or sends something else first.
    pub fn restarted(&mut self) -> Result<()> {
        self.reader = FrameReader::new();
        let count = self.device.receive(&mut self.inbox)?;
        self.unread = 0..count;
        match self.inbox[0] {
            0 => Ok(()),
            byte => Err(Error::Environment(format!(
                "the device sent {byte:#04x} first; a device that is ready sends a zero"
            ))),
        }
    }

    /// A session without a greeting.
    pub(super) fn over(device: D) -> Self {
        Self {
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
            number: 0,
            dropped: Dropped::default(),
        }
    }

    fn greeted(mut self, reply: Reply) -> Result<Self> {
        match reply {
            Reply::Hello(hello) if hello.protocol == PROTOCOL => self.hello = hello,
            Reply::Hello(hello) => {
                return Err(Error::Environment(versions(&hello)));
            }
            other => return Err(unexpected("a greeting", &other)),
        }
        Ok(self)
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

    /// One control step over a link that may damage or lose frames: the device's action for `seq`, or `None` if there was none within
    /// `patience`. It is never asked for again: the device may have taken the step, and the next period has a newer measurement. What
    /// arrives and is not that action (an answer to a step before, a numbered error, a damaged frame) is counted and dropped.
    ///
    /// # Errors
    /// [`Error::Environment`] if the device is gone, and [`Error::Usage`] if `state` is longer than a message can hold.
    pub fn try_step_at(
        &mut self,
        seq: u32,
        measured_us: u32,
        now_us: u32,
        state: &[f32],
        patience: Duration,
    ) -> Result<Option<Action>> {
        let request = Request::step_at(seq, measured_us, now_us, state);
        let request = request.ok_or_else(|| too_long(state))?;
        // With a number, so that a frame that comes twice is acted on once.
        self.number = self.number.wrapping_add(1);
        let length = encode_numbered(Some(self.number), &request, &mut self.frame)
            .map_err(|e| Error::Usage(format!("request: {e}")))?;
        self.device.send(&self.frame[..length])?;
        let deadline = Instant::now() + patience;
        while let Some(reply) = self.reply_before(deadline)? {
            match reply {
                Ok(Reply::Action(action)) if action.seq == seq => return Ok(Some(action)),
                Ok(Reply::Error { .. }) => self.dropped.errors += 1,
                Ok(_) => self.dropped.strays += 1,
                Err(_) => self.dropped.damaged += 1,
            }
        }
        Ok(None)
    }

    /// What [`Session::try_step_at`] dropped so far.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped
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
            Reply::Bye => self.device.finish(),
            other => Err(unexpected("a farewell", &other)),
        }
    }

    /// What carries the bytes, for tests that disturb it.
    #[must_use]
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The same, to send and receive by hand.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
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

    /// Sends one request with a number, and again whenever no reply came for a while or a frame was damaged, for at most
    /// `patience`. The device acts on it once, however often it arrives. For links that lose bytes.
    ///
    /// # Errors
    /// [`Error::Environment`] if the device is gone or does not answer; [`Error::Negative`] if it ended itself with a numbered fault.
    pub fn insist(&mut self, request: &Request, patience: Duration) -> Result<Reply> {
        self.number = self.number.wrapping_add(1);
        let number = Some(self.number);
        let length = encode_numbered(number, request, &mut self.frame)
            .map_err(|e| Error::Usage(format!("request: {e}")))?;
        let end = Instant::now() + patience;
        loop {
            self.device.send(&self.frame[..length])?;
            let round = (Instant::now() + AGAIN).min(end);
            while let Some(reply) = self.reply_before(round)? {
                match reply {
                    Ok(reply) if self.reader.number() == number => return Ok(reply),
                    Ok(Reply::Error { fault }) if self.reader.number().is_none() => {
                        // Its last words; anything else is about a damaged frame.
                        if fault >> 8 == 4 {
                            return Err(unexpected("a reply", &Reply::Error { fault }));
                        }
                        break;
                    }
                    // A reply that came twice.
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
            if Instant::now() >= end {
                return Err(Error::Environment(format!(
                    "the device did not answer within {} s",
                    patience.as_secs_f64()
                )));
            }
            // Ends whatever arrived of the last attempt.
            self.device.send(&[0])?;
        }
    }

    /// Sends bytes as they are and waits for a reply, for tests of what the device makes of them.
    ///
    /// # Errors
    /// As [`Session::request`].
    pub fn request_raw(&mut self, bytes: &[u8]) -> Result<Reply> {
        self.device.send(bytes)?;
        self.reply()
    }

    /// The next reply or bad frame that arrives before `deadline`, `None` if nothing does.
    ///
    /// # Errors
    /// [`Error::Environment`] if the device is gone.
    pub fn reply_before(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<std::result::Result<Reply, FrameError>>> {
        loop {
            for at in self.unread.by_ref() {
                if let Some(reply) = self.reader.feed::<Reply>(self.inbox[at]) {
                    return Ok(Some(reply));
                }
            }
            let patience = deadline.saturating_duration_since(Instant::now());
            match self.device.receive_within(&mut self.inbox, patience)? {
                Some(count) => self.unread = 0..count,
                None => return Ok(None),
            }
        }
    }

    /// The number of the last reply.
    #[must_use]
    pub fn number_of_reply(&self) -> Option<u16> {
        self.reader.number()
    }

    /// Drops what arrives until there was silence for `silence`.
    fn drain(&mut self, silence: Duration) -> Result<()> {
        while self.reply_before(Instant::now() + silence)?.is_some() {}
        Ok(())
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

/// What to do when the two sides speak different versions.
fn versions(hello: &Hello) -> String {
    let (major, minor, patch) = hello.firmware;
    let firmware = format!("{major}.{minor}.{patch}");
    let found = format!(
        "the firmware ({firmware}) speaks protocol {}, this program ({}) speaks {PROTOCOL}",
        hello.protocol,
        env!("CARGO_PKG_VERSION")
    );
    if hello.protocol < PROTOCOL {
        return format!(
            "{found}: the firmware is too old; flash the one that this program builds (hpo flash --firmware), or use the program of version {firmware}"
        );
    }
    format!(
        "{found}: this program is too old; use the one of version {firmware}, or flash firmware that this program builds (hpo flash --firmware)"
    )
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
        let hint = if fault == Fault::UNSUPPORTED {
            "; firmware that runs a loop of its own takes no steps from a host: hpo monitor watches it"
        } else {
            ""
        };
        return Error::Negative(format!("the device answered with {fault}{hint}"));
    }
    Error::Environment(format!("the device sent {reply:?} in place of {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_does_not_fit_is_named_with_what_to_do() {
        let hello = |protocol| Hello {
            protocol,
            firmware: (9, 8, 7),
            target_class: 0,
            boot_fault: 0,
            policy_crc32: 0,
            policy_version: 0,
            state_dim: 0,
            control_dim: 0,
        };
        for (protocol, old) in [
            (PROTOCOL - 1, "the firmware is too old"),
            (PROTOCOL + 1, "this program is too old"),
        ] {
            let text = versions(&hello(protocol));
            let ours = format!("speaks {PROTOCOL}");
            for word in [old, "9.8.7", &ours, &protocol.to_string(), "hpo flash"] {
                assert!(text.contains(word), "{text}");
            }
        }
    }
}
