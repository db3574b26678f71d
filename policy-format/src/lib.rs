//! What a hybrid policy *is*: container, validation, arithmetic and messages.
//!
//! A policy file is read in two steps. [`RawPolicy::parse`] checks the container (magic, version, CRC-32,
//! section table); [`RawPolicy::validate`] checks the content against the maxima of the reader and gives a
//! [`Policy`], the only type that can act. Weights stay where the bytes are: nothing is copied, nothing is
//! allocated. [`Policy::decide`] is the specification of what a policy computes; every fast kernel gives
//! the same bits. `docs/policy-format.md` is normative for all of it.
//!
//! The crate is `no_std`, does not allocate, has no unsafe code, and nothing reachable from
//! [`RawPolicy::parse`], [`RawPolicy::validate`], [`Policy::decide`], [`Policy::fallback`] and
//! [`Policy::check_golden`] can panic.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

#[cfg(test)]
extern crate std;

#[cfg(target_endian = "big")]
compile_error!(
    "policy files are little-endian and read in place: big-endian targets are not supported"
);

mod arithmetic;
mod block;
mod budget;
mod checks;
pub mod constraint;
mod container;
mod crc32;
mod elementwise;
mod encode;
mod encode_error;
mod encode_int8;
mod error;
mod error_text;
mod evaluate;
mod golden;
mod int8;
pub mod message;
mod meta;
mod names;
mod network;
mod policy;
pub mod region;
mod safety;
mod safety_encode;
mod section;
mod signature;
mod spec;
mod validate;
mod wire;
mod writer;

pub use arithmetic::{TANH_CLAMP, TANH_DENOMINATOR, TANH_MAX, TANH_NUMERATOR, normalise, tanh};
pub use block::{Block, Blocks, padded_rows};
pub use budget::{Budget, CoreClass, MAX_NEEDS, Need, with_budget};
pub use constraint::{Constraints, ModeHistory, ModeRules};
pub use container::{RawPolicy, Section, Sections, crc32, reseal};
pub use elementwise::{admit, all_finite, inside};
pub use encode::{encode, encoded_len};
pub use encode_error::EncodeError;
pub use encode_int8::{Int8BlockSpec, Int8NetworkSpec, encode_int8};
pub use error::{ErrorCode, FormatError};
pub use evaluate::{DecideError, Decision};
pub use golden::{Golden, GoldenError, GoldenVector};
pub use int8::{
    INT8_ACTIVATION_MAX, INT8_ACTIVATION_MIN, INT8_MULTIPLIER_MAX, INT8_MULTIPLIER_UNIT,
    INT8_SUM_MAX, INT8_TANH, Int8Block, Int8Row, int8_input, int8_tanh, int8_words,
};
pub use meta::{Capacity, InputKind, MAX_FACTORS, MAX_HIDDEN_LAYERS};
pub use names::{MAX_NAME_BYTES, NameError, NameKind, NameRecord, Names};
pub use network::{FloatNetwork, Int8Network, Network};
pub use policy::{Bounds, FallbackLaw, Policy, Precision};
pub use region::{Region, Regions};
pub use safety::{Envelope, FallbackKind, Limits, Safety, Supervision};
pub use safety_encode::{encode_supervised, supervised_len};
pub use section::SectionId;
pub use signature::{
    SIGNATURE_DOMAIN, SIGNATURE_LEN, SIGNED_MESSAGE_LEN, SignedParts, seal_signature,
    with_signature,
};
pub use spec::{BlockSpec, ControlSpec, FallbackSpec, GainsSpec, PolicySpec};
pub use writer::ContainerWriter;

/// The version of the policy format this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;
/// The first eight bytes of every policy file: `\x89HPO\r\n\x1a\n`.
pub const MAGIC: [u8; 8] = [0x89, 0x48, 0x50, 0x4F, 0x0D, 0x0A, 0x1A, 0x0A];
/// Bytes of the header in front of the section table.
pub const HEADER_LEN: usize = 32;
/// Greatest length of a policy file in bytes (16 MiB).
pub const MAX_TOTAL_LEN: usize = 16 << 20;
/// Greatest number of sections in a file.
pub const MAX_SECTIONS: usize = 32;
/// Greatest number of golden vectors in a file.
pub const MAX_GOLDEN: usize = 64;
