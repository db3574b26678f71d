//! The machine's greatest rate of `f32` multiply-adds: registers only, no memory.

use std::hint::black_box;
use std::time::Instant;

use pulp::{Simd, WithSimd};

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

/// Greatest rate of the present thread in GFLOP/s, over stretches of about `seconds` / 8.
pub(super) fn one_core(seconds: f64) -> f64 {
    let (_, arch) = used();
    let start = Instant::now();
    let mut best = 0.0_f64;
    loop {
        let begin = Instant::now();
        let mut flop = 0;
        while flop == 0 || begin.elapsed().as_secs_f64() < seconds / 8.0 {
            flop += arch.dispatch(Chains { turns: TURNS });
        }
        best = best.max(flop as f64 * 1e-9 / begin.elapsed().as_secs_f64());
        if start.elapsed().as_secs_f64() >= seconds {
            return best;
        }
    }
}

/// Sum of the rates of all threads of `pool` at the same time, in GFLOP/s.
pub(super) fn all_cores(pool: &rayon::ThreadPool, seconds: f64) -> f64 {
    pool.broadcast(|_| one_core(seconds)).iter().sum()
}
