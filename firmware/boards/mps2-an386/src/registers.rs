//! Memory-mapped registers.
#![expect(unsafe_code, reason = "registers are reached through their addresses")]

/// A 32-bit register at a fixed address.
#[derive(Clone, Copy)]
pub struct Register(u32);

/// UART 0 (CMSDK APB UART): data.
pub const UART_DATA: Register = Register(0x4000_4000);
/// UART 0: state; bit 0 transmitter full, bit 1 receiver full.
pub const UART_STATE: Register = Register(0x4000_4004);
/// UART 0: control; bit 0 transmit, bit 1 receive, bit 3 receive interrupt.
pub const UART_CONTROL: Register = Register(0x4000_4008);
/// UART 0: interrupt status, cleared by writing ones; bit 1 receive.
pub const UART_INTERRUPT: Register = Register(0x4000_400C);
/// UART 0: baud rate divider, at least 16.
pub const UART_DIVIDER: Register = Register(0x4000_4010);
/// Timer 0 (CMSDK APB timer): control; bit 0 enable.
pub const TIMER_CONTROL: Register = Register(0x4000_0000);
/// Timer 0: value, counts down at 25 MHz.
pub const TIMER_VALUE: Register = Register(0x4000_0004);
/// Timer 0: value loaded after 0.
pub const TIMER_RELOAD: Register = Register(0x4000_0008);
/// Memory protection unit: control; bit 0 enable, bit 2 privileged code keeps the default map.
pub const MPU_CONTROL: Register = Register(0xE000_ED94);
/// Memory protection unit: base address, bit 4 valid, low bits the region's number.
pub const MPU_BASE: Register = Register(0xE000_ED9C);
/// Memory protection unit: attributes and size of the region.
pub const MPU_ATTRIBUTES: Register = Register(0xE000_EDA0);

impl Register {
    /// Reads the register.
    pub fn read(self) -> u32 {
        // SAFETY: the only values of this type are the constants above, which are aligned device
        // registers of this board; reading any of them is defined.
        unsafe { (self.0 as *const u32).read_volatile() }
    }

    /// Writes the register.
    pub fn write(self, value: u32) {
        // SAFETY: as in `read`; no register above can start a transfer to memory, and the protection unit
        // can only take access away, so a write changes no Rust object.
        unsafe { (self.0 as *mut u32).write_volatile(value) }
    }
}
