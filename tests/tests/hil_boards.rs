//! Every board of the table, in QEMU: the same bits, the same faults, no panic, sizes within the budget.

mod hil_support;

use std::time::Duration;

use firmware::Fault;
use hil_support::policies::common::{Aligned, Structure};
use hil_support::policies::{OwnedSafety, bad_policies, file, good_policy, policy_of, structure};
use hil_support::{
    BOTH_LINKS, PUSH_FOR_EVER, UNDEFINED, assert_no_panic_machinery, class, config_of, firmware_of,
    hil, with_broken_step,
};
use object::{Object, ObjectSymbol};
use policy_format::{FallbackKind, Need, Supervision, with_budget};
use trainer::device::board::{Board, Core, emulated};
use trainer::device::budget::Budget;
use trainer::device::build::Firmware;
use trainer::device::hil::{HilConfig, start};
use trainer::device::qemu::LinkKind;
use trainer::export::PolicyBuffer;
use trainer::export::int8::int8_policy;

/// Each board with its firmware.
fn boards() -> impl Iterator<Item = (&'static Board, Firmware)> {
    emulated().map(|board| (board, firmware_of(board)))
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
        assert!(emulated().any(|board| board.core == core), "{core:?}");
    }
    assert_eq!(emulated().count(), 7);
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
    let float = file(&policy_of(&everything, class()));
    let int8 = int8_policy(&PolicyBuffer::new(&float), &[]).unwrap().file;
    let policies = [good_policy(class()), float, int8.bytes().to_vec()];
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
            // With an FPU only the comparisons of arg-max and supervisor take their own ways; a reading of the
            // timer is exact to one instruction.
            if board.core.has_fpu() {
                assert!(
                    count.max - count.min <= 4 || policy != &policies[0],
                    "{}: {count:?}",
                    board.name
                );
            }
        }
    }
}

