//! The board: clock, sensors, actuators, retained memory and watchdog of the machine that the feature names.
#![expect(
    unsafe_code,
    reason = "registers and retained words are reached through their addresses"
)]

use core::convert::Infallible;
use core::mem::MaybeUninit;

use cortex_m_semihosting::{nr, syscall1};
use firmware::supervisor::RECORD_WORDS;
use firmware::{Actuators, Clock, Command, ResetCause, RetainedMemory, Sensors, Watchdog};
use policy_format::RawPolicy;

/// Base of the CMSDK APB watchdog, which counts down: reaching 0 raises the NMI, reaching it once more resets. Ticks: 20 ms from a
/// feed to the NMI, and 20 ms more to the reset.
const WATCHDOG: (u32, u32) = if cfg!(feature = "mps2-an505") {
    // The secure watchdog, at the system clock of 20 MHz.
    (0x5008_1000, 400_000)
} else if cfg!(feature = "mps3-an547") {
    // The watchdog at the slow clock of 32,768 Hz; QEMU has no model of the two at the system clock.
    (0x4802_E000, 655)
} else {
    // mps2-an385, an386 and an500, at 25 MHz.
    (0x4000_8000, 500_000)
};
const WATCHDOG_LOAD: u32 = WATCHDOG.0;
const WATCHDOG_CONTROL: u32 = WATCHDOG.0 + 0x08;
const WATCHDOG_CLEAR: u32 = WATCHDOG.0 + 0x0C;
const WATCHDOG_LOCK: u32 = WATCHDOG.0 + 0xC00;
const WATCHDOG_KEY: u32 = 0x1ACC_E551;
const WATCHDOG_TICKS: u32 = WATCHDOG.1;

// Where the policy is loaded to (memory.x of the board); the word behind the slot says how many bytes were loaded.
unsafe extern "C" {
    static _policy_slot: u8;
    static _policy_slot_end: u8;
}

/// One period.
const PERIOD_US: u64 = 10_000;

/// What start-up code does not write and a reset does not touch.
#[repr(C)]
struct Retained {
    record: [u32; RECORD_WORDS],
    /// [`RUNNING`] while the watchdog runs, so that a start can tell who caused it.
    watchdog: u32,
    /// The actuators' registers; real ones keep their value through a reset of the core as well.
    outputs: [u32; 8],
}

const RUNNING: u32 = 0x5741_5443;

#[unsafe(link_section = ".uninit.retained")]
static mut RETAINED: MaybeUninit<Retained> = MaybeUninit::uninit();

/// Address of a retained word: of the record, the watchdog's mark or the outputs.
fn retained(index: usize) -> *mut u32 {
    let words = size_of::<Retained>() / 4;
    // The remainder keeps the address inside the static.
    (&raw mut RETAINED)
        .cast::<u32>()
        .wrapping_add(index % words)
}

fn read(register: u32) -> u32 {
    // SAFETY: callers pass the constants above, aligned device registers of this board.
    unsafe { (register as *const u32).read_volatile() }
}

fn write(register: u32, value: u32) {
    // SAFETY: as in `read`; none of them starts a transfer to memory.
    unsafe { (register as *mut u32).write_volatile(value) }
}

fn load(index: usize) -> u32 {
    // SAFETY: `retained` gives an aligned word inside the static; any bits are a `u32`. Volatile: the compiler knows of no
    // writer before the reset.
    unsafe { retained(index).read_volatile() }
}

fn store(index: usize, value: u32) {
    // SAFETY: as in `load`; only this module touches the static, and never through a reference.
    unsafe { retained(index).write_volatile(value) }
}

/// Drives one actuator. Only [`Actuators::apply`] and the fault handlers come here.
pub fn drive(actuator: usize, bits: u32) {
    if actuator < 8 {
        store(RECORD_WORDS + 1 + actuator, bits);
    }
}

/// What an actuator is driven with.
pub fn output(actuator: usize) -> u32 {
    load(RECORD_WORDS + 1 + actuator)
}

/// The fault record's words, for the fault handlers.
pub fn retained_record() -> [u32; RECORD_WORDS] {
    core::array::from_fn(load)
}

/// Replaces them.
pub fn retain_record(words: &[u32; RECORD_WORDS]) {
    for (index, &word) in words.iter().enumerate() {
        store(index, word);
    }
}

/// A deliberate reset follows: it is not the watchdog's.
pub fn forget_watchdog() {
    store(RECORD_WORDS, 0);
}

