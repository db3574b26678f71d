//! A device in this process: the firmware library's boot and message loop on a thread, and a link of memory.
//!
//! Its silence is certain: it has answered all that it was sent when it asks for more bytes, so nobody waits by the clock. It is
//! the model that a real device's answers are compared with, and the device of tests of the link.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use firmware::{Instruments, Link, LinkClosed, Memory, Offer, boot, boot_on, serve};

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
    let slot = PolicyBuffer::new(&config.slot);
    let mut memory = Box::new(Memory::new());
    let class = config.target_class;
    let controller = match &config.offer {
        Some(offer) => boot_on(offer, slot.bytes(), class, &mut memory.scratch),
        None => boot(slot.bytes(), class, &mut memory.scratch),
    };
    let mut wire = Wire {
        inbox,
        outbox,
        unread: Vec::new(),
    };
    serve(&mut wire, &controller, class, &mut memory);
}

struct Wire {
    inbox: Receiver<Vec<u8>>,
    outbox: Sender<Event>,
    unread: Vec<u8>,
}

impl Link for Wire {
    fn receive(&mut self, buffer: &mut [u8]) -> std::result::Result<usize, LinkClosed> {
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
