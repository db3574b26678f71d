//! Slots without power cuts: what an installation refuses, what confirms and what reverts, what the parts' times are.
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

use embedded_storage::nor_flash::{NorFlash as _, ReadNorFlash as _};
use firmware::slots::nor::{NRF52840, Nor, Part, RP2350, STM32F4, Torn};
use firmware::slots::{Activity, Identity, Layout, Other, Slot, SlotFlash as _, Slots};
use firmware::{Fault, Trust};
use slots_support::{Allowed, CLASS, Image, Step, World, id, key, policy, public, signed};

type Flash<'m> = Nor<'m, 4, 4096>;

/// Installs `file` beside whatever runs, and gives what the device said. The policy that ran before runs after the next start,
/// and the confirmed slot has not changed by a byte.
fn refused(world: &World<'_>, image: &mut Image, file: &[u8]) -> Fault {
    let confirmed = image.bytes.bytes()[..4096].to_vec();
    let nor: Flash<'_> = image.nor(world.part);
    let mut slots = Slots::new(nor).unwrap();
    let before = slots.start(|f, r| world.arm(f, r)).unwrap();
    assert_eq!(before.slot, Slot::A);
    let fault = install(world, &mut slots, file).unwrap_err();
    drop(slots.into_flash());
    let nor: Flash<'_> = image.nor(world.part);
    let mut slots = Slots::new(nor).unwrap();
    let after = slots.start(|f, r| world.arm(f, r)).unwrap();
    assert_eq!((after.armed, after.on_trial), (before.armed, false));
    drop(slots.into_flash());
    assert_eq!(image.bytes.bytes()[..4096], confirmed);
    fault
}

fn install(world: &World<'_>, slots: &mut Slots<Flash<'_>>, file: &[u8]) -> Result<(), Fault> {
    let mut install = slots.begin(file.len() as u32, Activity::Disarmed)?;
    slots.write(&mut install, file)?;
    slots.finish(install, |flash, region| {
        world.arm(flash, region).map(|(_, counter)| counter)
    })
}

#[test]
fn bad_inputs_are_named_and_the_running_policy_is_untouched() {
    let (ours, theirs) = (key(1), key(2));
    let keys = [public(&ours)];
    let plain = policy(1, CLASS);
    let good = signed(&plain, &ours, 5);
    let files = [
        signed(&policy(0, CLASS), &ours, 5),
        good.clone(),
        signed(&plain, &ours, 4),
    ];
    let world = World {
        files: &files,
        trust: Trust::keys(&keys),
        part: NRF52840,
    };
    let flipped = {
        let mut file = good.clone();
        let middle = file.len() - 200;
        file[middle] ^= 1;
        policy_format::reseal(&mut file);
        file
    };
    let budgeted = {
        // An image for another board: measured on another class of cores alone.
        let mut out = policies::common::Aligned::zeros(plain.len() + 64);
        let need = policy_format::Need {
            core: policy_format::CoreClass::Armv6M as u32,
            instructions: 100,
            stack_bytes: 100,
        };
        let aligned = policies::common::Aligned::from(&plain);
        let length = policy_format::with_budget(aligned.bytes(), &[need], out.bytes_mut()).unwrap();
        out.bytes()[..length].to_vec()
    };
    for (what, file, fault) in [
        ("not signed", plain.clone(), Fault::UNSIGNED),
        ("wrong key", signed(&plain, &theirs, 9), Fault::UNKNOWN_KEY),
        ("altered", flipped, Fault::BAD_SIGNATURE),
        ("older counter", signed(&plain, &ours, 4), Fault::ROLLBACK),
        (
            "other target class",
            signed(&policy(1, CLASS + 1), &ours, 5),
            Fault::TARGET_CLASS,
        ),
        (
            "slot too small",
            good.repeat(4096 / good.len() + 1),
            Fault::SLOT_TOO_SMALL,
        ),
        ("empty", vec![0xFF; 512], Fault::EMPTY_SLOT),
    ] {
        let mut image = Image::new(4 * 4096, Some(&files[0]));
        assert_eq!(refused(&world, &mut image, &file), fault, "{what}");
    }
    let mut image = Image::new(4 * 4096, Some(&files[0]));
    let elf = refused(&world, &mut image, &b"\x7fELF".repeat(40));
    assert_eq!(elf.name(), "Magic");
    // The board's offer is part of the check that the board hands in.
    let offer = firmware::Offer {
        core: policy_format::CoreClass::Armv7EMFpu,
        instructions: 1000,
        stack_bytes: 1000,
    };
    let aligned = policies::common::Aligned::from(&budgeted);
    let mut scratch = [0.0; firmware::SCRATCH_LEN];
    assert_eq!(
        firmware::boot_on(&offer, aligned.bytes(), CLASS, &mut scratch).err(),
        Some(Fault::BUDGET_CORE)
    );
}

