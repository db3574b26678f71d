//! Flashing an emulated board through QEMU's debug stub, which writes flash whatever the machine takes it for.
//!
//! A connection to the stub stops the machine, so no firmware runs while its policy changes. A firmware that waits in a semihosting call
//! holds all of QEMU, its stub included: one that is to be flashed while it runs talks over its UART.
//!
//! What is written lives as long as that QEMU does. A reset of the machine keeps it, unless the QEMU was started with a loader
//! for the same addresses: then the reset brings the loader's bytes back, which the second reading notices.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::board::Board;
use super::super::gdb::{CHUNK, Gdb};
use super::super::image::{Image, Segment};
use super::super::qemu::{LinkKind, Qemu, QemuConfig};
use super::super::session::Session;
use super::{Admitted, FlashConfig, FlashReport, compare, identity, image};
use crate::{Error, Result};

/// The stub's socket, in the emulator's folder.
pub(in crate::device) const SOCKET: &str = "gdb";

/// Flashes a QEMU that runs, or one that is started for it.
pub(super) fn run(
    config: &FlashConfig,
    admitted: &Admitted,
    elf: Option<&Path>,
    report: &mut FlashReport,
    progress: &dyn Fn(&str),
) -> Result<()> {
    match (&config.gdb, elf) {
        (None, Some(elf)) => started(config, admitted, elf, report, progress),
        (None, None) => Err(Error::Usage("firmware: found none to start".into())),
        (Some(address), elf) => running(config, admitted, address, elf, report, progress),
    }
}

/// A QEMU of our own: stopped before its first instruction, written, and run until the firmware has greeted.
fn started(
    config: &FlashConfig,
    admitted: &Admitted,
    elf: &Path,
    report: &mut FlashReport,
    progress: &dyn Fn(&str),
) -> Result<()> {
    let qemu = QemuConfig {
        board: config.board,
        elf,
        policy: &[],
        link: LinkKind::Semihosting,
        timeout: config.timeout,
    };
    let stop = ["-S", "-gdb", "unix:path=gdb,server=on,wait=off"].map(Into::into);
    report.steps.push(Qemu::command_line(&qemu, &stop)?);
    let written = if config.dry_run && !elf.exists() {
        // The firmware is not built for a dry run; what of it would be written is known then.
        Image::of_policy(config.board, admitted.policy.bytes())?
    } else {
        image(config, admitted, Some(elf))?
    };
    report.steps.extend(steps(&written, false));
    report
        .steps
        .push("detach: the machine boots, and the firmware greets".into());
    if config.dry_run {
        return Ok(());
    }
    progress(&format!(
        "start {} stopped, with a debug stub",
        config.board.name
    ));
    let mut device = Qemu::start_with(qemu, &stop)?;
    let mut gdb = connect(&mut device, config.timeout)?;
    progress(&format!("write {} bytes", report.bytes));
    write(&mut gdb, &written)?;
    verify(&mut gdb, &written)?;
    report.verified = true;
    gdb.detach()?;
    let session = Session::greet(device)?;
    if let Some(fault) = session.boot_fault() {
        return Err(Error::Negative(format!(
            "the device did not arm the policy: {fault}"
        )));
    }
    let found = session.hello().policy_crc32;
    if found != admitted.crc32 {
        return Err(Error::Negative(format!(
            "the device runs a policy with CRC-32 {found:08x}; written: {:08x}",
            admitted.crc32
        )));
    }
    report.booted = Some(true);
    session.shut_down()
}

/// A QEMU that stood still, with `policy` whatever it is, until it was in the slot, and now runs, its stub in [`SOCKET`]. `word` comes
/// last on the firmware's command line.
///
/// # Errors
/// As [`Qemu::start`], [`Image::of_policy`] and [`Gdb`].
pub(in crate::device) fn start_written(
    config: QemuConfig<'_>,
    board: &'static Board,
    policy: &[u8],
    word: Option<&str>,
) -> Result<Qemu> {
    let mut stop: Vec<OsString> = ["-S", "-gdb", "unix:path=gdb,server=on,wait=off"]
        .map(Into::into)
        .into();
    if let Some(word) = word {
        stop.extend(["-semihosting-config".into(), format!("arg={word}").into()]);
    }
    let image = Image::of_policy(board, policy)?;
    let mut device = Qemu::start_with(config, &stop)?;
    let mut gdb = connect(&mut device, config.timeout)?;
    write(&mut gdb, &image)?;
    verify(&mut gdb, &image)?;
    gdb.detach()?;
    Ok(device)
}

