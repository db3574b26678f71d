//! The instruction set that kernels are run with: the best one of this machine.

use std::sync::atomic::{AtomicU8, Ordering};

use pulp::Arch;

/// 0: not looked yet; else one more than the number of an instruction set.
static CHOSEN: AtomicU8 = AtomicU8::new(0);

/// The instruction sets of this machine that kernels are compiled for, slowest first, with their names.
#[must_use]
pub fn available() -> Vec<(&'static str, Arch)> {
    let mut found = vec![("scalar", Arch::Scalar)];
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(simd) = pulp::x86::V3::try_new() {
            found.push(("avx2", Arch::V3(simd)));
        }
        if let Some(simd) = pulp::x86::V4::try_new() {
            found.push(("avx512", Arch::V4(simd)));
        }
    }
    #[cfg(target_arch = "aarch64")]
    if let Some(simd) = pulp::aarch64::Neon::try_new() {
        found.push(("neon", Arch::Neon(simd)));
    }
    found
}

/// The instruction set of kernels.
#[inline]
#[must_use]
pub fn arch() -> Arch {
    match CHOSEN.load(Ordering::Relaxed) {
        0 => Arch::new(),
        chosen => pick(chosen),
    }
}

/// The instruction set of kernels, with its name.
#[must_use]
pub fn used() -> (&'static str, Arch) {
    let mut found = available();
    match CHOSEN.load(Ordering::Relaxed) {
        0 => found.pop().unwrap_or(("scalar", Arch::Scalar)),
        chosen => found.swap_remove(usize::from(chosen) - 1),
    }
}

#[cold]
fn pick(chosen: u8) -> Arch {
    available()[usize::from(chosen) - 1].1
}

/// Runs kernels with the instruction set at `index` of [`available`] from now on, in the whole process;
/// `None` goes back to the best one. The result of no kernel depends on it.
///
/// # Panics
/// If there is no such instruction set.
pub fn choose(index: Option<usize>) {
    let chosen = index.map_or(0, |index| {
        assert!(index < available().len(), "instruction set {index}");
        index as u8 + 1
    });
    CHOSEN.store(chosen, Ordering::Relaxed);
}
