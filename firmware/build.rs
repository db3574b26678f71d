//! Chooses the kernels by the target; `src/kernels/mod.rs` has the table.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(hpo_kernels, values(\"fpv4\"))");
    println!("cargo:rustc-check-cfg=cfg(hpo_v8m)");
    let target = std::env::var("TARGET").unwrap_or_default();
    let core = target.starts_with("thumbv7em-") || target.starts_with("thumbv8m.main-");
    // ARMv7E-M always has the DSP instructions, ARMv8-M may not.
    let no_dsp = std::env::var_os("CARGO_FEATURE_NO_DSP").is_some();
    if core && target.ends_with("-none-eabihf") && !no_dsp {
        println!("cargo:rustc-cfg=hpo_kernels=\"fpv4\"");
        if target.starts_with("thumbv8m") {
            println!("cargo:rustc-cfg=hpo_v8m");
        }
    }
}
