//! Executed instructions from the emulator's log, split into control steps and the kernels within.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use object::{Object, ObjectSection, ObjectSymbol};

use super::cycles::{Table, size};
use crate::device::board::Core;
use crate::error::{Error, Result};

/// A number of executed instructions, and their weighted cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Instructions.
    pub instructions: u64,
    /// Cycles by the core's table of `cycles.rs`.
    pub cycles: u64,
}

/// One control step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// From entering the control step to leaving it, kernels included.
    pub whole: Count,
    /// The kernels called, in order: each from its first instruction to its return.
    pub kernels: Vec<Count>,
    /// Before the step: from the first byte of its frame to the decoded observation.
    pub received: Count,
    /// Behind it: from the action to the first byte of the next frame, the link's own calls included; nothing of the last step.
    pub sent: Count,
}

/// How the mangled name of `firmware::supervisor::step` ends: from decoded observation to checked action.
const STEP: &str = "10supervisor4step4step";

/// How the mangled name of the function that takes a received byte ends.
const RECEIVE: &str = "11FrameReader4push";

/// Code and entry points of a firmware.
pub struct Code {
    /// Address and bytes of the executable sections.
    sections: Vec<(u32, Vec<u8>)>,
    step: u32,
    receive: u32,
    /// Where the core has an FPU.
    kernels: Vec<u32>,
    table: Table,
}

impl Code {
    /// Reads a firmware for a core.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Input`] for a file that is no ELF; [`Error::Usage`] if it has not one control step and one receiver, or no
    /// kernel in assembly on a core with an FPU.
    pub fn read(path: &Path, core: Core) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
        let file = object::File::parse(bytes.as_slice())
            .map_err(|e| Error::input(path, "ELF", e, "an ELF file"))?;
        let sections = file
            .sections()
            .filter(|section| section.kind() == object::SectionKind::Text)
            .filter_map(|section| Some((section.address() as u32, section.data().ok()?.to_vec())))
            .collect();
        let addresses = |wanted: &dyn Fn(&str) -> bool| -> Vec<u32> {
            let symbols = file.symbols().filter(|s| s.name().is_ok_and(wanted));
            // Bit 0 of a Thumb function's address says Thumb.
            symbols.map(|s| s.address() as u32 & !1).collect()
        };
        let steps = addresses(&|name| name.ends_with(STEP));
        let receivers = addresses(&|name| name.ends_with(RECEIVE));
        let kernels = addresses(&|name| {
            ["hpo_network", "hpo_quadratic"]
                .iter()
                .any(|kernel| name.starts_with(kernel))
        });
        match (steps.as_slice(), receivers.as_slice()) {
            (&[step], &[receive]) if core.has_fpu() != kernels.is_empty() => Ok(Self {
                sections,
                step,
                receive,
                kernels,
                table: Table::of(core),
            }),
            _ => Err(Error::Usage(format!(
                "--device: found a firmware with {} control steps, {} receivers and {} kernels in assembly; allowed: one \
                 of each, and kernels where the core has an FPU",
                steps.len(),
                receivers.len(),
                kernels.len()
            ))),
        }
    }

    fn instruction(&self, address: u32) -> Option<(u16, u16)> {
        let half = |address: u32| {
            let (start, bytes) = self
                .sections
                .iter()
                .find(|(start, bytes)| address.wrapping_sub(*start) < bytes.len() as u32)?;
            let at = (address - start) as usize;
            Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
        };
        Some((half(address)?, half(address + 2).unwrap_or_default()))
    }

    /// The control steps in a log of `-singlestep -d exec,nochain`.
    ///
    /// # Errors
    /// [`Error::Environment`] if the log cannot be read or has another form.
    pub fn steps(&self, log: impl BufRead) -> Result<Vec<Step>> {
        let mut steps: Vec<Step> = Vec::new();
        // The instructions since the first byte of a frame; `None` before it.
        let mut received: Option<Count> = None;
        let mut known: BTreeMap<u32, (u16, u16)> = BTreeMap::new();
        let mut previous = None;
        // Where the step and the kernel that run return to.
        let (mut step_end, mut kernel_end) = (None, None);
        for line in log.lines() {
            let line = line.map_err(|e| Error::Environment(format!("emulator's log: {e}")))?;
            let Some(pc) = address(&line) else { continue };
            // An instruction that the emulator's clock stopped before is logged again; none jumps to itself.
            if previous == Some(pc) {
                continue;
            }
            if let Some(before) = previous {
                let (first, second) = known[&before];
                let taken = pc != before + size(first);
                let cycles = self.table.cycles(first, second, taken);
                match (steps.last_mut(), &mut received) {
                    (Some(step), _) if step_end.is_some() => {
                        add(step, cycles, kernel_end.is_some());
                    }
                    (_, Some(received)) => received.add(cycles),
                    (Some(step), None) => step.sent.add(cycles),
                    (None, None) => {}
                }
            }
            if step_end == Some(pc) {
                step_end = None;
            }
            if kernel_end == Some(pc) {
                kernel_end = None;
            }
            known
                .entry(pc)
                .or_insert_with(|| self.instruction(pc).unwrap_or_default());
            let return_to = previous.map(|before: u32| before + size(known[&before].0));
            if step_end.is_none() && pc == self.step {
                steps.push(Step {
                    received: received.take().unwrap_or_default(),
                    ..Step::default()
                });
                step_end = return_to;
            } else if step_end.is_some() && kernel_end.is_none() && self.kernels.contains(&pc) {
                if let Some(step) = steps.last_mut() {
                    step.kernels.push(Count::default());
                }
                kernel_end = return_to;
            }
            if step_end.is_none() && pc == self.receive {
                received.get_or_insert_default();
            }
            previous = Some(pc);
        }
        // What follows the last step is the end of the session.
        if let Some(step) = steps.last_mut() {
            step.sent = Count::default();
        }
        Ok(steps)
    }
}

fn add(step: &mut Step, cycles: u64, in_kernel: bool) {
    let kernel = in_kernel.then_some(()).and(step.kernels.last_mut());
    for count in [Some(&mut step.whole), kernel].into_iter().flatten() {
        count.add(cycles);
    }
}

impl Count {
    fn add(&mut self, cycles: u64) {
        self.instructions += 1;
        self.cycles += cycles;
    }
}

/// The address in a line such as `Trace 0: 0x7f5804000100 [00800408/00000400/00000110/ff000201] Reset`.
pub(super) fn address(line: &str) -> Option<u32> {
    let inside = line.strip_prefix("Trace ")?.split_once('[')?.1;
    let pc = inside.split('/').nth(1)?;
    u32::from_str_radix(pc.get(pc.len().checked_sub(8)?..)?, 16).ok()
}
