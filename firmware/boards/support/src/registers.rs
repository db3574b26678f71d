//! Memory-mapped registers.
#![expect(unsafe_code, reason = "registers are reached through their addresses")]

/// A 32-bit register at a fixed address.
#[derive(Clone, Copy)]
pub struct Register(u32);

impl Register {
    /// The register at `address`.
    ///
    /// # Safety
    /// It is an aligned device register of this board that can start no transfer to memory.
    pub const unsafe fn at(address: u32) -> Self {
        Self(address)
    }

    /// Reads the register.
    #[cfg(feature = "qemu")]
    pub fn read(self) -> u32 {
        // SAFETY: by the contract of `at`, the only maker.
        unsafe { (self.0 as *const u32).read_volatile() }
    }

    /// Writes the register.
    pub fn write(self, value: u32) {
        // SAFETY: by the contract of `at`; so a write changes no Rust object.
        unsafe { (self.0 as *mut u32).write_volatile(value) }
    }
}
