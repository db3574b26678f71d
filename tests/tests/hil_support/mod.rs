//! Shared by the tests that run a device in QEMU.
#![allow(dead_code)]

#[path = "../../../firmware/tests/support/mod.rs"]
pub mod policies;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use object::{Object, ObjectSection, ObjectSymbol};
use trainer::device::board::{self, Board};
use trainer::device::build::{Firmware, Variant, build_firmware, build_variant};
use trainer::device::hil::{HilConfig, HilReport, run_hil, start};
use trainer::device::plant_loop::PlantLoop;
use trainer::device::qemu::LinkKind;
use trainer::device::session::Session;
use trainer::plant::{PlantModel, load_plant};

pub const BOTH_LINKS: [LinkKind; 2] = [LinkKind::Semihosting, LinkKind::Uart];

/// The plant all of these tests share, so that they share one firmware build as well.
pub fn plant() -> PlantModel {
    load_plant("switched-lqr-8-4", &[]).unwrap()
}

pub fn class() -> u32 {
    plant().target_class()
}

pub fn the_board() -> &'static Board {
    board::find("mps2-an386").unwrap()
}

pub fn the_firmware() -> &'static Firmware {
    static FIRMWARE: OnceLock<Firmware> = OnceLock::new();
    FIRMWARE.get_or_init(|| firmware_of(the_board()))
}

/// The firmware of a board; compiled once, whoever asks.
pub fn firmware_of(board: &Board) -> Firmware {
    build_firmware(board, class(), &|line| eprintln!("{line}")).unwrap()
}

/// The firmware of a board that also runs policies with regions.
pub fn firmware_with_regions(board: &Board) -> Firmware {
    let variant = Variant {
        regions: true,
        ..Variant::default()
    };
    build_variant(board, class(), &variant, &|line| eprintln!("{line}")).unwrap()
}

pub fn config(link: LinkKind) -> HilConfig {
    config_of(the_board(), the_firmware(), link)
}

pub fn config_of(board: &'static Board, firmware: &Firmware, link: LinkKind) -> HilConfig {
    HilConfig {
        hostile: 0,
        board,
        link,
        episodes: 4,
        steps: 20,
        target_class: class(),
        // Far longer than any answer takes, on a machine busy with other tests as well.
        timeout: Duration::from_secs(60),
        elf: Some(firmware.elf.clone()),
        faults: None,
    }
}

/// Runs `policy` on the shared plant.
pub fn hil(config: &HilConfig, policy: &[u8]) -> trainer::Result<HilReport> {
    let model = plant();
    let mut plant = PlantLoop::new(&model, 3);
    run_hil(config, policy, &mut plant, &mut |_| {}, &|_| {})
}

/// A greeted device with a sound policy.
pub fn session(link: LinkKind, timeout: Duration, elf: &Path) -> trainer::Result<Session> {
    let mut config = config(link);
    config.timeout = timeout;
    start(&config, elf, &policies::good_policy(class()))
}

/// A copy of the firmware in `folder` whose control step starts with `instructions` in place of its own.
pub fn with_broken_step(firmware: &Firmware, folder: &Path, instructions: [u16; 2]) -> PathBuf {
    let mut bytes = std::fs::read(&firmware.elf).unwrap();
    let offset = {
        let file = object::File::parse(bytes.as_slice()).unwrap();
        let symbols: Vec<_> = file
            .symbols()
            .filter(|symbol| {
                symbol
                    .name()
                    .is_ok_and(|name| name.ends_with("10supervisor4step4step"))
            })
            .collect();
        assert_eq!(symbols.len(), 1, "one control step in the firmware");
        // Bit 0 of a Thumb function's address says Thumb.
        let address = symbols[0].address() & !1;
        let section = file
            .sections()
            .find(|s| (s.address()..s.address() + s.size()).contains(&address))
            .unwrap();
        let (start, _) = section.file_range().unwrap();
        usize::try_from(start + address - section.address()).unwrap()
    };
    for (place, instruction) in bytes[offset..offset + 4]
        .chunks_exact_mut(2)
        .zip(instructions)
    {
        place.copy_from_slice(&instruction.to_le_bytes());
    }
    let path = folder.join("broken.elf");
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Whether a process with this id still runs (a zombie counts: it was not waited for).
pub fn is_there(id: u32) -> bool {
    Path::new(&format!("/proc/{id}")).exists()
}

/// Whether a process with this id runs and is not merely waiting to be reaped.
pub fn is_running(id: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .starts_with(" Z")
    })
}

/// Thumb `udf #0`, twice: an instruction that is none.
pub const UNDEFINED: [u16; 2] = [0xDE00, 0xDE00];

/// Thumb `push {r0-r7}` and a jump back to it: takes all of the stack and more.
pub const PUSH_FOR_EVER: [u16; 2] = [0xB4FF, 0xE7FD];

/// Asserts that a firmware image holds no part of the panic machinery.
pub fn assert_no_panic_machinery(elf: &Path) {
    let bytes = std::fs::read(elf).unwrap();
    let elf = object::File::parse(bytes.as_slice()).unwrap();
    let names: Vec<&str> = elf
        .symbols()
        .filter(|symbol| symbol.size() > 0)
        .map(|symbol| symbol.name().unwrap())
        .collect();
    // A stripped file would show no panic either.
    for known in ["10supervisor4step4step", "encode_frame", "HardFault"] {
        assert!(
            names.iter().any(|name| name.contains(known)),
            "no symbol {known}"
        );
    }
    for part in [
        "panic",
        "unwind",
        "slice_index",
        "expect_failed",
        "unwrap_failed",
    ] {
        let found: Vec<_> = names.iter().filter(|name| name.contains(part)).collect();
        assert!(found.is_empty(), "{part}: {found:?}");
    }
}
