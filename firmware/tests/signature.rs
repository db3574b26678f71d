//! Signatures: what is signed, and that nothing else passes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/mod.rs"]
mod policies;
#[path = "support/slots.rs"]
mod slots_support;

use std::sync::atomic::{AtomicU64, Ordering};

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use firmware::signature::is_signature;
use firmware::{Fault, PublicKey, SCRATCH_LEN, Trust, boot, boot_trusting, signature};
use policies::common::Aligned;
use policies::{policy_of, structure};
use policy_format::{RawPolicy, SIGNATURE_LEN, SectionId, SignedParts, reseal};
use proptest::prelude::*;
use slots_support::{CLASS, key, policy, public, signed};

/// A signed policy of 40 KiB to the byte, filled up with names.
fn forty_kib() -> Aligned {
    let mut structure = structure();
    structure.names = true;
    structure.control = Some(vec![64, 64]);
    structure.selector = Some(vec![64]);
    let plain = policies::file(&policy_of(&structure, CLASS));
    let mut parts = policies::common::parts::Parts::of(&Aligned::from(&plain));
    // An unknown optional section in front of the signature takes what is missing.
    let overhead = signed(&plain, &key(1), 3).len() + 16;
    parts
        .sections
        .push((SectionId(59), false, vec![0x5A; 40 * 1024 - overhead]));
    let file = signed(parts.build().bytes(), &key(1), 3);
    assert_eq!(file.len(), 40 * 1024);
    Aligned::from(&file)
}

fn check(file: &[u8]) -> Result<(), Fault> {
    let keys = [public(&key(1))];
    Trust::keys(&keys).check(file)
}

#[test]
fn every_single_bit_flip_is_rejected_by_the_signature_alone() {
    // All 327,680 of them with HPO_SIGNATURE_FLIPS=all; else all of header, section table and signature section, and every
    // 61st between.
    let all = std::env::var("HPO_SIGNATURE_FLIPS").is_ok_and(|value| value == "all");
    let file = forty_kib();
    let keys = [public(&key(1))];
    let bits = 8 * file.bytes().len();
    let dense = 8 * 512..8 * (file.bytes().len() - SIGNATURE_LEN);
    let chosen = |bit: &usize| all || !dense.contains(bit) || bit.is_multiple_of(61);
    let [by_value, by_key, in_crc] = [const { AtomicU64::new(0) }; 3];
    assert_eq!(check(file.bytes()), Ok(()));
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for thread in 0..threads {
            let (by_value, by_key, in_crc) = (&by_value, &by_key, &in_crc);
            let mut damaged = file.clone();
            scope.spawn(move || {
                for bit in (thread..bits).step_by(threads).filter(chosen) {
                    damaged.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
                    if (16..20).contains(&(bit / 8)) {
                        // The CRC repaired gives the signed file back: only the CRC can tell, and does.
                        assert_eq!(check(damaged.bytes()).unwrap_err().name(), "Checksum");
                        in_crc.fetch_add(1, Ordering::Relaxed);
                    } else {
                        // Not even the container is asked: the signature alone.
                        let parts = SignedParts::of(damaged.bytes()).unwrap();
                        match signature::verify(parts, &keys) {
                            Err(Fault::BAD_SIGNATURE) => by_value.fetch_add(1, Ordering::Relaxed),
                            Err(Fault::UNKNOWN_KEY) => by_key.fetch_add(1, Ordering::Relaxed),
                            other => panic!("bit {bit}: {other:?}"),
                        };
                    }
                    damaged.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
                }
            });
        }
    });
    let [by_value, by_key, in_crc] = [by_value, by_key, in_crc].map(AtomicU64::into_inner);
    println!(
        "{} bit flips of {} bytes: {by_value} by the signature, {by_key} in the key's id, {in_crc} in the CRC-32",
        by_value + by_key + in_crc,
        file.bytes().len()
    );
    assert_eq!((by_key, in_crc), (64, 32));
    assert!(by_value >= if all { 327_584 } else { 9_000 });
}

#[test]
fn flips_are_refused_by_the_boot_too_with_the_crc_repaired() {
    let file = signed(&policy(1, CLASS), &key(1), 3);
    let keys = [public(&key(1))];
    let mut scratch = [0.0; SCRATCH_LEN];
    for bit in 0..8 * file.len() {
        let mut damaged = Aligned::from(&file);
        damaged.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
        reseal(damaged.bytes_mut());
        let booted = boot_trusting(&Trust::keys(&keys), damaged.bytes(), CLASS, &mut scratch);
        assert_eq!(booted.is_ok(), (16..20).contains(&(bit / 8)), "bit {bit}");
    }
}

#[test]
fn who_may_say_what_runs() {
    let plain = Aligned::from(&policy(1, CLASS));
    let ours = Aligned::from(&signed(plain.bytes(), &key(1), 3));
    let theirs = Aligned::from(&signed(plain.bytes(), &key(2), 3));
    let again = Aligned::from(&signed(ours.bytes(), &key(2), 4));
    assert_eq!(check(plain.bytes()), Err(Fault::UNSIGNED));
    assert_eq!(check(ours.bytes()), Ok(()));
    assert_eq!(check(theirs.bytes()), Err(Fault::UNKNOWN_KEY));
    assert_eq!(check(again.bytes()), Err(Fault::UNKNOWN_KEY), "signed anew");
    assert_eq!(again.bytes().len(), ours.bytes().len());
    for (file, counter) in [(&plain, 0), (&ours, 3), (&again, 4)] {
        assert_eq!(signature::security_counter(file.bytes()), Ok(counter));
    }
    // This test was built to run unsigned policies: the boot does not look at signatures.
    let mut scratch = [0.0; SCRATCH_LEN];
    for file in [&plain, &ours, &theirs] {
        boot(file.bytes(), CLASS, &mut scratch).unwrap();
    }
    // A signed policy is the same policy: one section more, nothing else.
    let raw = RawPolicy::parse(ours.bytes()).unwrap();
    let before = RawPolicy::parse(plain.bytes()).unwrap();
    assert_eq!(raw.sections().count(), before.sections().count() + 1);
    for section in before.sections() {
        assert_eq!(raw.section(section.id), before.section(section.id));
    }
}

