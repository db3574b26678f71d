//! The device's kernels against the reference evaluator on the host: the same bits for every input.
//!
//! The device runs assembly, the host the portable evaluator of the format. Inputs are a mixture: half of them
//! ordinary, the rest at the edges of tanh's clamp and of binary32, or any bit pattern.

mod hil_support;

use std::time::Duration;

use firmware::{Controller, ControllerState, Fault, SCRATCH_LEN, boot, control_step};
use hil_support::policies::common::generate::Rng;
use hil_support::policies::common::{Aligned, OwnedPolicy, Structure, int8};
use hil_support::{
    assert_no_panic_machinery, class, config, config_of, firmware_of, policies, the_board,
    the_firmware,
};
use trainer::bench::device::search::search;
use trainer::device::board::{Board, Emulator};
use trainer::device::build::Firmware;
use trainer::device::hil::start;
use trainer::device::qemu::{LinkKind, Qemu, QemuConfig};
use trainer::device::session::Session;

/// Steps per policy.
const STEPS: u32 = 400;

/// Shapes with every kind of panel and tail: widths and inputs below, at and above multiples of 4, 8 and 16.
fn structures() -> Vec<Structure> {
    let shape = |n, m, selector: &[usize], control: &[usize], seed| Structure {
        n,
        m,
        modes: 4,
        factors: vec![4],
        unit_norm: seed % 2 == 1,
        scores: seed % 3 == 0,
        selector: Some(selector.to_vec()),
        gains: seed % 2 == 0,
        control: Some(control.to_vec()),
        head_per_choice: seed % 4 == 1,
        bounds: seed % 3 != 1,
        names: false,
        seed,
    };
    vec![
        shape(1, 1, &[1], &[2], 40),
        shape(3, 8, &[64, 64], &[64, 64], 41),
        shape(8, 5, &[9, 12, 20, 3], &[31, 33, 13, 15], 42),
        shape(17, 13, &[47], &[16, 16], 43),
        shape(33, 2, &[5, 128], &[128], 44),
        shape(15, 7, &[], &[6, 14], 45),
    ]
}

/// A state of the mixture.
fn state(rng: &mut Rng, n: usize) -> Vec<f32> {
    let kind = rng.next() % 8;
    (0..n)
        .map(|_| {
            let raw = rng.next();
            let ulps = (raw % 5) as i32 - 2;
            let near = |x: f32| f32::from_bits((x.to_bits() as i32 + ulps) as u32);
            let sign = if raw & 64 == 0 { 1.0 } else { -1.0 };
            match kind {
                0 | 1 => rng.float(1.0),
                2 => rng.float(4.0),
                3 => rng.float(64.0),
                4 => sign * near([9.0, 1.0, 0.0625, 1024.0][(raw >> 8) as usize % 4]),
                5 => sign * near([f32::MIN_POSITIVE, 1e-30, 1e18, 1e30][(raw >> 8) as usize % 4]),
                _ => f32::from_bits((raw >> 32) as u32),
            }
        })
        .collect()
}

/// Runs the mixture on device and host; gives the number of steps the policy decided.
fn compare(name: &str, file: &Aligned) -> u32 {
    let config = config(LinkKind::Semihosting);
    let session = start(&config, &the_firmware().elf, file.bytes()).unwrap();
    compare_on(session, name, file)
}

fn compare_on(mut session: Session, name: &str, file: &Aligned) -> u32 {
    assert_eq!(session.boot_fault(), None, "{name}");
    let mut scratch = Box::new([0.0; SCRATCH_LEN]);
    let host: Controller<'_> = boot(file.bytes(), class(), &mut scratch);
    let policy = host.as_ref().unwrap().policy();
    let (n, m) = (policy.state_dim(), policy.control_dim());
    let mut rng = Rng(u64::from(policy.crc32()));
    let mut decided = 0;
    let mut control = vec![0.0; m];
    for step in 0..STEPS {
        let measured = state(&mut rng, n);
        // A fault latches the fallback law; every step is to meet the kernels.
        session.reset().unwrap();
        let action = session.step(step, &measured).unwrap();
        let mut fresh = ControllerState::new();
        let outcome = control_step(&host, &mut fresh, &measured, &mut control, &mut scratch);
        let bits = |u: &[f32]| u.iter().map(|u| u.to_bits()).collect::<Vec<_>>();
        assert_eq!(
            (
                action.choice,
                action.mode,
                action.fault,
                bits(&action.control)
            ),
            (
                outcome.choice,
                outcome.mode,
                Fault::code_of(outcome.fault),
                bits(&control)
            ),
            "{name}, step {step}: {measured:?}"
        );
        decided += u32::from(outcome.fault.is_none());
    }
    session.shut_down().unwrap();
    decided
}

