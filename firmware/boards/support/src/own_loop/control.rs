//! The loop: a period of SysTick is one control step on the simulated plant.

use core::cell::RefCell;
use core::convert::Infallible;

use cortex_m::interrupt::Mutex;
use cortex_m_rt::exception;
use firmware::slots::{Activity, Trial, TrialRule, Verdict};
use firmware::supervisor::{Phase, RECORD_WORDS};
use firmware::{
    Actuators, Command, ControlLoop, Fault, ResetCause, RetainedMemory, Sensors, Watchdog,
};
use policy_format::message::{MAX_CONTROL, MAX_STATE, Telemetry, TelemetryFlags};

use super::clock::Clock;
use super::{Rig, retained};
use crate::TARGET_CLASS;
use crate::registers::Register;

/// One period, in microseconds.
pub const PERIOD_US: u64 = 10_000;

/// Half a minute of the emulator's time, which runs many times as fast as a clock: time enough for a test to interrupt a trial.
const TRIAL: TrialRule = TrialRule {
    good_periods: 3_000,
    within: 30_000,
};

static LOOP: Mutex<RefCell<Loop>> = Mutex::new(RefCell::new(Loop {
    control: ControlLoop::new(),
    bench: Bench {
        clock: Clock::new(),
        state: [0.0; MAX_STATE],
        control: [0.0; MAX_CONTROL],
        controls: 0,
        record: None,
        periods: 0,
    },
    file: &[],
    armed: false,
    fresh: false,
    trial: None,
    verdict: None,
    due_us: PERIOD_US,
    stepped_us: 0,
    fallbacks: 0,
    missed: 0,
    late_us: 0,
}));

/// Does something with the loop, between two periods. The loop is never in use then: interrupts are off wherever it is used.
pub fn with<T>(act: impl FnOnce(&mut Loop) -> T) -> Option<T> {
    cortex_m::interrupt::free(|cs| Some(act(&mut *LOOP.borrow(cs).try_borrow_mut().ok()?)))
}

/// Boots the policy and arms it, if it boots.
pub fn start<B: Rig>(file: &'static [u8], on_trial: bool) {
    with(|this| {
        this.bench.record = Some(core::array::from_fn(|i| retained::<B>(1 + i as u32)));
        this.file = file;
        this.trial = on_trial.then(|| Trial::new(TRIAL));
        // Without a policy the loop runs all the same, with the safe constant.
        let _ = this.arm();
    });
}

/// The timer of the periods starts now.
pub fn begin() {
    with(|this| this.due_us = this.bench.clock.now_us() + PERIOD_US);
}

#[exception]
fn SysTick() {
    with(Loop::period);
}

/// Controller, plant and what there is to tell of them.
pub struct Loop {
    control: ControlLoop<'static>,
    bench: Bench,
    file: &'static [u8],
    armed: bool,
    /// Armed since the last period: what passed before is nobody's delay.
    fresh: bool,
    trial: Option<Trial>,
    verdict: Option<Verdict>,
    /// When the next period is due.
    due_us: u64,
    stepped_us: u64,
    fallbacks: u32,
    missed: u32,
    late_us: u32,
}

impl Loop {
    /// One period. Armed: measure, step, apply. Disarmed: the safe constant.
    fn period(&mut self) {
        let begun = self.bench.clock.now_us();
        let late = begun.saturating_sub(self.due_us);
        // Periods that the core slept through.
        let slept = (late / PERIOD_US) as u32;
        self.due_us += PERIOD_US * (1 + u64::from(slept));
        self.bench.periods = self.bench.periods.wrapping_add(1 + slept);
        self.stepped_us = begun;
        // A period that was due long before the loop was armed has not its length left: the policy acts from the next one on.
        let belated = self.fresh && late > PERIOD_US / 2;
        if !self.armed || belated {
            self.bench.rest(&self.control);
            return;
        }
        let fault = self.control.cycle(&mut self.bench).fault();
        self.fallbacks = self.fallbacks.wrapping_add(fault.is_some().into());
        if !core::mem::take(&mut self.fresh) {
            self.late_us = self.late_us.max(late as u32);
            self.missed = self.missed.wrapping_add(slept);
        }
        // The command was due when the next period is.
        let overrun = self.bench.clock.now_us() > self.due_us;
        self.missed = self.missed.wrapping_add(overrun.into());
        if self.verdict.is_none()
            && let Some(trial) = &mut self.trial
        {
            match trial.observe(fault) {
                Verdict::Continue => {}
                verdict => self.verdict = Some(verdict),
            }
        }
    }

    /// What the trial came to, once.
    pub fn verdict(&mut self) -> Option<Verdict> {
        let verdict = self.verdict.take()?;
        self.trial = None;
        Some(verdict)
    }

    /// Whether actuators may move.
    pub const fn activity(&self) -> Activity {
        if self.armed {
            Activity::Armed
        } else {
            Activity::Disarmed
        }
    }

