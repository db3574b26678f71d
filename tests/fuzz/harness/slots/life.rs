//! A device between two times without power: what is done to it, and what that lets run.

use firmware::Fault;
use firmware::slots::{Activity, Install, Other, Slots, Trial, TrialRule, Verdict};

use super::super::{Vec, vec};
use super::policies::{arm, booted, files, id, identity};
use super::{Allowed, Bytes, Flash, SLOT, Summary};

/// A device between two times without power.
pub struct Life<'m, 'a> {
    pub slots: Slots<Flash<'m>>,
    pub allowed: &'a mut Allowed,
    pub summary: &'a mut Summary,
    pub running: Option<u32>,
    pub on_trial: bool,
}

impl Life<'_, '_> {
    pub fn powered(&self) -> bool {
        self.slots.flash().is_powered()
    }

    pub fn refuses_before_the_start(&mut self) {
        let begun = self.slots.begin(100, Activity::Disarmed);
        assert_eq!(begun.err(), Some(Fault::INCOMPLETE));
        assert_eq!(self.slots.confirm(), Err(Fault::NO_TRIAL));
    }

    /// What must change nothing.
    pub fn refusals(&mut self) {
        let state = self.slots.state();
        let operations = self.slots.flash().operations();
        if !self.on_trial {
            assert_eq!(self.slots.confirm(), Err(Fault::NO_TRIAL));
            assert_eq!(
                self.slots.revert(Fault::NON_FINITE_VALUE),
                Err(Fault::NO_TRIAL)
            );
        }
        assert!(
            self.slots
                .begin(SLOT as u32 + 1, Activity::Disarmed)
                .is_err()
        );
        assert!(self.slots.begin(100, Activity::Armed).is_err());
        assert_eq!(self.slots.state(), state);
        assert_eq!(self.slots.flash().operations(), operations);
    }

    pub fn start(&mut self) {
        self.summary.starts += 1;
        let started = self.slots.start(arm);
        (self.running, self.on_trial) = match &started {
            Ok(started) => (Some(started.armed), started.on_trial),
            Err(_) => (None, false),
        };
        let allowed = &mut *self.allowed;
        let powered = self.slots.flash().is_powered();
        if powered && !allowed.anything {
            let list = match self.on_trial {
                true => &allowed.ready,
                false => &allowed.confirmed,
            };
            assert!(
                list.contains(&self.running),
                "{:?} runs, on trial: {}; {allowed:?}",
                self.running,
                self.on_trial
            );
        }
        if powered && self.on_trial {
            // The record of the trial is written: it is tried no second time, unless there is nothing else.
            self.summary.trials += 1;
            if !allowed.confirmed.contains(&None) && !allowed.anything {
                allowed.ready.clear();
            }
        }
    }

    /// Installs a policy, or the first `bytes` of it.
    pub fn install(&mut self, index: usize, bytes: Option<usize>) {
        let length = files()[index].len() as u32;
        let begun = self.slots.begin(length, Activity::Disarmed);
        if let Some(install) = self.begun(begun) {
            self.write(install, index, bytes, Activity::Disarmed);
        }
    }

    /// As [`Life::install`], as a host does that goes on with what it began; while the loop is armed into an erased slot.
    pub fn resume(&mut self, index: usize, bytes: Option<usize>) {
        let erased = self.slots.state().other == Other::Erased;
        let going_on = self.slots.state().other == Other::Installing(identity(index, 0));
        let activity = match erased && self.running.is_some() {
            true => Activity::Armed,
            false => Activity::Disarmed,
        };
        let begun = self.slots.resume(identity(index, 0), activity);
        if begun.as_ref().err() == Some(&Fault::ARMED) {
            // No room for two more records, and none is made by erasing while armed.
            assert!(erased && self.powered());
            return;
        }
        if let Some(install) = self.begun(begun) {
            assert!(
                install.taken() == 0 || going_on,
                "what is in place is not known"
            );
            self.summary.resumed += u32::from(install.taken() > 0);
            self.write(install, index, bytes, activity);
        }
    }

    /// The slot to install to is erased.
    pub fn prepare(&mut self) {
        let runs = self.running;
        let was_on_trial = self.on_trial;
        let prepared = self.slots.prepare(Activity::Disarmed);
        if prepared == Err(Fault::ON_TRIAL) {
            return;
        }
        // A first record may have been written, and a cut later.
        if !was_on_trial {
            Self::or(&mut self.allowed.confirmed, runs);
        }
        match prepared {
            Ok(()) => {
                self.allowed.confirmed = vec![runs];
                self.allowed.ready.clear();
                self.summary.prepared += 1;
                assert_eq!(self.slots.state().other, Other::Erased);
            }
            Err(fault) => assert!(!self.powered(), "{fault:?}"),
        }
    }

    fn or(list: &mut Vec<Option<u32>>, one: Option<u32>) {
        if !list.contains(&one) {
            list.push(one);
        }
    }

    /// An armed loop has nothing erased.
    pub fn refuses_while_armed(&mut self) {
        let state = self.slots.state();
        let operations = self.slots.flash().operations();
        let refused = self.slots.prepare(Activity::Armed);
        assert!(matches!(refused, Err(Fault::ARMED | Fault::ON_TRIAL)));
        if state.other != Other::Erased {
            let refused = self.slots.resume(identity(0, 0), Activity::Armed).err();
            assert!(matches!(refused, Some(Fault::ARMED | Fault::ON_TRIAL)));
        }
        assert_eq!(self.slots.state(), state);
        assert_eq!(self.slots.flash().operations(), operations);
    }

