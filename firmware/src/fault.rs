//! Numbered faults: what a device says when something is wrong.
//!
//! Numbers are stable and never reused; the high byte is the group. The host turns them back into
//! names with [`Fault::from_code`].

use core::fmt;
use core::num::NonZeroU16;

use policy_format::message::FrameError;
use policy_format::{DecideError, ErrorCode, FormatError};

/// First number of the faults that stand for a [`FormatError`]: `0x0100 + FormatError::code()`.
const FORMAT: u16 = 0x0100;

/// A fault by its stable number, which is never 0: 0 on the wire means "none".
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fault(NonZeroU16);

macro_rules! faults {
    ($($(#[$doc:meta])* $code:literal $constant:ident $name:literal;)*) => {
        impl Fault {
            $($(#[$doc])* pub const $constant: Fault = Fault(match NonZeroU16::new($code) {
                Some(code) => code,
                None => NonZeroU16::MAX,
            });)*

            /// Every fault that does not stand for a [`FormatError`].
            pub const OWN: &'static [Fault] = &[$(Fault::$constant),*];

            /// The fault's stable name. Never panics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0.get() {
                    $($code => $name,)*
                    code => match FormatError::name_of(code.wrapping_sub(FORMAT)) {
                        Some(name) => name,
                        None => "Unknown",
                    },
                }
            }
        }
    };
}

