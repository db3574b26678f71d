//! `hpo compare`: algorithms x structures x plants x seeds.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, Parser as _, ValueEnum as _};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::compare::grid::DEFAULT_STRUCTURE;
use crate::compare::optimum::optimum_shares;
use crate::compare::plots::plots;
use crate::compare::runner::{CompareEvent, RunnerSettings, run_cells};
use crate::compare::{CellResult, CellSpec, Grid, Summary, summarise};
use crate::error::{Error, Result};
use crate::plant::PlantModel;
use crate::train::checkpoint::write_atomically;
use crate::train::run::{MAX_THREADS, TrainConfig};
use crate::train::settings::{Algorithm, Settings};

use super::train::{self, TrainArgs};

/// Train every combination of algorithm, structure, plant and seed, and compare.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// Ready plants' names or plant files.
    #[arg(required = true, value_name = "PLANT")]
    pub plants: Vec<String>,
    /// Algorithms; the first is tested against each other one.
    #[arg(
        long,
        value_enum,
        value_name = "ALGO",
        value_delimiter = ',',
        default_value = "hpo"
    )]
    pub algo: Vec<Algorithm>,
    /// Structures of the policy, as of hpo train [default: its default].
    #[arg(long, value_name = "STRUCTURE", value_delimiter = ',')]
    pub structure: Vec<String>,
    /// Hidden widths of a selector and a control network, such as 64,64; several times for several sizes.
    #[arg(long, value_name = "WIDTHS")]
    pub hidden: Vec<String>,
    /// Seeds 1 to N.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = super::seed, allow_negative_numbers = true)]
    pub seeds: u64,
    /// Greatest number of simulator calls of a run, look-ahead branches included.
    #[arg(long, value_name = "N", value_parser = super::seed, allow_negative_numbers = true, conflicts_with = "epochs")]
    pub env_steps: Option<u64>,
    /// Number of epochs of a run.
    #[arg(long, value_name = "N", value_parser = super::count, allow_negative_numbers = true)]
    pub epochs: Option<usize>,
    /// A setting of every run, as of `hpo train`.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = super::key_value)]
    pub sets: Vec<(String, String)>,
    /// A setting of one algorithm's runs, of one structure or plant alone where these are named.
    #[arg(long = "set-for", value_name = "ALGO[/STRUCTURE][@PLANT]:KEY=VALUE", value_parser = setting_for)]
    pub sets_for: Vec<(String, String, String)>,
    /// Runs at a time; the processors are shared out evenly, and the results do not depend on it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = super::count, allow_negative_numbers = true)]
    pub jobs: usize,
    /// Folder of the results; further commands add to them.
    #[arg(long, value_name = "DIR", default_value = "runs/compare")]
    pub out: PathBuf,
    /// Keep the run directories, in DIR/runs.
    #[arg(long)]
    pub keep_runs: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What `hpo compare --json` prints.
#[derive(Debug, Serialize)]
struct CompareReport {
    /// Cells of the grid.
    cells: usize,
    /// Cells that were run in this session.
    new_cells: usize,
    /// Cells whose line of an earlier version was completed in this session, without training.
    completed_cells: usize,
    #[serde(flatten)]
    summary: Summary,
    /// Files that were written.
    files: Vec<PathBuf>,
    /// Folder of the results.
    out: PathBuf,
    /// Seconds of this session.
    seconds: f64,
}

/// Runs `hpo compare`.
///
/// # Errors
/// [`Error::Usage`] and [`Error::Input`] for what cannot be run or read; [`Error::Negative`] if it was interrupted.
pub fn run(args: &CompareArgs) -> Result<()> {
    let start = Instant::now();
    if args.jobs == 0 || args.jobs > MAX_THREADS {
        return Err(Error::Usage(format!(
            "--jobs: found {}; allowed: 1 to {MAX_THREADS}",
            args.jobs
        )));
    }
    let algorithms = names(&args.algo);
    let grid = Grid {
        plants: args.plants.clone(),
        algorithms: algorithms.clone(),
        structures: match args.structure.as_slice() {
            [] => vec![DEFAULT_STRUCTURE.to_owned()],
            list => list.to_vec(),
        },
        hidden: match args.hidden.as_slice() {
            [] => vec![None],
            list => list
                .iter()
                .map(|text| widths(text))
                .collect::<Result<_>>()?,
        },
        seeds: args.seeds,
        sets: args.sets.clone(),
        sets_for: args.sets_for.clone(),
    };
    let cells = grid.cells()?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let settings = RunnerSettings {
        out: args.out.clone(),
        jobs: args.jobs,
        threads: (processors / args.jobs).max(1),
        keep_runs: args.keep_runs,
    };
    let bar = bar();
    let outcome = run_cells(
        &cells,
        &|spec| resolve(args, spec),
        &settings,
        &interruption(),
        &|event| draw(&bar, event),
    );
    let outcome = outcome.inspect_err(|_| bar.finish_and_clear())?;
    let summary = summarise(&outcome.results, &algorithms);
    let mut files = vec![args.out.join("results.jsonl"), args.out.join("table.md")];
    let text = summary.markdown();
    write_atomically(&files[1], text.as_bytes())?;
    let plots = draw_plots(args, &cells, &outcome.results, &summary, &bar);
    bar.finish_and_clear();
    files.extend(plots?);
    if args.json {
        super::output::print_json(&CompareReport {
            cells: outcome.results.len(),
            new_cells: outcome.new,
            completed_cells: outcome.completed,
            summary,
            files,
            out: args.out.clone(),
            seconds: start.elapsed().as_secs_f64(),
        })
    } else {
        println!("{}", text.trim_end());
        println!("\nresults    {}", args.out.join("results.jsonl").display());
        println!("plots      {}", args.out.join("plots").display());
        Ok(())
    }
}

