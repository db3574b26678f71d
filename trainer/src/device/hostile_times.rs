//! Times of hostile inputs: most in order, the others such that a monitor must speak.

use firmware::Fault;
use policy_format::Supervision;

/// When an input was measured and when it is used, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub measured_us: u32,
    pub now_us: u32,
}

/// Limits beyond this are left alone: to miss them the clock would run out of its 32 bits.
const LONGEST: u32 = 1 << 24;

/// The host's clock, as the device is told it.
#[derive(Clone, Debug)]
pub(super) struct HostileTimes {
    /// Between two steps; within the deadline.
    period: u32,
    deadline: u32,
    max_age: u32,
    /// The greatest time so far.
    now: u32,
    /// What the monitors remember; nothing after a reset.
    last: Option<Stamp>,
}

impl HostileTimes {
    pub fn new(supervision: &Supervision) -> Self {
        let limit = |value: u32| if value < LONGEST { value } else { 0 };
        Self {
            period: match supervision.deadline_us {
                0 => 1_000,
                deadline => deadline.min(1_000),
            },
            deadline: limit(supervision.deadline_us),
            max_age: limit(supervision.max_age_us),
            now: 1,
            last: None,
        }
    }

    /// The next period, measured just now.
    pub fn in_order(&mut self) -> Stamp {
        let now = self.now + self.period;
        self.give(now, now)
    }

    /// A time of one of five kinds that a monitor must refuse, and the fault that is due; `None` where the policy does not
    /// monitor it, or there is no time before to compare with.
    pub fn bad(&mut self, kind: u64) -> Option<(Stamp, Fault)> {
        // Below, a measurement from the future would be in order one period later.
        if self.period < 4 {
            return None;
        }
        let next = self.now + self.period;
        match (kind, self.last) {
            (0, _) => Some((self.give(next + 1, next), Fault::FUTURE_MEASUREMENT)),
            (1, Some(last)) => {
                let stamp = self.give(last.measured_us.checked_sub(1)?, last.now_us);
                Some((stamp, Fault::TIME_BACKWARDS))
            }
            (2, Some(last)) => Some((self.give(last.measured_us, next), Fault::SENSOR_STOPPED)),
            (3, Some(last)) if self.deadline > 0 => {
                let now = self.now.max(last.now_us) + self.deadline + 1;
                Some((self.give(now, now), Fault::MISSED_DEADLINE))
            }
            (4, last) if self.max_age > 0 => {
                let last_measured = last.map_or(self.now, |last| last.measured_us);
                let measured = last_measured.max(self.now) + 1;
                let now = measured + self.max_age + 1;
                // A step that late would be the other fault.
                let in_time = last.is_none_or(|last| now - last.now_us <= self.deadline);
                (self.deadline == 0 || in_time)
                    .then(|| (self.give(measured, now), Fault::STALE_MEASUREMENT))
            }
            _ => None,
        }
    }

    /// Whether the clock should start afresh before its 32 bits are full.
    pub const fn are_late(&self) -> bool {
        self.now > 1 << 31
    }

    /// The device was reset: its monitors remember nothing, and time may begin again.
    pub fn forget(&mut self) {
        self.last = None;
        if self.are_late() {
            self.now = 1;
        }
    }

    fn give(&mut self, measured_us: u32, now_us: u32) -> Stamp {
        let stamp = Stamp {
            measured_us,
            now_us,
        };
        self.now = self.now.max(now_us);
        self.last = Some(stamp);
        stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The monitors' rules, written once more: future, back, at rest, late, stale, in this order.
    fn fault(last: Option<Stamp>, stamp: Stamp, limits: &Supervision) -> Option<Fault> {
        if stamp.measured_us > stamp.now_us {
            return Some(Fault::FUTURE_MEASUREMENT);
        }
        if let Some(last) = last {
            if stamp.now_us < last.now_us || stamp.measured_us < last.measured_us {
                return Some(Fault::TIME_BACKWARDS);
            }
            if stamp.measured_us == last.measured_us {
                return Some(Fault::SENSOR_STOPPED);
            }
            if limits.deadline_us > 0 && stamp.now_us - last.now_us > limits.deadline_us {
                return Some(Fault::MISSED_DEADLINE);
            }
        }
        let age = stamp.now_us - stamp.measured_us;
        (limits.max_age_us > 0 && age > limits.max_age_us).then_some(Fault::STALE_MEASUREMENT)
    }

    proptest! {
        #[test]
        fn every_time_has_the_fault_it_is_due(
            deadline_us in prop_oneof![Just(0), 1..20_u32, 20..100_000_u32, Just(i32::MAX as u32)],
            max_age_us in prop_oneof![Just(0), 1..100_000_u32],
            kinds in proptest::collection::vec((0..8_u64, any::<bool>()), 1..200),
        ) {
            let limits = Supervision { deadline_us, max_age_us, ..Supervision::default() };
            let mut times = HostileTimes::new(&limits);
            for (kind, reset) in kinds {
                let last = times.last;
                let (stamp, due) = match times.bad(kind) {
                    Some((stamp, fault)) => (stamp, Some(fault)),
                    None => (times.in_order(), None),
                };
                prop_assert_eq!(fault(last, stamp, &limits), due);
                if reset {
                    times.forget();
                }
            }
        }
    }
}
