//! The grammar of `hpo hil --faults`.
//!
//! ```text
//! SPEC  = ITEM { "," ITEM }
//! ITEM  = "seed=" NUMBER | KIND { ":" PARAMETER } [ "=" RATE ] [ "@" PLACE ]
//! PLACE = [ EPISODE "/" ] STEP [ ".." [ STEP ] ]
//! ```
//!
//! An item without a rate acts at every step of its place, one without a place at any step; one of the two must be there.
//! `docs/faults.md` lists the kinds.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Error, Result};

/// Most periods that a frame or a measurement is late.
const LATEST: u64 = 64;

/// Faults to put in, by rule and seed.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultSpec {
    /// As it was written.
    pub text: String,
    /// Seed of everything drawn.
    pub seed: u64,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

/// What happens, how often, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// As it was written.
    pub text: String,
    /// What happens.
    pub kind: Kind,
    /// How likely it is per frame, per byte ([`Kind::Corrupt`]) or per step; `None`: it is certain, and one byte.
    pub rate: Option<f64>,
    /// The episode; `None`: each.
    pub episode: Option<u64>,
    /// The steps.
    pub steps: Range<u64>,
}

/// Which frames a fault of the link hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Both ways.
    Both,
    /// From host to device.
    Requests,
    /// From device to host.
    Replies,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A frame is lost.
    Drop(Way),
    /// A frame comes twice.
    Duplicate(Way),
    /// Bytes of a frame are others.
    Corrupt(Way),
    /// A frame comes so many periods late.
    Delay(u64, Way),
    /// A coordinate of the measurement, or all of them, is this value.
    Set(Option<usize>, f32),
    /// A coordinate, or all of them, stays what it was at the step before.
    Freeze(Option<usize>),
    /// The measurement is so many periods old, and says so.
    Stale(u64),
    /// The host does nothing for so many microseconds of the plant's time.
    Pause(u64),
    /// The device is reset.
    Reset,
    /// The slot is replaced by this file, and the device reset.
    Swap(PathBuf),
    /// As a swap, but half of the file is written and the rest erased.
    Tear(PathBuf),
    /// This bit of the slot, or a drawn one, is the other way round, and the device reset.
    Flip(Option<u64>),
    /// As a flip, but the device runs on with it; it is reset before the next episode.
    Rot(Option<u64>),
    /// This file is installed over the link to the slot that does not run, tried, and confirmed or reverted, while the loop runs.
    Install(PathBuf),
}

impl Kind {
    /// The name on the command line and in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Drop(_) => "drop",
            Kind::Duplicate(_) => "dup",
            Kind::Corrupt(_) => "corrupt",
            Kind::Delay(..) => "delay",
            Kind::Set(_, value) if value.is_nan() => "nan",
            Kind::Set(..) => "set",
            Kind::Freeze(_) => "freeze",
            Kind::Stale(_) => "stale",
            Kind::Pause(_) => "pause",
            Kind::Reset => "reset",
            Kind::Swap(_) => "swap",
            Kind::Tear(_) => "tear",
            Kind::Flip(_) => "flip",
            Kind::Rot(_) => "rot",
            Kind::Install(_) => "install",
        }
    }

    /// Whether it takes the emulator's debug stub.
    #[must_use]
    pub fn needs_stub(&self) -> bool {
        self.goes_through_stub() || matches!(self, Kind::Install(_))
    }

    /// Whether it is done by the stub.
    pub(super) fn goes_through_stub(&self) -> bool {
        *self == Kind::Reset || self.changes_slot()
    }

    /// Whether it changes the slot behind the device's back.
    fn changes_slot(&self) -> bool {
        use Kind::{Flip, Rot, Swap, Tear};
        matches!(self, Swap(_) | Tear(_) | Flip(_) | Rot(_))
    }
}

impl FaultSpec {
    /// Whether a rule takes the emulator's debug stub.
    #[must_use]
    pub fn needs_stub(&self) -> bool {
        self.rules.iter().any(|rule| rule.kind.needs_stub())
    }

