//! Who may say what runs: public keys, and the check of a policy's signature.
//!
//! A firmware is built with the feature `unsigned`, and then runs any policy and never looks at a signature, or without it, and
//! then runs no policy that none of its keys has signed. [`crate::boot()`] asks [`Trust::BUILT`], once per boot; the control step
//! never verifies anything. The keys come from `HPO_PUBLIC_KEYS` at compile time: 64 hexadecimal digits each, separated by commas.

use policy_format::RawPolicy;

use crate::Fault;

#[cfg(not(any(feature = "unsigned", feature = "signed")))]
compile_error!(
    "this firmware would run no policy: build it with the feature `signed` and HPO_PUBLIC_KEYS, or with `unsigned`"
);

/// An Ed25519 public key, 32 bytes as in RFC 8032.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

/// Whom a firmware trusts.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'k> {
    /// `None`: everybody.
    keys: Option<&'k [PublicKey]>,
}

impl Trust<'static> {
    /// Runs any policy.
    #[cfg(feature = "unsigned")]
    pub const ANYONE: Self = Self { keys: None };

    /// What this firmware was built for.
    #[cfg(feature = "unsigned")]
    pub const BUILT: Self = Self::ANYONE;

    /// What this firmware was built for.
    #[cfg(not(feature = "unsigned"))]
    pub const BUILT: Self = Self {
        keys: Some(&built::KEYS),
    };
}

impl<'k> Trust<'k> {
    /// Runs policies that one of `keys` has signed.
    #[cfg(feature = "signed")]
    #[must_use]
    pub const fn keys(keys: &'k [PublicKey]) -> Self {
        Self { keys: Some(keys) }
    }

    /// Whether `file`, a whole policy file, may run. Never panics.
    ///
    /// # Errors
    /// Unless anyone is trusted: the fault of a bad container, [`Fault::UNSIGNED`], [`Fault::UNKNOWN_KEY`],
    /// [`Fault::BAD_SIGNATURE`].
    pub fn check(&self, file: &[u8]) -> Result<(), Fault> {
        let Some(keys) = self.keys else {
            return Ok(());
        };
        let parts = RawPolicy::parse(file)?.signature()?;
        verify(parts.ok_or(Fault::UNSIGNED)?, keys)
    }
}

/// The anti-rollback counter of a policy file; 0 without a signature. It is worth what the signature is worth: whoever
/// relies on it calls [`Trust::check`] first. Never panics.
///
/// # Errors
/// The fault of a bad container or signature section.
pub fn security_counter(file: &[u8]) -> Result<u32, Fault> {
    let parts = RawPolicy::parse(file)?.signature()?;
    Ok(parts.map_or(0, |parts| parts.security_counter()))
}

/// A firmware without the feature `signed` has no keys and verifies nothing.
#[cfg(not(feature = "signed"))]
fn verify(_: policy_format::SignedParts<'_>, _: &[PublicKey]) -> Result<(), Fault> {
    Err(Fault::UNKNOWN_KEY)
}

#[cfg(feature = "signed")]
pub use ed25519::{key_id, payload_hash, verify};

/// The arithmetic: SHA-512 and Ed25519 without tables, so that it costs time and not flash.
#[cfg(feature = "signed")]
mod ed25519 {
    use ed25519_dalek::{Digest, Sha512, Signature, VerifyingKey};
    use policy_format::SignedParts;

    use super::PublicKey;
    use crate::Fault;

    /// The id by which a signature names a key: the first 8 bytes of the key's SHA-512.
    #[must_use]
    pub fn key_id(key: &PublicKey) -> [u8; 8] {
        let hash = Sha512::digest(key.0);
        core::array::from_fn(|i| hash.get(i).copied().unwrap_or(0))
    }

    /// SHA-512 of a file's payload.
    #[must_use]
    pub fn payload_hash(payload: &[u8]) -> [u8; 64] {
        Sha512::digest(payload).into()
    }

    /// Verifies a signature against the key that it names.
    ///
    /// Strict: a key of small order and a value that is not canonical are refused, so that a file has one valid signature
    /// per signing. Time depends on public data only. Never panics.
    ///
    /// # Errors
    /// [`Fault::UNKNOWN_KEY`] if none of `keys` is the one named, [`Fault::BAD_SIGNATURE`].
    pub fn verify(parts: SignedParts<'_>, keys: &[PublicKey]) -> Result<(), Fault> {
        let named = parts.key_id();
        let key = keys
            .iter()
            .find(|key| key_id(key) == named)
            .ok_or(Fault::UNKNOWN_KEY)?;
        let key = VerifyingKey::from_bytes(&key.0).map_err(|_| Fault::UNKNOWN_KEY)?;
        let message = parts.message(&payload_hash(parts.payload()));
        key.verify_strict(&message, &Signature::from_bytes(parts.value()))
            .map_err(|_| Fault::BAD_SIGNATURE)
    }
}

/// The keys of this firmware, from the environment of the compiler.
#[cfg(not(feature = "unsigned"))]
mod built {
    use super::PublicKey;

    const TEXT: &[u8] = match option_env!("HPO_PUBLIC_KEYS") {
        Some(text) => text.as_bytes(),
        None => panic!("HPO_PUBLIC_KEYS is not set: this firmware would run no policy"),
    };

    /// 64 digits each, and a comma between two.
    const COUNT: usize = (TEXT.len() + 1) / 65;

    pub static KEYS: [PublicKey; COUNT] = keys();

    #[expect(
        clippy::indexing_slicing,
        reason = "runs in the compiler: an index out of range is an error of the build"
    )]
    const fn keys() -> [PublicKey; COUNT] {
        assert!(
            TEXT.len() % 65 == 64,
            "HPO_PUBLIC_KEYS is not 64 hexadecimal digits per key with commas between"
        );
        let mut keys = [PublicKey([0; 32]); COUNT];
        let mut at = 0;
        while at < TEXT.len() {
            let (key, digit) = (at / 65, at % 65);
            if digit == 64 {
                assert!(TEXT[at] == b',', "HPO_PUBLIC_KEYS: no comma between keys");
            } else {
                keys[key].0[digit / 2] = keys[key].0[digit / 2] * 16 + nibble(TEXT[at]);
            }
            at += 1;
        }
        keys
    }

    const fn nibble(digit: u8) -> u8 {
        match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => panic!("HPO_PUBLIC_KEYS: not a digit of 0-9 and a-f"),
        }
    }
}
