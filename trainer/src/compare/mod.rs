//! Algorithms compared on equal terms: a grid of training runs, one line of results each, and what
//! the lines say together.
//!
//! [`grid`] names the runs, [`runner`] makes those that are missing, [`store`] keeps their lines,
//! [`statistics`] and [`table`] draw conclusions. A run is the same run that `hpo train` makes.

pub mod cell;
pub mod columns;
mod complete;
pub mod grid;
pub mod optimum;
pub mod plots;
pub mod quantise;
pub mod runner;
pub mod statistics;
pub mod store;
pub mod table;
pub mod verdict;

pub use cell::CellResult;
pub use grid::{CellSpec, Grid};
pub use runner::{CompareEvent, Outcome, RunnerSettings, run_cells};
pub use table::{Summary, summarise};
