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

impl Trust<'_> {
    /// The anti-rollback counter by which a policy is held against the floor: that of its signature, which [`Trust::check`] has
    /// verified; 0 where anyone is trusted, because a counter that nobody signed could bar every later policy. Never panics.
    ///
    /// # Errors
    /// The fault of a bad container or signature section.
    pub fn counter(&self, file: &[u8]) -> Result<u32, Fault> {
        match self.keys {
            Some(_) => security_counter(file),
            None => Ok(0),
        }
    }
}

/// The anti-rollback counter that a policy file states; 0 without a signature. It is worth what the signature is worth: whoever
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
pub use ed25519::{is_signature, key_id, payload_hash, verify};

#[cfg(feature = "signed")]
mod ed25519;

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
