//! Telemetry of a device that runs its own loop: asked for again and again, each new period once, gaps counted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use firmware::Fault;
use policy_format::message::{Reply, Request, Telemetry};
use serde::Serialize;

use super::session::Session;
use super::transport::Transport;
use crate::{Error, Result};

/// Longest sleep without a look at the end and at Ctrl-C.
const PIECE: Duration = Duration::from_millis(50);

/// How to watch.
#[derive(Clone, Copy, Debug)]
pub struct MonitorConfig {
    /// For how long; `None`: until stopped.
    pub duration: Option<Duration>,
    /// Time from one question to the next.
    pub every: Duration,
    /// Longest wait for an answer.
    pub timeout: Duration,
}

/// A period that was seen.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the device said.
    pub telemetry: Telemetry,
    /// Periods between this one and the row before that were not seen; 0 in the first row and behind a restart.
    pub gap: u32,
    /// The device has started anew since the row before: its periods count from 1 again.
    pub restarted: bool,
}

/// What was seen. The keys are stable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MonitorReport {
    /// Periods seen, each once.
    pub rows: u64,
    /// Periods in between that were not seen.
    pub unseen_periods: u64,
    /// Number of times that periods were missing.
    pub gaps: u64,
    /// Times that the device started anew.
    pub restarts: u64,
    /// Number of the last period.
    pub last_period: u32,
    /// Missed deadlines, by the device's own count since its start.
    pub missed: u32,
    /// Greatest lateness in microseconds, by the device's own count since its start.
    pub late_us: u32,
    /// Rows with a fault.
    pub faults: u64,
}

