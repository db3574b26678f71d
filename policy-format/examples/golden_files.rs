//! Writes the files of `tests/golden` to a folder: `cargo run --example golden_files -- DIR`.
//!
//! It exists to show where the files come from. They are committed and must never change: a later format keeps
//! reading them. Existing files are left alone.
#[path = "../tests/common/mod.rs"]
mod common;

use std::io::Write;
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(std::io::Error::other("usage: golden_files DIR"));
    };
    for (name, policy) in common::golden_set::policies() {
        let path = folder.join(name);
        std::fs::File::create_new(&path)?.write_all(policy.encode().bytes())?;
        println!("{}", path.display());
    }
    Ok(())
}
