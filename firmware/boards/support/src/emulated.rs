//! An emulated board: the link is chosen at run time by the last word of the semihosting command line
//! (`semihosting` or `uart`), so that one ELF serves both.
#![expect(unsafe_code, reason = "boards vouch for their addresses")]

use firmware::{Fault, Instruments, Link, LinkClosed, Memory, serve};

use crate::counter::Counter;
use crate::{TARGET_CLASS, budget, exceptions, semihosting, slot, stack, uart};

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
pub fn run<B: Board>(memory: &mut Memory) -> ! {
    stack::guard();
    let wire = match semihosting::last_argument(&mut [0; 80]) {
        Some(b"semihosting") => semihosting::Files::open().map(Wire::<B>::Semihosting),
        Some(b"uart") => Some(Wire::Uart(uart::Uart::<B::Uart>::start())),
        _ => None,
    };
    let Some(wire) = wire else {
        exceptions::stop(Fault::NO_LINK);
    };
    exceptions::report_to(match &wire {
        Wire::Semihosting(files) => exceptions::Reporter::File(files.to_host()),
        Wire::Uart(_) => exceptions::Reporter::Port(uart::send::<B::Uart>),
    });
    let mut device = Device {
        wire,
        counter: Counter::start(),
    };
    let mut controller = Err(Fault::EMPTY_SLOT);
    let scratch = &mut memory.scratch;
    budget::offer().boot_in(&mut controller, slot::loaded(), TARGET_CLASS, scratch);
    serve(&mut device, &controller, TARGET_CLASS, memory);
    semihosting::exit(0)
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
}
