//! Hands cortex-m-rt's linker script the memory map of mps2-an386.

use std::path::Path;

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let map = Path::new(&here).join("../../boards/mps2-an386");
    println!("cargo:rustc-link-search={}", map.display());
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rerun-if-changed={}", map.join("memory.x").display());
    println!("cargo:rerun-if-changed=build.rs");
}
