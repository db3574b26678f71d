//! A device in this process: the firmware library's boot and message loop on a thread, and a link of memory.
//!
//! Its silence is certain: it has answered all that it was sent when it asks for more bytes, so nobody waits by the clock. It is
//! the model that a real device's answers are compared with, and the device of tests of the link.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use firmware::serve::converse;
use firmware::slots::nor::{NRF51822, NRF52840, Nor, Part};
use firmware::slots::{Region, SHORT_TRIAL, SlotSession, Slots, policy_in};
use firmware::{
    Controller, Fault, Instruments, Link, LinkClosed, Memory, Offer, SCRATCH_LEN, boot, boot_on,
    serve,
};

use super::board::Board;
use super::transport::Transport;
use crate::export::PolicyBuffer;
use crate::{Error, Result};

/// A running device. Dropping it ends it.
#[derive(Debug)]
pub struct LocalDevice {
    to: Option<Sender<Vec<u8>>>,
    from: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
    /// Sent by the device and not yet received.
    output: Vec<u8>,
    ended: bool,
}

#[derive(Debug)]
enum Event {
    Bytes(Vec<u8>),
    /// All that was sent is answered.
    Idle,
}

/// What a device in this process is.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// The bytes in its slot, whatever they are.
    pub slot: Vec<u8>,
    /// Plant and actuator set its firmware is for.
    pub target_class: u32,
    /// What its core offers to policies with a budget; `None` asks for no budget.
    pub offer: Option<Offer>,
    /// Two slots; `None`: a device that runs what is in `slot`.
    pub flash: Option<LocalFlash>,
}

/// Flash with two slots, as emulated boards have it. It lives as long as any clone of it does, whatever device uses it; one at a time.
#[derive(Clone, Debug)]
pub struct LocalFlash(Arc<Mutex<Image>>);

#[derive(Debug)]
struct Image {
    /// Sectors of 1 KiB, as the nRF51 of microbit has them; else of 4 KiB.
    small: bool,
    bytes: Vec<u8>,
    marks: Vec<u8>,
}

impl LocalFlash {
    /// New flash as that emulated board has it, a policy flashed to the first slot.
    #[must_use]
    pub fn with(policy: &[u8], board: &Board) -> Self {
        let small = board.name == "microbit";
        let length = if small { 127 << 10 } else { 34 << 12 };
        let mut image = Image {
            small,
            bytes: vec![0xFF; length],
            marks: vec![0; length],
        };
        let length = policy.len().min(image.bytes.len());
        image.bytes[..length].copy_from_slice(&policy[..length]);
        // As the board does it: whole words.
        image.marks[..length.next_multiple_of(4)].fill(1);
        Self(Arc::new(Mutex::new(image)))
    }
}

impl LocalConfig {
    fn boot<'p>(&self, slot: &'p [u8], scratch: &mut [f32; SCRATCH_LEN]) -> Controller<'p> {
        match &self.offer {
            Some(offer) => boot_on(offer, slot, self.target_class, scratch),
            None => boot(slot, self.target_class, scratch),
        }
    }

    /// Every check of a boot; the anti-rollback counter.
    fn check<const SECTOR: usize>(
        &self,
        flash: &Nor<'_, 4, SECTOR>,
        region: Region,
        scratch: &mut [f32; SCRATCH_LEN],
    ) -> std::result::Result<u32, Fault> {
        let file = PolicyBuffer::new(file_in(flash, region)?);
        self.boot(file.bytes(), scratch)?;
        // As the firmware that stands beside it, which runs unsigned policies.
        firmware::Trust::BUILT.counter(file.bytes())
    }
}

/// The policy in a slot, as long as its header says.
fn file_in<'f, const SECTOR: usize>(
    flash: &'f Nor<'_, 4, SECTOR>,
    region: Region,
) -> std::result::Result<&'f [u8], Fault> {
    let mapped = |length| {
        flash
            .mapped(region.offset, length)
            .ok_or(Fault::FLASH_FAILED)
    };
    let header = mapped(policy_format::HEADER_LEN as u32)?;
    let [.., a, b, c, d] = *header.first_chunk::<16>().ok_or(Fault::EMPTY_SLOT)?;
    let length = u32::from_le_bytes([a, b, c, d]);
    policy_in(mapped(length.clamp(header.len() as u32, region.length))?)
}

impl LocalDevice {
    /// Boots the device; it is idle behind its mark that it is ready.
    ///
    /// # Errors
    /// [`Error::Environment`] if no thread can be started.
    pub fn start(config: LocalConfig) -> Result<Self> {
        let (to, inbox) = channel();
        let (outbox, from) = channel();
        let thread = std::thread::Builder::new()
            .name("device".into())
            .spawn(move || run(&config, inbox, outbox))
            .map_err(|e| Error::Environment(format!("cannot start a thread: {e}")))?;
        let mut device = Self {
            to: Some(to),
            from,
            thread: Some(thread),
            output: Vec::new(),
            ended: false,
        };
        device.settle();
        Ok(device)
    }

    /// Sends bytes and gives all that the device answers to them.
    ///
    /// # Errors
    /// [`Error::Environment`] if it has ended.
    pub fn exchange(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.send(bytes)?;
        Ok(std::mem::take(&mut self.output))
    }

    /// Whether it stopped, by itself or because it was told to: with slots a device does that to start anew.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Collects what the device sends until it is idle or ends.
    fn settle(&mut self) {
        loop {
            match self.from.recv() {
                Ok(Event::Bytes(bytes)) => self.output.extend(bytes),
                Ok(Event::Idle) => return,
                Err(_) => {
                    self.ended = true;
                    return;
                }
            }
        }
    }
}

