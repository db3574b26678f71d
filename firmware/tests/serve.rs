//! The message loop, driven by a scripted host.

mod support;

use firmware::{
    Controller, Fault, Instruments, Link, LinkClosed, Memory, SCRATCH_LEN, boot, serve,
};
use policy_format::message::{
    FrameReader, MAX_FRAME, PROTOCOL, Reply, Request, SlotRequest, Stats, encode_frame,
    encode_numbered,
};
use proptest::prelude::*;
use support::common::Aligned;
use support::{good_policy, slot};

const CLASS: u32 = 5;
/// Ticks the scripted counter moves at each reading.
const READING: u32 = 7;

/// Gives out `input` in pieces and keeps what is sent.
struct Script {
    input: Vec<u8>,
    at: usize,
    piece: usize,
    output: Vec<u8>,
    ticks: u32,
}

impl Link for Script {
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, LinkClosed> {
        let rest = &self.input[self.at..];
        let count = rest.len().min(self.piece).min(buffer.len());
        if count == 0 {
            return Err(LinkClosed);
        }
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), LinkClosed> {
        self.output.extend(bytes);
        Ok(())
    }
}

impl Instruments for Script {
    fn ticks(&mut self) -> u32 {
        self.ticks = self.ticks.wrapping_add(READING);
        self.ticks
    }

    fn stack_bytes(&mut self) -> u32 {
        1234
    }
}

fn frame(request: &Request) -> Vec<u8> {
    let mut frame = [0; MAX_FRAME];
    let length = encode_frame(request, &mut frame).unwrap();
    frame[..length].to_vec()
}

fn step(seq: u32, state: &[f32]) -> Vec<u8> {
    frame(&Request::step(seq, state).unwrap())
}

fn replies(controller: &Controller<'_>, input: Vec<u8>, piece: usize) -> Vec<Reply> {
    let mut script = Script {
        input,
        at: 0,
        piece,
        output: Vec::new(),
        ticks: u32::MAX - 3 * READING,
    };
    serve(&mut script, controller, CLASS, &mut Memory::new());
    let mut reader = FrameReader::new();
    let replies = script.output.iter().filter_map(|&b| reader.feed(b));
    replies
        .map(|reply| reply.expect("replies are sound frames"))
        .collect()
}

fn armed_slot() -> Aligned {
    slot(&good_policy(CLASS))
}

#[test]
fn a_session_from_greeting_to_farewell() {
    let slot = armed_slot();
    let controller = boot(slot.bytes(), CLASS, &mut [0.0; SCRATCH_LEN]);
    let policy = controller.as_ref().unwrap().policy();
    let mut input = frame(&Request::Hello { protocol: 99 });
    let golden: Vec<_> = policy.golden().collect();
    input.extend(frame(&Request::Reset));
    for (seq, vector) in golden.iter().enumerate() {
        input.extend(step(seq as u32, vector.state));
    }
    input.extend(frame(&Request::Stats));
    input.extend(frame(&Request::Shutdown));
    // Never read: the loop has ended.
    input.extend(frame(&Request::Stats));

    for piece in [1, 5, 1000] {
        let replies = replies(&controller, input.clone(), piece);
        assert_eq!(replies.len(), golden.len() + 4);
        let Reply::Hello(hello) = &replies[0] else {
            panic!("{:?}", replies[0]);
        };
        assert_eq!((hello.protocol, hello.boot_fault), (PROTOCOL, 0));
        assert_eq!((hello.state_dim, hello.control_dim), (8, 8));
        assert_eq!(
            (hello.target_class, hello.policy_crc32),
            (CLASS, policy.crc32())
        );
        assert_eq!(replies[1], Reply::Ready);
        for (seq, vector) in golden.iter().enumerate() {
            let Reply::Action(action) = &replies[2 + seq] else {
                panic!("{:?}", replies[2 + seq]);
            };
            assert_eq!((action.seq, action.fault), (seq as u32, 0));
            assert_eq!(u32::from(action.choice), vector.choice);
            assert_eq!(action.control.as_slice(), vector.control);
            // One reading in between, all of it overhead, also where the counter wraps around.
            assert_eq!(action.ticks, 0);
        }
        let stats = Stats {
            steps: golden.len() as u32,
            stack_bytes: 1234,
            overhead_ticks: READING,
            ..Stats::default()
        };
        assert_eq!(replies[golden.len() + 2], Reply::Stats(stats));
        assert_eq!(replies[golden.len() + 3], Reply::Bye);
    }
}

#[test]
fn a_device_whose_boot_failed_keeps_answering() {
    let controller: Controller<'_> = Err(Fault::TARGET_CLASS);
    let mut input = frame(&Request::Hello { protocol: PROTOCOL });
    input.extend(step(3, &[1.0; 8]));
    let replies = replies(&controller, input, 1000);
    let Reply::Hello(hello) = &replies[0] else {
        panic!("{:?}", replies[0]);
    };
    assert_eq!(hello.boot_fault, Fault::TARGET_CLASS.code());
    assert_eq!((hello.policy_crc32, hello.state_dim), (0, 0));
    let Reply::Action(action) = &replies[1] else {
        panic!("{:?}", replies[1]);
    };
    assert_eq!((action.seq, action.mode), (3, 0));
    assert_eq!(action.fault, Fault::TARGET_CLASS.code());
    assert!(action.control.is_empty());
}

