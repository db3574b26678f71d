//! How fast training is on this machine, against what the machine could do: `hpo bench`.
//!
//! Peak and epochs are measured in turn, round by round, so that both meet the same load of the machine; the
//! best of each counts, and the median of the rounds' ratios stands beside it.

pub mod device;
pub mod flops;
mod peak;
pub mod workload;

use std::time::Instant;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::numeric::arch;
use crate::policy::Model;
use crate::train::critic::Critic;
use crate::train::learner::{Learner, State};
use crate::train::phases::{Phase, PhaseClock};
use crate::train::run::{MAX_THREADS, policy_shape};
use peak::Rate;
use workload::Workload;

/// Seconds that one measurement of the peak takes.
const PEAK_SECONDS: f64 = 0.05;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct BenchConfig {
    /// Threads, at most [`MAX_THREADS`]; 0 takes one per processor.
    pub threads: usize,
    /// Only what has this in its name; empty: everything.
    pub filter: String,
    /// Seconds for each workload; at least one round is always run.
    pub seconds: f64,
}

/// One measured or counted figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// What it is a figure of: `workload/figure`, or `peak/figure`.
    pub name: String,
    /// The figure.
    pub figure: f64,
    /// Its unit: `GFLOP/s`, `GFLOP`, `s`, `%`, `1/s`, `calls` or `rounds`.
    pub unit: &'static str,
}

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchReport {
    /// Instruction set of peak and kernels: `scalar`, `avx2`, `avx512` or `neon`.
    pub instruction_set: &'static str,
    /// Threads used.
    pub threads: usize,
    /// The figures.
    pub entries: Vec<Entry>,
}

