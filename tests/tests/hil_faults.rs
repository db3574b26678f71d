//! What the host does when the device misbehaves: it says so, and leaves no process behind.

mod hil_support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use firmware::Fault;
use hil_support::policies::good_policy;
use hil_support::{
    BOTH_LINKS, UNDEFINED, class, config, hil, is_running, is_there, session, the_board,
    the_firmware, with_broken_step,
};
use policy_format::message::{Reply, Request, Stats};
use trainer::Error;
use trainer::device::qemu::{LinkKind, Qemu, QemuConfig};
use trainer::device::session::Session;

/// Long for a device that starts and answers on a busy machine, short for a test that waits for one that does not.
const SHORT: Duration = Duration::from_secs(6);
const LONG: Duration = Duration::from_secs(60);

/// Thumb `b .`: jump to itself.
const SPIN: u16 = 0xE7FE;

/// Thumb `svc #0`, twice.
const SUPERVISOR_CALL: [u16; 2] = [0xDF00, 0xDF00];

fn signal(id: u32, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), id.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_killed_emulator_is_an_error() {
    for link in BOTH_LINKS {
        let mut session = session(link, LONG, &the_firmware().elf).unwrap();
        let id = session.device().id();
        session.step(0, &[0.5; 8]).unwrap();
        signal(id, "KILL");
        let error = session.step(1, &[0.5; 8]).unwrap_err();
        assert!(matches!(error, Error::Environment(_)), "{error}");
        assert!(error.to_string().contains("signal: 9"), "{error}");
        drop(session);
        assert!(!is_there(id));
    }
}

#[test]
fn a_stopped_emulator_is_killed_after_the_time_limit() {
    for link in BOTH_LINKS {
        let mut session = session(link, SHORT, &the_firmware().elf).unwrap();
        let id = session.device().id();
        signal(id, "STOP");
        let error = session.step(0, &[0.5; 8]).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(
            error.to_string().contains("did not answer within 6 s"),
            "{error}"
        );
        assert!(!is_there(id));
    }
}

#[test]
fn firmware_that_spins_in_the_control_step_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let elf = with_broken_step(the_firmware(), folder.path(), [SPIN, SPIN]);
    for link in BOTH_LINKS {
        let mut config = config(link);
        config.elf = Some(elf.clone());
        config.timeout = SHORT;
        let error = hil(&config, &good_policy(class())).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("did not answer"), "{error}");
    }
}

#[test]
fn a_processor_fault_in_the_control_step_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let elf = with_broken_step(the_firmware(), folder.path(), UNDEFINED);
    for link in BOTH_LINKS {
        let mut session = session(link, LONG, &elf).unwrap();
        let error = session.step(0, &[0.5; 8]).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert!(error.to_string().contains("HardFault"), "{error}");
        // The device has ended itself with the fault's exit code.
        let error = session.step(1, &[0.5; 8]).unwrap_err();
        assert!(
            error.to_string().contains(Fault::HARD_FAULT.name()),
            "{error}"
        );
    }
}

/// An exception that nobody handles: `svc` in the control step. With interrupts masked, as over the UART, the core makes a hard fault of it.
#[test]
fn an_exception_nobody_handles_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let elf = with_broken_step(the_firmware(), folder.path(), SUPERVISOR_CALL);
    for (link, fault) in [
        (LinkKind::Semihosting, Fault::EXCEPTION),
        (LinkKind::Uart, Fault::HARD_FAULT),
    ] {
        let mut session = session(link, LONG, &elf).unwrap();
        let error = session.step(0, &[0.5; 8]).unwrap_err();
        assert!(error.to_string().contains(fault.name()), "{error}");
        // Frame and exit code say the same.
        let error = session.step(1, &[0.5; 8]).unwrap_err();
        assert!(error.to_string().contains(fault.name()), "{error}");
    }
}

/// A command line without a link, one with a link that there is not, and files that are not there.
#[test]
fn a_device_without_a_link_ends_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let machine = the_board().emulator().unwrap().machine;
    for arguments in [
        "",
        ",arg=hpo,arg=carrier-pigeon",
        ",arg=hpo,arg=semihosting",
    ] {
        let status = Command::new("qemu-system-arm")
            .current_dir(folder.path())
            .args(["-machine", machine, "-display", "none", "-monitor", "none"])
            .args(["-serial", "null", "-semihosting-config"])
            .arg(format!("enable=on,target=native{arguments}"))
            .arg("-kernel")
            .arg(&the_firmware().elf)
            .stdin(Stdio::null())
            .status()
            .unwrap();
        let fault = Fault::from_exit_code(status.code().unwrap());
        assert_eq!(fault, Some(Fault::NO_LINK), "{arguments:?}");
    }
}

