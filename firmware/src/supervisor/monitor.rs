//! What is wrong with a measurement: lengths, values, times.

use policy_format::Supervision;

use crate::boot::{Armed, SCRATCH_LEN};
use crate::fault::Fault;
use crate::kernels::{all_finite, hash};

/// A measured or estimated state with its times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation<'a> {
    state: &'a [f32],
    times: Option<Times>,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    measured: u64,
    now: u64,
}

impl<'a> Observation<'a> {
    /// A state `[n]` measured at `measured_us`, used at `now_us`: microseconds of one clock that never goes back.
    #[must_use]
    pub const fn new(state: &'a [f32], measured_us: u64, now_us: u64) -> Self {
        Self {
            state,
            times: Some(Times {
                measured: measured_us,
                now: now_us,
            }),
            fault: None,
        }
    }

    /// No state at `now_us`, because of `fault`: a sensor that cannot be read, an estimator without an estimate.
    #[must_use]
    pub const fn missing(fault: Fault, now_us: u64) -> Self {
        Self {
            state: &[],
            times: Some(Times {
                measured: now_us,
                now: now_us,
            }),
            fault: Some(fault),
        }
    }

    /// A state `[n]` of a simulation in lockstep, where no time passes unseen: no timestamp is monitored.
    #[must_use]
    pub const fn lockstep(state: &'a [f32]) -> Self {
        Self {
            state,
            times: None,
            fault: None,
        }
    }

    /// The state `[n]`.
    #[must_use]
    pub const fn state(&self) -> &'a [f32] {
        self.state
    }
}

/// Times of the period before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    /// Of the step.
    now: u64,
    /// Of the last state, if there was one.
    measured: Option<u64>,
}

impl Last {
    const fn of(times: Times) -> Self {
        Self {
            now: times.now,
            measured: Some(times.measured),
        }
    }
}

/// What the monitors remember of the last period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Monitor {
    last: Option<Last>,
    /// Hash of the last state's bits, and how many states in a row had it.
    repeated: (u32, u32),
}

impl Monitor {
    pub(super) const fn new() -> Self {
        Self {
            last: None,
            repeated: (0, 0),
        }
    }

    /// The usual case of [`Monitor::check`] while the policy acts, in one pass over the state, which stands shifted and scaled in `scratch`
    /// then: whether it lies in the training distribution. `None`, and nothing changed, if any check does not pass: which one it is
    /// [`Monitor::check`] finds out.
    #[inline(always)]
    pub(super) fn pass(
        &mut self,
        armed: &Armed<'_>,
        observation: &Observation<'_>,
        scratch: &mut [f32; SCRATCH_LEN],
    ) -> Option<bool> {
        let policy = armed.policy();
        if observation.fault.is_some() {
            return None;
        }
        if let Some(times) = observation.times {
            let supervision = policy.safety().supervision.as_ref();
            self.timely(supervision.unwrap_or(&Supervision::NONE), times)
                .ok()?;
        }
        let seen = armed.plan().observe(policy, observation.state, scratch)?;
        let frozen_after = armed.plan().frozen_after(policy);
        if frozen_after > 0 {
            let repeated = self.repeated_with(seen.hash);
            if repeated.1 >= frozen_after {
                return None;
            }
            self.repeated = repeated;
        }
        if let Some(times) = observation.times {
            self.last = Some(Last::of(times));
        }
        Some(seen.typical)
    }

    /// Checks one observation: length, finite values, timestamps, envelope, frozen sensor, in this order, and unless the `policy_acts`, which
    /// checks it itself then, whether its arithmetic takes the state. Gives whether the state lies in the training distribution.
    pub(super) fn check(
        &mut self,
        armed: &Armed<'_>,
        observation: &Observation<'_>,
        scratch: &mut [f32; SCRATCH_LEN],
        policy_acts: bool,
    ) -> Result<bool, Fault> {
        let (policy, state) = (armed.policy(), observation.state);
        let supervision = policy.safety().supervision.as_ref();
        if let Some(fault) = observation.fault {
            // The next measurement is compared with the last one there was, the next period with this one: a clock that ran back here is seen there.
            if let Some(Times { now, .. }) = observation.times {
                self.last = Some(match self.last {
                    Some(last) => Last {
                        now: last.now.max(now),
                        ..last
                    },
                    None => Last {
                        now,
                        measured: None,
                    },
                });
            }
            return Err(fault);
        }
        let timely = match observation.times {
            Some(times) => {
                let timely = self.timely(supervision.unwrap_or(&Supervision::NONE), times);
                self.last = Some(Last::of(times));
                timely
            }
            None => Ok(()),
        };
        if state.len() != policy.state_dim() {
            return Err(Fault::WRONG_LENGTH);
        }
        if let Err(fault) = timely {
            return Err(first_of(state, fault));
        }
        let typical = if policy.safety().envelope.is_some() {
            // NaN and infinities are outside any envelope.
            let typical = armed.plan().compare(policy, state, scratch);
            typical.ok_or_else(|| first_of(state, Fault::OUT_OF_ENVELOPE))?
        } else if all_finite(state) {
            true
        } else {
            return Err(Fault::NON_FINITE_INPUT);
        };
        if let Some(supervision) = supervision
            && supervision.frozen_after > 0
        {
            self.moving(supervision.frozen_after, state)?;
        }
        // Else a state that the policy would refuse counted as a period without a fault.
        if !policy_acts && !armed.plan().accepts(policy, state, scratch) {
            return Err(Fault::NON_FINITE_INPUT);
        }
        Ok(typical)
    }

    /// Times against those of the last period.
    #[inline(never)]
    fn timely(&self, supervision: &Supervision, times: Times) -> Result<(), Fault> {
        if times.measured > times.now {
            return Err(Fault::FUTURE_MEASUREMENT);
        }
        if let Some(last) = self.last {
            // Nothing was measured before the first state.
            let before = last.measured.unwrap_or(0);
            if times.now < last.now || times.measured < before {
                return Err(Fault::TIME_BACKWARDS);
            }
            if last.measured == Some(times.measured) {
                return Err(Fault::SENSOR_STOPPED);
            }
            let deadline = u64::from(supervision.deadline_us);
            if deadline > 0 && times.now - last.now > deadline {
                return Err(Fault::MISSED_DEADLINE);
            }
        }
        let max_age = u64::from(supervision.max_age_us);
        if max_age > 0 && times.now - times.measured > max_age {
            return Err(Fault::STALE_MEASUREMENT);
        }
        Ok(())
    }

    /// Counts states in a row with the same bits, by a hash of 32 bits: a sensor that lives has noise in its last bits.
    fn moving(&mut self, frozen_after: u32, state: &[f32]) -> Result<(), Fault> {
        self.repeated = self.repeated_with(hash(state));
        if self.repeated.1 >= frozen_after {
            return Err(Fault::SENSOR_FROZEN);
        }
        Ok(())
    }

    /// The count with a state of this hash.
    #[inline(always)]
    fn repeated_with(&self, hash: u32) -> (u32, u32) {
        let (last, count) = self.repeated;
        let again = (hash == last) & (count > 0);
        (hash, if again { count.saturating_add(1) } else { 1 })
    }
}

/// The fault of a state that is not finite, which comes first, else `fault`.
#[cold]
#[inline(never)]
fn first_of(state: &[f32], fault: Fault) -> Fault {
    if all_finite(state) {
        fault
    } else {
        Fault::NON_FINITE_INPUT
    }
}
