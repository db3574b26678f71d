//! A policy into the slot of a running device, over its link: resumed where it was broken off, never in the way of what runs.

use std::time::Duration;

use firmware::Fault;
use firmware::signature::security_counter;
use policy_format::message::{MAX_DATA, Reply, Request, SlotRequest, SlotStatus};
use policy_format::{RawPolicy, SectionId};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::session::Session;
use super::transport::Transport;
use crate::export::PolicyBuffer;
use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// Times that the installation is begun again because the device expects other bytes.
const RESYNCS: u32 = 8;

/// How to install.
#[derive(Clone, Copy, Debug)]
pub struct PushOptions {
    /// Disarm the loop where the device cannot erase while it runs; it is armed again before the bytes are sent, as is one that
    /// was left disarmed.
    pub disarm: bool,
    /// Let the device start anew at the end, so that it tries the policy.
    pub restart: bool,
    /// Longest wait for one answer. Erasing a slot takes some parts many seconds.
    pub patience: Duration,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PushReport {
    /// Bytes of the policy.
    pub bytes: u32,
    /// Bytes that were in place when this began, from an earlier push that was broken off.
    pub resumed_at: u32,
    /// Bytes that this push sent.
    pub sent: u32,
    /// CRC-32 in the policy's header.
    pub policy_crc32: u32,
    /// The policy was there: it runs, or waits for the next start.
    pub already: bool,
    /// The loop was disarmed while the slot was erased, or was found disarmed, and was armed again.
    pub disarmed: bool,
    /// The device starts anew.
    pub restarted: bool,
}

/// Installs a policy beside the one that runs. `progress` gets bytes in place and bytes of the policy.
///
/// A push that was interrupted, for whatever reason, goes on when the same policy is pushed again. Whatever is refused, what runs is untouched.
///
/// # Errors
/// [`Error::Usage`] if the bytes are no policy; [`Error::Negative`] with the name of the fault if the device refuses it;
/// [`Error::Environment`] if the device is gone, does not answer, or has no slots.
pub fn push<D: Transport>(
    session: &mut Session<D>,
    policy: &[u8],
    options: PushOptions,
    progress: &mut dyn FnMut(u32, u32),
) -> Result<PushReport> {
    // Sections are read where they lie, aligned.
    let file = PolicyBuffer::new(policy);
    let raw = RawPolicy::parse(file.bytes()).map_err(|e| Error::Usage(format!("policy: {e}")))?;
    let crc32 = raw.crc32();
    let class = raw.target_class();
    let bytes = u32::try_from(policy.len())
        .map_err(|_| Error::Usage("policy: more than 4 GiB".to_owned()))?;
    let counter =
        security_counter(file.bytes()).map_err(|fault| Error::Usage(fault.to_string()))?;
    let signed = raw.section(SectionId::SIGNATURE).is_some();
    let mut host = Host { session, options };
    let status = host.ask(&SlotRequest::Status)?;
    let armed = host.arm_again(&status)?;
    let mut report = PushReport {
        bytes,
        resumed_at: 0,
        sent: 0,
        policy_crc32: crc32,
        already: false,
        disarmed: armed,
        restarted: false,
    };
    let waits = status.other == 1 && status.other_crc32 == crc32;
    let runs = status.running != 0 && host.session.hello().policy_crc32 == crc32;
    if waits || runs {
        report.already = true;
        report.restarted = options.restart && waits;
        return host.restart(report.restarted).map(|()| report);
    }
    // Said by the device as well; here with both numbers, and before the running loop is disturbed.
    let target = host.session.hello().target_class;
    if class != target {
        let what = format!("it is for class {class}, the firmware for {target}");
        return Err(refused(Fault::TARGET_CLASS, &what));
    }
    if bytes > status.slot_bytes {
        let what = format!("it has {bytes} bytes, a slot {}", status.slot_bytes);
        return Err(refused(Fault::SLOT_TOO_SMALL, &what));
    }
    // An unsigned policy has no counter: the device says whether it is that, or the floor, for which it does not run.
    if signed && counter < status.floor {
        let what = format!(
            "its anti-rollback counter is {counter}, the device takes {} and above",
            status.floor
        );
        return Err(refused(Fault::ROLLBACK, &what));
    }
    let hash = Sha256::digest(policy);
    let half = |at: usize| u32::from_le_bytes([hash[at], hash[at + 1], hash[at + 2], hash[at + 3]]);
    let begin = SlotRequest::Begin {
        length: bytes,
        digest: (half(0), half(4)),
        target_class: class,
    };
    let mut status = host.begin_file(&begin, &mut report)?;
    report.resumed_at = status.in_place;
    let mut resyncs = 0;
    loop {
        progress(status.in_place, bytes);
        let rest = policy.get(status.in_place as usize..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        let length = rest.len().min(MAX_DATA);
        let write = SlotRequest::Write {
            offset: status.in_place,
            data: rest.iter().copied().take(length).collect(),
        };
        match host.try_ask(&write)? {
            Ok(next) => {
                // Else the loop would not end, or end with a file that is not there.
                if next.in_place <= status.in_place || next.in_place > bytes {
                    return Err(Error::Environment(format!(
                        "the device says that {} of {bytes} bytes are in place, behind {} and {length} more",
                        next.in_place, status.in_place
                    )));
                }
                report.sent += length as u32;
                status = next;
            }
            // The device started anew, or another host was there.
            Err(Fault::INCOMPLETE | Fault::FLASH_FAILED) if resyncs < RESYNCS => {
                resyncs += 1;
                status = host.begin_file(&begin, &mut report)?;
            }
            Err(fault) => return Err(refused(fault, "while it was written")),
        }
    }
    host.ask(&SlotRequest::Finish)?;
    report.restarted = options.restart;
    host.restart(report.restarted)?;
    Ok(report)
}

struct Host<'s, D> {
    session: &'s mut Session<D>,
    options: PushOptions,
}

impl<D: Transport> Host<'_, D> {
    /// Asks; the device's answer or the fault by which it refuses.
    fn try_ask(&mut self, request: &SlotRequest) -> Result<std::result::Result<SlotStatus, Fault>> {
        let request = Request::Slots(request.clone());
        match self.session.insist(&request, self.options.patience)? {
            Reply::Slots(status) => Ok(Ok(status)),
            Reply::Error { fault } => match Fault::from_code(fault) {
                Some(Fault::UNSUPPORTED) | None => Err(Error::Environment(
                    "this firmware has no policy slots: build it with hpo firmware BOARD --slots, and flash it".into(),
                )),
                Some(fault) => Ok(Err(fault)),
            },
            other => Err(Error::Environment(format!(
                "the device sent {other:?} in place of its slots"
            ))),
        }
    }

