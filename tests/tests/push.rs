//! `hpo push` to a device in QEMU that runs its own loop beside: what is installed, what is refused, what breaks do to it.

mod hil_support;
#[path = "../../firmware/tests/support/slots.rs"]
mod keys;
#[allow(dead_code)]
#[path = "push_support/mod.rs"]
mod support;

use hil_support::policies;

use std::path::Path;
use std::process::{Command, Stdio};

use firmware::Fault;
use keys::{key, public, signed};
use policy_format::message::{SlotRequest, TelemetryFlags};
use support::{Break, Machine, OPTIONS, firmware_with_slots, id, policy, policy_for, slots};
use trainer::cli::push::PushArgs;
use trainer::device::build::Variant;
use trainer::device::port::{BAUD, Port};
use trainer::device::push::{PushOptions, prepare, push};
use trainer::device::session::Session;

const DISARM: PushOptions = PushOptions {
    disarm: true,
    ..OPTIONS
};

/// The parts, and the longest stall of a core that programs 256 bytes by one operation after another, in microseconds: one
/// operation, after which the loop may run.
const PARTS: [(&str, u32); 3] = [("nrf52840", 41), ("stm32f4", 100), ("rp2350", 3_000)];

#[test]
fn a_push_of_40_kib_beside_the_running_loop_misses_no_deadline_while_armed() {
    let elf = firmware_with_slots(&[]).elf;
    for (part, stall) in PARTS {
        let mut machine = Machine::start(&elf, &policy(1), part);
        let new = policy(2);
        assert!((40_000..45_000).contains(&new.len()), "{}", new.len());
        let mut session = machine.session();
        // While the loop is armed the core must not stand still for an erasure.
        let before = session.telemetry();
        assert_eq!(before.flags & TelemetryFlags::ARMED, 1);
        let refusal = push(&mut session.0, &new, OPTIONS, &mut |_, _| {}).unwrap_err();
        assert_eq!(refusal.exit_code(), 1);
        assert!(refusal.to_string().contains("Armed"), "{refusal}");
        let mut steps = Vec::new();
        let pushed = push(&mut session.0, &new, DISARM, &mut |at, all| {
            steps.push((at, all));
        });
        let report = pushed.unwrap();
        assert_eq!((report.sent, report.resumed_at), (new.len() as u32, 0));
        assert!(report.disarmed && !report.already && steps.len() > 100);
        assert!(steps.is_sorted() && steps.iter().all(|s| s.1 == report.bytes));
        let after = session.telemetry();
        assert_eq!(after.flags & TelemetryFlags::ARMED, 1);
        assert!(after.period > before.period + 10, "the loop ran meanwhile");
        println!(
            "{part}: {} bytes beside the loop, {} periods, {} deadlines missed while armed, begun at most {} us late",
            new.len(),
            after.period - before.period,
            after.missed,
            after.late_us
        );
        assert_eq!((after.missed, after.fault), (0, 0));
        // A period waits for the rest of the stall in which it falls due, so the greatest of those that fall into one is beyond half
        // of it; behind it there is what the loop itself takes of the time.
        let late = after.late_us;
        assert!(
            (stall / 2..stall + 300).contains(&late),
            "{part}: {late} us late"
        );
        assert_eq!(session.0.hello().policy_crc32, id(&policy(1)));
        // A second push of the same policy has nothing to do but to start it.
        let again = PushOptions {
            restart: true,
            ..DISARM
        };
        let report = push(&mut session.0, &new, again, &mut |_, _| {}).unwrap();
        assert!(report.already && report.restarted && report.sent == 0);
        drop(session);
        let mut session = machine.session();
        assert_eq!(session.0.hello().policy_crc32, id(&new));
        // 3000 good periods, and it stays.
        let status = session.until(|status| !status.on_trial);
        assert_eq!((status.confirmed, status.running, status.other), (2, 2, 3));
        assert_eq!(session.telemetry().missed, 0);
        drop(session);
        machine.reset();
        assert_eq!(machine.session().0.hello().policy_crc32, id(&new));
    }
}

#[test]
fn a_slot_erased_beforehand_takes_a_push_without_a_moment_of_disarming() {
    let elf = firmware_with_slots(&[]).elf;
    let mut machine = Machine::start(&elf, &policy(1), "nrf52840");
    let mut session = machine.session();
    let refusal = prepare(&mut session.0, OPTIONS).unwrap_err();
    assert!(refusal.to_string().contains("Armed"), "{refusal}");
    prepare(&mut session.0, DISARM).unwrap();
    let report = push(&mut session.0, &policy(2), OPTIONS, &mut |_, _| {}).unwrap();
    assert!(!report.disarmed && report.sent == report.bytes);
    let status = slots(&mut session.0, SlotRequest::Status).unwrap();
    assert_eq!((status.other, status.other_crc32), (1, id(&policy(2))));
    assert!(status.armed);
    assert_eq!(session.telemetry().missed, 0);
}

