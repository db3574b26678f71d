//! A validated policy and what it says about itself.

use crate::block::{Block, Blocks};
use crate::container::RawPolicy;
use crate::error::ErrorCode;
use crate::golden::Golden;
use crate::int8::Int8Block;
use crate::meta::{Capacity, InputKind, Meta};
use crate::names::Names;
use crate::network::Network;
#[cfg(feature = "regions")]
use crate::region::Regions;
use crate::safety::Safety;

/// A checked policy, the only type that can act. Made by [`crate::RawPolicy::validate`].
///
/// It borrows every weight from the bytes of the file; it is immutable and holds no state.
#[derive(Clone, Debug)]
pub struct Policy<'a> {
    pub(crate) meta: Meta,
    /// The dimensions of `meta`, derived once.
    pub(crate) dimensions: Capacity,
    /// Floats of each of the two working buffers.
    pub(crate) buffer_len: usize,
    pub(crate) target_class: u32,
    pub(crate) crc32: u32,
    pub(crate) total_len: usize,
    pub(crate) choice_modes: &'a [u16],
    pub(crate) shift: &'a [f32],
    pub(crate) scale: &'a [f32],
    pub(crate) scores: Option<Block<'a>>,
    pub(crate) selector: Option<Network<'a>>,
    pub(crate) gains: Option<Blocks<'a>>,
    pub(crate) control: Option<Network<'a>>,
    #[cfg(feature = "regions")]
    pub(crate) regions: Option<Regions<'a>>,
    /// Choice whose regions the fallback law keeps to.
    #[cfg(feature = "regions")]
    pub(crate) fallback_choice: u16,
    pub(crate) bounds: Option<Bounds<'a>>,
    pub(crate) fallback: FallbackLaw<'a>,
    pub(crate) safety: Safety<'a>,
    /// Golden vectors behind their header.
    pub(crate) golden: &'a [u32],
    pub(crate) names: &'a [u8],
    pub(crate) budget: Option<crate::Budget<'a>>,
}

/// Arithmetic of a policy's networks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precision {
    /// 32-bit floating point.
    F32,
    /// 8-bit weights, integer sums. Everything beside the networks is binary32 still.
    Int8,
}

/// Control bounds, m floats each.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bounds<'a> {
    /// Lower bounds.
    pub lower: &'a [f32],
    /// Upper bounds, each at least the lower one.
    pub upper: &'a [f32],
}

/// The law that acts when the policy cannot: `u = bias + gain * s`, or the constant.
#[derive(Clone, Copy, Debug)]
pub struct FallbackLaw<'a> {
    /// Plant mode, below [`Policy::modes`].
    pub mode: u16,
    /// Control that is safe for any state, m floats, finite and inside the bounds.
    pub constant: &'a [f32],
    /// Gain block of m rows by n columns, applied to the state itself.
    pub gain: Block<'a>,
}

impl<'a> Policy<'a> {
    /// [`RawPolicy::parse`] and [`RawPolicy::validate`] in one, for a device: of an error its number alone.
    ///
    /// # Errors
    /// The [`FormatError::code`](crate::FormatError::code) of the first check that fails.
    // Out of line, so that the policy is moved whole and not field by field.
    #[inline(never)]
    pub fn load(bytes: &'a [u8], capacity: &Capacity) -> Result<Self, ErrorCode> {
        RawPolicy::parse_as(bytes)?.validate_as(capacity)
    }

    /// Length n of the state.
    #[must_use]
    pub const fn state_dim(&self) -> usize {
        self.dimensions.state
    }

    /// Length m of the control.
    #[must_use]
    pub const fn control_dim(&self) -> usize {
        self.dimensions.control
    }

    /// Number M of plant modes.
    #[must_use]
    pub fn modes(&self) -> usize {
        self.meta.modes.into()
    }

    /// Number C of choices.
    #[must_use]
    pub fn choices(&self) -> usize {
        self.choice_modes.len()
    }

    /// Sizes of the selector's factors, first factor most significant.
    #[must_use]
    pub fn factors(&self) -> &[u16] {
        &self.meta.factors
    }

    /// Number L of logits: the sum of the factor sizes.
    #[must_use]
    pub const fn logits(&self) -> usize {
        self.dimensions.logits
    }

