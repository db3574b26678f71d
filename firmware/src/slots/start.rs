//! What a boot does: it decides by the newest record which policy to arm, and reverts what did not finish its trial.

use crate::Fault;

use super::log::Erase;
use super::record::{Other, Slot, State};
use super::{Region, Running, SlotFlash, Slots};

/// What [`Slots::start`] armed.
#[derive(Debug)]
pub struct Started<T> {
    /// What `arm` gave.
    pub armed: T,
    /// The slot it lies in.
    pub slot: Slot,
    /// Whether it runs on trial, to be confirmed or reverted.
    pub on_trial: bool,
    /// Why the policy in the other slot is not the one that runs, if it was refused or reverted.
    pub rejected: Option<Fault>,
}

impl<F: SlotFlash> Slots<F> {
    /// Arms the policy that is to run. Once per boot, with the loop standing still.
    ///
    /// `arm` gets the flash and where a slot lies; it does every check of a boot (signature included), and gives what runs
    /// together with its anti-rollback counter. It may be called for more than one slot. Writes at most two records, and erases at
    /// most one sector of records.
    ///
    /// # Errors
    /// If no policy may run: the fault of the confirmed one, [`Fault::EMPTY_SLOT`] where there never was one. A policy can be
    /// installed all the same.
    pub fn start<T>(
        &mut self,
        mut arm: impl FnMut(&F, Region) -> Result<(T, u32), Fault>,
    ) -> Result<Started<T>, Fault> {
        self.running = None;
        // Without room no trial can be confirmed; the start then goes on with the policy it has.
        let room = self.log.reserve(&mut self.flash, self.state).is_ok();
        let factory = self.log.is_empty();
        if self.state.other == Other::Trial && self.state.confirmed.is_some() {
            self.reject(Fault::TRIAL_INTERRUPTED);
        }
        let try_it = matches!(self.state.other, Other::Ready | Other::Trial) && room;
        let mut why = Fault::EMPTY_SLOT;
        if try_it {
            match self.arm_slot(self.state.candidate(), &mut arm) {
                Ok(armed) => {
                    let trial = State {
                        other: Other::Trial,
                        ..self.state
                    };
                    // Without this record the next start would not know that it has to revert.
                    match self.record(trial, Erase::Never) {
                        Ok(()) => return Ok(self.run(self.state.candidate(), armed, true)),
                        Err(fault) => why = fault,
                    }
                }
                Err(fault) => {
                    why = fault;
                    self.reject(fault);
                }
            }
        }
        let (first, stand_in) = match (self.state.confirmed, self.state.other) {
            (Some(slot), Other::Previous) => (Some(slot), Some(slot.other())),
            (Some(slot), _) => (Some(slot), None),
            (None, _) if factory => (Some(Slot::A), Some(Slot::B)),
            (None, _) => (None, None),
        };
        let Some(first) = first else {
            return self.idle(why);
        };
        match self.arm_slot(first, &mut arm) {
            Ok(armed) => {
                self.state.confirmed = Some(first);
                Ok(self.run(first, armed, false))
            }
            Err(fault) => match stand_in.map(|slot| (slot, self.arm_slot(slot, &mut arm))) {
                Some((slot, Ok(armed))) => {
                    let state = State {
                        confirmed: Some(slot),
                        other: Other::Rejected(fault),
                        ..self.state
                    };
                    // If the record fails, the next start comes the same way.
                    if factory || self.record(state, Erase::Never).is_err() {
                        self.state = state;
                    }
                    Ok(self.run(slot, armed, false))
                }
                _ => self.idle(fault),
            },
        }
    }

    /// Whether [`Slots::start`] was called.
    pub(super) const fn started(&self) -> bool {
        self.running.is_some()
    }

    /// The anti-rollback counter of the policy that runs, if it is the confirmed one: of one that was flashed no record tells.
    pub(super) fn confirmed_counter(&self) -> u32 {
        self.running
            .filter(|running| running.slot.is_some() && running.slot == self.state.confirmed)
            .map_or(0, |running| running.counter)
    }

    /// Whether the policy that runs lies in `slot`.
    pub(super) fn runs_from(&self, slot: Slot) -> bool {
        self.running
            .is_some_and(|running| running.slot == Some(slot))
    }

    fn arm_slot<T>(
        &mut self,
        slot: Slot,
        arm: &mut impl FnMut(&F, Region) -> Result<(T, u32), Fault>,
    ) -> Result<(T, u32), Fault> {
        self.check_readable(slot)?;
        let (armed, counter) = arm(&self.flash, self.layout.slot(slot))?;
        if counter < self.state.floor {
            return Err(Fault::ROLLBACK);
        }
        Ok((armed, counter))
    }

    /// Notes that the candidate is not to be run again. Should the record fail, the next start finds what this one found.
    fn reject(&mut self, reason: Fault) {
        let state = State {
            other: Other::Rejected(reason),
            ..self.state
        };
        if self.record(state, Erase::Never).is_err() {
            self.state = state;
        }
    }

    fn run<T>(&mut self, slot: Slot, (armed, counter): (T, u32), on_trial: bool) -> Started<T> {
        self.running = Some(Running {
            slot: Some(slot),
            counter,
            on_trial,
        });
        Started {
            armed,
            slot,
            on_trial,
            rejected: match self.state.other {
                Other::Rejected(fault) => Some(fault),
                _ => None,
            },
        }
    }

    /// Nothing runs, but a policy can be installed.
    fn idle<T>(&mut self, fault: Fault) -> Result<T, Fault> {
        self.running = Some(Running {
            slot: None,
            counter: 0,
            on_trial: false,
        });
        Err(fault)
    }
}
