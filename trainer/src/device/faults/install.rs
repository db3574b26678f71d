//! A policy installed over the link while the loop runs: what a host does between two steps, some requests a period, over the same
//! disturbed link. The messages are those of [`crate::device::push`].

use firmware::Fault;
use policy_format::RawPolicy;
use policy_format::message::{MAX_DATA, Reply, Request, SlotRequest, SlotStatus};
use sha2::{Digest as _, Sha256};

use crate::export::PolicyBuffer;
use crate::{Error, Result};

/// Requests of an installation that go out in a period.
pub(super) const PER_PERIOD: u32 = 6;

/// What the host asks for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// How the slots are: at first, and whenever an answer is missing or other than expected.
    Look,
    Disarm,
    Begin,
    Arm,
    Write(u32),
    Finish,
    /// Disarmed for the restart.
    Stop,
    Restart,
    /// Until the policy is confirmed or gone.
    Watch,
}

/// An installation under way.
#[derive(Debug)]
pub(super) struct Installation {
    name: String,
    file: Vec<u8>,
    crc32: u32,
    begin: SlotRequest,
    stage: Stage,
    number: u16,
    /// It was on trial at the last look.
    tried: bool,
    /// The device will not have it; the loop is still to be armed.
    refused: bool,
    /// Lines for the report.
    pub lines: Vec<String>,
    pub over: bool,
}

impl Installation {
    /// # Errors
    /// [`Error::Usage`] if the file is no policy.
    pub fn new(name: String, file: Vec<u8>, number: u16) -> Result<Self> {
        let aligned = PolicyBuffer::new(&file);
        let raw = RawPolicy::parse(aligned.bytes())
            .map_err(|e| Error::Usage(format!("--faults: {name}: {e}")))?;
        let (crc32, target_class) = (raw.crc32(), raw.target_class());
        let hash = Sha256::digest(&file);
        let half =
            |at: usize| u32::from_le_bytes([hash[at], hash[at + 1], hash[at + 2], hash[at + 3]]);
        let begin = SlotRequest::Begin {
            length: file.len() as u32,
            digest: (half(0), half(4)),
            target_class,
        };
        Ok(Self {
            name,
            crc32,
            begin,
            file,
            stage: Stage::Look,
            number,
            tried: false,
            refused: false,
            lines: Vec::new(),
            over: false,
        })
    }

    /// The number of the last request, for whoever comes next.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The next request of this period, with its number, and whether it may be disturbed: what bytes behind a restart meet, no model says.
    pub fn next(&mut self) -> (u16, Request, bool) {
        let request = match self.stage {
            Stage::Look | Stage::Watch => SlotRequest::Status,
            Stage::Disarm | Stage::Stop => SlotRequest::Disarm,
            Stage::Begin => self.begin.clone(),
            Stage::Arm => SlotRequest::Arm,
            Stage::Write(at) => {
                let rest = self.file.get(at as usize..).unwrap_or_default();
                SlotRequest::Write {
                    offset: at,
                    data: rest.iter().copied().take(MAX_DATA).collect(),
                }
            }
            Stage::Finish => SlotRequest::Finish,
            Stage::Restart => SlotRequest::Restart,
        };
        // Those of the steps stay below.
        self.number = self.number.wrapping_add(1) | 0x8000;
        let disturbed = self.stage != Stage::Restart;
        (self.number, Request::Slots(request), disturbed)
    }

    /// Takes the answer that came, if one did; whether another request follows in this period. `running` is the CRC-32 of the policy that runs.
    pub fn answered(&mut self, at: &str, reply: Option<&Reply>, running: u32) -> bool {
        let status = match reply {
            Some(Reply::Slots(status)) => status,
            Some(Reply::Error { fault }) => {
                if let Some(fault) = Fault::from_code(*fault) {
                    self.note_refusal(at, fault);
                }
                self.stage = if self.refused {
                    Stage::Arm
                } else {
                    Stage::Look
                };
                return self.refused;
            }
            // Lost: the device may have acted on it or not.
            _ => {
                self.stage = if self.refused {
                    Stage::Arm
                } else {
                    Stage::Look
                };
                return false;
            }
        };
        self.stage = match self.stage {
            Stage::Look | Stage::Watch => return self.look(at, status, running),
            Stage::Disarm => Stage::Begin,
            Stage::Begin => {
                let place = status.in_place;
                if place > 0 {
                    self.lines
                        .push(format!("{at}: gone on with behind {place} bytes"));
                }
                Stage::Arm
            }
            Stage::Arm if self.refused => {
                self.over = true;
                return false;
            }
            Stage::Arm => Stage::Write(status.in_place),
            Stage::Write(_) if status.in_place as usize == self.file.len() => Stage::Finish,
            Stage::Write(_) => Stage::Write(status.in_place),
            Stage::Finish => {
                self.lines.push(format!(
                    "{at}: {} bytes installed and checked",
                    self.file.len()
                ));
                Stage::Stop
            }
            Stage::Stop => Stage::Restart,
            Stage::Restart => Stage::Watch,
        };
        true
    }

    /// Acts on how the slots are.
    fn look(&mut self, at: &str, status: &SlotStatus, running: u32) -> bool {
        if running == self.crc32 {
            self.stage = Stage::Watch;
            if status.on_trial {
                if !self.tried {
                    self.lines.push(format!("{at}: on trial"));
                }
                self.tried = true;
            } else {
                let already = if self.tried {
                    "confirmed"
                } else {
                    "runs already"
                };
                self.lines.push(format!("{at}: {already}"));
                self.over = true;
            }
            return false;
        }
        if status.other == 4 && self.tried {
            let reason = Fault::from_code(status.reason).map_or("?", Fault::name);
            self.lines
                .push(format!("{at}: reverted, {reason}; the policy before runs"));
            self.over = true;
            return false;
        }
        let ready = status.other == 1 && status.other_crc32 == self.crc32;
        self.stage = if ready { Stage::Stop } else { Stage::Disarm };
        true
    }

    fn note_refusal(&mut self, at: &str, fault: Fault) {
        if self.refused {
            return;
        }
        // What passes when it is begun again.
        if matches!(
            fault,
            Fault::INCOMPLETE | Fault::FLASH_FAILED | Fault::ARMED
        ) || fault.code() >> 8 == 3
        {
            return;
        }
        self.lines
            .push(format!("{at}: {} refused, {}", self.name, fault.name()));
        // Whatever came of it, the loop is not left standing.
        self.refused = true;
    }

    /// The device started anew.
    pub fn restarted(&mut self, at: &str, running: u32) {
        if self.over {
            return;
        }
        if running == self.crc32 && self.stage == Stage::Restart {
            self.lines.push(format!("{at}: started anew, on trial"));
            self.tried = true;
        }
        self.stage = Stage::Look;
    }
}
