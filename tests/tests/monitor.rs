//! `hpo monitor` on a device in QEMU that runs its own loop, behind a pseudo-terminal.

mod hil_support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hil_support::policies::good_policy;
use hil_support::{class, the_board, the_firmware};
use trainer::cli::monitor::{MonitorArgs, run};
use trainer::device::build::{Variant, build_variant};
use trainer::device::port::BAUD;
use trainer::device::pty::PtyBoard;
use trainer::device::qemu::{LinkKind, QemuConfig};

const LONG: Duration = Duration::from_secs(100);

/// A board whose firmware runs its own loop; its time counts instructions.
fn looping() -> PtyBoard {
    let variant = Variant {
        slots: true,
        ..Variant::default()
    };
    let firmware = build_variant(the_board(), class(), &variant, &|line| eprintln!("{line}"));
    let config = QemuConfig {
        board: the_board(),
        elf: &firmware.unwrap().elf,
        policy: &good_policy(class()),
        link: LinkKind::Uart,
        timeout: LONG,
    };
    let more = [
        "-icount",
        "shift=6,sleep=off",
        "-semihosting-config",
        "arg=nrf52840",
    ];
    PtyBoard::start_with(config, &more.map(Into::into)).unwrap()
}

fn arguments(port: &Path, out: &Path, seconds: Option<f64>) -> MonitorArgs {
    MonitorArgs {
        port: port.to_path_buf(),
        out: Some(out.to_path_buf()),
        seconds,
        every: 0.001,
        baud: BAUD,
        timeout: 60.0,
        json: true,
    }
}

/// Asserts that a log is whole: a head, lines of as many fields, periods that rise, gaps that say by how much. The number of lines.
fn whole(path: &Path) -> usize {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'), "cut off: {text:?}");
    let mut lines = text.lines();
    let head: Vec<_> = lines.next().unwrap().split(',').collect();
    assert_eq!(head[..3], ["time_s", "period", "gap"]);
    assert_eq!(
        head[head.len() - 16..][..9],
        ["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "u0"]
    );
    let mut last: Option<(u32, f64)> = None;
    let mut count = 0;
    for line in lines {
        let fields: Vec<_> = line.split(',').collect();
        assert_eq!(fields.len(), head.len(), "{line}");
        let time: f64 = fields[0].parse().unwrap();
        let period: u32 = fields[1].parse().unwrap();
        let gap: u32 = fields[2].parse().unwrap();
        assert_eq!((fields[3], fields[7]), ("0", "1"), "not restarted, armed");
        match last {
            None => assert_eq!(gap, 0),
            Some((before, at)) => {
                assert_eq!(period, before + gap + 1, "{line}");
                assert!(time > at, "{line}");
            }
        }
        for value in &fields[fields.len() - 16..] {
            assert!(value.parse::<f32>().unwrap().is_finite(), "{line}");
        }
        last = Some((period, time));
        count += 1;
    }
    count
}

#[test]
fn a_running_loop_is_logged_with_its_gaps() {
    let board = looping();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.csv");
    run(&arguments(board.port(), &log, Some(2.0))).unwrap();
    assert!(whole(&log) > 5);
}

#[test]
fn it_ends_on_ctrl_c_with_a_whole_file() {
    const ROLE: &str = "HPO_TEST_MONITOR_TO_BE_INTERRUPTED";
    if let Some(role) = std::env::var_os(ROLE) {
        let role = role.into_string().unwrap();
        let (port, log) = role.split_once(':').unwrap();
        run(&arguments(Path::new(port), Path::new(log), None)).unwrap();
        return;
    }
    let board = looping();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.csv");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "it_ends_on_ctrl_c_with_a_whole_file"])
        .env(
            ROLE,
            format!("{}:{}", board.port().display(), log.display()),
        )
        .spawn()
        .unwrap();
    // Its lines come in blocks.
    let deadline = Instant::now() + LONG;
    while std::fs::metadata(&log).map_or(0, |file| file.len()) < 20_000 {
        assert!(Instant::now() < deadline, "nothing is logged");
        std::thread::sleep(Duration::from_millis(20));
    }
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupted.success());
    assert!(child.wait().unwrap().success());
    assert!(whole(&log) > 5);
}

#[test]
fn firmware_without_a_loop_and_a_missing_port_are_named() {
    let board = PtyBoard::start(QemuConfig {
        board: the_board(),
        elf: &the_firmware().elf,
        policy: &good_policy(class()),
        link: LinkKind::Uart,
        timeout: LONG,
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.csv");
    let error = run(&arguments(board.port(), &log, Some(1.0))).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains("no loop of its own"), "{error}");
    let error = run(&arguments(Path::new("/dev/ttyHPO0"), &log, Some(1.0))).unwrap_err();
    assert_eq!(error.exit_code(), 3);
}
