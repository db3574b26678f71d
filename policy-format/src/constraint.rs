//! What constraints mean: rate limit, dwell time, hysteresis and mode masks, bit for bit.
//!
//! These functions are the one definition (`docs/policy-format.md`, section 7): the supervisor on the device
//! and the training simulator call them, so that a policy is trained under what it will meet.

use core::ops::{Add, Sub};

/// A control moved to within `step` of the previous one: `previous - step` if it lies below, else `previous + step` if
/// it lies above, else itself. Finite arguments give a value between `control` and `previous`.
///
/// `control` and `previous` inside an interval give a value inside it, so bounds that held before hold after.
#[inline(always)]
#[must_use]
pub fn limit_rate<T>(control: T, previous: T, step: T) -> T
where
    T: Copy + PartialOrd + Add<Output = T> + Sub<Output = T>,
{
    let (low, high) = (previous - step, previous + step);
    if control < low {
        low
    } else if control > high {
        high
    } else {
        control
    }
}

/// Whether [`limit_rate`] gives the previous control's neighbour in place of `control`: its derivative is then that of
/// `previous`, else that of `control`. At equality the limit counts as active, as a clamp does.
#[inline(always)]
#[must_use]
pub fn rate_is_active<T>(control: T, previous: T, step: T) -> bool
where
    T: Copy + PartialOrd + Add<Output = T> + Sub<Output = T>,
{
    !(control > previous - step && control < previous + step)
}

/// The mode of the periods so far, as far as mode rules look back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeHistory {
    /// Mode of the last period.
    mode: u16,
    /// For how many periods before it and with it; 0 before the first period, and the mode is 0 then.
    age: u32,
}

impl ModeHistory {
    /// Before the first period of an episode: no rule applies.
    #[must_use]
    pub const fn start() -> Self {
        Self { mode: 0, age: 0 }
    }

    /// `mode` for `age` periods; no period with age 0.
    #[inline(always)]
    #[must_use]
    pub const fn held(mode: u16, age: u32) -> Self {
        Self { mode, age }
    }

    /// Mode of the last period; `None` before the first one.
    #[inline(always)]
    #[must_use]
    pub fn mode(self) -> Option<u16> {
        if self.age > 0 { Some(self.mode) } else { None }
    }

    /// Mode of the last period; 0 before the first one.
    #[inline(always)]
    #[must_use]
    pub fn last(self) -> u16 {
        self.mode
    }

    /// Number of periods that the last mode has been held without a break; 0 before the first period.
    #[inline(always)]
    #[must_use]
    pub fn age(self) -> u32 {
        self.age
    }

    /// The history one period of `mode` later.
    #[inline(always)]
    #[must_use]
    pub fn then(self, mode: u16) -> Self {
        let age = if self.mode == mode {
            self.age.saturating_add(1)
        } else {
            1
        };
        Self { mode, age }
    }
}

/// What a decision has to obey beside the bounds.
#[derive(Clone, Copy, Debug)]
pub struct Constraints<'a> {
    /// Rules for the mode, `None`: any.
    pub rules: Option<&'a ModeRules<'a>>,
    /// The modes so far.
    pub history: ModeHistory,
    /// Greatest change of each control (m floats), `None`: any.
    pub rate: Option<&'a [f32]>,
}

/// Dwell time, hysteresis and masks of a policy or a plant, over M modes.
///
/// The lists have the lengths stated, which `RawPolicy::validate` and the plant reader see to; an entry that is not there
/// stands for no restriction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModeRules<'a> {
    /// What a choice of the held mode is worth more than its logit, at least 0.
    pub hysteresis: f32,
    /// Least number of periods that each mode is held once entered, `[M]`, at least 1.
    pub dwell: &'a [u32],
    /// Modes that may follow each mode, M rows of ceil(M / 32) words, mode k in bit k % 32 of word k / 32; empty: any mode
    /// may follow any.
    pub follow: &'a [u32],
}

impl ModeRules<'_> {
    /// Words of a row of [`ModeRules::follow`].
    #[inline(always)]
    #[must_use]
    pub const fn row_words(modes: usize) -> usize {
        modes.div_ceil(32)
    }

    /// Whether the held mode has not yet been held for its dwell time.
    #[inline(always)]
    #[must_use]
    pub fn dwells(&self, history: ModeHistory) -> bool {
        let dwell = self.dwell.get(usize::from(history.mode));
        (history.age > 0) & dwell.is_some_and(|&dwell| history.age < dwell)
    }

    /// Whether `mode` may come after `history`: the held mode while it dwells, then what the masks let follow.
    #[inline(always)]
    #[must_use]
    pub fn allows(&self, history: ModeHistory, mode: u16) -> bool {
        let Some(held) = history.mode() else {
            return true;
        };
        if self.dwells(history) {
            return mode == held;
        }
        self.may_follow(held, mode)
    }

    /// Whether the masks let `mode` follow `held`.
    #[inline(always)]
    #[must_use]
    pub fn may_follow(&self, held: u16, mode: u16) -> bool {
        let words = Self::row_words(self.dwell.len());
        let word = usize::from(held) * words + usize::from(mode) / 32;
        match self.follow.get(word) {
            Some(bits) => bits >> (mode % 32) & 1 == 1,
            None => self.follow.is_empty(),
        }
    }

    /// The logit of a choice of `mode` with its hysteresis, `None` where the rules forbid the mode.
    #[inline(always)]
    #[must_use]
    pub fn score<T>(&self, history: ModeHistory, mode: u16, logit: T) -> Option<T>
    where
        T: Copy + Add<Output = T> + From<f32>,
    {
        if !self.allows(history, mode) {
            return None;
        }
        Some(if history.mode() == Some(mode) {
            logit + T::from(self.hysteresis)
        } else {
            logit
        })
    }

    /// The choice with the greatest score, the lowest index on ties; `None` if none is allowed.
    ///
    /// `logits` are those of all factors, one behind the other; a choice's logit is the sum of its factors', first
    /// factor first. `choice_modes` has one mode per choice.
    #[must_use]
    pub fn choose(
        &self,
        history: ModeHistory,
        choice_modes: &[u16],
        factors: &[u16],
        logits: &[f32],
    ) -> Option<usize> {
        let mut best: Option<(usize, f32)> = None;
        for (choice, &mode) in choice_modes.iter().enumerate() {
            let logit = joint_logit(choice, factors, logits);
            let Some(score) = self.score(history, mode, logit) else {
                continue;
            };
            if best.is_none_or(|(_, greatest)| score > greatest) {
                best = Some((choice, score));
            }
        }
        best.map(|(choice, _)| choice)
    }
}

/// Sum of the logits of a choice's factors; with one factor its logit as it is, without logits 0.
#[inline(always)]
#[must_use]
pub fn joint_logit(choice: usize, factors: &[u16], logits: &[f32]) -> f32 {
    if let [_] = factors {
        return logits.get(choice).copied().unwrap_or(0.0);
    }
    // Strides from the front: the choice is a mixed-radix number, first factor most significant.
    let mut stride: usize = factors.iter().map(|&size| usize::from(size)).product();
    let (mut start, mut sum) = (0, 0.0);
    for &size in factors {
        let size = usize::from(size).max(1);
        stride = (stride / size).max(1);
        let index = choice / stride % size;
        sum += logits.get(start + index).copied().unwrap_or(0.0);
        start += size;
    }
    sum
}
