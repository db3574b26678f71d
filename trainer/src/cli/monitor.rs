//! `hpo monitor`: telemetry of a device that runs its own loop, as CSV.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use firmware::Fault;
use policy_format::message::TelemetryFlags;

use super::hil::seconds;
use crate::device::monitor::{MonitorConfig, MonitorReport, Row, monitor};
use crate::device::port::{BAUD, Port};
use crate::device::session::Session;
use crate::{Error, Result};

/// Log what a device that runs its own loop does: time, state, mode, control and flags, one line of CSV per period.
///
/// It ends after --seconds or with Ctrl-C, with a whole file either way. A line's gap is the number of periods before it that
/// were not seen.
#[derive(Args, Clone, Debug)]
pub struct MonitorArgs {
    /// The serial port.
    #[arg(long, value_name = "DEV")]
    pub port: PathBuf,
    /// Write to this file [default: standard output].
    #[arg(long, value_name = "CSV")]
    pub out: Option<PathBuf>,
    /// Stop after so many seconds [default: at Ctrl-C].
    #[arg(long, value_name = "N")]
    pub seconds: Option<f64>,
    /// Seconds from one question to the next.
    #[arg(long, default_value_t = 0.005, value_name = "SECONDS")]
    pub every: f64,
    /// Bits per second of the port.
    #[arg(long, default_value_t = BAUD)]
    pub baud: u32,
    /// Longest wait for one answer.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub timeout: f64,
    /// Print one JSON object about what was seen; needs --out.
    #[arg(long, requires = "out")]
    pub json: bool,
}

/// Runs `hpo monitor`.
///
/// # Errors
/// [`Error::Environment`] if the port or the device fails, [`Error::Negative`] for firmware without a loop of its own,
/// [`Error::Usage`] or [`Error::Io`] for bad arguments and files.
pub fn run(args: &MonitorArgs) -> Result<()> {
    let timeout = seconds(args.timeout)?;
    let config = MonitorConfig {
        duration: args.seconds.map(seconds).transpose()?,
        every: every(args.every)?,
        timeout,
    };
    let port = Port::open(&args.port, args.baud, timeout)?;
    let mut session = Session::join(port, timeout)?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // If a handler cannot be set, Ctrl-C ends the program at once.
    let _ = ctrlc::set_handler(move || {
        // A second Ctrl-C does not wait for an answer of the device.
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
    });
    let mut csv = Csv::create(args.out.as_deref())?;
    let watched = monitor(&mut session, &config, &stop, &mut |row| csv.write(row));
    // What was seen until then is kept, also if the device is gone.
    csv.close()?;
    let report = watched?;
    if args.json {
        super::output::print_json(&report)?;
    } else {
        eprintln!("{}", summary(&report));
    }
    Ok(())
}

fn every(text: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(text)
        .ok()
        .filter(|every| every.as_secs() <= 3600)
        .ok_or_else(|| Error::Usage(format!("every: found {text}; allowed: 0 to 3600 seconds")))
}

fn summary(report: &MonitorReport) -> String {
    format!(
        "{} periods seen, {} not seen in {} gaps, {} restarts, {} with a fault; {} deadlines missed, {} us late at most",
        report.rows,
        report.unseen_periods,
        report.gaps,
        report.restarts,
        report.faults,
        report.missed,
        report.late_us
    )
}

/// The lines, to a file or to standard output.
struct Csv {
    path: PathBuf,
    to: Box<dyn Write>,
    headed: bool,
}

impl Csv {
    fn create(path: Option<&Path>) -> Result<Self> {
        let to: Box<dyn Write> = match path {
            None => Box::new(std::io::stdout().lock()),
            Some(path) => {
                let file = File::create(path).map_err(|e| Error::io(path, "cannot create", e))?;
                Box::new(BufWriter::new(file))
            }
        };
        Ok(Self {
            path: path.unwrap_or(Path::new("standard output")).to_path_buf(),
            to,
            headed: false,
        })
    }

    fn write(&mut self, row: &Row) -> Result<()> {
        self.try_write(row)
            .map_err(|e| Error::io(&self.path, "cannot write", e))
    }

    fn try_write(&mut self, row: &Row) -> std::io::Result<()> {
        let telemetry = &row.telemetry;
        if !self.headed {
            self.headed = true;
            write!(
                self.to,
                "time_s,period,gap,restarted,mode,choice,fault,armed,on_trial,fallback,locked,missed,late_us"
            )?;
            for i in 0..telemetry.state().len() {
                write!(self.to, ",x{i}")?;
            }
            for i in 0..telemetry.control().len() {
                write!(self.to, ",u{i}")?;
            }
            writeln!(self.to)?;
        }
        let us = telemetry.time_us();
        write!(
            self.to,
            "{}.{:06},{},{},{},{},{},",
            us / 1_000_000,
            us % 1_000_000,
            telemetry.period,
            row.gap,
            u8::from(row.restarted),
            telemetry.mode,
            telemetry.choice
        )?;
        if let Some(fault) = Fault::from_code(telemetry.fault) {
            write!(self.to, "{:#06x} {}", fault.code(), fault.name())?;
        }
        for flag in [
            TelemetryFlags::ARMED,
            TelemetryFlags::ON_TRIAL,
            TelemetryFlags::FALLBACK,
            TelemetryFlags::LOCKED,
        ] {
            write!(self.to, ",{}", u8::from(telemetry.flags & flag != 0))?;
        }
        write!(self.to, ",{},{}", telemetry.missed, telemetry.late_us)?;
        for value in &telemetry.values {
            write!(self.to, ",{value}")?;
        }
        writeln!(self.to)
    }

    fn close(mut self) -> Result<()> {
        self.to
            .flush()
            .map_err(|e| Error::io(&self.path, "cannot write", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy_format::message::Telemetry;

    #[test]
    fn lines_have_the_columns_of_the_head() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let mut csv = Csv::create(Some(&path)).unwrap();
        let row = Row {
            telemetry: Telemetry {
                period: 7,
                time: (1, 5),
                choice: 3,
                mode: 2,
                fault: Fault::SENSOR_FROZEN.code(),
                flags: TelemetryFlags::ARMED | TelemetryFlags::FALLBACK,
                missed: 4,
                late_us: 9,
                state_dim: 2,
                control_dim: 1,
                values: [0.5, -1.0, 2.25].into_iter().collect(),
            },
            gap: 6,
            restarted: false,
        };
        csv.write(&row).unwrap();
        csv.close().unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "time_s,period,gap,restarted,mode,choice,fault,armed,on_trial,fallback,locked,missed,late_us,x0,x1,u0\n\
             4294.967301,7,6,0,2,3,0x0506 SensorFrozen,1,0,1,0,4,9,0.5,-1,2.25\n"
        );
    }

    #[test]
    fn a_time_between_questions_that_is_none_is_refused() {
        assert!(every(0.0).is_ok());
        for bad in [-1.0, f64::NAN, 4000.0] {
            assert_eq!(every(bad).unwrap_err().exit_code(), 2);
        }
    }
}
