//! The sections that constrain and supervise a policy: limits, mode rules, envelope, supervision.
//!
//! `docs/policy-format.md`, section 7. All are critical and none is required; a policy without them is what it was.

use crate::checks::{check_finite, finite, size_error, words};
use crate::constraint::ModeRules;
use crate::container::RawPolicy;
use crate::error::{FormatError, Refusal};
use crate::policy::{Bounds, Policy};
use crate::section::SectionId;

/// Words of the header of MODE_RULES, and of the whole section SUPERVISION.
pub(crate) const HEADER_WORDS: usize = 4;
pub(crate) const SUPERVISION_WORDS: usize = 8;
/// Longest time in SUPERVISION, in microseconds: 2^31 - 1, about 36 minutes.
const MAX_MICROS: u32 = i32::MAX as u32;
/// Greatest number of periods in MODE_RULES and SUPERVISION.
const MAX_PERIODS: u32 = 1_000_000;

/// Rate limits of the control.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits<'a> {
    /// Greatest change from period to period, `[m]`, positive; `f32::MAX` stands for no limit.
    pub rate: &'a [f32],
    /// The control that the first period of an episode is limited against, `[m]`, inside the bounds.
    pub start: &'a [f32],
}

/// Where a measured state may lie, and where the states of training lay. n values each.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Envelope<'a> {
    /// Least values that the policy is used on; a state below is a fault.
    pub lower: &'a [f32],
    /// Greatest values that the policy is used on.
    pub upper: &'a [f32],
    /// Least values of the training distribution, at least [`Envelope::lower`]; a state below is flagged.
    pub typical_lower: &'a [f32],
    /// Greatest values of the training distribution.
    pub typical_upper: &'a [f32],
}

/// What the fallback law is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FallbackKind {
    /// The gain matrix of section FALLBACK; the constant where its result is not finite.
    #[default]
    Gain,
    /// Control and mode of the last period; the constant before the first one.
    Hold,
    /// The constant.
    Constant,
}

/// What is monitored, and when the policy acts again. Zero switches a monitor off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Supervision {
    /// What acts when the policy must not.
    pub fallback: FallbackKind,
    /// Periods without a fault after which the policy acts again, counted with the one in which it does; 0: never by itself.
    pub recover_after: u32,
    /// Longest time between two control steps in microseconds.
    pub deadline_us: u32,
    /// Greatest age of a measurement in microseconds.
    pub max_age_us: u32,
    /// Number of measurements with the same bits one after the other from which a sensor counts as frozen, at least 2.
    pub frozen_after: u32,
}

/// Everything that constrains and supervises a policy; each part may be absent.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Safety<'a> {
    /// Rate limits.
    pub limits: Option<Limits<'a>>,
    /// Dwell time, hysteresis, masks.
    pub mode_rules: Option<ModeRules<'a>>,
    /// Envelope of the state.
    pub envelope: Option<Envelope<'a>>,
    /// Monitors and fallback kind; absent: gain, no return, no monitor of time.
    pub supervision: Option<Supervision>,
}

impl Supervision {
    /// Without section SUPERVISION: gain, no return, no monitor of time.
    pub const NONE: Self = Self {
        fallback: FallbackKind::Gain,
        recover_after: 0,
        deadline_us: 0,
        max_age_us: 0,
        frozen_after: 0,
    };
}

impl Safety<'_> {
    /// A policy without any of it.
    pub const NONE: Safety<'static> = Safety {
        limits: None,
        mode_rules: None,
        envelope: None,
        supervision: None,
    };
}

impl<'a> Policy<'a> {
    /// What constrains and supervises the policy.
    #[must_use]
    pub const fn safety(&self) -> &Safety<'a> {
        &self.safety
    }
}

impl FallbackKind {
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Gain => 0,
            Self::Hold => 1,
            Self::Constant => 2,
        }
    }
}

/// What the checks of the sections look at beside them.
pub(crate) struct Around<'a> {
    pub n: usize,
    pub m: usize,
    pub modes: usize,
    pub bounds: Option<Bounds<'a>>,
    pub choice_modes: &'a [u16],
    pub fallback_mode: u16,
}