/// Measures what `config` names; `progress` is told the name of each workload before it starts.
///
/// # Errors
/// [`Error::Usage`] if there are too many threads, the budget is not a number from 0 to 86400, or nothing has
/// the filter in its name; [`Error::Environment`] if threads cannot be started.
pub fn bench(config: &BenchConfig, progress: &mut dyn FnMut(&str)) -> Result<BenchReport> {
    if config.threads > MAX_THREADS {
        return Err(Error::Usage(format!(
            "--threads: found {}; allowed: 0 (one per processor) to {MAX_THREADS}",
            config.threads
        )));
    }
    if !(0.0..=86_400.0).contains(&config.seconds) {
        return Err(Error::Usage(format!(
            "--seconds: found {}; allowed: 0 to 86400",
            config.seconds
        )));
    }
    let workloads = workload::all()?;
    let wanted = |name: &str| name.contains(&config.filter);
    let selected: Vec<&Workload> = workloads.iter().filter(|w| wanted(w.name)).collect();
    if selected.is_empty() && !wanted("peak") {
        let names: Vec<&str> = workloads.iter().map(|w| w.name).collect();
        return Err(Error::Usage(format!(
            "--filter: found {}; allowed: a part of peak, {}",
            config.filter,
            names.join(", ")
        )));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(config.threads)
        .build()
        .map_err(|error| Error::Environment(format!("threads: {error}")))?;
    let (instruction_set, _) = arch::used();
    let mut peaks = Peaks::default();
    let mut entries = Vec::new();
    for workload in &selected {
        progress(workload.name);
        entries.extend(measure(workload, &pool, config.seconds, &mut peaks));
    }
    if selected.is_empty() {
        progress("peak");
        let start = Instant::now();
        peaks.measure(&pool);
        while start.elapsed().as_secs_f64() < config.seconds {
            peaks.measure(&pool);
        }
    }
    entries.insert(0, entry("peak", "one-core", peaks.one_core.wall, "GFLOP/s"));
    entries.insert(
        1,
        entry("peak", "one-core-cpu", peaks.one_core.cpu, "GFLOP/s"),
    );
    entries.insert(2, entry("peak", "all-cores", peaks.all_cores, "GFLOP/s"));
    // What depends on the peak uses the best of the whole run.
    for share in entries
        .iter_mut()
        .filter(|e| e.name.ends_with("/share-of-peak"))
    {
        share.figure *= 100.0 / peaks.all_cores;
    }
    let cpu_shares = entries
        .iter_mut()
        .filter(|e| e.name.ends_with("/share-of-peak-cpu"));
    for share in cpu_shares {
        // Both by processor time: other programs take from neither.
        share.figure *= 100.0 / peaks.one_core.cpu;
    }
    Ok(BenchReport {
        instruction_set,
        threads: pool.current_num_threads(),
        entries,
    })
}

fn entry(group: &str, name: &str, figure: f64, unit: &'static str) -> Entry {
    Entry {
        name: format!("{group}/{name}"),
        figure,
        unit,
    }
}

/// Greatest rates of multiply-add seen, in GFLOP/s.
#[derive(Default)]
struct Peaks {
    one_core: Rate,
    all_cores: f64,
}

impl Peaks {
    /// Measures both, and returns the present one of all cores.
    fn measure(&mut self, pool: &rayon::ThreadPool) -> f64 {
        self.one_core = self.one_core.max(peak::one_core(PEAK_SECONDS));
        let all = peak::all_cores(pool, PEAK_SECONDS);
        self.all_cores = self.all_cores.max(all);
        all
    }
}

/// Epochs of one workload, each between two measurements of the peak.
fn measure(
    workload: &Workload,
    pool: &rayon::ThreadPool,
    budget: f64,
    peaks: &mut Peaks,
) -> Vec<Entry> {
    let (description, settings) = (&workload.plant, &workload.settings);
    let model = Model::new(policy_shape(description, settings));
    let critic = Critic::new(model.shape(), &settings.critic);
    let plant = description.build::<f32>();
    let flop = flops::epoch(&model, &critic, &settings.train, description.horizon()) as f64 * 1e-9;
    let mut hpo = Learner::new(&plant, description, &model, &critic, settings, 1);
    let mut state = State::new(&model, &critic, settings, 1);
    let start = Instant::now();
    // The first epoch touches fresh memory: it warms up, and counts only where there is time for no other.
    let (first, first_cpu) = (Instant::now(), cpu_seconds());
    pool.install(|| hpo.epoch(&mut state));
    let mut seconds = vec![first.elapsed().as_secs_f64()];
    let mut cpu = cpu_seconds() - first_cpu;
    let calls = state.env_steps;
    let mut before = peaks.measure(pool);
    let mut ratios = vec![flop / seconds[0] / before];
    let mut rounds = 0;
    while start.elapsed().as_secs_f64() + seconds[seconds.len() - 1] < budget {
        if rounds == 0 {
            seconds.clear();
            ratios.clear();
            cpu = f64::INFINITY;
            *hpo.clock() = Some(PhaseClock::default());
        }
        if let Some(clock) = hpo.clock() {
            clock.lap(Phase::Other);
            clock.forget(Phase::Other);
        }
        let (begin, begin_cpu) = (Instant::now(), cpu_seconds());
        pool.install(|| hpo.epoch(&mut state));
        cpu = cpu.min(cpu_seconds() - begin_cpu);
        let elapsed = begin.elapsed().as_secs_f64();
        let after = peaks.measure(pool);
        seconds.push(elapsed);
        ratios.push(flop / elapsed / before.max(after));
        before = after;
        rounds += 1;
    }
    if rounds == 0 {
        *hpo.clock() = Some(PhaseClock::default());
        pool.install(|| hpo.epoch(&mut state));
    }
    let best = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let one = |name: &str, figure: f64, unit| entry(workload.name, name, figure, unit);
    let mut entries = vec![
        one("epoch", best, "s"),
        one("epoch-median", median(&mut seconds), "s"),
        one("flop", flop, "GFLOP"),
        one("rate", flop / best, "GFLOP/s"),
        one("share-of-peak", flop / best, "%"),
        one("share-of-peak-median", 100.0 * median(&mut ratios), "%"),
        one("cpu", cpu, "s"),
        one("share-of-peak-cpu", flop / cpu, "%"),
        one("simulator-calls", calls as f64, "calls"),
        one("environment-steps", calls as f64 / best, "1/s"),
        one("rounds", seconds.len() as f64, "rounds"),
    ];
    if let Some(clock) = hpo.clock() {
        entries.extend(Phase::ALL.map(|phase| {
            let name = format!("time-{}", phase.name());
            one(&name, 100.0 * clock.share(phase), "%")
        }));
    }
    entries
}

/// Processor time of this process so far, all threads: what other programs take does not count.
fn cpu_seconds() -> f64 {
    peak::seconds_of(rustix::time::ClockId::ProcessCPUTime)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        0.5 * (values[middle - 1] + values[middle])
    }
}

#[cfg(test)]
#[path = "bench_tests.rs"]
mod tests;
