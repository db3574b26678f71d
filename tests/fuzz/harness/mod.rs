//! What any bytes must not do. Shared by the fuzz targets and by the test that replays the corpus on the stable compiler and
//! in QEMU (`tests/tests/fuzz_corpus.rs`).

pub use std::sync::OnceLock;
pub use std::vec;
pub use std::vec::Vec;

pub mod link;
pub mod policy;
pub mod slots;

/// Memory aligned as a slot is.
pub struct Slot {
    units: Vec<u128>,
    length: usize,
}

impl Slot {
    pub fn new(bytes: &[u8]) -> Self {
        let mut slot = Self {
            units: vec![0; bytes.len().div_ceil(16)],
            length: bytes.len(),
        };
        slot.bytes_mut().copy_from_slice(bytes);
        slot
    }

    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.units)[..self.length]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.units)[..self.length]
    }
}

/// Asserts that a control may go to an actuator of `policy`.
pub fn assert_admissible(policy: &policy_format::Policy<'_>, mode: u16, control: &[f32]) {
    assert_eq!(control.len(), policy.control_dim());
    assert!(usize::from(mode) < policy.modes(), "mode {mode}");
    for (i, u) in control.iter().enumerate() {
        assert!(u.is_finite(), "control {i} is {u}");
        if let Some(bounds) = policy.bounds() {
            let inside = bounds.lower[i] <= *u && *u <= bounds.upper[i];
            assert!(inside, "control {i} is {u}");
        }
    }
}