#[test]
fn the_counter_rises_with_confirmation_and_not_before() {
    let ours = key(1);
    let keys = [public(&ours)];
    let files: Vec<_> = [5, 9, 7]
        .iter()
        .zip(0..)
        .map(|(&counter, seed)| signed(&policy(seed, CLASS), &ours, counter))
        .collect();
    let world = World {
        files: &files,
        trust: Trust::keys(&keys),
        part: NRF52840,
    };
    let mut image = Image::new(4 * 4096, Some(&files[0]));
    let nor: Flash<'_> = image.nor(world.part);
    let mut slots = Slots::new(nor).unwrap();
    slots.start(|f, r| world.arm(f, r)).unwrap();
    install(&world, &mut slots, &files[1]).unwrap();
    assert_eq!(slots.state().floor, 5);
    // On trial and reverted: the counter of the policy that failed does not count.
    assert!(slots.start(|f, r| world.arm(f, r)).unwrap().on_trial);
    slots.revert(Fault::NON_FINITE_VALUE).unwrap();
    let back = slots.start(|f, r| world.arm(f, r)).unwrap();
    assert_eq!(
        (back.armed, back.rejected),
        (id(&files[0]), Some(Fault::NON_FINITE_VALUE))
    );
    install(&world, &mut slots, &files[2]).unwrap();
    slots.start(|f, r| world.arm(f, r)).unwrap();
    slots.confirm().unwrap();
    assert_eq!(slots.state().floor, 7);
    assert_eq!(install(&world, &mut slots, &files[0]), Err(Fault::ROLLBACK));
    install(&world, &mut slots, &files[1]).unwrap();
    slots.start(|f, r| world.arm(f, r)).unwrap();
    slots.confirm().unwrap();
    assert_eq!(slots.state().floor, 9);
    // The one that was confirmed before does not stand in: its counter is too small now.
    let confirmed = slots.state().confirmed.unwrap();
    let at = slots.layout().slot(confirmed).offset as usize;
    drop(slots.into_flash());
    image.bytes.bytes_mut()[at + 100] ^= 4;
    let mut slots = Slots::new(image.nor::<4, 4096>(world.part)).unwrap();
    let fault = slots.start(|f, r| world.arm(f, r)).unwrap_err();
    assert_eq!(fault.name(), "Checksum");
}

#[test]
fn an_installation_that_was_begun_disarmed_ends_armed_however_many_were_before() {
    let files = [policy(0, CLASS), policy(1, CLASS), policy(2, CLASS)];
    let world = World {
        files: &files,
        trust: Trust::ANYONE,
        part: STM32F4,
    };
    // 16 records to a sector.
    type Small<'m> = Nor<'m, 4, 512>;
    let mut image = Image::new(2 * 512 + 2 * 4 * 512, Some(&files[0]));
    let nor: Small<'_> = image.nor(world.part);
    let mut slots = Slots::new(nor).unwrap();
    slots.start(|f, r| world.arm(f, r)).unwrap();
    for round in 0..200_u32 {
        // A host may prepare, and may begin with one policy and then take another one.
        for _ in 0..round % 4 {
            slots.prepare(Activity::Disarmed).unwrap();
        }
        let file = &files[1 + round as usize % 2];
        let identity = Identity {
            length: file.len() as u32,
            digest: u64::from(round),
        };
        let mut install = slots.resume(identity, Activity::Disarmed).unwrap();
        slots.write(&mut install, file).unwrap();
        let ended = slots.finish_while(Activity::Armed, install, |flash, region| {
            world.arm(flash, region).map(|(_, counter)| counter)
        });
        assert_eq!(ended, Ok(()), "{round}");
    }
    assert_eq!(slots.flash().mistakes(), 0);
    let started = slots.start(|f, r| world.arm(f, r)).unwrap();
    assert_eq!((started.armed, started.on_trial), (id(&files[2]), true));
}