/// The three vectors of RFC 8032, 7.1, without context: key, message, signature.
const RFC_8032: [(&str, &str, &str); 3] = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

#[test]
fn the_vectors_of_the_standard_hold() {
    for (key, message, value) in RFC_8032 {
        let key = PublicKey(bytes(key).try_into().unwrap());
        let value: [u8; 64] = bytes(value).try_into().unwrap();
        assert!(is_signature(&key, &bytes(message), &value));
        assert!(!is_signature(&key, b"another message", &value));
    }
}

proptest! {
    /// The equation is written here again, so it is held against another implementation, on what is a signature and on what is
    /// one but for a bit of key, message or value.
    #[test]
    fn it_agrees_with_another_implementation(
        seed in any::<[u8; 32]>(),
        message in prop::collection::vec(any::<u8>(), 0..200),
        flip in 0_usize..8 * (32 + 64 + 200),
    ) {
        let secret = SigningKey::from_bytes(&seed);
        let (mut public, mut message) = (secret.verifying_key().to_bytes(), message);
        let mut value = secret.sign(&message).to_bytes();
        prop_assert!(is_signature(&PublicKey(public), &message, &value));
        let (byte, bit) = (flip / 8, 1 << (flip % 8));
        match byte {
            0..32 => public[byte] ^= bit,
            32..96 => value[byte - 32] ^= bit,
            _ => match message.get_mut(byte - 96) {
                Some(place) => *place ^= bit,
                None => message.push(bit),
            },
        }
        let other = VerifyingKey::from_bytes(&public)
            .is_ok_and(|key| key.verify_strict(&message, &Signature::from_bytes(&value)).is_ok());
        prop_assert!(!other);
        prop_assert!(!is_signature(&PublicKey(public), &message, &value));
    }
}

/// What satisfies the equation without a private key, or is a second encoding of a signature.
#[test]
fn small_orders_and_second_encodings_are_no_signatures() {
    // The points of order 1, 2 and 4, encoded; RFC 8032's group has eight of small order.
    let mut one = [0; 32];
    one[0] = 1;
    let mut two = [0xFF; 32];
    (two[0], two[31]) = (0xEC, 0x7F);
    for small in [one, two, [0; 32]] {
        // With the scalar 0 and the key itself as commitment, the equation holds for a key of order 1.
        for commitment in [one, two, small] {
            let mut value = [0; 64];
            value[..32].copy_from_slice(&commitment);
            for message in 0..16_u8 {
                assert!(!is_signature(&PublicKey(small), &[message], &value));
            }
        }
    }
    // The scalar plus the order of the group.
    let secret = SigningKey::from_bytes(&[7; 32]);
    let key = PublicKey(secret.verifying_key().to_bytes());
    let mut value = secret.sign(b"once").to_bytes();
    assert!(is_signature(&key, b"once", &value));
    let order = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0;
    for (byte, add) in value[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(carry, 0);
    assert!(!is_signature(&key, b"once", &value));
}

#[test]
fn the_signed_message_and_a_signature_are_pinned() {
    let file = Aligned::from(&signed(&policy(1, CLASS), &key(1), 3));
    let parts = SignedParts::of(file.bytes()).unwrap();
    let bytes = file.bytes();
    let tail = bytes.len() - SIGNATURE_LEN;
    let hash = signature::payload_hash(&bytes[32..tail]);
    let expected = [
        &b"HPO policy sig 1"[..],
        &bytes[..16],
        &bytes[20..32],
        &bytes[tail..tail + 32],
        &hash,
    ]
    .concat();
    assert_eq!(parts.message(&hash)[..], expected[..]);
    assert_eq!(bytes[tail..tail + 8], [1, 0, 0, 0, 3, 0, 0, 0]);
    // Key id of the key whose seed is 32 ones, first bytes of SHA-512 of its public key.
    assert_eq!(parts.key_id(), signature::key_id(&public(&key(1))));
    assert_eq!(parts.security_counter(), 3);
}

#[test]
fn a_malformed_signature_section_is_named() {
    let file = signed(&policy(1, CLASS), &key(1), 3);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = file.clone();
        change(&mut bytes);
        reseal(&mut bytes);
        check(Aligned::from(&bytes).bytes()).unwrap_err().name()
    };
    let tail = file.len() - SIGNATURE_LEN;
    assert_eq!(changed(&|b| b[tail] = 2), "SignatureScheme");
    assert_eq!(changed(&|b| b[tail + 20] = 1), "SignatureReserved");
    let rebuilt = |change: &dyn Fn(&mut policies::common::parts::Parts)| {
        let mut parts = policies::common::parts::Parts::of(&Aligned::from(&file));
        change(&mut parts);
        check(parts.build().bytes()).unwrap_err().name()
    };
    assert_eq!(
        rebuilt(&|p| p.sections.push((SectionId(70), false, vec![1; 16]))),
        "SignatureNotLast"
    );
    assert_eq!(
        rebuilt(&|p| p.sections.last_mut().unwrap().2.truncate(64)),
        "SectionSize"
    );
}
