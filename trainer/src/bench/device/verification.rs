//! What verifying a signature costs on a device: `hpo bench --device BOARD --filter verification`.
//!
//! Firmware built for signed policies boots in the emulator one instruction at a time, and the executed instructions are counted
//! while they are logged: through a FIFO, because the log would have gigabytes.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use object::{Object, ObjectSymbol};
use rustix::fs::{CWD, Mode, mkfifoat};

use super::networks::NETWORKS;
use super::trace::address;
use crate::bench::{Entry, entry};
use crate::device::board::Board;
use crate::device::build::{Variant, build_variant};
use crate::device::qemu::{LinkKind, Qemu, QemuConfig};
use crate::device::session::Session;
use crate::error::{Error, Result};
use crate::export::PolicyBuffer;
use crate::export::signing::{public_of, sign};

/// Longest wait for a boot of which every instruction is logged, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(900);

/// How the mangled names of what starts the verification and of what comes behind it end.
const VERIFY: &str = "9signature7ed255196verify";
const BEHIND: &str = "6Policy4load";

/// Instructions of verification at a boot: `fixed`, of the equation (key, short hashes, products), and `per-byte`, of the
/// payload's hash, from a short and a long policy; `40-KiB` is what a policy of that size takes by them. `long` and `long-bytes`
/// are the long one as counted.
///
/// # Errors
/// [`Error::Environment`] if tools are missing or the emulator fails, [`Error::Negative`] if the firmware refuses the policy.
pub fn verification(board: &'static Board, progress: &mut dyn FnMut(&str)) -> Result<Vec<Entry>> {
    let key = SigningKey::from_bytes(&[1; 32]);
    let variant = Variant {
        keys: vec![public_of(&key)],
        ..Variant::default()
    };
    progress("firmware");
    let elf = build_variant(board, 0, &variant, &|_| {})?.elf;
    let mut counts = Vec::new();
    for name in ["d", "c"] {
        progress(&format!("verification of {name}"));
        let shape = NETWORKS.iter().find(|shape| shape.name == name);
        let shape = shape.ok_or_else(|| Error::Negative(format!("no network {name}")))?;
        let policy = sign(&shape.policy(true)?, &key, 0)
            .map_err(|error| Error::Negative(error.to_string()))?;
        counts.push((
            policy.bytes().len() as f64,
            count(board, &elf, &policy)? as f64,
        ));
    }
    let &[(short_bytes, short), (long_bytes, long)] = counts.as_slice() else {
        return Err(Error::Negative("two policies are counted".into()));
    };
    let per_byte = (long - short) / (long_bytes - short_bytes);
    let fixed = long - per_byte * long_bytes;
    let figure = |what, figure: f64, unit| entry("verification", what, figure, unit);
    Ok(vec![
        figure("fixed", fixed.round(), "instructions"),
        figure("per-byte", per_byte, "instructions per byte"),
        figure(
            "40-KiB",
            (fixed + per_byte * 40.0 * 1024.0).round(),
            "instructions",
        ),
        figure("long", long, "instructions"),
        figure("long-bytes", long_bytes, "bytes"),
    ])
}

/// Instructions from entering the verification to what comes behind it.
fn count(board: &'static Board, elf: &Path, policy: &PolicyBuffer) -> Result<u64> {
    let [start, end] = [entry_of(elf, VERIFY)?, entry_of(elf, BEHIND)?];
    let folder = tempfile::Builder::new()
        .prefix("hpo-trace-")
        .tempdir()
        .map_err(|e| Error::io(std::env::temp_dir(), "cannot make a folder in", e))?;
    let log = folder.path().join("log");
    mkfifoat(CWD, &log, Mode::RUSR | Mode::WUSR)
        .map_err(|e| Error::io(&log, "cannot make the FIFO", e.into()))?;
    let arguments: [OsString; 5] = [
        "-singlestep".into(),
        "-d".into(),
        "exec,nochain".into(),
        "-D".into(),
        log.clone().into(),
    ];
    let reader = std::thread::spawn(move || between(&log, start, end));
    let config = QemuConfig {
        board,
        elf,
        policy: policy.bytes(),
        link: LinkKind::Semihosting,
        timeout: PATIENCE,
    };
    let session = Session::greet(Qemu::start_with(config, &arguments)?)?;
    if let Some(fault) = session.boot_fault() {
        return Err(Error::Negative(format!(
            "{}: the device did not arm the policy: {fault}",
            board.name
        )));
    }
    session.shut_down()?;
    reader
        .join()
        .unwrap_or_else(|_| Err(Error::Environment("the log's reader ended".into())))
}

/// The address of the one function whose mangled name ends so.
fn entry_of(elf: &Path, suffix: &str) -> Result<u32> {
    let bytes = std::fs::read(elf).map_err(|e| Error::io(elf, "cannot read", e))?;
    let file = object::File::parse(bytes.as_slice())
        .map_err(|e| Error::input(elf, "ELF", e, "an ELF file"))?;
    let found: Vec<_> = file
        .symbols()
        .filter(|symbol| symbol.name().is_ok_and(|name| name.ends_with(suffix)))
        .map(|symbol| symbol.address() as u32 & !1)
        .collect();
    match found.as_slice() {
        [address] => Ok(*address),
        _ => Err(Error::input(
            elf,
            suffix,
            format!("{} symbols", found.len()),
            "one",
        )),
    }
}

/// Instructions in a log between two addresses; the log is read to its end.
fn between(log: &Path, start: u32, end: u32) -> Result<u64> {
    let file = std::fs::File::open(log).map_err(|e| Error::io(log, "cannot read", e))?;
    let mut lines = BufReader::with_capacity(1 << 20, file);
    let mut line = Vec::new();
    let (mut count, mut inside, mut ended, mut previous) = (0, false, false, None);
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line);
        if read.map_err(|e| Error::io(log, "cannot read", e))? == 0 {
            break;
        }
        let pc = std::str::from_utf8(&line).ok().and_then(address);
        // An instruction that the emulator's clock stopped before is logged again.
        if pc.is_none() || pc == previous {
            continue;
        }
        previous = pc;
        inside = !ended && (inside || pc == Some(start));
        if inside && pc == Some(end) {
            (inside, ended) = (false, true);
        }
        count += u64::from(inside);
    }
    if ended {
        Ok(count)
    } else {
        Err(Error::Environment(
            "the emulator's log has no verification".into(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_between_two_addresses_are_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let line =
            |pc: u32| format!("Trace 0: 0x7f58 [00800408/{pc:08x}/00000110/ff000201] name\n");
        let pcs = [2, 10, 12, 12, 14, 10, 16, 20, 10, 12];
        let text: String = pcs.into_iter().map(line).collect();
        std::fs::write(&log, format!("other\n{text}")).unwrap();
        assert_eq!(between(&log, 10, 20).unwrap(), 5);
        assert!(between(&log, 10, 30).is_err());
    }
}
