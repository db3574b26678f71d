//! What a run in the loop found.

use std::path::PathBuf;

use policy_format::message::Action;
use serde::Serialize;

use crate::device::budget::{self, Budget, Over};
use crate::device::faults::FaultReport;
use crate::device::hostile::HostileReport;
use crate::device::qemu::LinkKind;
use crate::{Error, Result};

/// Number of instructions per control step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Instructions {
    /// Least.
    pub min: u64,
    /// Mean over all steps.
    pub mean: f64,
    /// Greatest.
    pub max: u64,
}

/// What a run found. Serialised by `hpo hil --json`; the keys are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HilReport {
    /// The board's name.
    pub board: String,
    /// The link.
    pub link: LinkKind,
    /// The serial port, where the device was behind one.
    pub port: Option<PathBuf>,
    /// Episodes run; 0 if the device did not arm the policy.
    pub episodes: u64,
    /// Control steps run, over all episodes.
    pub steps: u64,
    /// The device armed the policy and every mode, choice and control was the host's, bit for bit.
    pub bit_exact: bool,
    /// Steps whose action differed.
    pub mismatches: u64,
    /// The first difference, in words.
    pub first_mismatch: Option<String>,
    /// Mean over episodes of the undiscounted sum of stage costs; `None` without episodes.
    pub mean_cost: Option<f64>,
    /// Control steps per second of wall time, plant and host evaluator included.
    pub steps_per_second: f64,
    /// Instructions per control step; `None` on a link without instruction-counted time.
    pub instructions: Option<Instructions>,
    /// Bytes of flash the firmware takes, without the policy; `None` for a device behind a port.
    pub flash_bytes: Option<u64>,
    /// Bytes of RAM its statics take; `None` for a device behind a port.
    pub ram_bytes: Option<u64>,
    /// Greatest stack use in bytes, as painted and measured on the device.
    pub stack_bytes: u32,
    /// Steps that the fallback law answered.
    pub fallback_steps: u32,
    /// Faults put in on purpose.
    pub faults_injected: u64,
    /// Of those, the ones the device survived.
    pub faults_survived: u64,
    /// What they were and what the device did; `None` without.
    pub faults: Option<FaultReport>,
    /// What hostile inputs found; `None` if none were asked for or the device did not arm the policy.
    pub hostile: Option<HostileReport>,
    /// What the board allows.
    pub budget: Budget,
    /// Figures beyond it.
    pub over_budget: Vec<Over>,
    /// The fault that kept the device from arming the policy, by name.
    pub boot_fault: Option<String>,
    /// The fault the same boot gives on the host, by name.
    pub host_boot_fault: Option<String>,
}

impl HilReport {
    /// Most instructions of a control step, over episodes and hostile inputs; `None` where they are not counted.
    #[must_use]
    pub fn most_instructions(&self) -> Option<u64> {
        let hostile = self.hostile.as_ref().and_then(|h| h.instructions);
        let both = [self.instructions, hostile].into_iter().flatten();
        both.map(|count| count.max).max()
    }

    /// `Ok` if the device did all that the host did, also under hostile inputs, and within the budget.
    ///
    /// # Errors
    /// [`Error::Negative`] that names the boot fault, the first difference, or what is beyond the budget.
    pub fn verdict(&self) -> Result<()> {
        if let Some(fault) = &self.boot_fault {
            return Err(Error::Negative(format!(
                "the device did not arm the policy: {fault}"
            )));
        }
        if let Some(faults) = &self.faults {
            faults.verdict()?;
        }
        match &self.first_mismatch {
            None if self.bit_exact => {
                if let Some(hostile) = &self.hostile {
                    hostile.verdict()?;
                }
                budget::verdict(&self.board, &self.over_budget)
            }
            first => Err(Error::Negative(format!(
                "{} of {} actions differ from the host's; first: {}",
                self.mismatches,
                self.steps,
                first.as_deref().unwrap_or("none was compared")
            ))),
        }
    }
}

/// One step as it happened, for logs.
#[derive(Clone, Copy, Debug)]
pub struct StepRecord<'a> {
    /// Episode, from 0.
    pub episode: u64,
    /// Step within the episode, from 0.
    pub step: u64,
    /// What the sensor gave.
    pub measured: &'a [f32],
    /// What the device answered.
    pub action: &'a Action,
    /// Instructions it took, where they are counted.
    pub instructions: Option<u64>,
    /// Stage cost of the step.
    pub cost: f64,
}