impl Transport for LocalDevice {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let sent = self.to.as_ref().map(|to| to.send(bytes.to_vec()));
        if self.ended || !matches!(sent, Some(Ok(()))) {
            return Err(Error::Environment("the local device has ended".into()));
        }
        self.settle();
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.receive_within(buffer, Duration::ZERO)?
            .ok_or_else(|| Error::Environment("the local device did not answer".into()))
    }

    fn receive_within(&mut self, buffer: &mut [u8], _: Duration) -> Result<Option<usize>> {
        let count = self.output.len().min(buffer.len());
        if count == 0 {
            return Ok(None);
        }
        buffer[..count].copy_from_slice(&self.output[..count]);
        self.output.drain(..count);
        Ok(Some(count))
    }

    fn finish(&mut self) -> Result<()> {
        self.to = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(Error::Environment("the local device panicked".into())),
            _ => Ok(()),
        }
    }
}

impl Drop for LocalDevice {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

fn run(config: &LocalConfig, inbox: Receiver<Vec<u8>>, outbox: Sender<Event>) {
    let mut memory = Box::new(Memory::new());
    let mut wire = Wire {
        inbox,
        outbox,
        unread: Vec::new(),
        restart: false,
    };
    if let Some(flash) = &config.flash {
        let mut image = flash.0.lock().unwrap_or_else(PoisonError::into_inner);
        if image.small {
            run_slots::<1024>(config, &mut image, NRF51822, &mut wire, &mut memory);
        } else {
            run_slots::<4096>(config, &mut image, NRF52840, &mut wire, &mut memory);
        }
        return;
    }
    let slot = PolicyBuffer::new(&config.slot);
    let controller = config.boot(slot.bytes(), &mut memory.scratch);
    serve(&mut wire, &controller, config.target_class, &mut memory);
}

/// What `board_support::own_loop::lockstep` and `board_support::in_place` do on a board.
fn run_slots<const SECTOR: usize>(
    config: &LocalConfig,
    image: &mut Image,
    part: Part,
    wire: &mut Wire,
    memory: &mut Memory,
) {
    let (bytes, marks) = (&mut image.bytes, &mut image.marks);
    let mut slots = Slots::new(Nor::<4, SECTOR>::new(bytes, marks, part, |_| {}));
    let scratch = &mut memory.scratch;
    let started = match &mut slots {
        Ok(slots) => slots.start(|flash, region| {
            let counter = config.check(flash, region, scratch)?;
            Ok((file_in(flash, region)?.to_vec(), counter))
        }),
        Err(fault) => Err(*fault),
    };
    let rule = started
        .as_ref()
        .is_ok_and(|started| started.on_trial)
        .then_some(SHORT_TRIAL);
    let file = started.map(|started| PolicyBuffer::new(&started.armed));
    let controller = match &file {
        Ok(file) => config.boot(file.bytes(), &mut memory.scratch),
        Err(fault) => Err(*fault),
    };
    let check = |flash: &Nor<'_, 4, SECTOR>, region, scratch: &mut [f32; SCRATCH_LEN]| {
        config.check(flash, region, scratch)
    };
    let class = config.target_class;
    let mut session = SlotSession::new(wire, &controller, slots, rule, class, check);
    // It ends when it is told to, when nobody is there any more, and to start anew.
    let _: std::result::Result<(), LinkClosed> = converse(wire, &mut session, memory);
}

struct Wire {
    inbox: Receiver<Vec<u8>>,
    outbox: Sender<Event>,
    unread: Vec<u8>,
    restart: bool,
}

impl Link for Wire {
    fn receive(&mut self, buffer: &mut [u8]) -> std::result::Result<usize, LinkClosed> {
        if self.restart {
            return Err(LinkClosed);
        }
        if self.unread.is_empty() {
            self.outbox.send(Event::Idle).map_err(|_| LinkClosed)?;
            self.unread = self.inbox.recv().map_err(|_| LinkClosed)?;
        }
        let count = self.unread.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.unread[..count]);
        self.unread.drain(..count);
        Ok(count)
    }

    fn send(&mut self, bytes: &[u8]) -> std::result::Result<(), LinkClosed> {
        let event = Event::Bytes(bytes.to_vec());
        self.outbox.send(event).map_err(|_| LinkClosed)
    }
}

impl Instruments for Wire {
    fn ticks(&mut self) -> u32 {
        0
    }

    fn stack_bytes(&mut self) -> u32 {
        0
    }

    fn restart(&mut self) {
        self.restart = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::session::Session;
    use policy_format::message::{Reply, Request};

    fn empty() -> LocalDevice {
        LocalDevice::start(LocalConfig {
            slot: Vec::new(),
            target_class: 7,
            offer: None,
            flash: None,
        })
        .unwrap()
    }

    #[test]
    fn it_is_greeted_answers_and_ends() {
        let mut session = Session::greet(empty()).unwrap();
        assert_eq!(session.hello().target_class, 7);
        let fault = session.boot_fault().unwrap();
        assert_eq!(session.step(3, &[0.5; 4]).unwrap().fault, fault.code());
        session.shut_down().unwrap();
    }

    #[test]
    fn its_silence_is_certain() {
        let mut device = empty();
        // Its mark, then nothing for half a frame.
        assert_eq!(device.receive(&mut [0; 8]).unwrap(), 1);
        assert!(device.exchange(&[3, 1]).unwrap().is_empty());
        assert!(!device.exchange(&[0]).unwrap().is_empty());
        let mut session = Session::over(device);
        assert_eq!(session.request(&Request::Shutdown).unwrap(), Reply::Bye);
        assert!(session.device_mut().send(&[0]).is_err());
    }
}
