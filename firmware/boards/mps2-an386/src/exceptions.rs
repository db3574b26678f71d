//! The last words of a processor fault: a frame to the host, then exit. Nothing hangs here.
#![expect(unsafe_code, reason = "exception handlers are unsafe functions")]

use core::sync::atomic::{AtomicUsize, Ordering};

use cortex_m_rt::exception;
use firmware::Fault;
use policy_format::message::{MAX_FRAME, Reply, encode_frame};

use crate::board::Wire;
use crate::semihosting::{self, ToHost};
use crate::uart;

const NO_LINK: usize = usize::MAX;
const UART: usize = usize::MAX - 1;

/// The link to report on: a file handle, or one of the two constants.
static LINK: AtomicUsize = AtomicUsize::new(NO_LINK);

/// Remembers the link that faults are reported on.
pub fn remember(wire: &Wire) {
    let link = match wire {
        Wire::Semihosting(files) => files.to_host().handle(),
        Wire::Uart(_) => UART,
    };
    LINK.store(link, Ordering::Relaxed);
}

/// Reports `fault` to the host and ends the emulator with its exit code.
pub fn stop(fault: Fault) -> ! {
    let mut frame = [0; MAX_FRAME];
    let reply = Reply::Error {
        fault: fault.code(),
    };
    // A zero first: the fault may have cut a frame short.
    if let Ok(length) = encode_frame(&reply, &mut frame)
        && let Some(bytes) = frame.get(..length)
    {
        match LINK.load(Ordering::Relaxed) {
            NO_LINK => {}
            UART => {
                uart::send(&[0]);
                uart::send(bytes);
            }
            handle => {
                let file = ToHost::from_handle(handle);
                // A lost host still sees the exit code.
                let _ = file.send(&[0]).and_then(|()| file.send(bytes));
            }
        }
    }
    semihosting::exit(fault.exit_code())
}

/// The hard fault handler. It first puts the stack pointer back to the top of the stack: after an
/// overflow the next push would fault again, and a fault in this handler locks the processor up. For
/// the same reason it drops the pending lazy save of the floating-point registers (FPCCR.LSPACT,
/// Armv7-M ARM B3.2.21), which the first floating-point instruction would write to the old stack.
///
/// It takes the place of cortex-m-rt's, whose entry code pushes before anything else.
// SAFETY: the name is the one cortex-m-rt's vector table refers to, and nothing else here has it.
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
        "b {report}",
        report = sym report_hard_fault,
    )
}

extern "C" fn report_hard_fault() -> ! {
    stop(Fault::HARD_FAULT)
}

// SAFETY: the handler touches no state of the interrupted code and never returns to it.
#[exception]
unsafe fn DefaultHandler(_line: i16) -> ! {
    stop(Fault::EXCEPTION)
}

/// Every no_std program has to name a panic handler. Nothing in this one panics, so the linker
/// removes it together with the rest of the panic machinery; a test looks for what is left.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    stop(Fault::PANIC)
}
