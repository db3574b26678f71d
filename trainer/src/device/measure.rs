//! What a built firmware takes on its emulated board: stack, and instructions per control step over hostile inputs.
//!
//! One run of [`hil`](super::hil) on a state that is drawn anew in each period, with hostile inputs behind it.

use std::path::Path;
use std::time::Duration;

use policy_format::{Capacity, RawPolicy};
use serde::Serialize;

use super::board::Board;
use super::budget::Over;
use super::hil::{HilConfig, HostPlant, Instructions, run_hil};
use super::qemu::LinkKind;
use crate::bench::device::Case;
use crate::bench::device::networks::NETWORKS;
use crate::export::PolicyBuffer;
use crate::numeric::random::{Purpose, Stream};
use crate::plant::Dims;
use crate::{Error, Result};

/// The measured policy unless another one is given: network d of issue 5 with all sections that constrain and supervise.
const STANDARD: &str = "d";
/// Steps of the episode in front of the hostile inputs.
const STEPS: u64 = 200;
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a firmware took. The keys are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Length n of the policy's state and m of its control.
    pub policy: (usize, usize),
    /// Hostile inputs.
    pub inputs: u64,
    /// Instructions per control step over them.
    pub instructions: Instructions,
    /// Greatest stack use in bytes, as painted and measured.
    pub stack_bytes: u32,
    /// Of these figures, the ones beyond the board's budget.
    pub over_budget: Vec<Over>,
}

/// The policy that is measured unless another one is given; for target class 0.
///
/// # Errors
/// [`Error::Negative`] if it cannot be made, which would be a bug.
pub fn standard_policy() -> Result<PolicyBuffer> {
    let shape = NETWORKS.iter().find(|shape| shape.name == STANDARD);
    let shape = *shape.ok_or_else(|| Error::Negative("the standard policy is gone".into()))?;
    let case = Case {
        shape,
        int8: false,
        sections: true,
    };
    case.policy()
}

/// Runs `elf`, built for `board` and `target_class`, with `policy` on as many hostile inputs, at least 1.
///
/// # Errors
/// [`Error::Usage`] for a board that QEMU does not run, and for what is no policy; [`Error::Negative`] if the
/// device does not arm it, or an action is not the host's or not admissible; else as [`run_hil`].
pub fn measure(
    board: &'static Board,
    elf: &Path,
    target_class: u32,
    policy: &[u8],
    inputs: u64,
    progress: &dyn Fn(&str),
) -> Result<Measured> {
    board.emulator()?;
    let slot = PolicyBuffer::new(policy);
    let checked = RawPolicy::parse(slot.bytes())
        .and_then(|raw| raw.validate(&Capacity::FORMAT))
        .map_err(|error| Error::Usage(format!("policy: {error}")))?;
    let mut plant = Drawn::new(Dims {
        state: checked.state_dim(),
        control: checked.control_dim(),
        modes: checked.modes(),
        noise: 0,
    });
    let config = HilConfig {
        board,
        link: LinkKind::Semihosting,
        episodes: 1,
        steps: STEPS,
        hostile: inputs,
        target_class,
        timeout: PATIENCE,
        elf: Some(elf.to_path_buf()),
        faults: None,
    };
    let mut report = run_hil(&config, policy, &mut plant, &mut |_| {}, progress)?;
    // What is beyond the budget is the caller's to say, with flash and RAM.
    let mut over_budget = std::mem::take(&mut report.over_budget);
    over_budget.retain(|over| over.what == "stack_bytes" || over.what == "instructions");
    report.verdict()?;
    let hostile = report.hostile.as_ref().and_then(|h| h.instructions);
    let instructions = hostile.ok_or_else(|| {
        Error::Environment(format!("{}: no instructions were counted", board.name))
    })?;
    Ok(Measured {
        policy: (checked.state_dim(), checked.control_dim()),
        inputs,
        instructions,
        stack_bytes: report.stack_bytes,
        over_budget,
    })
}

/// A plant whose every state is drawn anew.
struct Drawn {
    dims: Dims,
    state: Vec<f64>,
    stream: Stream,
}

impl Drawn {
    fn new(dims: Dims) -> Self {
        Self {
            dims,
            state: vec![0.0; dims.state],
            stream: Stream::new(7, Purpose::Evaluation, 0),
        }
    }

    fn draw(&mut self) {
        for value in &mut self.state {
            *value = self.stream.normal();
        }
    }
}

impl HostPlant for Drawn {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn reset(&mut self, episode: u64) {
        self.stream = Stream::new(7, Purpose::Evaluation, episode);
        self.draw();
    }

    fn state(&self) -> &[f64] {
        &self.state
    }

    fn step(&mut self, _: usize, _: &[f32]) -> f64 {
        self.draw();
        0.0
    }
}
