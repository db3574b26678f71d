//! Packets of the GDB remote protocol: `$payload#checksum`, each answered by `+` or `-`.
//!
//! As in the appendix "GDB Remote Serial Protocol" of the GDB manual, section "Overview".

/// Bytes that a payload may not hold as they are: frame marks, the escape itself, and the mark of a run.
const SPECIAL: [u8; 4] = *b"$#}*";
const ESCAPE: u8 = b'}';

/// Appends `bytes` with every special byte escaped.
pub(super) fn escape(bytes: &[u8], payload: &mut Vec<u8>) {
    for &byte in bytes {
        if SPECIAL.contains(&byte) {
            payload.extend([ESCAPE, byte ^ 0x20]);
        } else {
            payload.push(byte);
        }
    }
}

/// The packet of an escaped payload.
pub(super) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(payload.len() + 4);
    packet.push(b'$');
    packet.extend_from_slice(payload);
    packet.extend(format!("#{:02x}", checksum(payload)).bytes());
    packet
}

fn checksum(payload: &[u8]) -> u8 {
    payload
        .iter()
        .fold(0, |sum: u8, &byte| sum.wrapping_add(byte))
}

/// What came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The other side took our packet.
    Ack,
    /// It wants it again.
    Nak,
    /// A whole packet, with escapes and runs undone.
    Packet(Vec<u8>),
    /// A packet whose checksum is wrong, or that holds no payload.
    Damaged,
}

/// Takes bytes and gives events; a `$` always begins anew.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    state: State,
    raw: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Outside,
    Payload,
    /// Its first digit, if it has come.
    Checksum(Option<u8>),
}

impl Decoder {
    /// A longer payload is none that a stub of ours sends.
    const LONGEST: usize = 1 << 16;

    /// The next byte of the wire.
    pub(super) fn feed(&mut self, byte: u8) -> Option<Event> {
        if byte == b'$' {
            self.raw.clear();
            self.state = State::Payload;
            return None;
        }
        match self.state {
            State::Outside => match byte {
                b'+' => Some(Event::Ack),
                b'-' => Some(Event::Nak),
                _ => None,
            },
            State::Payload if byte == b'#' => {
                self.state = State::Checksum(None);
                None
            }
            State::Payload => {
                self.raw.push(byte);
                if self.raw.len() > Self::LONGEST {
                    self.state = State::Outside;
                    return Some(Event::Damaged);
                }
                None
            }
            State::Checksum(None) => {
                self.state = State::Checksum(Some(byte));
                None
            }
            State::Checksum(Some(first)) => {
                self.state = State::Outside;
                let digits = [first, byte];
                let sum = std::str::from_utf8(&digits).ok();
                let sum = sum.and_then(|text| u8::from_str_radix(text, 16).ok());
                let payload = expand(&self.raw).filter(|_| sum == Some(checksum(&self.raw)));
                Some(payload.map_or(Event::Damaged, Event::Packet))
            }
        }
    }
}

/// Undoes escapes and runs (`x*n` stands for x and n - 29 more); `None` if one of them is cut off.
fn expand(raw: &[u8]) -> Option<Vec<u8>> {
    let mut payload = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            ESCAPE => payload.push(bytes.next()? ^ 0x20),
            b'*' => {
                let more = bytes.next()?.checked_sub(29)?;
                let last = *payload.last()?;
                payload.extend(std::iter::repeat_n(last, more.into()));
            }
            _ => payload.push(byte),
        }
    }
    Some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(bytes: &[u8]) -> Vec<Event> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|&b| decoder.feed(b)).collect()
    }

    #[test]
    fn packets_of_the_manual() {
        assert_eq!(frame(b"OK"), b"$OK#9a");
        assert_eq!(frame(b""), b"$#00");
        assert_eq!(
            events(b"+$OK#9a"),
            [Event::Ack, Event::Packet(b"OK".into())]
        );
        // The manual's example of a run: "0* " is four zeros.
        assert_eq!(events(b"$0* #7a"), [Event::Packet(b"0000".into())]);
        assert_eq!(events(b"-"), [Event::Nak]);
    }

    #[test]
    fn damage_is_seen_and_left_behind() {
        for bytes in [&b"$OK#9b"[..], b"$OK#zz", b"$}#7d", b"$*!#4b", b"$0*#5a"] {
            let good = [bytes, b"$OK#9a"].concat();
            let ok = Event::Packet(b"OK".into());
            assert_eq!(events(&good), [Event::Damaged, ok], "{bytes:?}");
        }
        // A packet that was cut off: the next one counts.
        assert_eq!(events(b"$half$OK#9a").len(), 1);
        let endless = vec![b'a'; Decoder::LONGEST + 2];
        assert_eq!(events(&[&b"$"[..], &endless].concat()), [Event::Damaged]);
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut payload = Vec::new();
            escape(&bytes, &mut payload);
            prop_assert!(!payload.contains(&b'$') && !payload.contains(&b'#') && !payload.contains(&b'*'));
            prop_assert_eq!(events(&frame(&payload)), [Event::Packet(bytes)]);
        }

        #[test]
        fn any_noise_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            // Two digits end a checksum that the noise may have begun.
            let mut all = bytes;
            all.extend(b"00$OK#9a");
            prop_assert_eq!(events(&all).pop(), Some(Event::Packet(b"OK".into())));
        }
    }
}
