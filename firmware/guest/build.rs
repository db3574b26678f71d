//! Hands cortex-m-rt's linker script the memory map of the board that a feature names, without one that of mps2-an386. The manifest of
//! every guest names this file.

use std::path::Path;

const BOARDS: [&str; 5] = [
    "mps2-an385",
    "mps2-an386",
    "mps2-an500",
    "mps2-an505",
    "mps3-an547",
];

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let feature = |board: &&str| {
        let name = board.to_uppercase().replace('-', "_");
        std::env::var_os(format!("CARGO_FEATURE_{name}")).is_some()
    };
    let board = BOARDS.into_iter().find(feature).unwrap_or("mps2-an386");
    let map = Path::new(&here).join("../../boards").join(board);
    println!("cargo:rustc-link-search={}", map.display());
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rerun-if-changed={}", map.join("memory.x").display());
    println!("cargo:rerun-if-changed=../build.rs");
}