faults! {
    // 0x00xx: boot
    /// The policy slot holds nothing but zeros or erased flash where a header would be.
    0x0001 EMPTY_SLOT "EmptySlot";
    /// The policy is for another plant and actuator set than this firmware.
    0x0002 TARGET_CLASS "TargetClass";
    /// The policy does not reproduce one of its golden vectors on this core.
    0x0003 GOLDEN_MISMATCH "GoldenMismatch";
    /// The core flushes subnormal numbers to zero.
    0x0004 FLUSH_TO_ZERO "FlushToZero";
    /// The policy has a budget, but none for this class of cores.
    0x0020 BUDGET_CORE "BudgetCore";
    /// The policy needs more instructions per control step than the board offers.
    0x0021 BUDGET_INSTRUCTIONS "BudgetInstructions";
    /// The policy needs more stack than the board offers.
    0x0022 BUDGET_STACK "BudgetStack";
    // 0x02xx: control step
    /// The measured state is not finite, or not once shifted and scaled.
    0x0201 NON_FINITE_INPUT "NonFiniteInput";
    /// A value inside the policy is not finite.
    0x0202 NON_FINITE_VALUE "NonFiniteValue";
    /// The measured state does not have the policy's length.
    0x0203 WRONG_LENGTH "WrongLength";
    // 0x06xx: signatures and slots
    /// The policy is not signed, and this firmware runs signed ones only.
    0x0601 UNSIGNED "Unsigned";
    /// The policy is signed with a key that this firmware does not hold.
    0x0602 UNKNOWN_KEY "UnknownKey";
    /// The signature does not belong to the policy's bytes.
    0x0603 BAD_SIGNATURE "BadSignature";
    /// The policy's anti-rollback counter is below the one of the policy confirmed last.
    0x0604 ROLLBACK "Rollback";
    /// The policy is longer than a slot.
    0x0605 SLOT_TOO_SMALL "SlotTooSmall";
    /// The region of flash does not hold two slots and two sectors of records.
    0x0606 SLOT_LAYOUT "SlotLayout";
    /// The flash did not erase, keep or give back what it was told to.
    0x0607 FLASH_FAILED "FlashFailed";
    /// Erasing stalls the core on this part, and the loop is armed.
    0x0608 ARMED "Armed";
    /// A policy is on trial: it is confirmed or reverted before another one is installed.
    0x0609 ON_TRIAL "OnTrial";
    /// Nothing is on trial.
    0x060A NO_TRIAL "NoTrial";
    /// Bytes of an installation are missing, too many or not in order.
    0x060B INCOMPLETE "Incomplete";
    /// The policy on trial was interrupted by a reset before it was confirmed.
    0x060C TRIAL_INTERRUPTED "TrialInterrupted";
    /// The policy on trial did not reach its good periods in time.
    0x060D TRIAL_TOO_LONG "TrialTooLong";
    /// The loop stands still: no policy acts until the host arms it.
    0x060E DISARMED "Disarmed";
    // 0x05xx: supervisor
    /// A state lies outside the policy's envelope.
    0x0501 OUT_OF_ENVELOPE "OutOfEnvelope";
    /// A measurement is older than the policy allows.
    0x0502 STALE_MEASUREMENT "StaleMeasurement";
    /// The clock or a measurement's timestamp went back.
    0x0503 TIME_BACKWARDS "TimeBackwards";
    /// More time than the policy allows passed between two control steps.
    0x0504 MISSED_DEADLINE "MissedDeadline";
    /// A measurement carries the timestamp of the one before: the sensor stopped.
    0x0505 SENSOR_STOPPED "SensorStopped";
    /// Too many measurements in a row have the same bits.
    0x0506 SENSOR_FROZEN "SensorFrozen";
    /// A measurement carries a timestamp later than the present time.
    0x0507 FUTURE_MEASUREMENT "FutureMeasurement";
    /// A sensor could not be read.
    0x0508 SENSOR_FAILED "SensorFailed";
    /// An actuator did not take its command.
    0x0509 ACTUATOR_FAILED "ActuatorFailed";
    /// The state estimator has no estimate.
    0x050A ESTIMATOR_FAILED "EstimatorFailed";
    /// The policy gave a control outside its own bounds. Firmware before the one-pass check raised it; its number stays.
    0x050B INADMISSIBLE_CONTROL "InadmissibleControl";
    /// The watchdog reset the device.
    0x050C WATCHDOG_RESET "WatchdogReset";
    // 0x03xx: link
    /// More bytes than a frame may have arrived without a zero.
    0x0301 FRAME_TOO_LONG "FrameTooLong";
    /// A frame ended in the middle.
    0x0302 FRAME_CUT "FrameCut";
    /// The CRC of a frame does not match.
    0x0303 FRAME_CRC "FrameCrc";
    /// A frame holds no request of this protocol.
    0x0304 FRAME_PAYLOAD "FramePayload";
    /// A reply did not fit in a frame. No reply is that long, so no device says it; the number stays.
    0x0305 REPLY_TOO_LONG "ReplyTooLong";
    /// This firmware does not serve the request: it has no policy slots, no loop of its own, or is older than the host.
    0x0306 UNSUPPORTED "Unsupported";
    // 0x04xx: processor
    /// The processor took a hard fault.
    0x0401 HARD_FAULT "HardFault";
    /// The processor took an exception nobody handles.
    0x0402 EXCEPTION "Exception";
    /// Code that was meant to be free of panics panicked. The boards' firmware holds no such code, so none says it; for firmware of one's own.
    0x0403 PANIC "Panic";
    /// The host gave no link to serve on the command line, or its files cannot be opened.
    0x0404 NO_LINK "NoLink";
}