    fn ask(&mut self, request: &SlotRequest) -> Result<SlotStatus> {
        self.try_ask(request)?.map_err(|fault| refused(fault, ""))
    }

    /// Arms a loop that an earlier push left standing, broken off before it could, whatever comes of this one. Whether it did.
    fn arm_again(&mut self, status: &SlotStatus) -> Result<bool> {
        let stands = self.options.disarm && !status.armed && status.running != 0;
        if stands {
            self.ask(&SlotRequest::Arm)?;
        }
        Ok(stands)
    }

    /// Begins or goes on; where the loop must not be armed for that, and may be disarmed, it is armed again afterwards.
    fn begin(&mut self, begin: &SlotRequest, report: &mut PushReport) -> Result<SlotStatus> {
        match self.try_ask(begin)? {
            Ok(status) => Ok(status),
            Err(Fault::ARMED) if self.options.disarm => {
                report.disarmed = true;
                self.ask(&SlotRequest::Disarm)?;
                let begun = self.ask(begin);
                // Whatever came of it, the loop is not left standing.
                let armed = self.ask(&SlotRequest::Arm);
                let status = begun?;
                armed.map(|_| status)
            }
            Err(Fault::ARMED) => Err(refused(
                Fault::ARMED,
                "the core stands still while its flash erases, and the loop runs: let it be disarmed for that (--disarm), or erase the slot beforehand (hpo push --prepare)",
            )),
            Err(fault) => Err(refused(fault, "")),
        }
    }

    /// As [`Host::begin`], for the file of `report`: what the device says is in place of it cannot be more than all of it.
    fn begin_file(&mut self, begin: &SlotRequest, report: &mut PushReport) -> Result<SlotStatus> {
        let status = self.begin(begin, report)?;
        if status.in_place > report.bytes {
            return Err(Error::Environment(format!(
                "the device says that {} of {} bytes are in place before any was sent",
                status.in_place, report.bytes
            )));
        }
        Ok(status)
    }

    fn restart(&mut self, wanted: bool) -> Result<()> {
        if wanted {
            self.ask(&SlotRequest::Disarm)?;
            self.ask(&SlotRequest::Restart)?;
        }
        Ok(())
    }
}

/// Erases the slot to install to, so that a push goes through while the loop is armed. Disarms the loop for that if `options` allow it, and
/// arms it again.
///
/// # Errors
/// As [`push`].
pub fn prepare<D: Transport>(session: &mut Session<D>, options: PushOptions) -> Result<()> {
    let mut host = Host { session, options };
    let status = host.ask(&SlotRequest::Status)?;
    host.arm_again(&status)?;
    let mut report = PushReport {
        bytes: 0,
        resumed_at: 0,
        sent: 0,
        policy_crc32: 0,
        already: false,
        disarmed: false,
        restarted: false,
    };
    host.begin(&SlotRequest::Prepare, &mut report).map(|_| ())
}

fn refused(fault: Fault, what: &str) -> Error {
    let what = match what {
        "" => explain(fault),
        what => what,
    };
    let colon = if what.is_empty() { "" } else { ": " };
    Error::Negative(format!(
        "the device refuses the policy, {fault}{colon}{what}; what runs is untouched"
    ))
}

/// What a fault means to whoever pushes.
fn explain(fault: Fault) -> &'static str {
    match fault {
        Fault::UNSIGNED => "it is not signed, and this firmware runs signed policies only",
        Fault::UNKNOWN_KEY => "it is signed with a key that this firmware does not hold",
        Fault::BAD_SIGNATURE => "its signature does not belong to its bytes",
        Fault::ROLLBACK => "its anti-rollback counter is below the one of the confirmed policy",
        Fault::TARGET_CLASS => "it is for another plant and actuator set",
        Fault::SLOT_TOO_SMALL => "it is longer than a slot",
        Fault::BUDGET_CORE => "it was made for another board: it has no budget for this core",
        Fault::BUDGET_INSTRUCTIONS => "this board has fewer instructions per step than it needs",
        Fault::BUDGET_STACK => "this board has less stack than it needs",
        Fault::ON_TRIAL => {
            "another policy is on trial; push again when it is confirmed or reverted"
        }
        Fault::FLASH_FAILED => "the flash did not keep what was written",
        _ => "",
    }
}
