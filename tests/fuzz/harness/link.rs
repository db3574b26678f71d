//! Bytes on the link: the device's frame reader and message loop, and the host's reader.

use std::sync::OnceLock;

use firmware::{Controller, Instruments, Link, LinkClosed, Memory, SCRATCH_LEN, boot, serve};
use policy_format::message::{FrameReader, MAX_FRAME, PROTOCOL, Reply, Request, encode_frame};

use super::{Slot, assert_admissible};

/// A policy with every part that format version 1 has, and its target class.
pub const POLICY: &[u8] = include_bytes!("../../../policy-format/tests/golden/v1-everything.hpo");

/// Longest stream, so that replies fit the buffers of a pipe.
const LONGEST: usize = 4096;

/// What the bytes of an input are on the wire: behind an even first byte they stand as they are; behind an odd one each
/// run of a length and so many bytes becomes a sound frame, which noise never is.
pub fn wire(data: &[u8]) -> Vec<u8> {
    let Some((kind, mut rest)) = data.split_first() else {
        return Vec::new();
    };
    if kind % 2 == 0 {
        return rest[..rest.len().min(LONGEST)].to_vec();
    }
    let mut wire = Vec::new();
    while let Some((&length, tail)) = rest.split_first() {
        let (payload, tail) = tail.split_at(tail.len().min(length.into()));
        let frame = framed(payload);
        if wire.len() + frame.len() > LONGEST {
            break;
        }
        wire.extend(frame);
        rest = tail;
    }
    wire
}

/// Payload and CRC-32 in COBS, written from `docs/messages.md` alone.
fn framed(payload: &[u8]) -> Vec<u8> {
    let mut crc = !0_u32;
    for &byte in payload {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    let bytes = payload.iter().copied().chain((!crc).to_le_bytes());
    let (mut frame, mut run) = (Vec::new(), Vec::new());
    for byte in bytes {
        if byte != 0 {
            run.push(byte);
        }
        if byte == 0 || run.len() == 254 {
            frame.push(run.len() as u8 + 1);
            frame.append(&mut run);
        }
    }
    frame.push(run.len() as u8 + 1);
    frame.append(&mut run);
    frame.push(0);
    frame
}

fn request(request: &Request) -> Vec<u8> {
    let mut frame = [0; MAX_FRAME];
    let length = encode_frame(request, &mut frame).expect("every request fits a frame");
    frame[..length].to_vec()
}

/// The input's bytes, an end for whatever they began, a greeting and a farewell.
pub fn stream(data: &[u8]) -> Vec<u8> {
    let mut stream = wire(data);
    stream.push(0);
    stream.extend(request(&Request::Hello { protocol: PROTOCOL }));
    stream.extend(request(&Request::Shutdown));
    stream
}

/// The slot of the policy that the device runs.
pub fn slot() -> &'static Slot {
    static SLOT: OnceLock<Slot> = OnceLock::new();
    SLOT.get_or_init(|| Slot::new(POLICY))
}

/// The policy's target class, by its own word.
pub fn class() -> u32 {
    static CLASS: OnceLock<u32> = OnceLock::new();
    *CLASS.get_or_init(|| {
        policy_format::Policy::load(slot().bytes(), &firmware::CAPACITY)
            .expect("a golden file loads")
            .target_class()
    })
}

fn controller() -> &'static Controller<'static> {
    static CONTROLLER: OnceLock<Controller<'static>> = OnceLock::new();
    CONTROLLER.get_or_init(|| boot(slot().bytes(), class(), &mut [0.0; SCRATCH_LEN]))
}

/// A board whose link gives out the stream in pieces and keeps what is sent.
struct Script<'s> {
    input: &'s [u8],
    piece: usize,
    output: Vec<u8>,
    ticks: u32,
}

impl Link for Script<'_> {
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, LinkClosed> {
        let count = self.input.len().min(self.piece).min(buffer.len());
        if count == 0 {
            return Err(LinkClosed);
        }
        let (head, tail) = self.input.split_at(count);
        buffer[..count].copy_from_slice(head);
        self.input = tail;
        Ok(count)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), LinkClosed> {
        self.output.extend(bytes);
        Ok(())
    }
}

impl Instruments for Script<'_> {
    fn ticks(&mut self) -> u32 {
        self.ticks = self.ticks.wrapping_add(7);
        self.ticks
    }

    fn stack_bytes(&mut self) -> u32 {
        0
    }
}

/// What the device answers to a stream, on the host.
pub fn replies(stream: &[u8]) -> Vec<Reply> {
    let mut script = Script {
        input: stream,
        piece: 1 + stream.len() % 150,
        output: Vec::new(),
        ticks: 0,
    };
    serve(&mut script, controller(), class(), &mut Memory::new());
    read(&script.output)
}

/// The replies in what a device sent; every frame is sound.
pub fn read(output: &[u8]) -> Vec<Reply> {
    let mut reader = FrameReader::new();
    let replies = output.iter().filter_map(|&byte| reader.feed::<Reply>(byte));
    replies
        .map(|reply| reply.expect("the device sends sound frames"))
        .collect()
}

/// Asserts that the device survives the bytes, answers a greeting behind them, and sends no inadmissible action; its replies.
pub fn examine(data: &[u8]) -> Vec<Reply> {
    let replies = replies(&stream(data));
    assert_eq!(
        replies.last(),
        Some(&Reply::Bye),
        "it serves until it is told to stop"
    );
    let bytes = wire(data);
    let mut reader = FrameReader::new();
    let mut requests = bytes
        .iter()
        .filter_map(|&byte| reader.feed::<Request>(byte));
    if !requests.any(|request| request == Ok(Request::Shutdown)) {
        assert!(
            matches!(replies[replies.len() - 2], Reply::Hello(_)),
            "{replies:?}"
        );
    }
    let policy = controller().as_ref().expect("a golden file boots").policy();
    for reply in &replies {
        if let Reply::Action(action) = reply {
            assert_admissible(policy, action.mode, &action.control);
        }
    }
    // The host's own reader takes the same bytes.
    let mut reader = FrameReader::new();
    for byte in bytes {
        let _ = reader.feed::<Reply>(byte);
    }
    replies
}
