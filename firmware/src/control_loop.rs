//! The control loop as one value, for firmware of one's own.
//!
//! ```
//! # use firmware::{ControlLoop, Observation, ResetCause, supervisor::FaultRecord};
//! # let (slot, target_class, retained): (&[u8], u32, [u32; 6]) = (&[], 7, [0; 6]);
//! # let (x, measured_us, now_us) = ([0.0_f32; 2], 10, 20);
//! # let mut apply = |_: &firmware::Command<'_>| {};
//! let mut control = ControlLoop::new();                       // a static on a device: about 7 KiB
//! let armed = control.start(slot, target_class, ResetCause::Other, &retained);
//! apply(&control.step(&Observation::new(&x, measured_us, now_us)));
//! # assert!(armed.is_err());
//! ```

use policy_format::message::MAX_STATE;

use crate::boot::{CAPACITY, SCRATCH_LEN, boot_in};
use crate::budget::Offer;
use crate::controller::Controller;
use crate::fault::Fault;
use crate::hal::{Actuators, Clock, Estimator, RetainedMemory, Sensors, Watchdog};
use crate::signature::Trust;
use crate::supervisor::{
    self, Command, FaultRecord, Observation, Phase, RECORD_WORDS, SupervisorState,
};

/// Why the device starts, as far as the board can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetCause {
    /// The watchdog was not fed.
    Watchdog,
    /// Anything else, power-on included.
    Other,
}

/// Controller, supervisor, fault record and working memory of one control loop. About 7 KiB; a device keeps one as a static.
#[derive(Debug)]
pub struct ControlLoop<'p> {
    controller: Controller<'p>,
    report: Report,
    scratch: [f32; SCRATCH_LEN],
    measured: [f32; MAX_STATE],
    estimate: [f32; MAX_STATE],
}

/// A resource of a task, or a static behind a cell.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<ControlLoop<'static>>();
};