#[test]
fn a_counter_that_nobody_verified_bars_no_policy() {
    let files = [
        policy(0, CLASS),
        signed(&policy(1, CLASS), &key(1), u32::MAX),
        policy(2, CLASS),
    ];
    let world = World {
        files: &files,
        trust: Trust::ANYONE,
        part: NRF52840,
    };
    let mut image = Image::new(4 * 4096, Some(&files[0]));
    let nor: Flash<'_> = image.nor(world.part);
    let mut slots = Slots::new(nor).unwrap();
    slots.start(|f, r| world.arm(f, r)).unwrap();
    for next in [1, 2] {
        install(&world, &mut slots, &files[next]).unwrap();
        let started = slots.start(|f, r| world.arm(f, r)).unwrap();
        assert_eq!((started.armed, started.on_trial), (id(&files[next]), true));
        slots.confirm().unwrap();
        assert_eq!(slots.state().floor, 0);
    }
}

#[test]
fn a_damaged_confirmed_policy_is_replaced_by_the_previous_one() {
    let files = [policy(0, CLASS), policy(1, CLASS)];
    let world = World {
        files: &files,
        trust: Trust::ANYONE,
        part: NRF52840,
    };
    let mut image = Image::new(4 * 4096, Some(&files[0]));
    let first = Some(id(&files[0]));
    let mut allowed = Allowed {
        ids: vec![first],
        confirmed: first,
    };
    use Step::{Good, Install, Start};
    let nor: Flash<'_> = image.nor(world.part);
    world.play(nor, &[Start, Install(1), Start, Good, Start], &mut allowed);
    image.bytes.bytes_mut()[4096 + 100] ^= 4;
    for _ in 0..2 {
        let mut slots = Slots::new(image.nor::<4, 4096>(world.part)).unwrap();
        let started = slots.start(|f, r| world.arm(f, r)).unwrap();
        assert_eq!((started.armed, started.slot), (id(&files[0]), Slot::A));
        assert_eq!(started.rejected.unwrap().name(), "Checksum");
        assert_eq!(slots.state().confirmed, Some(Slot::A));
    }
}

#[test]
fn calls_out_of_order_are_refused() {
    let files = [policy(0, CLASS), policy(1, CLASS)];
    let world = World {
        files: &files,
        trust: Trust::ANYONE,
        part: STM32F4,
    };
    let mut image = Image::new(4 * 4096, Some(&files[0]));
    let mut slots = Slots::new(image.nor::<4, 4096>(world.part)).unwrap();
    let length = files[1].len() as u32;
    let begin = |slots: &mut Slots<Flash<'_>>, activity| slots.begin(length, activity);
    assert_eq!(
        begin(&mut slots, Activity::Disarmed).unwrap_err(),
        Fault::INCOMPLETE
    );
    slots.start(|f, r| world.arm(f, r)).unwrap();
    assert_eq!(slots.confirm(), Err(Fault::NO_TRIAL));
    assert_eq!(slots.revert(Fault::NO_TRIAL), Err(Fault::NO_TRIAL));
    // The core would stand still for two seconds.
    assert!(slots.flash().stalls());
    assert_eq!(
        begin(&mut slots, Activity::Armed).unwrap_err(),
        Fault::ARMED
    );
    let operations = slots.flash().operations();
    assert_eq!(operations, 0, "nothing was written so far");
    // Two installations at once: the second ends the first.
    let mut first = begin(&mut slots, Activity::Disarmed).unwrap();
    slots.write(&mut first, &files[1][..50]).unwrap();
    assert_eq!(first.taken(), 50);
    let mut second = begin(&mut slots, Activity::Disarmed).unwrap();
    assert_eq!(
        slots.write(&mut first, &files[1][50..]),
        Err(Fault::INCOMPLETE)
    );
    slots.write(&mut second, &files[1]).unwrap();
    assert_eq!(slots.write(&mut second, &[0]), Err(Fault::INCOMPLETE));
    let check = |flash: &Flash<'_>, region| world.arm(flash, region).map(|(_, counter)| counter);
    assert_eq!(slots.finish(first, check), Err(Fault::INCOMPLETE));
    slots.finish(second, check).unwrap();
    // On trial the slot is in use, and so it is after the revert until the next start.
    assert!(slots.start(|f, r| world.arm(f, r)).unwrap().on_trial);
    assert_eq!(
        begin(&mut slots, Activity::Disarmed).unwrap_err(),
        Fault::ON_TRIAL
    );
    slots.revert(Fault::NON_FINITE_VALUE).unwrap();
    assert_eq!(
        begin(&mut slots, Activity::Disarmed).unwrap_err(),
        Fault::ON_TRIAL
    );
    slots.start(|f, r| world.arm(f, r)).unwrap();
    let half = begin(&mut slots, Activity::Disarmed).unwrap();
    assert_eq!(slots.finish(half, check), Err(Fault::INCOMPLETE));
}

