//! The board as the firmware library sees it: a link and instruments.

use firmware::{Instruments, Link, LinkClosed};

use crate::semihosting::Files;
use crate::stack;
use crate::timer::Timer;
use crate::uart::Uart;

/// The link the host asked for.
pub enum Wire {
    /// Two files of the host.
    Semihosting(Files),
    /// UART 0.
    Uart(Uart),
}

/// Link and instruments.
pub struct Board {
    /// The link.
    pub wire: Wire,
    /// The counter.
    pub timer: Timer,
}

impl Link for Board {
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, LinkClosed> {
        match &mut self.wire {
            Wire::Semihosting(files) => files.receive(buffer),
            Wire::Uart(uart) => uart.receive(buffer),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), LinkClosed> {
        match &mut self.wire {
            Wire::Semihosting(files) => files.send(bytes),
            Wire::Uart(uart) => {
                uart.send(bytes);
                Ok(())
            }
        }
    }
}

impl Instruments for Board {
    fn ticks(&mut self) -> u32 {
        self.timer.ticks()
    }

    fn stack_bytes(&mut self) -> u32 {
        stack::high_water()
    }
}
