//! `hpo firmware --measure`: stack and instructions of a built firmware, held against the board's budget.

mod hil_support;

use firmware::Fault;
use hil_support::{firmware_of, policies};
use trainer::device::board;
use trainer::device::measure::{measure, standard_policy};

/// The figures are those of a run in the loop: within the budget, with an FPU the same for every input that reaches the network.
#[test]
fn stack_and_instructions_of_a_firmware_are_measured() {
    let board = board::find("mps2-an386").unwrap();
    let firmware = firmware_of(board);
    let class = firmware.target_class;
    let mut policy = standard_policy().unwrap().bytes().to_vec();
    let refused = measure(board, &firmware.elf, class, &policy, 100, &|_| {});
    if class != 0 {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(Fault::TARGET_CLASS.name()), "{error}");
        policy = policies::policy_of(&policies::structure(), class)
            .encode()
            .bytes()
            .to_vec();
    }
    let found = measure(board, &firmware.elf, class, &policy, 500, &|_| {}).unwrap();
    let count = found.instructions;
    assert_eq!(found.inputs, 500);
    assert_eq!(found.over_budget, []);
    assert!(found.stack_bytes > 1_000, "{found:?}");
    // A refused input takes less than one that is decided, and both are among them.
    assert!(
        100 < count.min && (count.min as f64) < count.mean,
        "{found:?}"
    );
    assert!(
        count.mean <= count.max as f64 && count.max < 100_000,
        "{found:?}"
    );
}

#[test]
fn a_board_that_qemu_does_not_run_is_not_measured() {
    let board = board::find("nrf52840").unwrap();
    let policy = standard_policy().unwrap();
    let elf = std::path::Path::new("not-read.elf");
    let error = measure(board, elf, 0, policy.bytes(), 1, &|_| {}).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("nrf52840"), "{error}");
}
