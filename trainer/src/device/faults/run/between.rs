//! What happens to the device between two steps: pauses of the host, resets, changes of the slot, installations.

use policy_format::message::{Hello, Reply};

use super::super::inject::At;
use super::super::install::{Installation, PER_PERIOD};
use super::super::limits::limits;
use super::super::spec::{Kind, Way};
use super::super::twin::{Answers, framed};
use super::{Alive, Loop, crc32_of, place};
use crate::Result;
use crate::device::transport::Transport;

impl<D: Transport> Loop<'_, '_, D> {
    /// The plant goes on with the last command while the host does nothing.
    pub(super) fn pause(&mut self, at: At) {
        for rule in self
            .faults
            .of_step(at, |kind| matches!(kind, Kind::Pause(_)))
        {
            let Kind::Pause(us) = self.faults.rule(rule).kind else {
                continue;
            };
            let periods = us.div_ceil(self.period_us);
            for _ in 0..periods {
                self.counts.cost += self.plant.step(self.mode, &self.control);
            }
            self.now_us += periods * self.period_us;
            self.faults
                .hit(rule, format!("{periods} periods without the host"));
        }
    }

    /// Resets, and what changes the slot before them.
    pub(super) fn change(&mut self, at: At) -> Result<Alive> {
        for rule in self.faults.of_step(at, Kind::goes_through_stub) {
            let kind = self.faults.rule(rule).kind.clone();
            if let Kind::Rot(bit) = kind {
                let bits = 8 * self.twin.slot().len() as u64;
                let bit = bit.unwrap_or_else(|| self.faults.draw(rule, bits)) % bits;
                self.faults
                    .hit(rule, format!("bit {bit} of the slot, the policy runs on"));
                self.twin.rot(bit)?;
                continue;
            }
            let mut slot = self.twin.slot().to_vec();
            let (what, slot) = match kind {
                Kind::Swap(path) => {
                    let what = format!("{} in the slot, reset", path.display());
                    (what, Some(self.course.files[&path].clone()))
                }
                Kind::Tear(path) => {
                    let mut file = self.course.files[&path].clone();
                    let half = file.len() / 2;
                    file[half..].fill(0xFF);
                    let what = format!("{half} bytes of {} in the slot, reset", path.display());
                    (what, Some(file))
                }
                Kind::Flip(bit) => {
                    let bits = 8 * slot.len() as u64;
                    let bit = bit.unwrap_or_else(|| self.faults.draw(rule, bits)) % bits;
                    slot[(bit / 8) as usize] ^= 1 << (bit % 8);
                    (format!("bit {bit} of the slot, reset"), Some(slot))
                }
                _ => ("reset".to_owned(), None),
            };
            self.faults.hit(rule, what);
            if !self.reset(at, slot)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn reset(&mut self, at: At, slot: Option<Vec<u8>>) -> Result<Alive> {
        // What rotted is booted, too.
        let changed = slot.is_some() || self.twin.is_rotten();
        let hits = std::mem::take(&mut self.faults.hits);
        self.ledger.inject(at, hits, self.course.spec);
        self.ledger.report.resets += 1;
        let answers = self.twin.reset(slot)?;
        if changed {
            self.limits = limits(self.course, self.twin.slot());
        }
        self.limits.restart();
        for reply in &answers.replies {
            if let Reply::Hello(hello) = reply {
                self.started(at, hello);
            }
        }
        let period = self.take(at, &answers);
        self.beside.extend(period.faults);
        Ok(period.failure.is_none())
    }

    /// The device started anew: which policy it runs is for its slots to say.
    pub(super) fn started(&mut self, at: At, hello: &Hello) {
        if !self.course.spec.installs() {
            return;
        }
        self.running = hello.policy_crc32;
        let files = self.course.files.values().chain([&self.sound]);
        let file = files.clone().find(|file| crc32_of(file) == self.running);
        self.limits = limits(self.course, file.map_or(&[], Vec::as_slice));
        self.limits.restart();
        if let Some(installation) = &mut self.installation {
            installation.restarted(&place(at), self.running);
        }
    }

    /// An installation begins or goes on, between two steps.
    pub(super) fn install(&mut self, at: At) -> Result<Alive> {
        let begun = if self.quiet {
            Vec::new()
        } else {
            self.faults
                .of_step(at, |kind| matches!(kind, Kind::Install(_)))
        };
        for rule in begun {
            let Kind::Install(path) = self.faults.rule(rule).kind.clone() else {
                continue;
            };
            let name = path.display().to_string();
            if self.installation.is_some() {
                continue;
            }
            self.faults.hit(rule, format!("{name} over the link"));
            let file = self.course.files[&path].clone();
            self.installation = Some(Installation::new(name, file, self.number)?);
        }
        let Some(mut installation) = self.installation.take() else {
            return Ok(true);
        };
        let mut alive = true;
        for _ in 0..PER_PERIOD {
            let (number, request, disturbed) = installation.next();
            let disturbed = disturbed && !self.quiet;
            let frame = framed(Some(number), &request)?;
            let arriving = match disturbed {
                true => self.faults.carry(at, Way::Requests, &frame),
                false => vec![frame],
            };
            let answers = self.twin.deliver_all(&arriving)?;
            self.installation = Some(installation);
            let period = self.take(at, &answers);
            self.beside.extend(period.faults);
            alive = period.failure.is_none();
            let reply = self.reply_to(at, number, disturbed, &answers);
            installation = match self.installation.take() {
                Some(installation) => installation,
                None => return Ok(alive),
            };
            let more = if answers.greeting.is_some() {
                false
            } else {
                installation.answered(&place(at), reply.as_ref(), self.running)
            };
            if !alive || !more || installation.over {
                break;
            }
        }
        self.number = installation.number();
        let lines = std::mem::take(&mut installation.lines);
        self.ledger.report.installations.extend(lines);
        if !installation.over {
            self.installation = Some(installation);
        }
        Ok(alive)
    }

    /// What arrives at the host of the answers to an installation's request: the one with its number, if it does.
    fn reply_to(
        &mut self,
        at: At,
        number: u16,
        disturbed: bool,
        answers: &Answers,
    ) -> Option<Reply> {
        let mut arriving = Vec::new();
        for frame in &answers.frames {
            match disturbed {
                true => arriving.extend(self.faults.carry(at, Way::Replies, frame)),
                false => arriving.push(frame.clone()),
            }
        }
        let mut taken = None;
        for byte in arriving.concat() {
            match self.reader.feed::<Reply>(byte) {
                Some(Ok(reply)) if self.reader.number() == Some(number) => {
                    taken.get_or_insert(reply);
                }
                Some(Ok(Reply::Error { .. })) | None => {}
                Some(Ok(_)) => self.ledger.report.stray_replies += 1,
                Some(Err(_)) => self.ledger.report.bad_replies += 1,
            }
        }
        taken
    }
}
