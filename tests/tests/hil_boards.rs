//! Every board of the table, in QEMU: the same bits, the same faults, no panic, sizes within the budget.

mod hil_support;

use std::time::Duration;

use firmware::Fault;
use hil_support::policies::common::Structure;
use hil_support::policies::{bad_policies, file, good_policy, policy_of, structure};
use hil_support::{
    BOTH_LINKS, PUSH_FOR_EVER, UNDEFINED, assert_no_panic_machinery, class, config_of, firmware_of,
    hil, with_broken_step,
};
use object::{Object, ObjectSymbol};
use trainer::device::board::{BOARDS, Board, Core};
use trainer::device::build::Firmware;
use trainer::device::hil::{HilConfig, start};
use trainer::device::qemu::LinkKind;

/// Each board with its firmware.
fn boards() -> impl Iterator<Item = (&'static Board, Firmware)> {
    BOARDS.iter().map(|board| (board, firmware_of(board)))
}

fn semihosting(board: &'static Board, firmware: &Firmware) -> HilConfig {
    config_of(board, firmware, LinkKind::Semihosting)
}

/// The issue names them: five architectures, with and without FPU.
#[test]
fn every_core_is_in_the_table() {
    for core in [
        Core::M0,
        Core::M3,
        Core::M4F,
        Core::M7,
        Core::M33,
        Core::M55,
    ] {
        assert!(BOARDS.iter().any(|board| board.core == core), "{core:?}");
    }
    assert_eq!(BOARDS.len(), 7);
}

#[test]
fn every_board_gives_the_hosts_bits() {
    let everything = Structure {
        factors: vec![4, 3],
        unit_norm: true,
        selector: Some(vec![24, 17]),
        control: Some(vec![32, 9]),
        head_per_choice: true,
        seed: 23,
        ..structure()
    };
    let policies = [good_policy(class()), file(&policy_of(&everything, class()))];
    for (board, firmware) in boards() {
        for policy in &policies {
            let report = hil(&semihosting(board, &firmware), policy).unwrap();
            report
                .verdict()
                .unwrap_or_else(|e| panic!("{}: {e}", board.name));
            assert_eq!((report.steps, report.mismatches), (80, 0), "{}", board.name);
            let count = report.instructions.unwrap();
            assert!(
                count.min > 1_500 && count.max < 1_000_000,
                "{}: {count:?}",
                board.name
            );
            // Timer steps are exact to one tick, so that a count may differ by one.
            if board.core.has_fpu() {
                assert!(
                    count.max - count.min <= 1 || policy != &policies[0],
                    "{}: {count:?}",
                    board.name
                );
            }
        }
    }
}

#[test]
fn every_board_serves_its_uart() {
    for (board, firmware) in boards() {
        let mut config = config_of(board, &firmware, LinkKind::Uart);
        (config.episodes, config.steps) = (1, 5);
        let report = hil(&config, &good_policy(class())).unwrap();
        report
            .verdict()
            .unwrap_or_else(|e| panic!("{}: {e}", board.name));
        assert_eq!(report.steps, 5, "{}", board.name);
    }
}

/// The whole set of bad policies runs on one board (`hil.rs`); the rest of the way is each board's own.
#[test]
fn every_board_names_what_is_wrong_with_a_policy() {
    for (board, firmware) in boards() {
        let kinds = [
            "empty",
            "erased flash",
            "flipped bit",
            "wrong class",
            "golden mismatch",
        ];
        let mut seen = 0;
        for (kind, bytes, name) in bad_policies(class()) {
            if !kinds.contains(&kind) {
                continue;
            }
            seen += 1;
            let report = hil(&semihosting(board, &firmware), &bytes).unwrap();
            let fault = report.boot_fault.as_deref().unwrap_or("none");
            assert!(
                fault.ends_with(&format!(" {name}")),
                "{} {kind}: {fault}",
                board.name
            );
            assert_eq!(
                report.host_boot_fault, report.boot_fault,
                "{} {kind}",
                board.name
            );
        }
        assert_eq!(seen, kinds.len());
    }
}

/// An instruction that is none, and a stack that grows for ever: both end in a numbered fault on the link
/// and, behind it, in its exit code. The stack grows down into a guard and never reaches the statics.
#[test]
fn every_board_names_its_processor_faults() {
    let folder = tempfile::tempdir().unwrap();
    for (board, firmware) in boards() {
        for instructions in [UNDEFINED, PUSH_FOR_EVER] {
            let elf = with_broken_step(&firmware, folder.path(), instructions);
            for link in BOTH_LINKS {
                let mut config = config_of(board, &firmware, link);
                config.timeout = Duration::from_secs(20);
                let mut session = start(&config, &elf, &good_policy(class())).unwrap();
                let error = session.step(0, &[0.5; 8]).unwrap_err();
                assert_eq!(error.exit_code(), 1, "{}: {error}", board.name);
                assert!(
                    error.to_string().contains(Fault::HARD_FAULT.name()),
                    "{}: {error}",
                    board.name
                );
            }
        }
    }
}

/// Nothing in the firmware can panic: the linker found no use for any part of the panic machinery.
#[test]
fn no_board_holds_panic_machinery() {
    for (_, firmware) in boards() {
        assert_no_panic_machinery(&firmware.elf);
    }
}

/// What the host believes about the slot is what the linker was told.
#[test]
fn the_table_and_the_memory_maps_agree_on_the_slots() {
    for (board, firmware) in boards() {
        let bytes = std::fs::read(&firmware.elf).unwrap();
        let elf = object::File::parse(bytes.as_slice()).unwrap();
        let address = |name: &str| {
            let symbol = elf.symbols().find(|s| s.name() == Ok(name));
            symbol
                .unwrap_or_else(|| panic!("{}: no {name}", board.name))
                .address()
        };
        assert_eq!(
            address("_policy_slot"),
            board.policy_address,
            "{}",
            board.name
        );
        let end = board.policy_address + board.slot_bytes as u64;
        assert_eq!(address("_policy_slot_end"), end, "{}", board.name);
        assert_eq!(board.policy_address % 16, 0);
    }
}