    /// Whether a policy is installed over the link, which takes firmware with slots.
    #[must_use]
    pub fn installs(&self) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| matches!(rule.kind, Kind::Install(_)))
    }

    /// The policy files that rules name.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.rules.iter().filter_map(|rule| match &rule.kind {
            Kind::Swap(path) | Kind::Tear(path) | Kind::Install(path) => Some(path.as_path()),
            _ => None,
        })
    }

    /// Whether every rule can act in a run of `episodes` times `steps` with `state_dim` coordinates.
    ///
    /// # Errors
    /// [`Error::Usage`] that names the rule that cannot.
    pub fn fits(&self, episodes: u64, steps: u64, state_dim: usize) -> Result<()> {
        for rule in &self.rules {
            let text = &rule.text;
            if rule.steps.start >= steps {
                return Err(found(text, &format!("a step from 0 to {}", steps - 1)));
            }
            if rule.steps.end != u64::MAX && rule.steps.end > steps {
                return Err(found(
                    text,
                    &format!("steps up to {steps}, or without an end"),
                ));
            }
            if rule.episode.is_some_and(|episode| episode >= episodes) {
                return Err(found(
                    text,
                    &format!("an episode from 0 to {}", episodes - 1),
                ));
            }
            if self.installs() && rule.kind.changes_slot() {
                return Err(found(
                    text,
                    "beside install: reset, and what goes not through the slot, since it installs to slots of its own",
                ));
            }
            if let Kind::Set(Some(at), _) | Kind::Freeze(Some(at)) = rule.kind
                && at >= state_dim
            {
                return Err(found(
                    text,
                    &format!("a coordinate from 0 to {}", state_dim - 1),
                ));
            }
        }
        Ok(())
    }
}

impl Rule {
    /// Whether the rule may act at this step.
    #[must_use]
    pub fn covers(&self, episode: u64, step: u64) -> bool {
        self.episode.is_none_or(|own| own == episode) && self.steps.contains(&step)
    }
}

impl FromStr for FaultSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut spec = FaultSpec {
            text: text.to_owned(),
            seed: 1,
            rules: Vec::new(),
        };
        for item in text.split(',').map(str::trim) {
            match item.strip_prefix("seed=") {
                Some(seed) => spec.seed = number(item, seed, "seed=NUMBER")?,
                None => spec.rules.push(rule(item)?),
            }
        }
        if spec.rules.is_empty() {
            return Err(found(text, "at least one fault"));
        }
        Ok(spec)
    }
}

/// Names of the kinds, and what else may stand between commas.
const KINDS: &str = "drop, dup, corrupt, delay, nan, set, freeze, stale, pause, reset, swap, tear, flip, rot, install, and seed=NUMBER";

fn rule(item: &str) -> Result<Rule> {
    let (rest, place) = match item.split_once('@') {
        Some((rest, place)) => (rest, Some(place)),
        None => (item, None),
    };
    let (what, rate) = match rest.split_once('=') {
        Some((what, rate)) => (what, Some(rate)),
        None => (rest, None),
    };
    // An unknown kind is told as such, whatever else is missing.
    let kind = parse_kind(item, what)?;
    let rate = rate.map(|rate| probability(item, rate)).transpose()?;
    let (episode, steps) = match place {
        Some(place) => parse_place(item, place)?,
        None if rate.is_some() => (None, 0..u64::MAX),
        None => {
            return Err(found(
                item,
                "a rate (=0.01), a place (@40, @2/40..50), or both",
            ));
        }
    };
    Ok(Rule {
        text: item.to_owned(),
        kind,
        rate,
        episode,
        steps,
    })
}

