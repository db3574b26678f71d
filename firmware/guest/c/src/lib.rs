//! The control loop for C firmware: `include/hpo_control.h` is the other half of this file.
//!
//! Everything is in memory that the caller gives; nothing is allocated, nothing blocks, nothing panics.
#![no_std]
#![expect(unsafe_code, reason = "a C interface takes pointers")]

use core::mem::MaybeUninit;

use firmware::supervisor::RECORD_WORDS;
use firmware::{Command, ControlLoop, Fault, Observation, Offer, ResetCause};
use policy_format::CoreClass;

/// `HPO_CONTROL_WORDS` of the header: 64-bit words of a control loop.
const CONTROL_WORDS: usize = 1024;

/// Memory for a control loop.
#[repr(C)]
pub struct HpoControl {
    words: [MaybeUninit<u64>; CONTROL_WORDS],
}

const _: () = assert!(size_of::<ControlLoop<'static>>() <= size_of::<HpoControl>());
const _: () = assert!(align_of::<ControlLoop<'static>>() <= align_of::<HpoControl>());
const _: () = assert!(RECORD_WORDS == 6);

/// One command, as in the header.
#[repr(C)]
pub struct HpoCommand {
    control: *const f32,
    controls: usize,
    mode: u16,
    choice: u16,
    fault: u16,
    in_distribution: u8,
}

impl HpoCommand {
    fn of(command: &Command<'_>) -> Self {
        Self {
            control: command.control().as_ptr(),
            controls: command.control().len(),
            mode: command.mode(),
            choice: command.choice(),
            fault: Fault::code_of(command.fault()),
            in_distribution: command.in_distribution().into(),
        }
    }
}

/// The control loop in `control`.
///
/// # Safety
/// `control` has been through [`hpo_control_start`] and nobody else uses it during the call.
unsafe fn of<'c>(control: *mut HpoControl) -> &'c mut ControlLoop<'static> {
    // SAFETY: size and alignment suffice (asserted above), and the caller promises that it holds a loop of its own.
    unsafe { &mut *control.cast::<ControlLoop<'static>>() }
}

/// What a board has for the control step, as in the header.
#[repr(C)]
pub struct HpoOffer {
    core: u32,
    instructions: u32,
    stack_bytes: u32,
}

impl HpoOffer {
    /// `None` if there is no such class of cores.
    fn checked(&self) -> Option<Offer> {
        let cores = [
            CoreClass::Armv6M,
            CoreClass::Armv7M,
            CoreClass::Armv7EMFpu,
            CoreClass::Armv8MFpu,
        ];
        Some(Offer {
            core: cores.into_iter().find(|&core| core as u32 == self.core)?,
            instructions: self.instructions,
            stack_bytes: self.stack_bytes,
        })
    }
}

/// Boots the policy in `slot` (16-aligned, `length` bytes, unchanged for as long as `control` is used). Returns 0, or the number of
/// the fault that keeps the policy from acting.
///
/// # Safety
/// `control` points to writable memory of its type, `slot` to `length` readable bytes, `retained` to 6 words.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hpo_control_start(
    control: *mut HpoControl,
    slot: *const u8,
    length: usize,
    target_class: u32,
    watchdog_reset: i32,
    retained: *const u32,
) -> u16 {
    let cause = cause_of(watchdog_reset);
    // SAFETY: as the caller promises.
    let (control, slot, retained) = unsafe { fresh(control, slot, length, retained) };
    Fault::code_of(control.start(slot, target_class, cause, retained).err())
}

/// As [`hpo_control_start`], on a board that offers `offer`: a policy whose own budget asks for more is refused.
///
/// # Safety
/// As [`hpo_control_start`]; `offer` points to one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hpo_control_start_on(
    control: *mut HpoControl,
    offer: *const HpoOffer,
    slot: *const u8,
    length: usize,
    target_class: u32,
    watchdog_reset: i32,
    retained: *const u32,
) -> u16 {
    let cause = cause_of(watchdog_reset);
    // SAFETY: as the caller promises.
    let (control, slot, retained) = unsafe { fresh(control, slot, length, retained) };
    // SAFETY: as the caller promises.
    let Some(offer) = (unsafe { &*offer }).checked() else {
        return Fault::code_of(Some(Fault::BUDGET_CORE));
    };
    let outcome = control.start_on(&offer, slot, target_class, cause, retained);
    Fault::code_of(outcome.err())
}

