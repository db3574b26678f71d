//! Random streams: the same numbers on every machine and for any number of threads.
//!
//! Each use of randomness names its own stream by (seed, purpose, index), so that drawing more
//! numbers for one purpose never shifts those of another, and trajectory `i` sees the same noise
//! whichever thread simulates it. The generator is ChaCha with 8 rounds (Bernstein 2008; 8 rounds
//! pass all statistical test suites and no secrecy is needed here).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream's numbers are used for; streams of different purposes are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Purpose {
    /// Plant matrices made by the generator.
    Generator = 1,
    /// Initial states of training rollouts.
    InitialState = 2,
    /// Sampling of discrete choices.
    Choice = 3,
    /// Process noise.
    Noise = 4,
    /// Initial values of policy and critic parameters.
    Parameters = 5,
    /// Initial states on which checkpoints are compared.
    Validation = 6,
    /// Initial states of an evaluation without given states.
    Evaluation = 7,
    /// Order of samples in minibatches.
    Shuffle = 8,
    /// Noise on the control, for algorithms that explore.
    Exploration = 9,
    /// Gumbel noise on the logits.
    Relaxation = 10,
    /// Errors of a plant's matrices in an evaluation.
    Mismatch = 32,
    /// Sensor noise in an evaluation.
    Sensor = 33,
    /// Lost measurements in an evaluation.
    Dropout = 34,
    /// Faults put into hardware in the loop.
    Fault = 35,
}

/// One reproducible sequence of random numbers.
#[derive(Clone, Debug)]
pub struct Stream {
    rng: ChaCha8Rng,
    /// Second half of the last pair of normal numbers.
    spare: Option<f64>,
}

impl Stream {
    /// The stream named by `seed`, `purpose` and `index` (epoch, trajectory, or 0), from its start.
    ///
    /// The three form the ChaCha key and stream number, so streams never overlap.
    #[must_use]
    pub fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        let mut key = [0_u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8] = purpose as u8;
        key[16..].copy_from_slice(b"hpo stream no. 1");
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(index);
        Self { rng, spare: None }
    }

    /// 64 independent random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// A number uniform on the multiples of 2^-53 in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// An integer uniform on `0..bound` without modulo bias (Lemire 2019).
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "below: bound must be at least 1");
        let reject_under = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= reject_under {
                return (product >> 64) as u64;
            }
        }
    }

    /// A standard normal number (Marsaglia's polar method; logarithm from libm, so that the bits
    /// are the same on every host).
    pub fn normal(&mut self) -> f64 {
        if let Some(value) = self.spare.take() {
            return value;
        }
        loop {
            let a = 2.0 * self.uniform() - 1.0;
            let b = 2.0 * self.uniform() - 1.0;
            let square = a * a + b * b;
            if square > 0.0 && square < 1.0 {
                let factor = (-2.0 * libm::log(square) / square).sqrt();
                self.spare = Some(b * factor);
                return a * factor;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_pinned() {
        let mut stream = Stream::new(7, Purpose::InitialState, 3);
        let bits = [stream.next_u64(), stream.next_u64()];
        assert_eq!(bits, PINNED_BITS);
        let mut stream = Stream::new(7, Purpose::Noise, 0);
        let normals = [
            stream.normal().to_bits(),
            stream.normal().to_bits(),
            stream.normal().to_bits(),
        ];
        assert_eq!(normals, PINNED_NORMALS);
    }
    const PINNED_BITS: [u64; 2] = [8862192473305931784, 15194296913460807209];
    const PINNED_NORMALS: [u64; 3] = [
        13829964773273426584,
        13813470419769348772,
        13829793863091236656,
    ];

    #[test]
    fn name_parts_separate_streams() {
        let first = |seed, purpose, index| Stream::new(seed, purpose, index).next_u64();
        let base = first(1, Purpose::Choice, 0);
        assert_eq!(base, first(1, Purpose::Choice, 0));
        assert_ne!(base, first(2, Purpose::Choice, 0));
        assert_ne!(base, first(1, Purpose::Noise, 0));
        assert_ne!(base, first(1, Purpose::Choice, 1));
    }

    #[test]
    fn uniform_moments() {
        let mut stream = Stream::new(0, Purpose::Evaluation, 0);
        let count = 200_000;
        let (mut sum, mut square) = (0.0, 0.0);
        for _ in 0..count {
            let value = stream.uniform();
            assert!((0.0..1.0).contains(&value));
            sum += value;
            square += value * value;
        }
        let n = f64::from(count);
        // Five standard errors of the mean (sqrt(1/12/n)) and of the second moment (sqrt(4/45/n)).
        assert!((sum / n - 0.5).abs() < 5.0 * (1.0 / 12.0 / n).sqrt());
        assert!((square / n - 1.0 / 3.0).abs() < 5.0 * (4.0 / 45.0 / n).sqrt());
    }

    #[test]
    fn normal_moments() {
        let mut stream = Stream::new(0, Purpose::Noise, 1);
        let count = 200_000;
        let mut moments = [0.0; 4];
        for _ in 0..count {
            let value = stream.normal();
            let mut power = 1.0;
            for moment in &mut moments {
                power *= value;
                *moment += power / f64::from(count);
            }
        }
        let n = f64::from(count);
        // Var of x, x^2, x^3, x^4 for a standard normal: 1, 2, 15, 96.
        for (moment, (expected, variance)) in
            moments
                .iter()
                .zip([(0.0, 1.0), (1.0, 2.0), (0.0, 15.0), (3.0, 96.0_f64)])
        {
            assert!((moment - expected).abs() < 5.0 * (variance / n).sqrt());
        }
    }

    #[test]
    fn below_is_uniform() {
        let mut stream = Stream::new(5, Purpose::Shuffle, 0);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[stream.below(7) as usize] += 1;
        }
        // Chi-square with 6 degrees of freedom exceeds 30 with probability 4e-5.
        let chi_square: f64 = counts
            .iter()
            .map(|&c| (f64::from(c) - 10_000.0).powi(2) / 10_000.0)
            .sum();
        assert!(chi_square < 30.0, "{counts:?}");
    }
}
