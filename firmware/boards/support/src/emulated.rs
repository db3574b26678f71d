//! An emulated board: the link is chosen at run time by the last word of the semihosting command line
//! (`semihosting` or `uart`), so that one ELF serves both.
#![expect(unsafe_code, reason = "boards vouch for their addresses")]

#[cfg(feature = "nvmc")]
use firmware::slots::SHORT_TRIAL;
use firmware::{Fault, Instruments, Link, LinkClosed, Memory};

use crate::counter::Counter;
#[cfg(not(feature = "nvmc"))]
use crate::{TARGET_CLASS, budget};
use crate::{exceptions, semihosting, slot, stack, uart};

/// An emulated board.
///
/// # Safety
/// `UART` is the address of the registers of an UART of the kind that `Uart` drives, and `UART_LINE`, the
/// number of its receive interrupt, is below the number of lines of the core. The board's `memory.x` has
/// the symbols of [`slot`] and [`stack`].
pub unsafe trait Board: 'static {
    /// The driver.
    type Uart: uart::Port;
    /// Address of its registers.
    const UART: u32;
    /// Interrupt line of a received byte.
    const UART_LINE: u16;
}

/// Boots the policy in the slot and serves the host until it says goodbye.
#[cfg(not(feature = "nvmc"))]
pub fn run<B: Board>(memory: &mut Memory) -> ! {
    let mut device = start::<B>();
    let mut controller = Err(Fault::EMPTY_SLOT);
    let scratch = &mut memory.scratch;
    budget::offer().boot_in(&mut controller, slot::loaded(), TARGET_CLASS, scratch);
    firmware::serve(&mut device, &controller, TARGET_CLASS, memory);
    semihosting::exit(0)
}

/// As [`run`], with two slots in the flash of an nRF51 with `length` bytes of it.
///
/// # Safety
/// The board has an nRF51 with so much flash.
#[cfg(feature = "nvmc")]
pub unsafe fn run_on_nvmc<B: Board>(length: u32, memory: &mut Memory) -> ! {
    let mut device = start::<B>();
    let (from, _) = slot::region();
    // SAFETY: by the contract of this function, and of `Board`: the slot belongs to no section, and nothing lies behind it.
    let flash = unsafe { crate::nvmc::Nvmc::new(from, length) };
    // QEMU has no model of the watchdog.
    let flash = crate::window::Window::new(flash, 0, || {});
    crate::in_place::serve(&mut device, flash, SHORT_TRIAL, None, true, memory);
    semihosting::exit(0)
}

/// The link that the host asked for, and the counter.
fn start<B: Board>() -> Device<B> {
    stack::guard();
    let wire = match semihosting::last_argument(&mut [0; 80]) {
        Some(b"semihosting") => semihosting::Files::open().map(Wire::<B>::Semihosting),
        // `lockstep` asks firmware with slots for what this one does in any case, over the UART.
        Some(b"uart" | b"lockstep") => Some(Wire::Uart(uart::Uart::<B::Uart>::start())),
        _ => None,
    };
    let Some(wire) = wire else {
        exceptions::stop(Fault::NO_LINK);
    };
    exceptions::report_to(match &wire {
        Wire::Semihosting(files) => exceptions::Reporter::File(files.to_host()),
        Wire::Uart(_) => exceptions::Reporter::Port(uart::send::<B::Uart>),
    });
    Device {
        wire,
        counter: Counter::start(),
    }
}

/// The link the host asked for.
enum Wire<B: Board> {
    Semihosting(semihosting::Files),
    Uart(uart::Uart<B::Uart>),
}

/// Link and instruments.
struct Device<B: Board> {
    wire: Wire<B>,
    counter: Counter,
}

impl<B: Board> Link for Device<B> {
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, LinkClosed> {
        match &mut self.wire {
            Wire::Semihosting(files) => files.receive(buffer),
            Wire::Uart(uart) => uart.receive(buffer),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), LinkClosed> {
        match &mut self.wire {
            Wire::Semihosting(files) => files.send(bytes),
            Wire::Uart(_) => {
                uart::send::<B::Uart>(bytes);
                Ok(())
            }
        }
    }
}

impl<B: Board> Instruments for Device<B> {
    fn ticks(&mut self) -> u32 {
        self.counter.ticks()
    }

    fn stack_bytes(&mut self) -> u32 {
        stack::high_water()
    }

    fn restart(&mut self) {
        cortex_m::peripheral::SCB::sys_reset();
    }
}
