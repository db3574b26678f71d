//! What was put in, and what the device did.

use std::collections::{BTreeMap, BTreeSet};

use firmware::Fault;
use serde::Serialize;

use super::inject::{At, Hit};
use super::spec::FaultSpec;
use crate::{Error, Result};

/// Injections of a rule from the first one until the policy acted again. The keys are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultEvent {
    /// The rule, as it was written.
    pub rule: String,
    /// Episode of the first injection.
    pub episode: u64,
    /// Its step.
    pub step: u64,
    /// Number of injections.
    pub injected: u64,
    /// What the first one was.
    pub what: String,
    /// Faults that the device named meanwhile, by number and name, ascending.
    pub faults: Vec<String>,
    /// Periods that the fallback law or the safe constant answered.
    pub fallback_periods: u64,
    /// Periods without an action that the host could take: the last command was held.
    pub lost_periods: u64,
    /// Periods from the last injection to the first action of the policy; `None` if there was none.
    pub recovered_after: Option<u64>,
    /// Every answer was the model's and admissible, and the policy acted again when the rules say so.
    pub survived: bool,
    /// What was wrong, if it did not survive.
    pub failure: Option<String>,
}

/// What a run with faults found. The keys are stable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FaultReport {
    /// The faults, as they were written.
    pub spec: String,
    /// Seed of what was drawn.
    pub seed: u64,
    /// Number of injections by kind.
    pub injected: BTreeMap<String, u64>,
    /// Injections and their consequences, in the order in which they began.
    pub events: Vec<FaultEvent>,
    /// Replies of the device, each compared with the model's.
    pub replies: u64,
    /// Of those, numbered errors about frames that were no message.
    pub frame_errors: u64,
    /// Replies that came, and were not the one that was waited for: late, doubled, of another step.
    pub stray_replies: u64,
    /// Replies that did not decode on the host.
    pub bad_replies: u64,
    /// Periods without an action that the host could take.
    pub lost_periods: u64,
    /// Periods that the fallback law or the safe constant answered.
    pub fallback_periods: u64,
    /// Resets of the device, those that mend its slot between episodes included.
    pub resets: u64,
    /// Actions that the host took and the device did not send.
    pub wrong_actions: u64,
    /// Admissible actions that were not the model's, from a policy that rotted while it ran.
    pub deviating_actions: u64,
    /// What became of installations over the link: episode/step and what happened there.
    pub installations: Vec<String>,
    /// What was wrong first, whether a fault was open or not.
    pub first_failure: Option<String>,
}

impl FaultReport {
    /// Number of injections.
    #[must_use]
    pub fn faults_injected(&self) -> u64 {
        self.events.iter().map(|event| event.injected).sum()
    }

    /// Number of injections that the device survived.
    #[must_use]
    pub fn faults_survived(&self) -> u64 {
        let survived = self.events.iter().filter(|event| event.survived);
        survived.map(|event| event.injected).sum()
    }

    /// `Ok` if every fault was survived and nothing else was wrong.
    ///
    /// # Errors
    /// [`Error::Negative`] with the first failure.
    pub fn verdict(&self) -> Result<()> {
        let (injected, survived) = (self.faults_injected(), self.faults_survived());
        match &self.first_failure {
            None if survived == injected => Ok(()),
            failure => Err(Error::Negative(format!(
                "{survived} of {injected} faults were survived; first failure: {}",
                failure.as_deref().unwrap_or("none was noted")
            ))),
        }
    }
}

/// An event whose end has not come.
#[derive(Debug)]
struct Open {
    rule: usize,
    /// Place in the list of events.
    event: usize,
    last_period: u64,
    faults: BTreeSet<u16>,
}

/// What happened in a period, to the events that are open.
#[derive(Clone, Debug, Default)]
pub(super) struct Period {
    /// Numbers of all faults that the device named.
    pub faults: Vec<u16>,
    /// An action was taken; its fault.
    pub action: Option<u16>,
    /// What was wrong.
    pub failure: Option<String>,
    /// Frames are still on their way.
    pub late: bool,
}

/// Follows the events of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    pub report: FaultReport,
    open: Vec<Open>,
}

impl Ledger {
    pub fn new(spec: &FaultSpec) -> Self {
        let report = FaultReport {
            spec: spec.text.clone(),
            seed: spec.seed,
            ..FaultReport::default()
        };
        Self {
            report,
            open: Vec::new(),
        }
    }

    /// Notes injections.
    pub fn inject(&mut self, at: At, hits: Vec<Hit>, spec: &FaultSpec) {
        for hit in hits {
            let rule = &spec.rules[hit.rule];
            let kind = rule.kind.name().to_owned();
            *self.report.injected.entry(kind).or_default() += 1;
            if let Some(open) = self.open.iter_mut().find(|open| open.rule == hit.rule) {
                open.last_period = at.period;
                self.report.events[open.event].injected += 1;
                continue;
            }
            self.open.push(Open {
                rule: hit.rule,
                event: self.report.events.len(),
                last_period: at.period,
                faults: BTreeSet::new(),
            });
            self.report.events.push(FaultEvent {
                rule: rule.text.clone(),
                episode: at.episode,
                step: at.step,
                injected: 1,
                what: hit.what,
                faults: Vec::new(),
                fallback_periods: 0,
                lost_periods: 0,
                recovered_after: None,
                survived: false,
                failure: None,
            });
        }
    }