#[test]
fn confirm_and_revert_never_erase_and_take_few_words() {
    // Ten years of updates, a record sector of 16 places: the trial always finds room.
    let files = [policy(0, CLASS), policy(1, CLASS)];
    let world = World {
        files: &files,
        trust: Trust::ANYONE,
        part: STM32F4,
    };
    let mut image = Image::new(4 * 512, Some(&files[0]));
    let mut slots = Slots::new(image.nor::<4, 512>(world.part)).unwrap();
    slots.start(|f, r| world.arm(f, r)).unwrap();
    for update in 0..200 {
        let file = &files[(update + 1) % 2];
        let mut install = slots.begin(file.len() as u32, Activity::Disarmed).unwrap();
        slots.write(&mut install, file).unwrap();
        let check = |flash: &Nor<'_, 4, 512>, r| world.arm(flash, r).map(|(_, c)| c);
        slots.finish(install, check).unwrap();
        assert!(slots.start(|f, r| world.arm(f, r)).unwrap().on_trial);
        let (operations, busy) = (slots.flash().operations(), slots.flash().busy_us());
        if update % 3 == 2 {
            slots.revert(Fault::TRIAL_TOO_LONG).unwrap();
            slots.start(|f, r| world.arm(f, r)).unwrap();
        } else {
            slots.confirm().unwrap();
            assert_eq!(slots.state().other, Other::Previous);
        }
        assert_eq!(slots.flash().operations() - operations, 8);
        assert_eq!(slots.flash().busy_us() - busy, 8 * 100);
    }
    assert_eq!(slots.flash().mistakes(), 0);
}

#[test]
fn the_model_enforces_what_flash_enforces() {
    let mut image = Image::new(4 * 4096, None);
    let mut flash: Flash<'_> = image.nor(NRF52840);
    let mut word = [0; 4];
    assert!(flash.write(2, &[0; 4]).is_err(), "not aligned");
    assert!(flash.write(0, &[0; 3]).is_err(), "not a whole word");
    assert!(flash.write(4 * 4096, &[0; 4]).is_err(), "outside");
    assert!(flash.erase(0, 100).is_err(), "not a whole sector");
    flash.write(0, &[0xF0; 4]).unwrap();
    assert!(flash.write(0, &[0x00; 4]).is_err(), "written twice");
    flash.read(0, &mut word).unwrap();
    assert_eq!((word, flash.mistakes()), ([0xF0; 4], 1));
    flash.erase(0, 4096).unwrap();
    flash.read(0, &mut word).unwrap();
    assert_eq!(word, [0xFF; 4]);
    assert_eq!((flash.operations(), flash.busy_us()), (2, 41 + 85_000));
    // Torn: a word reads with some of its bits, and is not to be written again.
    flash.cut_power_at(1, Torn::Part(0x00FF_0000));
    assert!(flash.write(8, &[0x11; 8]).is_err());
    assert!(flash.read(8, &mut word).is_err(), "no power");
    let mut flash: Flash<'_> = image.nor(NRF52840);
    let mut words = [0; 8];
    flash.read(8, &mut words).unwrap();
    assert_eq!(words, [0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0xFF, 0x11]);
    flash.cut_power_at(0, Torn::Unreadable);
    assert!(flash.write(16, &[0x11; 4]).is_err());
    let mut flash: Flash<'_> = image.nor(NRF52840);
    assert!(flash.read(16, &mut word).is_err());
    assert!(flash.mapped(16, 4).is_none());
    flash.erase(0, 4096).unwrap();
    flash.write(16, &[0x22; 4]).unwrap();
}

#[test]
fn flashes_are_divided_or_refused() {
    let layout = |capacity: usize| {
        let mut image = Image::new(capacity, None);
        let nor =
            Nor::<'_, 4, 4096>::new(image.bytes.bytes_mut(), &mut image.marks, RP2350, |_| {});
        Layout::split(&nor)
    };
    assert_eq!(layout(3 * 4096), Err(Fault::SLOT_LAYOUT));
    let seven = layout(7 * 4096).unwrap();
    let (a, b) = (seven.slot(Slot::A), seven.slot(Slot::B));
    assert_eq!((a.offset, a.length), (0, 8192));
    assert_eq!((b.offset, b.length), (8192, 8192));
    let odd = Part { unit: 3, ..RP2350 };
    let mut image = Image::new(4 * 4096, None);
    assert_eq!(
        Layout::split(&image.nor::<3, 4096>(odd)),
        Err(Fault::SLOT_LAYOUT)
    );
}