/// Breaks of each push in [`interrupted_at_random_points_and_resumed`].
const BREAKS: u32 = 5;

#[test]
fn interrupted_at_random_points_and_resumed() {
    // Pushes with 5 breaks each; HPO_PUSH_BREAKS=100 asks for the number of the issue.
    let wanted: u32 = std::env::var("HPO_PUSH_BREAKS").map_or(25, |text| text.parse().unwrap());
    let elf = firmware_with_slots(&[]).elf;
    let first = policy(1);
    let mut machine = Machine::start(&elf, &first, "nrf52840");
    let mut random = support::Random(20_261_129);
    let (mut cuts, mut resets, mut resumed) = (0, 0, 0);
    let mut missed = 0;
    for round in 0..wanted.div_ceil(BREAKS) {
        let new = policy(2 + u64::from(round) % 3);
        for _ in 0..BREAKS {
            // Anywhere in what is left of the push, or in the greeting.
            let at = random.below(48_000 / BREAKS as usize);
            let reset = random.below(4) == 0;
            let breaks = if reset { Break::Reset } else { Break::Cut };
            let (ended, happened) = machine.push_with_break(&new, DISARM, at, breaks);
            if let Ok(report) = ended {
                // It came to its end before the break, or survived a reset.
                assert!(reset || !happened, "a cut link ends a push");
                resumed += u32::from(report.resumed_at > 0);
            }
            cuts += u32::from(happened && !reset);
            resets += u32::from(happened && reset);
            eprintln!("round {round}, byte {at}: {breaks:?}, broke {happened}");
        }
        let mut session = machine.session();
        assert_eq!(
            session.0.hello().policy_crc32,
            id(&first),
            "the old one runs"
        );
        let options = PushOptions {
            restart: true,
            ..DISARM
        };
        let report = push(&mut session.0, &new, options, &mut |_, _| {}).unwrap();
        resumed += u32::from(report.resumed_at > 0);
        drop(session);
        let mut session = machine.session();
        assert_eq!(session.0.hello().policy_crc32, id(&new), "round {round}");
        missed += session.telemetry().missed;
        drop(session);
        // Not confirmed yet: the next start goes back to the first policy.
        machine.reset();
    }
    println!(
        "{cuts} cuts of the link and {resets} resets of the device in {} pushes, {resumed} gone on with, all ended with the right policy; {missed} deadlines missed",
        wanted.div_ceil(BREAKS)
    );
    assert_eq!(missed, 0);
    let broken = cuts + resets;
    assert!(
        broken > wanted * 8 / 10 && resumed > 0,
        "{broken} {resumed}"
    );
}

#[test]
fn what_must_not_run_is_refused_by_name_and_what_runs_goes_on() {
    let elf = firmware_with_slots(&[public(&key(1))]).elf;
    let class = hil_support::class();
    let running = signed(&policy(1), &key(1), 5);
    let mut machine = Machine::start(&elf, &running, "nrf52840");
    let mut session = machine.session();
    let good = signed(&policy(2), &key(1), 6);
    let mut flipped = good.clone();
    flipped[20_000] ^= 4;
    policy_format::reseal(&mut flipped);
    let other_board = signed(&support::made_for_a_cortex_m0(class), &key(1), 6);
    for (name, file, fault) in [
        (
            "wrong key",
            signed(&policy(2), &key(2), 6),
            Fault::UNKNOWN_KEY,
        ),
        ("changed", flipped, Fault::BAD_SIGNATURE),
        ("older", signed(&policy(2), &key(1), 4), Fault::ROLLBACK),
        (
            "other class",
            signed(&policy_for(2, class + 1), &key(1), 6),
            Fault::TARGET_CLASS,
        ),
        ("other board", other_board, Fault::BUDGET_CORE),
        (
            "too long",
            signed(&support::longer_than_a_slot(class), &key(1), 6),
            Fault::SLOT_TOO_SMALL,
        ),
    ] {
        let error = push(&mut session.0, &file, DISARM, &mut |_, _| {}).unwrap_err();
        assert_eq!(error.exit_code(), 1, "{name}: {error}");
        let text = error.to_string();
        assert!(text.contains(fault.name()), "{name}: {text}");
        assert!(text.contains("what runs is untouched"), "{name}: {text}");
        // The loop is armed again, by the policy that ran before.
        let telemetry = session.telemetry();
        assert_eq!((telemetry.flags, telemetry.fault), (1, 0), "{name}");
        assert_eq!(telemetry.missed, 0, "{name}");
    }
    assert_eq!(session.install_blindly(&policy(2)), Err(Fault::UNSIGNED));
    // The floor is above 0 here: an unsigned policy is refused for what it is, not for the counter that it has not.
    let error = push(&mut session.0, &policy(2), DISARM, &mut |_, _| {}).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains("Unsigned"), "{error}");
    assert!(
        error.to_string().contains("signed policies only"),
        "{error}"
    );
    // The device says the same of an older counter when a host does not look first.
    let older = signed(&policy(2), &key(1), 4);
    assert_eq!(session.install_blindly(&older), Err(Fault::ROLLBACK));
    let report = push(&mut session.0, &good, DISARM, &mut |_, _| {}).unwrap();
    assert_eq!(report.resumed_at, 0, "nothing refused is gone on with");
    drop(session);
    machine.reset();
    assert_eq!(machine.session().0.hello().policy_crc32, id(&good));
}

