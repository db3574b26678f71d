//! Memory for policy bytes that is aligned as the format asks.

use std::path::Path;

use crate::error::{Error, Result};

/// Sixteen bytes, aligned to sixteen.
#[derive(Clone, Copy, Default, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(16))]
struct Unit([u8; 16]);

/// Owned bytes of a policy file, 16-aligned.
#[derive(Clone)]
pub struct PolicyBuffer {
    units: Vec<Unit>,
    len: usize,
}

impl PolicyBuffer {
    /// A copy of `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut buffer = Self::zeroed(bytes.len());
        buffer.bytes_mut().copy_from_slice(bytes);
        buffer
    }

    /// `len` zero bytes.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        Self {
            units: vec![Unit::default(); len.div_ceil(16)],
            len,
        }
    }

    /// The content of a file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
        Ok(Self::new(&bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.units)[..self.len]
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.units)[..self.len]
    }
}