impl Fault {
    /// The fault's number as it goes over the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0.get()
    }

    /// The fault with this number, `None` for 0. Numbers this version does not know are kept and
    /// named `Unknown`: the device may be newer than the host.
    #[must_use]
    pub const fn from_code(code: u16) -> Option<Fault> {
        match NonZeroU16::new(code) {
            Some(code) => Some(Fault(code)),
            None => None,
        }
    }

    /// The fault that stands for a [`FormatError::code`].
    fn of_format(code: u16) -> Self {
        // 0x0100 plus any code below 0xFF00 is not zero; a wrapped sum would be, and is kept away.
        Fault(NonZeroU16::new(FORMAT.wrapping_add(code)).unwrap_or(NonZeroU16::MAX))
    }

    /// Whether the cause may pass by itself, so that a policy's rule of return applies: a measurement that was bad or
    /// late. A policy that gives nonsense, wiring, and what resets a processor do not pass. Never panics.
    #[must_use]
    pub fn is_transient(self) -> bool {
        [
            Fault::NON_FINITE_INPUT,
            Fault::OUT_OF_ENVELOPE,
            Fault::STALE_MEASUREMENT,
            Fault::TIME_BACKWARDS,
            Fault::MISSED_DEADLINE,
            Fault::SENSOR_STOPPED,
            Fault::SENSOR_FROZEN,
            Fault::FUTURE_MEASUREMENT,
            Fault::SENSOR_FAILED,
            Fault::ESTIMATOR_FAILED,
        ]
        .contains(&self)
    }

    /// The number of a fault that may be absent: 0 for `None`.
    #[must_use]
    pub fn code_of(fault: Option<Fault>) -> u16 {
        fault.map_or(0, Fault::code)
    }

    /// The exit code an emulated device ends with when it stops itself: 128 plus the number within
    /// the group, so that it is never an emulator's own code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        let [low, _] = self.0.get().to_le_bytes();
        low | 0x80
    }

    /// The processor fault (0x04xx) with this exit code. Never panics.
    #[must_use]
    pub fn from_exit_code(code: i32) -> Option<Fault> {
        Self::OWN.iter().copied().find(|fault| {
            fault.code().to_be_bytes()[0] == 0x04 && i32::from(fault.exit_code()) == code
        })
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault {:#06x} {}", self.0, self.name())
    }
}

impl From<FormatError> for Fault {
    fn from(error: FormatError) -> Self {
        Fault::of_format(error.code())
    }
}

impl From<ErrorCode> for Fault {
    fn from(error: ErrorCode) -> Self {
        Fault::of_format(error.get())
    }
}

impl From<DecideError> for Fault {
    fn from(error: DecideError) -> Self {
        match error {
            DecideError::NonFiniteInput => Fault::NON_FINITE_INPUT,
            DecideError::NonFiniteValue => Fault::NON_FINITE_VALUE,
            DecideError::WrongLength => Fault::WRONG_LENGTH,
        }
    }
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLong => Fault::FRAME_TOO_LONG,
            FrameError::Framing => Fault::FRAME_CUT,
            FrameError::Crc => Fault::FRAME_CRC,
            FrameError::Payload => Fault::FRAME_PAYLOAD,
            FrameError::Encode => Fault::REPLY_TOO_LONG,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::string::ToString;
    use std::vec::Vec;

    fn known() -> Vec<Fault> {
        (1..=u16::MAX)
            .filter_map(Fault::from_code)
            .filter(|fault| fault.name() != "Unknown")
            .collect()
    }

    #[test]
    fn each_known_number_has_its_own_name() {
        let known = known();
        let names: HashSet<_> = known.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), known.len());
        let formats = (1..=u16::MAX).filter(|&code| FormatError::name_of(code).is_some());
        assert_eq!(known.len(), Fault::OWN.len() + formats.count());
    }

    #[test]
    fn numbers_are_pinned() {
        let checksum = Fault::from(FormatError::Checksum {
            stored: 0,
            computed: 1,
        });
        assert_eq!(checksum.code(), 0x0107);
        assert_eq!(checksum.to_string(), "fault 0x0107 Checksum");
        assert_eq!(Fault::HARD_FAULT.code(), 0x0401);
        assert_eq!(Fault::code_of(None), 0);
        assert_eq!(Fault::from_code(0), None);
    }

    #[test]
    fn processor_faults_come_back_from_their_exit_codes() {
        for fault in Fault::OWN {
            let back = Fault::from_exit_code(fault.exit_code().into());
            if fault.code() >> 8 == 4 {
                assert_eq!(back, Some(*fault));
            } else {
                assert_ne!(back, Some(*fault));
            }
        }
        // What emulators and signals end with.
        assert!((0..128).all(|code| Fault::from_exit_code(code).is_none()));
    }
}
