//! Firmware that runs signed policies only, in QEMU: it arms what one of its keys has signed, and names what is wrong with all else.

mod hil_support;

use hil_support::policies;
#[path = "../../firmware/tests/support/slots.rs"]
mod keys;

use firmware::Fault;
use hil_support::policies::good_policy;
use hil_support::{assert_no_panic_machinery, class, config_of, plant};
use keys::{key, public, signed};
use policy_format::{SIGNATURE_LEN, reseal};
use trainer::device::board::{self, Board};
use trainer::device::budget::Budget;
use trainer::device::build::{Firmware, Variant, build_variant};
use trainer::device::hil::start;
use trainer::device::plant_loop::PlantLoop;
use trainer::device::qemu::LinkKind;

/// A Cortex-M0, M4F and M33, and the most flash that verification may take on it: docs/benchmarks.md has the figures.
const BOARDS: [(&str, u64); 3] = [
    ("microbit", 21 * 1024),
    ("mps2-an386", 17 * 1024),
    ("mps2-an505", 17 * 1024),
];

/// Firmware with the public halves of keys 1 and 2.
fn firmware_of(board: &Board) -> Firmware {
    build_variant(board, class(), &variant(), &|line| eprintln!("{line}")).unwrap()
}

fn variant() -> Variant {
    Variant {
        keys: vec![public(&key(1)), public(&key(2))],
        ..Variant::default()
    }
}

/// A policy that must not run, and the fault that says why.
fn refused() -> Vec<(&'static str, Vec<u8>, Fault)> {
    let plain = good_policy(class());
    let good = signed(&plain, &key(1), 3);
    let tail = good.len() - SIGNATURE_LEN;
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        reseal(&mut bytes);
        bytes
    };
    let other = signed(&good_policy(class() + 1), &key(1), 3);
    let by_another = |id: u8| {
        // Signed with key 3, and says that it was signed with `id`.
        let mut bytes = signed(&plain, &key(3), 3);
        let named = firmware::signature::key_id(&public(&key(id)));
        bytes[tail + 8..tail + 16].copy_from_slice(&named);
        reseal(&mut bytes);
        bytes
    };
    vec![
        ("unsigned", plain.clone(), Fault::UNSIGNED),
        (
            "unknown key",
            signed(&plain, &key(3), 3),
            Fault::UNKNOWN_KEY,
        ),
        ("another key's name", by_another(1), Fault::BAD_SIGNATURE),
        (
            "named by our other key",
            changed(&|b| {
                let named = firmware::signature::key_id(&public(&key(2)));
                b[tail + 8..tail + 16].copy_from_slice(&named);
            }),
            Fault::BAD_SIGNATURE,
        ),
        (
            "a bit of the commitment",
            changed(&|b| b[tail + 32] ^= 1),
            Fault::BAD_SIGNATURE,
        ),
        (
            "a bit of the scalar",
            changed(&|b| b[tail + 70] ^= 1),
            Fault::BAD_SIGNATURE,
        ),
        (
            "a scalar beyond the order",
            changed(&|b| b[tail + 95] |= 0x80),
            Fault::BAD_SIGNATURE,
        ),
        (
            "zeros for a signature",
            changed(&|b| b[tail + 32..].fill(0)),
            Fault::BAD_SIGNATURE,
        ),
        (
            "a greater counter",
            changed(&|b| b[tail + 4] = 4),
            Fault::BAD_SIGNATURE,
        ),
        (
            "a bit of a weight",
            changed(&|b| b[tail - 600] ^= 1),
            Fault::BAD_SIGNATURE,
        ),
        (
            "another policy's signature",
            changed(&|b| {
                let from = other.len() - SIGNATURE_LEN;
                b[tail..].copy_from_slice(&other[from..]);
            }),
            Fault::BAD_SIGNATURE,
        ),
        (
            "a signed policy for another class",
            other.clone(),
            Fault::TARGET_CLASS,
        ),
    ]
}

#[test]
fn signed_firmware_runs_what_its_keys_signed_and_nothing_else() {
    let plain = good_policy(class());
    for (board, most_bytes) in BOARDS.map(|(name, most)| (board::find(name).unwrap(), most)) {
        let firmware = firmware_of(board);
        assert_no_panic_machinery(&firmware.elf);
        let without = hil_support::firmware_of(board);
        let bytes = firmware.sizes.flash_bytes - without.sizes.flash_bytes;
        assert!(
            (4096..most_bytes).contains(&bytes),
            "{}: {bytes}",
            board.name
        );
        let config = config_of(board, &firmware, LinkKind::Semihosting);
        for (kind, bytes, fault) in refused() {
            let mut session = start(&config, &firmware.elf, &bytes).unwrap();
            assert_eq!(session.boot_fault(), Some(fault), "{}: {kind}", board.name);
            // It answers with the safe constant, and says why.
            let action = session.step(0, &[0.5; 8]).unwrap();
            assert_eq!((action.fault, action.mode), (fault.code(), 0), "{kind}");
            assert!(action.control.is_empty(), "{kind}");
            session.shut_down().unwrap();
        }
        for signer in [1, 2] {
            let model = plant();
            let mut plant = PlantLoop::new(&model, 3);
            let policy = signed(&plain, &key(signer), 3);
            let report =
                trainer::device::hil::run_hil(&config, &policy, &mut plant, &mut |_| {}, &|_| {})
                    .unwrap();
            assert!(
                report.bit_exact,
                "{}: {:?}",
                board.name, report.first_mismatch
            );
            assert_eq!(
                (report.steps, report.fallback_steps),
                (80, 0),
                "{}",
                board.name
            );
            report.verdict().unwrap();
            let budget = Budget::of_variant(board, &variant()).unwrap();
            assert_eq!(report.budget, budget, "{}", board.name);
        }
    }
}
