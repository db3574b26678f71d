//! What people look at: traced episodes, plots and the HTML page of a run.

pub mod modes;
pub mod svg;
pub mod trace;
