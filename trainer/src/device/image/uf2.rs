//! UF2 as in github.com/microsoft/uf2: blocks of 512 bytes, each with 256 bytes of one flash page.

use std::collections::BTreeMap;

use super::{ERASED, Segment};

/// Bytes of flash in a block: what every bootloader takes.
pub(super) const PAYLOAD: usize = 256;
pub(super) const BLOCK: usize = 512;
pub(super) const MAGIC: [u32; 2] = [0x0A32_4655, 0x9E5D_5157];
pub(super) const MAGIC_END: u32 = 0x0AB1_6F30;
pub(super) const FAMILY_PRESENT: u32 = 0x2000;

/// The blocks of `segments`. A page that they fill in part is filled up as erased flash.
pub(super) fn encode(segments: &[Segment], family: u32) -> Vec<u8> {
    let pages = pages(segments);
    // A page is 256 bytes of an address space of 2^32.
    let count = pages.len() as u32;
    let mut file = Vec::with_capacity(BLOCK * pages.len());
    for (number, (address, page)) in (0..).zip(&pages) {
        let header = [
            MAGIC[0],
            MAGIC[1],
            FAMILY_PRESENT,
            *address,
            PAYLOAD as u32,
            number,
            count,
            family,
        ];
        file.extend(header.iter().flat_map(|word| word.to_le_bytes()));
        file.extend(page);
        file.resize(file.len() + BLOCK - 32 - PAYLOAD - 4, 0);
        file.extend(MAGIC_END.to_le_bytes());
    }
    file
}

/// The pages that the segments touch, by address.
fn pages(segments: &[Segment]) -> BTreeMap<u32, [u8; PAYLOAD]> {
    let mut pages = BTreeMap::new();
    for segment in segments {
        for (address, &byte) in (segment.address..).zip(&segment.bytes) {
            let offset = address as usize % PAYLOAD;
            // An image lies below 2^32.
            let page = pages
                .entry((address as u32) - offset as u32)
                .or_insert([ERASED; PAYLOAD]);
            page[offset] = byte;
        }
    }
    pages
}
