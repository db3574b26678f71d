//! Policy slots under a power budget: whatever lies in the flash, whatever is done and wherever the power goes, no panic, nothing that
//! is not erased is written, what runs is a whole policy that may run at that moment, and the next update goes through.

use std::sync::OnceLock;

use firmware::slots::nor::{Nor, STM32F4, Torn};
use firmware::slots::{Activity, Region, Slots, Trial, TrialRule, Verdict, policy_in};
use firmware::{Fault, SCRATCH_LEN, boot};
use policy_format::{Need, Policy, with_budget};

use super::Slot;

const SMALL: &[u8] = include_bytes!("../../../policy-format/tests/golden/v1-single-choice.hpo");

/// Bytes of a sector; a slot is one of them.
const SECTOR: usize = 1024;
const CAPACITY: usize = 4 * SECTOR;
/// Most operations of an input.
const LONGEST: usize = 24;
/// The policy of the update that must go through in the end.
const LAST: usize = 3;

type Flash<'m> = Nor<'m, 4, SECTOR>;

const TORN: [Torn; 9] = [
    Torn::Old,
    Torn::New,
    Torn::Part(0xFFFF_0000),
    Torn::Part(0x0000_FFFF),
    Torn::Part(0xAAAA_AAAA),
    Torn::Part(0x1234_8765),
    Torn::Unreadable,
    Torn::Unstable,
    Torn::Half,
];

/// Four policies that differ in their budgets.
fn files() -> &'static [Vec<u8>; 4] {
    static FILES: OnceLock<[Vec<u8>; 4]> = OnceLock::new();
    FILES.get_or_init(|| {
        std::array::from_fn(|index| {
            let small = Slot::new(SMALL);
            let mut file = Slot::new(&[0; SECTOR]);
            let need = Need {
                core: 1,
                instructions: 1000 + index as u32,
                stack_bytes: 1000,
            };
            let length = with_budget(small.bytes(), &[need], file.bytes_mut());
            file.bytes()[..length.expect("a golden file takes a budget")].to_vec()
        })
    })
}

fn class() -> u32 {
    static CLASS: OnceLock<u32> = OnceLock::new();
    *CLASS.get_or_init(|| {
        let small = Slot::new(SMALL);
        let policy = Policy::load(small.bytes(), &firmware::CAPACITY);
        policy.expect("a golden file loads").target_class()
    })
}

fn id(index: usize) -> Option<u32> {
    let bytes = files()[index].get(16..20)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes))
}

/// What happened to an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub starts: u32,
    pub trials: u32,
    pub installs: u32,
    pub confirmed: u32,
    pub reverted: u32,
    pub cuts: u32,
}

/// Which policies may run at the next start: the one that is confirmed, or one that is ready to be tried. Where a record
/// was torn, both what was before and what was meant. Grows with what may have been written, shrinks with what surely was.
#[derive(Clone, Debug)]
struct Allowed {
    confirmed: Vec<Option<u32>>,
    ready: Vec<Option<u32>>,
    /// The flash held anything at first: nothing is known.
    anything: bool,
}

struct Device {
    bytes: Slot,
    marks: Vec<u8>,
    allowed: Allowed,
    summary: Summary,
    /// Seed of what unstable places read as.
    seed: u32,
}

/// Bytes of an input, zeros behind its end.
struct Bytes<'d>(&'d [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> usize {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first.into()
    }
}

/// Asserts all that the module says.
pub fn examine(data: &[u8]) -> Summary {
    let mut input = Bytes(data);
    let anything = input.next() % 2 == 1;
    let mut device = Device::new(anything, &mut input);
    let mut operations = 0;
    while !input.0.is_empty() && operations < LONGEST {
        device.live(&mut input, &mut operations);
    }
    device.update();
    device.summary
}

impl Device {
    /// The first policy flashed to the first slot; `anything`: with pieces of the input over it.
    fn new(anything: bool, input: &mut Bytes<'_>) -> Self {
        let mut bytes = Slot::new(&[0xFF; CAPACITY]);
        let mut marks = vec![0; CAPACITY];
        let first = &files()[0];
        bytes.bytes_mut()[..first.len()].copy_from_slice(first);
        marks[..first.len()].fill(1);
        if anything {
            for _ in 0..input.next() % 16 {
                let at = (input.next() << 8 | input.next()) % CAPACITY;
                for place in at..CAPACITY.min(at + input.next() % 64) {
                    bytes.bytes_mut()[place] = input.next() as u8;
                    marks[place] = 1;
                }
            }
        }
        Self {
            bytes,
            marks,
            allowed: Allowed {
                confirmed: vec![id(0)],
                ready: Vec::new(),
                anything,
            },
            summary: Summary::default(),
            seed: 1,
        }
    }

