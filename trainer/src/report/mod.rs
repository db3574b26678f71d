//! What people look at: traced episodes, plots and the HTML page of a run.

mod axis;
mod chart;
mod episodes;
pub mod figures;
pub mod modes;
pub mod page;
pub mod run;
pub mod svg;
mod tables;
pub mod trace;
