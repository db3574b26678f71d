//! What the link is answered, between periods.

use firmware::serve::{Answer, UNSUPPORTED, hello};
use firmware::slots::{Installer, Slots, Verdict};
use firmware::supervisor::Phase;
use firmware::{Fault, SCRATCH_LEN};
use policy_format::message::{Reply, Request, SlotRequest, Stats};

use super::control::{self, Loop};
use super::{Mapped, check};
use crate::{TARGET_CLASS, stack};

/// The slots and whoever installs to them.
pub struct Service<F> {
    slots: Result<Slots<F>, Fault>,
    installer: Installer,
    bad_frames: u32,
    restart: bool,
}

impl<F: Mapped> Service<F> {
    /// Nothing was asked so far.
    pub fn new(slots: Result<Slots<F>, Fault>) -> Self {
        Self {
            slots,
            installer: Installer::new(),
            bad_frames: 0,
            restart: false,
        }
    }

    fn slots(
        &mut self,
        request: &SlotRequest,
        scratch: &mut [f32; SCRATCH_LEN],
    ) -> Result<Reply, Fault> {
        let slots = self.slots.as_mut().map_err(|fault| *fault)?;
        let asked = control::with(|this| {
            match request {
                SlotRequest::Disarm => this.disarm(),
                SlotRequest::Arm => this.arm()?,
                SlotRequest::Restart if this.is_armed() => return Err(Fault::ARMED),
                _ => {}
            }
            Ok(this.activity())
        });
        let activity = asked.unwrap_or(Err(Fault::UNSUPPORTED))?;
        self.restart |= *request == SlotRequest::Restart;
        let status =
            self.installer
                .answer(slots, request, activity, TARGET_CLASS, |flash, region| {
                    check(flash.file(region)?, scratch)
                })?;
        Ok(Reply::Slots(status))
    }

    fn stats(&self) -> Stats {
        control::with(|this| {
            let (steps, fallback_steps) = this.counts();
            let latched = match this.control().phase() {
                Phase::Fallback { reason, .. } | Phase::Locked { reason } => Some(reason),
                Phase::Policy => None,
            };
            Stats {
                steps,
                fallback_steps,
                bad_frames: self.bad_frames,
                latched_fault: Fault::code_of(latched),
                stack_bytes: stack::high_water(),
                overhead_ticks: 0,
            }
        })
        .unwrap_or_default()
    }
}

impl<B, F: Mapped> Answer<B> for Service<F> {
    fn answer(&mut self, _: &mut B, request: Request, scratch: &mut [f32; SCRATCH_LEN]) -> Reply {
        match request {
            Request::Hello { .. } => {
                control::with(|this| Reply::Hello(hello(this.control().controller(), TARGET_CLASS)))
                    .unwrap_or(UNSUPPORTED)
            }
            Request::Stats => Reply::Stats(self.stats()),
            Request::Monitor => {
                control::with(|this| Reply::Telemetry(this.telemetry())).unwrap_or(UNSUPPORTED)
            }
            Request::Slots(request) => self.slots(&request, scratch).unwrap_or_else(refusal),
            Request::Shutdown => Reply::Bye,
            // The steps are this board's own.
            _ => UNSUPPORTED,
        }
    }

    fn bad_frame(&mut self) {
        self.bad_frames = self.bad_frames.wrapping_add(1);
    }

    fn between(&mut self, _: &mut B, _: &mut [f32; SCRATCH_LEN]) {
        if self.restart {
            cortex_m::peripheral::SCB::sys_reset();
        }
        let Ok(slots) = &mut self.slots else {
            return;
        };
        match control::with(Loop::verdict).flatten() {
            None | Some(Verdict::Continue) => {}
            // If the record fails, the next start reverts.
            Some(Verdict::Confirm) => {
                let _ = slots.confirm();
            }
            Some(Verdict::Revert(fault)) => {
                let _ = slots.revert(fault);
                cortex_m::peripheral::SCB::sys_reset();
            }
        }
    }
}

fn refusal(fault: Fault) -> Reply {
    Reply::Error {
        fault: fault.code(),
    }
}
