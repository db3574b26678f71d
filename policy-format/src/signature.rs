//! The optional section SIGNATURE: who vouches for a file, and since which state of the anti-rollback counter.
//!
//! This module knows where a signature stands and what it is about; the arithmetic of Ed25519 and SHA-512 is the caller's.

use crate::container::{ENTRY_LEN, FLAG_CRITICAL, RawPolicy, reseal};
use crate::encode_error::EncodeError;
use crate::error::FormatError;
use crate::section::SectionId;
use crate::writer::ContainerWriter;
use crate::{HEADER_LEN, MAX_SECTIONS};

/// Bytes of section SIGNATURE, which ends the file.
pub const SIGNATURE_LEN: usize = 96;
/// Bytes of the section in front of the signature: scheme, counter, key id, zeros.
const HEAD_LEN: usize = 32;
/// Bytes of an Ed25519 signature.
const VALUE_LEN: usize = 64;
/// Ed25519 (RFC 8032) over [`SignedParts::message`].
const SCHEME: u32 = 1;
/// Bytes of the header in front of the CRC, and from behind it.
const CRC: core::ops::Range<usize> = 16..20;

/// What stands in front of every message that is signed, so that a signature made for something else is none here.
pub const SIGNATURE_DOMAIN: [u8; 16] = *b"HPO policy sig 1";
/// Bytes of a message: domain, header without its CRC, head of the section, SHA-512 of the payload.
pub const SIGNED_MESSAGE_LEN: usize = 16 + (HEADER_LEN - 4) + HEAD_LEN + 64;

/// A file taken apart at the places where a signed file has its parts, whatever their content.
#[derive(Clone, Copy, Debug)]
pub struct SignedParts<'a> {
    header: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
    head: &'a [u8; HEAD_LEN],
    value: &'a [u8; VALUE_LEN],
}

impl<'a> SignedParts<'a> {
    /// Takes `file` apart; `None` if it is shorter than a header and a signature. Nothing is checked, so that what this gives
    /// can be held against a signature before, or without, any trust in the container.
    #[must_use]
    pub fn of(file: &'a [u8]) -> Option<Self> {
        let (header, rest) = file.split_first_chunk::<HEADER_LEN>()?;
        let (rest, value) = rest.split_last_chunk::<VALUE_LEN>()?;
        let (payload, head) = rest.split_last_chunk::<HEAD_LEN>()?;
        Some(Self {
            header,
            payload,
            head,
            value,
        })
    }

    /// What is hashed with SHA-512: everything behind the header and in front of section SIGNATURE.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The message of 140 bytes that is signed: the domain, the file's header without its CRC-32, the section up to the
    /// signature, and the hash. With the hash it depends on every byte of the file except CRC-32 and signature.
    #[must_use]
    pub fn message(&self, payload_sha512: &[u8; 64]) -> [u8; SIGNED_MESSAGE_LEN] {
        let mut message = [0; SIGNED_MESSAGE_LEN];
        let [front, back] = [self.header.get(..CRC.start), self.header.get(CRC.end..)];
        let parts = [
            &SIGNATURE_DOMAIN[..],
            front.unwrap_or_default(),
            back.unwrap_or_default(),
            self.head,
            payload_sha512,
        ];
        // The lengths of the parts add up to that of the message.
        for (to, from) in message.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        message
    }

    /// The Ed25519 signature.
    #[must_use]
    pub const fn value(&self) -> &'a [u8; 64] {
        self.value
    }

    /// Id of the key: the first 8 bytes of the SHA-512 of the public key's 32 bytes.
    #[must_use]
    pub fn key_id(&self) -> [u8; 8] {
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(self.head.iter().skip(8)) {
            *to = *from;
        }
        id
    }

    /// The anti-rollback counter: a device that has confirmed a policy with a greater one refuses this one. It has nothing to
    /// do with the producer's version number in META.
    #[must_use]
    pub fn security_counter(&self) -> u32 {
        self.word(4)
    }

    fn word(&self, offset: usize) -> u32 {
        self.head
            .get(offset..)
            .and_then(<[u8]>::first_chunk::<4>)
            .map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }
}

impl<'a> RawPolicy<'a> {
    /// The parts of a signed file, `None` for one without section SIGNATURE. The signature is not verified.
    ///
    /// # Errors
    /// [`FormatError::SectionSize`], [`FormatError::SignatureNotLast`], [`FormatError::SignatureScheme`] or
    /// [`FormatError::SignatureReserved`] if the section is not as the format asks for.
    pub fn signature(&self) -> Result<Option<SignedParts<'a>>, FormatError> {
        let Some(section) = self.sections().find(|s| s.id == SectionId::SIGNATURE) else {
            return Ok(None);
        };
        if section.length != SIGNATURE_LEN {
            return Err(FormatError::SectionSize {
                section: SectionId::SIGNATURE,
                found: section.length,
                expected: SIGNATURE_LEN as u64,
            });
        }
        if section.offset + SIGNATURE_LEN != self.total_len() {
            return Err(FormatError::SignatureNotLast);
        }
        let parts = SignedParts::of(self.bytes()).ok_or(FormatError::SignatureNotLast)?;
        let scheme = parts.word(0);
        if scheme != SCHEME {
            return Err(FormatError::SignatureScheme { found: scheme });
        }
        if parts.head.iter().skip(16).any(|&byte| byte != 0) {
            return Err(FormatError::SignatureReserved);
        }
        Ok(Some(parts))
    }
}

/// Writes the policy file `file` again with a section SIGNATURE in place of the one it may have, still without a
/// signature (64 zeros), and returns the new length: to be signed with [`seal_signature`]. `out` as for [`crate::encode()`].
///
/// # Errors
/// [`EncodeError::Invalid`] if `file` has no sound container, has no place for one more section, or has sections with ids
/// above that of SIGNATURE; else as [`crate::encode()`].
pub fn with_signature(
    file: &[u8],
    key_id: [u8; 8],
    security_counter: u32,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let raw = RawPolicy::parse(file)?;
    let kept = || {
        raw.sections()
            .filter(|section| section.id != SectionId::SIGNATURE)
    };
    if kept().any(|section| section.id > SectionId::SIGNATURE) {
        return Err(FormatError::SignatureNotLast.into());
    }
    let sections = kept().count();
    if sections >= MAX_SECTIONS {
        return Err(FormatError::SectionCount {
            found: sections as u32 + 1,
        }
        .into());
    }
    let mut writer = ContainerWriter::new(out, raw.target_class(), sections + 1);
    for section in kept() {
        writer.section(section.id, section.flags & FLAG_CRITICAL != 0);
        writer.put(raw.section(section.id).unwrap_or_default());
    }
    writer.section(SectionId::SIGNATURE, false);
    writer.put_word(SCHEME);
    writer.put_word(security_counter);
    writer.put(&key_id);
    writer.put(&[0; HEAD_LEN - 16 + VALUE_LEN]);
    writer.finish()
}

/// Puts a signature into a file of [`with_signature`] and repairs its CRC-32. A buffer shorter than a signature is left alone.
pub fn seal_signature(file: &mut [u8], value: &[u8; 64]) {
    if file.len() < HEADER_LEN + ENTRY_LEN + SIGNATURE_LEN {
        return;
    }
    if let Some(place) = file.last_chunk_mut::<VALUE_LEN>() {
        *place = *value;
    }
    reseal(file);
}
