//! Policy slots under a power budget: whatever lies in the flash, whatever is done and wherever the power goes, no panic, nothing that
//! is not erased is written, what runs is a whole policy that may run at that moment, and the next update goes through.

use firmware::slots::nor::{Nor, STM32F4, Torn};
use firmware::slots::{
    Activity, Identity, Install, Other, Region, Slots, Trial, TrialRule, Verdict, policy_in,
};
use firmware::{Fault, SCRATCH_LEN, boot};
use policy_format::{ContainerWriter, Policy, RawPolicy, SectionId, crc32};

// Not by their own names: the guest that examines the same inputs in QEMU has no standard library.
use super::{OnceLock, Slot, Vec, vec};

const SMALL: &[u8] = include_bytes!("../../../policy-format/tests/golden/v1-single-choice.hpo");

/// Bytes of a sector, the least that slots take: 16 records. A slot is two of them, and a policy reaches into the second.
const SECTOR: usize = 512;
const SLOT: usize = 2 * SECTOR;
const CAPACITY: usize = 6 * SECTOR;
/// Most operations of an input.
const LONGEST: usize = 24;
/// Most times that the power goes.
const LIVES: usize = 16;
/// The policy of the update that must go through in the end.
const LAST: usize = 3;

type Flash<'m> = Nor<'m, 4, SECTOR>;

/// A section that readers of this version pass over, and its bytes.
const PADDING: SectionId = SectionId(0x7F00);
const PADDED: usize = 256;
/// High half of the digests of this host.
const DIGEST: u64 = 0x0123_4567;

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

/// Four policies of 704 bytes that differ in a section that no reader knows.
fn files() -> &'static [Vec<u8>; 4] {
    static FILES: OnceLock<[Vec<u8>; 4]> = OnceLock::new();
    FILES.get_or_init(|| {
        core::array::from_fn(|index| {
            let small = Slot::new(SMALL);
            let raw = RawPolicy::parse(small.bytes()).expect("a golden file");
            let mut file = Slot::new(&[0; SLOT]);
            let count = raw.sections().count() + 1;
            let mut writer = ContainerWriter::new(file.bytes_mut(), raw.target_class(), count);
            for section in raw.sections() {
                writer.section(section.id, section.flags & 1 != 0);
                writer.put(raw.section(section.id).unwrap_or_default());
            }
            writer.section(PADDING, false);
            writer.put(&[0x11 * (index as u8 + 1); PADDED]);
            let length = writer.finish().expect("a slot has room");
            assert!(SECTOR < length && length < SLOT);
            file.bytes()[..length].to_vec()
        })
    })
}

/// CRC-32 and counter of the policies that are made here, by every check of a boot. That depends on the bytes alone, so each is
/// booted once.
fn booted(file: &[u8]) -> Option<(u32, u32)> {
    static BOOTED: OnceLock<[(u32, u32); 4]> = OnceLock::new();
    let all = BOOTED.get_or_init(|| {
        core::array::from_fn(|index| {
            let slot = Slot::new(&files()[index]);
            boot_whole(slot.bytes()).expect("a golden file boots")
        })
    });
    let index = files().iter().position(|known| known == file)?;
    Some(all[index])
}

