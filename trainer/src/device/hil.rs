//! Hardware in the loop: the plant on the host, the controller on the device.
//!
//! Every action of the device is compared, bit for bit, with the firmware library running on the
//! host on the same measured state.

mod report;
mod tally;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use firmware::{Armed, Controller, Fault, Offer, Outcome, PublicKey, SCRATCH_LEN, boot, boot_on};
use policy_format::RawPolicy;
use policy_format::message::{Action, Reply, Request, SlotRequest};

use super::board::Board;
use super::budget::Budget;
use super::build::{Variant, build_variant, offer_of, sizes_of};
use super::faults::{self, FaultSpec, Stub};
use super::flash::emulated;
use super::flash::identity::Identity;
use super::hostile::Arena;
use super::port::Port;
use super::qemu::{LinkKind, Qemu, QemuConfig};
use super::session::Session;
use super::transport::Transport;
use crate::export::PolicyBuffer;
use crate::plant::Dims;
use crate::{Error, Result};

pub use report::{HilReport, Instructions, StepRecord};
use tally::Tally;

/// Seed of the hostile inputs: every run meets the same ones.
const HOSTILE_SEED: u64 = 1;

/// The plant's half of the loop, in `f64`.
pub trait HostPlant {
    /// Sizes; constant over the plant's life.
    fn dims(&self) -> Dims;

    /// Puts the plant at the start of an episode (0, 1, ...), the same each time for the same number.
    fn reset(&mut self, episode: u64);

    /// The present state, of length `dims().state`. The sensor is its rounding to `f32`.
    fn state(&self) -> &[f64];

    /// Applies mode and control (of length `dims().control`) for one step, moves on to the next
    /// state and returns the stage cost of the step.
    fn step(&mut self, mode: usize, control: &[f32]) -> f64;
}

/// What to run.
#[derive(Clone, Debug)]
pub struct HilConfig {
    /// The board.
    pub board: &'static Board,
    /// The link.
    pub link: LinkKind,
    /// Number of episodes, at least 1.
    pub episodes: u64,
    /// Steps per episode, at least 1.
    pub steps: u64,
    /// Number of hostile inputs behind the episodes ([`super::hostile`]); 0: none.
    pub hostile: u64,
    /// Plant and actuator set the firmware is built for.
    pub target_class: u32,
    /// Longest wait for one answer of the device.
    pub timeout: Duration,
    /// Firmware to run in place of the one that is built for board, class and policy.
    pub elf: Option<PathBuf>,
    /// Faults to put into the episodes; there are no hostile inputs then.
    pub faults: Option<FaultSpec>,
}