    /// From power-on until the power goes, by a cut or by the input's will. Three bytes of the input say when and how, one each what is done.
    fn live(&mut self, input: &mut Bytes<'_>, operations: &mut usize) {
        self.seed = self.seed.wrapping_mul(0x9E37_79B9) | 1;
        let mut flash = Flash::new(self.bytes.bytes_mut(), &mut self.marks, STM32F4, |_| {});
        flash.reseed(self.seed);
        // The power goes at some unit of this life, or stays.
        let at = (input.next() << 8 | input.next()) % 1024;
        let torn = TORN[input.next() % TORN.len()];
        if at < 700 {
            flash.cut_power_at(at as u64, torn);
        }
        let mut life = Life {
            slots: Slots::new(flash).expect("four sectors are enough"),
            allowed: &mut self.allowed,
            summary: &mut self.summary,
            running: None,
            on_trial: false,
        };
        life.refuses_before_the_start();
        life.start();
        while life.powered() && !input.0.is_empty() && *operations < LONGEST {
            *operations += 1;
            match input.next() % 7 {
                0 => break,
                1 | 2 => life.install(input.next() % 4, None),
                3 => life.judge(None),
                4 => life.judge(Some(Fault::NON_FINITE_VALUE)),
                5 => life.install(input.next() % 4, Some(input.next() * 4)),
                _ => life.refusals(),
            }
        }
        let flash = life.slots.into_flash();
        self.summary.cuts += u32::from(!flash.is_powered());
        assert_eq!(
            flash.mistakes(),
            0,
            "something that is not erased was written"
        );
    }

    /// Whatever there was, the next update goes through: reverted or not, the device is in the end in a state in which it installs, tries
    /// and confirms.
    fn update(&mut self) {
        let mut flash = Flash::new(self.bytes.bytes_mut(), &mut self.marks, STM32F4, |_| {});
        flash.reseed(self.seed ^ 0x5555_5555);
        for round in 0.. {
            let mut life = Life {
                slots: Slots::new(flash).expect("four sectors are enough"),
                allowed: &mut self.allowed,
                summary: &mut self.summary,
                running: None,
                on_trial: false,
            };
            life.start();
            if life.on_trial {
                // The only policy that there is goes on being tried until it is confirmed.
                life.judge(None);
                flash = life.slots.into_flash();
                assert!(round < 3, "a trial without end");
                continue;
            }
            // A forged record may bar every policy that we have.
            if life.allowed.anything && life.slots.state().floor > 0 {
                return;
            }
            life.install(LAST, None);
            let mut life = Life {
                slots: Slots::new(life.slots.into_flash()).expect("four sectors are enough"),
                allowed: life.allowed,
                summary: life.summary,
                running: None,
                on_trial: false,
            };
            life.start();
            assert!(life.on_trial && life.running == id(LAST), "not tried");
            life.judge(None);
            let mut last = Slots::new(life.slots.into_flash()).expect("four sectors are enough");
            let started = last.start(arm).expect("a confirmed policy starts");
            assert!(!started.on_trial && Some(started.armed) == id(LAST));
            assert_eq!(last.flash().mistakes(), 0);
            return;
        }
    }
}

/// A device between two times without power.
struct Life<'m, 'a> {
    slots: Slots<Flash<'m>>,
    allowed: &'a mut Allowed,
    summary: &'a mut Summary,
    running: Option<u32>,
    on_trial: bool,
}

/// Every check of a boot; gives CRC-32 and counter.
fn arm(flash: &Flash<'_>, region: Region) -> Result<(u32, u32), Fault> {
    let all = flash.mapped(region.offset, region.length);
    // Torn data behind the policy does not matter.
    let header = flash.mapped(region.offset, 32).ok_or(Fault::FLASH_FAILED)?;
    let declared = header.get(12..16).and_then(|length| length.try_into().ok());
    let declared = u32::from_le_bytes(declared.ok_or(Fault::FLASH_FAILED)?);
    let length = declared.clamp(32, region.length);
    let slot = all
        .or_else(|| flash.mapped(region.offset, length))
        .ok_or(Fault::FLASH_FAILED)?;
    let file = policy_in(slot)?;
    let armed = boot(file, class(), &mut [0.0; SCRATCH_LEN])?;
    let whole = files().iter().any(|known| known == file) || file == SMALL;
    assert!(whole, "a policy boots that nobody made");
    let counter = firmware::signature::security_counter(file)?;
    Ok((armed.policy().crc32(), counter))
}

impl Life<'_, '_> {
    fn powered(&self) -> bool {
        self.slots.flash().is_powered()
    }

