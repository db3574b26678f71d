//! Hardware in the loop with faults in it: on the link, at the sensor, of the host, and of the device and its slot.
//!
//! Device and model get the same bytes (`twin`); the model is the firmware library in this process
//! ([`super::local`]). Every reply of the device is compared with the model's, bit for bit, and looked at by itself: an action must be
//! admissible, and anything else a numbered fault. What the host receives of it decides the plant's next step; where nothing
//! usable comes, the last command is held. Time is the plant's: it is stated in the requests, no wait of the host is part of it,
//! and two runs with one seed are the same.
//!
//! A fault is **survived** if every answer until its end was right in that sense, and the policy acted again: within the episode where its
//! rule of return says so, else in the next one. `docs/faults.md` has the grammar and examples.

mod inject;
mod install;
mod limits;
mod report;
mod run;
mod spec;
mod twin;

use std::collections::BTreeMap;

pub use report::{FaultEvent, FaultReport};
pub use spec::{FaultSpec, Kind, Rule, Way};

pub(crate) use inject::corrupt;
pub(super) use twin::Stub;

use firmware::Offer;
use policy_format::RawPolicy;

use self::run::{Course, Loop};
use self::twin::Twin;
use super::hil::{HilConfig, HostPlant, StepRecord};
use super::session::Session;
use super::transport::Transport;
use crate::{Error, Result};

/// What a run with faults gives: the report, steps, mean cost of an episode, differences.
pub(super) struct Outcome {
    pub report: FaultReport,
    pub steps: u64,
    pub cost: f64,
    pub mismatches: u64,
}

/// Runs the episodes of `config` with the faults of `spec`. The device has just been greeted, and has `policy` in its slot.
///
/// # Errors
/// [`Error::Usage`] or [`Error::Io`] for rules that cannot act and files that cannot be used; [`Error::Environment`] if the debug stub fails.
#[expect(
    clippy::too_many_arguments,
    reason = "the two ends of the loop and what is between them"
)]
pub(super) fn run<D: Transport>(
    config: &HilConfig,
    spec: &FaultSpec,
    policy: &[u8],
    offer: Option<Offer>,
    stub: Option<Stub>,
    session: &mut Session<D>,
    plant: &mut dyn HostPlant,
    observe: &mut dyn FnMut(&StepRecord<'_>),
) -> Result<Outcome> {
    spec.fits(config.episodes, config.steps, plant.dims().state)?;
    let mut course = Course {
        spec,
        episodes: config.episodes,
        steps: config.steps,
        target_class: config.target_class,
        offer,
        files: BTreeMap::new(),
    };
    for rule in &spec.rules {
        match &rule.kind {
            Kind::Swap(path) | Kind::Tear(path) | Kind::Install(path) => {
                let bytes = std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
                limits::check_file(&course, &bytes, plant)?;
                course.files.insert(path.clone(), bytes);
            }
            Kind::Flip(Some(bit)) | Kind::Rot(Some(bit)) if *bit >= 8 * policy.len() as u64 => {
                return Err(Error::Usage(format!(
                    "--faults: found {:?}; allowed: a bit from 0 to {}",
                    rule.text,
                    8 * policy.len() - 1
                )));
            }
            _ => {}
        }
    }
    let period_us = period_us(policy)?;
    let longest = config.steps.saturating_mul(period_us);
    if longest > u64::from(u32::MAX) / 2 {
        return Err(Error::Usage(format!(
            "steps: found {} of {period_us} us; allowed with --faults: an episode of at most {} s",
            config.steps,
            u32::MAX / 2_000_000
        )));
    }
    let class = config.target_class;
    let slots = spec.installs();
    let twin = Twin::new(session, policy, class, offer, slots, stub, config.timeout)?;
    let (report, counts) = Loop::new(&course, twin, plant, period_us).run(observe)?;
    Ok(Outcome {
        report,
        steps: counts.steps,
        cost: counts.cost,
        mismatches: counts.mismatches,
    })
}

/// The sample time of a policy in microseconds.
fn period_us(policy: &[u8]) -> Result<u64> {
    let buffer = crate::export::PolicyBuffer::new(policy);
    let raw = RawPolicy::parse(buffer.bytes())
        .and_then(|raw| raw.validate(&policy_format::Capacity::FORMAT))
        .map_err(|e| Error::Usage(format!("policy: {e}")))?;
    Ok((f64::from(raw.sample_time_s()) * 1e6).round().max(1.0) as u64)
}
