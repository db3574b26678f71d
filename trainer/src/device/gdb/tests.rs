//! The client against a stub made for the purpose: memory, a bad temper, and no mercy on wrong packets.

use std::collections::BTreeMap;
use std::thread::JoinHandle;

use super::packet::{Decoder, Event, escape, frame};
use super::*;

/// What the stub does besides answering rightly.
#[derive(Clone, Copy, Default)]
struct Temper {
    /// Knows `X`.
    binary: bool,
    /// Refuses every third packet at first.
    refuses: bool,
    /// Damages every fourth reply at first.
    damages: bool,
    /// Loses what is written here.
    hole: Option<u64>,
    /// Stops answering at this request.
    falls_silent_at: Option<usize>,
    /// Hangs up at this request.
    hangs_up_at: Option<usize>,
}

struct Stub {
    temper: Temper,
    memory: BTreeMap<u64, u8>,
    requests: Vec<Vec<u8>>,
}

impl Stub {
    /// Serves one connection; afterwards what was asked and what the memory holds.
    fn start(temper: Temper) -> (UnixStream, JoinHandle<Stub>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(LOOK)).unwrap();
        let server = std::thread::spawn(move || {
            let mut stub = Stub {
                temper,
                memory: BTreeMap::new(),
                requests: Vec::new(),
            };
            stub.serve(theirs);
            stub
        });
        (ours, server)
    }

    fn serve(&mut self, mut stream: UnixStream) {
        let mut decoder = Decoder::default();
        let (mut packets, mut last) = (0_usize, Vec::new());
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            for &byte in &buffer[..count] {
                match decoder.feed(byte) {
                    Some(Event::Packet(payload)) => {
                        packets += 1;
                        if self.temper.refuses && packets % 3 == 1 {
                            stream.write_all(b"-").unwrap();
                            continue;
                        }
                        if self.temper.hangs_up_at == Some(self.requests.len()) {
                            return;
                        }
                        if self.temper.falls_silent_at == Some(self.requests.len()) {
                            continue;
                        }
                        stream.write_all(b"+").unwrap();
                        self.requests.push(payload.clone());
                        for reply in self.answer(&payload) {
                            last = frame(&reply);
                            let mut sent = last.clone();
                            if self.temper.damages && self.requests.len() % 4 == 3 {
                                let end = sent.len() - 1;
                                sent[end] ^= 1;
                            }
                            stream.write_all(&sent).unwrap();
                        }
                    }
                    Some(Event::Nak) => stream.write_all(&last).unwrap(),
                    Some(Event::Damaged) => stream.write_all(b"-").unwrap(),
                    Some(Event::Ack) | None => {}
                }
            }
        }
    }

    fn answer(&mut self, payload: &[u8]) -> Vec<Vec<u8>> {
        let colon = payload.iter().position(|&b| b == b':');
        let head =
            String::from_utf8_lossy(&payload[1..colon.unwrap_or(payload.len())]).into_owned();
        let numbers: Vec<u64> = head
            .split(',')
            .filter_map(|n| u64::from_str_radix(n, 16).ok())
            .collect();
        let data = colon.map_or(&[][..], |at| &payload[at + 1..]);
        match (payload[0], numbers.as_slice()) {
            (b'X', _) if !self.temper.binary => vec![Vec::new()],
            (kind @ (b'X' | b'M'), &[address, length]) => {
                let bytes = if kind == b'X' {
                    data.to_vec()
                } else {
                    from_digits(data).unwrap()
                };
                assert_eq!(bytes.len() as u64, length);
                if address >= 0xF000_0000 {
                    return vec![b"E14".to_vec()];
                }
                let lost = self.temper.hole;
                self.memory
                    .extend((address..).zip(bytes).filter(|(at, _)| Some(*at) != lost));
                vec![b"OK".to_vec()]
            }
            (b'm', &[address, length]) => {
                let digits = (address..address + length)
                    .map(|at| format!("{:02x}", self.memory.get(&at).copied().unwrap_or(0xFF)));
                vec![digits.collect::<String>().into_bytes()]
            }
            (b'q', _) if payload.starts_with(b"qSupported") => {
                vec![b"PacketSize=200;qXfer:features:read+".to_vec()]
            }
            (b'q', _) if payload.starts_with(b"qRcmd,6869") => {
                vec![b"O6869".to_vec(), b"OK".to_vec()]
            }
            (b'D', _) => vec![b"OK".to_vec()],
            _ => vec![Vec::new()],
        }
    }
}