/// Writes `DIR/plots` and gives the files.
fn draw_plots(
    args: &CompareArgs,
    cells: &[CellSpec],
    results: &[CellResult],
    summary: &Summary,
    bar: &ProgressBar,
) -> Result<Vec<PathBuf>> {
    let mut plants: Vec<PlantModel> = Vec::new();
    // Cells of the first seed and algorithm have every plant.
    for cell in cells.iter().filter(|cell| cell.seed == 1) {
        let (config, _) = resolve(args, cell)?;
        if plants.iter().all(|p| p.name() != config.plant.name()) {
            plants.push(config.plant);
        }
    }
    let folder = args.out.join("plots");
    std::fs::create_dir_all(&folder)
        .map_err(|e| Error::io(&folder, "cannot create the folder", e))?;
    let cache = folder.join("optimum-modes.json");
    let optimum = optimum_shares(&plants, &summary.references, &cache, &|plant| {
        bar.set_message(format!("modes of the optimum of {plant}"));
    })?;
    let mut files = Vec::new();
    for (name, svg) in plots(results, &optimum) {
        let path = folder.join(name);
        write_atomically(&path, svg.as_bytes())?;
        files.push(path);
    }
    Ok(files)
}

/// The algorithms' names on the command line, each once.
fn names(algorithms: &[Algorithm]) -> Vec<String> {
    let mut names = Vec::new();
    for algorithm in algorithms {
        let name = algorithm.to_possible_value();
        let name = name.map_or_else(String::new, |value| value.get_name().to_owned());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Parses one `--hidden`.
fn widths(text: &str) -> Result<Option<Vec<usize>>> {
    let list: std::result::Result<Vec<usize>, _> =
        text.split(',').map(|word| word.trim().parse()).collect();
    list.map(Some).map_err(|_| {
        Error::Usage(format!(
            "--hidden: found {text}; allowed: widths such as 64,64"
        ))
    })
}

/// Parses one `--set-for ALGO:KEY=VALUE`.
fn setting_for(text: &str) -> std::result::Result<(String, String, String), String> {
    let allowed = || "allowed: algo:key=value".to_owned();
    let (algorithm, rest) = text.split_once(':').ok_or_else(allowed)?;
    let (key, value) = super::key_value(rest).map_err(|_| allowed())?;
    Ok((algorithm.to_owned(), key, value))
}

/// A cell as `hpo train` would run it, and the defaults of its algorithm and structure on its plant.
///
/// It goes through the training command's own arguments, so whatever that one offers can be compared.
fn resolve(args: &CompareArgs, spec: &CellSpec) -> Result<(TrainConfig, Settings)> {
    let mut base = vec![
        "train".to_owned(),
        spec.plant.clone(),
        format!("--algo={}", spec.algorithm),
        format!("--seed={}", spec.seed),
    ];
    if spec.structure != DEFAULT_STRUCTURE {
        base.push(format!("--structure={}", spec.structure));
    }
    let mut words = base.clone();
    if let Some(hidden) = &spec.hidden {
        let widths: Vec<String> = hidden.iter().map(usize::to_string).collect();
        words.push(format!("--hidden={}", widths.join(",")));
    }
    if let Some(env_steps) = args.env_steps {
        words.push(format!("--env-steps={env_steps}"));
    }
    if let Some(epochs) = args.epochs {
        words.push(format!("--epochs={epochs}"));
    }
    let set = |(key, value): &(String, String)| format!("--set={key}={value}");
    words.extend(spec.sets.iter().map(set));
    let config = train::resolve(&parse(&words)?)?;
    // The plant's own settings are no difference of the algorithm.
    let mut defaults = base;
    let plant = spec.sets.iter();
    let plant = plant.filter(|(key, _)| crate::plant::is_plant_key(key));
    defaults.extend(plant.map(set));
    let defaults = train::resolve(&parse(&defaults)?)?.settings;
    Ok((config, defaults))
}

#[derive(clap::Parser)]
struct Train {
    #[command(flatten)]
    args: TrainArgs,
}

fn parse(words: &[String]) -> Result<TrainArgs> {
    let parsed = Train::try_parse_from(words).map_err(|error| {
        // What and what is allowed; the rest is how the training command is used.
        let text = error.to_string();
        let lines = text.lines().take_while(|line| !line.starts_with("Usage"));
        let lines: Vec<&str> = lines.map(str::trim).filter(|l| !l.is_empty()).collect();
        Error::Usage(lines.join("; ").trim_start_matches("error: ").to_owned())
    })?;
    Ok(parsed.args)
}

/// A flag that Ctrl-C sets; a second Ctrl-C ends the program.
fn interruption() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    // A second handler in one process is refused; the first serves then.
    let _ = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
        eprintln!("\nstopping after the running epochs; press Ctrl-C again to stop at once");
    });
    interrupted
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} [{elapsed}]") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn draw(bar: &ProgressBar, event: CompareEvent) {
    match event {
        CompareEvent::Planned { cells, finished } => {
            bar.set_length(cells as u64);
            bar.set_position(finished as u64);
        }
        CompareEvent::Reference { plant } => bar.set_message(format!("references of {plant}")),
        CompareEvent::Started { cell } => bar.set_message(cell),
        CompareEvent::Finished(_) => bar.inc(1),
    }
}
