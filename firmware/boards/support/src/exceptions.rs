//! The last words of a processor fault: a frame to the host, then the end. Nothing hangs here.
#![expect(unsafe_code, reason = "exception handlers are unsafe functions")]

use core::cell::Cell;

use cortex_m::interrupt::Mutex;
use cortex_m_rt::exception;
use firmware::Fault;
use policy_format::message::{MAX_FRAME, Reply, encode_frame};

/// The way of the last words to the host.
#[derive(Clone, Copy)]
pub enum Reporter {
    /// There is none yet.
    Nobody,
    /// A file of the host.
    #[cfg(feature = "qemu")]
    File(crate::semihosting::ToHost),
    /// A function that sends all bytes without interrupts.
    Port(fn(&[u8])),
}

static REPORTER: Mutex<Cell<Reporter>> = Mutex::new(Cell::new(Reporter::Nobody));

/// Remembers the link that faults are reported on.
pub fn report_to(reporter: Reporter) {
    cortex_m::interrupt::free(|cs| REPORTER.borrow(cs).set(reporter));
}

/// Reports `fault` to the host, then ends: an emulated board with the fault's exit code, a real one by a
/// reset, after which its outputs are what they are at power-on.
pub fn stop(fault: Fault) -> ! {
    let mut frame = [0; MAX_FRAME];
    let reply = Reply::Error {
        fault: fault.code(),
    };
    // A zero first: the fault may have cut a frame short.
    if let Ok(length) = encode_frame(&reply, &mut frame)
        && let Some(bytes) = frame.get(..length)
    {
        match cortex_m::interrupt::free(|cs| REPORTER.borrow(cs).get()) {
            Reporter::Nobody => {}
            #[cfg(feature = "qemu")]
            Reporter::File(file) => {
                // A lost host still sees the exit code.
                let _ = file.send(&[0]).and_then(|()| file.send(bytes));
            }
            Reporter::Port(send) => {
                send(&[0]);
                send(bytes);
            }
        }
    }
    end(fault)
}

#[cfg(feature = "qemu")]
fn end(fault: Fault) -> ! {
    crate::semihosting::exit(fault.exit_code())
}

#[cfg(not(feature = "qemu"))]
fn end(_: Fault) -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}

/// The hard fault handler. It first puts the stack pointer back to the top of the stack: after an
/// overflow the next push would fault again, and a fault in this handler locks the processor up. For
/// the same reason it drops the pending lazy save of the floating-point registers (FPCCR.LSPACT,
/// Armv7-M ARM B3.2.21), which the first floating-point instruction would write to the old stack; cores
/// without an FPU ignore the write.
///
/// It takes the place of cortex-m-rt's, whose entry code pushes before anything else.
#[cfg(not(armv6m))]
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

/// The same without an FPU, in the instructions of Armv6-M.
#[cfg(armv6m)]
// SAFETY: the name is the one cortex-m-rt's vector table refers to, and nothing else here has it.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn HardFault() -> ! {
    core::arch::naked_asm!(
        "ldr r0, =_stack_start",
        "msr msp, r0",
        "ldr r0, ={report}",
        "bx r0",
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

/// The interrupt vectors, of which one is enough: an emulated board handles no interrupt, it only wakes by a
/// line that stays masked. cortex-m-rt's own table has 240.
#[cfg(feature = "qemu")]
// SAFETY: name and place are those that cortex-m-rt's `device` feature asks for.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".vector_table.interrupts")]
static __INTERRUPTS: [unsafe extern "C" fn() -> !; 1] = [HardFault];

/// Every no_std program has to name a panic handler. Nothing in this one panics, so the linker
/// removes it together with the rest of the panic machinery; a test looks for what is left.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    stop(Fault::PANIC)
}