    /// Plant mode of each choice, C values below M.
    #[must_use]
    pub const fn choice_modes(&self) -> &'a [u16] {
        self.choice_modes
    }

    /// What networks and scores see.
    #[must_use]
    pub const fn input_kind(&self) -> InputKind {
        match self.meta.input {
            0 => InputKind::Affine,
            _ => InputKind::UnitNorm,
        }
    }

    /// Shift of the input, n floats.
    #[must_use]
    pub const fn input_shift(&self) -> &'a [f32] {
        self.shift
    }

    /// Scale of the input, n positive floats.
    #[must_use]
    pub const fn input_scale(&self) -> &'a [f32] {
        self.scale
    }

    /// Widths of the selector network's hidden layers, `None` without that network.
    #[must_use]
    pub fn selector_hidden(&self) -> Option<&[u16]> {
        self.meta.selector_hidden.as_deref()
    }

    /// Widths of the control network's hidden layers, `None` without that network.
    #[must_use]
    pub fn control_hidden(&self) -> Option<&[u16]> {
        self.meta.control_hidden.as_deref()
    }

    /// Number of output blocks of the control network: 0 without it, else 1 or C.
    #[must_use]
    pub fn control_heads(&self) -> usize {
        self.meta.control_heads.into()
    }

    /// Whether the selector has quadratic scores.
    #[must_use]
    pub const fn has_scores(&self) -> bool {
        self.scores.is_some()
    }

    /// Whether the control law has a linear gain per choice.
    #[must_use]
    pub const fn has_gains(&self) -> bool {
        self.gains.is_some()
    }

    /// What the policy needs of a core, if it says so.
    #[must_use]
    pub const fn budget(&self) -> Option<crate::Budget<'a>> {
        self.budget
    }

    /// Whether the control is bounded.
    #[must_use]
    pub const fn has_bounds(&self) -> bool {
        self.bounds.is_some()
    }

    /// Control bounds, if the policy has any.
    #[must_use]
    pub const fn bounds(&self) -> Option<Bounds<'a>> {
        self.bounds
    }

    /// Regions of the control by choice, if the policy has any.
    #[cfg(feature = "regions")]
    #[must_use]
    pub const fn regions(&self) -> Option<Regions<'a>> {
        self.regions
    }

    /// The fallback law.
    #[must_use]
    pub const fn fallback_law(&self) -> FallbackLaw<'a> {
        self.fallback
    }

    /// The quadratic scores: L rows by n(n+1)/2 columns.
    #[must_use]
    pub const fn scores(&self) -> Option<Block<'a>> {
        self.scores
    }

    /// The gain block of a choice: m rows by n columns. `None` without gains or for a choice that does not exist.
    #[must_use]
    pub fn gain(&self, choice: usize) -> Option<Block<'a>> {
        self.gains.as_ref()?.get(choice)
    }

    /// Arithmetic of the networks.
    #[must_use]
    pub const fn precision(&self) -> Precision {
        match self.meta.precision {
            0 => Precision::F32,
            _ => Precision::Int8,
        }
    }

    /// The selector network, `None` without it.
    #[must_use]
    pub const fn selector_network(&self) -> Option<&Network<'a>> {
        self.selector.as_ref()
    }

    /// The control network, `None` without it.
    #[must_use]
    pub const fn control_network(&self) -> Option<&Network<'a>> {
        self.control.as_ref()
    }

    /// The gain blocks, m rows by n columns, one per choice; `None` without gains.
    #[must_use]
    pub const fn gains(&self) -> Option<&Blocks<'a>> {
        self.gains.as_ref()
    }

    /// The blocks of the selector network in 8 bits, in order; none with another or without a network.
    pub fn selector_int8_blocks(&self) -> impl Iterator<Item = Int8Block<'a>> + '_ {
        self.selector.iter().flat_map(Network::int8_blocks)
    }

    /// The blocks of the control network in 8 bits, in order; none with another or without a network.
    pub fn control_int8_blocks(&self) -> impl Iterator<Item = Int8Block<'a>> + '_ {
        self.control.iter().flat_map(Network::int8_blocks)
    }

    /// The blocks of the selector network in order, the output block last; none without that network or in 8 bits.
    pub fn selector_blocks(&self) -> impl Iterator<Item = Block<'a>> + '_ {
        self.selector.iter().flat_map(Network::blocks)
    }

    /// The blocks of the control network in order: hidden layers, then one output block per head; none in
    /// 8 bits.
    pub fn control_blocks(&self) -> impl Iterator<Item = Block<'a>> + '_ {
        self.control.iter().flat_map(Network::blocks)
    }

    /// Sample time in seconds.
    #[must_use]
    pub const fn sample_time_s(&self) -> f32 {
        self.meta.sample_time_s
    }

    /// The producer's version number of this policy.
    #[must_use]
    pub const fn policy_version(&self) -> u32 {
        self.meta.policy_version
    }

    /// Target class: id of the plant and actuator set the policy is made for.
    #[must_use]
    pub const fn target_class(&self) -> u32 {
        self.target_class
    }

    /// CRC-32 of the file.
    #[must_use]
    pub const fn crc32(&self) -> u32 {
        self.crc32
    }

    /// Length of the file in bytes.
    #[must_use]
    pub const fn total_len(&self) -> usize {
        self.total_len
    }

    /// Number of trained numbers (scores, selector, gains, control) without padding, and without the scales and
    /// multipliers of 8-bit networks.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let gains = self.gains.iter().flat_map(Blocks::iter);
        self.scores
            .into_iter()
            .chain(self.selector_blocks())
            .chain(gains)
            .chain(self.control_blocks())
            .map(|block| block.rows() * (block.columns() + 1))
            .chain(
                self.selector_int8_blocks()
                    .chain(self.control_int8_blocks())
                    .map(|block| block.rows() * (block.columns() + 1)),
            )
            .sum()
    }

    /// The golden vectors.
    #[must_use]
    pub fn golden(&self) -> Golden<'a> {
        Golden::new(self.golden, self.state_dim(), self.control_dim())
    }

    /// Names and units; none without section NAMES.
    #[must_use]
    pub fn names(&self) -> Names<'a> {
        Names::new(self.names)
    }

    /// The least capacity that admits this policy.
    #[must_use]
    pub const fn capacity(&self) -> Capacity {
        self.dimensions
    }

    /// Floats of scratch that [`Policy::decide`] needs: [`Capacity::scratch_len`] of [`Policy::capacity`].
    #[must_use]
    pub const fn scratch_len(&self) -> usize {
        self.dimensions.scratch_len()
    }
}