const fn cause_of(watchdog_reset: i32) -> ResetCause {
    if watchdog_reset != 0 {
        ResetCause::Watchdog
    } else {
        ResetCause::Other
    }
}

/// What `at` points to, nothing where it points nowhere: C has no other list of length 0.
///
/// # Safety
/// `at` is null or points to `length` values that stay as they are.
unsafe fn list<'c, T>(at: *const T, length: usize) -> &'c [T] {
    if at.is_null() {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { core::slice::from_raw_parts(at, length) }
}

/// A control loop without a policy in `control`, and the other two pointers as what they point to.
///
/// # Safety
/// As [`hpo_control_start`].
unsafe fn fresh<'c>(
    control: *mut HpoControl,
    slot: *const u8,
    length: usize,
    retained: *const u32,
) -> (
    &'c mut ControlLoop<'static>,
    &'static [u8],
    &'c [u32; RECORD_WORDS],
) {
    // SAFETY: the caller promises memory of this size and alignment, initialised before it is referred to; `length` bytes that do not
    // change, and six words.
    unsafe {
        control
            .cast::<ControlLoop<'static>>()
            .write(ControlLoop::new());
        (
            of(control),
            list(slot, length),
            &*retained.cast::<[u32; RECORD_WORDS]>(),
        )
    }
}

/// One control step on a state of `length` floats.
///
/// # Safety
/// `control` has been started; `state` points to `length` floats, `command` to memory of its type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hpo_control_step(
    control: *mut HpoControl,
    state: *const f32,
    length: usize,
    measured_us: u64,
    now_us: u64,
    command: *mut HpoCommand,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let state = list(state, length);
        let observation = Observation::new(state, measured_us, now_us);
        command.write(HpoCommand::of(&of(control).step(&observation)));
    }
}

/// One control step without a measurement.
///
/// # Safety
/// `control` has been started; `command` points to memory of its type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hpo_control_step_without_measurement(
    control: *mut HpoControl,
    now_us: u64,
    command: *mut HpoCommand,
) {
    let observation = Observation::missing(Fault::SENSOR_FAILED, now_us);
    // SAFETY: as the caller promises.
    unsafe { command.write(HpoCommand::of(&of(control).step(&observation))) };
}

/// An operator has seen the fault.
///
/// # Safety
/// `control` has been started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hpo_control_acknowledge(control: *mut HpoControl) {
    // SAFETY: as the caller promises.
    unsafe { of(control).acknowledge() };
}

/// Writes the fault record to `retained` if it changed; returns whether it did.
///
/// # Safety
/// `control` has been started; `retained` points to 6 writable words.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hpo_control_unsaved(control: *mut HpoControl, retained: *mut u32) -> i32 {
    // SAFETY: as the caller promises.
    match unsafe { of(control).unsaved() } {
        Some(words) => {
            // SAFETY: as the caller promises.
            unsafe { retained.cast::<[u32; RECORD_WORDS]>().write(words) };
            1
        }
        None => 0,
    }
}

/// Writes the name of a fault to `text`, cut to `size` bytes with the final zero.
///
/// # Safety
/// `text` points to `size` writable bytes, or nowhere.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hpo_fault_name(fault: u16, text: *mut u8, size: usize) {
    let name = Fault::from_code(fault).map_or("None", Fault::name);
    if text.is_null() || size == 0 {
        return;
    }
    // SAFETY: as the caller promises.
    let text = unsafe { core::slice::from_raw_parts_mut(text, size) };
    let room = size.saturating_sub(1);
    let bytes = name.bytes().take(room).chain(core::iter::once(0));
    for (to, from) in text.iter_mut().zip(bytes) {
        *to = from;
    }
}

/// Every no_std library that a C program links has to name a panic handler; nothing here panics, so no linker keeps it.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
