//! The control loop on bare metal, with everything that can go wrong: a hang ends in the watchdog, a hard fault drives the
//! safe output, and after either reset the fallback law acts from the first period on.
//!
//! The board (`board.rs`) implements the traits of `firmware::hal`; the loop itself is three lines. The last word of the
//! semihosting command line says which fault to bring about in the sixth period of the first start: `none`, `hang`,
//! `hardfault`, or `stack`, a stack pointer that leads nowhere. Each period prints one line, so that a test can read what happened.
#![no_std]
#![no_main]

mod board;
mod faults;

use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use firmware::{ControlLoop, RetainedMemory};

use board::Board;

/// Periods of each start.
const PERIODS: u32 = 10;
/// The period in which the first start goes wrong.
const BREAKS_IN: u32 = 5;

#[entry]
fn main() -> ! {
    static mut CONTROL: ControlLoop<'static> = ControlLoop::new();

    let mut board = Board::take();
    let cause = board.reset_cause();
    let retained = board.load();
    let slot = board::slot();
    // Line one of three: boot the policy, take up the fault record.
    let armed = CONTROL.start(slot, board::target_class(slot), cause, &retained);
    if let Some(words) = CONTROL.unsaved() {
        board.store(&words);
    }
    if let Ok(armed) = CONTROL.controller() {
        faults::set_safe_output(armed.policy().fallback_law().constant);
    }
    let record = CONTROL.record();
    hprintln!("start {:?} {:?} resets {}", cause, armed, record.resets());
    let first_start = record.resets() == 0;
    board.start_watchdog();
    for period in 0..PERIODS {
        if period == PERIODS / 2 && !first_start {
            CONTROL.acknowledge();
        }
        if period == BREAKS_IN && first_start {
            board.break_down();
        }
        // Lines two and three: measure, step, apply, save faults, feed the watchdog. (`step` and `apply` on their own, where
        // sensors and actuators belong to an executor's tasks.)
        let command = CONTROL.cycle(&mut board);
        hprintln!(
            "period {} fault {:#06x} mode {} control {:08x}",
            period,
            firmware::Fault::code_of(command.fault()),
            command.mode(),
            board::output(0)
        );
    }
    board.stop_watchdog();
    let words = board.load();
    hprintln!("record {:08x?}", words);
    debug::exit(debug::EXIT_SUCCESS);
    loop {
        cortex_m::asm::wfi();
    }
}