#[test]
fn kernels_on_the_device_give_the_bits_of_the_reference_evaluator() {
    for structure in structures() {
        let policy: OwnedPolicy = policies::policy_of(&structure, class());
        let name = format!("{structure:?}");
        let float = compare(&name, &policy.encode());
        let eight = int8::encode(&policy, &int8::networks(&policy, structure.seed)).unwrap();
        let eight = compare(&format!("8 bits, {name}"), &eight);
        // Half of the mixture is ordinary; what overflows on the way is refused.
        assert!(
            float >= STEPS / 2 && eight >= STEPS / 2,
            "{float} {eight} {name}"
        );
    }
}

/// A panel of eight and one of four, each value inside tanh's clamp or beyond it: all patterns give the bits of the reference, in the same
/// number of instructions.
#[test]
fn every_pattern_of_values_beyond_the_clamp_takes_the_same_time() {
    const WIDTH: usize = 12;
    let mut policy = policies::policy_of(
        &Structure {
            n: WIDTH,
            m: WIDTH,
            modes: 1,
            factors: vec![1],
            unit_norm: false,
            scores: false,
            selector: None,
            gains: false,
            control: Some(vec![WIDTH]),
            head_per_choice: false,
            bounds: false,
            names: false,
            seed: 46,
        },
        class(),
    );
    // Every value of the state comes to a tanh of its own.
    (policy.shift, policy.scale) = (vec![0.0; WIDTH], vec![1.0; WIDTH]);
    let (hidden, _) = policy.control.as_mut().unwrap();
    hidden[0].bias.fill(0.0);
    for (at, weight) in hidden[0].weights.iter_mut().enumerate() {
        *weight = f32::from(u8::from(at % (WIDTH + 1) == 0));
    }
    policy.fill_golden();
    let file = policy.encode();

    // A clock so slow that the counter shows every instruction; `bench::device::search` has it too.
    let emulator = the_board().emulator().unwrap();
    let board: &'static Board = Box::leak(Box::new(Board {
        emulator: Some(Emulator {
            icount: "shift=10,sleep=off",
            ticks_per_instruction: emulator.ticks_per_instruction * 16.0,
            ..emulator
        }),
        ..*the_board()
    }));
    let config = config_of(board, the_firmware(), LinkKind::Semihosting);
    let mut session = start(&config, &the_firmware().elf, file.bytes()).unwrap();
    assert_eq!(session.boot_fault(), None);
    let mut scratch = Box::new([0.0; SCRATCH_LEN]);
    let host: Controller<'_> = boot(file.bytes(), class(), &mut scratch);
    let mut control = vec![0.0; WIDTH];
    let per_instruction = board.emulator().unwrap().ticks_per_instruction;
    let mut counts = std::collections::BTreeSet::new();
    let mut state = ControllerState::new();
    for pattern in 0..1_u32 << WIDTH {
        let measured: Vec<f32> = (0..WIDTH)
            .map(|i| {
                let beyond = [9.0, -20.0, 1e10, -1e18][(i + pattern as usize) % 4];
                let inside = [0.5, -8.999_999, 1e-30, -0.0][(i + pattern as usize) % 4];
                if pattern >> i & 1 == 1 {
                    beyond
                } else {
                    inside
                }
            })
            .collect();
        let action = session.step(pattern, &measured).unwrap();
        let outcome = control_step(&host, &mut state, &measured, &mut control, &mut scratch);
        assert_eq!((action.fault, outcome.fault), (0, None), "{measured:?}");
        let bits = |u: &[f32]| u.iter().map(|u| u.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&action.control), bits(&control), "{measured:?}");
        counts.insert((f64::from(action.ticks) / per_instruction).round() as u64);
    }
    session.shut_down().unwrap();
    assert!(
        counts.len() == 1 && counts.first() > Some(&500),
        "{counts:?}"
    );
}

