//! The hpo command.

fn main() {}