fn connect(temper: Temper) -> (Result<Gdb>, JoinHandle<Stub>) {
    let (stream, server) = Stub::start(temper);
    let gdb = Gdb::over(Box::new(stream), "of the test", Duration::from_millis(300));
    (gdb, server)
}

/// Every byte value, so all that have to be escaped, over several packets.
fn bytes() -> Vec<u8> {
    (0..3000_u32).map(|i| (i * 7 + i / 256) as u8).collect()
}

#[test]
fn what_is_written_reads_back_whatever_the_stub_knows_and_however_the_wire_is() {
    for temper in 0..8 {
        let temper = Temper {
            binary: temper & 1 != 0,
            refuses: temper & 2 != 0,
            damages: temper & 4 != 0,
            ..Temper::default()
        };
        let (gdb, server) = connect(temper);
        let mut gdb = gdb.unwrap();
        assert_eq!(gdb.chunk, (0x200 - 40) / 2);
        gdb.write(0x0030_0000, &bytes()).unwrap();
        assert_eq!(gdb.read(0x0030_0000, 3000).unwrap(), bytes());
        gdb.monitor("hi").unwrap();
        gdb.detach().unwrap();
        let stub = server.join().unwrap();
        let written: Vec<u8> = stub.memory.values().copied().collect();
        assert_eq!(written, bytes());
        let kind = if temper.binary { b'X' } else { b'M' };
        let count = |kind| stub.requests.iter().filter(|r| r[0] == kind).count();
        // One `X` more asks whether there is one.
        let asked = usize::from(temper.binary);
        assert_eq!(count(kind), 3000_usize.div_ceil(236) + asked);
        assert_eq!(stub.requests.last().unwrap(), b"D");
    }
}

#[test]
fn a_packet_looks_as_the_manual_says() {
    let (gdb, server) = connect(Temper {
        binary: true,
        ..Temper::default()
    });
    let mut gdb = gdb.unwrap();
    gdb.write(0x10, b"a}b").unwrap();
    gdb.binary = false;
    gdb.write(0x20, b"a}b").unwrap();
    gdb.detach().unwrap();
    let requests = server.join().unwrap().requests;
    let mut escaped = Vec::new();
    escape(b"a}b", &mut escaped);
    assert_eq!(escaped, b"a}]b");
    // The stub's decoder has undone the escape.
    assert_eq!(requests[2], b"X10,3:a}b");
    assert_eq!(requests[3], b"M20,3:617d62");
}

#[test]
fn a_hole_in_the_memory_shows_when_read_back() {
    let (gdb, _server) = connect(Temper {
        hole: Some(0x123),
        ..Temper::default()
    });
    let mut gdb = gdb.unwrap();
    gdb.write(0x100, &bytes()).unwrap();
    assert_ne!(gdb.read(0x100, 3000).unwrap(), bytes());
}

#[test]
fn refusals_silence_and_hanging_up_are_errors_of_the_environment() {
    let refused = |gdb: &mut Gdb| gdb.write(0xF000_0000, &[1]).unwrap_err();
    let (gdb, _server) = connect(Temper::default());
    let mut gdb = gdb.unwrap();
    let error = refused(&mut gdb);
    assert!(error.to_string().contains("E14"), "{error}");
    assert!(error.to_string().contains("0xf0000000"), "{error}");
    assert!(gdb.monitor("fly").unwrap_err().to_string().contains("fly"));

    for at in [0, 2] {
        for temper in [
            Temper {
                falls_silent_at: Some(at),
                ..Temper::default()
            },
            Temper {
                hangs_up_at: Some(at),
                ..Temper::default()
            },
        ] {
            let (gdb, _server) = connect(temper);
            let error = gdb.and_then(|mut gdb| gdb.read(0, 4)).unwrap_err();
            assert_eq!(error.exit_code(), 3, "{error}");
            assert!(error.to_string().contains("of the test"), "{error}");
        }
    }
}

#[test]
fn an_address_that_is_none_and_one_where_nobody_listens() {
    let timeout = Duration::from_millis(300);
    let error = Gdb::connect_tcp("nowhere", timeout).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = Gdb::connect_tcp(&free.to_string(), timeout).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    assert!(error.to_string().contains("-gdb tcp:"), "{error}");
}
