//! Hands a board's memory map to cortex-m-rt's linker script, the instructions that its budget.toml grants a control step
//! to the firmware as a symbol, and writes in front of the slot which firmware this is. Every board's manifest names this file.

use std::fmt::Write as _;

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
    // Behind link.x, whose regions it needs.
    identify();
}

/// Lays the 32 bytes in front of the slot by which a debugger knows the firmware: magic, version 1, target class, the
/// board's name. `trainer::device::flash::identity` reads them.
fn identify() {
    println!("cargo:rerun-if-env-changed=HPO_TARGET_CLASS");
    let class: u32 = std::env::var("HPO_TARGET_CLASS").map_or(0, |text| {
        text.parse()
            .expect("HPO_TARGET_CLASS: a decimal number below 2^32")
    });
    // A crate for several boards has a feature for each, with the board's name.
    let feature = std::env::vars().find_map(|(variable, _)| {
        let name = variable.strip_prefix("CARGO_FEATURE_")?;
        // Features that every board has are none.
        let common = ["DEFAULT", "UNSIGNED", "SIGNED", "SLOTS", "REGIONS"].contains(&name);
        (!common).then(|| name.to_lowercase())
    });
    let package = std::env::var("CARGO_PKG_NAME").expect("cargo sets it");
    let name = feature.unwrap_or(package);
    let mut record = b"HPOBOARD".to_vec();
    record.extend(1_u32.to_le_bytes());
    record.extend(class.to_le_bytes());
    record.extend(name.bytes());
    assert!(record.len() <= 32, "a board's name has at most 16 bytes");
    record.resize(32, 0);
    // The linker wants every section in a region; this one is the end of FLASH.
    let mut script = String::from(
        "MEMORY { IDENTITY : ORIGIN = ORIGIN(SLOT) - 32, LENGTH = 32 }\nSECTIONS\n{\n  .identity :\n  {\n",
    );
    for word in record.chunks(4) {
        let word = u32::from_le_bytes(word.try_into().expect("four bytes"));
        writeln!(script, "    LONG({word:#010x});").expect("a string takes it");
    }
    script += "  } > IDENTITY\n}\nINSERT AFTER .rodata;\n";
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(format!("{out}/identity.x"), script).expect("cargo made the folder");
    println!("cargo:rustc-link-search={out}");
    println!("cargo:rustc-link-arg-bins=-Tidentity.x");
}
