//! Model-based references: what a plant can be controlled for, and by which simple controllers.

mod averaged;
mod cache;
mod certified;
mod forms;
mod named;
mod report;
mod riccati;
mod schedule;
mod simulate;
mod stationary;
mod switched;

pub use averaged::AveragedRiccati;
pub use cache::{ReferenceCache, compute_cached};
pub use named::{is_reference, named};
pub use report::{
    BaselineCost, CERTIFIED_PERCENT, ReferenceEvent, ReferenceReport, compute, compute_within,
    gap_percent,
};
pub use riccati::{Lift, RiccatiModes};
pub use schedule::Schedule;
pub use simulate::{Episode, ReferencePolicy, mean_cost, simulate, simulate_trial};
pub use stationary::stationary_forms;
pub use switched::{Law, SwitchedBudget, SwitchedRiccati, visited_states};
