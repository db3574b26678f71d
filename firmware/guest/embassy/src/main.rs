//! The control step in a task of embassy's executor, which a timer wakes once a period: nothing in the step awaits, so the loop belongs
//! to the task and no lock is held across an await.
#![no_std]
#![no_main]

#[path = "../../periodic.rs"]
mod periodic;

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;
use cortex_m_semihosting::hprintln;
use embassy_executor::Spawner;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::signal::Signal;
use firmware::{ControlLoop, Observation, ResetCause};
use static_cell::ConstStaticCell;

static CONTROL: ConstStaticCell<ControlLoop<'static>> = ConstStaticCell::new(ControlLoop::new());
/// A period has begun. With a HAL that has a time driver: a `Ticker` of embassy-time.
static TICK: Signal<CriticalSectionRawMutex, ()> = Signal::new();

#[exception]
fn SysTick() {
    TICK.signal(());
}

#[embassy_executor::task]
async fn control(control: &'static mut ControlLoop<'static>) {
    for period in 1.. {
        TICK.wait().await;
        let (state, at) = periodic::measure(period);
        // Lines two and three: step, apply.
        let command = control.step(&Observation::new(&state, at, at + 100));
        periodic::apply(period, &command);
        // What is to outlive a reset.
        periodic::save(control.unsaved());
    }
}

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    let loop_of_this_task = CONTROL.take();
    let (slot, class) = periodic::slot();
    // Line one of three: boot the policy. (A board of one's own asks what caused the reset.) Refused or not, the loop runs.
    let armed = loop_of_this_task.start(slot, class, ResetCause::Other, &periodic::retained());
    periodic::save(loop_of_this_task.unsaved());
    let resets = loop_of_this_task.record().resets();
    hprintln!("start Other {:?} resets {}", armed, resets);
    // No board crate takes the core's peripherals before.
    if let Some(core) = cortex_m::Peripherals::take() {
        let mut timer = core.SYST;
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(periodic::TICKS - 1);
        timer.clear_current();
        timer.enable_interrupt();
        timer.enable_counter();
    }
    match control(loop_of_this_task) {
        Ok(task) => spawner.spawn(task),
        Err(error) => hprintln!("{:?}", error),
    }
}
