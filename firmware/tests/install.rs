//! Installations that a host goes on with after a break, and those into a slot that was erased before.
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

use firmware::slots::nor::{NRF52840, Nor, STM32F4, Torn};
use firmware::slots::{Activity, Identity, Install, Installer, Other, Slots};
use firmware::{Fault, Trust};
use policies::common::{Structure, generate};
use policy_format::message::{SlotRequest, SlotStatus};
use slots_support::{CLASS, Image, TORN, World, id, key, policy, public, signed};

/// Sectors of 512 bytes, so that a policy has several.
type Flash<'m> = Nor<'m, 4, 512>;

/// A policy of a few sectors.
fn large(seed: u64) -> Vec<u8> {
    let mut policy = generate(&Structure {
        n: 10,
        m: 4,
        modes: 3,
        factors: vec![3],
        unit_norm: false,
        scores: true,
        selector: None,
        gains: true,
        control: None,
        head_per_choice: false,
        bounds: false,
        names: false,
        seed,
    });
    policy.target_class = CLASS;
    policy.encode().bytes().to_vec()
}

fn identity(file: &[u8]) -> Identity {
    Identity {
        length: file.len() as u32,
        digest: id(file).into(),
    }
}

/// Writes what is missing and ends the installation.
fn rest(
    world: &World<'_>,
    slots: &mut Slots<Flash<'_>>,
    mut install: Install,
    file: &[u8],
    activity: Activity,
) -> Result<(), Fault> {
    while (install.taken() as usize) < file.len() {
        let from = install.taken() as usize;
        let to = file.len().min(from + 100);
        slots.write(&mut install, &file[from..to])?;
    }
    slots.finish_while(activity, install, |flash, region| {
        world.arm(flash, region).map(|(_, counter)| counter)
    })
}

