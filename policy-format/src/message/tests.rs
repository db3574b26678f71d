use super::*;
use proptest::prelude::*;

fn frame<T: Serialize>(message: &T) -> std::vec::Vec<u8> {
    let mut frame = [0xAA; MAX_FRAME];
    let length = encode_frame(message, &mut frame).unwrap();
    frame[..length].to_vec()
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> std::vec::Vec<Result<T, FrameError>> {
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
fn crc_is_the_common_one() {
    assert_eq!(CRC.checksum(b"123456789"), 0xCBF4_3926);
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
    let bytes = frame(&(2_u8, 7_u32, long));
    assert_eq!(read::<Request>(&bytes), [Err(FrameError::Payload)]);
}

#[test]
fn bytes_after_the_message_are_refused() {
    let bytes = frame(&(1_u8, 0_u8));
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

proptest! {
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
