//! Straightforward evaluators, written from `docs/policy-format.md` and not from the crate.

// Written out as the document writes it, operation by operation.
#![allow(clippy::manual_clamp, clippy::assign_op_pattern)]

use super::{OwnedBlock, OwnedPolicy};
use policy_format::InputKind;

/// Why the reference gives no decision.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Refusal {
    Input,
    Value,
}

const P: [u32; 5] = [
    0x3262_7b73,
    0x37ab_b90b,
    0x3b64_7e43,
    0x3e08_f0ec,
    0x3f7f_fffe,
];
const Q: [u32; 5] = [
    0x354e_c0df,
    0x39ab_82a2,
    0x3cd3_b225,
    0x3eef_2314,
    0x3f80_0000,
];

fn tanh(x: f32) -> f32 {
    let c = if x > 9.0 {
        9.0
    } else if x < -9.0 {
        -9.0
    } else {
        x
    };
    let u = c * c;
    let horner = |k: [u32; 5]| {
        let mut sum = f32::from_bits(k[0]);
        for bits in &k[1..] {
            let product = sum * u;
            sum = product + f32::from_bits(*bits);
        }
        sum
    };
    let numerator = c * horner(P);
    numerator / horner(Q)
}

fn apply(block: &OwnedBlock, x: &[f32]) -> Vec<f32> {
    let columns = block.columns();
    assert_eq!(x.len(), columns);
    (0..block.bias.len())
        .map(|r| {
            let mut acc = block.bias[r];
            for k in 0..columns {
                let product = block.weights[r * columns + k] * x[k];
                acc = acc + product;
            }
            acc
        })
        .collect()
}

fn hidden(layers: &[OwnedBlock], x: &[f32]) -> Vec<f32> {
    layers.iter().fold(x.to_vec(), |x, layer| {
        apply(layer, &x).into_iter().map(tanh).collect()
    })
}

fn monomials(z: &[f32]) -> Vec<f32> {
    let mut out = Vec::new();
    for i in 0..z.len() {
        for k in i..z.len() {
            out.push(z[i] * z[k]);
        }
    }
    out
}

/// 2^e for an exponent in the normal range, exactly.
fn power(e: i32) -> f32 {
    f32::from_bits(((e + 127) as u32) << 23)
}

fn unit_norm(xi: &[f32]) -> (Vec<f32>, f32) {
    let mut a = 0.0;
    for x in xi {
        let magnitude = if *x < 0.0 { -*x } else { *x };
        if magnitude > a {
            a = magnitude;
        }
    }
    if a == 0.0 {
        return (vec![0.0; xi.len()], 0.0);
    }
    let mut e = (a.to_bits() >> 23) as i32 - 127;
    if e < -126 {
        e = -126;
    }
    if e > 126 {
        e = 126;
    }
    let y: Vec<f32> = xi.iter().map(|x| x * power(-e)).collect();
    let mut q = 0.0;
    for v in &y {
        q = q + v * v;
    }
    let r = f32::sqrt(q);
    let v = 1.0 / r;
    (y.iter().map(|y| y * v).collect(), r * power(e))
}

fn finite(values: &[f32]) -> bool {
    values.iter().all(|v| v.is_finite())
}

/// Choice, mode and control of a policy, in binary32, step by step.
pub fn decide(policy: &OwnedPolicy, state: &[f32]) -> Result<(u16, u16, Vec<f32>), Refusal> {
    let n = usize::from(policy.state_dim);
    let m = usize::from(policy.control_dim);
    if !finite(state) {
        return Err(Refusal::Input);
    }
    let xi: Vec<f32> = (0..n)
        .map(|i| (state[i] - policy.shift[i]) * policy.scale[i])
        .collect();
    if !finite(&xi) {
        return Err(Refusal::Input);
    }
    let unit = policy.input == InputKind::UnitNorm;
    let (z, rho) = if unit {
        unit_norm(&xi)
    } else {
        (xi.clone(), 1.0)
    };
    if !rho.is_finite() {
        return Err(Refusal::Input);
    }
    let score = policy.scores.as_ref().map(|b| apply(b, &monomials(&z)));
    let network = policy.selector.as_ref().map(|layers| {
        let (output, rest) = layers.split_last().unwrap();
        apply(output, &hidden(rest, &z))
    });
    let logits = match (score, network) {
        (Some(s), Some(w)) => s.iter().zip(&w).map(|(s, w)| s + w).collect(),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => Vec::new(),
    };
    if !finite(&logits) {
        return Err(Refusal::Value);
    }
    let mut choice = 0;
    let mut first = 0;
    if !logits.is_empty() {
        for factor in &policy.factors {
            let size = usize::from(*factor);
            let mut best = 0;
            for j in 1..size {
                if logits[first + j] > logits[first + best] {
                    best = j;
                }
            }
            choice = choice * size + best;
            first += size;
        }
    }
    let a = policy.gains.as_ref().map(|g| apply(&g[choice], &xi));
    let b = policy.control.as_ref().map(|(layers, heads)| {
        let head = &heads[if heads.len() == 1 { 0 } else { choice }];
        let b = apply(head, &hidden(layers, &z));
        if unit {
            b.into_iter().map(|b| b * rho).collect()
        } else {
            b
        }
    });
    let mut u = match (a, b) {
        (Some(a), Some(b)) => (0..m).map(|i| a[i] + b[i]).collect::<Vec<f32>>(),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => unreachable!("a policy has a control law"),
    };
    if !finite(&u) {
        return Err(Refusal::Value);
    }
    clamp(policy, &mut u);
    Ok((choice as u16, policy.choice_modes[choice], u))
}

