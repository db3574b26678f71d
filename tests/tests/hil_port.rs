//! A device behind a serial port: an emulated board whose UART is a pseudo-terminal.

mod hil_support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hil_support::policies::{file, good_policy, policy_of, structure};
use hil_support::{class, config, hil, plant, the_board, the_firmware};
use trainer::Error;
use trainer::cli::hil::HilArgs;
use trainer::device::board::find;
use trainer::device::budget::Budget;
use trainer::device::build::{Variant, build_variant};
use trainer::device::hil::{HilConfig, HilReport, run_hil_over};
use trainer::device::plant_loop::PlantLoop;
use trainer::device::port::{BAUD, Port};
use trainer::device::pty::PtyBoard;
use trainer::device::qemu::{LinkKind, QemuConfig};
use trainer::device::session::Session;

const LONG: Duration = Duration::from_secs(60);

fn board(policy: &[u8]) -> PtyBoard {
    PtyBoard::start(QemuConfig {
        board: the_board(),
        elf: &the_firmware().elf,
        policy,
        link: LinkKind::Uart,
        timeout: LONG,
    })
    .unwrap()
}

fn over(port: &Path, policy: &[u8], faults: Option<&str>) -> trainer::Result<HilReport> {
    let mut config = config(LinkKind::Uart);
    config.faults = faults.map(|text| text.parse().unwrap());
    let model = plant();
    let mut plant = PlantLoop::new(&model, 3);
    let port = Port::open(port, BAUD, LONG)?;
    run_hil_over(&config, port, policy, &mut plant, &mut |_| {}, &|_| {})
}

#[test]
fn a_device_behind_a_port_gives_the_same_loop_and_goes_on_running() {
    let policy = good_policy(class());
    let board = board(&policy);
    let here = hil(&config(LinkKind::Uart), &policy).unwrap();
    for _ in 0..2 {
        let there = over(board.port(), &policy, None).unwrap();
        there.verdict().unwrap();
        assert_eq!((there.steps, there.mismatches), (80, 0));
        assert_eq!(there.mean_cost, here.mean_cost);
        assert_eq!(there.port.as_deref(), Some(board.port()));
        assert_eq!((there.flash_bytes, there.instructions), (None, None));
        assert!(there.stack_bytes > 0);
    }
    let faults = Some("nan@3,drop=0.1,corrupt=0.002,pause:50ms@9");
    let there = over(board.port(), &policy, faults).unwrap();
    there.verdict().unwrap();
    let mut config = config(LinkKind::Semihosting);
    config.faults = faults.map(|text| text.parse().unwrap());
    // The same faults, whatever carries the frames.
    assert_eq!(there.faults, hil(&config, &policy).unwrap().faults);
    assert!(there.faults_injected > 0);
}

#[test]
fn a_device_with_slots_behind_a_port_has_the_budget_of_one() {
    let policy = good_policy(class());
    let microbit = find("microbit").unwrap();
    let slots = Variant {
        slots: true,
        ..Variant::default()
    };
    let firmware = build_variant(microbit, class(), &slots, &|_| {}).unwrap();
    let board = PtyBoard::start(QemuConfig {
        board: microbit,
        elf: &firmware.elf,
        policy: &policy,
        link: LinkKind::Uart,
        timeout: LONG,
    })
    .unwrap();
    let config = HilConfig {
        board: microbit,
        ..config(LinkKind::Uart)
    };
    let model = plant();
    let port = Port::open(board.port(), BAUD, LONG).unwrap();
    let report = run_hil_over(
        &config,
        port,
        &policy,
        &mut PlantLoop::new(&model, 3),
        &mut |_| {},
        &|_| {},
    )
    .unwrap();
    report.verdict().unwrap();
    let budget = Budget::of_variant(microbit, &slots).unwrap();
    assert_eq!(report.budget, budget);
    assert!(budget.stack_bytes > Budget::of(microbit).unwrap().stack_bytes);
}

#[test]
fn the_command_drives_a_port() {
    let policy = good_policy(class());
    let board = board(&policy);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.hpo");
    std::fs::write(&path, &policy).unwrap();
    let arguments = |port: PathBuf| HilArgs {
        policy: path.clone(),
        plant: "switched-lqr-8-4".into(),
        board: "mps2-an386".into(),
        link: None,
        port: Some(port),
        baud: BAUD,
        faults: None,
        episodes: 2,
        steps: Some(5),
        hostile: 40,
        stamp: None,
        seed: 1,
        timeout: 60.0,
        log: None,
        json: true,
    };
    trainer::cli::hil::run(&arguments(board.port().to_path_buf())).unwrap();
    // While another program has it.
    let held = Port::open(board.port(), BAUD, LONG).unwrap();
    let error = trainer::cli::hil::run(&arguments(board.port().to_path_buf())).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("busy"), "{error}");
    drop(held);
    let error = trainer::cli::hil::run(&arguments("/dev/ttyHPO0".into())).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("is not there"), "{error}");
}

#[test]
fn another_policy_or_class_is_named() {
    let policy = good_policy(class());
    let board = board(&policy);
    let mut other = structure();
    other.seed = 12;
    let error = over(board.port(), &file(&policy_of(&other, class())), None).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(
        error.to_string().contains("runs the policy with CRC-32"),
        "{error}"
    );
    let faults = Some("reset@3");
    let error = over(board.port(), &policy, faults).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("debug stub"), "{error}");
}

/// In the middle of a frame, with garbage before it: the greeting gets through.
#[test]
fn a_device_in_whatever_state_is_greeted() {
    let board = board(&good_policy(class()));
    for garbage in [&[0x55; 400][..], &[9, 1, 2], &[0, 0, 3, 1]] {
        let mut port = Port::open(board.port(), BAUD, LONG).unwrap();
        trainer::device::transport::Transport::send(&mut port, garbage).unwrap();
        let mut session = Session::join(port, LONG).unwrap();
        session.reset().unwrap();
        assert_eq!(session.step(1, &[0.5; 8]).unwrap().fault, 0);
    }
}

#[test]
fn a_device_that_dies_or_is_silent_is_an_error_with_a_time_limit() {
    let board = board(&good_policy(class()));
    let port = Port::open(board.port(), BAUD, LONG).unwrap();
    let mut session = Session::join(port, LONG).unwrap();
    session.step(0, &[0.5; 8]).unwrap();
    let status = Command::new("kill")
        .args(["-KILL", &board.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    let start = Instant::now();
    let error = session.step(1, &[0.5; 8]).unwrap_err();
    assert!(matches!(error, Error::Environment(_)), "{error}");
    assert!(error.to_string().contains("unplugged"), "{error}");
    assert!(start.elapsed() < LONG / 2);

    // Nobody behind it who answers.
    let quiet = PtyBoard::start(QemuConfig {
        board: the_board(),
        elf: &the_firmware().elf,
        policy: &[],
        link: LinkKind::Uart,
        timeout: LONG,
    })
    .unwrap();
    let stopped = Command::new("kill")
        .args(["-STOP", &quiet.id().to_string()])
        .status()
        .unwrap();
    assert!(stopped.success());
    let short = Duration::from_millis(600);
    let port = Port::open(quiet.port(), BAUD, short).unwrap();
    let error = Session::join(port, short).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(
        error
            .to_string()
            .contains("no device answered within 0.6 s"),
        "{error}"
    );
}
