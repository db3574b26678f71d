//! An emulated board that runs its own control loop: a timer's exception steps it on a simulated plant, and between periods the
//! link is served, with policy slots on a model of NOR flash whose times pass as stalls of the core.
//!
//! The last word of the command line names the flash: `stm32f4`, `rp2350`, anything else is `nrf52840`; with `lockstep` the host asks
//! for the control steps. Its bytes lie in RAM that no
//! section uses, and live through a reset. What a programmer put into the board's policy slot is copied to slot A at power-on.
#![expect(
    unsafe_code,
    reason = "boards vouch for their addresses; spare RAM belongs to no section"
)]

mod clock;
mod control;
mod lockstep;
mod service;

use cortex_m::peripheral::syst::SystClkSource;
use embedded_storage::nor_flash::NorFlash as _;
use firmware::serve::converse;
use firmware::slots::nor::{NRF52840, Nor, Part, RP2350, STM32F4};
use firmware::slots::{Region, SlotFlash, Slots, policy_in};
use firmware::{Fault, Link, LinkClosed, Memory, SCRATCH_LEN, boot_on};

use crate::registers::Register;
use crate::{Board, TARGET_CLASS, budget, exceptions, semihosting, slot, stack, uart};

use control::PERIOD_US;
use service::Service;

/// What the loop needs beside a board.
///
/// # Safety
/// `TIMER` is the address of a CMSDK APB timer that counts at `MHZ`, `SPARE` that of 4 MiB of RAM which no section of the board's
/// `memory.x` uses, a multiple of 16.
pub unsafe trait Rig: Board {
    /// Address of the timer.
    const TIMER: u32;
    /// Clock of the timer and of the core, in MHz.
    const MHZ: u32;
    /// Address of the RAM.
    const SPARE: u32;
}

/// Offsets in the spare RAM.
const MARKS: u32 = 1 << 20;
const RUNNING: u32 = 2 << 20;
const RETAINED: u32 = 3 << 20;

/// Sectors of 4 KiB in a flash that has such: slots of 64 KiB.
const SECTORS: usize = 34;

/// Bytes of the policy that runs: a sector of the largest part.
const RUNNING_BYTES: usize = 128 << 10;

/// In the first retained word: the flash was written before. RAM is zero at power-on.
const WRITTEN: u32 = 0x4850_4F4C;

/// Boots the policy that the slots decide on, runs it, and serves the host until it says goodbye.
pub fn run<B: Rig>(memory: &mut Memory) -> ! {
    match semihosting::last_argument(&mut [0; 80]) {
        Some(b"stm32f4") => run_on::<B, 4, 131_072>(STM32F4, memory),
        Some(b"rp2350") => run_on::<B, 1, 4096>(RP2350, memory),
        Some(b"lockstep") => lockstep::run::<B>(memory),
        _ => run_on::<B, 4, 4096>(NRF52840, memory),
    }
}

/// `WRITE` and `ERASE` as in [`Nor`]: slots of 16 sectors ([`SECTORS`]), or of one where it is large.
fn run_on<B: Rig, const WRITE: usize, const ERASE: usize>(part: Part, memory: &mut Memory) -> ! {
    stack::guard();
    let mut wire = Wire::<B>(uart::Uart::start());
    exceptions::report_to(exceptions::Reporter::Port(uart::send::<B::Uart>));
    let Some(mut core) = cortex_m::Peripherals::take() else {
        exceptions::stop(Fault::PANIC);
    };
    let sectors = if ERASE > 4096 { 4 } else { SECTORS };
    let flash = flash::<B, WRITE, ERASE>(part, sectors * ERASE);
    clock::start::<B>();
    let begun = begin(flash, memory);
    control::start::<B>(copy::<B>(begun.file()), begun.on_trial);
    // The exception is pending from here on, and taken once the link is served.
    core.SYST.set_clock_source(SystClkSource::Core);
    core.SYST.set_reload(PERIOD_US as u32 * B::MHZ - 1);
    core.SYST.clear_current();
    control::begin();
    core.SYST.enable_counter();
    core.SYST.enable_interrupt();
    let mut service = Service::new(begun.slots);
    wire.0.release();
    // A UART cannot see that its host is gone.
    let _: Result<(), LinkClosed> = converse(&mut wire, &mut service, memory);
    semihosting::exit(0)
}

/// What the slots decided on.
struct Begun<F> {
    slots: Result<Slots<F>, Fault>,
    region: Option<Region>,
    on_trial: bool,
    /// Why nothing runs.
    fault: Option<Fault>,
}

