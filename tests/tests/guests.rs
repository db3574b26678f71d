//! The control loop in other people's firmware, in QEMU: a hang ends in the watchdog, a hard fault drives the safe output, after either
//! the fallback law acts from the first period on; and a controller in C, in a task of RTIC and in one of embassy. Every line that a guest prints is compared with
//! the firmware library on the host.

#[path = "../../firmware/tests/support/mod.rs"]
mod policies;

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use firmware::supervisor::RECORD_WORDS;
use firmware::{ControlLoop, Fault, Observation, ResetCause};
use policies::common::Aligned;
use policies::{OwnedSafety, policy_of, slot, structure};
use policy_format::{CoreClass, Need, with_budget};
use trainer::device::board::{self, Board};
use trainer::device::guest::{build_bare_metal, build_c_example, build_task_example};
use trainer::device::setup::set_up;

const CLASS: u32 = 77;

fn policy() -> Vec<u8> {
    let owned = policy_of(&structure(), CLASS);
    OwnedSafety::of(&owned).file(&owned)
}

/// Runs an ELF with `policy` in the slot and gives the lines it printed; it must end with exit code 0.
fn run(board: &Board, elf: &Path, policy: &[u8], argument: &str) -> Vec<String> {
    run_to(board, elf, policy, argument, 0)
}

