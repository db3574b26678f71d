//! The harness of the fuzz target `slots` (`tests/fuzz/harness/slots`, word for word) on a Cortex-M4F: each input gives a line that says
//! what happened, to be compared with the host's; what the harness asserts holds here too, or the guest ends with exit code 1.
//!
//! Inputs lie in the spare RAM of the board, put there by the emulator: a word with the number of bytes, the bytes, and so on at
//! multiples of four, until a word of all ones.
#![no_std]
#![no_main]
#![expect(
    unsafe_code,
    reason = "a heap that only grows, and inputs that the emulator put into memory"
)]

extern crate alloc;

pub use alloc::vec;
pub use alloc::vec::Vec;

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

use cortex_m as _;
use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};

#[allow(dead_code)]
#[path = "../../../../tests/fuzz/harness/slots/mod.rs"]
mod slots;

/// Where the inputs lie, and the heap behind them: of the 16 MiB that `memory.x` does not name.
const INPUTS: usize = 0x2100_0000;
const INPUT_BYTES: usize = 4 << 20;
const HEAP: usize = INPUTS + INPUT_BYTES;
const HEAP_BYTES: usize = 12 << 20;

/// Sixteen bytes, aligned as a slot is.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Unit([u8; 16]);

// SAFETY: bytes, without padding.
unsafe impl bytemuck::Zeroable for Unit {}
// SAFETY: as above.
unsafe impl bytemuck::Pod for Unit {}

/// Memory aligned as a slot is.
pub struct Slot {
    units: Vec<Unit>,
    length: usize,
}

impl Slot {
    /// A copy of bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let mut slot = Self {
            units: vec![Unit([0; 16]); bytes.len().div_ceil(16)],
            length: bytes.len(),
        };
        slot.bytes_mut().copy_from_slice(bytes);
        slot
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.units)[..self.length]
    }

    /// The bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.units)[..self.length]
    }
}

/// A value that is made once, on the one core that there is.
pub struct OnceLock<T>(core::cell::OnceCell<T>);

// SAFETY: one core, and no interrupt is enabled.
unsafe impl<T> Sync for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(core::cell::OnceCell::new())
    }

    /// The value.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(make)
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A heap that only grows.
struct Heap;

static USED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every piece is given out once, aligned, inside RAM that nothing else uses; one core, no interrupts.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = (HEAP + USED.load(Ordering::Relaxed)).next_multiple_of(layout.align());
        let end = start + layout.size();
        if end > HEAP + HEAP_BYTES {
            return core::ptr::null_mut();
        }
        USED.store(end - HEAP, Ordering::Relaxed);
        start as *mut u8
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP_OF_ALL: Heap = Heap;

#[entry]
fn main() -> ! {
    // SAFETY: mapped RAM that belongs to no section and was written before the core started.
    let inputs = unsafe { core::slice::from_raw_parts(INPUTS as *const u8, INPUT_BYTES) };
    let mut at = 0;
    loop {
        let (words, _) = inputs[at..].as_chunks::<4>();
        let length = u32::from_le_bytes(words[0]);
        if length == u32::MAX {
            break;
        }
        let length = length as usize;
        let input = &inputs[at + 4..at + 4 + length];
        hprintln!("{:?}", slots::examine(input));
        at = (at + 4 + length).next_multiple_of(4);
    }
    debug::exit(debug::EXIT_SUCCESS);
    loop {}
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    debug::exit(debug::EXIT_FAILURE);
    loop {}
}