fn clamp(policy: &OwnedPolicy, u: &mut [f32]) {
    if let Some((lower, upper)) = &policy.bounds {
        for i in 0..u.len() {
            if u[i] < lower[i] {
                u[i] = lower[i];
            } else if u[i] > upper[i] {
                u[i] = upper[i];
            }
        }
    }
}

/// The fallback law: mode and control.
pub fn fallback(policy: &OwnedPolicy, state: &[f32]) -> (u16, Vec<f32>) {
    let mut u = apply(&policy.fallback, state);
    if finite(state) && finite(&u) {
        clamp(policy, &mut u);
    } else {
        u = policy.fallback_constant.clone();
    }
    (policy.fallback_mode, u)
}

/// The same policy in binary64 with the true tanh: logits, and the control of a given choice before the bounds.
pub fn exact(policy: &OwnedPolicy, state: &[f32], choice: usize) -> (Vec<f64>, Vec<f64>) {
    let apply = |block: &OwnedBlock, x: &[f64]| -> Vec<f64> {
        block
            .bias
            .iter()
            .zip(block.weights.chunks(block.columns()))
            .map(|(&bias, row)| {
                let dot: f64 = row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum();
                f64::from(bias) + dot
            })
            .collect()
    };
    let hidden = |layers: &[OwnedBlock], x: &[f64]| {
        layers.iter().fold(x.to_vec(), |x, layer| {
            apply(layer, &x).into_iter().map(f64::tanh).collect()
        })
    };
    let xi: Vec<f64> = state
        .iter()
        .zip(policy.shift.iter().zip(&policy.scale))
        .map(|(&s, (&shift, &scale))| (f64::from(s) - f64::from(shift)) * f64::from(scale))
        .collect();
    let norm = xi.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (z, rho) = match policy.input {
        InputKind::Affine => (xi.clone(), 1.0),
        InputKind::UnitNorm if norm == 0.0 => (xi.clone(), 0.0),
        InputKind::UnitNorm => (xi.iter().map(|x| x / norm).collect::<Vec<_>>(), norm),
    };
    let count: usize = policy.factors.iter().map(|&f| usize::from(f)).sum();
    let mut logits = vec![0.0; count];
    if let Some(scores) = &policy.scores {
        let mut products = Vec::new();
        for i in 0..z.len() {
            for k in i..z.len() {
                products.push(z[i] * z[k]);
            }
        }
        for (l, v) in logits.iter_mut().zip(apply(scores, &products)) {
            *l += v;
        }
    }
    if let Some(layers) = &policy.selector {
        let (output, rest) = layers.split_last().unwrap();
        for (l, v) in logits.iter_mut().zip(apply(output, &hidden(rest, &z))) {
            *l += v;
        }
    }
    let mut u = vec![0.0; usize::from(policy.control_dim)];
    if let Some(gains) = &policy.gains {
        for (u, v) in u.iter_mut().zip(apply(&gains[choice], &xi)) {
            *u += v;
        }
    }
    if let Some((layers, heads)) = &policy.control {
        let head = &heads[if heads.len() == 1 { 0 } else { choice }];
        for (u, v) in u.iter_mut().zip(apply(head, &hidden(layers, &z))) {
            *u += v * rho;
        }
    }
    (logits, u)
}
