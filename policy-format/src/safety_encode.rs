//! Writing the sections that constrain and supervise a policy.

use crate::constraint::ModeRules;
use crate::encode::{Writer, encode_with, expect};
use crate::encode_error::EncodeError;
use crate::error::FormatError;
use crate::safety::{self, Around, Safety};
use crate::section::SectionId;
use crate::spec::PolicySpec;

/// As [`crate::encode()`], with the sections of `safety` behind it. [`Safety::NONE`] gives the same bytes as [`crate::encode()`].
///
/// # Errors
/// As [`crate::encode()`].
pub fn encode_supervised(
    spec: &PolicySpec<'_>,
    safety: &Safety<'_>,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    encode_with(spec, safety, out)
}

/// Length in bytes of the file that [`encode_supervised`] writes.
///
/// # Errors
/// As [`crate::encoded_len`].
pub fn supervised_len(spec: &PolicySpec<'_>, safety: &Safety<'_>) -> Result<usize, EncodeError> {
    match encode_with(spec, safety, &mut []) {
        Err(EncodeError::BufferTooSmall { needed, .. }) => Ok(needed),
        other => other,
    }
}

/// Number of sections that `safety` makes.
pub(crate) fn sections(safety: &Safety<'_>) -> usize {
    [
        safety.limits.is_some(),
        safety.mode_rules.is_some(),
        safety.envelope.is_some(),
        safety.supervision.is_some(),
    ]
    .iter()
    .filter(|&&present| present)
    .count()
}

/// Lengths of the lists, then what a reader checks.
pub(crate) fn check(spec: &PolicySpec<'_>, safety: &Safety<'_>) -> Result<(), EncodeError> {
    let (n, m) = (usize::from(spec.state_dim), usize::from(spec.control_dim));
    let modes = usize::from(spec.modes);
    if let Some(limits) = &safety.limits {
        expect("limits.rate", limits.rate.len(), m)?;
        expect("limits.start", limits.start.len(), m)?;
    }
    if let Some(rules) = &safety.mode_rules {
        expect("mode_rules.dwell", rules.dwell.len(), modes)?;
        if !rules.follow.is_empty() {
            let words = modes * ModeRules::row_words(modes);
            expect("mode_rules.follow", rules.follow.len(), words)?;
        }
    }
    if let Some(envelope) = &safety.envelope {
        expect("envelope.lower", envelope.lower.len(), n)?;
        expect("envelope.upper", envelope.upper.len(), n)?;
        expect("envelope.typical_lower", envelope.typical_lower.len(), n)?;
        expect("envelope.typical_upper", envelope.typical_upper.len(), n)?;
    }
    safety::check::<FormatError>(
        safety,
        &Around {
            n,
            m,
            modes,
            bounds: spec.bounds,
            choice_modes: spec.choice_modes,
            fallback_mode: spec.fallback.mode,
        },
    )?;
    Ok(())
}

/// Writes the sections in the order of their ids.
pub(crate) fn write(safety: &Safety<'_>, file: &mut Writer<'_>) -> Result<(), EncodeError> {
    if let Some(limits) = &safety.limits {
        file.start(SectionId::LIMITS);
        file.floats(limits.rate)?;
        file.floats(limits.start)?;
    }
    if let Some(rules) = &safety.mode_rules {
        file.start(SectionId::MODE_RULES);
        file.floats(&[rules.hysteresis])?;
        file.container.put_word((!rules.follow.is_empty()).into());
        file.container.put_zeros(8);
        for &word in rules.dwell.iter().chain(rules.follow) {
            file.container.put_word(word);
        }
    }
    if let Some(envelope) = &safety.envelope {
        file.start(SectionId::ENVELOPE);
        for vector in [
            envelope.lower,
            envelope.upper,
            envelope.typical_lower,
            envelope.typical_upper,
        ] {
            file.floats(vector)?;
        }
    }
    if let Some(supervision) = &safety.supervision {
        file.start(SectionId::SUPERVISION);
        for word in [
            supervision.fallback.number(),
            supervision.recover_after,
            supervision.deadline_us,
            supervision.max_age_us,
            supervision.frozen_after,
        ] {
            file.container.put_word(word);
        }
        file.container.put_zeros(12);
    }
    Ok(())
}
