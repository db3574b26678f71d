//! Policy slots under a power budget: whatever lies in the flash, whatever is done and wherever the power goes, no panic, nothing that
//! is not erased is written, what runs is a whole policy that may run at that moment, and the next update goes through.

use firmware::Fault;
use firmware::slots::Slots;
use firmware::slots::nor::{Nor, STM32F4, Torn};

// Not by their own names: the guest that examines the same inputs in QEMU has no standard library.
use super::{Slot, Vec, vec};

mod life;
mod policies;

use life::Life;
use policies::{arm, files, forged, id};

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