/// A choice of several factors is a sum of logits, also where there are as many choices as logits: 2 + 2 = 2 * 2 and 1 + 2 + 3 = 1 * 2 * 3.
#[test]
fn factors_of_any_sizes_under_mode_rules_give_the_hosts_bits() {
    for factors in [
        vec![2, 2],
        vec![1, 2, 3],
        vec![1, 1, 2, 4],
        vec![2, 3],
        vec![6],
    ] {
        let owned = policy_of(
            &Structure {
                factors: factors.clone(),
                selector: Some(vec![12]),
                ..structure()
            },
            class(),
        );
        let mut safety = OwnedSafety::of(&owned);
        // Where the policy always acts, its choices are all that is compared.
        safety.envelope = Default::default();
        safety.supervision.recover_after = 1;
        let policy = safety.file(&owned);
        for (board, firmware) in boards() {
            let mut config = semihosting(board, &firmware);
            config.hostile = if board.core.has_fpu() { 1_000 } else { 100 };
            let report = hil(&config, &policy).unwrap();
            let name = format!("{}, {factors:?}", board.name);
            report.verdict().unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!((report.steps, report.mismatches), (80, 0), "{name}");
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

/// Each monitor of time, by the host's clock: its reason code and an admissible action in the same period, on every core.
#[test]
fn every_board_names_what_is_wrong_with_time() {
    let policy = policy_of(&structure(), class());
    let mut safety = OwnedSafety::of(&policy);
    // A state far from all that is wrong with a state, and no return by itself.
    safety.supervision = Supervision {
        fallback: FallbackKind::Constant,
        recover_after: 0,
        deadline_us: 20_000,
        max_age_us: 5_000,
        frozen_after: 0,
    };
    let bytes = safety.file(&policy);
    let (lower, upper) = policy.bounds.clone().unwrap();
    let n = usize::from(policy.state_dim);
    let cases = [
        ((20_001, 20_000), Fault::FUTURE_MEASUREMENT),
        ((9_999, 20_000), Fault::TIME_BACKWARDS),
        ((10_500, 9_999), Fault::FUTURE_MEASUREMENT),
        ((9_000, 9_999), Fault::TIME_BACKWARDS),
        ((10_000, 20_000), Fault::SENSOR_STOPPED),
        ((30_001, 30_001), Fault::MISSED_DEADLINE),
        ((14_999, 20_000), Fault::STALE_MEASUREMENT),
    ];
    for (board, firmware) in boards() {
        let mut session = start(&semihosting(board, &firmware), &firmware.elf, &bytes).unwrap();
        let state = vec![0.0; n];
        for (seq, ((measured, now), fault)) in cases.into_iter().enumerate() {
            session.reset().unwrap();
            let seq = seq as u32;
            let good = session.step_at(seq, 10_000, 10_000, &state).unwrap();
            assert_eq!(good.fault, 0, "{}: {good:?}", board.name);
            let action = session.step_at(seq, measured, now, &state).unwrap();
            assert_eq!(action.fault, fault.code(), "{}: {action:?}", board.name);
            assert_eq!(action.control.len(), usize::from(policy.control_dim));
            for (i, u) in action.control.iter().enumerate() {
                assert!(
                    lower[i] <= *u && *u <= upper[i],
                    "{}: {action:?}",
                    board.name
                );
            }
        }
        session.shut_down().unwrap();
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

/// A tenth of what the figures of the project are measured with; `hpo hil --hostile` gives as many as wanted.
#[test]
fn hostile_inputs_get_admissible_actions_and_the_hosts_bits() {
    let bounded = Structure {
        selector: Some(vec![16, 16]),
        control: Some(vec![16]),
        seed: 5,
        ..structure()
    };
    let policy = file(&policy_of(&bounded, class()));
    for (board, firmware) in boards() {
        let mut config = semihosting(board, &firmware);
        (config.episodes, config.steps) = (1, 20);
        config.hostile = if board.core.has_fpu() { 100_000 } else { 5_000 };
        let report = hil(&config, &policy).unwrap();
        report
            .verdict()
            .unwrap_or_else(|e| panic!("{}: {e}", board.name));
        let hostile = report.hostile.unwrap();
        assert_eq!(hostile.inputs, config.hostile, "{}", board.name);
        assert_eq!(
            (
                hostile.mismatches,
                hostile.inadmissible,
                hostile.missed_faults
            ),
            (0, 0, 0),
            "{}",
            board.name
        );
        assert!(2 * hostile.reached_network >= hostile.inputs, "{hostile:?}");
        // A quarter lies beside thresholds, of which one in four is an edge of the number format.
        assert!(8 * hostile.at_thresholds > hostile.inputs, "{hostile:?}");
        assert!(report.fallback_steps == 0, "{}", board.name);
        let count = hostile.instructions.unwrap();
        assert!(
            count.max <= report.budget.instructions,
            "{}: {count:?}",
            board.name
        );
        println!("{}: {count:?}, stack {}", board.name, report.stack_bytes);
    }
}

/// With all sections that constrain and supervise: times that a monitor must refuse, and a sensor that repeats itself.
#[test]
fn a_stopped_and_a_frozen_sensor_are_noticed_on_every_board() {
    let owned = policy_of(&structure(), class());
    let policy = OwnedSafety::of(&owned).file(&owned);
    for (board, firmware) in boards() {
        let mut config = semihosting(board, &firmware);
        (config.episodes, config.steps) = (1, 20);
        config.hostile = if board.core.has_fpu() { 8_192 } else { 2_048 };
        let hostile = hil(&config, &policy).unwrap().hostile.unwrap();
        let failures = (
            hostile.mismatches,
            hostile.inadmissible,
            hostile.missed_faults,
        );
        assert_eq!(failures, (0, 0, 0), "{}: {hostile:?}", board.name);
        assert!(
            hostile.frozen > 0 && 64 * hostile.bad_times > hostile.inputs,
            "{}: {hostile:?}",
            board.name
        );
    }
}

#[test]
fn every_firmware_keeps_its_budget() {
    for (board, firmware) in boards() {
        let budget = Budget::of(board).unwrap();
        let sizes = firmware.sizes;
        assert_eq!(budget.over_memory(&sizes), [], "{}: {sizes:?}", board.name);
        // A measurement that found nothing would pass as well.
        assert!(sizes.flash_bytes > 4 * 1024, "{}: {sizes:?}", board.name);
        assert!(
            sizes.ram_bytes > 4 * firmware::SCRATCH_LEN as u64,
            "{}: {sizes:?}",
            board.name
        );
        if board.core == Core::M4F {
            assert!(budget.ram_bytes <= 4 * 1024);
        }
    }
}

/// A policy stamped with its measured budget runs on the board it was measured on, and on none whose class
/// nobody measured; one that asks for more than the board has is refused on both sides.
#[test]
fn a_budget_in_the_policy_is_held_against_the_board() {
    let good = Aligned::from(&good_policy(class()));
    let (board, firmware) = boards().find(|(board, _)| board.core == Core::M33).unwrap();
    let stack = 4_000;
    let cases = [
        (Core::M33, 50_000, stack, None),
        (Core::M55, 50_000, stack, None),
        (Core::M4F, 50_000, stack, Some(Fault::BUDGET_CORE)),
        (Core::M33, 100_001, stack, Some(Fault::BUDGET_INSTRUCTIONS)),
        (Core::M33, 50_000, 16 * 1024 + 1, Some(Fault::BUDGET_STACK)),
    ];
    for (core, instructions, stack_bytes, fault) in cases {
        let need = Need {
            core: core.class() as u32,
            instructions,
            stack_bytes,
        };
        let mut stamped = Aligned::zeros(good.bytes().len() + 64);
        let length = with_budget(good.bytes(), &[need], stamped.bytes_mut()).unwrap();
        let report = hil(&semihosting(board, &firmware), &stamped.bytes()[..length]).unwrap();
        assert_eq!(
            report.boot_fault,
            fault.map(|fault| fault.to_string()),
            "{need:?}"
        );
        assert_eq!(report.host_boot_fault, report.boot_fault, "{need:?}");
        assert_eq!(report.verdict().is_ok(), fault.is_none(), "{need:?}");
    }
}

/// Whether a state is one that the policy would refuse is looked at by other code while the fallback law acts than while the policy does, and on cores
/// with an FPU by other code than on the host: three such states hold the policy's return off alike.
#[test]
fn a_state_that_the_policy_would_refuse_holds_its_return_off_on_every_board() {
    for (unit_norm, huge) in [(false, f32::MAX), (true, 2e38)] {
        let owned = policy_of(
            &Structure {
                unit_norm,
                ..structure()
            },
            class(),
        );
        let mut safety = OwnedSafety::of(&owned);
        safety.envelope = Default::default();
        (
            safety.supervision.recover_after,
            safety.supervision.frozen_after,
        ) = (3, 0);
        let policy = safety.file(&owned);
        for (board, firmware) in boards() {
            let config = semihosting(board, &firmware);
            let mut session = start(&config, &firmware.elf, &policy).unwrap();
            assert_eq!(session.boot_fault(), None);
            let refused = Fault::NON_FINITE_INPUT.code();
            let expected = [0, refused, refused, refused, refused, refused, 0, 0];
            for (step, fault) in (0..).zip(expected) {
                let value = if (1..4).contains(&step) {
                    huge
                } else {
                    0.1 * step as f32
                };
                let action = session.step(step, &[value; 8]).unwrap();
                let what = format!("{}, unit norm {unit_norm}, step {step}", board.name);
                assert_eq!(action.fault, fault, "{what}");
            }
            session.shut_down().unwrap();
        }
    }
}
