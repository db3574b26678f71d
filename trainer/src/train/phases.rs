//! Where an epoch's time goes, for measurements alone: no decision of training reads a clock.

use std::time::Instant;

/// A part of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Random numbers, rollout, critic values, advantages.
    Rollout,
    /// Reverse sweep with gradients attached.
    Attached,
    /// Later passes on detached data.
    Detached,
    /// The critic's regression.
    Critic,
    /// Sums over shards, clipping, Adam.
    Step,
    /// Between updates.
    Other,
}

impl Phase {
    /// Every phase, in the order of an update.
    pub const ALL: [Self; 6] = [
        Self::Rollout,
        Self::Attached,
        Self::Detached,
        Self::Critic,
        Self::Step,
        Self::Other,
    ];

    /// Name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rollout => "rollout",
            Self::Attached => "attached",
            Self::Detached => "detached",
            Self::Critic => "critic",
            Self::Step => "step",
            Self::Other => "other",
        }
    }
}

/// Seconds by phase.
#[derive(Clone, Debug)]
pub struct PhaseClock {
    last: Instant,
    seconds: [f64; Phase::ALL.len()],
}

impl Default for PhaseClock {
    fn default() -> Self {
        Self {
            last: Instant::now(),
            seconds: [0.0; Phase::ALL.len()],
        }
    }
}

impl PhaseClock {
    /// Books the time since the last call (or since the clock was made) on `phase`.
    pub fn lap(&mut self, phase: Phase) {
        let now = Instant::now();
        self.seconds[phase as usize] += (now - self.last).as_secs_f64();
        self.last = now;
    }

    /// Drops what was booked on `phase`.
    pub fn forget(&mut self, phase: Phase) {
        self.seconds[phase as usize] = 0.0;
    }

    /// Share of `phase` in all that was booked, 0 to 1; 0 before anything was.
    #[must_use]
    pub fn share(&self, phase: Phase) -> f64 {
        let total: f64 = self.seconds.iter().sum();
        if total > 0.0 {
            self.seconds[phase as usize] / total
        } else {
            0.0
        }
    }
}
