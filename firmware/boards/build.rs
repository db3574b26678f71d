//! Hands a board's memory map to cortex-m-rt's linker script, the instructions that its budget.toml grants a control step
//! to the firmware as a symbol, and writes in front of the slot which firmware this is. Every board's manifest names this file.

use std::fmt::Write as _;

fn main() {
    println!("cargo:rerun-if-changed=budget.toml");
    let budget = std::fs::read_to_string("budget.toml").expect("the board's budget.toml");
    let instructions = budget
        .lines()
        .filter_map(|line| line.split('#').next()?.split_once('='))
        .find(|(key, _)| key.trim() == "instructions")
        .and_then(|(_, value)| number(value.trim()))
        .expect("budget.toml: instructions = a number from 1 to 4294967295");
    println!("cargo:rustc-link-arg-bins=--defsym=_budget_instructions={instructions}");
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo:rustc-link-search={here}");
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rerun-if-changed=memory.x");
    println!("cargo:rerun-if-changed=../build.rs");
    // Behind link.x, whose regions it needs.
    identify();
}

/// A whole number of TOML that fits a word: with digits of ten, or of 16, 8 or 2 behind their mark, and places parted by underscores.
fn number(text: &str) -> Option<u32> {
    let text = text.replace('_', "");
    let (digits, radix) = match text.get(..2) {
        Some("0x") => (&text[2..], 16),
        Some("0o") => (&text[2..], 8),
        Some("0b") => (&text[2..], 2),
        _ => (text.as_str(), 10),
    };
    u32::from_str_radix(digits, radix).ok().filter(|&n| n > 0)
}

/// Most keys that the record has room for; `trainer::device::flash::identity` reads as many.
const MOST_KEYS: usize = 4;

/// Lays in front of the slot that by which a debugger knows the firmware: magic, word of version and kind, target class, the board's name
/// in the 32 bytes next to the slot; before them the public keys of a firmware that runs signed policies only, the first one
/// last. `trainer::device::flash::identity` reads them.
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
    let has = |feature: &str| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    // As the firmware itself: with both features it runs anything.
    let signed = has("SIGNED") && !has("UNSIGNED");
    let keys = if signed { keys() } else { Vec::new() };
    let kind = u32::from(signed) | u32::from(has("SLOTS")) << 1;
    let mut record: Vec<u8> = keys.iter().rev().flatten().copied().collect();
    let before = record.len();
    record.extend(b"HPOBOARD");
    record.extend((2 | kind << 8 | (keys.len() as u32) << 16).to_le_bytes());
    record.extend(class.to_le_bytes());
    record.extend(name.bytes());
    assert!(
        record.len() <= before + 32,
        "a board's name has at most 16 bytes"
    );
    record.resize(before + 32, 0);
    // The linker wants every section in a region; this one is the end of FLASH.
    let length = record.len();
    let mut script = format!(
        "MEMORY {{ IDENTITY : ORIGIN = ORIGIN(SLOT) - {length}, LENGTH = {length} }}\nSECTIONS\n{{\n  .identity :\n  {{\n"
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

/// The public keys, which `firmware::signature` reads from the same variable.
fn keys() -> Vec<[u8; 32]> {
    println!("cargo:rerun-if-env-changed=HPO_PUBLIC_KEYS");
    let text = std::env::var("HPO_PUBLIC_KEYS")
        .expect("HPO_PUBLIC_KEYS: the keys of a firmware that runs signed policies only");
    let keys: Vec<[u8; 32]> = text
        .split(',')
        .map(|key| {
            assert!(
                key.len() == 64 && key.is_ascii(),
                "HPO_PUBLIC_KEYS: 64 hexadecimal digits a key"
            );
            std::array::from_fn(|at| {
                u8::from_str_radix(&key[2 * at..2 * at + 2], 16)
                    .expect("HPO_PUBLIC_KEYS: hexadecimal digits")
            })
        })
        .collect();
    assert!(
        keys.len() <= MOST_KEYS,
        "HPO_PUBLIC_KEYS: at most {MOST_KEYS} keys"
    );
    keys
}