/// The loaded policy.
pub fn slot() -> &'static [u8] {
    let (start, end) = (&raw const _policy_slot, &raw const _policy_slot_end);
    let loaded = read(end as u32) as usize;
    // SAFETY: the region is mapped, written by the emulator before the core starts, part of no section, and nothing here
    // writes to it; the length is at most the slot's.
    unsafe { core::slice::from_raw_parts(start, loaded.min(end as usize - start as usize)) }
}

/// This demonstration runs whatever policy it is given; firmware for a machine states its own class.
pub fn target_class(slot: &[u8]) -> u32 {
    RawPolicy::parse(slot).map_or(0, |raw| raw.target_class())
}

/// The last word of the command line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breakdown {
    None,
    Hang,
    HardFault,
    Stack,
}

/// The board.
pub struct Board {
    breakdown: Breakdown,
    periods: u64,
}

impl Board {
    /// Reads the command line.
    pub fn take() -> Self {
        let mut text = [0_u8; 80];
        let mut block = [text.as_mut_ptr() as usize, text.len()];
        // SAFETY: GET_CMDLINE writes at most `block[1]` bytes to `text`, and the line's length to `block[1]`.
        unsafe { syscall1(nr::GET_CMDLINE, block.as_mut_ptr() as usize) };
        let length = core::hint::black_box(block)[1].min(text.len());
        let line = &core::hint::black_box(&text)[..length];
        let breakdown = if line.ends_with(b"hang") {
            Breakdown::Hang
        } else if line.ends_with(b"hardfault") {
            Breakdown::HardFault
        } else if line.ends_with(b"stack") {
            Breakdown::Stack
        } else {
            Breakdown::None
        };
        Self {
            breakdown,
            periods: 0,
        }
    }

    /// Who caused this start.
    pub fn reset_cause(&self) -> ResetCause {
        if load(RECORD_WORDS) == RUNNING {
            ResetCause::Watchdog
        } else {
            ResetCause::Other
        }
    }

    /// Starts the watchdog.
    pub fn start_watchdog(&mut self) {
        store(RECORD_WORDS, RUNNING);
        write(WATCHDOG_LOCK, WATCHDOG_KEY);
        write(WATCHDOG_LOAD, WATCHDOG_TICKS);
        write(WATCHDOG_CONTROL, 0b11);
        write(WATCHDOG_LOCK, 0);
    }

    /// Stops it, for a program that ends.
    pub fn stop_watchdog(&mut self) {
        write(WATCHDOG_LOCK, WATCHDOG_KEY);
        write(WATCHDOG_CONTROL, 0);
        forget_watchdog();
    }

    /// What the command line asks for.
    pub fn break_down(&mut self) {
        match self.breakdown {
            Breakdown::None => {}
            Breakdown::Hang => loop {
                cortex_m::asm::nop();
            },
            Breakdown::HardFault => cortex_m::asm::udf(),
            // As behind an overflow: nothing can be pushed any more, not even by the fault.
            // SAFETY: nothing comes back, and the fault that follows starts a stack of its own.
            Breakdown::Stack => unsafe {
                core::arch::asm!(
                    "mov sp, {nowhere}",
                    "push {{r0}}",
                    "udf #0",
                    nowhere = in(reg) 0xF000_0000_u32,
                    options(noreturn)
                )
            },
        }
    }
}

impl Clock for Board {
    fn now_us(&mut self) -> u64 {
        // A period is waited for by the sensor below; time within it does not matter here.
        self.periods * PERIOD_US + 100
    }
}

impl Sensors for Board {
    type Error = Infallible;

    fn read(&mut self, measured: &mut [f32]) -> Result<u64, Infallible> {
        self.periods += 1;
        for (i, value) in measured.iter_mut().enumerate() {
            // Small multiples of 1/64, exact everywhere.
            let k = (self.periods * 7 + i as u64 * 5) % 64;
            *value = k as f32 / 64.0 - 0.5;
        }
        Ok(self.periods * PERIOD_US)
    }
}

impl Actuators for Board {
    type Error = Infallible;

    fn apply(&mut self, command: &Command<'_>) -> Result<(), Infallible> {
        for actuator in 0..8 {
            let value = command.control().get(actuator).copied().unwrap_or(0.0);
            drive(actuator, value.to_bits());
        }
        Ok(())
    }
}

impl RetainedMemory for Board {
    fn load(&mut self) -> [u32; RECORD_WORDS] {
        retained_record()
    }

    fn store(&mut self, words: &[u32; RECORD_WORDS]) {
        retain_record(words);
    }
}

impl Watchdog for Board {
    fn feed(&mut self) {
        write(WATCHDOG_LOCK, WATCHDOG_KEY);
        // Any value clears the interrupt and loads the counter again.
        write(WATCHDOG_CLEAR, 1);
        write(WATCHDOG_LOCK, 0);
    }
}
