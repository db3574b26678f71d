//! `hpo demo`: the whole way, from a plant to a policy that runs on an emulated Cortex-M4.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::cli::eval;
use crate::cli::train::{self, TrainSummary};
use crate::device::hil::{HilConfig, HilReport, run_hil};
use crate::device::plant_loop::PlantLoop;
use crate::device::qemu::LinkKind;
use crate::device::{board, build, setup};
use crate::error::{Error, Result};
use crate::evaluate::reference::{ReferenceReport, gap_percent};
use crate::export::PolicyBuffer;
use crate::plant::{PlantModel, load_plant};
use crate::train::run::{TrainConfig, plant_traits};
use crate::train::settings::Settings;

/// The demo's plant: 8 states, 4 modes, from the paper's family.
const PLANT: &str = "switched-lqr-8-4";
/// The demo's board.
const BOARD: &str = "mps2-an386";

/// File that says that a folder is a demo's.
const MARK: &str = "demo.txt";

/// The whole way from nothing: set up, train, compare with the optimum, export, run in QEMU.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Run directory; what an earlier demo left there is replaced.
    #[arg(long, value_name = "DIR", default_value = "runs/demo")]
    pub out: PathBuf,
    /// Number of epochs [default: the plant's]; a smoke run takes few.
    #[arg(long, value_parser = super::count, allow_negative_numbers = true)]
    pub epochs: Option<usize>,
    /// Episodes in QEMU.
    #[arg(long, default_value_t = 256, value_parser = super::seed, allow_negative_numbers = true)]
    pub episodes: u64,
    /// Seed of training.
    #[arg(long, default_value_t = 1, value_parser = super::seed, allow_negative_numbers = true)]
    pub seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// A row of the comparison.
#[derive(Clone, Debug, Serialize)]
struct Row {
    controller: String,
    mean_cost: f64,
    gap_percent: Option<f64>,
}

/// What `hpo demo --json` prints.
#[derive(Clone, Debug, Serialize)]
struct DemoReport {
    train: TrainSummary,
    test_states: usize,
    table: Vec<Row>,
    hil: HilReport,
    seconds: f64,
}

/// Runs `hpo demo`.
///
/// # Errors
/// [`Error::Environment`] if a tool is missing and cannot be installed; [`Error::Negative`] if the device's
/// actions differ from the host's.
pub fn run(args: &DemoArgs) -> Result<()> {
    let start = Instant::now();
    // Bad arguments and a folder that must not be replaced are found before the long part.
    let plant = load_plant(PLANT, &[])?;
    let config = config(args, &plant)?;
    check_out(&config.out)?;
    let say = |step: u32, text: &str| eprintln!("[{step}/5] {text}");

    say(1, "set-up: cross toolchain and QEMU");
    let tools = setup::set_up(&super::output::show_progress)?;
    for action in &tools.actions {
        eprintln!("      {action}");
    }

    say(
        2,
        &format!("train: HPO on {PLANT}, from scratch, seed {}", args.seed),
    );
    clear_old_run(&config.out)?;
    let (_, train) = train::train_and_evaluate(&config)?;

    say(
        3,
        "compare: the optimum and what needs no training, on the test states",
    );
    let states = eval::states(&plant, None, args.seed)?;
    let optimum = eval::reference_report(&plant, &states, args.seed);
    let table = table(&train, &optimum);

    say(
        4,
        &format!("firmware: build for {BOARD}; the policy is not compiled in"),
    );
    let board = board::find(BOARD)?;
    build::build_firmware(board, plant.target_class(), &super::output::show_progress)?;

    say(
        5,
        &format!(
            "QEMU: {} episodes of {} steps",
            args.episodes,
            plant.horizon()
        ),
    );
    let policy = PolicyBuffer::read(&config.out.join("policy.hpo"))?;
    let hil = hil(args, &plant, policy.bytes())?;

    let report = DemoReport {
        train,
        test_states: states.len(),
        table,
        hil,
        seconds: start.elapsed().as_secs_f64(),
    };
    if args.json {
        super::output::print_json(&report)?;
    } else {
        print(&report);
    }
    report.hil.verdict()
}

fn config(args: &DemoArgs, plant: &PlantModel) -> Result<TrainConfig> {
    let sets: Vec<(String, String)> = args
        .epochs
        .map(|epochs| ("train.epochs".to_owned(), epochs.to_string()))
        .into_iter()
        .collect();
    Ok(TrainConfig {
        settings: Settings::resolve(&sets, plant_traits(plant))?,
        plant: plant.clone(),
        seed: args.seed,
        out: args.out.clone(),
        resume: false,
        threads: 0,
    })
}