/// As [`run`], to another exit code.
fn run_to(board: &Board, elf: &Path, policy: &[u8], argument: &str, code: i32) -> Vec<String> {
    let qemu = set_up(&|_| {}).unwrap().qemu;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let policy_file = file("policy.hpo", policy);
    let length = file("length", &(policy.len() as u32).to_le_bytes());
    let mut child = Command::new(qemu)
        .args(["-machine", board.name, "-nographic", "-monitor", "none"])
        .args(["-serial", "none", "-icount", "shift=3,sleep=off"])
        .arg("-semihosting-config")
        .arg(format!("enable=on,target=native,arg=guest,arg={argument}"))
        .arg("-device")
        .arg(format!(
            "loader,file={policy_file},addr={:#x},force-raw=on",
            board.policy_address
        ))
        .arg("-device")
        .arg(format!(
            "loader,file={length},addr={:#x},force-raw=on",
            board.policy_address + board.slot_bytes as u64
        ))
        .arg("-kernel")
        .arg(elf)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A guest prints a few kilobytes, which the pipes hold. Far longer than it takes on a busy machine.
    let patience = Instant::now() + Duration::from_secs(120);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > patience {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the guest hangs");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let (mut out, mut err) = (String::new(), String::new());
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!(status.code(), Some(code), "{status}\n{out}\n{err}");
    // Semihosting writes go to either stream, depending on the call.
    // The emulator itself remarks on a guest that has stopped its last timer.
    let all = format!("{out}{err}");
    let guests = |line: &&str| !line.starts_with("qemu-system-arm: warning: icount");
    all.lines().filter(guests).map(str::to_owned).collect()
}

/// What the sensors of both guests measure in period `k`.
fn measured(k: u64) -> [f32; 8] {
    core::array::from_fn(|i| ((k * 7 + i as u64 * 5) % 64) as f32 / 64.0 - 0.5)
}

/// What one start of `bare-metal` prints before it ends or breaks down in period `until`.
fn life(
    policy: &[u8],
    cause: ResetCause,
    retained: &[u32; RECORD_WORDS],
    until: u64,
) -> (Vec<String>, [u32; RECORD_WORDS]) {
    let slot = slot(policy);
    let mut control = ControlLoop::new();
    let armed = control.start(slot.bytes(), CLASS, cause, retained);
    let resets = control.record().resets();
    let mut lines = vec![format!("start {cause:?} {armed:?} resets {resets}")];
    for period in 0..until {
        if period == 5 && resets > 0 {
            control.acknowledge();
        }
        let now = (period + 1) * 10_000;
        let x = measured(period + 1);
        let command = control.step(&Observation::new(&x, now, now + 100));
        lines.push(format!(
            "period {period} fault {:#06x} mode {} control {:08x}",
            Fault::code_of(command.fault()),
            command.mode(),
            command.control()[0].to_bits()
        ));
    }
    (lines, control.record().words())
}

fn safe_output(policy: &[u8]) -> u32 {
    let slot = slot(policy);
    let mut control = ControlLoop::new();
    control
        .start(slot.bytes(), CLASS, ResetCause::Other, &[0; RECORD_WORDS])
        .unwrap();
    let armed = control.controller().as_ref().unwrap();
    armed.policy().fallback_law().constant[0].to_bits()
}

/// The emulated boards whose watchdog QEMU has a model of: all but microbit (nRF51) and netduinoplus2 (STM32F405), whose watchdogs it
/// leaves out.
const WITH_WATCHDOG: [&str; 5] = [
    "mps2-an385",
    "mps2-an386",
    "mps2-an500",
    "mps2-an505",
    "mps3-an547",
];

#[test]
fn a_hang_ends_in_the_watchdog_and_a_hard_fault_in_the_safe_output() {
    for board in WITH_WATCHDOG {
        breakdowns_end_in_the_fallback_law(board::find(board).unwrap());
    }
}

fn breakdowns_end_in_the_fallback_law(board: &Board) {
    let elf = build_bare_metal(board, &|line| eprintln!("{line}")).unwrap();
    let policy = policy();
    let safe = safe_output(&policy);
    for (argument, cause, fault, word) in [
        (
            "hang",
            ResetCause::Watchdog,
            Fault::WATCHDOG_RESET,
            "watchdog",
        ),
        (
            "hardfault",
            ResetCause::Other,
            Fault::HARD_FAULT,
            "hardfault",
        ),
        // As behind an overflow: the handler has a stack of its own.
        ("stack", ResetCause::Other, Fault::HARD_FAULT, "hardfault"),
    ] {
        let (mut expected, before) = life(&policy, ResetCause::Other, &[0; RECORD_WORDS], 5);
        expected.push(format!("{word} control {safe:08x}"));
        let mut retained = before;
        if cause == ResetCause::Other {
            let mut record = firmware::supervisor::FaultRecord::load(&before);
            record.note_reset(fault);
            retained = record.words();
        }
        let (after, record) = life(&policy, cause, &retained, 10);
        // The first period after the reset is the fallback law's.
        assert!(
            after[1].contains(&format!("fault {:#06x}", fault.code())),
            "{after:?}"
        );
        assert!(after[6].contains("fault 0x0000"), "{after:?}");
        expected.extend(after);
        expected.push(format!("record {record:08x?}"));
        let lines = run(board, &elf, &policy, argument);
        assert_eq!(lines, expected, "{} {argument}", board.name);
    }
    let (mut expected, record) = life(&policy, ResetCause::Other, &[0; RECORD_WORDS], 10);
    expected.push(format!("record {record:08x?}"));
    assert_eq!(
        run(board, &elf, &policy, "none"),
        expected,
        "{}",
        board.name
    );
}

#[test]
fn a_controller_in_c_does_what_the_library_does() {
    let folder = tempfile::tempdir().unwrap();
    let elf = folder.path().join("example.elf");
    build_c_example(&elf, &|line| eprintln!("{line}")).unwrap();
    let policy = policy();
    let slot = slot(&policy);
    let mut control = ControlLoop::new();
    control
        .start(slot.bytes(), CLASS, ResetCause::Other, &[0; RECORD_WORDS])
        .unwrap();
    let mut expected = Vec::new();
    let mut faults = Vec::new();
    for period in 0..20_u64 {
        let mut x = measured(period);
        if period == 8 {
            x[3] = f32::INFINITY;
        }
        let now = 1_000_000 + period * 10_000;
        let observation = if period == 12 {
            Observation::missing(Fault::SENSOR_FAILED, now)
        } else {
            Observation::new(&x, now - 500, now)
        };
        let command = control.step(&observation);
        faults.extend(command.fault());
        let hex = |words: &[u32]| {
            words
                .iter()
                .map(|w| format!(" {w:08x}"))
                .collect::<String>()
        };
        let head = [
            period as u32,
            Fault::code_of(command.fault()).into(),
            command.mode().into(),
        ];
        let values: Vec<u32> = command.control().iter().map(|u| u.to_bits()).collect();
        expected.push(format!("step{}{}", hex(&head), hex(&values)));
        if let Some(words) = control.unsaved() {
            expected.push(format!("record{}", hex(&words)));
        }
    }
    assert_eq!(faults, [Fault::NON_FINITE_INPUT, Fault::SENSOR_FAILED]);
    let board = board::find("mps2-an386").unwrap();
    assert_eq!(run(board, &elf, &policy, "c"), expected);
    // `hpo_control_start_on`: what the policy's own budget asks for is held against the board's figures.
    let fits = Need {
        core: CoreClass::Armv7EMFpu as u32,
        instructions: 100_000,
        stack_bytes: 5_120,
    };
    let stamped = |need: Need| {
        let mut out = Aligned::zeros(policy.len() + 1_024);
        let length = with_budget(slot.bytes(), &[need], out.bytes_mut()).unwrap();
        out.bytes()[..length].to_vec()
    };
    let lines = run(board, &elf, &stamped(fits), "c");
    assert_eq!(lines, expected);
    for (need, fault) in [
        (Need { core: 1, ..fits }, Fault::BUDGET_CORE),
        (
            Need {
                instructions: 100_001,
                ..fits
            },
            Fault::BUDGET_INSTRUCTIONS,
        ),
        (
            Need {
                stack_bytes: 5_121,
                ..fits
            },
            Fault::BUDGET_STACK,
        ),
    ] {
        let lines = run_to(board, &elf, &stamped(need), "c", 1);
        assert_eq!(lines, [fault.name()], "{need:?}");
    }
}

/// The step in a task that a timer starts, under RTIC and under embassy's executor: the same lines as the library on the host.
#[test]
fn the_step_in_a_task_of_rtic_or_embassy_does_what_the_library_does() {
    let board = board::find("mps2-an386").unwrap();
    let policy = policy();
    let (expected, _) = life(&policy, ResetCause::Other, &[0; RECORD_WORDS], 10);
    assert_eq!(expected.len(), 11);
    for framework in ["rtic", "embassy"] {
        let elf = build_task_example(framework, &|line| eprintln!("{line}")).unwrap();
        assert_eq!(
            run(board, &elf, &policy, framework),
            expected,
            "{framework}"
        );
    }
}
