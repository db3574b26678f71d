//! Ed25519 (RFC 8032, 5.1.7) and SHA-512, without tables: verification costs time, once per boot, and little flash and stack.
//!
//! The arithmetic of field and group is `curve25519-dalek`'s. The equation is checked here and not by `ed25519-dalek`, because its
//! verification looks points up by a digit that the compiler cannot bound, and so would bring the panic machinery into a
//! firmware. `firmware/tests/signature.rs` holds both against each other.

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::Identity as _;
use curve25519_dalek::{EdwardsPoint, Scalar};
use policy_format::SignedParts;
use sha2::{Digest, Sha512};

use super::PublicKey;
use crate::Fault;

/// The id by which a signature names a key: the first 8 bytes of the key's SHA-512.
#[must_use]
pub fn key_id(key: &PublicKey) -> [u8; 8] {
    let hash = sha512([&key.0]);
    core::array::from_fn(|i| hash.get(i).copied().unwrap_or(0))
}

/// SHA-512 of a file's payload.
#[must_use]
pub fn payload_hash(payload: &[u8]) -> [u8; 64] {
    sha512([payload])
}

/// Verifies a signature against the key that it names, as [`is_signature`]. Never panics.
///
/// # Errors
/// [`Fault::UNKNOWN_KEY`] if none of `keys` is the one named, [`Fault::BAD_SIGNATURE`].
// A symbol of its own, by which `hpo bench --device` finds it.
#[inline(never)]
pub fn verify(parts: SignedParts<'_>, keys: &[PublicKey]) -> Result<(), Fault> {
    let named = parts.key_id();
    let key = keys
        .iter()
        .find(|key| key_id(key) == named)
        .ok_or(Fault::UNKNOWN_KEY)?;
    let message = parts.message(&payload_hash(parts.payload()));
    if is_signature(key, &message, parts.value()) {
        Ok(())
    } else {
        Err(Fault::BAD_SIGNATURE)
    }
}

/// Whether `value` is an Ed25519 signature of `message` by `key`.
///
/// Strict: a key or a commitment of small order, and a value in another than its canonical encoding, are no signature, so that
/// who does not hold the private key cannot make a second one from the first. Time depends on public data only. Never panics.
#[must_use]
pub fn is_signature(key: &PublicKey, message: &[u8], value: &[u8; 64]) -> bool {
    holds(key, message, value) == Some(true)
}

/// `None` for a key that is no point, or a scalar that is not below the group's order.
fn holds(key: &PublicKey, message: &[u8], value: &[u8; 64]) -> Option<bool> {
    let (commitment, scalar) = (value.first_chunk::<32>()?, value.last_chunk::<32>()?);
    let point = CompressedEdwardsY(key.0).decompress()?;
    let scalar = Option::<Scalar>::from(Scalar::from_canonical_bytes(*scalar))?;
    let hash = sha512([&commitment[..], &key.0, message]);
    let hash = Scalar::from_bytes_mod_order_wide(&hash);
    let expected = of_base_and(&scalar, &-point, &hash);
    let small = point.is_small_order() || expected.is_small_order();
    // Compared as encoded: what is equal is canonical, too.
    Some(expected.compress().0 == *commitment && !small)
}

/// `a B + b P`, B the base point: both products share their doublings, and two bits at a time choose among B, P and B + P.
fn of_base_and(a: &Scalar, point: &EdwardsPoint, b: &Scalar) -> EdwardsPoint {
    let both = ED25519_BASEPOINT_POINT + point;
    let mut sum = EdwardsPoint::identity();
    for (a, b) in bits(a).zip(bits(b)) {
        sum += sum;
        match (a, b) {
            (true, true) => sum += both,
            (true, false) => sum += ED25519_BASEPOINT_POINT,
            (false, true) => sum += point,
            (false, false) => {}
        }
    }
    sum
}

/// From the greatest bit down.
fn bits(scalar: &Scalar) -> impl Iterator<Item = bool> + '_ {
    let bytes = scalar.as_bytes().iter().rev();
    bytes.flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
}

fn sha512<const N: usize>(parts: [&[u8]; N]) -> [u8; 64] {
    let mut hash = Sha512::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
