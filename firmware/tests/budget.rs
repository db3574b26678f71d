//! A board refuses what does not fit it, by number.

mod support;

use firmware::supervisor::FaultRecord;
use firmware::{ControlLoop, Fault, Observation, Offer, ResetCause, SCRATCH_LEN, boot_on};
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
    let fault = boot_on(offer, stamped.bytes(), CLASS, &mut [0.0; SCRATCH_LEN]).err();
    // A control loop says the same, and its command is the safe constant then.
    let mut control = ControlLoop::new();
    let retained = FaultRecord::EMPTY.words();
    let started = control.start_on(offer, stamped.bytes(), CLASS, ResetCause::Other, &retained);
    assert_eq!(started.err(), fault, "{needs:?}");
    let command = control.step(&Observation::new(&[0.5; 8], 10, 20));
    assert_eq!(command.fault(), fault, "{needs:?}");
    assert_eq!(command.control().is_empty(), fault.is_some(), "{needs:?}");
    fault
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