    fn refuses_before_the_start(&mut self) {
        let begun = self.slots.begin(100, Activity::Disarmed);
        assert_eq!(begun.err(), Some(Fault::INCOMPLETE));
        assert_eq!(self.slots.confirm(), Err(Fault::NO_TRIAL));
    }

    /// What must change nothing.
    fn refusals(&mut self) {
        let state = self.slots.state();
        let operations = self.slots.flash().operations();
        if !self.on_trial {
            assert_eq!(self.slots.confirm(), Err(Fault::NO_TRIAL));
            assert_eq!(
                self.slots.revert(Fault::NON_FINITE_VALUE),
                Err(Fault::NO_TRIAL)
            );
        }
        assert!(
            self.slots
                .begin(SECTOR as u32 + 1, Activity::Disarmed)
                .is_err()
        );
        assert!(self.slots.begin(100, Activity::Armed).is_err());
        assert_eq!(self.slots.state(), state);
        assert_eq!(self.slots.flash().operations(), operations);
    }

    fn start(&mut self) {
        self.summary.starts += 1;
        let started = self.slots.start(arm);
        (self.running, self.on_trial) = match &started {
            Ok(started) => (Some(started.armed), started.on_trial),
            Err(_) => (None, false),
        };
        let allowed = &mut *self.allowed;
        let powered = self.slots.flash().is_powered();
        if powered && !allowed.anything {
            let list = match self.on_trial {
                true => &allowed.ready,
                false => &allowed.confirmed,
            };
            assert!(
                list.contains(&self.running),
                "{:?} runs, on trial: {}; {allowed:?}",
                self.running,
                self.on_trial
            );
        }
        if powered && self.on_trial {
            // The record of the trial is written: it is tried no second time, unless there is nothing else.
            self.summary.trials += 1;
            if !allowed.confirmed.contains(&None) && !allowed.anything {
                allowed.ready.clear();
            }
        }
    }

    /// Installs a policy, or the first `bytes` of it.
    fn install(&mut self, index: usize, bytes: Option<usize>) {
        let file = &files()[index];
        let runs = self.running;
        let was_on_trial = self.on_trial;
        let before = self.slots.state();
        let begun = self.slots.begin(file.len() as u32, Activity::Disarmed);
        let mut install = match begun {
            Ok(install) => install,
            Err(fault) => {
                // On trial, or reverted and still running from that slot.
                let busy = fault == Fault::ON_TRIAL;
                assert!(!self.powered() || busy, "{fault:?} in {before:?}");
                return;
            }
        };
        // A record was written: what runs is confirmed, and nothing is ready.
        if !was_on_trial {
            self.allowed.confirmed = vec![runs];
        }
        self.allowed.ready.clear();
        let count = bytes.unwrap_or(file.len()).min(file.len());
        for part in file[..count].chunks(100) {
            if let Err(fault) = self.slots.write(&mut install, part) {
                assert!(!self.powered(), "{fault:?}");
                return;
            }
        }
        if count < file.len() {
            assert_eq!(
                self.slots.finish(install, |_, _| Ok(0)),
                Err(Fault::INCOMPLETE)
            );
            return;
        }
        self.allowed.ready = vec![id(index)];
        let check = |flash: &Flash<'_>, region| arm(flash, region).map(|(_, counter)| counter);
        match self.slots.finish(install, check) {
            Ok(()) => self.summary.installs += 1,
            Err(fault) => {
                let barred = self.allowed.anything && fault == Fault::ROLLBACK;
                assert!(!self.powered() || barred, "{fault:?}");
            }
        }
    }

    /// The policy on trial does well, or badly.
    fn judge(&mut self, fault: Option<Fault>) {
        if !self.on_trial {
            return;
        }
        let mut trial = Trial::new(TrialRule {
            good_periods: 3,
            within: 9,
        });
        let verdict = loop {
            match trial.observe(fault) {
                Verdict::Continue => {}
                verdict => break verdict,
            }
        };
        let runs = self.running;
        match verdict {
            Verdict::Revert(fault) => {
                if let Err(fault) = self.slots.revert(fault) {
                    assert!(!self.powered(), "{fault:?}");
                    return;
                }
                self.allowed.ready.clear();
                self.summary.reverted += 1;
            }
            _ => {
                if let Err(fault) = self.slots.confirm() {
                    assert!(!self.powered(), "{fault:?}");
                    self.allowed.confirmed.push(runs);
                    return;
                }
                self.allowed.confirmed = vec![runs];
                self.allowed.ready.clear();
                self.summary.confirmed += 1;
            }
        }
        self.on_trial = false;
    }
}
