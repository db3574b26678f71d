//! Frames: a message, its CRC-32, and COBS around both.

use cobs::{DecodeResult, DecoderState};
use heapless::Vec;

use super::{FrameError, MAX_FRAME, MAX_PAYLOAD, Message};
use crate::crc32::Crc32;
use crate::wire::Decoder;

/// First byte of a payload that carries a number; no message begins with it.
pub(super) const MARK: u8 = 0x7F;

/// Writes the frame of `message`, its final zero included, into `frame` and returns its length.
///
/// Never panics.
///
/// # Errors
/// [`FrameError::Encode`] if the message does not fit; no message of this module is that long.
pub fn encode_frame<T: Message>(
    message: &T,
    frame: &mut [u8; MAX_FRAME],
) -> Result<usize, FrameError> {
    encode_numbered(None, message, frame)
}

/// As [`encode_frame`], with a number in front of the message if there is one.
///
/// A device answers a request with a number by a reply with the same one. A request that repeats the number of the one before
/// is not acted on again: the same reply is sent once more.
///
/// # Errors
/// As [`encode_frame`].
#[inline(never)]
pub fn encode_numbered<T: Message>(
    number: Option<u16>,
    message: &T,
    frame: &mut [u8; MAX_FRAME],
) -> Result<usize, FrameError> {
    let mut writer = FrameWriter {
        frame,
        run: 0,
        at: 1,
        crc: Crc32::new(),
    };
    if let Some(number) = number {
        writer.byte(MARK);
        writer.number(number.into());
    }
    message.write(&mut writer);
    writer.finish().ok_or(FrameError::Encode)
}

/// Writes a frame byte by byte, without a buffer for what it holds. COBS replaces every zero by the distance to the next
/// one; that is known only once the run is over, and is left open until then.
#[derive(Debug)]
pub struct FrameWriter<'f> {
    frame: &'f mut [u8; MAX_FRAME],
    /// Where the length of the present run will stand.
    run: usize,
    /// Where the next byte will stand; beyond the frame for a message that is too long.
    at: usize,
    /// Of the bytes so far, before COBS.
    crc: Crc32,
}

impl FrameWriter<'_> {
    #[inline(never)]
    pub(super) fn byte(&mut self, byte: u8) {
        self.crc.push(byte);
        self.stuff(byte);
    }

    /// Writes a number, seven bits to a byte, lowest first; those of 16 bits look the same.
    #[inline(never)]
    pub(super) fn number(&mut self, value: u32) {
        let mut rest = value;
        while rest >= 0x80 {
            self.byte(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.byte(rest as u8);
    }

    /// Writes a list of bytes.
    #[cfg(feature = "slots")]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u32);
        for byte in bytes {
            self.byte(*byte);
        }
    }

    /// Writes a list of floats.
    #[inline(never)]
    pub(super) fn floats(&mut self, values: &[f32]) {
        // No list is that long.
        self.number(values.len() as u32);
        for value in values {
            for byte in value.to_le_bytes() {
                self.byte(byte);
            }
        }
    }

    #[inline(never)]
    fn stuff(&mut self, byte: u8) {
        if byte != 0 {
            if let Some(place) = self.frame.get_mut(self.at) {
                *place = byte;
            }
            self.at += 1;
        }
        // The longest run has 254 bytes behind its length, and no zero.
        if byte == 0 || self.at - self.run == 255 {
            self.close();
            self.run = self.at;
            self.at += 1;
        }
    }

    /// Writes the length of the present run.
    fn close(&mut self) {
        if let Some(length) = self.frame.get_mut(self.run) {
            *length = (self.at - self.run) as u8;
        }
    }

    /// Adds CRC and final zero; the length of the frame, `None` if it is longer than a frame may be.
    fn finish(mut self) -> Option<usize> {
        for byte in self.crc.finish().to_le_bytes() {
            self.stuff(byte);
        }
        self.close();
        *self.frame.get_mut(self.at)? = 0;
        Some(self.at + 1)
    }
}

/// Reads frames from a stream of bytes.
///
/// Total: any bytes give messages or [`FrameError`]s, at most one per zero byte or per overlong run,
/// and after each zero byte reading starts afresh. A lone zero between frames is ignored.
#[derive(Debug, Default)]
pub struct FrameReader {
    state: DecoderState,
    payload: Vec<u8, MAX_PAYLOAD>,
    skipping: bool,
    number: Option<u16>,
}

impl FrameReader {
    /// An empty reader. Never panics.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one byte; gives the message or the error that it completed, `None` in between.
    ///
    /// After [`FrameError::TooLong`] everything up to the next zero is dropped in silence. Never
    /// panics.
    #[must_use]
    pub fn feed<T: Message>(&mut self, byte: u8) -> Option<Result<T, FrameError>> {
        let complete = self.push(byte)?;
        Some(complete.and_then(|()| open(&self.payload, &mut self.number)))
    }

    /// The number of the last message, `None` if it had none.
    #[must_use]
    pub const fn number(&self) -> Option<u16> {
        self.number
    }

    /// Takes one byte; whether it completed a payload.
    #[inline(never)]
    fn push(&mut self, byte: u8) -> Option<Result<(), FrameError>> {
        if self.skipping {
            if byte == 0 {
                self.skipping = false;
                self.state = DecoderState::Idle;
            }
            return None;
        }
        match self.state.feed(byte) {
            Ok(DecodeResult::NoData) => None,
            Ok(DecodeResult::DataStart) => {
                self.payload.clear();
                None
            }
            Ok(DecodeResult::DataContinue(data)) => {
                if self.payload.push(data).is_ok() {
                    return None;
                }
                // A zero in `data` is a zero of the payload, not the frame's end.
                self.skipping = byte != 0;
                Some(Err(FrameError::TooLong))
            }
            Ok(DecodeResult::DataComplete) => Some(Ok(())),
            Err(_) => Some(Err(FrameError::Framing)),
        }
    }
}

/// Checks and decodes payload and CRC.
fn open<T: Message>(payload: &[u8], number: &mut Option<u16>) -> Result<T, FrameError> {
    let (body, stored) = payload.split_last_chunk::<4>().ok_or(FrameError::Framing)?;
    let mut crc = Crc32::new();
    crc.extend(body);
    if crc.finish() != u32::from_le_bytes(*stored) {
        return Err(FrameError::Crc);
    }
    let mut decoder = Decoder::new(body);
    *number = None;
    if body.first() == Some(&MARK) {
        let _ = decoder.byte();
        *number = Some(decoder.u16().ok_or(FrameError::Payload)?);
    }
    let message = T::read(&mut decoder).ok_or(FrameError::Payload)?;
    if decoder.rest().is_empty() {
        Ok(message)
    } else {
        Err(FrameError::Payload)
    }
}
