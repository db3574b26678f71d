use super::*;
use crate::crc32::Crc32;
use proptest::prelude::*;

fn frame<T: Message>(message: &T) -> std::vec::Vec<u8> {
    let mut frame = [0xAA; MAX_FRAME];
    let length = encode_frame(message, &mut frame).unwrap();
    frame[..length].to_vec()
}

/// A frame by serde, postcard and the COBS crate.
fn by_serde<T: serde::Serialize>(message: &T) -> std::vec::Vec<u8> {
    let mut buffer = [0; 2 * MAX_PAYLOAD];
    let body = postcard::to_slice(message, &mut buffer).unwrap();
    let mut crc = Crc32::new();
    crc.extend(body);
    let payload = [&*body, &crc.finish().to_le_bytes()].concat();
    let mut encoded = std::vec![0; cobs::max_encoding_length(payload.len())];
    let length = cobs::encode(&payload, &mut encoded);
    encoded.truncate(length);
    encoded.push(0);
    encoded
}

fn read<T: Message>(bytes: &[u8]) -> std::vec::Vec<Result<T, FrameError>> {
    let mut reader = FrameReader::new();
    bytes.iter().filter_map(|&b| reader.feed(b)).collect()
}

fn action(control: usize) -> Reply {
    Reply::Action(Action {
        seq: u32::MAX,
        choice: u16::MAX,
        mode: u16::MAX,
        fault: u16::MAX,
        control: (0..control).map(|i| i as f32 + 0.25).collect(),
        ticks: u32::MAX,
    })
}

/// The bytes on the wire are part of the protocol: firmware in the field speaks them.
#[test]
fn bytes_are_pinned() {
    // tag 0, varint 1; CRC-32 of 00 01 is 36DE2269 (checked with zlib), little-endian.
    assert_eq!(
        frame(&Request::Hello { protocol: 1 }),
        [1, 6, 1, 0x69, 0x22, 0xDE, 0x36, 0]
    );
    assert_eq!(frame(&Request::Reset), [6, 1, 0x1B, 0xDF, 0x05, 0xA5, 0]);
    let state = Vec::from_slice(&[1.0_f32, -2.5]).unwrap();
    // tag 2, varint 300 = AC 02, length 2, 1.0 = 0000803F, -2.5 = 000020C0.
    let step = frame(&Request::Step { seq: 300, state });
    assert_eq!(
        step[..14],
        [
            5, 2, 0xAC, 2, 2, 1, 3, 0x80, 0x3F, 1, 7, 0x20, 0xC0, step[13]
        ]
    );
    assert_eq!(frame(&Reply::Error { fault: 5 })[1..3], [5, 5]);
    assert_eq!(frame(&Reply::Bye)[1], 4);
}

#[test]
fn the_longest_messages_fit() {
    let longest = frame(&action(MAX_CONTROL));
    assert!(longest.len() <= MAX_FRAME);
    assert_eq!(read::<Reply>(&longest), [Ok(action(MAX_CONTROL))]);
    let state = (0..MAX_STATE).map(|i| i as f32).collect();
    let step = Request::Step {
        seq: u32::MAX,
        state,
    };
    assert_eq!(read::<Request>(&frame(&step)), [Ok(step)]);
    let hello = Reply::Hello(Hello {
        protocol: u16::MAX,
        firmware: (u16::MAX, u16::MAX, u16::MAX),
        target_class: u32::MAX,
        boot_fault: u16::MAX,
        policy_crc32: u32::MAX,
        policy_version: u32::MAX,
        state_dim: u16::MAX,
        control_dim: u16::MAX,
    });
    assert_eq!(read::<Reply>(&frame(&hello)), [Ok(hello)]);
}

#[test]
fn a_state_beyond_the_maximum_is_refused() {
    let long: Vec<f32, 65> = core::iter::repeat_n(0.5, MAX_STATE + 1).collect();
    // The same wire bytes as Request::Step, with one float too many.
    let bytes = by_serde(&(2_u8, 7_u32, long));
    assert_eq!(read::<Request>(&bytes), [Err(FrameError::Payload)]);
}

#[test]
fn bytes_after_the_message_are_refused() {
    let bytes = by_serde(&(1_u8, 0_u8));
    assert_eq!(read::<Request>(&bytes), [Err(FrameError::Payload)]);
}

#[test]
fn an_endless_run_gives_one_error_and_the_next_frame_is_read() {
    let mut bytes = std::vec![0x55; 3 * MAX_FRAME];
    bytes.push(0);
    bytes.extend(frame(&Request::Stats));
    assert_eq!(
        read::<Request>(&bytes),
        [Err(FrameError::TooLong), Ok(Request::Stats)]
    );
}

