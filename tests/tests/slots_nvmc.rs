//! Two policy slots in microbit's own flash, by QEMU's model of the nRF51's flash controller: what is installed over the link is erased,
//! programmed, tried, confirmed and reverted there, and all of it is found again after resets.

mod hil_support;
#[allow(dead_code)]
#[path = "push_support/mod.rs"]
mod support;

use firmware::Fault;
use hil_support::{assert_no_panic_machinery, class, policies};
use policy_format::message::{SlotRequest, SlotStatus};
use support::{Asked, Break, Broken, Machine, OPTIONS, Random, id, slots};
use trainer::device::board::{self, Board};
use trainer::device::build::{Firmware, Variant, build_variant};
use trainer::device::push::{PushOptions, push};

const INSTALL: PushOptions = PushOptions {
    disarm: true,
    restart: true,
    ..OPTIONS
};

/// Good periods of a trial in lockstep, and the most that it takes.
const GOOD: u32 = 8;
const WITHIN: u32 = 40;

fn microbit() -> &'static Board {
    board::find("microbit").unwrap()
}

fn firmware_with_slots() -> Firmware {
    let variant = Variant {
        slots: true,
        ..Variant::default()
    };
    build_variant(microbit(), class(), &variant, &|line| eprintln!("{line}")).unwrap()
}

fn policy(seed: u64) -> Vec<u8> {
    let structure = policies::common::Structure {
        seed,
        ..policies::structure()
    };
    policies::file(&policies::policy_of(&structure, class()))
}

/// Control steps; their faults.
fn steps(session: &mut Asked<Broken<'_>>, count: u32, value: f32) -> Vec<u16> {
    let length = usize::from(session.0.hello().state_dim);
    let step = |seq: u32| {
        let state = vec![value * seq as f32; length];
        session.0.step(seq, &state).unwrap().fault
    };
    (1..=count).map(step).collect()
}

fn status(session: &mut Asked<Broken<'_>>) -> SlotStatus {
    slots(&mut session.0, SlotRequest::Status).unwrap()
}

#[test]
fn policies_are_installed_confirmed_and_reverted_in_the_chips_own_flash() {
    let elf = firmware_with_slots().elf;
    let [a, b] = [policy(1), policy(2)];
    let mut machine = Machine::start_on(microbit(), &elf);

    // Nothing was ever flashed: it still takes an installation, and has nothing to go back to.
    let mut session = machine.session();
    assert_eq!(session.0.boot_fault(), Some(Fault::EMPTY_SLOT));
    let report = push(&mut session.0, &a, INSTALL, &mut |_, _| {}).unwrap();
    assert!(report.restarted && report.sent == a.len() as u32);
    drop(session);
    let mut session = machine.session();
    assert_eq!(session.0.hello().policy_crc32, id(&a));
    let now = status(&mut session);
    assert!(now.on_trial && now.confirmed == 0, "{now:?}");
    assert_eq!(steps(&mut session, GOOD, 0.01), vec![0; GOOD as usize]);
    let now = status(&mut session);
    assert!(!now.on_trial && now.confirmed == 1, "{now:?}");
    drop(session);

    // It is in flash: a reset finds it.
    machine.reset();
    let mut session = machine.session();
    assert_eq!(session.0.hello().policy_crc32, id(&a));
    assert_eq!(
        (status(&mut session).confirmed, status(&mut session).other),
        (1, 0)
    );

    // While the loop is armed nothing is erased, and a disarmed one takes no step.
    let error = push(&mut session.0, &b, OPTIONS, &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("Armed"), "{error}");
    slots(&mut session.0, SlotRequest::Disarm).unwrap();
    let refused = session.0.step(7, &[0.0; 4]).unwrap_err();
    assert!(refused.to_string().contains("Disarmed"), "{refused}");
    slots(&mut session.0, SlotRequest::Arm).unwrap();

    // A trial that a reset interrupts goes back.
    push(&mut session.0, &b, INSTALL, &mut |_, _| {}).unwrap();
    drop(session);
    let mut session = machine.session();
    assert_eq!(session.0.hello().policy_crc32, id(&b));
    assert_eq!(steps(&mut session, 3, 0.01), [0; 3]);
    drop(session);
    machine.reset();
    let mut session = machine.session();
    assert_eq!(session.0.hello().policy_crc32, id(&a));
    let now = status(&mut session);
    assert_eq!(
        (now.other, now.reason),
        (4, Fault::TRIAL_INTERRUPTED.code())
    );

    // One that has no good periods in its time goes back by itself.
    push(&mut session.0, &b, INSTALL, &mut |_, _| {}).unwrap();
    drop(session);
    let mut session = machine.session();
    assert_eq!(session.0.hello().policy_crc32, id(&b));
    let bad = steps(&mut session, WITHIN, f32::NAN);
    assert!(bad.iter().all(|fault| *fault != 0));
    drop(session);
    let mut session = machine.session();
    assert_eq!(session.0.hello().policy_crc32, id(&a));
    let now = status(&mut session);
    assert_eq!((now.other, now.reason), (4, Fault::TRIAL_TOO_LONG.code()));

    // And one that does well stays, in the other slot.
    push(&mut session.0, &b, INSTALL, &mut |_, _| {}).unwrap();
    drop(session);
    let mut session = machine.session();
    steps(&mut session, GOOD, 0.01);
    assert_eq!(
        (status(&mut session).confirmed, status(&mut session).other),
        (2, 3)
    );
    drop(session);
    machine.reset();
    assert_eq!(machine.session().0.hello().policy_crc32, id(&b));
}

/// Resets in whatever the device does, erasing and programming included; the records of many of them go through both sectors.
#[test]
fn resets_while_it_is_written_are_gone_on_from() {
    let elf = firmware_with_slots().elf;
    let mut machine = Machine::start_on(microbit(), &elf);
    let mut random = Random(0x0051_8220);
    let mut resets = 0;
    let mut before = None;
    for seed in 1..=4 {
        let new = policy(seed);
        let mut tries = 0;
        loop {
            let at = 60 + random.below(new.len() + 400);
            let (ended, happened) = machine.push_with_break(&new, INSTALL, at, Break::Reset);
            resets += u32::from(happened);
            tries += 1;
            // What ran before runs until the new one was installed whole.
            let mut session = machine.session();
            let runs = session.0.hello().policy_crc32;
            if runs == id(&new) {
                break;
            }
            assert!(ended.is_err() || happened, "{ended:?}");
            assert_eq!(runs, before.unwrap_or(0));
            assert_eq!(status(&mut session).confirmed == 0, before.is_none());
            if tries == 3 {
                push(&mut session.0, &new, INSTALL, &mut |_, _| {}).unwrap();
                drop(session);
                break;
            }
        }
        let mut session = machine.session();
        assert_eq!(session.0.hello().policy_crc32, id(&new));
        steps(&mut session, GOOD, 0.01);
        let now = status(&mut session);
        assert!(!now.on_trial, "{now:?}");
        before = Some(id(&new));
    }
    println!("{resets} resets in four updates");
    assert!(resets >= 3, "{resets}");
}

#[test]
fn its_firmware_holds_no_panic_machinery() {
    assert_no_panic_machinery(&firmware_with_slots().elf);
}
