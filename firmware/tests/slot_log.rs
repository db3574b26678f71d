//! The log of slot records against places that read differently from one time to the next, as a torn erasure leaves them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/mod.rs"]
mod policies;
#[path = "support/slots.rs"]
mod slots_support;

use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use firmware::Trust;
use firmware::slots::nor::{Nor, NorError, STM32F4};
use firmware::slots::{Activity, Slot, SlotFlash, Slots};
use slots_support::{Allowed, CLASS, Image, Step, World, id, policy};

const SECTOR: usize = 512;
const SLOT: usize = 8 * SECTOR;
/// Bytes of a record.
const RECORD: usize = 32;
/// First byte of the two sectors of records.
const LOGS: [usize; 2] = [2 * SLOT, 2 * SLOT + SECTOR];
const CAPACITY: usize = 2 * SLOT + 2 * SECTOR;

type Flash<'m> = Nor<'m, 4, SECTOR>;

/// Flash of which one place reads as `phantom` for the first `times` readings, and as what it holds afterwards.
struct Fickle<'m> {
    nor: Flash<'m>,
    place: u32,
    phantom: [u8; RECORD],
    times: u32,
}

impl ErrorType for Fickle<'_> {
    type Error = NorError;
}

impl ReadNorFlash for Fickle<'_> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorError> {
        self.nor.read(offset, bytes)?;
        if offset == self.place && self.times > 0 {
            self.times -= 1;
            bytes.copy_from_slice(&self.phantom);
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.nor.capacity()
    }
}

impl NorFlash for Fickle<'_> {
    const WRITE_SIZE: usize = Flash::WRITE_SIZE;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorError> {
        self.nor.erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorError> {
        self.nor.write(offset, bytes)
    }
}

impl SlotFlash for Fickle<'_> {
    fn stalls(&self) -> bool {
        self.nor.stalls()
    }
}

/// A device whose trial of a second policy ended as `end` says.
fn device(world: &World<'_>, end: Step) -> Image {
    let mut image = Image::new(CAPACITY, Some(&world.files[0]));
    let first = Some(id(&world.files[0]));
    let mut allowed = Allowed {
        ids: vec![first],
        confirmed: first,
    };
    let steps = [Step::Start, Step::Install(1), Step::Start, end];
    world.play(image.nor::<4, SECTOR>(world.part), &steps, &mut allowed);
    image
}

/// Start of the last place of the first sector of records that is not erased.
fn newest_place(image: &Image) -> usize {
    (LOGS[0]..LOGS[1])
        .step_by(RECORD)
        .rfind(|at| image.bytes.bytes()[*at..*at + RECORD] != [0xFF; RECORD])
        .unwrap()
}

#[test]
fn a_record_is_believed_when_it_reads_the_same_sixteen_times_and_not_before() {
    let files = [policy(0, CLASS), policy(1, CLASS)];
    let world = World {
        files: &files,
        trust: Trust::ANYONE,
        part: STM32F4,
    };
    // The phantom says that the second policy is confirmed; what is written says that it is on trial.
    let confirmed = device(&world, Step::Good);
    let at = newest_place(&confirmed);
    let phantom = confirmed.bytes.bytes()[at..at + RECORD].try_into().unwrap();
    for times in (0..=17).chain([1000]) {
        let mut image = device(&world, Step::Bad);
        // In the place of the reverting record: confirming one and reverting one have the same number.
        let newest = newest_place(&image);
        image.bytes.bytes_mut()[newest..newest + RECORD].fill(0xFF);
        image.marks[newest..newest + RECORD].fill(0);
        let mut slots = Slots::new(Fickle {
            nor: image.nor::<4, SECTOR>(world.part),
            place: newest as u32,
            phantom,
            times,
        })
        .unwrap();
        let started = slots.start(|f, r| world.arm(&f.nor, r)).unwrap();
        // Without the phantom the newest record is that of the trial, which this start finds interrupted.
        let (armed, slot) = if times < 16 {
            (id(&files[0]), Slot::A)
        } else {
            (id(&files[1]), Slot::B)
        };
        assert_eq!((started.armed, started.slot), (armed, slot), "{times}");
        assert_eq!(slots.state().confirmed, Some(slot), "{times}");
        let flash = slots.into_flash();
        assert!(times > 16 || flash.times == 0, "the phantom was not read");
    }
}

#[test]
fn a_log_that_begins_anew_leaves_nothing_of_either_sector() {
    let files = [policy(0, CLASS), policy(1, CLASS)];
    let world = World {
        files: &files,
        trust: Trust::ANYONE,
        part: STM32F4,
    };
    let confirmed = device(&world, Step::Good);
    let at = newest_place(&confirmed);
    let mut torn: [u8; RECORD] = confirmed.bytes.bytes()[at..at + RECORD].try_into().unwrap();
    torn[RECORD - 1] ^= 0x10;
    for log in LOGS {
        for place in (0..SECTOR).step_by(RECORD) {
            let mut image = Image::new(CAPACITY, Some(&files[0]));
            let torn_at = log + place..log + place + RECORD;
            image.bytes.bytes_mut()[torn_at.clone()].copy_from_slice(&torn);
            image.marks[torn_at.clone()].fill(1);
            let mut slots = Slots::new(image.nor::<4, SECTOR>(world.part)).unwrap();
            slots.start(|f, r| world.arm(f, r)).unwrap();
            let length = files[1].len() as u32;
            let mut install = slots.begin(length, Activity::Disarmed).unwrap();
            slots.write(&mut install, &files[1]).unwrap();
            drop(slots.into_flash());
            assert_ne!(image.bytes.bytes()[torn_at], torn, "{log} {place}");
            // The first record is there, and is the only thing that is.
            let written = LOGS[0]..CAPACITY;
            let touched = image.bytes.bytes()[written]
                .chunks(RECORD)
                .filter(|chunk| *chunk != [0xFF; RECORD])
                .count();
            assert_eq!(touched, 1, "{log} {place}");
        }
    }
}