/// Any request: lengths, zeros and the runs that COBS cuts.
fn request() -> impl Strategy<Value = Request> {
    let value = prop_oneof![any::<f32>(), Just(0.0), Just(f32::from_bits(0x0101_0101))];
    let state = proptest::collection::vec(value, 0..=MAX_STATE);
    let kind = 0..6_u8;
    (kind, any::<[u32; 3]>(), any::<u16>(), state).prop_map(
        |(kind, [seq, measured_us, now_us], protocol, state)| match kind {
            0 => Request::Hello { protocol },
            1 => Request::Reset,
            2 => Request::step(seq % 300, &state).unwrap(),
            3 => Request::Stats,
            4 => Request::Shutdown,
            _ => Request::step_at(seq, measured_us, now_us, &state).unwrap(),
        },
    )
}

fn reply() -> impl Strategy<Value = Reply> {
    let control = proptest::collection::vec(any::<f32>(), 0..=MAX_CONTROL);
    (0..6_u8, any::<[u32; 6]>(), any::<[u16; 6]>(), control).prop_map(|(kind, a, b, control)| {
        match kind {
            0 => Reply::Hello(Hello {
                protocol: b[0],
                firmware: (b[1], b[2], b[3]),
                target_class: a[0],
                boot_fault: b[4],
                policy_crc32: a[1],
                policy_version: a[2],
                state_dim: b[5],
                control_dim: b[0] % 300,
            }),
            1 => Reply::Ready,
            2 => Reply::Action(Action {
                seq: a[0],
                choice: b[0],
                mode: b[1],
                fault: b[2],
                control: Vec::from_slice(&control).unwrap(),
                ticks: a[1],
            }),
            3 => Reply::Stats(Stats {
                steps: a[0],
                fallback_steps: a[1],
                bad_frames: a[2],
                latched_fault: b[0],
                stack_bytes: a[3],
                overhead_ticks: a[4],
            }),
            4 => Reply::Bye,
            _ => Reply::Error { fault: b[0] },
        }
    })
}

/// What postcard makes of the bytes, bits for values that do not compare.
fn text<T: std::fmt::Debug>(message: Option<T>) -> std::string::String {
    std::format!("{message:?}")
}

fn same_as_postcard<T>(body: &[u8]) -> Result<(), TestCaseError>
where
    T: Message + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let mut decoder = crate::wire::Decoder::new(body);
    let ours = T::read(&mut decoder);
    let postcard = postcard::take_from_bytes::<T>(body).ok();
    if let Some((_, rest)) = &postcard {
        prop_assert_eq!(decoder.rest(), *rest);
    }
    prop_assert_eq!(text(ours), text(postcard.map(|(message, _)| message)));
    Ok(())
}

proptest! {
    #[test]
    fn requests_have_postcards_bytes(request in request()) {
        prop_assert_eq!(frame(&request), by_serde(&request));
    }

    #[test]
    fn replies_have_postcards_bytes(reply in reply()) {
        prop_assert_eq!(frame(&reply), by_serde(&reply));
    }

    #[test]
    fn any_bytes_are_what_postcard_reads(
        tag in 0..8_u8,
        mut numbers in proptest::collection::vec(prop_oneof![any::<u8>(), 0x80..=0xFF_u8, Just(0x80), 0..4_u8], 0..40),
    ) {
        crate::wire::at_most_five(&mut numbers);
        let body = [&[tag][..], &numbers].concat();
        same_as_postcard::<Request>(&body)?;
        same_as_postcard::<Reply>(&body)?;
    }

    #[test]
    fn steps_come_back(seq: u32, state in proptest::collection::vec(any::<f32>(), 0..=MAX_STATE)) {
        let step = Request::Step { seq, state: Vec::from_slice(&state).unwrap() };
        let bytes = frame(&step);
        prop_assert_eq!(bytes.iter().filter(|&&b| b == 0).count(), 1);
        let back = read::<Request>(&bytes);
        // Bits, not values: a NaN travels unchanged.
        let [Ok(Request::Step { seq: back_seq, state: back_state })] = back.as_slice() else {
            return Err(TestCaseError::fail(std::format!("{back:?}")));
        };
        prop_assert_eq!(*back_seq, seq);
        prop_assert!(back_state.iter().map(|x| x.to_bits()).eq(state.iter().map(|x| x.to_bits())));
    }

    #[test]
    fn any_bytes_are_survived_and_the_next_frame_is_read(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..1000),
    ) {
        let before = bytes.iter().filter(|&&b| b == 0).count();
        bytes.push(0);
        let noise = read::<Reply>(&bytes);
        // At most one result per zero byte, plus one per overlong run.
        prop_assert!(noise.len() <= before + 1 + bytes.len() / MAX_PAYLOAD);
        bytes.extend(frame(&action(3)));
        let all = read::<Reply>(&bytes);
        prop_assert_eq!(all.last(), Some(&Ok(action(3))));
    }

    #[test]
    fn a_damaged_byte_never_gives_another_message(at in 0_usize..60, flip in 1_u8..=255) {
        let mut bytes = frame(&action(8));
        let at = at % bytes.len();
        bytes[at] ^= flip;
        bytes.push(0);
        for result in read::<Reply>(&bytes) {
            prop_assert!(result.is_err());
        }
    }
}
