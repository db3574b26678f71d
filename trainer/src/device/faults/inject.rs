//! Which fault acts when: one stream of random numbers per rule, so that a rule meets the same draws whatever the others are.

use super::spec::{FaultSpec, Kind, Rule, Way};
use crate::numeric::{Purpose, Stream};

/// A fault that was put in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hit {
    /// Number of the rule.
    pub rule: usize,
    /// What it did, in a few words.
    pub what: String,
}

/// Where the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub episode: u64,
    pub step: u64,
    /// Periods since the start of the run.
    pub period: u64,
}

/// Decides, rule by rule.
#[derive(Debug)]
pub(super) struct Injector {
    rules: Vec<Rule>,
    streams: Vec<Stream>,
    /// Period in which they arrive, direction and bytes of frames that are late.
    late: Vec<(u64, Way, Vec<u8>)>,
    pub hits: Vec<Hit>,
}

impl Injector {
    pub fn new(spec: &FaultSpec) -> Self {
        let stream = |index| Stream::new(spec.seed, Purpose::Fault, index);
        Self {
            streams: (0..spec.rules.len() as u64).map(stream).collect(),
            rules: spec.rules.clone(),
            late: Vec::new(),
            hits: Vec::new(),
        }
    }

    pub fn rule(&self, index: usize) -> &Rule {
        &self.rules[index]
    }

    /// What acts on a step as a whole, in the order of the rules: the numbers of the rules.
    pub fn of_step(&mut self, at: At, wanted: impl Fn(&Kind) -> bool) -> Vec<usize> {
        let mut acting = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            if wanted(&rule.kind)
                && rule.covers(at.episode, at.step)
                && chance(rule.rate, &mut self.streams[index])
            {
                acting.push(index);
            }
        }
        acting
    }

    /// Notes that a rule has acted.
    pub fn hit(&mut self, rule: usize, what: String) {
        self.hits.push(Hit { rule, what });
    }

    /// A number below `bound`, drawn for a rule.
    pub fn draw(&mut self, rule: usize, bound: u64) -> u64 {
        self.streams[rule].below(bound)
    }

    /// What arrives of a frame that is sent one way in this period, frames that were late included, in the order of arrival.
    pub fn carry(&mut self, at: At, way: Way, frame: &[u8]) -> Vec<Vec<u8>> {
        let mut arriving = self.arrivals(at.period, way);
        let mut frames = vec![frame.to_vec()];
        let mut late = None;
        for (index, rule) in self.rules.iter().enumerate() {
            let stream = &mut self.streams[index];
            let matches = |own: Way| own == Way::Both || own == way;
            if !rule.covers(at.episode, at.step) {
                continue;
            }
            let name = match way {
                Way::Replies => "reply",
                _ => "request",
            };
            let what = match rule.kind {
                Kind::Drop(own) if matches(own) => chance(rule.rate, stream).then(|| {
                    frames.clear();
                    format!("{name} lost")
                }),
                Kind::Duplicate(own) if matches(own) => chance(rule.rate, stream).then(|| {
                    frames = [frames.clone(), frames.clone()].concat();
                    format!("{name} twice")
                }),
                Kind::Corrupt(own) if matches(own) => {
                    let count: usize = frames
                        .iter_mut()
                        .map(|frame| corrupt(frame, rule.rate, stream))
                        .sum();
                    (count > 0).then(|| format!("{name} with {count} wrong bytes"))
                }
                Kind::Delay(periods, own) if matches(own) => chance(rule.rate, stream).then(|| {
                    late = Some(at.period + periods);
                    format!("{name} {periods} late")
                }),
                _ => None,
            };
            if let Some(what) = what {
                self.hits.push(Hit { rule: index, what });
            }
        }
        match late {
            Some(due) => self
                .late
                .extend(frames.into_iter().map(|frame| (due, way, frame))),
            None => arriving.extend(frames),
        }
        arriving
    }

    /// The late frames of one way that are due.
    pub fn arrivals(&mut self, period: u64, way: Way) -> Vec<Vec<u8>> {
        let mut arriving = Vec::new();
        self.late.retain_mut(|(due, own, frame)| {
            let arrives = *due <= period && *own == way;
            if arrives {
                arriving.push(std::mem::take(frame));
            }
            !arrives
        });
        arriving
    }

    /// Whether frames are still on their way.
    pub fn is_late(&self) -> bool {
        !self.late.is_empty()
    }
}

fn chance(rate: Option<f64>, stream: &mut Stream) -> bool {
    rate.is_none_or(|rate| stream.uniform() < rate)
}

/// Changes each byte with probability `rate`, without one a single byte, to another value; how many.
pub(crate) fn corrupt(frame: &mut [u8], rate: Option<f64>, stream: &mut Stream) -> usize {
    if frame.is_empty() {
        return 0;
    }
    let change = |byte: &mut u8, stream: &mut Stream| *byte ^= 1 + stream.below(255) as u8;
    let Some(rate) = rate else {
        let at = stream.below(frame.len() as u64) as usize;
        change(&mut frame[at], stream);
        return 1;
    };
    let mut count = 0;
    for byte in frame {
        if stream.uniform() < rate {
            change(byte, stream);
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 5] = [3, 7, 9, 1, 0];

    fn injector(text: &str) -> Injector {
        Injector::new(&text.parse().unwrap())
    }

    fn at(step: u64) -> At {
        At {
            episode: 0,
            step,
            period: step,
        }
    }

    #[test]
    fn frames_are_lost_doubled_changed_and_late() {
        let mut faults = injector("drop:request@1,dup@2,corrupt:reply@3,delay:2@4");
        let mut sent = |way, step| faults.carry(at(step), way, &FRAME);
        assert_eq!(sent(Way::Requests, 0), [FRAME]);
        assert!(sent(Way::Requests, 1).is_empty());
        assert_eq!(sent(Way::Replies, 1), [FRAME]);
        assert_eq!(sent(Way::Requests, 2), [FRAME, FRAME]);
        let changed = sent(Way::Replies, 3).remove(0);
        assert_eq!(
            changed.iter().zip(FRAME).filter(|(a, b)| **a != *b).count(),
            1
        );
        assert!(sent(Way::Requests, 4).is_empty());
        assert_eq!(sent(Way::Requests, 5), [FRAME]);
        // The late one first.
        assert_eq!(sent(Way::Requests, 6), [FRAME, FRAME]);
        assert_eq!(sent(Way::Replies, 6), [FRAME]);
        let rules: Vec<_> = faults.hits.iter().map(|hit| hit.rule).collect();
        assert_eq!(rules, [0, 1, 2, 3]);
        assert!(!faults.is_late());
    }

    #[test]
    fn a_rate_is_met_and_a_rule_does_not_disturb_another() {
        let hits = |text: &str| {
            let mut faults = injector(text);
            for step in 0..20_000 {
                faults.carry(at(step), Way::Requests, &FRAME);
            }
            let last = faults.rules.len() - 1;
            let of_last = faults.hits.iter().filter(|hit| hit.rule == last);
            of_last.map(|hit| hit.what.clone()).collect::<Vec<_>>()
        };
        let alone = hits("drop=0,corrupt=0.01").len() as f64;
        // A frame of five bytes is hit with probability 0.049; six standard deviations.
        assert!((alone - 980.0).abs() < 6.0 * 30.6, "{alone}");
        assert_eq!(hits("dup=0,corrupt=0.01"), hits("delay:1=0.0,corrupt=0.01"));
    }
}
