//! The machine's greatest rate of `f32` multiply-adds: registers only, no memory.

use std::hint::black_box;
use std::time::Instant;

use pulp::{Simd, WithSimd};
use rustix::time::ClockId;

use crate::numeric::arch::used;

/// Independent chains: enough for two units with a latency of four to six cycles, and for 16 registers.
const CHAINS: usize = 12;
/// Turns of the loop between two looks at the clock.
const TURNS: usize = 100_000;

/// `turns` fused multiply-adds in every chain; returns the floating-point operations done.
struct Chains {
    turns: usize,
}

impl WithSimd for Chains {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        // The compiler must not know the numbers, or it computes the end of the chains itself.
        let factor = simd.splat_f32s(black_box(0.999));
        let term = simd.splat_f32s(black_box(0.0013));
        let mut chains = [simd.splat_f32s(black_box(1.0)); CHAINS];
        for _ in 0..self.turns {
            for chain in &mut chains {
                *chain = simd.mul_add_f32s(*chain, factor, term);
            }
        }
        for chain in chains {
            black_box(simd.reduce_sum_f32s(chain));
        }
        2 * CHAINS * S::F32_LANES * self.turns
    }
}

/// A rate in GFLOP/s, by two clocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    /// By the wall clock: less where other programs take the core.
    pub wall: f64,
    /// By the thread's processor time: what the core does while it is ours.
    pub cpu: f64,
}

impl Rate {
    /// The greater of each.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            wall: self.wall.max(other.wall),
            cpu: self.cpu.max(other.cpu),
        }
    }
}

/// Greatest rates of the present thread, over stretches of about `seconds` / 8.
pub(super) fn one_core(seconds: f64) -> Rate {
    let (_, arch) = used();
    let start = Instant::now();
    let mut best = Rate::default();
    loop {
        let (begin, begin_cpu) = (Instant::now(), seconds_of(ClockId::ThreadCPUTime));
        let mut flop = 0;
        while flop == 0 || begin.elapsed().as_secs_f64() < seconds / 8.0 {
            flop += arch.dispatch(Chains { turns: TURNS });
        }
        let giga = flop as f64 * 1e-9;
        best = best.max(Rate {
            wall: giga / begin.elapsed().as_secs_f64(),
            cpu: giga / (seconds_of(ClockId::ThreadCPUTime) - begin_cpu),
        });
        if start.elapsed().as_secs_f64() >= seconds {
            return best;
        }
    }
}

/// Sum of the rates of all threads of `pool` at the same time, by the wall clock, in GFLOP/s.
pub(super) fn all_cores(pool: &rayon::ThreadPool, seconds: f64) -> f64 {
    let rates = pool.broadcast(|_| one_core(seconds));
    rates.iter().map(|rate| rate.wall).sum()
}

/// A clock of the operating system, in seconds.
pub(super) fn seconds_of(clock: ClockId) -> f64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
