//! A client of the GDB remote protocol: as much as it takes to write a slot through a debug stub such as QEMU's.
//!
//! A connection stops the machine; [`Gdb::detach`] lets it run on. Every wait has a limit.

use std::fmt::Display;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use self::packet::{Decoder, Event, escape, frame};
use crate::{Error, Result};

mod packet;

/// Bytes of memory in a packet where the stub's packets are long enough.
pub const CHUNK: usize = 1024;
/// How long one look at the stream takes.
const LOOK: Duration = Duration::from_millis(20);
/// How often a packet is sent before the stub counts as broken.
const TRIES: u32 = 4;

/// A byte stream to a stub.
pub trait Stream: Read + Write + std::fmt::Debug + Send {}
impl<S: Read + Write + std::fmt::Debug + Send> Stream for S {}

/// A stub that answers.
#[derive(Debug)]
pub struct Gdb {
    stream: Box<dyn Stream>,
    name: String,
    timeout: Duration,
    decoder: Decoder,
    /// Received and not yet decoded.
    inbox: Vec<u8>,
    chunk: usize,
    /// Whether the stub takes bytes as they are (`X`), not only as digits (`M`).
    binary: bool,
}

impl Gdb {
    /// Connects to a stub at `HOST:PORT`.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is no address, [`Error::Environment`] if nobody answers there within `timeout`.
    pub fn connect_tcp(address: &str, timeout: Duration) -> Result<Self> {
        let addresses: Vec<_> = address
            .to_socket_addrs()
            .map_err(|e| Error::Usage(format!("--gdb: found {address} ({e}); allowed: HOST:PORT")))?
            .collect();
        let mut why = String::from("no such host");
        for candidate in addresses {
            match TcpStream::connect_timeout(&candidate, timeout).and_then(|stream| {
                stream.set_read_timeout(Some(LOOK))?;
                stream.set_write_timeout(Some(timeout))?;
                stream.set_nodelay(true)?;
                Ok(stream)
            }) {
                Ok(stream) => return Self::over(Box::new(stream), address, timeout),
                Err(error) => why = error.to_string(),
            }
        }
        Err(Error::Environment(format!(
            "no debug stub at {address}: {why}; start QEMU with `-gdb tcp:{address}`"
        )))
    }

    /// Connects to a stub that listens on a socket in the file system.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be connected to, else as [`Gdb::over`].
    pub fn connect_unix(path: &Path, timeout: Duration) -> Result<Self> {
        let stream = UnixStream::connect(path)
            .and_then(|stream| {
                stream.set_read_timeout(Some(LOOK))?;
                stream.set_write_timeout(Some(timeout))?;
                Ok(stream)
            })
            .map_err(|e| Error::io(path, "cannot connect to", e))?;
        Self::over(Box::new(stream), &path.display().to_string(), timeout)
    }

    /// Talks to a stub over `stream`, whose reads must return at least every now and then.
    ///
    /// # Errors
    /// [`Error::Environment`] if it does not answer within `timeout` or does not speak the protocol.
    pub fn over(stream: Box<dyn Stream>, name: &str, timeout: Duration) -> Result<Self> {
        let mut gdb = Self {
            stream,
            name: name.to_owned(),
            timeout,
            decoder: Decoder::default(),
            inbox: Vec::new(),
            chunk: 128,
            binary: false,
        };
        let features = gdb.request(b"qSupported")?;
        let size = String::from_utf8_lossy(&features)
            .split(';')
            .filter_map(|feature| feature.strip_prefix("PacketSize="))
            .find_map(|size| usize::from_str_radix(size, 16).ok());
        if let Some(size) = size {
            // Two digits a byte, or two bytes where all are escaped, and the head of the packet.
            gdb.chunk = (size.saturating_sub(40) / 2).clamp(1, CHUNK);
        }
        // The manual's way to ask for `X`: write nothing; a stub without it answers with nothing.
        gdb.binary = gdb.request(b"X0,0:")? == b"OK";
        Ok(gdb)
    }

