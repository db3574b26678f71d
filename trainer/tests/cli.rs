//! The `hpo` command as a user meets it: exit codes, messages, files, JSON.

#[path = "cli/arguments.rs"]
mod arguments;
#[path = "cli/compare.rs"]
mod compare;
#[path = "cli/documents.rs"]
mod documents;
#[path = "cli/flashing.rs"]
mod flashing;
#[path = "cli/interruption.rs"]
mod interruption;
#[path = "cli/json.rs"]
mod json;
#[path = "cli/plant_files.rs"]
mod plant_files;
#[path = "cli/policy_files.rs"]
mod policy_files;
#[path = "cli/report.rs"]
mod report;
#[path = "cli/robustness.rs"]
mod robustness;
#[path = "cli/signing.rs"]
mod signing;
#[path = "cli/support.rs"]
mod support;
#[path = "cli/training.rs"]
mod training;
