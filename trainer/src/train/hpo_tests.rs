//! Updates are the same bits for every instruction set and number of threads.

use crate::train::testing::trained;
use pulp::Arch;

const KINDS: [&[(&str, &str)]; 5] = [
    &[],
    &[
        ("train.advantage", "gae"),
        ("train.passes", "3"),
        ("policy.selector_hidden", "[9]"),
    ],
    &[
        ("train.variant", "exact"),
        ("policy.control_hidden", "[17]"),
    ],
    &[
        ("train.variant", "exact"),
        ("train.advantage", "monte-carlo"),
    ],
    // Wide layers, whose gradients are taken of all shards at once.
    &[
        ("train.advantage", "gae"),
        ("train.passes", "2"),
        ("train.cross_term", "auto"),
        ("policy.selector_hidden", "[150,220]"),
        ("policy.control_hidden", "[192,192]"),
        ("critic.hidden", "[182,182]"),
    ],
];

/// On a machine without vector instructions both runs take the same path; CI machines have them.
#[test]
fn every_instruction_set_gives_the_same_bits() {
    use crate::numeric::arch::{available, choose};
    for sets in KINDS {
        let expected = trained(sets, Arch::new(), 1);
        for (index, (name, arch)) in available().into_iter().enumerate() {
            // Of the pieces of an update, and of the kernels within.
            choose(Some(index));
            assert_eq!(trained(sets, arch, 1), expected, "{name}, {sets:?}");
        }
        choose(None);
    }
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    for sets in KINDS {
        let one = trained(sets, Arch::new(), 1);
        for threads in [2, 3] {
            assert_eq!(trained(sets, Arch::new(), threads), one, "{sets:?}");
        }
    }
}

/// Look-ahead branches count as simulator calls.
#[test]
fn every_simulator_call_counts() {
    let trajectories = 2 * 2 * 80 * 7;
    let (state, ..) = trained(&[("train.advantage", "gae")], Arch::new(), 1);
    assert_eq!(state.env_steps, trajectories);
    let (state, ..) = trained(&[("policy.laws_per_mode", "3")], Arch::new(), 1);
    assert_eq!(state.env_steps, trajectories * 6);
}
