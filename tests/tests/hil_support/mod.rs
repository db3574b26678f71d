//! Shared by the tests that run a device in QEMU.
#![allow(dead_code)]

#[path = "../../../firmware/tests/support/mod.rs"]
pub mod policies;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use object::{Object, ObjectSection, ObjectSymbol};
use trainer::device::board::{self, Board};
use trainer::device::build::{Firmware, build_firmware};
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
    FIRMWARE
        .get_or_init(|| build_firmware(the_board(), class(), &|line| eprintln!("{line}")).unwrap())
}

pub fn config(link: LinkKind) -> HilConfig {
    HilConfig {
        board: the_board(),
        link,
        episodes: 4,
        steps: 20,
        target_class: class(),
        // Far longer than any answer takes, on a machine busy with other tests as well.
        timeout: Duration::from_secs(60),
        elf: Some(the_firmware().elf.clone()),
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
pub fn with_broken_step(folder: &Path, instructions: [u16; 2]) -> PathBuf {
    let mut bytes = std::fs::read(&the_firmware().elf).unwrap();
    let offset = {
        let file = object::File::parse(bytes.as_slice()).unwrap();
        let symbols: Vec<_> = file
            .symbols()
            .filter(|symbol| {
                symbol
                    .name()
                    .is_ok_and(|name| name.contains("control_step"))
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
