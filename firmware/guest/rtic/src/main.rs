//! The control step in a periodic task of RTIC: the loop is a local resource of the task, so no lock is taken and nothing is shared.
#![no_std]
#![no_main]

use cortex_m_rt as _; // the vector table

mod device;
#[path = "../../periodic.rs"]
mod periodic;

#[rtic::app(device = crate::device, peripherals = false)]
mod app {
    use cortex_m::peripheral::syst::SystClkSource;
    use cortex_m_semihosting::hprintln;
    use firmware::{ControlLoop, Observation, ResetCause};

    use crate::periodic;

    #[shared]
    struct Shared {}

    #[local]
    struct Local {
        control: &'static mut ControlLoop<'static>,
    }

    #[init(local = [memory: ControlLoop<'static> = ControlLoop::new()])]
    fn init(cx: init::Context) -> (Shared, Local) {
        let control = cx.local.memory;
        let (slot, class) = periodic::slot();
        // Line one of three: boot the policy. (A board of one's own asks what caused the reset.) Refused or not, the loop runs.
        let armed = control.start(slot, class, ResetCause::Other, &periodic::retained());
        periodic::save(control.unsaved());
        hprintln!(
            "start Other {:?} resets {}",
            armed,
            control.record().resets()
        );
        let mut timer = cx.core.SYST;
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(periodic::TICKS - 1);
        timer.clear_current();
        timer.enable_interrupt();
        timer.enable_counter();
        (Shared {}, Local { control })
    }

    #[task(binds = SysTick, priority = 1, local = [control, period: u64 = 0])]
    fn control(cx: control::Context) {
        *cx.local.period += 1;
        let (state, at) = periodic::measure(*cx.local.period);
        // Lines two and three: step, apply.
        let command = cx
            .local
            .control
            .step(&Observation::new(&state, at, at + 100));
        periodic::apply(*cx.local.period, &command);
        // What is to outlive a reset.
        periodic::save(cx.local.control.unsaved());
    }
}
