//! Flashing emulated boards through QEMU's debug stub, and images that QEMU loads.

mod hil_support;

use hil_support::policies;
#[path = "../../firmware/tests/support/slots.rs"]
mod keys;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use firmware::Fault;
use hil_support::policies::{file, good_policy, policy_of, structure};
use hil_support::{class, firmware_of, the_board, the_firmware};
use keys::{key, public};
use policy_format::message::{Hello, PROTOCOL, Reply, Request};
use trainer::device::board::{Board, emulated, find};
use trainer::device::build::{Variant, build_variant};
use trainer::device::flash::identity::Identity;
use trainer::device::flash::{FlashConfig, flash};
use trainer::device::image::{Image, ImageFormat};
use trainer::device::qemu::{LinkKind, Qemu, QemuConfig};
use trainer::device::session::Session;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A policy file in a folder of its own.
struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("policy.hpo"), bytes).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("policy.hpo")
    }
}

/// The CRC-32 in a policy's header.
fn crc32(policy: &[u8]) -> u32 {
    u32::from_le_bytes(policy[16..20].try_into().unwrap())
}

fn config(board: &'static Board, policy: &File, gdb: Option<String>) -> FlashConfig {
    FlashConfig {
        board,
        policy: policy.path(),
        target_class: None,
        firmware: false,
        keys: Vec::new(),
        probe: None,
        gdb,
        dry_run: false,
        timeout: TIMEOUT,
    }
}

#[test]
fn every_emulated_board_is_flashed_reads_back_and_boots() {
    let bytes = good_policy(class());
    let policy = File::new(&bytes);
    for board in emulated() {
        let report = flash(&config(board, &policy, None), &|_| {}).unwrap();
        assert!(report.verified, "{}", board.name);
        assert_eq!(report.booted, Some(true), "{}", board.name);
        assert_eq!(
            (report.bytes, report.policy_crc32),
            (bytes.len(), crc32(&bytes))
        );
    }
}

#[test]
fn every_firmware_says_whose_it_is() {
    for board in emulated() {
        let found = Identity::of_elf(board, &firmware_of(board).elf).unwrap();
        let said = Identity {
            board: board.name.to_owned(),
            target_class: class(),
            keys: None,
            slots: false,
        };
        assert_eq!(found, Some(said));
    }
}

#[test]
fn firmware_with_keys_or_slots_says_so() {
    let keys: Vec<_> = (1..=3).map(|seed| public(&key(seed))).collect();
    for (keys, slots) in [(&keys[..2], false), (&[], true), (&keys, true)] {
        let variant = Variant {
            keys: keys.to_vec(),
            slots,
            regions: false,
        };
        let elf = build_variant(the_board(), class(), &variant, &|_| {})
            .unwrap()
            .elf;
        let found = Identity::of_elf(the_board(), &elf).unwrap().unwrap();
        let said = (found.keys.unwrap_or_default(), found.slots);
        assert_eq!(said, (keys.to_vec(), slots));
    }
}

/// A QEMU with a debug stub on a port of its own, greeted.
fn running(policy: &[u8]) -> (Session, String) {
    // Free a moment ago; nobody else here takes ports that the system gives out at random.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let stub = format!("127.0.0.1:{port}");
    let device = Qemu::start_with(
        QemuConfig {
            board: the_board(),
            elf: &the_firmware().elf,
            policy,
            // Not semihosting: there a firmware that waits for its host holds the stub as well.
            link: LinkKind::Uart,
            timeout: TIMEOUT,
        },
        &["-gdb".into(), format!("tcp:{stub}").into()],
    );
    (Session::greet(device.unwrap()).unwrap(), stub)
}

