//! The loop with faults in it.

mod between;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use firmware::Offer;
use policy_format::message::{Action, FrameReader, Reply, Request};

use super::inject::{At, Injector};
use super::install::Installation;
use super::limits::{Limits, limits};
use super::report::{FaultReport, Ledger, Period};
use super::spec::{FaultSpec, Kind, Way};
use super::twin::{Answers, Twin, framed};
use crate::device::hil::{HostPlant, StepRecord};
use crate::device::transport::Transport;
use crate::{Error, Result};

/// What the run is about.
pub(super) struct Course<'a> {
    pub spec: &'a FaultSpec,
    pub episodes: u64,
    pub steps: u64,
    pub target_class: u32,
    pub offer: Option<Offer>,
    /// Bytes of the policy files that rules name.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

/// What the loop counted beside the faults.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub steps: u64,
    pub cost: f64,
    pub mismatches: u64,
}

/// A measurement and its time.
#[derive(Clone, Debug)]
struct Measurement {
    state: Vec<f32>,
    us: u64,
}

pub(super) struct Loop<'a, 's, D> {
    course: &'a Course<'a>,
    twin: Twin<'s, D>,
    plant: &'a mut dyn HostPlant,
    faults: Injector,
    ledger: Ledger,
    limits: Limits,
    counts: Counts,
    reader: FrameReader,
    /// The command that the actuators hold.
    mode: usize,
    control: Vec<f32>,
    /// Measurements of the episode, the latest last, as the sensor gave them.
    history: VecDeque<Measurement>,
    period_us: u64,
    now_us: u64,
    period: u64,
    seq: u32,
    /// The slot at the start, to which it is mended between episodes.
    sound: Vec<u8>,
    /// CRC-32 of the policy that runs.
    running: u32,
    installation: Option<Installation>,
    /// Number of the last request of an installation.
    number: u16,
    /// Faults that the device named to an installation in this period.
    beside: Vec<u16>,
    /// No more faults: what is under way is brought to its end.
    quiet: bool,
}

/// Most periods behind the last episode in which an installation under way is brought to its end.
const LONGEST_END: u64 = 4_000;

/// Whether the run can go on.
type Alive = bool;

impl<'a, 's, D: Transport> Loop<'a, 's, D> {
    pub fn new(
        course: &'a Course<'a>,
        twin: Twin<'s, D>,
        plant: &'a mut dyn HostPlant,
        period_us: u64,
    ) -> Self {
        let sound = twin.slot().to_vec();
        Self {
            course,
            plant,
            faults: Injector::new(course.spec),
            ledger: Ledger::new(course.spec),
            limits: limits(course, &sound),
            running: crc32_of(&sound),
            installation: None,
            number: 0x8000,
            beside: Vec::new(),
            quiet: false,
            twin,
            counts: Counts::default(),
            reader: FrameReader::new(),
            mode: 0,
            control: Vec::new(),
            history: VecDeque::new(),
            period_us,
            now_us: 0,
            period: 0,
            seq: 0,
            sound,
        }
    }

