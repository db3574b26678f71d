use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use policy_format::message::{FrameReader, MAX_FRAME, encode_numbered};

use super::*;
use crate::bench::device::networks::NETWORKS;

/// A device that is asked of its slots and answers what was prepared: the bytes in place after each `Begin` and `Write`.
#[derive(Debug)]
struct Claims {
    in_place: VecDeque<u32>,
    asked: Rc<RefCell<Vec<SlotRequest>>>,
    reader: FrameReader,
    output: Vec<u8>,
}

impl Claims {
    fn answer(&mut self, request: SlotRequest) -> Reply {
        let claims = matches!(
            request,
            SlotRequest::Begin { .. } | SlotRequest::Write { .. }
        );
        self.asked.borrow_mut().push(request);
        let in_place = if claims {
            self.in_place.pop_front().unwrap_or_default()
        } else {
            0
        };
        Reply::Slots(SlotStatus {
            slot_bytes: 1 << 20,
            confirmed: 0,
            other: 0,
            reason: 0,
            floor: 0,
            running: 0,
            on_trial: false,
            armed: false,
            stalls: false,
            other_crc32: 0,
            length: 0,
            digest: (0, 0),
            in_place,
        })
    }
}

impl Transport for Claims {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        for &byte in bytes {
            if let Some(Ok(Request::Slots(request))) = self.reader.feed::<Request>(byte) {
                let reply = self.answer(request);
                let mut frame = [0; MAX_FRAME];
                let length = encode_numbered(self.reader.number(), &reply, &mut frame).unwrap();
                self.output.extend(&frame[..length]);
            }
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize> {
        Ok(self
            .receive_within(buffer, Duration::ZERO)?
            .unwrap_or_default())
    }

    fn receive_within(&mut self, buffer: &mut [u8], _: Duration) -> Result<Option<usize>> {
        let count = self.output.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.output[..count]);
        self.output.drain(..count);
        Ok((count > 0).then_some(count))
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Pushes a policy to a device with these claims; what came of it, what the device was asked, and the policy.
fn push_to(
    claims: impl Fn(u32) -> Vec<u32>,
) -> (Result<PushReport>, Vec<SlotRequest>, PolicyBuffer) {
    let shape = NETWORKS.iter().find(|shape| shape.name == "d").unwrap();
    let policy = shape.policy(false).unwrap();
    let bytes = u32::try_from(policy.bytes().len()).unwrap();
    let asked = Rc::default();
    let mut session = Session::over(Claims {
        in_place: claims(bytes).into(),
        asked: Rc::clone(&asked),
        reader: FrameReader::new(),
        output: Vec::new(),
    });
    let options = PushOptions {
        disarm: false,
        restart: true,
        patience: Duration::from_secs(2),
    };
    let result = push(&mut session, policy.bytes(), options, &mut |_, _| {});
    (result, asked.take(), policy)
}

#[test]
fn the_bytes_arrive_and_the_rest_is_sent_where_an_earlier_push_broke_off() {
    const STEP: u32 = MAX_DATA as u32;
    let (report, asked, policy) = push_to(|bytes| {
        let after = (0..).map(|k| 100 + k * STEP).take_while(|&at| at < bytes);
        after.chain([bytes]).collect()
    });
    let report = report.unwrap();
    assert_eq!((report.resumed_at, report.sent), (100, report.bytes - 100));
    let sent: Vec<u8> = asked
        .iter()
        .filter_map(|request| match request {
            SlotRequest::Write { data, .. } => Some(data.iter().copied()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(sent, policy.bytes()[100..]);
    let last = &asked[asked.len() - 3..];
    assert_eq!(
        last,
        [
            SlotRequest::Finish,
            SlotRequest::Disarm,
            SlotRequest::Restart
        ]
    );
}

#[test]
fn a_device_whose_count_cannot_be_true_ends_the_push_before_it_is_finished() {
    // Of the policy's bytes, what the device claims, and what is said of it.
    type Case = (fn(u32) -> Vec<u32>, &'static str);
    // More in place than the policy has, before a byte and behind one; none taken; one taken back.
    let cases: [Case; 4] = [
        (|bytes| vec![bytes + 1], "before any was sent"),
        (|bytes| vec![0, bytes + 1], "behind 0 and 256 more"),
        (|_| vec![0, 0], "behind 0 and 256 more"),
        (|_| vec![300, 299], "behind 300 and 256 more"),
    ];
    for (claims, words) in cases {
        let (result, asked, _) = push_to(claims);
        let error = result.unwrap_err();
        assert!(
            matches!(&error, Error::Environment(what) if what.contains(words)),
            "{words}: {error}"
        );
        assert!(!asked.contains(&SlotRequest::Finish), "{words}");
    }
}
