//! What happens when the processor cannot go on: the safe output first, then a record, then a reset.
#![expect(unsafe_code, reason = "exception handlers are unsafe functions")]

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m_rt::exception;
use cortex_m_semihosting::hprintln;
use firmware::Fault;
use firmware::supervisor::FaultRecord;

use crate::board;

/// Bits of the safe control: the fallback law's constant; zero until a policy is armed.
static SAFE: [AtomicU32; 8] = [const { AtomicU32::new(0) }; 8];

/// Sets what the handlers drive the actuators with.
pub fn set_safe_output(constant: &[f32]) {
    for (safe, value) in SAFE.iter().zip(constant) {
        safe.store(value.to_bits(), Ordering::Relaxed);
    }
}

/// The one way to an actuator beside the supervisor's: a constant that boot has validated.
fn drive_safe_output() {
    for (actuator, safe) in SAFE.iter().enumerate() {
        board::drive(actuator, safe.load(Ordering::Relaxed));
    }
}

/// Begins with a stack of its own: after an overflow the next push would fault again, and a fault in this handler locks the processor up before
/// anything is driven. For the same reason the pending save of the floating-point registers is dropped (FPCCR.LSPACT); cores without an FPU ignore
/// the write. In place of cortex-m-rt's entry code, which pushes first.
// SAFETY: the name is the one cortex-m-rt's vector table refers to, and nothing else here has it. It touches no state of the
// interrupted code, and never returns to it.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn HardFault() -> ! {
    core::arch::naked_asm!(
        "ldr r0, =_stack_start",
        "msr msp, r0",
        "ldr r0, =0xE000EF34",
        "ldr r1, [r0]",
        "bic r1, r1, #1",
        "str r1, [r0]",
        "dsb",
        "isb",
        "b {rest}",
        rest = sym hard_fault,
    )
}

extern "C" fn hard_fault() -> ! {
    drive_safe_output();
    let mut record = FaultRecord::load(&board::retained_record());
    record.note_reset(Fault::HARD_FAULT);
    board::retain_record(&record.words());
    board::forget_watchdog();
    hprintln!("hardfault control {:08x}", board::output(0));
    cortex_m::peripheral::SCB::sys_reset()
}

// The watchdog's first bite. Whatever hangs, hangs below this: the output is safe before the reset comes.
#[exception]
unsafe fn NonMaskableInt() -> ! {
    drive_safe_output();
    hprintln!("watchdog control {:08x}", board::output(0));
    loop {
        cortex_m::asm::nop();
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    cortex_m::asm::udf()
}