fn parse_kind(item: &str, what: &str) -> Result<Kind> {
    let (name, parameters) = match what.split_once(':') {
        Some((name, parameters)) => (name, Some(parameters)),
        None => (what, None),
    };
    let way = |text: Option<&str>| match text {
        None => Ok(Way::Both),
        Some("request") => Ok(Way::Requests),
        Some("reply") => Ok(Way::Replies),
        Some(_) => Err(found(
            item,
            &format!("{name}, {name}:request or {name}:reply"),
        )),
    };
    let coordinate = |text: Option<&str>| match text {
        None | Some("all") => Ok(None),
        Some(text) => {
            number(item, text, "a coordinate, from 0, or all").map(|at| Some(at as usize))
        }
    };
    let periods = |text: &str| {
        number(item, text, "periods")
            .ok()
            .filter(|periods| (1..=LATEST).contains(periods))
            .ok_or_else(|| found(item, &format!("1 to {LATEST} periods")))
    };
    let file = || match parameters {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Err(found(item, &format!("{name}:FILE, a policy"))),
    };
    let nothing = |kind| match parameters {
        None => Ok(kind),
        Some(_) => Err(found(item, &format!("{name} without a parameter"))),
    };
    let bit = |allowed| parameters.map(|bit| number(item, bit, allowed)).transpose();
    match name {
        "drop" => Ok(Kind::Drop(way(parameters)?)),
        "dup" => Ok(Kind::Duplicate(way(parameters)?)),
        "corrupt" => Ok(Kind::Corrupt(way(parameters)?)),
        "delay" => {
            let parameters = parameters.ok_or_else(|| found(item, "delay:PERIODS"))?;
            let (count, which) = match parameters.split_once(':') {
                Some((count, which)) => (count, Some(which)),
                None => (parameters, None),
            };
            Ok(Kind::Delay(periods(count)?, way(which)?))
        }
        "nan" => Ok(Kind::Set(coordinate(parameters)?, f32::NAN)),
        "set" => {
            let both = parameters.and_then(|text| text.split_once(':'));
            let (at, value) = both.ok_or_else(|| found(item, "set:COORDINATE:VALUE"))?;
            let value = value
                .parse()
                .map_err(|_| found(item, "a value such as 1e30, inf or -0.5"))?;
            Ok(Kind::Set(coordinate(Some(at))?, value))
        }
        "freeze" => Ok(Kind::Freeze(coordinate(parameters)?)),
        "stale" => Ok(Kind::Stale(periods(
            parameters.ok_or_else(|| found(item, "stale:PERIODS"))?,
        )?)),
        "pause" => Ok(Kind::Pause(duration(item, parameters.unwrap_or_default())?)),
        "reset" => nothing(Kind::Reset),
        "swap" => Ok(Kind::Swap(file()?)),
        "tear" => Ok(Kind::Tear(file()?)),
        "install" => Ok(Kind::Install(file()?)),
        "flip" => Ok(Kind::Flip(bit(
            "flip:BIT, the number of a bit of the slot",
        )?)),
        "rot" => Ok(Kind::Rot(bit("rot:BIT, the number of a bit of the slot")?)),
        _ => Err(found(item, KINDS)),
    }
}

fn parse_place(item: &str, place: &str) -> Result<(Option<u64>, Range<u64>)> {
    let allowed =
        "a place: STEP, FIRST..BEHIND or FIRST.., with EPISODE/ before it if it is in one episode";
    let (episode, steps) = match place.split_once('/') {
        Some((episode, steps)) => (Some(number(item, episode, allowed)?), steps),
        None => (None, place),
    };
    let steps = match steps.split_once("..") {
        Some((first, "")) => number(item, first, allowed)?..u64::MAX,
        Some((first, behind)) => number(item, first, allowed)?..number(item, behind, allowed)?,
        None => {
            let step = number(item, steps, allowed)?;
            step..step.saturating_add(1)
        }
    };
    if steps.is_empty() {
        return Err(found(item, "a range that is not empty"));
    }
    Ok((episode, steps))
}

fn probability(item: &str, text: &str) -> Result<f64> {
    text.parse()
        .ok()
        .filter(|rate| (0.0..=1.0).contains(rate))
        .ok_or_else(|| found(item, "a rate from 0 to 1"))
}

/// A time in microseconds, of at least one.
fn duration(item: &str, text: &str) -> Result<u64> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic());
    let (count, unit) = text.split_at(unit.unwrap_or(text.len()));
    let scale = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => 0.0,
    };
    let micros = count.parse::<f64>().unwrap_or(0.0) * scale;
    if (1.0..=1e9).contains(&micros) {
        return Ok(micros.round() as u64);
    }
    Err(found(
        item,
        "pause:TIME with us, ms or s, from 1us to 1000s",
    ))
}

fn number(item: &str, text: &str, allowed: &str) -> Result<u64> {
    text.parse().map_err(|_| found(item, allowed))
}

fn found(item: &str, allowed: &str) -> Error {
    Error::Usage(format!("--faults: found {item:?}; allowed: {allowed}"))
}

#[cfg(test)]
mod tests;
