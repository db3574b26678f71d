//! `hpo setup`: shows what set-up found and did.

use clap::Args;

use crate::Result;
use crate::device::setup::set_up;

/// Find or install the cross toolchain and QEMU, and show what was found and done.
#[derive(Args, Clone, Debug)]
pub struct SetupArgs {
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Runs `hpo setup`.
///
/// # Errors
/// As [`set_up`].
pub fn run(args: &SetupArgs) -> Result<()> {
    let report = set_up(&super::output::show_progress)?;
    if args.json {
        return super::output::print_json(&report);
    }
    println!(
        "compiler   {} ({})",
        report.toolchain.version,
        report.toolchain.rustc.display()
    );
    println!(
        "core       {}",
        if report.toolchain.build_std {
            "built from the library source"
        } else {
            "installed with the target"
        }
    );
    println!("targets    {}", report.targets.join(", "));
    match &report.toolchain.linker {
        Some(linker) => println!("linker     {}", linker.display()),
        None => println!("linker     the target's own"),
    }
    println!(
        "emulator   {} ({})",
        report.qemu_version,
        report.qemu.display()
    );
    if report.actions.is_empty() {
        println!("installed  nothing, everything was there");
    }
    for action in &report.actions {
        println!("ran        {action}");
    }
    Ok(())
}