    /// Writes memory, whatever kind it is: a stub writes flash as well. Nothing is read back.
    ///
    /// # Errors
    /// [`Error::Environment`] if the stub refuses an address or does not answer.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        let chunk = self.chunk;
        for (at, piece) in (address..).step_by(chunk).zip(bytes.chunks(chunk)) {
            let mut payload = Vec::new();
            if self.binary {
                payload.extend(format!("X{at:x},{:x}:", piece.len()).bytes());
                escape(piece, &mut payload);
            } else {
                payload.extend(format!("M{at:x},{:x}:", piece.len()).bytes());
                payload.extend(
                    piece
                        .iter()
                        .flat_map(|byte| format!("{byte:02x}").into_bytes()),
                );
            }
            let reply = self.request(&payload)?;
            if reply != b"OK" {
                return Err(self.bad(
                    &format!("writing {} bytes at {at:#010x}", piece.len()),
                    &reply,
                ));
            }
        }
        Ok(())
    }

    /// Reads memory.
    ///
    /// # Errors
    /// [`Error::Environment`] if the stub refuses an address or does not answer.
    pub fn read(&mut self, address: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let count = (length - bytes.len()).min(self.chunk);
            let at = address + bytes.len() as u64;
            let reply = self.request(format!("m{at:x},{count:x}").as_bytes())?;
            match from_digits(&reply) {
                Some(piece) if piece.len() == count => bytes.extend(piece),
                _ => return Err(self.bad(&format!("reading {count} bytes at {at:#010x}"), &reply)),
            }
        }
        Ok(bytes)
    }

    /// Asks the stub's monitor for something, as `monitor` in gdb does, such as QEMU's `system_reset`.
    ///
    /// # Errors
    /// [`Error::Environment`] if it does not know the command or does not answer.
    pub fn monitor(&mut self, command: &str) -> Result<()> {
        let digits: String = command.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut reply = self.request(format!("qRcmd,{digits}").as_bytes())?;
        // What the monitor has to say comes in packets of its own before the answer.
        while reply.first() == Some(&b'O') && reply != b"OK" {
            reply = self.reply()?;
        }
        if reply == b"OK" {
            return Ok(());
        }
        Err(self.bad(&format!("the command {command}"), &reply))
    }

    /// Lets the machine run on and ends the connection.
    ///
    /// # Errors
    /// [`Error::Environment`] if the stub does not answer.
    pub fn detach(mut self) -> Result<()> {
        let reply = self.request(b"D")?;
        if reply == b"OK" {
            return Ok(());
        }
        Err(self.bad("to let the machine run", &reply))
    }

    /// One request, one reply; a packet that was damaged on the way is sent again.
    fn request(&mut self, payload: &[u8]) -> Result<Vec<u8>> {
        let packet = frame(payload);
        for _ in 0..TRIES {
            self.stream
                .write_all(&packet)
                .and_then(|()| self.stream.flush())
                .map_err(|e| self.lost(e))?;
            loop {
                match self.event()? {
                    Event::Ack => return self.reply(),
                    Event::Nak => break,
                    // Left over from before the request.
                    Event::Packet(_) | Event::Damaged => {}
                }
            }
        }
        Err(self.lost(format!("it refused a packet {TRIES} times")))
    }

    fn reply(&mut self) -> Result<Vec<u8>> {
        for _ in 0..TRIES {
            match self.event()? {
                Event::Packet(payload) => {
                    self.stream.write_all(b"+").map_err(|e| self.lost(e))?;
                    return Ok(payload);
                }
                Event::Damaged => self.stream.write_all(b"-").map_err(|e| self.lost(e))?,
                Event::Ack | Event::Nak => {}
            }
        }
        Err(self.lost(format!("it sent {TRIES} damaged packets")))
    }

    fn event(&mut self) -> Result<Event> {
        let deadline = Instant::now() + self.timeout;
        let mut buffer = [0; 4096];
        loop {
            for (at, &byte) in self.inbox.iter().enumerate() {
                if let Some(event) = self.decoder.feed(byte) {
                    self.inbox.drain(..=at);
                    return Ok(event);
                }
            }
            self.inbox.clear();
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(self.lost("it closed the connection")),
                Ok(count) => self.inbox.extend_from_slice(&buffer[..count]),
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(e) => return Err(self.lost(e)),
            }
            if self.inbox.is_empty() && Instant::now() >= deadline {
                return Err(self.lost(format!("no answer within {} s", self.timeout.as_secs_f64())));
            }
        }
    }

    fn lost(&self, why: impl Display) -> Error {
        Error::Environment(format!("debug stub {}: {why}", self.name))
    }

    fn bad(&self, what: &str, reply: &[u8]) -> Error {
        let reply = String::from_utf8_lossy(reply);
        self.lost(format!("{what} was answered with {reply:?}"))
    }
}

fn from_digits(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    if !text.is_ascii() || text.len() % 2 != 0 {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests;
