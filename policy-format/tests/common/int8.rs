//! 8-bit networks of any shape from a seed, and what they compute, written down a second time.

use super::generate::Rng;
use super::{Aligned, OwnedPolicy, load};
use policy_format::{
    EncodeError, GoldenVector, InputKind, Int8BlockSpec, Int8NetworkSpec, encode_int8,
};

#[derive(Clone, PartialEq, Debug)]
pub struct OwnedInt8Block {
    pub bias: Vec<i32>,
    pub factor: Vec<u32>,
    pub weights: Vec<i8>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct OwnedInt8Network {
    pub input_scale: Vec<f32>,
    pub hidden: Vec<OwnedInt8Block>,
    pub heads: Vec<OwnedInt8Block>,
}

/// A block whose sums stay exact and, in half of the rows, come close to the limit.
fn block(rng: &mut Rng, rows: usize, columns: usize, output: bool) -> OwnedInt8Block {
    let mut block = OwnedInt8Block {
        bias: Vec::new(),
        factor: Vec::new(),
        weights: Vec::new(),
    };
    for row in 0..rows {
        let most = (8_388_607 / 1024 / columns as i64).min(127);
        let span = 2 * most as u64 + 1;
        let weights: Vec<i8> = (0..columns)
            .map(|_| match row % 4 {
                0 => most as i8,
                1 => -most as i8,
                _ => ((rng.next() % span) as i64 - most) as i8,
            })
            .collect();
        let sum: i64 = weights.iter().map(|&w| i64::from(w).abs()).sum();
        let room = 8_388_607 - 1024 * sum;
        let bias = match row % 3 {
            0 => room,
            1 => -room,
            _ => (rng.next() % (2 * room as u64 + 1)) as i64 - room,
        };
        block.bias.push(bias as i32);
        block.factor.push(if output {
            (rng.float(0.5).abs() * 1e-4 + 1e-6).to_bits()
        } else if row % 5 == 0 {
            0x7fff
        } else {
            1 + (rng.next() % 400) as u32
        });
        block.weights.extend(weights);
    }
    block
}

fn network(
    rng: &mut Rng,
    n: usize,
    hidden: &[usize],
    outputs: usize,
    heads: usize,
) -> OwnedInt8Network {
    let mut columns = n;
    let layers = hidden
        .iter()
        .map(|&width| block(rng, width, std::mem::replace(&mut columns, width), false))
        .collect();
    OwnedInt8Network {
        input_scale: (0..n).map(|_| 300.0 + rng.float(256.0)).collect(),
        hidden: layers,
        heads: (0..heads)
            .map(|_| block(rng, outputs, columns, true))
            .collect(),
    }
}

/// Networks in place of those of `policy`.
pub fn networks(policy: &OwnedPolicy, seed: u64) -> [Option<OwnedInt8Network>; 2] {
    let rng = &mut Rng(seed);
    let n = usize::from(policy.state_dim);
    let logits: usize = policy.factors.iter().map(|&f| usize::from(f)).sum();
    let widths = |blocks: &[super::OwnedBlock]| -> Vec<usize> {
        blocks.iter().map(|b| b.bias.len()).collect()
    };
    let selector = policy.selector.as_ref().map(|blocks| {
        let (_, hidden) = blocks.split_last().unwrap();
        network(rng, n, &widths(hidden), logits, 1)
    });
    let control = policy.control.as_ref().map(|(hidden, heads)| {
        let m = usize::from(policy.control_dim);
        network(rng, n, &widths(hidden), m, heads.len())
    });
    [selector, control]
}

/// The file of `policy` with these networks; golden vectors are filled in.
pub fn encode(
    policy: &OwnedPolicy,
    networks: &[Option<OwnedInt8Network>; 2],
) -> Result<Aligned, EncodeError> {
    let mut policy = policy.clone();
    let mut file = Aligned::zeros(0);
    for _ in 0..2 {
        file = try_encode(&policy, networks)?;
        let loaded = load(file.bytes());
        let mut scratch = vec![f32::NAN; loaded.scratch_len()];
        for vector in &mut policy.golden {
            let decision = loaded
                .decide(&vector.state, &mut vector.control, &mut scratch)
                .unwrap();
            vector.choice = decision.choice.into();
        }
    }
    Ok(file)
}

pub fn try_encode(
    policy: &OwnedPolicy,
    networks: &[Option<OwnedInt8Network>; 2],
) -> Result<Aligned, EncodeError> {
    fn specs(blocks: &[OwnedInt8Block]) -> Vec<Int8BlockSpec<'_>> {
        blocks
            .iter()
            .map(|b| Int8BlockSpec {
                bias: &b.bias,
                factor: &b.factor,
                weights: &b.weights,
            })
            .collect()
    }
    let float = policy.encode();
    let golden: Vec<_> = policy
        .golden
        .iter()
        .map(|v| GoldenVector {
            state: &v.state,
            choice: v.choice,
            control: &v.control,
        })
        .collect();
    let blocks: Vec<_> = networks
        .iter()
        .map(|n| n.as_ref().map(|n| (specs(&n.hidden), specs(&n.heads))))
        .collect();
    let spec = |index: usize| {
        let network = networks[index].as_ref()?;
        let (hidden, heads) = blocks[index].as_ref()?;
        Some(Int8NetworkSpec {
            input_scale: &network.input_scale,
            hidden,
            heads,
        })
    };
    let (selector, control) = (spec(0), spec(1));
    let write = |out: &mut [u8]| {
        encode_int8(
            float.bytes(),
            selector.as_ref(),
            control.as_ref(),
            &golden,
            out,
        )
    };
    let needed = match write(&mut []) {
        Err(EncodeError::BufferTooSmall { needed, .. }) => needed,
        Err(error) => return Err(error),
        Ok(_) => panic!("an empty output suffices for no file"),
    };
    let mut file = Aligned::zeros(needed);
    assert_eq!(write(file.bytes_mut()), Ok(needed));
    Ok(file)
}