impl<F: Mapped> Begun<F> {
    /// The policy that is to run.
    fn file(&self) -> &[u8] {
        match (&self.slots, self.region) {
            (Ok(slots), Some(region)) => slots.flash().file(region).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// Reads the records and decides.
fn begin<F: Mapped>(flash: F, memory: &mut Memory) -> Begun<F> {
    let mut slots = Slots::new(flash);
    let scratch = &mut memory.scratch;
    let started = match &mut slots {
        Ok(slots) => slots.start(|flash, region| {
            let counter = check(flash.file(region)?, scratch)?;
            Ok((region, counter))
        }),
        Err(fault) => Err(*fault),
    };
    Begun {
        slots,
        region: started.as_ref().ok().map(|started| started.armed),
        on_trial: started.as_ref().is_ok_and(|started| started.on_trial),
        fault: started.err(),
    }
}

/// Every check of a boot; the anti-rollback counter of the policy.
fn check(file: &[u8], scratch: &mut [f32; SCRATCH_LEN]) -> Result<u32, Fault> {
    boot_on(&budget::offer(), file, TARGET_CLASS, scratch)?;
    firmware::Trust::BUILT.counter(file)
}

/// The policy in a slot, as long as its header says.
fn file_in<'f, const W: usize, const E: usize>(
    flash: &'f Nor<'_, W, E>,
    region: Region,
) -> Result<&'f [u8], Fault> {
    let mapped = |length| {
        flash
            .mapped(region.offset, length)
            .ok_or(Fault::FLASH_FAILED)
    };
    let header = mapped(policy_format::HEADER_LEN as u32)?;
    let [.., a, b, c, d] = *header.first_chunk::<16>().ok_or(Fault::EMPTY_SLOT)?;
    let length = u32::from_le_bytes([a, b, c, d]);
    policy_in(mapped(length.max(header.len() as u32).min(region.length))?)
}

/// The flash in the spare RAM. At power-on it is erased but for what the programmer flashed.
fn flash<B: Rig, const WRITE: usize, const ERASE: usize>(
    part: Part,
    capacity: usize,
) -> Nor<'static, WRITE, ERASE> {
    // SAFETY: by the contract of `Rig` the RAM is mapped and belongs to no section; each piece of it is taken once, here.
    let [bytes, marks] = unsafe {
        [B::SPARE, B::SPARE + MARKS]
            .map(|at| core::slice::from_raw_parts_mut(at as *mut u8, capacity))
    };
    let written = retained::<B>(0);
    if written.read() == WRITTEN {
        return Nor::new(bytes, marks, part, clock::stall);
    }
    bytes.fill(0xFF);
    marks.fill(0);
    let mut flash = Nor::new(bytes, marks, part, clock::stall);
    let loaded = slot::loaded();
    let (whole, rest) = loaded.split_at(loaded.len() / 4 * 4);
    let mut last = [0xFF; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    // The clock stands still until the loop is started, so that this takes no time. What does not fit is no policy.
    let _ = flash.write(0, whole);
    if !rest.is_empty() {
        let _ = flash.write(whole.len() as u32, &last);
    }
    written.write(WRITTEN);
    flash
}

/// Copies the policy to where it runs from: the model of the flash keeps its own bytes to itself.
fn copy<B: Rig>(file: &[u8]) -> &'static [u8] {
    // SAFETY: as in `flash`; called once.
    let running =
        unsafe { core::slice::from_raw_parts_mut((B::SPARE + RUNNING) as *mut u8, RUNNING_BYTES) };
    match running.get_mut(..file.len()) {
        Some(place) => {
            for (to, from) in place.iter_mut().zip(file) {
                *to = *from;
            }
            place
        }
        None => &[],
    }
}

/// A word that lives through a reset.
fn retained<B: Rig>(index: u32) -> Register {
    // SAFETY: by the contract of `Rig` this is an aligned word of RAM that nothing else uses.
    unsafe { Register::at(B::SPARE + RETAINED + 4 * index) }
}

/// The link, which is polled.
struct Wire<B: Board>(uart::Uart<B::Uart>);

impl<B: Board> Link for Wire<B> {
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, LinkClosed> {
        let (Some(byte), Some(place)) = (self.0.poll(), buffer.first_mut()) else {
            return Ok(0);
        };
        *place = byte;
        Ok(1)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), LinkClosed> {
        uart::send::<B::Uart>(bytes);
        Ok(())
    }
}

/// What the service asks of the flash.
trait Mapped: SlotFlash {
    /// The policy in a slot.
    fn file(&self, region: Region) -> Result<&[u8], Fault>;
}

impl<const W: usize, const E: usize> Mapped for Nor<'_, W, E> {
    fn file(&self, region: Region) -> Result<&[u8], Fault> {
        file_in(self, region)
    }
}