fn boot_whole(file: &[u8]) -> Result<(u32, u32), Fault> {
    let armed = boot(file, class(), &mut [0.0; SCRATCH_LEN])?;
    let counter = firmware::signature::security_counter(file)?;
    Ok((armed.policy().crc32(), counter))
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
    pub prepared: u32,
    /// Installations gone on with behind a sector in place.
    pub resumed: u32,
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
    /// A record that nobody wrote says that a slot is erased which is not: data goes over data until it is erased.
    lie: bool,
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
    for _ in 0..LIVES {
        if input.0.is_empty() || operations >= LONGEST {
            break;
        }
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
        let mut lie = false;
        if anything {
            let pieces = input.next();
            if pieces >= 128 {
                // Sound records that nobody wrote, whatever they say.
                for _ in 0..pieces % 16 {
                    let record = forged(input);
                    lie |= record[9] == 6;
                    let at = 2 * SLOT + input.next() % 32 * record.len();
                    bytes.bytes_mut()[at..at + record.len()].copy_from_slice(&record);
                    marks[at..at + record.len()].fill(1);
                }
            }
            for _ in 0..if pieces < 128 { pieces % 16 } else { 0 } {
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
                lie,
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
            let operation = input.next();
            match operation % 7 {
                kind if operation >= 128 => match kind {
                    0 => life.prepare(),
                    1 | 2 => life.resume(input.next() % 4, None),
                    3 | 4 => life.resume(input.next() % 4, Some(input.next() * 4)),
                    5 => life.refuses_while_armed(),
                    _ => life.garbage(input),
                },
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
        assert!(
            flash.mistakes() == 0 || self.allowed.lie,
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
    if let Some(known) = booted(file) {
        return Ok(known);
    }
    let armed = boot_whole(file)?;
    assert!(file == SMALL, "a policy boots that nobody made");
    Ok(armed)
}

/// Identity of a file of ours, as a host makes it up: the same for the same bytes only. `changes` tells files apart that are
/// changed.
fn identity(index: usize, changes: u32) -> Identity {
    Identity {
        length: files()[index].len() as u32,
        digest: DIGEST << 32 | u64::from(changes << 2) | index as u64,
    }
}

/// A record by `docs/slots.md` alone, whose CRC-32 fits.
fn forged(input: &mut Bytes<'_>) -> [u8; 32] {
    let other = input.next();
    let words = [
        u32::from_le_bytes(*b"HPR1"),
        [9_u32, 16, 0x8000_0000, 0xFFFF_0000][input.next() % 4] - input.next() as u32 % 8,
        ((input.next() % 4) | ((other % 8) << 8) | (((input.next() << 8) | input.next()) << 16))
            as u32,
        [0, 0, 0, 1, u32::MAX][input.next() % 5],
        files()[0].len() as u32 * (other as u32 & 8) / 8,
        (other as u32 & 8) / 8 * (other as u32 >> 4 & 3),
        (other as u32 & 8) / 8 * DIGEST as u32,
    ];
    let mut record = [0; 32];
    let (content, sum) = record.split_at_mut(28);
    for (to, from) in content.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    sum.copy_from_slice(&crc32(content).to_le_bytes());
    record
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
                .begin(SLOT as u32 + 1, Activity::Disarmed)
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
        let length = files()[index].len() as u32;
        let begun = self.slots.begin(length, Activity::Disarmed);
        if let Some(install) = self.begun(begun) {
            self.write(install, index, bytes, Activity::Disarmed);
        }
    }

    /// As [`Life::install`], as a host does that goes on with what it began; while the loop is armed into an erased slot.
    fn resume(&mut self, index: usize, bytes: Option<usize>) {
        let erased = self.slots.state().other == Other::Erased;
        let going_on = self.slots.state().other == Other::Installing(identity(index, 0));
        let activity = match erased && self.running.is_some() {
            true => Activity::Armed,
            false => Activity::Disarmed,
        };
        let begun = self.slots.resume(identity(index, 0), activity);
        if begun.as_ref().err() == Some(&Fault::ARMED) {
            // No room for two more records, and none is made by erasing while armed.
            assert!(erased && self.powered());
            return;
        }
        if let Some(install) = self.begun(begun) {
            assert!(
                install.taken() == 0 || going_on,
                "what is in place is not known"
            );
            self.summary.resumed += u32::from(install.taken() > 0);
            self.write(install, index, bytes, activity);
        }
    }

    /// The slot to install to is erased.
    fn prepare(&mut self) {
        let runs = self.running;
        let was_on_trial = self.on_trial;
        let prepared = self.slots.prepare(Activity::Disarmed);
        if prepared == Err(Fault::ON_TRIAL) {
            return;
        }
        // A first record may have been written, and a cut later.
        if !was_on_trial {
            Self::or(&mut self.allowed.confirmed, runs);
        }
        match prepared {
            Ok(()) => {
                self.allowed.confirmed = vec![runs];
                self.allowed.ready.clear();
                self.summary.prepared += 1;
                assert_eq!(self.slots.state().other, Other::Erased);
            }
            Err(fault) => assert!(!self.powered(), "{fault:?}"),
        }
    }

    fn or(list: &mut Vec<Option<u32>>, one: Option<u32>) {
        if !list.contains(&one) {
            list.push(one);
        }
    }

    /// An armed loop has nothing erased.
    fn refuses_while_armed(&mut self) {
        let state = self.slots.state();
        let operations = self.slots.flash().operations();
        let refused = self.slots.prepare(Activity::Armed);
        assert!(matches!(refused, Err(Fault::ARMED | Fault::ON_TRIAL)));
        if state.other != Other::Erased {
            let refused = self.slots.resume(identity(0, 0), Activity::Armed).err();
            assert!(matches!(refused, Some(Fault::ARMED | Fault::ON_TRIAL)));
        }
        assert_eq!(self.slots.state(), state);
        assert_eq!(self.slots.flash().operations(), operations);
    }

    /// Bytes that are no policy are installed, and refused in the end.
    fn garbage(&mut self, input: &mut Bytes<'_>) {
        let index = input.next() % 4;
        let mut file = files()[index].clone();
        let mut changes = 0_u32;
        for _ in 0..1 + input.next() % 4 {
            let at = (input.next() << 8 | input.next()) % file.len();
            let bits = input.next() as u8;
            file[at] ^= bits;
            changes = changes.wrapping_mul(0x9E37_79B1) ^ (at as u32) << 8 ^ u32::from(bits);
        }
        let changes = changes % 0x3FFF_FFFF + 1;
        let known = booted(&file).is_some();
        let begun = self
            .slots
            .resume(identity(index, changes), Activity::Disarmed);
        let Some(mut install) = self.begun(begun) else {
            return;
        };
        let place = install.taken() as usize;
        if self.slots.write(&mut install, &file[place..]).is_err() {
            assert!(!self.powered() || self.allowed.lie);
            return;
        }
        let check = |flash: &Flash<'_>, region| arm(flash, region).map(|(_, counter)| counter);
        // As in `write`, and what was in place may have been the right bytes in place of damaged ones.
        let other = place > 0;
        if known || other {
            self.allowed.ready = vec![id(index)];
        }
        match self.slots.finish(install, check) {
            Ok(()) => {
                assert!(known || other, "it was no policy");
                self.summary.installs += 1;
            }
            Err(fault) if self.powered() => {
                let barred = self.allowed.anything && fault == Fault::ROLLBACK;
                let lie = self.allowed.lie && fault == Fault::FLASH_FAILED;
                assert!(!known || other || barred || lie, "{fault:?}");
                assert_ne!(self.slots.state().other, Other::Ready);
                self.allowed.ready.clear();
            }
            Err(_) => {}
        }
    }

    /// What an installation that was begun changed.
    fn begun(&mut self, begun: Result<Install, Fault>) -> Option<Install> {
        match begun {
            Ok(install) => {
                // A record was written: what runs is confirmed, and nothing is ready.
                if !self.on_trial {
                    self.allowed.confirmed = vec![self.running];
                }
                self.allowed.ready.clear();
                Some(install)
            }
            Err(fault) => {
                // On trial, or reverted and still running from that slot.
                let busy = fault == Fault::ON_TRIAL;
                assert!(!self.powered() || busy, "{fault:?}");
                None
            }
        }
    }

    fn write(
        &mut self,
        mut install: Install,
        index: usize,
        bytes: Option<usize>,
        while_: Activity,
    ) {
        let file = &files()[index];
        let place = install.taken() as usize;
        let count = bytes.unwrap_or(file.len()).min(file.len()).max(place);
        for part in file[place..count].chunks(100) {
            if let Err(fault) = self.slots.write(&mut install, part) {
                assert!(!self.powered() || self.allowed.lie, "{fault:?}");
                return;
            }
        }
        if count < file.len() {
            // Half of the hosts go without a word.
            if count.is_multiple_of(8) {
                assert_eq!(
                    self.slots.finish(install, |_, _| Ok(0)),
                    Err(Fault::INCOMPLETE)
                );
            }
            return;
        }
        self.allowed.ready = vec![id(index)];
        let check = |flash: &Flash<'_>, region| arm(flash, region).map(|(_, counter)| counter);
        match self.slots.finish_while(while_, install, check) {
            Ok(()) => self.summary.installs += 1,
            Err(fault) => {
                let barred = self.allowed.anything && fault == Fault::ROLLBACK;
                let full = while_ == Activity::Armed && fault == Fault::ARMED;
                // Where an erasure was cut short, something other than our bytes may have been in place: refused, and not gone on with.
                let stale = place > 0 && self.slots.state().other == Other::Void;
                let lie = self.allowed.lie && fault == Fault::FLASH_FAILED;
                assert!(
                    !self.powered() || barred || full || stale || lie,
                    "{fault:?}"
                );
                if self.powered() {
                    self.allowed.ready.clear();
                    if stale {
                        self.resume(index, bytes);
                    }
                }
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
