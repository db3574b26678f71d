//! The fuzzer's corpus on the stable compiler, and on the firmware in QEMU.

mod hil_support;

#[allow(dead_code)]
#[path = "../fuzz/harness/mod.rs"]
mod harness;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use firmware::{Fault, SCRATCH_LEN, boot};
use hil_support::the_board;
use policy_format::message::{Reply, Stats};
use trainer::device::build::{Variant, build_variant, project_root};
use trainer::device::guest::build_slots_examiner;
use trainer::device::qemu::{LinkKind, Qemu, QemuConfig};
use trainer::device::session::Session;
use trainer::device::setup::set_up;

use harness::{Slot, link, policy, slots};

/// Every file of a corpus, by name.
fn corpus(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = project_root().unwrap().join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let read = |path: PathBuf| (path.display().to_string(), std::fs::read(&path).unwrap());
    paths.into_iter().map(read).collect()
}

fn policies() -> Vec<(String, Vec<u8>)> {
    let mut all = corpus("tests/fuzz/corpus/policy_bytes");
    all.extend(corpus("policy-format/tests/golden"));
    assert!(all.len() > 20, "{} files", all.len());
    all
}

fn streams() -> Vec<(String, Vec<u8>)> {
    let all = corpus("tests/fuzz/corpus/link_bytes");
    assert!(all.len() > 10, "{} files", all.len());
    all
}

/// The firmware for the class of the corpus, with all that the host's library has.
fn elf() -> PathBuf {
    let variant = Variant {
        regions: true,
        ..Variant::default()
    };
    let progress = |line: &str| eprintln!("{line}");
    let firmware = build_variant(the_board(), link::class(), &variant, &progress);
    firmware.unwrap().elf
}

fn start(elf: &Path, policy: &[u8]) -> Qemu {
    Qemu::start(QemuConfig {
        board: the_board(),
        elf,
        policy,
        link: LinkKind::Semihosting,
        timeout: Duration::from_secs(60),
    })
    .unwrap()
}

#[test]
fn policy_bytes_are_harmless_on_the_host() {
    let mut armed = 0;
    let mut faults = Vec::new();
    for (_, bytes) in policies() {
        for fault in policy::examine(&bytes) {
            match fault {
                None => armed += 1,
                Some(fault) if !faults.contains(&fault) => faults.push(fault),
                Some(_) => {}
            }
        }
    }
    // The corpus is of use only while it meets both: policies that act, and many ways to be refused.
    assert!(armed >= 10, "{armed} armed");
    assert!(faults.len() >= 10, "{faults:?}");
}

#[test]
fn policy_bytes_give_the_same_fault_on_the_device() {
    let (elf, class) = (elf(), link::class());
    let mut armed = 0;
    for (name, bytes) in policies() {
        for slot in [Slot::new(&bytes), policy::mend(&bytes)] {
            let mut scratch = [0.0; SCRATCH_LEN];
            let expected = boot(slot.bytes(), class, &mut scratch).err();
            armed += usize::from(expected.is_none());
            let session = Session::greet(start(&elf, slot.bytes())).unwrap();
            assert_eq!(session.boot_fault(), expected, "{name}");
            session.shut_down().unwrap();
        }
    }
    assert!(armed >= 5, "{armed} armed");
}

