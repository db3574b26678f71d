//! A board refuses what does not fit it, by number.

mod support;

use firmware::{Fault, Offer, SCRATCH_LEN, boot_on};
use policy_format::{CoreClass, EncodeError, Need, with_budget};
use support::common::Aligned;
use support::{good_policy, slot};

const CLASS: u32 = 5;

const OFFER: Offer = Offer {
    core: CoreClass::Armv7EMFpu,
    instructions: 5_000,
    stack_bytes: 4_096,
};

fn boot_with(needs: &[Need], offer: &Offer) -> Option<Fault> {
    let plain = slot(&good_policy(CLASS));
    let stamped = if needs.is_empty() {
        plain
    } else {
        let Err(EncodeError::BufferTooSmall { needed, .. }) =
            with_budget(plain.bytes(), needs, &mut [])
        else {
            panic!("an empty output suffices for no file");
        };
        let mut out = Aligned::zeros(needed);
        with_budget(plain.bytes(), needs, out.bytes_mut()).unwrap();
        out
    };
    boot_on(offer, stamped.bytes(), CLASS, &mut [0.0; SCRATCH_LEN]).err()
}

#[test]
fn what_fits_is_armed_and_what_does_not_is_refused_by_number() {
    let need = |core, instructions, stack_bytes| Need {
        core,
        instructions,
        stack_bytes,
    };
    let cases: [(&[Need], Option<Fault>); 6] = [
        (&[], None),
        (&[need(3, 5_000, 4_096)], None),
        (&[need(1, 9_000, 9_000), need(3, 1, 1)], None),
        (&[need(3, 5_001, 1)], Some(Fault::BUDGET_INSTRUCTIONS)),
        (&[need(3, 1, 4_097)], Some(Fault::BUDGET_STACK)),
        (&[need(1, 1, 1), need(4, 1, 1)], Some(Fault::BUDGET_CORE)),
    ];
    for (needs, fault) in cases {
        assert_eq!(boot_with(needs, &OFFER), fault, "{needs:?}");
    }
    let greater = Offer {
        instructions: 5_001,
        ..OFFER
    };
    assert_eq!(boot_with(&[need(3, 5_001, 1)], &greater), None);
}