    /// Whether the policy acts.
    pub const fn is_armed(&self) -> bool {
        self.armed
    }

    /// From the next period on the safe constant acts.
    pub fn disarm(&mut self) {
        self.armed = false;
    }

    /// Boots the policy again; it acts from the next period on.
    ///
    /// # Errors
    /// The fault that keeps it from acting.
    pub fn arm(&mut self) -> Result<(), Fault> {
        if self.armed {
            return Ok(());
        }
        let words = self.bench.load();
        let started = self
            .control
            .start(self.file, TARGET_CLASS, ResetCause::Other, &words);
        if let Some(words) = self.control.unsaved() {
            self.bench.store(&words);
        }
        started?;
        self.armed = true;
        self.fresh = true;
        Ok(())
    }

    /// The controller.
    pub const fn control(&self) -> &ControlLoop<'static> {
        &self.control
    }

    /// Periods, and those in which the fallback law acted.
    pub const fn counts(&self) -> (u32, u32) {
        (self.bench.periods, self.fallbacks)
    }

    /// The newest period.
    pub fn telemetry(&self) -> Telemetry {
        let command = self.control.last();
        let state_dim = self.control.state_dim();
        let state = self.bench.state.get(..state_dim).unwrap_or_default();
        let control = self.bench.control.get(..self.bench.controls);
        let control = control.unwrap_or_default();
        let mut flags = 0;
        for (holds, flag) in [
            (self.armed, TelemetryFlags::ARMED),
            (self.trial.is_some(), TelemetryFlags::ON_TRIAL),
            (command.fault().is_some(), TelemetryFlags::FALLBACK),
            (
                matches!(self.control.phase(), Phase::Locked { .. }),
                TelemetryFlags::LOCKED,
            ),
        ] {
            if holds {
                flags |= flag;
            }
        }
        Telemetry {
            period: self.bench.periods,
            time: ((self.stepped_us >> 32) as u32, self.stepped_us as u32),
            choice: command.choice(),
            mode: command.mode(),
            fault: Fault::code_of(command.fault()),
            flags,
            missed: self.missed,
            late_us: self.late_us,
            state_dim: state_dim as u16,
            control_dim: control.len() as u16,
            values: state.iter().chain(control).copied().take(MAX).collect(),
        }
    }
}

/// Values that a message holds.
const MAX: usize = policy_format::message::MAX_TELEMETRY;

/// The board as the loop sees it: a plant of first-order lags, driven by the control and by a disturbance that never rests.
struct Bench {
    clock: Clock,
    state: [f32; MAX_STATE],
    control: [f32; MAX_CONTROL],
    /// Length of the control applied.
    controls: usize,
    /// Words that live through a reset.
    record: Option<[Register; RECORD_WORDS]>,
    periods: u32,
}

impl Bench {
    /// Applies the safe constant; zero without a policy.
    fn rest(&mut self, control: &ControlLoop<'static>) {
        let constant = match control.controller() {
            Ok(armed) => armed.policy().fallback_law().constant,
            Err(_) => &[],
        };
        self.drive(constant);
    }

    fn drive(&mut self, control: &[f32]) {
        self.controls = control.len();
        for (to, from) in self.control.iter_mut().zip(control) {
            *to = *from;
        }
    }
}

impl firmware::Clock for Bench {
    fn now_us(&mut self) -> u64 {
        self.clock.now_us()
    }
}

impl Sensors for Bench {
    type Error = Infallible;

    fn read(&mut self, measured: &mut [f32]) -> Result<u64, Infallible> {
        let control = self.control.get(..self.controls).unwrap_or_default();
        let driven = control.iter().cycle();
        let (k, places) = (self.periods, self.state.iter_mut().zip(measured));
        // Without control the lags decay.
        let mut driven = driven.copied();
        for (i, (x, y)) in places.enumerate() {
            let push = (k.wrapping_mul(7).wrapping_add(5 * i as u32) % 64) as f32 / 64.0 - 0.5;
            let next = 0.9 * *x + 0.01 * driven.next().unwrap_or(0.0) + 0.05 * push;
            // End stops: whatever the policy does, the plant stays finite.
            *x = next.clamp(-4.0, 4.0);
            *y = *x;
        }
        Ok(self.clock.now_us())
    }
}

impl Actuators for Bench {
    type Error = Infallible;

    fn apply(&mut self, command: &Command<'_>) -> Result<(), Infallible> {
        self.drive(command.control());
        Ok(())
    }
}

impl RetainedMemory for Bench {
    fn load(&mut self) -> [u32; RECORD_WORDS] {
        self.record
            .map_or([0; RECORD_WORDS], |words| words.map(Register::read))
    }

    fn store(&mut self, words: &[u32; RECORD_WORDS]) {
        for (place, word) in self.record.iter().flatten().zip(words) {
            place.write(*word);
        }
    }
}

/// This machine's watchdog is shown by the guest `bare-metal`.
impl Watchdog for Bench {
    fn feed(&mut self) {}
}
