//! Names the architecture (Rust has no stable `cfg` for it), and gives emulated boards their empty list of
//! interrupt handlers, `device.x`, which on a real board comes with its peripheral crate.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_QEMU").is_some() {
        let out = std::env::var("OUT_DIR").expect("cargo sets it");
        std::fs::write(format!("{out}/device.x"), "").expect("cargo made the folder");
        println!("cargo:rustc-link-search={out}");
    }
    let target = std::env::var("TARGET").unwrap_or_default();
    let known = [
        ("thumbv6m-", "armv6m"),
        ("thumbv7m-", "armv7m"),
        ("thumbv7em-", "armv7m"),
        ("thumbv8m.main-", "armv8m"),
    ];
    for (_, name) in known {
        println!("cargo:rustc-check-cfg=cfg({name})");
    }
    if let Some((_, name)) = known.iter().find(|(prefix, _)| target.starts_with(prefix)) {
        println!("cargo:rustc-cfg={name}");
    }
}