#[test]
fn a_board_without_slots_is_told_to_be_built_with_them() {
    let elf = hil_support::the_firmware().elf.clone();
    let mut machine = Machine::start(&elf, &policies::good_policy(hil_support::class()), "uart");
    let mut session = machine.session();
    let error = push(&mut session.0, &policy(2), OPTIONS, &mut |_, _| {}).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("--slots"), "{error}");
    // Only emulated boards with a model of flash have them.
    let variant = Variant {
        slots: true,
        ..Variant::default()
    };
    let board = trainer::device::board::find("mps3-an547").unwrap();
    let error = trainer::device::build::build_variant(board, 0, &variant, &|_| {}).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("mps2-an386"), "{error}");
}

#[test]
fn a_restart_is_refused_while_armed_and_a_broken_trial_goes_back() {
    let elf = firmware_with_slots(&[]).elf;
    let mut machine = Machine::start(&elf, &policy(1), "rp2350");
    let mut session = machine.session();
    assert_eq!(
        slots(&mut session.0, SlotRequest::Restart),
        Err(Fault::ARMED)
    );
    push(&mut session.0, &policy(2), DISARM, &mut |_, _| {}).unwrap();
    slots(&mut session.0, SlotRequest::Disarm).unwrap();
    slots(&mut session.0, SlotRequest::Restart).unwrap();
    drop(session);
    let mut session = machine.session();
    assert_eq!(session.0.hello().policy_crc32, id(&policy(2)));
    // On trial its slot is in use. Disarmed, it stays on trial.
    assert!(slots(&mut session.0, SlotRequest::Disarm).unwrap().on_trial);
    let error = push(&mut session.0, &policy(3), DISARM, &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("OnTrial"), "{error}");
    drop(session);
    machine.reset();
    let mut session = machine.session();
    assert_eq!(session.0.hello().policy_crc32, id(&policy(1)));
    let status = slots(&mut session.0, SlotRequest::Status).unwrap();
    assert_eq!(status.other, 4);
    assert_eq!(status.reason, Fault::TRIAL_INTERRUPTED.code());
}

#[test]
fn the_command_through_a_port() {
    let elf = firmware_with_slots(&[]).elf;
    let mut device = Machine::start(&elf, &policy(1), "nrf52840").behind_a_port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.hpo");
    std::fs::write(&file, policy(2)).unwrap();
    let junk = folder.path().join("junk.hpo");
    std::fs::write(&junk, b"no policy").unwrap();
    let args = |policy: &Path, port: &Path| PushArgs {
        policy: Some(policy.to_path_buf()),
        port: port.to_path_buf(),
        baud: BAUD,
        disarm: true,
        restart: true,
        prepare: false,
        timeout: 100.0,
        json: false,
    };
    let refused = |args: &PushArgs, code: u8, word: &str| {
        let error = trainer::cli::push::run(args).unwrap_err();
        assert_eq!(error.exit_code(), code, "{error}");
        assert!(error.to_string().contains(word), "{error}");
    };
    refused(&args(&junk, &device.port), 2, "junk.hpo: ");
    refused(&args(&file, Path::new("/dev/ttyHPO0")), 3, "is not there");
    // Two pushes at once: the second finds the port taken.
    let first = Port::open(&device.port, BAUD, OPTIONS.patience).unwrap();
    refused(&args(&file, &device.port), 3, "busy");
    drop(first);
    trainer::cli::push::run(&args(&file, &device.port)).unwrap();
    let port = Port::open(&device.port, BAUD, OPTIONS.patience).unwrap();
    let mut session = Session::join(port, OPTIONS.patience).unwrap();
    assert_eq!(session.hello().policy_crc32, id(&policy(2)));
    // What `hpo hil --port` says of a device that steps itself.
    let error = session.step(0, &[0.0]).unwrap_err();
    assert!(error.to_string().contains("hpo monitor"), "{error}");
    drop(session);
    device.unplug();
    refused(&args(&file, &device.port), 3, "port");
}