/// On a core of Armv8-M without the DSP extension the assembly for networks in 8 bits is no code at all, which the core says; firmware built
/// with `no-dsp` has none of the assembly, and gives the host's bits there.
#[test]
fn without_the_dsp_extension_portable_code_gives_the_same_bits() {
    let m33 = trainer::device::board::find("mps2-an505").unwrap();
    let board: &'static Board = Box::leak(Box::new(Board {
        name: "mps2-an505-no-dsp",
        feature: Some("board-support/no-dsp"),
        ..*m33
    }));
    let (with, without) = (firmware_of(m33), firmware_of(board));
    assert_no_panic_machinery(&without.elf);
    let policy = policies::policy_of(&structures()[1], class());
    let float = policy.encode();
    let int8 = int8::encode(&policy, &int8::networks(&policy, 41)).unwrap();
    let session = |firmware: &Firmware, file: &Aligned| {
        let device = Qemu::start_with(
            QemuConfig {
                board,
                elf: &firmware.elf,
                policy: file.bytes(),
                link: LinkKind::Semihosting,
                timeout: Duration::from_secs(60),
            },
            &["-global".into(), "iotkit.CPU0_DSP=off".into()],
        );
        Session::greet(device.unwrap())
    };
    let error = session(&with, &int8).unwrap_err().to_string();
    assert!(error.contains(Fault::HARD_FAULT.name()), "{error}");
    for (name, file) in [("binary32", &float), ("8 bits", &int8)] {
        let decided = compare_on(session(&without, file).unwrap(), name, file);
        assert!(decided >= STEPS / 2, "{name}: {decided}");
    }
}

/// Cases and the most instructions that their control step takes without all kernels: what is reached, with a little room
/// (docs/benchmarks.md). All are within `250 + 15 n + 25 m` but c, whose 68 logits have no term in it, and the demo's 16 choices under mode rules.
const STEP_LIMITS: [(&str, f64); 16] = [
    ("a/f32", 310.0),
    ("b/f32", 685.0),
    ("c/f32", 1070.0),
    ("d/f32", 400.0),
    ("demo/f32", 570.0),
    ("a/f32-sections", 480.0),
    ("b/f32-sections", 1170.0),
    ("c/f32-sections", 1580.0),
    ("d/f32-sections", 630.0),
    ("demo/f32-sections", 755.0),
    ("switched-a/f32", 320.0),
    ("switched-b/f32", 425.0),
    ("switched-c/f32", 590.0),
    ("switched-a/f32-sections", 370.0),
    ("switched-b/f32-sections", 560.0),
    ("switched-c/f32-sections", 855.0),
];

/// States per policy in the two searches below; `hpo bench --device --search` takes as many as wanted.
const SEARCHED: usize = 500;

/// The entries of a search as (name of the case, least, most, bound).
fn searched(board: &str, filter: &str) -> Vec<(String, f64, f64, Option<f64>)> {
    let entries = search(board, filter, SEARCHED, &mut |_| {}).unwrap();
    let figure = |name: String| entries.iter().find(|e| e.name == name).map(|e| e.figure);
    let cases = entries.iter().filter_map(|e| e.name.strip_suffix("/most"));
    let cases = cases.map(|case| {
        let of = |what: &str| figure(format!("{case}/{what}"));
        // Hardly a state is refused.
        assert!(of("decided").unwrap() > 0.9 * SEARCHED as f64, "{case}");
        (
            case.to_owned(),
            of("least").unwrap(),
            of("most").unwrap(),
            of("bound"),
        )
    });
    cases.collect()
}

