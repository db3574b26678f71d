//! Boot: what is armed, and which fault each bad policy gives.

mod support;

use std::collections::HashSet;

use firmware::{CAPACITY, Fault, SCRATCH_LEN, boot};
use proptest::prelude::*;
use support::common::Structure;
use support::{bad_policies, file, good_policy, policy_of, slot, structure};

const CLASS: u32 = 0x00C0_FFEE;

fn fault_of(bytes: &[u8]) -> Option<Fault> {
    boot(slot(bytes).bytes(), CLASS, &mut [f32::NAN; SCRATCH_LEN]).err()
}

#[test]
fn a_sound_policy_is_armed_in_place() {
    let bytes = good_policy(CLASS);
    let slot = slot(&bytes);
    let mut scratch = [f32::NAN; SCRATCH_LEN];
    let armed = boot(slot.bytes(), CLASS, &mut scratch).unwrap();
    assert_eq!(armed.policy().total_len(), bytes.len());
    // The weights are the slot's own bytes, not a copy of them.
    let shift = armed.policy().input_shift().as_ptr() as usize;
    assert!(slot.bytes().as_ptr_range().contains(&(shift as *const u8)));
}

#[test]
fn every_bad_policy_gives_its_own_fault() {
    let bad = bad_policies(CLASS);
    for (kind, bytes, name) in &bad {
        let fault = fault_of(bytes).unwrap_or_else(|| panic!("{kind} was armed"));
        assert_eq!(fault.name(), *name, "{kind}");
    }
    let names: HashSet<_> = bad.iter().map(|(_, _, name)| name).collect();
    assert!(names.len() >= 10);
}

#[test]
fn a_policy_at_every_maximum_is_armed() {
    let greatest = Structure {
        n: CAPACITY.state,
        m: CAPACITY.control,
        modes: CAPACITY.modes as u16,
        factors: vec![CAPACITY.choices as u16],
        unit_norm: true,
        scores: false,
        selector: Some(vec![CAPACITY.width, CAPACITY.width]),
        gains: false,
        control: Some(vec![CAPACITY.width]),
        ..structure()
    };
    assert_eq!(fault_of(&file(&policy_of(&greatest, CLASS))), None);
}

#[test]
fn a_misaligned_slot_is_refused() {
    let slot = slot(&good_policy(CLASS));
    let fault = boot(&slot.bytes()[4..], CLASS, &mut [0.0; SCRATCH_LEN]).unwrap_err();
    assert_eq!(fault.name(), "Misaligned");
}

#[test]
fn slots_shorter_than_a_header_are_refused() {
    let slot = slot(&good_policy(CLASS));
    for length in 1..32 {
        let fault = boot(&slot.bytes()[..length], CLASS, &mut [0.0; SCRATCH_LEN]).unwrap_err();
        assert_eq!(fault.name(), "TooShort", "{length} bytes");
    }
    let fault = boot(&[], CLASS, &mut [0.0; SCRATCH_LEN]).unwrap_err();
    assert_eq!(fault, Fault::EMPTY_SLOT);
}

proptest! {
    #[test]
    fn a_flipped_bit_is_never_armed(at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut bytes = good_policy(CLASS);
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(fault_of(&bytes).is_some());
    }

    #[test]
    fn a_truncated_policy_is_never_armed(at in any::<prop::sample::Index>()) {
        let bytes = good_policy(CLASS);
        prop_assert!(fault_of(&bytes[..at.index(bytes.len() - 3)]).is_some());
    }
}
