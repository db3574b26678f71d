//! A file taken apart into sections, to be put together again damaged.

use super::Aligned;
use policy_format::{ContainerWriter, EncodeError, FormatError, RawPolicy, SectionId};

#[derive(Clone)]
pub struct Parts {
    pub target_class: u32,
    /// Id, critical flag, content.
    pub sections: Vec<(SectionId, bool, Vec<u8>)>,
}

impl Parts {
    pub fn of(file: &Aligned) -> Self {
        let raw = RawPolicy::parse(file.bytes()).unwrap();
        let sections = raw
            .sections()
            .map(|s| (s.id, s.flags == 1, raw.section(s.id).unwrap().to_vec()))
            .collect();
        Self {
            target_class: raw.target_class(),
            sections,
        }
    }

    pub fn build(&self) -> Aligned {
        let write = |out: &mut [u8]| {
            let mut writer = ContainerWriter::new(out, self.target_class, self.sections.len());
            for (id, critical, content) in &self.sections {
                writer.section(*id, *critical);
                writer.put(content);
            }
            writer.finish()
        };
        let Err(EncodeError::BufferTooSmall { needed, .. }) = write(&mut []) else {
            panic!("an empty output suffices for no file");
        };
        let mut file = Aligned::zeros(needed);
        assert_eq!(write(file.bytes_mut()), Ok(needed));
        file
    }

    /// The content of a section that must be there.
    pub fn content(&mut self, id: SectionId) -> &mut Vec<u8> {
        &mut self.sections.iter_mut().find(|s| s.0 == id).unwrap().2
    }

    pub fn remove(&mut self, id: SectionId) {
        self.sections.retain(|s| s.0 != id);
    }

    /// Overwrites the word at `index` of a section.
    pub fn set_word(&mut self, id: SectionId, index: usize, word: u32) {
        self.content(id)[4 * index..4 * index + 4].copy_from_slice(&word.to_le_bytes());
    }

    pub fn set_float(&mut self, id: SectionId, index: usize, value: f32) {
        self.set_word(id, index, value.to_bits());
    }

    /// What validation says of the damaged file.
    pub fn error(&self, capacity: &policy_format::Capacity) -> Option<FormatError> {
        let file = self.build();
        let raw = RawPolicy::parse(file.bytes()).unwrap_or_else(|e| panic!("container: {e}"));
        raw.validate(capacity).err()
    }
}
