//! A device with slots in QEMU that can be reset from outside, and a link to it that breaks when it is told to.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use firmware::{Fault, PublicKey};
use policy_format::message::{Reply, Request, SlotRequest, SlotStatus, Telemetry};
use policy_format::{CoreClass, Need, RawPolicy, with_budget};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use trainer::device::board::Board;
use trainer::device::build::{Firmware, Variant, build_variant};
use trainer::device::push::{PushOptions, PushReport, push};
use trainer::device::qemu::{LinkKind, Qemu, QemuConfig};
use trainer::device::session::Session;
use trainer::device::transport::Transport;
use trainer::{Error, Result};

use crate::hil_support::{class, policies, the_board};

/// Far longer than any answer takes, on a machine busy with other tests as well.
const PATIENCE: Duration = Duration::from_secs(100);

pub const OPTIONS: PushOptions = PushOptions {
    disarm: false,
    restart: false,
    patience: PATIENCE,
};

pub fn firmware_with_slots(keys: &[PublicKey]) -> Firmware {
    // One build at a time, so that the second finds it done.
    static BUILD: Mutex<()> = Mutex::new(());
    let _one = BUILD.lock().unwrap_or_else(PoisonError::into_inner);
    let variant = Variant {
        slots: true,
        keys: keys.to_vec(),
        ..Variant::default()
    };
    build_variant(the_board(), class(), &variant, &|line| eprintln!("{line}")).unwrap()
}

/// A policy of 40 KiB.
pub fn policy(seed: u64) -> Vec<u8> {
    policy_for(seed, class())
}

pub fn policy_for(seed: u64, class: u32) -> Vec<u8> {
    let structure = policies::common::Structure {
        factors: vec![90],
        seed,
        ..policies::structure()
    };
    policies::file(&policies::policy_of(&structure, class))
}

/// More than the 64 KiB of a slot.
pub fn longer_than_a_slot(class: u32) -> Vec<u8> {
    let structure = policies::common::Structure {
        factors: vec![150],
        ..policies::structure()
    };
    policies::file(&policies::policy_of(&structure, class))
}

/// A policy whose needs were measured on a Cortex-M0 alone.
pub fn made_for_a_cortex_m0(class: u32) -> Vec<u8> {
    let plain = policies::slot(&policies::good_policy(class));
    let need = Need {
        core: CoreClass::Armv6M as u32,
        instructions: 1000,
        stack_bytes: 1000,
    };
    let mut stamped = policies::common::Aligned::zeros(plain.bytes().len() + 64);
    let length = with_budget(plain.bytes(), &[need], stamped.bytes_mut()).unwrap();
    stamped.bytes()[..length].to_vec()
}

/// CRC-32 in a policy's header.
pub fn id(file: &[u8]) -> u32 {
    RawPolicy::parse(policies::slot(file).bytes())
        .unwrap()
        .crc32()
}

/// xorshift64
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// What happens to a push at some byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The link is cut, or the host killed: no byte comes or goes from there on.
    Cut,
    /// The device is reset, in whatever it does; after as many bytes again the link is cut as well.
    Reset,
}

/// A device in QEMU.
pub struct Machine {
    qemu: Qemu,
}

impl Machine {
    /// Virtual time counts instructions, and stands still for nobody: stalls and periods are the same on any host.
    pub fn start(elf: &Path, policy: &[u8], part: &str) -> Self {
        let config = QemuConfig {
            board: the_board(),
            elf,
            policy,
            link: LinkKind::Uart,
            timeout: PATIENCE,
        };
        let part = format!("arg={part}");
        let more = [
            "-icount",
            "shift=6,sleep=off",
            "-qmp",
            "unix:qmp,server=on,wait=off",
            "-semihosting-config",
            &part,
        ];
        let qemu = Qemu::start_with(config, &more.map(Into::into)).unwrap();
        Self { qemu }
    }

    /// A board in lockstep with nothing in its slot.
    pub fn start_on(board: &Board, elf: &Path) -> Self {
        let config = QemuConfig {
            board,
            elf,
            policy: &[],
            link: LinkKind::Uart,
            timeout: PATIENCE,
        };
        let more = ["-qmp", "unix:qmp,server=on,wait=off"];
        let qemu = Qemu::start_with(config, &more.map(Into::into)).unwrap();
        Self { qemu }
    }

