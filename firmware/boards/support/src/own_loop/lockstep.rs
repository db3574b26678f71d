//! The same slots, with control steps that the host asks for: time stands still, no operation of the flash takes any, and every answer
//! can be compared with a model's.

use firmware::serve::converse;
use firmware::slots::nor::NRF52840;
use firmware::slots::{SHORT_TRIAL, SlotSession};
use firmware::{Fault, Instruments, Link, LinkClosed, Memory};

use super::{Mapped, Rig, begin, check, copy, flash};
use crate::counter::Counter;
use crate::{Board, TARGET_CLASS, budget, exceptions, semihosting, stack, uart};

/// Boots the policy that the slots decide on, and serves the host until it says goodbye.
pub fn run<B: Rig>(memory: &mut Memory) -> ! {
    stack::guard();
    let uart = uart::Uart::<B::Uart>::start();
    exceptions::report_to(exceptions::Reporter::Port(uart::send::<B::Uart>));
    let mut device = Device::<B> {
        uart,
        counter: Counter::start(),
    };
    let begun = begin(flash::<B, 4, 4096>(NRF52840, super::SECTORS * 4096), memory);
    let file = copy::<B>(begun.file());
    let mut controller = Err(Fault::EMPTY_SLOT);
    match begun.fault {
        Some(fault) => controller = Err(fault),
        None => {
            let scratch = &mut memory.scratch;
            budget::offer().boot_in(&mut controller, file, TARGET_CLASS, scratch);
        }
    }
    let rule = begun.on_trial.then_some(SHORT_TRIAL);
    let mut session = SlotSession::new(
        &mut device,
        &controller,
        begun.slots,
        rule,
        TARGET_CLASS,
        |flash, region, scratch| check(Mapped::file(flash, region)?, scratch),
    );
    // A UART cannot see that its host is gone.
    let _: Result<(), LinkClosed> = converse(&mut device, &mut session, memory);
    semihosting::exit(0)
}

struct Device<B: Board> {
    uart: uart::Uart<B::Uart>,
    counter: Counter,
}

impl<B: Board> Link for Device<B> {
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, LinkClosed> {
        self.uart.receive(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), LinkClosed> {
        uart::send::<B::Uart>(bytes);
        Ok(())
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
