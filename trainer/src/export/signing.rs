//! Key files and signatures of policy files: Ed25519, as `docs/policy-format.md` section 10 has it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer as _, SigningKey};
use firmware::signature::{key_id, payload_hash};
use firmware::{Fault, PublicKey, Trust};
use policy_format::{EncodeError, RawPolicy, seal_signature, with_signature};
use serde::{Deserialize, Serialize};

use crate::train::run::hex;
use crate::{Error, Result};

use super::PolicyBuffer;

/// A private key file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    /// 32 bytes of seed, hexadecimal.
    secret: String,
    /// The public key that belongs to it, hexadecimal.
    public: String,
}

/// Makes a key pair from the operating system's random numbers: the private key in `path`, readable by its owner only, the public
/// one in `path` with `.pub` behind it. Gives path and key of the public one.
///
/// # Errors
/// [`Error::Usage`] if one of the files exists: a key is never overwritten. [`Error::Io`] if they cannot be written;
/// [`Error::Environment`] without random numbers.
pub fn make_keys(path: &Path) -> Result<(PathBuf, PublicKey)> {
    let beside = public_path(path);
    for file in [path, &beside] {
        if file.symlink_metadata().is_ok() {
            return Err(Error::Usage(format!(
                "{}: found a file; allowed: a name that is free, because a key is never overwritten",
                file.display()
            )));
        }
    }
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| std::io::Read::read_exact(&mut random, &mut seed))
        .map_err(|error| Error::Environment(format!("/dev/urandom: {error}")))?;
    let key = SigningKey::from_bytes(&seed);
    let public = public_of(&key);
    let text = toml::to_string(&KeyFile {
        secret: hex(&seed),
        public: hex(&public.0),
    })
    .map_err(|error| Error::Environment(error.to_string()))?;
    let private = format!("# hpo signing key (Ed25519). Whoever has it can sign policies.\n{text}");
    create(path, &private, 0o600)?;
    create(&beside, &format!("{}\n", hex(&public.0)), 0o644)?;
    Ok((beside, public))
}

fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// Writes a file that must not exist, with its permissions from the start.
fn create(path: &Path, text: &str, mode: u32) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let mut file = options
        .open(path)
        .map_err(|error| Error::io(path, "cannot create", error))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| Error::io(path, "cannot write", error))
}

/// Reads a private key.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::Input`] if it is no private key or others than its owner may read it.
pub fn read_private(path: &Path) -> Result<SigningKey> {
    let no_key =
        |found: String| Error::input(path, "key", found, "a private key as hpo keygen writes it");
    let text =
        std::fs::read_to_string(path).map_err(|error| Error::io(path, "cannot read", error))?;
    // Its half for others, which they may read: told before permissions are.
    if from_hex(text.trim()).is_some() {
        return Err(no_key("a public key".into()));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = path
            .metadata()
            .map_err(|error| Error::io(path, "cannot read", error))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let found = format!("{mode:03o}");
            return Err(Error::input(path, "permissions", found, "600"));
        }
    }
    let file: KeyFile =
        toml::from_str(&text).map_err(|error| no_key(error.message().to_owned()))?;
    let digits = |text: &str| from_hex(text).ok_or_else(|| no_key("not 64 digits".into()));
    let key = SigningKey::from_bytes(&digits(&file.secret)?);
    if public_of(&key).0 != digits(&file.public)? {
        return Err(no_key("a public key that belongs to another one".into()));
    }
    Ok(key)
}

/// Reads a public key.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::Input`] if it is no public key.
pub fn read_public(path: &Path) -> Result<PublicKey> {
    let text =
        std::fs::read_to_string(path).map_err(|error| Error::io(path, "cannot read", error))?;
    from_hex(text.trim())
        .filter(|bytes| ed25519_dalek::VerifyingKey::from_bytes(bytes).is_ok())
        .map(PublicKey)
        .ok_or_else(|| {
            let found = format!("{} characters", text.trim().chars().count());
            let allowed = "a public key as hpo keygen writes it: 64 digits of 0-9 and a-f";
            Error::input(path, "key", found, allowed)
        })
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 64 || !digits.iter().all(lower) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// The public half of a key.
#[must_use]
pub fn public_of(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// The policy with a signature in place of the one it may have.
///
/// # Errors
/// [`EncodeError`] if the file is no sound container or has no room for one more section.
pub fn sign(
    policy: &PolicyBuffer,
    key: &SigningKey,
    security_counter: u32,
) -> std::result::Result<PolicyBuffer, EncodeError> {
    let id = key_id(&public_of(key));
    let needed = match with_signature(policy.bytes(), id, security_counter, &mut []) {
        Err(EncodeError::BufferTooSmall { needed, .. }) => needed,
        Err(error) => return Err(error),
        Ok(length) => length,
    };
    let mut signed = PolicyBuffer::zeroed(needed);
    with_signature(policy.bytes(), id, security_counter, signed.bytes_mut())?;
    let message = RawPolicy::parse(signed.bytes())?
        .signature()?
        .map(|parts| parts.message(&payload_hash(parts.payload())));
    if let Some(message) = message {
        seal_signature(signed.bytes_mut(), &key.sign(&message).to_bytes());
    }
    Ok(signed)
}

/// Whether one of `keys` has signed the policy, as a device asks it.
///
/// # Errors
/// The device's [`Fault`].
pub fn verify(policy: &PolicyBuffer, keys: &[PublicKey]) -> std::result::Result<(), Fault> {
    Trust::keys(keys).check(policy.bytes())
}