    /// Resets the device: its RAM stays, and so does its flash.
    pub fn reset(&mut self) {
        reset(&self.qemu);
    }

    /// Greets the device.
    pub fn session(&mut self) -> Asked<Broken<'_>> {
        let link = Broken {
            qemu: &mut self.qemu,
            left: usize::MAX,
            again: 0,
            breaks: Break::Cut,
            happened: false,
        };
        Asked(Session::join(link, PATIENCE).unwrap())
    }

    /// Puts the device behind a pseudo-terminal until the value that is given is dropped.
    pub fn behind_a_port(self) -> Behind {
        let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&far).unwrap();
        unlockpt(&far).unwrap();
        let name = ptsname(&far, Vec::new()).unwrap().into_string().unwrap();
        let unplugged = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&unplugged);
        let passed = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&passed);
        let mut qemu = self.qemu;
        let carrier = std::thread::spawn(move || {
            let mut far = File::from(far);
            let mut buffer = [0; 512];
            while !seen.load(Ordering::Relaxed) {
                let soon = Timespec {
                    tv_sec: 0,
                    tv_nsec: 1_000_000,
                };
                let ready = poll(&mut [PollFd::new(&far, PollFlags::IN)], Some(&soon));
                // Without a program at the near end reading fails, and soon.
                if ready.is_ok_and(|count| count > 0) {
                    match far.read(&mut buffer) {
                        Ok(count) => {
                            qemu.send(&buffer[..count]).unwrap();
                            counted.fetch_add(count, Ordering::Relaxed);
                        }
                        Err(_) => std::thread::sleep(Duration::from_millis(1)),
                    }
                }
                let patience = Duration::from_millis(1);
                while let Some(count) =
                    Transport::receive_within(&mut qemu, &mut buffer, patience).unwrap()
                {
                    far.write_all(&buffer[..count]).unwrap();
                }
            }
        });
        Behind {
            port: name.into(),
            unplugged,
            passed,
            carrier: Some(carrier),
        }
    }

    /// Pushes over a link that breaks after `at` bytes to and from the device. Whether it came to that.
    pub fn push_with_break(
        &mut self,
        policy: &[u8],
        options: PushOptions,
        at: usize,
        breaks: Break,
    ) -> (Result<PushReport>, bool) {
        let mut happened = false;
        let link = Broken {
            qemu: &mut self.qemu,
            left: at,
            again: at,
            breaks,
            happened: false,
        };
        let ended = Session::join(link, PATIENCE).and_then(|mut session| {
            let ended = push(&mut session, policy, options, &mut |_, _| {});
            happened = session.device().happened;
            ended
        });
        // A link that breaks in the greeting is gone with its session.
        let happened = happened || ended.is_err();
        (ended, happened)
    }
}

/// A device behind a pseudo-terminal.
pub struct Behind {
    pub port: PathBuf,
    unplugged: Arc<AtomicBool>,
    passed: Arc<AtomicUsize>,
    carrier: Option<JoinHandle<()>>,
}

impl Behind {
    /// Bytes that went to the device so far.
    pub fn passed(&self) -> usize {
        self.passed.load(Ordering::Relaxed)
    }

    /// Takes the device away.
    pub fn unplug(&mut self) {
        self.unplugged.store(true, Ordering::Relaxed);
        if let Some(carrier) = self.carrier.take() {
            carrier.join().unwrap();
        }
    }
}

impl Drop for Behind {
    /// The thread owns the emulator, which would outlive a test that ends without it.
    fn drop(&mut self) {
        self.unplugged.store(true, Ordering::Relaxed);
        if let Some(carrier) = self.carrier.take() {
            // What went wrong there is what the test fails with already.
            let _ = carrier.join();
        }
    }
}