    /// Notes what happened in a period.
    pub fn period(&mut self, at: At, period: &Period) {
        let (fallback, lost) = match period.action {
            Some(0) => (0, 0),
            Some(_) => (1, 0),
            None => (0, 1),
        };
        self.report.fallback_periods += fallback;
        self.report.lost_periods += lost;
        for open in &mut self.open {
            open.faults.extend(&period.faults);
            let event = &mut self.report.events[open.event];
            event.fallback_periods += fallback;
            event.lost_periods += lost;
        }
        if let Some(failure) = &period.failure {
            self.fail(at, failure);
        } else if period.action == Some(0) && !period.late {
            let back = |open: &mut Open| open.last_period < at.period;
            let closed: Vec<_> = self.open.extract_if(.., back).collect();
            for open in closed {
                let event = &mut self.report.events[open.event];
                event.recovered_after = Some(at.period - open.last_period);
                event.survived = true;
                event.faults = names(&open.faults);
            }
        }
    }

    /// Something is wrong: no event that is open is survived.
    pub fn fail(&mut self, at: At, failure: &str) {
        let failure = format!("episode {} step {}: {failure}", at.episode, at.step);
        for open in self.open.drain(..) {
            let event = &mut self.report.events[open.event];
            event.failure = Some(failure.clone());
            event.faults = names(&open.faults);
        }
        self.report.first_failure.get_or_insert(failure);
    }

    /// The run is over; whoever is still open has not come back.
    pub fn finish(mut self, at: At) -> FaultReport {
        if !self.open.is_empty() {
            self.fail(at, "the policy did not act again");
        }
        self.report
    }
}

fn names(faults: &BTreeSet<u16>) -> Vec<String> {
    let named = faults.iter().filter_map(|&code| Fault::from_code(code));
    named
        .map(|fault| format!("{:#06x} {}", fault.code(), fault.name()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: u64) -> At {
        At {
            episode: 0,
            step,
            period: step,
        }
    }

    fn hit(rule: usize) -> Vec<Hit> {
        let what = "what".into();
        vec![Hit { rule, what }]
    }

    fn answered(fault: u16) -> Period {
        Period {
            faults: (fault != 0).then_some(fault).into_iter().collect(),
            action: Some(fault),
            ..Period::default()
        }
    }

    #[test]
    fn an_event_ends_when_the_policy_acts_again() {
        let spec: FaultSpec = "nan@1..3,drop@9".parse().unwrap();
        let mut ledger = Ledger::new(&spec);
        for step in 0..6 {
            if (1..3).contains(&step) {
                ledger.inject(at(step), hit(0), &spec);
            }
            let fault = if (1..5).contains(&step) { 0x0201 } else { 0 };
            ledger.period(at(step), &answered(fault));
        }
        let report = ledger.finish(at(6));
        let event = &report.events[0];
        assert_eq!((event.injected, event.fallback_periods), (2, 4));
        assert_eq!((event.recovered_after, event.survived), (Some(3), true));
        assert_eq!(event.faults, ["0x0201 NonFiniteInput"]);
        assert_eq!((report.faults_injected(), report.faults_survived()), (2, 2));
        report.verdict().unwrap();
    }

    #[test]
    fn who_does_not_come_back_or_answers_wrongly_has_not_survived() {
        let spec: FaultSpec = "nan@1,drop@2".parse().unwrap();
        let mut ledger = Ledger::new(&spec);
        ledger.inject(at(1), hit(0), &spec);
        ledger.period(at(1), &answered(0x0201));
        let lost = ledger.finish(at(2));
        assert_eq!((lost.faults_injected(), lost.faults_survived()), (1, 0));
        assert_eq!(lost.verdict().unwrap_err().exit_code(), 1);

        let mut ledger = Ledger::new(&spec);
        ledger.inject(at(1), hit(0), &spec);
        ledger.inject(at(2), hit(1), &spec);
        let wrong = Period {
            failure: Some("other bits".into()),
            ..answered(0)
        };
        ledger.period(at(3), &wrong);
        ledger.period(at(4), &answered(0));
        let wrong = ledger.finish(at(5));
        assert_eq!((wrong.faults_injected(), wrong.faults_survived()), (2, 0));
        let text = wrong.verdict().unwrap_err().to_string();
        assert!(
            text.contains("0 of 2") && text.contains("step 3: other bits"),
            "{text}"
        );
    }

    #[test]
    fn frames_on_their_way_keep_an_event_open() {
        let spec: FaultSpec = "delay:3@1".parse().unwrap();
        let mut ledger = Ledger::new(&spec);
        ledger.inject(at(1), hit(0), &spec);
        let late = Period {
            late: true,
            ..answered(0)
        };
        ledger.period(at(2), &late);
        assert!(!ledger.report.events[0].survived);
        ledger.period(at(5), &answered(0));
        assert_eq!(ledger.report.events[0].recovered_after, Some(4));
    }
}