impl<'a> RawPolicy<'a> {
    /// Reads and checks the sections of this module.
    pub(crate) fn safety<E: Refusal>(&self, around: &Around<'_>) -> Result<Safety<'a>, E> {
        let safety = Safety {
            limits: self.limits(around.m)?,
            mode_rules: self.mode_rules(around.modes)?,
            envelope: self.envelope(around.n)?,
            supervision: self.supervision()?,
        };
        check(&safety, around)?;
        Ok(safety)
    }

    /// The finite floats of a section, `None` without it.
    #[inline(never)]
    fn optional_floats<E: Refusal>(
        &self,
        id: SectionId,
        count: usize,
    ) -> Result<Option<&'a [f32]>, E> {
        let Some(bytes) = self.section(id) else {
            return Ok(None);
        };
        Ok(Some(finite(id, words(id, bytes, 4 * count as u64)?)?))
    }

    fn limits<E: Refusal>(&self, m: usize) -> Result<Option<Limits<'a>>, E> {
        let floats = self.optional_floats(SectionId::LIMITS, 2 * m)?;
        Ok(floats
            .and_then(|floats| floats.split_at_checked(m))
            .map(|(rate, start)| Limits { rate, start }))
    }

    fn envelope<E: Refusal>(&self, n: usize) -> Result<Option<Envelope<'a>>, E> {
        let floats = self.optional_floats(SectionId::ENVELOPE, 4 * n)?;
        // n is at least 1.
        let mut parts = floats.unwrap_or_default().chunks_exact(n.max(1));
        let mut part = || parts.next().unwrap_or_default();
        Ok(floats.map(|_| Envelope {
            lower: part(),
            upper: part(),
            typical_lower: part(),
            typical_upper: part(),
        }))
    }

    fn mode_rules<E: Refusal>(&self, modes: usize) -> Result<Option<ModeRules<'a>>, E> {
        let id = SectionId::MODE_RULES;
        let Some(bytes) = self.section(id) else {
            return Ok(None);
        };
        let masked = bytes
            .get(4..8)
            .is_some_and(|flag| flag.iter().any(|&b| b != 0));
        let rows = if masked {
            modes * ModeRules::row_words(modes)
        } else {
            0
        };
        let expected = 4 * (HEADER_WORDS + modes + rows) as u64;
        let words = words(id, bytes, expected)?;
        let malformed = size_error(id, bytes.len(), expected);
        let (&[hysteresis, flag, zeros @ ..], lists) =
            words.split_first_chunk::<HEADER_WORDS>().ok_or(malformed)?;
        if flag > 1 || zeros != [0; 2] {
            return Err(E::of(FormatError::SafetyPadding { section: id }));
        }
        let (dwell, follow) = lists.split_at_checked(modes).ok_or(malformed)?;
        let hysteresis = f32::from_bits(hysteresis);
        check_finite(id, 0, &[hysteresis])?;
        Ok(Some(ModeRules {
            hysteresis,
            dwell,
            follow,
        }))
    }

    fn supervision<E: Refusal>(&self) -> Result<Option<Supervision>, E> {
        let id = SectionId::SUPERVISION;
        let Some(bytes) = self.section(id) else {
            return Ok(None);
        };
        let expected = 4 * SUPERVISION_WORDS as u64;
        let words = words(id, bytes, expected)?;
        let &[
            kind,
            recover_after,
            deadline_us,
            max_age_us,
            frozen_after,
            zeros @ ..,
        ] = words.first_chunk::<SUPERVISION_WORDS>().ok_or(size_error(
            id,
            bytes.len(),
            expected,
        ))?;
        if zeros != [0; 3] {
            return Err(E::of(FormatError::SafetyPadding { section: id }));
        }
        let fallback = match kind {
            0 => FallbackKind::Gain,
            1 => FallbackKind::Hold,
            2 => FallbackKind::Constant,
            found => {
                return Err(E::of(FormatError::OutOfRange {
                    field: "supervision.fallback",
                    found,
                    min: 0,
                    max: 2,
                }));
            }
        };
        Ok(Some(Supervision {
            fallback,
            recover_after,
            deadline_us,
            max_age_us,
            frozen_after,
        }))
    }
}

