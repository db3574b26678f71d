//! What the examples for RTIC and embassy share: the policy in the slot, sensors, one line of output per period, and the end.

#![expect(
    unsafe_code,
    reason = "the slot is reached through its address, the record by no start-up code"
)]

use core::mem::MaybeUninit;

use cortex_m_semihosting::{debug, hprintln};
use firmware::Command;
use firmware::supervisor::RECORD_WORDS;
use policy_format::RawPolicy;

/// Periods until the example ends.
pub const PERIODS: u64 = 10;
/// SysTick ticks of a period: 10 ms at 25 MHz.
pub const TICKS: u32 = 250_000;

// Where the policy is loaded to (memory.x of the board); the word behind the slot says how many bytes were loaded.
unsafe extern "C" {
    static _policy_slot: u8;
    static _policy_slot_end: u8;
}

/// The loaded policy, and its class: a board of one's own states its own class.
pub fn slot() -> (&'static [u8], u32) {
    let (start, end) = (&raw const _policy_slot, &raw const _policy_slot_end);
    // SAFETY: the region is mapped, written by the emulator before the core starts, part of no section, and nothing here
    // writes to it; the length is at most the slot's.
    let slot = unsafe {
        let loaded = end.cast::<u32>().read_volatile() as usize;
        core::slice::from_raw_parts(start, loaded.min(end as usize - start as usize))
    };
    let class = RawPolicy::parse(slot).map_or(0, |raw| raw.target_class());
    (slot, class)
}

/// The fault record, which start-up code leaves alone: a latched fault outlives a reset.
#[unsafe(link_section = ".uninit.record")]
static mut RECORD: MaybeUninit<[u32; RECORD_WORDS]> = MaybeUninit::uninit();

/// The record as the time before the reset left it; at power-on it is anything, which its CRC-32 shows.
pub fn retained() -> [u32; RECORD_WORDS] {
    // SAFETY: any bits are words, volatile since the compiler knows of no writer; nobody else is in here before the first period.
    unsafe {
        (&raw const RECORD)
            .cast::<[u32; RECORD_WORDS]>()
            .read_volatile()
    }
}

/// Keeps what changed, if something did.
pub fn save(unsaved: Option<[u32; RECORD_WORDS]>) {
    if let Some(words) = unsaved {
        // SAFETY: the one task of the loop writes, and nothing reads before the next reset.
        unsafe {
            (&raw mut RECORD)
                .cast::<[u32; RECORD_WORDS]>()
                .write_volatile(words)
        }
    }
}

/// The state in period `k` and its time in microseconds: small multiples of 1/64, exact everywhere.
pub fn measure(k: u64) -> ([f32; 8], u64) {
    let state = core::array::from_fn(|i| ((k * 7 + i as u64 * 5) % 64) as f32 / 64.0 - 0.5);
    (state, k * 10_000)
}

/// Stands for the actuators of period `k`; after the last one the example ends.
pub fn apply(k: u64, command: &Command<'_>) {
    hprintln!(
        "period {} fault {:#06x} mode {} control {:08x}",
        k - 1,
        firmware::Fault::code_of(command.fault()),
        command.mode(),
        command.control().first().map_or(0, |u| u.to_bits())
    );
    if k == PERIODS {
        debug::exit(debug::EXIT_SUCCESS);
    }
}

/// Nothing here panics on purpose; what does ends the emulator with an error.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    loop {
        debug::exit(debug::EXIT_FAILURE);
    }
}
