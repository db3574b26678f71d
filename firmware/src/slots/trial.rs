//! Whether the policy on trial does well.

use crate::Fault;

/// What a policy on trial has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialRule {
    /// Good periods in a row after which it is confirmed; a good one is one without a fault.
    pub good_periods: u32,
    /// Periods within which it must have come to that.
    pub within: u32,
}

impl Default for TrialRule {
    /// 1000 good periods in a row within 10,000.
    fn default() -> Self {
        Self {
            good_periods: 1000,
            within: 10_000,
        }
    }
}

/// What to do after a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Continue,
    /// [`super::Slots::confirm`].
    Confirm,
    /// [`super::Slots::revert`] with this reason, and start again.
    Revert(Fault),
}

/// The periods of a trial, counted.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    rule: TrialRule,
    good: u32,
    all: u32,
}

impl Trial {
    /// A trial that begins.
    #[must_use]
    pub const fn new(rule: TrialRule) -> Self {
        Self {
            rule,
            good: 0,
            all: 0,
        }
    }

    /// Takes the fault of a period's command. A fault that may pass by itself (a bad or late measurement) starts the count
    /// again; one that lasts ends the trial at once. Never panics.
    pub fn observe(&mut self, fault: Option<Fault>) -> Verdict {
        self.all = self.all.saturating_add(1);
        match fault {
            None => self.good = self.good.saturating_add(1),
            Some(fault) if fault.is_transient() => self.good = 0,
            Some(fault) => return Verdict::Revert(fault),
        }
        if self.good >= self.rule.good_periods {
            Verdict::Confirm
        } else if self.all >= self.rule.within {
            Verdict::Revert(Fault::TRIAL_TOO_LONG)
        } else {
            Verdict::Continue
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: TrialRule = TrialRule {
        good_periods: 3,
        within: 8,
    };

    fn verdicts(faults: &[Option<Fault>]) -> std::vec::Vec<Verdict> {
        let mut trial = Trial::new(RULE);
        faults.iter().map(|&fault| trial.observe(fault)).collect()
    }

    #[test]
    fn three_good_periods_in_a_row_confirm() {
        use Verdict::{Confirm, Continue};
        assert_eq!(verdicts(&[None; 3]), [Continue, Continue, Confirm]);
        let late = Some(Fault::STALE_MEASUREMENT);
        assert_eq!(
            verdicts(&[None, None, late, None, None, None]),
            [Continue, Continue, Continue, Continue, Continue, Confirm]
        );
    }

    #[test]
    fn a_fault_that_lasts_reverts_at_once_and_passing_ones_in_the_end() {
        let bad = Fault::NON_FINITE_VALUE;
        assert_eq!(verdicts(&[Some(bad)]), [Verdict::Revert(bad)]);
        let late = Some(Fault::STALE_MEASUREMENT);
        let all = verdicts(&[late; 8]);
        assert_eq!(all[6], Verdict::Continue);
        assert_eq!(all[7], Verdict::Revert(Fault::TRIAL_TOO_LONG));
    }
}