/// Ranges, orders and reachability; for readers and writers alike.
pub(crate) fn check<E: Refusal>(safety: &Safety<'_>, around: &Around<'_>) -> Result<(), E> {
    if let Some(limits) = &safety.limits {
        check_limits(limits, around.bounds)?;
    }
    if let Some(rules) = &safety.mode_rules {
        check_mode_rules(rules, around)?;
    }
    if let Some(envelope) = &safety.envelope {
        check_envelope(envelope)?;
    }
    if let Some(supervision) = &safety.supervision {
        check_supervision(supervision)?;
    }
    Ok(())
}

fn check_limits<E: Refusal>(limits: &Limits<'_>, bounds: Option<Bounds<'_>>) -> Result<(), E> {
    if let Some(index) = limits.rate.iter().position(|&rate| rate <= 0.0) {
        let found = limits.rate.get(index).copied().unwrap_or_default();
        return Err(E::of(FormatError::RateLimit { index, found }));
    }
    let Some(Bounds { lower, upper }) = bounds else {
        return Ok(());
    };
    for (index, (&found, (lower, upper))) in
        limits.start.iter().zip(lower.iter().zip(upper)).enumerate()
    {
        if !(*lower..=*upper).contains(&found) {
            return Err(E::of(FormatError::StartControl { index, found }));
        }
    }
    Ok(())
}

fn check_mode_rules<E: Refusal>(rules: &ModeRules<'_>, around: &Around<'_>) -> Result<(), E> {
    if rules.hysteresis < 0.0 {
        return Err(E::of(FormatError::Hysteresis {
            found: rules.hysteresis,
        }));
    }
    for (mode, &found) in rules.dwell.iter().enumerate() {
        if !(1..=MAX_PERIODS).contains(&found) {
            return Err(E::of(FormatError::DwellTime { mode, found }));
        }
    }
    // From every mode that can be held some choice must lead on, and one of the same mode while it dwells.
    let choices = around.choice_modes;
    for mode in 0..u16::try_from(around.modes).unwrap_or(u16::MAX) {
        let entered = choices.contains(&mode);
        if !entered && mode != around.fallback_mode {
            continue;
        }
        let dwell = rules.dwell.get(usize::from(mode)).copied().unwrap_or(1);
        let leads_on = choices.iter().any(|&next| rules.may_follow(mode, next));
        if !leads_on || (dwell > 1 && !entered) {
            return Err(E::of(FormatError::ModeTrap { mode }));
        }
    }
    Ok(())
}

fn check_envelope<E: Refusal>(envelope: &Envelope<'_>) -> Result<(), E> {
    let outer = envelope.lower.iter().zip(envelope.upper);
    let inner = envelope.typical_lower.iter().zip(envelope.typical_upper);
    for (index, ((lower, upper), (low, high))) in outer.zip(inner).enumerate() {
        if !(lower <= low && low <= high && high <= upper) {
            return Err(E::of(FormatError::EnvelopeOrder { index }));
        }
    }
    Ok(())
}

fn check_supervision<E: Refusal>(supervision: &Supervision) -> Result<(), E> {
    let range = |field, found, min, max| {
        if found < min || found > max {
            Err(E::of(FormatError::OutOfRange {
                field,
                found,
                min,
                max,
            }))
        } else {
            Ok(())
        }
    };
    let &Supervision {
        fallback: _,
        recover_after,
        deadline_us,
        max_age_us,
        frozen_after,
    } = supervision;
    range("supervision.recover_after", recover_after, 0, MAX_PERIODS)?;
    range("supervision.deadline_us", deadline_us, 0, MAX_MICROS)?;
    range("supervision.max_age_us", max_age_us, 0, MAX_MICROS)?;
    // One measurement alone is never frozen.
    let least = if frozen_after == 1 { 2 } else { 0 };
    range("supervision.frozen_after", frozen_after, least, MAX_PERIODS)
}