    /// Bytes that are no policy are installed, and refused in the end.
    pub fn garbage(&mut self, input: &mut Bytes<'_>) {
        let index = input.next() % 4;
        let mut file = files()[index].clone();
        let mut changes = 0_u32;
        for _ in 0..1 + input.next() % 4 {
            let at = (input.next() << 8 | input.next()) % file.len();
            let bits = input.next() as u8;
            file[at] ^= bits;
            changes = changes.wrapping_mul(0x9E37_79B1) ^ (at as u32) << 8 ^ u32::from(bits);
        }
        let changes = changes % 0x3FFF_FFFF + 1;
        let known = booted(&file).is_some();
        let begun = self
            .slots
            .resume(identity(index, changes), Activity::Disarmed);
        let Some(mut install) = self.begun(begun) else {
            return;
        };
        let place = install.taken() as usize;
        if self.slots.write(&mut install, &file[place..]).is_err() {
            assert!(!self.powered() || self.allowed.lie);
            return;
        }
        let check = |flash: &Flash<'_>, region| arm(flash, region).map(|(_, counter)| counter);
        // As in `write`, and what was in place may have been the right bytes in place of damaged ones.
        let other = place > 0;
        if known || other {
            self.allowed.ready = vec![id(index)];
        }
        match self.slots.finish(install, check) {
            Ok(()) => {
                assert!(known || other, "it was no policy");
                self.summary.installs += 1;
            }
            Err(fault) if self.powered() => {
                let barred = self.allowed.anything && fault == Fault::ROLLBACK;
                let lie = self.allowed.lie && fault == Fault::FLASH_FAILED;
                assert!(!known || other || barred || lie, "{fault:?}");
                assert_ne!(self.slots.state().other, Other::Ready);
                self.allowed.ready.clear();
            }
            Err(_) => {}
        }
    }

    /// What an installation that was begun changed.
    fn begun(&mut self, begun: Result<Install, Fault>) -> Option<Install> {
        match begun {
            Ok(install) => {
                // A record was written: what runs is confirmed, and nothing is ready.
                if !self.on_trial {
                    self.allowed.confirmed = vec![self.running];
                }
                self.allowed.ready.clear();
                Some(install)
            }
            Err(fault) => {
                // On trial, or reverted and still running from that slot.
                let busy = fault == Fault::ON_TRIAL;
                assert!(!self.powered() || busy, "{fault:?}");
                None
            }
        }
    }

    fn write(
        &mut self,
        mut install: Install,
        index: usize,
        bytes: Option<usize>,
        while_: Activity,
    ) {
        let file = &files()[index];
        let place = install.taken() as usize;
        let count = bytes.unwrap_or(file.len()).min(file.len()).max(place);
        for part in file[place..count].chunks(100) {
            if let Err(fault) = self.slots.write(&mut install, part) {
                assert!(!self.powered() || self.allowed.lie, "{fault:?}");
                return;
            }
        }
        if count < file.len() {
            // Half of the hosts go without a word.
            if count.is_multiple_of(8) {
                assert_eq!(
                    self.slots.finish(install, |_, _| Ok(0)),
                    Err(Fault::INCOMPLETE)
                );
            }
            return;
        }
        self.allowed.ready = vec![id(index)];
        let check = |flash: &Flash<'_>, region| arm(flash, region).map(|(_, counter)| counter);
        match self.slots.finish_while(while_, install, check) {
            Ok(()) => self.summary.installs += 1,
            Err(fault) => {
                let barred = self.allowed.anything && fault == Fault::ROLLBACK;
                let full = while_ == Activity::Armed && fault == Fault::ARMED;
                // A record that nobody wrote may say that bytes are in place which are not: refused, and not gone on with.
                let forged = self.allowed.anything;
                let stale = forged && place > 0 && self.slots.state().other == Other::Void;
                let lie = self.allowed.lie && fault == Fault::FLASH_FAILED;
                assert!(
                    !self.powered() || barred || full || stale || lie,
                    "{fault:?}"
                );
                if self.powered() {
                    self.allowed.ready.clear();
                    if stale {
                        self.resume(index, bytes);
                    }
                }
            }
        }
    }

    /// The policy on trial does well, or badly.
    pub fn judge(&mut self, fault: Option<Fault>) {
        if !self.on_trial {
            return;
        }
        let mut trial = Trial::new(TrialRule {
            good_periods: 3,
            within: 9,
        });
        let verdict = loop {
            match trial.observe(fault) {
                Verdict::Continue => {}
                verdict => break verdict,
            }
        };
        let runs = self.running;
        match verdict {
            Verdict::Revert(fault) => {
                if let Err(fault) = self.slots.revert(fault) {
                    assert!(!self.powered(), "{fault:?}");
                    return;
                }
                self.allowed.ready.clear();
                self.summary.reverted += 1;
            }
            _ => {
                if let Err(fault) = self.slots.confirm() {
                    assert!(!self.powered(), "{fault:?}");
                    self.allowed.confirmed.push(runs);
                    return;
                }
                self.allowed.confirmed = vec![runs];
                self.allowed.ready.clear();
                self.summary.confirmed += 1;
            }
        }
        self.on_trial = false;
    }
}