/// The corpus, then the same inputs with changes: CI's own share of what `.ci/run fuzz` does with guidance.
#[test]
fn slots_survive_every_operation_and_cut() {
    let inputs = corpus("tests/fuzz/corpus/slots");
    assert!(inputs.len() > 20, "{} files", inputs.len());
    let mut sum = slots::Summary::default();
    let mut add = |input: &[u8]| {
        let one = slots::examine(input);
        sum.starts += one.starts;
        sum.trials += one.trials;
        sum.installs += one.installs;
        sum.confirmed += one.confirmed;
        sum.reverted += one.reverted;
        sum.prepared += one.prepared;
        sum.resumed += one.resumed;
        sum.cuts += one.cuts;
    };
    for (_, input) in &inputs {
        add(input);
    }
    let mut noise = 1_u64;
    let mut random = |below: usize| {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (noise >> 33) as usize % below
    };
    for round in 0..10_000 {
        let mut input = inputs[round % inputs.len()].1.clone();
        for _ in 0..1 + random(4) {
            match random(3) {
                0 => input.insert(random(input.len() + 1), random(256) as u8),
                _ => {
                    let at = random(input.len());
                    input[at] = random(256) as u8;
                }
            }
        }
        add(&input);
    }
    println!("{sum:?}");
    // The inputs are of use only while they meet all of it.
    for count in [
        sum.trials,
        sum.installs,
        sum.confirmed,
        sum.reverted,
        sum.prepared,
        sum.resumed,
        sum.cuts,
    ] {
        assert!(count > 200, "{sum:?}");
    }
}

/// The same harness on the core itself, with the firmware library as it is built for it: what happens to each input is what
/// happens to it on the host.
#[test]
fn slots_do_the_same_on_the_device() {
    let elf = build_slots_examiner(&|line| eprintln!("{line}")).unwrap();
    let inputs = corpus("tests/fuzz/corpus/slots");
    let mut memory = Vec::new();
    for (_, input) in &inputs {
        memory.extend((input.len() as u32).to_le_bytes());
        memory.extend(input);
        memory.resize(memory.len().next_multiple_of(4), 0);
    }
    memory.extend([0xFF; 4]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inputs");
    std::fs::write(&file, memory).unwrap();
    let output = Command::new(set_up(&|_| {}).unwrap().qemu)
        .args(["-machine", "mps2-an386", "-nographic", "-monitor", "none"])
        .args(["-serial", "none", "-semihosting-config"])
        .args(["enable=on,target=native", "-device"])
        .arg(format!(
            "loader,file={},addr=0x21000000,force-raw=on",
            file.display()
        ))
        .arg("-kernel")
        .arg(elf)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // Semihosting writes go to either stream, depending on the call.
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(output.status.success(), "{text}");
    let mut lines = text.lines();
    for (name, input) in &inputs {
        let expected = format!("{:?}", slots::examine(input));
        assert_eq!(lines.next(), Some(expected.as_str()), "{name}");
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn link_bytes_are_survived_on_the_host() {
    let (mut actions, mut errors) = (0, 0);
    for (_, bytes) in streams() {
        for reply in link::examine(&bytes) {
            match reply {
                Reply::Action(_) => actions += 1,
                Reply::Error { fault } => {
                    assert!(Fault::from_code(fault).is_some());
                    errors += 1;
                }
                _ => {}
            }
        }
    }
    assert!(
        actions > 5 && errors > 5,
        "{actions} actions, {errors} errors"
    );
}

/// What is the same on the device and on the host: all but times and stack.
fn comparable(replies: Vec<Reply>) -> Vec<Reply> {
    let timeless = |reply| match reply {
        Reply::Action(mut action) => {
            action.ticks = 0;
            Reply::Action(action)
        }
        Reply::Stats(stats) => Reply::Stats(Stats {
            stack_bytes: 0,
            overhead_ticks: 0,
            ..stats
        }),
        other => other,
    };
    replies.into_iter().map(timeless).collect()
}

#[test]
fn link_bytes_are_answered_by_the_device_as_by_the_host() {
    let elf = elf();
    for (name, bytes) in streams() {
        let stream = link::stream(&bytes);
        let mut device = start(&elf, link::POLICY);
        let mut output = Vec::new();
        let mut buffer = [0; 4096];
        // It speaks first when it is ready.
        let count = device.receive(&mut buffer).unwrap();
        output.extend_from_slice(&buffer[..count]);
        device.send(&stream).unwrap();
        while link::read(&output).last() != Some(&Reply::Bye) {
            let count = device
                .receive(&mut buffer)
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            output.extend_from_slice(&buffer[..count]);
        }
        device.wait().unwrap();
        assert_eq!(
            comparable(link::read(&output)),
            comparable(link::replies(&stream)),
            "{name}"
        );
    }
}
