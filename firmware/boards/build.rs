//! Hands a board's memory map to cortex-m-rt's linker script, and the instructions that its budget.toml
//! grants a control step to the firmware as a symbol. Every board's manifest names this file.

fn main() {
    println!("cargo:rerun-if-changed=budget.toml");
    let budget = std::fs::read_to_string("budget.toml").expect("the board's budget.toml");
    let instructions: u32 = budget
        .lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim() == "instructions")
        .and_then(|(_, value)| value.trim().replace('_', "").parse().ok())
        .expect("budget.toml: instructions = a number below 2^32");
    println!("cargo:rustc-link-arg-bins=--defsym=_budget_instructions={instructions}");
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo:rustc-link-search={here}");
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rerun-if-changed=memory.x");
    println!("cargo:rerun-if-changed=../build.rs");
}
