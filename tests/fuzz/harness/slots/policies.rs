//! The policies that are installed, what boots of them, and records that nobody wrote.

use firmware::slots::{Identity, Region, policy_in};
use firmware::{Fault, SCRATCH_LEN, boot};
use policy_format::{ContainerWriter, Policy, RawPolicy, SectionId, crc32};

use super::super::{OnceLock, Slot, Vec};
use super::{Bytes, Flash, SECTOR, SLOT};

const SMALL: &[u8] = include_bytes!("../../../../policy-format/tests/golden/v1-single-choice.hpo");

/// A section that readers of this version pass over, and its bytes.
const PADDING: SectionId = SectionId(0x7F00);
const PADDED: usize = 256;
/// High half of the digests of this host.
const DIGEST: u64 = 0x0123_4567;

/// Four policies of 704 bytes that differ in a section that no reader knows.
pub fn files() -> &'static [Vec<u8>; 4] {
    static FILES: OnceLock<[Vec<u8>; 4]> = OnceLock::new();
    FILES.get_or_init(|| {
        core::array::from_fn(|index| {
            let small = Slot::new(SMALL);
            let raw = RawPolicy::parse(small.bytes()).expect("a golden file");
            let mut file = Slot::new(&[0; SLOT]);
            let count = raw.sections().count() + 1;
            let mut writer = ContainerWriter::new(file.bytes_mut(), raw.target_class(), count);
            for section in raw.sections() {
                writer.section(section.id, section.flags & 1 != 0);
                writer.put(raw.section(section.id).unwrap_or_default());
            }
            writer.section(PADDING, false);
            writer.put(&[0x11 * (index as u8 + 1); PADDED]);
            let length = writer.finish().expect("a slot has room");
            assert!(SECTOR < length && length < SLOT);
            file.bytes()[..length].to_vec()
        })
    })
}

/// CRC-32 and counter of the policies that are made here, by every check of a boot. That depends on the bytes alone, so each is
/// booted once.
pub fn booted(file: &[u8]) -> Option<(u32, u32)> {
    static BOOTED: OnceLock<[(u32, u32); 4]> = OnceLock::new();
    let all = BOOTED.get_or_init(|| {
        core::array::from_fn(|index| {
            let slot = Slot::new(&files()[index]);
            boot_whole(slot.bytes()).expect("a golden file boots")
        })
    });
    let index = files().iter().position(|known| known == file)?;
    Some(all[index])
}

fn boot_whole(file: &[u8]) -> Result<(u32, u32), Fault> {
    let armed = boot(file, class(), &mut [0.0; SCRATCH_LEN])?;
    let counter = firmware::Trust::BUILT.counter(file)?;
    Ok((armed.policy().crc32(), counter))
}

fn class() -> u32 {
    static CLASS: OnceLock<u32> = OnceLock::new();
    *CLASS.get_or_init(|| {
        let small = Slot::new(SMALL);
        let policy = Policy::load(small.bytes(), &firmware::CAPACITY);
        policy.expect("a golden file loads").target_class()
    })
}

pub fn id(index: usize) -> Option<u32> {
    let bytes = files()[index].get(16..20)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes))
}

/// Every check of a boot; gives CRC-32 and counter.
pub fn arm(flash: &Flash<'_>, region: Region) -> Result<(u32, u32), Fault> {
    let all = flash.mapped(region.offset, region.length);
    // Torn data behind the policy does not matter.
    let header = flash.mapped(region.offset, 32).ok_or(Fault::FLASH_FAILED)?;
    let declared = header.get(12..16).and_then(|length| length.try_into().ok());
    let declared = u32::from_le_bytes(declared.ok_or(Fault::FLASH_FAILED)?);
    let length = declared.clamp(32, region.length);
    let slot = all
        .or_else(|| flash.mapped(region.offset, length))
        .ok_or(Fault::FLASH_FAILED)?;
    let file = policy_in(slot)?;
    if let Some(known) = booted(file) {
        return Ok(known);
    }
    let armed = boot_whole(file)?;
    assert!(file == SMALL, "a policy boots that nobody made");
    Ok(armed)
}

/// Identity of a file of ours, as a host makes it up: the same for the same bytes only. `changes` tells files apart that are
/// changed.
pub fn identity(index: usize, changes: u32) -> Identity {
    Identity {
        length: files()[index].len() as u32,
        digest: DIGEST << 32 | u64::from(changes << 2) | index as u64,
    }
}

/// A record by `docs/slots.md` alone, whose CRC-32 fits.
pub fn forged(input: &mut Bytes<'_>) -> [u8; 32] {
    let other = input.next();
    let words = [
        u32::from_le_bytes(*b"HPR1"),
        [9_u32, 16, 0x8000_0000, 0xFFFF_0000][input.next() % 4] - input.next() as u32 % 8,
        ((input.next() % 4) | ((other % 8) << 8) | (((input.next() << 8) | input.next()) << 16))
            as u32,
        [0, 0, 0, 1, u32::MAX][input.next() % 5],
        files()[0].len() as u32 * (other as u32 & 8) / 8,
        (other as u32 & 8) / 8 * (other as u32 >> 4 & 3),
        (other as u32 & 8) / 8 * DIGEST as u32,
    ];
    let mut record = [0; 32];
    let (content, sum) = record.split_at_mut(28);
    for (to, from) in content.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    sum.copy_from_slice(&crc32(content).to_le_bytes());
    record
}
