//! What a policy file is made from: borrowed, row-major lists.

use crate::golden::GoldenVector;
use crate::meta::InputKind;
use crate::names::NameRecord;
use crate::policy::Bounds;
use crate::region::Regions;

/// A block of R rows by K columns, row-major and without padding.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BlockSpec<'a> {
    /// Bias, R floats.
    pub bias: &'a [f32],
    /// Weights, R*K floats; the weight of row r and column k is at `r*K + k`.
    pub weights: &'a [f32],
}

/// A linear law per choice, `u = offset + matrix * xi`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GainsSpec<'a> {
    /// Offsets, C*m floats, choice by choice.
    pub offset: &'a [f32],
    /// Gain matrices, C*m*n floats: choice by choice, row-major.
    pub matrix: &'a [f32],
}

/// The control network.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ControlSpec<'a> {
    /// Hidden layers, each followed by tanh; 0 to 4 of them.
    pub hidden: &'a [BlockSpec<'a>],
    /// Output blocks of m rows: one for all choices, or one per choice.
    pub heads: &'a [BlockSpec<'a>],
}

/// The fallback law, `u = offset + gain * s`, or the constant where that is not finite.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FallbackSpec<'a> {
    /// Plant mode.
    pub mode: u16,
    /// Constant control, m floats, inside the bounds.
    pub constant: &'a [f32],
    /// Offset, m floats.
    pub offset: &'a [f32],
    /// Gain, m*n floats, row-major.
    pub gain: &'a [f32],
}

/// Everything a policy file holds. n, m, M, C, L as in `docs/policy-format.md`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PolicySpec<'a> {
    /// Id of plant and actuator set.
    pub target_class: u32,
    /// Length n of the state, 1 to 256.
    pub state_dim: u16,
    /// Length m of the control, 1 to 256.
    pub control_dim: u16,
    /// Number M of plant modes, 1 to 256.
    pub modes: u16,
    /// Sizes of the selector's factors, 1 to 8 of them; their product is C, their sum L.
    pub factors: &'a [u16],
    /// What networks and scores see.
    pub input: InputKind,
    /// Sample time in seconds, positive.
    pub sample_time_s: f32,
    /// The producer's version number.
    pub policy_version: u32,
    /// Plant mode of each choice, C of them.
    pub choice_modes: &'a [u16],
    /// Input shift, n floats.
    pub input_shift: &'a [f32],
    /// Input scale, n positive floats.
    pub input_scale: &'a [f32],
    /// Quadratic scores: L rows by n(n+1)/2 columns, the monomials in the order (0,0), (0,1)..(1,1)..
    pub scores: Option<BlockSpec<'a>>,
    /// Selector network: hidden layers, then the output layer of L rows; 1 to 5 blocks.
    pub selector: Option<&'a [BlockSpec<'a>]>,
    /// Linear law per choice, on the shifted and scaled state.
    pub gains: Option<GainsSpec<'a>>,
    /// Control network.
    pub control: Option<ControlSpec<'a>>,
    /// Regions of the control by choice, `C * m` floats in each list.
    pub regions: Option<Regions<'a>>,
    /// Control bounds.
    pub bounds: Option<Bounds<'a>>,
    /// Fallback law.
    pub fallback: FallbackSpec<'a>,
    /// Golden vectors, 1 to 64, one of them with a subnormal state value.
    pub golden: &'a [GoldenVector<'a>],
    /// Names and units; none leaves the section out.
    pub names: &'a [NameRecord<'a>],
}