#[test]
fn a_latched_fault_ends_with_the_episode() {
    let slot = armed_slot();
    let controller = boot(slot.bytes(), CLASS, &mut [0.0; SCRATCH_LEN]);
    let input = [
        step(0, &[f32::INFINITY; 8]),
        step(1, &[0.0; 8]),
        frame(&Request::Stats),
        frame(&Request::Reset),
        step(2, &[0.0; 8]),
        frame(&Request::Stats),
    ]
    .concat();
    let replies = replies(&controller, input, 64);
    let fault = |reply: &Reply| match reply {
        Reply::Action(action) => action.fault,
        Reply::Stats(stats) => stats.latched_fault,
        other => panic!("{other:?}"),
    };
    let latched = Fault::NON_FINITE_INPUT.code();
    assert_eq!([0, 1, 2].map(|i| fault(&replies[i])), [latched; 3]);
    assert_eq!([4, 5].map(|i| fault(&replies[i])), [0; 2]);
}

#[test]
fn bad_frames_are_answered_by_number_and_left_behind() {
    let controller: Controller<'_> = Err(Fault::EMPTY_SLOT);
    let mut damaged = frame(&Request::Stats);
    damaged[1] ^= 0x40;
    // A sound frame that holds no request: a reply, whose number is that of a request without fields.
    let mut reply = [0; MAX_FRAME];
    let length = encode_frame(&Reply::Stats(Stats::default()), &mut reply).unwrap();
    let input = [
        reply[..length].to_vec(),
        damaged,
        vec![9, 1, 0],
        vec![0x55; 2 * MAX_FRAME],
        vec![0],
        frame(&Request::Shutdown),
    ]
    .concat();
    let replies = replies(&controller, input, 33);
    let faults: Vec<_> = replies[..4]
        .iter()
        .map(|reply| match reply {
            Reply::Error { fault } => Fault::from_code(*fault).unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        faults,
        [
            Fault::FRAME_PAYLOAD,
            Fault::FRAME_CRC,
            Fault::FRAME_CUT,
            Fault::FRAME_TOO_LONG
        ]
    );
    assert_eq!(replies[4..], [Reply::Bye]);
}

fn numbered(number: u16, message: Request) -> Vec<u8> {
    let mut frame = [0; MAX_FRAME];
    let length = encode_numbered(Some(number), &message, &mut frame).unwrap();
    frame[..length].to_vec()
}

/// A host that got no reply asks again with the same number, and the step is taken once, whatever comes in between.
#[test]
fn a_request_that_is_repeated_is_answered_again_and_done_once() {
    let slot = armed_slot();
    let controller = boot(slot.bytes(), CLASS, &mut [0.0; SCRATCH_LEN]);
    let step = |number| numbered(number, Request::step(9, &[0.25; 8]).unwrap());
    let mut damaged = step(7);
    damaged[3] ^= 1;
    let input = [
        step(7),
        step(7),
        damaged,
        step(7),
        step(8),
        numbered(9, Request::Stats),
        frame(&Request::Hello { protocol: PROTOCOL }),
        // A greeting begins the numbers anew.
        numbered(9, Request::step(9, &[0.25; 8]).unwrap()),
        numbered(10, Request::Stats),
    ]
    .concat();
    let mut script = Script {
        input,
        at: 0,
        piece: 50,
        output: Vec::new(),
        ticks: 0,
    };
    serve(&mut script, &controller, CLASS, &mut Memory::new());
    let mut reader = FrameReader::new();
    let mut replies = Vec::new();
    for byte in &script.output {
        if let Some(reply) = reader.feed::<Reply>(*byte) {
            replies.push((reader.number(), reply.unwrap()));
        }
    }
    let numbers: Vec<_> = replies.iter().map(|(number, _)| *number).collect();
    let expected = [7, 7, 0, 7, 8, 9, 0, 9, 10].map(|n: u16| (n > 0).then_some(n));
    assert_eq!(numbers, expected);
    assert_eq!(replies[0], replies[1]);
    assert_eq!(replies[0], replies[3]);
    let fault = Fault::FRAME_CRC.code();
    assert_eq!(replies[2].1, Reply::Error { fault });
    let steps = |(_, reply): &(Option<u16>, Reply)| match reply {
        Reply::Stats(stats) => (stats.steps, stats.bad_frames),
        other => panic!("{other:?}"),
    };
    assert_eq!(steps(&replies[5]), (2, 1));
    assert_eq!(steps(&replies[8]), (3, 1));
}

#[test]
fn firmware_without_slots_refuses_them_by_name() {
    let controller: Controller<'_> = Err(Fault::EMPTY_SLOT);
    let input = [
        frame(&Request::Slots(SlotRequest::Status)),
        frame(&Request::Monitor),
    ]
    .concat();
    let fault = Fault::UNSUPPORTED.code();
    assert_eq!(
        replies(&controller, input, 9),
        [Reply::Error { fault }, Reply::Error { fault }]
    );
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        piece in 1_usize..200,
    ) {
        let slot = armed_slot();
        let controller = boot(slot.bytes(), CLASS, &mut [0.0; SCRATCH_LEN]);
        let input = [bytes, vec![0], frame(&Request::Shutdown)].concat();
        let replies = replies(&controller, input, piece);
        prop_assert_eq!(replies.last(), Some(&Reply::Bye));
    }
}