/// Runs `config.episodes` episodes of `plant` with the controller on the device.
///
/// `policy` is put into the device's slot as it is, whatever it holds: a policy that the device does
/// not arm gives a report with [`HilReport::boot_fault`] and no episodes. `observe` is called after
/// each step, `progress` with one line before each slow part.
///
/// # Errors
/// [`Error::Usage`] if policy and plant have different sizes or a count is 0, [`Error::Environment`]
/// if tools are missing or the emulator dies or hangs, [`Error::Negative`] if the policy does not
/// fit the slot or the device ended itself with a numbered fault.
pub fn run_hil(
    config: &HilConfig,
    policy: &[u8],
    plant: &mut dyn HostPlant,
    observe: &mut dyn FnMut(&StepRecord<'_>),
    progress: &dyn Fn(&str),
) -> Result<HilReport> {
    check_counts(config)?;
    let stubborn = config.faults.as_ref().is_some_and(FaultSpec::needs_stub);
    if stubborn && config.link != LinkKind::Uart {
        return Err(Error::Usage(
            "--faults: found a reset, swap, tear, flip, rot or install over semihosting, which holds the debug stub; allowed: --link uart"
                .into(),
        ));
    }
    let installs = config.faults.as_ref().is_some_and(FaultSpec::installs);
    let own = Variant::for_policy(policy);
    // Policies that come during the run may need more of the firmware.
    let regions = config.faults.iter().flat_map(FaultSpec::files).any(|file| {
        // One that cannot be read is told where it is needed.
        let bytes = std::fs::read(file).unwrap_or_default();
        Variant::for_policy(PolicyBuffer::new(&bytes).bytes()).regions
    });
    let variant = Variant {
        slots: installs,
        regions: own.regions || regions,
        ..own
    };
    let elf = match &config.elf {
        Some(elf) => elf.clone(),
        None => build_variant(config.board, config.target_class, &variant, progress)?.elf,
    };
    let sizes = sizes_of(&elf)?;
    // Of what the ELF is, whoever built it.
    let variant = match Identity::of_elf(config.board, &elf)? {
        Some(identity) => Variant {
            keys: identity.keys.unwrap_or_default(),
            slots: identity.slots,
            ..variant
        },
        None => variant,
    };
    let budget = Budget::of_variant(config.board, &variant)?;
    let offer = offer_of(&elf, config.board)?;
    progress(&format!(
        "start {} over {}",
        config.board.name,
        config.link.name()
    ));
    let (mut session, stub) = if stubborn {
        let word = installs.then_some("lockstep");
        let (session, stub) = start_stopped(config, &elf, policy, word)?;
        (session, Some(stub))
    } else {
        (start(config, &elf, policy)?, None)
    };
    let mut report = HilReport::new(config, budget);
    report.flash_bytes = Some(sizes.flash_bytes);
    report.ram_bytes = Some(sizes.ram_bytes);
    report.over_budget = budget.over_memory(&sizes);
    let course = Course {
        config,
        policy,
        offer: Some(offer),
        stub,
        counted: config.link == LinkKind::Semihosting,
    };
    course.run(&mut session, plant, observe, progress, &mut report)?;
    if !report.device_failed() {
        session.shut_down()?;
    }
    Ok(report)
}

/// As [`run_hil`], on a device that runs behind a serial port with `policy` in its slot; it goes on running afterwards. `config.elf` and
/// `config.link` are not used.
///
/// # Errors
/// As [`run_hil`]; [`Error::Environment`] if no device answers, [`Error::Negative`] if it runs another policy, and [`Error::Usage`]
/// for faults that take a debug stub.
pub fn run_hil_over(
    config: &HilConfig,
    port: Port,
    policy: &[u8],
    plant: &mut dyn HostPlant,
    observe: &mut dyn FnMut(&StepRecord<'_>),
    progress: &dyn Fn(&str),
) -> Result<HilReport> {
    check_counts(config)?;
    if config.faults.as_ref().is_some_and(FaultSpec::needs_stub) {
        return Err(Error::Usage(
            "--faults: found a reset, swap, tear, flip, rot or install over a port; allowed: in QEMU, which has a debug stub"
                .into(),
        ));
    }
    let path = port.path().to_path_buf();
    progress(&format!("greet the device behind {}", path.display()));
    let mut session = Session::join(port, config.timeout)?;
    let hello = session.hello();
    if hello.target_class != config.target_class {
        return Err(Error::Negative(format!(
            "the device behind {} is for target class {}; the plant has {}",
            path.display(),
            hello.target_class,
            config.target_class
        )));
    }
    let crc32 = RawPolicy::parse(policy).ok().map(|raw| raw.crc32());
    if hello.boot_fault == 0 && Some(hello.policy_crc32) != crc32 {
        return Err(Error::Negative(format!(
            "the device behind {} runs the policy with CRC-32 {:08x}; the file has {}: install it first",
            path.display(),
            hello.policy_crc32,
            crc32.map_or("none".into(), |crc32| format!("{crc32:08x}"))
        )));
    }
    let budget = Budget::of_variant(
        config.board,
        &variant_behind(&mut session, policy, config.timeout)?,
    )?;
    let mut report = HilReport::new(config, budget);
    report.link = LinkKind::Uart;
    report.port = Some(path);
    let course = Course {
        config,
        policy,
        offer: None,
        stub: None,
        counted: false,
    };
    course.run(&mut session, plant, observe, progress, &mut report)?;
    Ok(report)
}

/// What the firmware behind a port is built for, as far as its budget goes. Whether it has slots it says itself; that it verifies
/// signatures is taken from the policy's having one.
fn variant_behind<D: Transport>(
    session: &mut Session<D>,
    policy: &[u8],
    patience: Duration,
) -> Result<Variant> {
    let policy_buffer = PolicyBuffer::new(policy);
    let signature = RawPolicy::parse(policy_buffer.bytes()).and_then(|raw| raw.signature());
    // Which key it is does not matter to the budget.
    let keys = match signature {
        Ok(Some(_)) => vec![PublicKey([0; 32])],
        _ => Vec::new(),
    };
    let request = Request::Slots(SlotRequest::Status);
    let status = session.insist(&request, patience)?;
    Ok(Variant {
        keys,
        slots: matches!(status, Reply::Slots(_)),
        ..Variant::for_policy(policy)
    })
}

fn check_counts(config: &HilConfig) -> Result<()> {
    for (name, count) in [("episodes", config.episodes), ("steps", config.steps)] {
        if count == 0 {
            return Err(Error::Usage(format!("{name}: found 0; allowed: 1 or more")));
        }
    }
    Ok(())
}

impl HilReport {
    /// A fault was not survived, after which the device may be silent or gone.
    fn device_failed(&self) -> bool {
        let faults = self.faults.as_ref();
        faults.is_some_and(|faults| faults.first_failure.is_some())
    }

    /// A report of nothing yet.
    fn new(config: &HilConfig, budget: Budget) -> Self {
        Self {
            board: config.board.name.to_string(),
            link: config.link,
            port: None,
            episodes: 0,
            steps: 0,
            bit_exact: false,
            mismatches: 0,
            first_mismatch: None,
            mean_cost: None,
            steps_per_second: 0.0,
            instructions: None,
            flash_bytes: None,
            ram_bytes: None,
            stack_bytes: 0,
            fallback_steps: 0,
            faults_injected: 0,
            faults_survived: 0,
            faults: None,
            hostile: None,
            budget,
            over_budget: Vec::new(),
            boot_fault: None,
            host_boot_fault: None,
        }
    }
}

/// What happens on a greeted device, whatever it is behind.
struct Course<'a> {
    config: &'a HilConfig,
    policy: &'a [u8],
    offer: Option<Offer>,
    stub: Option<Stub>,
    /// Ticks count instructions.
    counted: bool,
}

impl Course<'_> {
    fn run<D: Transport>(
        self,
        session: &mut Session<D>,
        plant: &mut dyn HostPlant,
        observe: &mut dyn FnMut(&StepRecord<'_>),
        progress: &dyn Fn(&str),
        report: &mut HilReport,
    ) -> Result<()> {
        let config = self.config;
        let slot = PolicyBuffer::new(self.policy);
        let mut scratch = Box::new([0.0; SCRATCH_LEN]);
        let class = config.target_class;
        let host: Controller<'_> = match &self.offer {
            Some(offer) => boot_on(offer, slot.bytes(), class, &mut scratch),
            None => boot(slot.bytes(), class, &mut scratch),
        };
        report.boot_fault = session.boot_fault().map(|fault| fault.to_string());
        report.host_boot_fault = host.as_ref().err().map(Fault::to_string);
        match (&host, &config.faults) {
            (Ok(armed), Some(spec)) if report.boot_fault.is_none() => {
                fits(armed, plant.dims())?;
                progress(&format!("{} episodes with {}", config.episodes, spec.text));
                self.with_faults(spec, session, plant, observe, report)?;
            }
            (Ok(armed), None) if report.boot_fault.is_none() => {
                fits(armed, plant.dims())?;
                progress(&format!("{} episodes", config.episodes));
                let mut tally = Tally::default();
                let count = |ticks| self.instructions_of(ticks);
                tally.run(config, &count, session, &host, &mut scratch, plant, observe)?;
                tally.write_to(report, config, self.counted);
                report.fallback_steps = session.stats()?.fallback_steps;
                if config.hostile > 0 {
                    progress(&format!("{} hostile inputs", config.hostile));
                    let mut arena = Arena {
                        session,
                        host: &host,
                        scratch: &mut scratch,
                        plant,
                        steps: config.steps,
                        count: &count,
                    };
                    report.hostile = Some(arena.run(config.hostile, HOSTILE_SEED)?);
                }
            }
            _ if report.boot_fault != report.host_boot_fault => {
                report.first_mismatch = Some(format!(
                    "boot on the device: {}; on the host: {}",
                    report.boot_fault.as_deref().unwrap_or("armed"),
                    report.host_boot_fault.as_deref().unwrap_or("armed")
                ));
            }
            _ => {}
        }
        if !report.device_failed() {
            report.stack_bytes = session.stats()?.stack_bytes;
        }
        let most = report.most_instructions();
        let over = report.budget.over_run(report.stack_bytes, most);
        report.over_budget.extend(over);
        Ok(())
    }

    fn with_faults<D: Transport>(
        self,
        spec: &FaultSpec,
        session: &mut Session<D>,
        plant: &mut dyn HostPlant,
        observe: &mut dyn FnMut(&StepRecord<'_>),
        report: &mut HilReport,
    ) -> Result<()> {
        let config = self.config;
        let start = Instant::now();
        let outcome = faults::run(
            config,
            spec,
            self.policy,
            self.offer,
            self.stub,
            session,
            plant,
            observe,
        )?;
        report.episodes = config.episodes;
        report.steps = outcome.steps;
        report.mismatches = outcome.mismatches;
        report.bit_exact = outcome.mismatches == 0;
        report.first_mismatch = outcome.report.first_failure.clone();
        report.mean_cost = Some(outcome.cost / config.episodes as f64);
        report.steps_per_second = outcome.steps as f64 / start.elapsed().as_secs_f64();
        report.fallback_steps = u32::try_from(outcome.report.fallback_periods).unwrap_or(u32::MAX);
        report.faults_injected = outcome.report.faults_injected();
        report.faults_survived = outcome.report.faults_survived();
        report.faults = Some(outcome.report);
        Ok(())
    }

    /// Instructions that the ticks of an answer stand for; `None` on a link without instruction-counted time.
    fn instructions_of(&self, ticks: u32) -> Option<u64> {
        let emulator = self.config.board.emulator?;
        self.counted
            .then(|| (f64::from(ticks) / emulator.ticks_per_instruction).round() as u64)
    }
}

/// Starts the board with a debug stub, writes `policy` through it, and greets it. No loader does it, since a reset would have it write
/// the policy again.
fn start_stopped(
    config: &HilConfig,
    elf: &Path,
    policy: &[u8],
    word: Option<&str>,
) -> Result<(Session, Stub)> {
    let qemu = QemuConfig {
        board: config.board,
        elf,
        policy: &[],
        link: config.link,
        timeout: config.timeout,
    };
    let device = emulated::start_written(qemu, config.board, policy, word)?;
    let stub = Stub {
        socket: device.folder().join(emulated::SOCKET),
        board: config.board,
        timeout: config.timeout,
    };
    Ok((Session::greet(device)?, stub))
}

/// Starts the board with `policy` in its slot and greets it.
///
/// # Errors
/// As [`Qemu::start`] and [`Session::greet`].
pub fn start(config: &HilConfig, elf: &Path, policy: &[u8]) -> Result<Session> {
    Session::greet(Qemu::start(QemuConfig {
        board: config.board,
        elf,
        policy,
        link: config.link,
        timeout: config.timeout,
    })?)
}

pub(super) fn fits(armed: &Armed<'_>, plant: Dims) -> Result<()> {
    let policy = armed.policy();
    let pairs = [
        ("length of the state", policy.state_dim(), plant.state),
        ("length of the control", policy.control_dim(), plant.control),
        ("number of modes", policy.modes(), plant.modes),
    ];
    for (what, found, allowed) in pairs {
        if found != allowed {
            return Err(Error::Usage(format!(
                "policy: {what} is {found}; the plant has {allowed}"
            )));
        }
    }
    Ok(())
}

/// How an action differs from the host's answer, in words; `None` if every bit is the same.
pub(super) fn difference(action: &Action, outcome: &Outcome, expected: &[f32]) -> Option<String> {
    let bits = |control: &[f32]| control.iter().map(|u| u.to_bits()).collect::<Vec<_>>();
    let same = action.choice == outcome.choice
        && action.mode == outcome.mode
        && action.fault == Fault::code_of(outcome.fault)
        && bits(&action.control) == bits(expected);
    (!same).then(|| {
        format!(
            "device mode {} choice {} fault {:#06x} control {:?}; \
             host mode {} choice {} fault {:#06x} control {expected:?}",
            action.mode,
            action.choice,
            action.fault,
            action.control.as_slice(),
            outcome.mode,
            outcome.choice,
            Fault::code_of(outcome.fault),
        )
    })
}