fn hello(session: &mut Session) -> Hello {
    match session
        .request(&Request::Hello { protocol: PROTOCOL })
        .unwrap()
    {
        Reply::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_running_qemu_is_flashed_and_boots_the_new_policy() {
    let (mut session, stub) = running(&[]);
    assert_eq!(session.boot_fault(), Some(Fault::EMPTY_SLOT));
    for seed in [1, 2] {
        let bytes = file(&policy_of(
            &hil_support::policies::common::Structure {
                seed,
                ..structure()
            },
            class(),
        ));
        let policy = File::new(&bytes);
        let mut config = config(the_board(), &policy, Some(stub.clone()));
        // Once the policy alone, once with the firmware.
        config.firmware = seed == 2;
        let report = flash(&config, &|_| {}).unwrap();
        assert!(report.verified);
        assert_eq!(report.booted, None);
        // Reset and run on: the device greets with the new policy, on the same link.
        let hello = hello(&mut session);
        assert_eq!((hello.boot_fault, hello.policy_crc32), (0, crc32(&bytes)));
    }
    session.shut_down().unwrap();
}

#[test]
fn a_policy_for_another_board_or_class_leaves_a_running_one_alone() {
    let (mut session, stub) = running(&good_policy(class()));
    let before = session.hello().clone();
    let other_class = File::new(&good_policy(class() ^ 1));
    let good = File::new(&good_policy(class()));
    for (board, policy, says) in [
        (
            the_board(),
            &other_class,
            "which the firmware on the board is built for",
        ),
        (
            find("mps2-an385").unwrap(),
            &good,
            "the firmware of mps2-an386",
        ),
        (
            find("mps2-an505").unwrap(),
            &good,
            "no firmware of this project",
        ),
    ] {
        let error = flash(&config(board, policy, Some(stub.clone())), &|_| {}).unwrap_err();
        // QEMU may refuse to read where the other board's record would be.
        assert!(
            error.exit_code() == 2 || board.name == "mps2-an505",
            "{error}"
        );
        assert!(
            error.to_string().contains(says) || error.exit_code() == 3,
            "{error}"
        );
        assert_eq!(hello(&mut session), before, "{}", board.name);
    }
    session.shut_down().unwrap();
}

#[test]
fn a_loader_that_brings_the_old_policy_back_is_noticed() {
    let old = good_policy(class());
    let (mut session, stub) = running(&old);
    let new = file(&policy_of(
        &hil_support::policies::common::Structure {
            seed: 2,
            ..structure()
        },
        class(),
    ));
    let policy = File::new(&new);
    let error = flash(&config(the_board(), &policy, Some(stub)), &|_| {}).unwrap_err();
    assert_eq!(error.exit_code(), 1, "{error}");
    assert!(error.to_string().contains("-device loader"), "{error}");
    assert_eq!(hello(&mut session).policy_crc32, crc32(&old));
    session.shut_down().unwrap();
}

/// Starts the board with a file that QEMU's generic loader takes, and greets it.
fn loaded(image: &Path, address: Option<u64>) -> Session {
    let mut loader = format!("loader,file={}", image.display());
    if let Some(address) = address {
        loader += &format!(",addr={address:#x},force-raw=on");
    }
    let device = Qemu::start_with(
        QemuConfig {
            board: the_board(),
            elf: &the_firmware().elf,
            policy: &[],
            link: LinkKind::Semihosting,
            timeout: TIMEOUT,
        },
        &["-device".into(), loader.into()],
    );
    Session::greet(device.unwrap()).unwrap()
}

#[test]
fn a_board_boots_from_the_images() {
    let bytes = good_policy(class());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let image = Image::of_policy(the_board(), &bytes).unwrap();
    for (format, address) in [
        (ImageFormat::Hex, None),
        (ImageFormat::Bin, Some(image.address())),
    ] {
        std::fs::write(&path, image.encode(format).unwrap()).unwrap();
        let session = loaded(&path, address);
        assert_eq!(session.boot_fault(), None, "{format:?}");
        assert_eq!(session.hello().policy_crc32, crc32(&bytes), "{format:?}");
        session.shut_down().unwrap();
    }
}
