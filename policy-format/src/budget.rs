//! The optional section BUDGET: what a policy needs of a core, as measured before it was delivered.
//!
//! A device that meets the section either offers what it asks for or refuses the policy; a policy without it
//! states no need.

use crate::container::{FLAG_CRITICAL, RawPolicy};
use crate::encode_error::EncodeError;
use crate::error::{FormatError, Refusal};
use crate::section::SectionId;
use crate::writer::ContainerWriter;

/// Greatest number of records in the section.
pub const MAX_NEEDS: usize = 16;

/// Words of a record: core, instructions, stack bytes, and a zero.
const RECORD_WORDS: usize = 4;

/// Classes of cores that take the same instructions for the same policy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u32)]
pub enum CoreClass {
    /// Armv6-M, binary32 in software (Cortex-M0, M0+).
    Armv6M = 1,
    /// Armv7-M, binary32 in software (Cortex-M3).
    Armv7M = 2,
    /// Armv7E-M with an FPU (Cortex-M4F, M7).
    Armv7EMFpu = 3,
    /// Armv8-M mainline with an FPU (Cortex-M33, M55).
    Armv8MFpu = 4,
}

/// What a policy needs of one class of cores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Need {
    /// Number of the class, a [`CoreClass`] as `u32`; a reader may not know it.
    pub core: u32,
    /// Instructions of a control step, from decoded state to checked action, at most; at least 1.
    pub instructions: u32,
    /// Bytes of stack, at most; at least 1.
    pub stack_bytes: u32,
}

/// The checked section: records with ascending classes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget<'a> {
    words: &'a [u32],
}

impl<'a> Budget<'a> {
    /// Checks the section's bytes, which are 16-aligned in an aligned file.
    ///
    /// # Errors
    /// [`FormatError::Budget`] with the index of the first bad record.
    pub(crate) fn decode<E: Refusal>(bytes: &'a [u8]) -> Result<Self, E> {
        let words: &[u32] = bytemuck::try_cast_slice(bytes)
            .map_err(|_| E::of(FormatError::Budget { record: 0 }))?;
        let (records, rest) = words.as_chunks::<RECORD_WORDS>();
        if records.is_empty() || records.len() > MAX_NEEDS || !rest.is_empty() {
            return Err(E::of(FormatError::Budget {
                record: records.len() as u32,
            }));
        }
        let mut last = 0;
        for (index, &[core, instructions, stack_bytes, zero]) in records.iter().enumerate() {
            if core <= last || instructions == 0 || stack_bytes == 0 || zero != 0 {
                return Err(E::of(FormatError::Budget {
                    record: index as u32,
                }));
            }
            last = core;
        }
        Ok(Self { words })
    }

    /// The records, by ascending class.
    pub fn needs(&self) -> impl Iterator<Item = Need> + use<'a> {
        let (records, _) = self.words.as_chunks::<RECORD_WORDS>();
        records
            .iter()
            .map(|&[core, instructions, stack_bytes, _]| Need {
                core,
                instructions,
                stack_bytes,
            })
    }

    /// What the policy needs of a class; `None` if that was never measured.
    #[must_use]
    pub fn need(&self, core: CoreClass) -> Option<Need> {
        self.needs().find(|need| need.core == core as u32)
    }
}

/// Writes the policy file `file` again with `needs` as its budget in place of the one it may have and without the
/// signature that it may have, which would not hold any longer, and returns the new length. `out` as for [`crate::encode()`]; an `out` that is too small is told the length.
///
/// # Errors
/// [`EncodeError::Invalid`] if `file` has no sound container or `needs` are no sound budget: 1 to
/// [`MAX_NEEDS`] records, classes ascending from 1, no zeros; else as [`crate::encode()`].
pub fn with_budget(file: &[u8], needs: &[Need], out: &mut [u8]) -> Result<usize, EncodeError> {
    let raw = RawPolicy::parse(file)?;
    let mut words = [0; MAX_NEEDS * RECORD_WORDS];
    let (records, _) = words.as_chunks_mut::<RECORD_WORDS>();
    for (record, need) in records.iter_mut().zip(needs) {
        *record = [need.core, need.instructions, need.stack_bytes, 0];
    }
    let used = words.get(..needs.len().saturating_mul(RECORD_WORDS));
    let too_many = FormatError::Budget {
        record: MAX_NEEDS as u32,
    };
    let budget: &[u8] = bytemuck::cast_slice(used.ok_or(too_many)?);
    Budget::decode::<FormatError>(budget)?;

    let kept = |id: SectionId| id != SectionId::BUDGET && id != SectionId::SIGNATURE;
    let sections = raw.sections().filter(|section| kept(section.id)).count();
    let mut writer = ContainerWriter::new(out, raw.target_class(), sections + 1);
    let mut written = false;
    for section in raw.sections().filter(|section| kept(section.id)) {
        if section.id > SectionId::BUDGET && !written {
            writer.section(SectionId::BUDGET, true);
            writer.put(budget);
            written = true;
        }
        writer.section(section.id, section.flags & FLAG_CRITICAL != 0);
        writer.put(raw.section(section.id).unwrap_or_default());
    }
    if !written {
        writer.section(SectionId::BUDGET, true);
        writer.put(budget);
    }
    writer.finish()
}