/// `1023 tanh` on the grid, from binary64.
pub fn value(interval: i64) -> i64 {
    (1023.0 * (interval as f64 / 16.0).tanh()).round() as i64
}

/// The activation of a hidden unit, as the document writes it, without a table.
pub fn activation(sum: i64, multiplier: u32) -> i64 {
    let t = (sum * i64::from(multiplier)).div_euclid(256);
    let interval = t.div_euclid(1 << 14);
    let fraction = t.rem_euclid(1 << 14) / 64;
    let (v, r) = if interval <= -64 {
        (value(-63), 0)
    } else if interval >= 63 {
        (value(63), 0)
    } else {
        (
            value(interval),
            256 * (value(interval + 1) - value(interval)),
        )
    };
    (65536 * v + r * (fraction + 1)).div_euclid(65536)
}

fn sums(block: &OwnedInt8Block, x: &[i64]) -> Vec<i64> {
    let rows = block.weights.chunks(x.len()).zip(&block.bias);
    rows.map(|(weights, &bias)| {
        let products = weights.iter().zip(x).map(|(&w, &x)| i64::from(w) * x);
        i64::from(bias) + products.sum::<i64>()
    })
    .collect()
}

/// What a network gives for the input `z`, in 64-bit integers.
pub fn run(network: &OwnedInt8Network, head: usize, z: &[f32]) -> Vec<f32> {
    let mut x: Vec<i64> = z
        .iter()
        .zip(&network.input_scale)
        .map(|(&z, &scale)| (z * scale).round_ties_even().clamp(-1024.0, 1023.0) as i64)
        .collect();
    for block in &network.hidden {
        let sums = sums(block, &x);
        let units = sums.iter().zip(&block.factor);
        x = units
            .map(|(&sum, &factor)| activation(sum, factor))
            .collect();
    }
    let output = &network.heads[head];
    let sums = sums(output, &x);
    assert!(sums.iter().all(|s| s.abs() < 1 << 23));
    sums.iter()
        .zip(&output.factor)
        .map(|(&sum, &factor)| sum as f32 * f32::from_bits(factor))
        .collect()
}

/// The network input: shifted, scaled, with unit norm where the policy says so; and rho.
pub fn input(policy: &OwnedPolicy, state: &[f32]) -> (Vec<f32>, f32) {
    let shifted = state.iter().zip(&policy.shift).zip(&policy.scale);
    let xi: Vec<f32> = shifted
        .map(|((s, shift), scale)| (s - shift) * scale)
        .collect();
    match policy.input {
        InputKind::Affine => (xi, 1.0),
        InputKind::UnitNorm => {
            let mut z = vec![0.0; xi.len()];
            let rho = policy_format::normalise(&xi, &mut z);
            (z, rho)
        }
    }
}

/// Asks for 8 bits of a file that has them already.
pub fn try_encode_bytes(file: &[u8]) -> Result<usize, EncodeError> {
    encode_int8(file, None, None, &[], &mut [])
}