fn reset(qemu: &Qemu) {
    let mut socket = UnixStream::connect(qemu.folder().join("qmp")).unwrap();
    let mut answers = BufReader::new(socket.try_clone().unwrap());
    let mut line = String::new();
    answers.read_line(&mut line).unwrap();
    for command in ["qmp_capabilities", "system_reset"] {
        writeln!(socket, "{{\"execute\":\"{command}\"}}").unwrap();
        loop {
            line.clear();
            answers.read_line(&mut line).unwrap();
            assert!(!line.contains("\"error\""), "{line}");
            // Events come in between.
            if line.contains("\"return\"") {
                break;
            }
        }
    }
}

/// The link to a device until it breaks.
pub struct Broken<'q> {
    qemu: &'q mut Qemu,
    left: usize,
    /// What passes after a reset.
    again: usize,
    breaks: Break,
    happened: bool,
}

impl std::fmt::Debug for Broken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a link that breaks")
    }
}

impl Broken<'_> {
    /// How many of so many bytes still pass.
    fn pass(&mut self, bytes: usize) -> Result<usize> {
        if bytes <= self.left {
            if self.left != usize::MAX {
                self.left -= bytes;
            }
            return Ok(bytes);
        }
        match self.breaks {
            Break::Cut if self.left == 0 => Err(Error::Environment("the link is cut".into())),
            Break::Cut => Ok(std::mem::take(&mut self.left)),
            Break::Reset => {
                self.left = self.again + bytes;
                self.breaks = Break::Cut;
                self.happened = true;
                reset(self.qemu);
                self.pass(bytes)
            }
        }
    }
}

impl Transport for Broken<'_> {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let passes = self.pass(bytes.len())?;
        self.qemu.send(&bytes[..passes])?;
        if passes < bytes.len() {
            self.pass(1).map(|_| ())
        } else {
            Ok(())
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.pass(0)?;
        let count = self.qemu.receive(buffer)?;
        self.pass(count)
    }

    fn receive_within(&mut self, buffer: &mut [u8], patience: Duration) -> Result<Option<usize>> {
        match Transport::receive_within(self.qemu, buffer, patience)? {
            Some(count) => self.pass(count).map(Some),
            None => Ok(None),
        }
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Asks about slots.
pub fn slots<D: Transport>(
    session: &mut Session<D>,
    request: SlotRequest,
) -> std::result::Result<SlotStatus, Fault> {
    match session.insist(&Request::Slots(request), PATIENCE).unwrap() {
        Reply::Slots(status) => Ok(status),
        Reply::Error { fault } => Err(Fault::from_code(fault).unwrap()),
        other => panic!("{other:?}"),
    }
}

/// A session, and what the tests ask in it.
pub struct Asked<D>(pub Session<D>);

impl<D: Transport> Asked<D> {
    pub fn telemetry(&mut self) -> Telemetry {
        match self.0.insist(&Request::Monitor, PATIENCE).unwrap() {
            Reply::Telemetry(telemetry) => telemetry,
            other => panic!("{other:?}"),
        }
    }

    /// Asks for the slots until something holds of them.
    pub fn until(&mut self, holds: impl Fn(&SlotStatus) -> bool) -> SlotStatus {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let status = slots(&mut self.0, SlotRequest::Status).unwrap();
            if holds(&status) {
                return status;
            }
            assert!(std::time::Instant::now() < deadline, "{status:?}");
        }
    }

    /// Installs without looking at what the policy is.
    pub fn install_blindly(&mut self, file: &[u8]) -> std::result::Result<SlotStatus, Fault> {
        slots(&mut self.0, SlotRequest::Disarm)?;
        let begin = SlotRequest::Begin {
            length: file.len() as u32,
            digest: (id(file), 0),
            target_class: class(),
        };
        let mut status = slots(&mut self.0, begin)?;
        while (status.in_place as usize) < file.len() {
            let rest = &file[status.in_place as usize..];
            let write = SlotRequest::Write {
                offset: status.in_place,
                data: rest.iter().copied().take(256).collect(),
            };
            status = slots(&mut self.0, write)?;
        }
        let finished = slots(&mut self.0, SlotRequest::Finish);
        slots(&mut self.0, SlotRequest::Arm)?;
        finished
    }
}
