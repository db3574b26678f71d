//! The section BUDGET: written, read back, refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use common::parts::Parts;
use common::{Aligned, golden_set};
use policy_format::{
    Capacity, CoreClass, EncodeError, FormatError, MAX_NEEDS, Need, RawPolicy, SectionId,
    with_budget,
};
use proptest::prelude::*;

fn file() -> Aligned {
    let policies = golden_set::policies();
    let (_, policy) = policies
        .iter()
        .find(|(name, _)| *name == "v1-everything.hpo")
        .unwrap();
    policy.encode()
}

/// The file with a budget.
fn stamped(file: &Aligned, needs: &[Need]) -> Result<Aligned, EncodeError> {
    let needed = match with_budget(file.bytes(), needs, &mut []) {
        Err(EncodeError::BufferTooSmall { needed, .. }) => needed,
        Err(error) => return Err(error),
        Ok(_) => panic!("an empty output suffices for no file"),
    };
    let mut out = Aligned::zeros(needed);
    assert_eq!(
        with_budget(file.bytes(), needs, out.bytes_mut()),
        Ok(needed)
    );
    Ok(out)
}

fn need(core: u32, instructions: u32, stack_bytes: u32) -> Need {
    Need {
        core,
        instructions,
        stack_bytes,
    }
}

/// The needs of a file, or what validation says of them.
fn needs_of(file: &Aligned) -> Result<Option<Vec<Need>>, FormatError> {
    let policy = RawPolicy::parse(file.bytes())?.validate(&Capacity::FORMAT)?;
    Ok(policy.budget().map(|budget| budget.needs().collect()))
}

#[test]
fn a_policy_without_a_budget_states_none() {
    assert_eq!(needs_of(&file()), Ok(None));
}

#[test]
fn a_budget_changes_no_other_section_and_is_replaced_by_the_next() {
    let plain = file();
    let first = stamped(&plain, &[need(1, 7, 8)]).unwrap();
    let second = stamped(&first, &[need(3, 9_000, 4_096), need(9, 1, u32::MAX)]).unwrap();
    assert_eq!(
        needs_of(&second),
        Ok(Some(vec![need(3, 9_000, 4_096), need(9, 1, u32::MAX)]))
    );
    let raw = RawPolicy::parse(second.bytes()).unwrap();
    let policy = raw.validate(&Capacity::FORMAT).unwrap();
    let budget = policy.budget().unwrap();
    assert_eq!(
        budget.need(CoreClass::Armv7EMFpu),
        Some(need(3, 9_000, 4_096))
    );
    assert_eq!(budget.need(CoreClass::Armv6M), None);
    let mut parts = Parts::of(&second);
    parts.remove(SectionId::BUDGET);
    assert_eq!(parts.build().bytes(), plain.bytes());
}

#[test]
fn bad_budgets_are_neither_written_nor_read() {
    let bad: [&[Need]; 5] = [
        &[],
        &[need(0, 1, 1)],
        &[need(2, 1, 1), need(2, 1, 1)],
        &[need(1, 0, 1)],
        &[need(1, 1, 0)],
    ];
    for needs in bad {
        let error = stamped(&file(), needs).err();
        assert!(
            matches!(
                error,
                Some(EncodeError::Invalid(FormatError::Budget { .. }))
            ),
            "{needs:?}: {error:?}"
        );
    }
    let many: Vec<Need> = (1..=MAX_NEEDS as u32 + 1)
        .map(|core| need(core, 1, 1))
        .collect();
    assert!(stamped(&file(), &many).is_err());
    assert!(stamped(&file(), &many[..MAX_NEEDS]).is_ok());
    for content in [
        vec![0; 15],
        vec![1; 16],
        vec![0; 16],
        [[1; 16], [1; 16]].concat(),
    ] {
        let mut parts = Parts::of(&file());
        parts.sections.push((SectionId::BUDGET, true, content));
        let error = parts.error(&Capacity::FORMAT);
        assert!(
            matches!(error, Some(FormatError::Budget { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn a_file_that_is_none_gets_no_budget() {
    let error = with_budget(b"nonsense", &[need(1, 1, 1)], &mut []).unwrap_err();
    assert!(
        matches!(error, EncodeError::Invalid(FormatError::TooShort { .. })),
        "{error}"
    );
}

proptest! {
    /// Whatever the section holds, validation answers; what it lets pass obeys the rules.
    #[test]
    fn any_bytes_give_a_sound_budget_or_an_error(content in prop::collection::vec(any::<u8>(), 1..300)) {
        let mut parts = Parts::of(&file());
        parts.sections.push((SectionId::BUDGET, true, content));
        if let Ok(Some(needs)) = needs_of(&parts.build()) {
            prop_assert!(!needs.is_empty() && needs.len() <= MAX_NEEDS);
            prop_assert!(needs.windows(2).all(|pair| pair[0].core < pair[1].core));
            prop_assert!(needs.iter().all(|n| n.core > 0 && n.instructions > 0 && n.stack_bytes > 0));
        }
    }
}