/// A QEMU that somebody else started: checked, written, reset, and left running.
fn running(
    config: &FlashConfig,
    admitted: &Admitted,
    address: &str,
    elf: Option<&Path>,
    report: &mut FlashReport,
    progress: &dyn Fn(&str),
) -> Result<()> {
    report
        .steps
        .push(format!("connect to tcp:{address}: the machine stops"));
    if !config.firmware {
        report.steps.push(format!(
            "m{:x},{:x}: which firmware is there",
            identity::address(config.board),
            identity::IDENTITY_LEN
        ));
    }
    let written = match elf.filter(|elf| !config.dry_run || elf.exists()) {
        Some(elf) => image(config, admitted, Some(elf))?,
        None => Image::of_policy(config.board, admitted.policy.bytes())?,
    };
    report.steps.extend(steps(&written, true));
    report.steps.push("detach: the machine boots".into());
    if config.dry_run {
        return Ok(());
    }
    progress(&format!("connect to {address}"));
    let mut gdb = Gdb::connect_tcp(address, config.timeout)?;
    if !config.firmware {
        let place = identity::address(config.board);
        let record = gdb.read(place, identity::IDENTITY_LEN)?;
        if let Err(error) = identity::check(&record, config.board, &admitted.policy) {
            // The machine goes on as it was.
            gdb.detach()?;
            return Err(error);
        }
    }
    progress(&format!("write {} bytes", report.bytes));
    let outcome = replace(&mut gdb, &written);
    if outcome.is_err() {
        // The machine must not run on with a policy that changed under it; its boot will judge what is there.
        let _ = gdb.monitor("system_reset");
    }
    report.verified = outcome.is_ok();
    outcome.and(gdb.detach())
}

/// Writes a machine that stands still, resets it, and reads back before and after.
fn replace(gdb: &mut Gdb, image: &Image) -> Result<()> {
    write(gdb, image)?;
    verify(gdb, image)?;
    gdb.monitor("system_reset")?;
    verify(gdb, image).map_err(|error| match error {
        Error::Negative(text) => Error::Negative(format!(
            "{text}; it did before the reset: was this QEMU started with `-device loader` for the slot?"
        )),
        other => other,
    })
}

/// The stub's packets, in words.
fn steps(image: &Image, reset: bool) -> Vec<String> {
    let each = |verb: &str, segment: &Segment| {
        format!(
            "{verb}{:x},{:x}: {} bytes in {} packets",
            segment.address,
            segment.bytes.len(),
            segment.bytes.len(),
            segment.bytes.len().div_ceil(CHUNK)
        )
    };
    let mut steps: Vec<_> = image.segments().iter().map(|s| each("M", s)).collect();
    let reading: Vec<_> = image.segments().iter().map(|s| each("m", s)).collect();
    steps.extend(reading.iter().cloned());
    if reset {
        steps.push("qRcmd: system_reset".into());
        steps.extend(reading);
    }
    steps
}

/// Connects to the stub of an emulator that was started a moment ago.
fn connect(device: &mut Qemu, timeout: Duration) -> Result<Gdb> {
    let deadline = Instant::now() + timeout;
    let socket = device.folder().join(SOCKET);
    loop {
        device.is_running()?;
        match Gdb::connect_unix(&socket, timeout) {
            Err(Error::Io { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(Error::Io { source, .. }) => {
                return Err(Error::Environment(format!(
                    "QEMU opened no debug stub within {} s: {source}",
                    timeout.as_secs_f64()
                )));
            }
            other => return other,
        }
    }
}

fn write(gdb: &mut Gdb, image: &Image) -> Result<()> {
    let mut segments = image.segments().iter();
    segments.try_for_each(|segment| gdb.write(segment.address, &segment.bytes))
}

fn verify(gdb: &mut Gdb, image: &Image) -> Result<()> {
    image.segments().iter().try_for_each(|segment| {
        let found = gdb.read(segment.address, segment.bytes.len())?;
        compare(segment.address, &segment.bytes, &found)
    })
}