/// The program itself, killed without a chance to say goodbye, wherever it is: in the greeting, between disarming and arming, in the bytes.
#[test]
fn the_program_killed_at_any_point_goes_on_when_it_is_started_again() {
    let elf = firmware_with_slots(&[]).elf;
    let device = Machine::start(&elf, &policy(1), "nrf52840").behind_a_port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.hpo");
    let new = policy(2);
    std::fs::write(&file, &new).unwrap();
    let start = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hpo-program"));
        command
            .arg("push")
            .arg(&file)
            .arg("--port")
            .arg(&device.port);
        command.args(["--disarm", "--timeout", "100"]).args(more);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    // Two greetings are some 30 bytes, status, disarming and begin some 80 more; then the bytes of the policy.
    let mut random = support::Random(0x6B69_6C6C);
    let mut points = vec![1, 20, 40, 55, 70, 85, 100, 130];
    points.extend((0..6).map(|_| 150 + random.below(new.len() / 5)));
    let mut killed = 0;
    for after in &points {
        let goal = device.passed() + after;
        let mut program = start(&[]);
        while device.passed() < goal {
            let ended = program.try_wait().unwrap();
            assert!(ended.is_none(), "it ended before byte {after}: {ended:?}");
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        program.kill().unwrap();
        let ended = program.wait().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&ended),
            Some(9)
        );
        killed += 1;
    }
    let output = start(&["--json"]).wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |key: &str| report[key].as_u64().unwrap() as usize;
    assert!(count("resumed_at") > new.len() / 10, "{report}");
    assert_eq!(count("resumed_at") + count("sent"), new.len());
    println!(
        "killed {killed} times in {} bytes; the last push went on at {}",
        new.len(),
        count("resumed_at")
    );
    let port = Port::open(&device.port, BAUD, OPTIONS.patience).unwrap();
    let mut session = support::Asked(Session::join(port, OPTIONS.patience).unwrap());
    // What ran goes on running, armed whatever moment the program was killed at; no deadline was missed.
    assert_eq!(session.0.hello().policy_crc32, id(&policy(1)));
    let telemetry = session.telemetry();
    assert_eq!(
        (telemetry.flags, telemetry.missed),
        (TelemetryFlags::ARMED, 0)
    );
    let status = slots(&mut session.0, SlotRequest::Status).unwrap();
    assert_eq!((status.other, status.other_crc32), (1, id(&new)));
    slots(&mut session.0, SlotRequest::Disarm).unwrap();
    slots(&mut session.0, SlotRequest::Restart).unwrap();
    drop(session);
    let port = Port::open(&device.port, BAUD, OPTIONS.patience).unwrap();
    let session = Session::join(port, OPTIONS.patience).unwrap();
    assert_eq!(session.hello().policy_crc32, id(&new));
}

/// A push that was broken off between disarming and arming leaves the loop standing; the next one does not.
#[test]
fn a_loop_that_was_left_disarmed_is_armed_by_the_next_push() {
    let elf = firmware_with_slots(&[]).elf;
    let mut machine = Machine::start(&elf, &policy(1), "nrf52840");
    let mut session = machine.session();
    slots(&mut session.0, SlotRequest::Disarm).unwrap();
    drop(session);
    let mut session = machine.session();
    let report = push(&mut session.0, &policy(2), DISARM, &mut |_, _| {}).unwrap();
    assert!(report.disarmed);
    let telemetry = session.telemetry();
    assert_eq!(
        (telemetry.flags, telemetry.missed),
        (TelemetryFlags::ARMED, 0)
    );
    // Nor one that has nothing to send: the policy runs, or waits, or is refused.
    for (file, there) in [
        (policy(1), true),
        (policy(2), true),
        (policy_for(3, hil_support::class() + 1), false),
    ] {
        slots(&mut session.0, SlotRequest::Disarm).unwrap();
        let report = push(&mut session.0, &file, DISARM, &mut |_, _| {});
        assert_eq!(report.is_ok_and(|report| report.already), there);
        assert!(slots(&mut session.0, SlotRequest::Status).unwrap().armed);
    }
}

#[test]
fn firmware_with_a_loop_of_its_own_holds_no_panic_machinery() {
    hil_support::assert_no_panic_machinery(&firmware_with_slots(&[]).elf);
}
