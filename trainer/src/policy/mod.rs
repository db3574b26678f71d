//! The trainable policy: selector over choices and control laws, over one flat parameter vector.
//!
//! A [`Model`] is immutable structure; parameters are a separate slice, so that one model serves
//! `f32` training and `f64` checks. What the device runs is the export of the same structure.

mod adjoint;
mod constrain;
pub mod input;
pub mod model;
pub mod network;
pub mod shape;
pub mod tape;

pub use model::Model;
pub use shape::{ControlRegions, InputKind, PolicyShape};
pub use tape::{Tape, Track};