/// Watches until the time is over or `stop` is set; `row` gets each period that was seen.
///
/// # Errors
/// [`Error::Negative`] if the firmware has no loop of its own, [`Error::Environment`] if the device is gone or does not answer, and what
/// `row` gives.
pub fn monitor<D: Transport>(
    session: &mut Session<D>,
    config: &MonitorConfig,
    stop: &AtomicBool,
    row: &mut dyn FnMut(&Row) -> Result<()>,
) -> Result<MonitorReport> {
    let start = Instant::now();
    let mut report = MonitorReport::default();
    let mut last: Option<(u32, u64)> = None;
    loop {
        let asked = Instant::now();
        let telemetry = match session.insist(&Request::Monitor, config.timeout)? {
            Reply::Telemetry(telemetry) => telemetry,
            Reply::Error { fault } => {
                return Err(Error::Negative(match Fault::from_code(fault) {
                    Some(Fault::UNSUPPORTED) => {
                        "the firmware runs no loop of its own, so there is nothing to watch; firmware with --slots does".into()
                    }
                    Some(fault) => format!("the device answered with {fault}"),
                    None => "the device answered with an error without number".into(),
                }));
            }
            other => {
                return Err(Error::Environment(format!(
                    "the device sent {other:?} in place of telemetry"
                )));
            }
        };
        let now = (telemetry.period, telemetry.time_us());
        if telemetry.period > 0 && last != Some(now) {
            // Its clock starts at 0 with it; the number of periods alone may wrap.
            let restarted = last.is_some_and(|(_, us)| now.1 < us);
            let gap = match last {
                Some((period, _)) if !restarted => {
                    telemetry.period.wrapping_sub(period).saturating_sub(1)
                }
                _ => 0,
            };
            report.rows += 1;
            report.unseen_periods += u64::from(gap);
            report.gaps += u64::from(gap > 0);
            report.restarts += u64::from(restarted);
            report.last_period = telemetry.period;
            report.missed = telemetry.missed;
            report.late_us = telemetry.late_us;
            report.faults += u64::from(telemetry.fault != 0);
            last = Some(now);
            row(&Row {
                telemetry,
                gap,
                restarted,
            })?;
        }
        // In short pieces, so that neither the end nor Ctrl-C waits for the next question.
        loop {
            let over = config
                .duration
                .is_some_and(|limit| start.elapsed() >= limit);
            if over || stop.load(Ordering::Relaxed) {
                return Ok(report);
            }
            let rest = config.every.saturating_sub(asked.elapsed());
            if rest.is_zero() {
                break;
            }
            std::thread::sleep(rest.min(PIECE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy_format::message::{FrameReader, MAX_FRAME, encode_numbered};

    /// A device that says prepared things, then repeats the last.
    #[derive(Debug)]
    struct Prepared {
        periods: Vec<(u32, u32)>,
        reader: FrameReader,
        output: Vec<u8>,
    }

    impl Transport for Prepared {
        fn send(&mut self, bytes: &[u8]) -> Result<()> {
            for &byte in bytes {
                if let Some(Ok(Request::Monitor)) = self.reader.feed::<Request>(byte) {
                    let (period, us) = self.periods[0];
                    if self.periods.len() > 1 {
                        self.periods.remove(0);
                    }
                    let telemetry = Telemetry {
                        period,
                        time: (0, us),
                        fault: u16::from(period == 5),
                        missed: period / 4,
                        ..Telemetry::default()
                    };
                    let mut frame = [0; MAX_FRAME];
                    let reply = Reply::Telemetry(telemetry);
                    let length = encode_numbered(self.reader.number(), &reply, &mut frame).unwrap();
                    self.output.extend(&frame[..length]);
                }
            }
            Ok(())
        }

        fn receive(&mut self, buffer: &mut [u8]) -> Result<usize> {
            Ok(self.receive_within(buffer, Duration::ZERO)?.unwrap())
        }

        fn receive_within(&mut self, buffer: &mut [u8], _: Duration) -> Result<Option<usize>> {
            let count = self.output.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.output[..count]);
            self.output.drain(..count);
            Ok((count > 0).then_some(count))
        }

        fn finish(&mut self) -> Result<()> {
            Ok(())
        }
    }

    const CONFIG: MonitorConfig = MonitorConfig {
        duration: Some(Duration::from_millis(200)),
        every: Duration::from_millis(1),
        timeout: Duration::from_secs(30),
    };

    #[test]
    fn each_period_is_seen_once_and_gaps_and_restarts_are_told_apart() {
        let mut session = Session::over(Prepared {
            // None yet, twice the same, one after the other, a gap of two, a restart, a wrap.
            periods: vec![
                (0, 0),
                (1, 10),
                (1, 10),
                (2, 20),
                (5, 50),
                (1, 10),
                (u32::MAX, 90),
                (0, 100),
                (1, 110),
            ],
            reader: FrameReader::new(),
            output: Vec::new(),
        });
        let mut rows = Vec::new();
        let report = monitor(&mut session, &CONFIG, &AtomicBool::new(false), &mut |row| {
            rows.push((row.telemetry.period, row.gap, row.restarted));
            Ok(())
        })
        .unwrap();
        assert_eq!(
            rows,
            [
                (1, 0, false),
                (2, 0, false),
                (5, 2, false),
                (1, 0, true),
                (u32::MAX, u32::MAX - 2, false),
                (1, 1, false)
            ]
        );
        assert_eq!((report.rows, report.gaps, report.restarts), (6, 3, 1));
        assert_eq!(
            (report.last_period, report.missed, report.faults),
            (1, 0, 1)
        );
    }

    #[test]
    fn a_long_time_between_questions_does_not_put_off_the_end() {
        let mut session = Session::over(Prepared {
            periods: vec![(1, 10)],
            reader: FrameReader::new(),
            output: Vec::new(),
        });
        let config = MonitorConfig {
            every: Duration::from_secs(3_600),
            ..CONFIG
        };
        let stop = AtomicBool::new(false);
        let report = monitor(&mut session, &config, &stop, &mut |_| Ok(())).unwrap();
        assert_eq!(report.rows, 1);
        // Without a limit, told to stop from outside.
        let config = MonitorConfig {
            duration: None,
            ..config
        };
        let told = std::thread::scope(|scope| {
            let watching = scope.spawn(|| monitor(&mut session, &config, &stop, &mut |_| Ok(())));
            std::thread::sleep(Duration::from_millis(100));
            stop.store(true, Ordering::Relaxed);
            watching.join().unwrap()
        });
        told.unwrap();
    }

    #[test]
    fn it_stops_when_told_and_when_the_row_cannot_be_written() {
        let prepared = || {
            Session::over(Prepared {
                periods: vec![(1, 1)],
                reader: FrameReader::new(),
                output: Vec::new(),
            })
        };
        let config = MonitorConfig {
            duration: None,
            ..CONFIG
        };
        let stop = AtomicBool::new(true);
        let report = monitor(&mut prepared(), &config, &stop, &mut |_| Ok(())).unwrap();
        assert_eq!(report.rows, 1);
        let full = &mut |_: &Row| Err(Error::Usage("full".into()));
        assert!(monitor(&mut prepared(), &config, &stop, full).is_err());
    }

    #[test]
    fn firmware_without_a_loop_is_named() {
        let device = crate::device::local::LocalDevice::start(crate::device::local::LocalConfig {
            slot: Vec::new(),
            target_class: 1,
            offer: None,
            flash: None,
        });
        let mut session = Session::greet(device.unwrap()).unwrap();
        let never = AtomicBool::new(false);
        let error = monitor(&mut session, &CONFIG, &never, &mut |_| Ok(())).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert!(error.to_string().contains("no loop of its own"), "{error}");
    }
}