/// A core that someone set to flush subnormal numbers arms no policy, and says why: bit 24 of FPDSCR, which is what FPSCR begins with.
#[test]
fn a_core_that_flushes_subnormals_runs_no_policy() {
    let policy = good_policy(class());
    for (value, fault) in [("0", None), ("0x01000000", Some(Fault::FLUSH_TO_ZERO))] {
        let qemu = QemuConfig {
            board: the_board(),
            elf: &the_firmware().elf,
            policy: &policy,
            link: LinkKind::Semihosting,
            timeout: LONG,
        };
        let written = format!("loader,addr=0xe000ef3c,data={value},data-len=4");
        let device = Qemu::start_with(qemu, &["-device".into(), written.into()]).unwrap();
        let mut session = Session::greet(device).unwrap();
        assert_eq!(session.boot_fault(), fault, "{value}");
        let action = session.step(0, &[0.5; 8]).unwrap();
        assert_eq!(action.fault, Fault::code_of(fault), "{value}");
        // Nothing moves on a core that does not arm.
        assert_eq!(action.control.is_empty(), fault.is_some(), "{value}");
        session.shut_down().unwrap();
    }
}

#[test]
fn firmware_that_is_no_elf_is_an_error_with_the_emulators_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing.elf");
    for link in BOTH_LINKS {
        let error = session(link, LONG, &path).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("missing.elf"), "{error}");
    }
}

#[test]
fn dropping_a_session_ends_the_emulator() {
    for link in BOTH_LINKS {
        let session = session(link, LONG, &the_firmware().elf).unwrap();
        let id = session.device().id();
        assert!(is_there(id));
        drop(session);
        assert!(!is_there(id));
    }
}

#[test]
fn the_device_survives_bad_frames_and_bad_states() {
    for link in BOTH_LINKS {
        let mut session = session(link, LONG, &the_firmware().elf).unwrap();
        let error = |reply: Reply| match reply {
            Reply::Error { fault } => Fault::from_code(fault).unwrap(),
            other => panic!("{other:?}"),
        };
        let cut = session.request_raw(&[9, 1, 0]).unwrap();
        assert_eq!(error(cut), Fault::FRAME_CUT);
        let crc = session.request_raw(&[6, 1, 2, 3, 4, 5, 0]).unwrap();
        assert_eq!(error(crc), Fault::FRAME_CRC);
        // A sound frame that holds no request: a reply, whose number is that of a request without fields.
        let mut frame = [0; policy_format::message::MAX_FRAME];
        let stats = Reply::Stats(Stats::default());
        let length = policy_format::message::encode_frame(&stats, &mut frame).unwrap();
        let payload = session.request_raw(&frame[..length]).unwrap();
        assert_eq!(error(payload), Fault::FRAME_PAYLOAD);
        let long = session.request_raw(&[0x55; 400]).unwrap();
        assert_eq!(error(long), Fault::FRAME_TOO_LONG);
        // The zero ends the overlong run and makes room for the next frame.
        let mut bytes = vec![0];
        let length = policy_format::message::encode_frame(&Request::Reset, &mut frame).unwrap();
        bytes.extend(&frame[..length]);
        assert_eq!(session.request_raw(&bytes).unwrap(), Reply::Ready);

        let mut broken = [0.5; 8];
        broken[7] = f32::NAN;
        let action = session.step(0, &broken).unwrap();
        assert_eq!(action.fault, Fault::NON_FINITE_INPUT.code());
        assert!(action.control.iter().all(|u| u.is_finite()));
        let action = session.step(1, &[0.5; 3]).unwrap();
        assert_eq!(action.fault, Fault::NON_FINITE_INPUT.code());
        session.reset().unwrap();
        assert_eq!(session.step(2, &[0.5; 8]).unwrap().fault, 0);
        let stats = session.stats().unwrap();
        assert_eq!(
            (stats.steps, stats.fallback_steps, stats.bad_frames),
            (3, 2, 4)
        );
        session.shut_down().unwrap();
    }
}

#[test]
fn a_device_told_to_stop_has_ended() {
    for link in BOTH_LINKS {
        let session = session(link, LONG, &the_firmware().elf).unwrap();
        let id = session.device().id();
        session.shut_down().unwrap();
        assert!(!is_there(id));
    }
}

/// A host that is killed cannot clean up: the device reads the end of its file and ends by itself.
#[test]
fn a_killed_host_leaves_no_emulator_behind() {
    const ROLE: &str = "HPO_TEST_HOST_TO_BE_KILLED";
    if std::env::var_os(ROLE).is_some() {
        let session = session(LinkKind::Semihosting, LONG, &the_firmware().elf).unwrap();
        println!("\nemulator {}", session.device().id());
        std::thread::sleep(LONG);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_killed_host_leaves_no_emulator_behind",
            "--nocapture",
        ])
        .env(ROLE, "1")
        // A killed host does not remove its emulator's folder; this one goes with the test.
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let id = BufReader::new(host.stdout.take().unwrap())
        .lines()
        .find_map(|line| line.unwrap().strip_prefix("emulator ")?.parse::<u32>().ok())
        .unwrap();
    assert!(is_running(id));
    host.kill().unwrap();
    host.wait().unwrap();
    let deadline = Instant::now() + LONG;
    while is_running(id) {
        assert!(Instant::now() < deadline, "the emulator outlived its host");
        std::thread::sleep(Duration::from_millis(10));
    }
}