#[test]
fn with_an_fpu_no_state_takes_longer_than_another() {
    for (board, filter, cases) in [("mps2-an386", "", 30), ("mps2-an505", "", 30)] {
        let found = searched(board, filter);
        assert_eq!(found.len(), cases, "{board}");
        for (case, least, most, bound) in found {
            assert!(
                least == most && most > 1_000.0,
                "{board} {case}: {least} to {most}"
            );
            assert_eq!(bound, None);
        }
    }
}

#[test]
fn without_an_fpu_no_state_takes_longer_than_the_bound() {
    for board in ["microbit", "mps2-an385"] {
        for filter in ["d/f32", "demo/f32", "d/int8"] {
            for (case, least, most, bound) in searched(board, filter) {
                let bound = bound.unwrap();
                // A bound that nothing comes near would say nothing.
                assert!(
                    least < most && most <= bound && most > 0.25 * bound,
                    "{board} {case}: {least} to {most} of {bound}"
                );
            }
        }
    }
}

/// A step in software is logged as one with an FPU is, and weighted with its own core's table: instructions of one cycle, loads of two and branches of three
/// make more than one a step, and no mix of them three.
#[test]
fn without_an_fpu_a_logged_step_lies_within_the_search_and_has_an_estimate() {
    for board in ["microbit", "mps2-an385"] {
        let entries =
            trainer::bench::device::device_bench(board, "d/f32-sections", &mut |_| {}).unwrap();
        let figure = |what: &str| {
            let name = format!("d/f32-sections/{what}");
            entries.iter().find(|e| e.name == name).map(|e| e.figure)
        };
        let step = figure("step").unwrap();
        let found = searched(board, "d/f32-sections");
        let (_, least, most, _) = &found[0];
        assert!(
            0.95 * least < step && step < 1.05 * most,
            "{board}: {step}, found {least} to {most}"
        );
        let cycles = figure("step-cycles").unwrap();
        assert!(
            1.2 * step < cycles && cycles < 2.5 * step,
            "{board}: {step}, {cycles}"
        );
        // There is no kernel in assembly.
        assert_eq!(figure("network"), None);
    }
}

/// The limits of issue 5, on the firmware that ships; and no state takes longer than another.
#[test]
fn networks_stay_within_their_instructions() {
    let entries = trainer::bench::device::device_bench("mps2-an386", "", &mut |_| {}).unwrap();
    let figure = |name: &str| {
        let entry = entries.iter().find(|entry| entry.name == name);
        entry.unwrap_or_else(|| panic!("{name} is measured")).figure
    };
    for (network, f32_limit, int8_limit) in [
        ("a", 13_000.0, 6_900.0),
        ("b", 17_500.0, 9_300.0),
        ("c", 23_000.0, 12_200.0),
        ("d", 2_050.0, 1_320.0),
    ] {
        for (precision, limit) in [("f32", f32_limit), ("int8", int8_limit)] {
            let of = |what: &str| figure(&format!("{network}/{precision}/{what}"));
            let found = of("network");
            assert!(
                found > 0.5 * limit && found <= limit,
                "{network} {precision}: {found}"
            );
            assert!(of("step") > found && of("network-cycles") > found);
            assert!(of("step-cycles") > of("step") && of("step-cycles") > of("network-cycles"));
            assert_eq!(of("spread"), 0.0, "{network} {precision}");
        }
    }
    // The control step around the network: every finite state takes the same number, whatever the mode rules' history, and what is
    // around a network does not depend on its precision.
    for (case, limit) in STEP_LIMITS {
        let of = |what: &str| figure(&format!("{case}/{what}"));
        assert!(of("overhead") <= limit, "{case}: {}", of("overhead"));
        assert_eq!(of("step-spread"), 0.0, "{case}");
        if !case.starts_with("c/") && case != "demo/f32-sections" {
            assert!(of("overhead") <= of("limit"), "{case}: {}", of("overhead"));
        }
        if !case.contains("demo") {
            let int8 = figure(&format!("{}/overhead", case.replace("f32", "int8")));
            assert_eq!(int8, of("overhead"), "{case}");
        }
    }
    assert!(trainer::bench::device::device_bench("mps2-an386", "e/f16", &mut |_| {}).is_err());
}