impl<'p> ControlLoop<'p> {
    /// A loop without a policy: its command is the safe constant with fault `EmptySlot`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            controller: Err(Fault::EMPTY_SLOT),
            report: Report {
                state: SupervisorState::new(),
                record: FaultRecord::EMPTY,
                unsaved: false,
            },
            scratch: [0.0; SCRATCH_LEN],
            measured: [0.0; MAX_STATE],
            estimate: [0.0; MAX_STATE],
        }
    }

    /// Boots the policy in `slot` (16-aligned, whole) and takes up the fault record of the time before the reset.
    ///
    /// After a watchdog reset, or with a fault pending in `retained`, the fallback law acts from the first period on until
    /// [`ControlLoop::acknowledge`]. Store [`ControlLoop::unsaved`] afterwards.
    ///
    /// # Errors
    /// The fault that keeps the policy from acting; the loop runs all the same, with the safe constant.
    pub fn start(
        &mut self,
        slot: &'p [u8],
        target_class: u32,
        cause: ResetCause,
        retained: &[u32; RECORD_WORDS],
    ) -> Result<(), Fault> {
        self.start_by(cause, retained, |controller, scratch| {
            boot_in(controller, &Trust::BUILT, slot, target_class, scratch);
        })
    }

    /// As [`ControlLoop::start`], on a board that offers `offer`: a policy whose own budget asks for more is refused.
    ///
    /// # Errors
    /// As [`ControlLoop::start`], and as [`Offer::admits`].
    pub fn start_on(
        &mut self,
        offer: &Offer,
        slot: &'p [u8],
        target_class: u32,
        cause: ResetCause,
        retained: &[u32; RECORD_WORDS],
    ) -> Result<(), Fault> {
        self.start_by(cause, retained, |controller, scratch| {
            offer.boot_in(controller, slot, target_class, scratch);
        })
    }

    /// Takes up the fault record of the time before the reset, boots by `boot`, and has the first state follow from both.
    fn start_by(
        &mut self,
        cause: ResetCause,
        retained: &[u32; RECORD_WORDS],
        boot: impl FnOnce(&mut Controller<'p>, &mut [f32; SCRATCH_LEN]),
    ) -> Result<(), Fault> {
        self.report.record = FaultRecord::load(retained);
        self.report.unsaved = *retained != self.report.record.words();
        if cause == ResetCause::Watchdog {
            self.report.record.note_reset(Fault::WATCHDOG_RESET);
            self.report.unsaved = true;
        }
        boot(&mut self.controller, &mut self.scratch);
        self.report.state = match self.report.record.pending() {
            Some(fault) => SupervisorState::after_reset(fault),
            None => SupervisorState::new(),
        };
        match &self.controller {
            Ok(_) => Ok(()),
            Err(fault) => {
                self.report.record.note(*fault);
                self.report.unsaved = true;
                Err(*fault)
            }
        }
    }

    /// One control step: [`supervisor::step`]. Never panics, whatever the observation.
    pub fn step(&mut self, observation: &Observation<'_>) -> Command<'_> {
        let Self {
            controller,
            scratch,
            report,
            ..
        } = self;
        report.step(controller, observation, scratch);
        self.last()
    }

    /// One whole period: measure, step, apply, save what the fault record learnt, feed the watchdog.
    ///
    /// A sensor that fails is the fault `SensorFailed` in the same period. Actuators that fail are the fault
    /// `ActuatorFailed`, which locks; then the watchdog is not fed, so that a bus that stays silent ends in a reset.
    pub fn cycle<B>(&mut self, board: &mut B) -> Command<'_>
    where
        B: Clock + Sensors + Actuators + RetainedMemory + Watchdog,
    {
        let length = self.state_dim();
        let Self {
            controller,
            scratch,
            report,
            measured,
            ..
        } = self;
        let measured = measured.get_mut(..length).unwrap_or_default();
        let read = board.read(measured);
        let now = board.now_us();
        let observation = match read {
            Ok(at) => Observation::new(measured, at, now),
            Err(_) => Observation::missing(Fault::SENSOR_FAILED, now),
        };
        report.step(controller, &observation, scratch);
        self.deliver(board)
    }

    /// As [`ControlLoop::cycle`], with an estimator between sensors and policy.
    pub fn cycle_with<B, E>(&mut self, board: &mut B, estimator: &mut E) -> Command<'_>
    where
        B: Clock + Sensors + Actuators + RetainedMemory + Watchdog,
        E: Estimator,
    {
        let length = self.state_dim();
        let Self {
            controller,
            scratch,
            report,
            measured,
            estimate,
            ..
        } = self;
        let measured = measured
            .get_mut(..estimator.measurement_len())
            .unwrap_or_default();
        let estimate = estimate.get_mut(..length).unwrap_or_default();
        let read = board.read(measured);
        let now = board.now_us();
        let last = report.state.last(controller);
        let applied = report.state.history().mode().map(|_| &last);
        let observation = match read {
            Ok(at) => {
                if estimator.update(measured, applied, estimate) {
                    Observation::new(estimate, at, now)
                } else {
                    Observation::missing(Fault::ESTIMATOR_FAILED, now)
                }
            }
            Err(_) => {
                estimator.miss(applied);
                Observation::missing(Fault::SENSOR_FAILED, now)
            }
        };
        report.step(controller, &observation, scratch);
        self.deliver(board)
    }

    fn deliver<B: Actuators + RetainedMemory + Watchdog>(&mut self, board: &mut B) -> Command<'_> {
        if board.apply(&self.last()).is_ok() {
            board.feed();
        } else {
            self.report.trip(Fault::ACTUATOR_FAILED);
        }
        if let Some(words) = self.unsaved() {
            board.store(&words);
        }
        self.last()
    }

    /// The fault record as words, if it changed since the last call: to be put where a reset leaves it alone.
    pub fn unsaved(&mut self) -> Option<[u32; RECORD_WORDS]> {
        core::mem::take(&mut self.report.unsaved).then(|| self.report.record.words())
    }

    /// An operator has seen the fault: the policy acts again from the next step on, if it is armed.
    pub fn acknowledge(&mut self) {
        self.report.state.acknowledge();
        self.report.record.acknowledge();
        self.report.unsaved = true;
    }

    /// Faults since power-on.
    #[must_use]
    pub const fn record(&self) -> &FaultRecord {
        &self.report.record
    }

    /// Who acts.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.report.state.phase()
    }

    /// The armed policy, or the fault that kept it from being armed.
    pub const fn controller(&self) -> &Controller<'p> {
        &self.controller
    }

    /// Length n of the state that the policy wants; without a policy 0.
    #[must_use]
    pub fn state_dim(&self) -> usize {
        match &self.controller {
            Ok(armed) => armed.policy().state_dim().min(CAPACITY.state),
            Err(_) => 0,
        }
    }

    /// The last command; before the first step the safe constant.
    #[must_use]
    pub fn last(&self) -> Command<'_> {
        self.report.state.last(&self.controller)
    }
}

impl Default for ControlLoop<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// State and fault record, which change together.
#[derive(Debug)]
struct Report {
    state: SupervisorState,
    record: FaultRecord,
    unsaved: bool,
}

impl Report {
    fn step(
        &mut self,
        controller: &Controller<'_>,
        observation: &Observation<'_>,
        scratch: &mut [f32; SCRATCH_LEN],
    ) {
        let before = self.state.phase();
        supervisor::step(controller, &mut self.state, observation, scratch);
        self.note(before);
    }

    fn trip(&mut self, fault: Fault) {
        let before = self.state.phase();
        self.state.trip(fault, 0);
        self.note(before);
    }

    /// Records what changed since `before`.
    fn note(&mut self, before: Phase) {
        match self.state.phase() {
            Phase::Locked { reason } if !matches!(before, Phase::Locked { .. }) => {
                self.record.latch(reason);
            }
            Phase::Fallback { reason, .. } if before == Phase::Policy => self.record.note(reason),
            _ => return,
        }
        self.unsaved = true;
    }
}