/// Cuts an installation to the slot that `make` leaves at every operation, in every way of tearing, and goes on until the right
/// policy runs. Gives the cuts, the installations that went on with bytes in place, and those done again from the start.
fn cut_everywhere(files: &[Vec<u8>], make: impl Fn(&World<'_>) -> Image) -> (u32, u32, u32) {
    let world = World {
        files,
        trust: Trust::ANYONE,
        part: STM32F4,
    };
    let new = identity(&files[1]);
    let origin = make(&world);
    let (mut cuts, mut kept, mut anew) = (0, 0, 0);
    for at in 0.. {
        for torn in TORN {
            let what = format!("cut {at} {torn:?}");
            let mut image = origin.clone();
            let mut nor = image.nor::<4, 512>(world.part);
            nor.cut_power_at(at, torn);
            let mut slots = Slots::new(nor).unwrap();
            slots.start(|f, r| world.arm(f, r)).unwrap();
            let begun = slots.resume(new, Activity::Disarmed);
            let first = begun.and_then(|install| {
                rest(&world, &mut slots, install, &files[1], Activity::Disarmed)
            });
            let nor = slots.into_flash();
            assert_eq!(nor.mistakes(), 0, "{what}");
            if nor.is_powered() {
                first.unwrap();
                return (cuts, kept, anew);
            }
            cuts += 1;
            let mut tries = 0;
            loop {
                tries += 1;
                assert!(tries < 5, "{what}: no end");
                let mut nor = image.nor::<4, 512>(world.part);
                nor.reseed(tries * 77);
                let mut slots = Slots::new(nor).unwrap();
                let started = slots.start(|f, r| world.arm(f, r)).unwrap();
                if started.armed == id(&files[1]) {
                    assert!(started.on_trial, "{what}");
                    break;
                }
                assert_eq!(started.armed, id(&files[0]), "{what}");
                let install = slots.resume(new, Activity::Disarmed).unwrap();
                assert_eq!(install.taken() % 512, 0, "{what}");
                kept += u32::from(install.taken() > 0);
                let ended = rest(&world, &mut slots, install, &files[1], Activity::Disarmed);
                // What was torn and read well by chance is found by the check of the whole, and written anew; no other tear is kept.
                assert!(ended.is_ok() || torn == Torn::Unstable, "{what}: {ended:?}");
                anew += u32::from(ended.is_err());
                let nor = slots.into_flash();
                assert_eq!(nor.mistakes(), 0, "{what}");
            }
        }
    }
    unreachable!("some operation is the last");
}

/// Slot A confirmed; slot B as it left the factory.
fn new_device(world: &World<'_>) -> Image {
    Image::new(2 * 512 + 2 * 8 * 512, Some(&world.files[0]))
}

/// Slot A confirmed; slot B holds an older policy that was tried and reverted.
fn device_with_an_older_policy(world: &World<'_>) -> Image {
    let mut image = new_device(world);
    let mut slots = Slots::new(image.nor::<4, 512>(world.part)).unwrap();
    slots.start(|f, r| world.arm(f, r)).unwrap();
    let older = &world.files[2];
    let install = slots.resume(identity(older), Activity::Disarmed).unwrap();
    rest(world, &mut slots, install, older, Activity::Disarmed).unwrap();
    assert!(slots.start(|f, r| world.arm(f, r)).unwrap().on_trial);
    slots.revert(Fault::NON_FINITE_VALUE).unwrap();
    image
}

/// Slot A confirmed; slot B holds two sectors and a half of the policy that is being installed.
fn device_with_an_installation_broken_off(world: &World<'_>) -> Image {
    let mut image = device_with_an_older_policy(world);
    let mut slots = Slots::new(image.nor::<4, 512>(world.part)).unwrap();
    slots.start(|f, r| world.arm(f, r)).unwrap();
    let new = &world.files[1];
    let mut install = slots.resume(identity(new), Activity::Disarmed).unwrap();
    slots.write(&mut install, &new[..5 * 256]).unwrap();
    drop(slots.into_flash());
    image
}

#[test]
fn an_installation_cut_anywhere_goes_on_and_ends_with_the_right_policy() {
    let files = [policy(0, CLASS), large(1), large(2)];
    assert!(files[1].len() > 4 * 512, "{}", files[1].len());
    for (slot, make) in [
        ("an empty slot", new_device as fn(&World<'_>) -> Image),
        ("a slot with an older policy", device_with_an_older_policy),
        (
            "an installation gone on with",
            device_with_an_installation_broken_off,
        ),
    ] {
        let (cuts, kept, anew) = cut_everywhere(&files, make);
        println!("{slot}: {cuts} power cuts, {kept} installations gone on with, {anew} done again");
        assert!(cuts > 2_000 && kept > cuts / 2, "{cuts} {kept} {anew}");
    }
}

#[test]
fn into_an_erased_slot_while_armed_without_an_erasure() {
    let files = [policy(0, CLASS), large(1)];
    let world = World {
        files: &files,
        trust: Trust::ANYONE,
        part: NRF52840,
    };
    let new = identity(&files[1]);
    let mut image = Image::new(2 * 512 + 2 * 8 * 512, Some(&files[0]));
    let mut slots = Slots::new(image.nor::<4, 512>(world.part)).unwrap();
    slots.start(|f, r| world.arm(f, r)).unwrap();
    let refusals = [
        slots.resume(new, Activity::Armed).unwrap_err(),
        slots.prepare(Activity::Armed).unwrap_err(),
    ];
    assert_eq!(refusals, [Fault::ARMED; 2]);
    assert_eq!(slots.flash().operations(), 0);
    slots.prepare(Activity::Disarmed).unwrap();
    assert_eq!(slots.state().other, Other::Erased);
    let before = (slots.flash().operations(), slots.flash().busy_us());
    let install = slots.resume(new, Activity::Armed).unwrap();
    rest(&world, &mut slots, install, &files[1], Activity::Armed).unwrap();
    let after = (slots.flash().operations(), slots.flash().busy_us());
    // Words alone: an erasure takes 85 ms.
    assert_eq!(after.1 - before.1, (after.0 - before.0) * 41);
    let started = slots.start(|f, r| world.arm(f, r)).unwrap();
    assert_eq!((started.armed, started.on_trial), (id(&files[1]), true));
}

#[test]
fn an_erasure_cut_anywhere_is_not_taken_for_an_erased_slot() {
    let files = [policy(0, CLASS), large(1)];
    let world = World {
        files: &files,
        trust: Trust::ANYONE,
        part: STM32F4,
    };
    let new = identity(&files[1]);
    let (mut refused, mut went) = (0, 0);
    'cuts: for at in 0.. {
        for torn in TORN {
            let mut image = Image::new(2 * 512 + 2 * 8 * 512, Some(&files[0]));
            let mut nor = image.nor::<4, 512>(world.part);
            nor.cut_power_at(at, torn);
            let mut slots = Slots::new(nor).unwrap();
            slots.start(|f, r| world.arm(f, r)).unwrap();
            let prepared = slots.prepare(Activity::Disarmed);
            if slots.into_flash().is_powered() {
                prepared.unwrap();
                break 'cuts;
            }
            let mut slots = Slots::new(image.nor::<4, 512>(world.part)).unwrap();
            slots.start(|f, r| world.arm(f, r)).unwrap();
            match slots.resume(new, Activity::Armed) {
                Err(fault) => {
                    assert_eq!(fault, Fault::ARMED);
                    refused += 1;
                }
                Ok(install) => {
                    rest(&world, &mut slots, install, &files[1], Activity::Armed).unwrap();
                    went += 1;
                }
            }
            assert_eq!(slots.flash().mistakes(), 0);
        }
    }
    assert!(refused > 100 && went > 0, "{refused} {went}");
}

/// A device with slots, asked over the link.
struct Device<'d, 'm> {
    world: World<'d>,
    slots: Slots<Flash<'m>>,
    installer: Installer,
}

impl Device<'_, '_> {
    fn ask(&mut self, request: &SlotRequest, activity: Activity) -> Result<SlotStatus, Fault> {
        let Self {
            world,
            slots,
            installer,
        } = self;
        installer.answer(slots, request, activity, CLASS, |flash, region| {
            world.arm(flash, region).map(|(_, counter)| counter)
        })
    }

    /// Begins, writes what is missing and ends.
    fn push(&mut self, file: &[u8], class: u32) -> Result<SlotStatus, Fault> {
        let begin = SlotRequest::Begin {
            length: file.len() as u32,
            digest: (id(file), 7),
            target_class: class,
        };
        let mut status = self.ask(&begin, Activity::Disarmed)?;
        while (status.in_place as usize) < file.len() {
            let from = status.in_place as usize;
            let data = &file[from..file.len().min(from + 256)];
            let write = SlotRequest::Write {
                offset: status.in_place,
                data: data.iter().copied().collect(),
            };
            status = self.ask(&write, Activity::Disarmed)?;
        }
        self.ask(&SlotRequest::Finish, Activity::Disarmed)
    }
}

#[test]
fn a_host_is_refused_by_name_and_the_running_policy_is_untouched() {
    let (ours, theirs) = (key(1), key(2));
    let keys = [public(&ours)];
    let plain = large(1);
    let files = [
        signed(&policy(0, CLASS), &ours, 5),
        signed(&plain, &ours, 5),
        // Boots, and is refused for its counter.
        signed(&plain, &ours, 4),
    ];
    let mut image = Image::new(2 * 512 + 2 * 8 * 512, Some(&files[0]));
    let confirmed = image.bytes.bytes()[..8 * 512].to_vec();
    let mut slots = Slots::new(image.nor::<4, 512>(STM32F4)).unwrap();
    let world = World {
        files: &files,
        trust: Trust::keys(&keys),
        part: STM32F4,
    };
    slots.start(|f, r| world.arm(f, r)).unwrap();
    let mut device = Device {
        world,
        slots,
        installer: Installer::new(),
    };
    let other_class = signed(&large(1), &ours, 5);
    for (file, class, fault) in [
        (plain.clone(), CLASS, Fault::UNSIGNED),
        (signed(&plain, &theirs, 5), CLASS, Fault::UNKNOWN_KEY),
        (signed(&plain, &ours, 4), CLASS, Fault::ROLLBACK),
        (other_class, CLASS + 1, Fault::TARGET_CLASS),
        (vec![1; 8 * 512 + 1], CLASS, Fault::SLOT_TOO_SMALL),
    ] {
        assert_eq!(device.push(&file, class), Err(fault));
        // Refused in the end, it is not gone on with.
        let status = device.ask(&SlotRequest::Status, Activity::Armed).unwrap();
        assert_eq!((status.in_place, status.running, status.floor), (0, 1, 5));
        assert!(status.armed && status.stalls && !status.on_trial);
    }
    let mut flipped = files[1].clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(device.push(&flipped, CLASS).is_err());
    assert_eq!(
        device.slots.flash().mapped(0, 8 * 512).unwrap(),
        confirmed,
        "the running policy is untouched"
    );
    let status = device.push(&files[1], CLASS).unwrap();
    assert_eq!((status.other, status.other_crc32), (1, id(&files[1])));
}

#[test]
fn bytes_out_of_order_are_refused_and_a_second_begin_goes_on() {
    let files = [policy(0, CLASS), large(1)];
    let mut image = Image::new(2 * 512 + 2 * 8 * 512, Some(&files[0]));
    let mut slots = Slots::new(image.nor::<4, 512>(NRF52840)).unwrap();
    let world = World {
        files: &files,
        trust: Trust::ANYONE,
        part: NRF52840,
    };
    slots.start(|f, r| world.arm(f, r)).unwrap();
    let mut device = Device {
        world,
        slots,
        installer: Installer::new(),
    };
    let (quiet, armed) = (Activity::Disarmed, Activity::Armed);
    let write = |offset: u32, length: usize| SlotRequest::Write {
        offset,
        data: files[1][offset as usize..][..length]
            .iter()
            .copied()
            .collect(),
    };
    let begin = SlotRequest::Begin {
        length: files[1].len() as u32,
        digest: (id(&files[1]), 7),
        target_class: CLASS,
    };
    assert_eq!(device.ask(&write(0, 9), quiet), Err(Fault::INCOMPLETE));
    assert_eq!(
        device.ask(&SlotRequest::Finish, quiet),
        Err(Fault::INCOMPLETE)
    );
    assert_eq!(device.ask(&begin, armed), Err(Fault::ARMED));
    device.ask(&begin, quiet).unwrap();
    // Data goes in while the loop is armed.
    assert_eq!(device.ask(&write(0, 99), armed).unwrap().in_place, 99);
    assert_eq!(device.ask(&write(0, 99), armed), Err(Fault::INCOMPLETE));
    assert_eq!(device.ask(&write(100, 9), armed), Err(Fault::INCOMPLETE));
    assert_eq!(
        device.ask(&SlotRequest::Finish, armed),
        Err(Fault::INCOMPLETE)
    );
    // A host that was interrupted asks again, and nothing is lost, armed as the loop may be.
    let status = device.ask(&begin, armed).unwrap();
    assert_eq!(
        (status.in_place, status.length),
        (99, files[1].len() as u32)
    );
    assert_eq!(status.digest, (id(&files[1]), 7));
}