/// Accepts a folder that is new, empty or an earlier demo's: nothing else is ever replaced.
fn check_out(out: &Path) -> Result<()> {
    let free = match out.read_dir() {
        Ok(mut entries) => entries.next().is_none() || out.join(MARK).is_file(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    if free {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "--out: found {}, which is not from an earlier demo and would be replaced; \
         allowed: a new or empty folder, or an earlier demo's",
        out.display()
    )))
}

/// Removes an earlier demo's run and marks the folder as a demo's.
fn clear_old_run(out: &Path) -> Result<()> {
    check_out(out)?;
    if out.exists() {
        fs::remove_dir_all(out)
            .map_err(|e| Error::io(out, "cannot replace the earlier demo", e))?;
    }
    fs::create_dir_all(out).map_err(|e| Error::io(out, "cannot create the folder", e))?;
    let mark = out.join(MARK);
    fs::write(
        &mark,
        "Written by `hpo demo`; the next demo replaces this folder.\n",
    )
    .map_err(|e| Error::io(&mark, "cannot write", e))
}

fn table(train: &TrainSummary, optimum: &ReferenceReport) -> Vec<Row> {
    let gap = |cost: f64| gap_percent(cost, optimum.optimal_cost?);
    let row = |controller: &str, cost: Option<f64>| {
        cost.map(|mean_cost| Row {
            controller: controller.to_owned(),
            mean_cost,
            gap_percent: gap(mean_cost),
        })
    };
    let best_fixed = optimum
        .fixed_mode_costs
        .iter()
        .copied()
        .min_by(f64::total_cmp);
    [
        row("HPO, trained from scratch", Some(train.mean_cost)),
        row("best fixed mode (Riccati)", best_fixed),
        row("round robin (Riccati)", optimum.round_robin_cost),
        row(
            "averaged Riccati, no training",
            optimum.averaged_riccati_cost,
        ),
        row("optimum (switched Riccati)", optimum.optimal_cost),
        row("certified lower bound", optimum.lower_bound),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn hil(args: &DemoArgs, plant: &PlantModel, policy: &[u8]) -> Result<HilReport> {
    let config = HilConfig {
        hostile: 0,
        board: board::find(BOARD)?,
        link: LinkKind::Semihosting,
        episodes: args.episodes,
        steps: plant.horizon() as u64,
        target_class: plant.target_class(),
        timeout: Duration::from_secs(20),
        elf: None,
        faults: None,
    };
    let mut plant_loop = PlantLoop::new(plant, args.seed);
    run_hil(
        &config,
        policy,
        &mut plant_loop,
        &mut |_| {},
        &super::output::show_progress,
    )
}

fn print(report: &DemoReport) {
    let (train, hil) = (&report.train, &report.hil);
    println!("\n{} on {} test states", train.plant, report.test_states);
    println!("{:<32}{:>10}{:>10}", "controller", "cost", "gap");
    for row in &report.table {
        let gap = row
            .gap_percent
            .map_or(String::new(), |gap| format!("{gap:+.3} %"));
        println!("{:<32}{:>10.4}{:>10}", row.controller, row.mean_cost, gap);
    }
    println!(
        "\ntraining    {:.1} s, {} simulator calls, {} epochs",
        train.seconds, train.env_steps, train.epochs
    );
    println!(
        "policy      {} ({} bytes)",
        train.out.join("policy.hpo").display(),
        train.policy_bytes
    );
    println!("sha256      {}", train.policy_sha256);
    println!(
        "device      {} in QEMU over {}: {} of {} actions bit-equal to the host's",
        hil.board,
        hil.link.name(),
        hil.steps.saturating_sub(hil.mismatches),
        hil.steps
    );
    if let Some(count) = &hil.instructions {
        println!(
            "            {} to {} instructions per control step (mean {:.0}), {:.0} steps per second",
            count.min, count.max, count.mean, hil.steps_per_second
        );
    }
    println!(
        "firmware    {} bytes flash without the policy, {} bytes RAM, {} bytes stack",
        hil.flash_bytes.unwrap_or(0),
        hil.ram_bytes.unwrap_or(0),
        hil.stack_bytes
    );
    println!("total       {:.1} s", report.seconds);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_earlier_demo_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("demo");
        clear_old_run(&out).unwrap();
        fs::write(out.join("policy.hpo"), "old").unwrap();
        clear_old_run(&out).unwrap();
        assert!(!out.join("policy.hpo").exists() && out.join(MARK).exists());

        // A training run of the user's own stays.
        fs::remove_file(out.join(MARK)).unwrap();
        fs::write(out.join("settings.toml"), "mine").unwrap();
        let error = clear_old_run(&out).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("an earlier demo's"), "{error}");
        assert_eq!(fs::read(out.join("settings.toml")).unwrap(), b"mine");
        assert!(check_out(&out.join("settings.toml")).is_err());
    }
}