    /// Runs the episodes, brings an installation that is under way to its end, then takes one step more of a fresh episode, without
    /// faults, in which the policy must act.
    pub fn run(
        mut self,
        observe: &mut dyn FnMut(&StepRecord<'_>),
    ) -> Result<(FaultReport, Counts)> {
        let mut alive = true;
        for episode in 0..=self.course.episodes {
            let last = episode == self.course.episodes;
            let steps = if last { 1 } else { self.course.steps };
            alive = alive && self.begin(episode)?;
            for step in 0..steps {
                if !alive {
                    break;
                }
                alive = self.step(self.at(episode, step), last, observe)?;
            }
            if episode + 1 == self.course.episodes {
                self.quiet = true;
                for step in (steps..).take(LONGEST_END as usize) {
                    if !alive || self.installation.is_none() {
                        break;
                    }
                    alive = self.step(self.at(episode, step), false, observe)?;
                }
            }
        }
        let at = self.at(self.course.episodes, 0);
        Ok((self.ledger.finish(at), self.counts))
    }

    fn at(&self, episode: u64, step: u64) -> At {
        At {
            episode,
            step,
            period: self.period,
        }
    }

    /// A fresh episode: late frames arrive, a damaged slot is mended, the controller's state is cleared.
    fn begin(&mut self, episode: u64) -> Result<Alive> {
        let at = self.at(episode, 0);
        self.faults.arrivals(u64::MAX, Way::Replies);
        let mut alive = true;
        for frame in self.faults.arrivals(u64::MAX, Way::Requests) {
            let answers = self.twin.deliver(&frame)?;
            alive = alive && self.take(at, &answers).failure.is_none();
        }
        if self.twin.is_rotten() {
            // What the next boot makes of it.
            alive = alive && self.reset(at, None)?;
        }
        if self.twin.slot() != self.sound {
            alive = alive && self.reset(at, Some(self.sound.clone()))?;
        }
        self.plant.reset(episode);
        let dims = self.plant.dims();
        (self.mode, self.control) = (0, vec![0.0; dims.control]);
        self.history.clear();
        self.now_us = 0;
        self.reader = FrameReader::new();
        // A lone zero ends what a corrupted frame began.
        let ended = self.twin.deliver(&[0])?;
        alive = alive && self.take(at, &ended).failure.is_none();
        let answers = self.twin.request(&Request::Reset)?;
        self.limits.restart();
        Ok(alive && self.take(at, &answers).failure.is_none())
    }

    fn step(
        &mut self,
        at: At,
        last: bool,
        observe: &mut dyn FnMut(&StepRecord<'_>),
    ) -> Result<Alive> {
        // Without faults from here on.
        let clear = last || self.quiet;
        if !clear {
            self.pause(at);
            if !self.change(at)? {
                return Ok(false);
            }
        }
        if !last && !self.install(at)? {
            return Ok(false);
        }
        self.now_us += self.period_us;
        let measured = self.measure(at, clear);
        self.seq = self.seq.wrapping_add(1);
        let seq = self.seq;
        let narrow = |us: u64| u32::try_from(us).unwrap_or(u32::MAX);
        let request = Request::step_at(
            seq,
            narrow(measured.us),
            narrow(self.now_us),
            &measured.state,
        );
        let request = request.ok_or_else(|| {
            Error::Usage(format!(
                "state: found {} values; a message holds less",
                measured.state.len()
            ))
        })?;
        // With a number, so that a frame that comes twice is acted on once.
        let frame = framed(Some(seq as u16), &request)?;
        let arriving = if clear {
            vec![frame]
        } else {
            self.faults.carry(at, Way::Requests, &frame)
        };
        let answers = self.twin.deliver_all(&arriving)?;
        let mut period = self.take(at, &answers);
        let action = self.receive(at, clear, seq, &answers, &mut period);
        // The device named what it was asked beside the step, too.
        period.faults.append(&mut self.beside);
        let hits = std::mem::take(&mut self.faults.hits);
        self.ledger.inject(at, hits, self.course.spec);
        // A slot that rotted is made good between episodes.
        let busy = !last && (self.installation.is_some() || self.twin.is_rotten());
        period.late = self.faults.is_late() || busy;
        if let Some(action) = &action {
            period.action = Some(action.fault);
            self.mode = action.mode.into();
            self.control.fill(0.0);
            for (held, &u) in self.control.iter_mut().zip(&action.control) {
                *held = u;
            }
        }
        self.ledger.period(at, &period);
        self.period += 1;
        if clear && !last {
            self.plant.step(self.mode, &self.control);
        }
        if !clear {
            let cost = self.plant.step(self.mode, &self.control);
            self.counts.cost += cost;
            self.counts.steps += 1;
            if let Some(action) = &action {
                observe(&StepRecord {
                    episode: at.episode,
                    step: at.step,
                    measured: &measured.state,
                    action,
                    instructions: None,
                    cost,
                });
            }
        }
        // A device that answers wrongly still answers; one that is silent or gone does not.
        Ok(answers.difference.is_none() || !answers.replies.is_empty())
    }

    /// What the sensor gives.
    fn measure(&mut self, at: At, last: bool) -> Measurement {
        let state = self.plant.state().iter().map(|&x| x as f32).collect();
        let us = self.now_us;
        let mut measured = Measurement { state, us };
        let sensor = |kind: &Kind| matches!(kind, Kind::Set(..) | Kind::Freeze(_) | Kind::Stale(_));
        let acting = if last {
            Vec::new()
        } else {
            self.faults.of_step(at, sensor)
        };
        let true_one = measured.clone();
        for rule in acting {
            let what = match self.faults.rule(rule).kind {
                Kind::Set(Some(coordinate), value) => {
                    measured.state[coordinate] = value;
                    format!("coordinate {coordinate} is {value}")
                }
                Kind::Set(None, value) => {
                    measured.state.fill(value);
                    format!("all coordinates are {value}")
                }
                Kind::Freeze(coordinate) => {
                    // Nothing was given yet.
                    let Some(before) = self.history.back() else {
                        continue;
                    };
                    match coordinate {
                        Some(at) => measured.state[at] = before.state[at],
                        None => measured.state.clone_from(&before.state),
                    }
                    match coordinate {
                        Some(at) => format!("coordinate {at} stands still"),
                        None => "all coordinates stand still".to_owned(),
                    }
                }
                Kind::Stale(periods) => {
                    let age = self.history.len().min(periods as usize);
                    let Some(old) = self.history.get(self.history.len() - age) else {
                        continue;
                    };
                    measured = old.clone();
                    format!("measured {age} periods ago")
                }
                _ => continue,
            };
            self.faults.hit(rule, what);
        }
        // A frozen sensor gives what it gave before; a stale one is late with what it measured rightly.
        let stale = measured.us != us;
        let given = if stale { true_one } else { measured.clone() };
        self.history.push_back(given);
        if self.history.len() > 64 {
            self.history.pop_front();
        }
        measured
    }

    /// Notes the device's own answers: differences, faults, admissibility.
    fn take(&mut self, at: At, answers: &Answers) -> Period {
        let mut period = Period {
            failure: answers.difference.clone(),
            ..Period::default()
        };
        self.counts.mismatches += u64::from(answers.difference.is_some());
        let report = &mut self.ledger.report;
        report.replies += answers.replies.len() as u64;
        report.deviating_actions += answers.deviations;
        for reply in &answers.replies {
            match reply {
                Reply::Error { fault } => {
                    report.frame_errors += 1;
                    period.faults.push(*fault);
                }
                Reply::Hello(hello) if hello.boot_fault != 0 => {
                    period.faults.push(hello.boot_fault);
                }
                Reply::Action(action) => {
                    if action.fault != 0 {
                        period.faults.push(action.fault);
                    }
                    if let Some(why) = self.limits.refuse(action) {
                        period.failure.get_or_insert(why);
                    }
                }
                _ => {}
            }
        }
        // What it answered before it started anew was the policy's before.
        if let Some(hello) = &answers.greeting {
            self.ledger.report.resets += 1;
            if hello.boot_fault != 0 {
                period.faults.push(hello.boot_fault);
            }
            self.started(at, hello);
        }
        if let Some(failure) = &period.failure {
            let failure = failure.clone();
            let hits = std::mem::take(&mut self.faults.hits);
            self.ledger.inject(at, hits, self.course.spec);
            self.ledger.fail(at, &failure);
        }
        period
    }

    /// What arrives at the host of the device's replies: the action of step `seq`, if it does.
    fn receive(
        &mut self,
        at: At,
        last: bool,
        seq: u32,
        answers: &Answers,
        period: &mut Period,
    ) -> Option<Action> {
        let mut arriving = if last {
            Vec::new()
        } else {
            self.faults.arrivals(at.period, Way::Replies)
        };
        for frame in &answers.frames {
            if last {
                arriving.push(frame.clone());
            } else {
                arriving.extend(self.faults.carry(at, Way::Replies, frame));
            }
        }
        let mut taken: Option<Action> = None;
        for byte in arriving.concat() {
            match self.reader.feed::<Reply>(byte) {
                Some(Ok(Reply::Action(action))) if action.seq == seq && taken.is_none() => {
                    let sent = answers.replies.iter();
                    if !sent.clone().any(|reply| is_action(reply, &action)) {
                        self.ledger.report.wrong_actions += 1;
                        let failure =
                            format!("the host took an action that was not sent: {action:?}");
                        period.failure.get_or_insert(failure);
                    }
                    taken = Some(action);
                }
                Some(Ok(Reply::Error { .. })) | None => {}
                Some(Ok(_)) => self.ledger.report.stray_replies += 1,
                Some(Err(_)) => self.ledger.report.bad_replies += 1,
            }
        }
        taken
    }
}

/// Episode and step.
fn place(at: At) -> String {
    format!("{}/{}", at.episode, at.step)
}

/// The CRC-32 that a policy's header states.
fn crc32_of(file: &[u8]) -> u32 {
    let word = file.get(16..20).and_then(<[u8]>::first_chunk::<4>);
    word.map_or(0, |word| u32::from_le_bytes(*word))
}

/// Whether `reply` is this action, bit for bit.
fn is_action(reply: &Reply, action: &Action) -> bool {
    let bits = |action: &Action| {
        action
            .control
            .iter()
            .map(|u| u.to_bits())
            .collect::<Vec<_>>()
    };
    matches!(reply, Reply::Action(sent)
        if (sent.seq, sent.choice, sent.mode, sent.fault, sent.ticks)
            == (action.seq, action.choice, action.mode, action.fault, action.ticks)
            && bits(sent) == bits(action))
}
