//! Control steps that a host asks for, beside two slots: what a device in lockstep with its host answers.

use policy_format::message::{Reply, Request, SlotRequest};

use crate::Fault;
use crate::boot::SCRATCH_LEN;
use crate::controller::Controller;
use crate::link::Instruments;
use crate::serve::{Answer, Session};

use super::install::Activity;
use super::remote::Installer;
use super::trial::{Trial, TrialRule, Verdict};
use super::{Region, SlotFlash, Slots};

/// The trial of devices whose episodes are short: emulated ones, in lockstep.
pub const SHORT_TRIAL: TrialRule = TrialRule {
    good_periods: 8,
    within: 40,
};

/// [`Session`] with slots: installs between two steps, tries what was installed at the next start, confirms or reverts it by what the
/// steps show.
///
/// The loop is armed from the start if a policy is. While the host has disarmed it, a step is refused with
/// [`Fault::DISARMED`].
#[derive(Debug)]
pub struct SlotSession<'a, 'p, F, C> {
    session: Session<'a, 'p>,
    controller: &'a Controller<'p>,
    slots: Result<Slots<F>, Fault>,
    installer: Installer,
    trial: Option<Trial>,
    verdict: Verdict,
    target_class: u32,
    check: C,
    armed: bool,
    restart: bool,
}

impl<'a, 'p, F, C> SlotSession<'a, 'p, F, C>
where
    F: SlotFlash,
    C: FnMut(&F, Region, &mut [f32; SCRATCH_LEN]) -> Result<u32, Fault>,
{
    /// A device that has just started `controller` from `slots`, on trial if there is a `rule`. `check` as for
    /// [`Slots::finish`], with working memory.
    pub fn new<B: Instruments>(
        board: &mut B,
        controller: &'a Controller<'p>,
        slots: Result<Slots<F>, Fault>,
        rule: Option<TrialRule>,
        target_class: u32,
        check: C,
    ) -> Self {
        Self {
            session: Session::new(board, controller, target_class),
            armed: controller.is_ok(),
            controller,
            slots,
            installer: Installer::new(),
            trial: rule.map(Trial::new),
            verdict: Verdict::Continue,
            target_class,
            check,
            restart: false,
        }
    }

    /// As [`Session::after_reset`].
    #[must_use]
    pub fn after_reset(mut self, fault: Option<Fault>) -> Self {
        self.session = self.session.after_reset(fault);
        self
    }
}

impl<F, C> SlotSession<'_, '_, F, C>
where
    F: SlotFlash,
    C: FnMut(&F, Region, &mut [f32; SCRATCH_LEN]) -> Result<u32, Fault>,
{
    fn ask(
        &mut self,
        request: &SlotRequest,
        scratch: &mut [f32; SCRATCH_LEN],
    ) -> Result<Reply, Fault> {
        match (request, self.controller) {
            (SlotRequest::Disarm, _) => self.armed = false,
            (SlotRequest::Arm, Ok(_)) => self.armed = true,
            (SlotRequest::Arm, Err(fault)) => return Err(*fault),
            (SlotRequest::Restart, _) if self.armed => return Err(Fault::ARMED),
            (SlotRequest::Restart, _) => self.restart = true,
            _ => {}
        }
        let activity = match self.armed {
            true => Activity::Armed,
            false => Activity::Disarmed,
        };
        let slots = self.slots.as_mut().map_err(|fault| *fault)?;
        let check = &mut self.check;
        let check = |flash: &F, region| check(flash, region, scratch);
        let class = self.target_class;
        let answered = self
            .installer
            .answer(slots, request, activity, class, check);
        answered.map(Reply::Slots)
    }
}

impl<B, F, C> Answer<B> for SlotSession<'_, '_, F, C>
where
    B: Instruments,
    F: SlotFlash,
    C: FnMut(&F, Region, &mut [f32; SCRATCH_LEN]) -> Result<u32, Fault>,
{
    fn answer(
        &mut self,
        board: &mut B,
        request: Request,
        scratch: &mut [f32; SCRATCH_LEN],
    ) -> Reply {
        let refusal = |fault: Fault| Reply::Error {
            fault: fault.code(),
        };
        match request {
            Request::Slots(request) => self.ask(&request, scratch).unwrap_or_else(refusal),
            // A device without a policy tells why, whoever disarmed it.
            Request::Step { .. } | Request::StepAt { .. }
                if !self.armed && self.controller.is_ok() =>
            {
                refusal(Fault::DISARMED)
            }
            request => {
                let reply = self.session.answer(board, request, scratch);
                if let (Reply::Action(action), Some(trial)) = (&reply, &mut self.trial)
                    && self.verdict == Verdict::Continue
                {
                    self.verdict = trial.observe(Fault::from_code(action.fault));
                }
                reply
            }
        }
    }

    fn bad_frame(&mut self) {
        Answer::<B>::bad_frame(&mut self.session);
    }

    fn between(&mut self, board: &mut B, _: &mut [f32; SCRATCH_LEN]) {
        if let Ok(slots) = &mut self.slots
            && self.trial.is_some()
            && self.verdict != Verdict::Continue
        {
            self.trial = None;
            // If the record fails, the next start reverts.
            match self.verdict {
                Verdict::Revert(fault) => {
                    let _ = slots.revert(fault);
                    self.restart = true;
                }
                _ => {
                    let _ = slots.confirm();
                }
            }
        }
        if core::mem::take(&mut self.restart) {
            board.restart();
        }
    }
}
