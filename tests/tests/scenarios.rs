//! Faults in the loop: the scenarios of `tests/scenarios`, each with the outcome that `outcomes.md` says.
//!
//! `HPO_WRITE_OUTCOMES=1 cargo test --release -p tests --test scenarios` writes that file anew.

mod hil_support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hil_support::policies::{OwnedSafety, file, good_policy, policy_of, structure};
use hil_support::{class, config_of, firmware_of, hil};
use trainer::device::board::find;
use trainer::device::build::{Variant, build_variant};
use trainer::device::faults::{FaultEvent, FaultReport, FaultSpec};
use trainer::device::hil::HilReport;
use trainer::device::qemu::LinkKind;

/// Events of a scenario that the table shows.
const EVENTS: usize = 8;

struct Scenario {
    name: String,
    board: String,
    policy: String,
    episodes: u64,
    faults: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn scenarios() -> Vec<Scenario> {
    let mut paths: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let table: toml::Table = text
            .parse()
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for key in table.keys() {
            let known = ["board", "policy", "episodes", "faults"];
            assert!(known.contains(&key.as_str()), "{}: {key}", path.display());
        }
        let text = |key: &str| table[key].as_str().unwrap().to_owned();
        Scenario {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            board: text("board"),
            policy: text("policy"),
            episodes: table
                .get("episodes")
                .map_or(2, |n| n.as_integer().unwrap() as u64),
            faults: text("faults"),
        }
    };
    paths.into_iter().map(read).collect()
}

/// A policy with rate limits, mode rules and every monitor: a deadline of one period and a half, a rule of return after three
/// periods, and an envelope beyond what the plant reaches.
fn supervised(seed: u64) -> Vec<u8> {
    let mut structure = structure();
    structure.seed = seed;
    let policy = policy_of(&structure, class());
    let mut safety = OwnedSafety::of(&policy);
    for (bound, values) in [-150.0, 150.0, -50.0, 50.0]
        .into_iter()
        .zip(&mut safety.envelope)
    {
        values.fill(bound);
    }
    safety.supervision.recover_after = 3;
    safety.file(&policy)
}

fn policy(name: &str) -> Vec<u8> {
    match name {
        "plain" => good_policy(class()),
        "supervised" => supervised(11),
        other => panic!("no policy {other}"),
    }
}

fn run(scenario: &Scenario) -> HilReport {
    let board = find(&scenario.board).unwrap();
    let other = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(other.path(), supervised(12)).unwrap();
    // For another plant: this firmware does not take it.
    let foreign = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(foreign.path(), file(&policy_of(&structure(), class() + 1))).unwrap();
    let paths = [("OTHER", other.path()), ("FOREIGN", foreign.path())]
        .map(|(name, path)| (name, path.to_str().unwrap().to_owned()));
    let named = |text: &str, (from, to): (&str, &str)| text.replace(from, to);
    let text = paths
        .iter()
        .fold(scenario.faults.clone(), |text, (name, path)| {
            named(&text, (name, path))
        });
    let spec: FaultSpec = text.parse().unwrap();
    let link = if spec.needs_stub() {
        LinkKind::Uart
    } else {
        LinkKind::Semihosting
    };
    let firmware = if spec.installs() {
        let variant = Variant {
            slots: true,
            ..Variant::default()
        };
        build_variant(board, class(), &variant, &|line| eprintln!("{line}")).unwrap()
    } else {
        firmware_of(board)
    };
    let mut config = config_of(board, &firmware, link);
    config.episodes = scenario.episodes;
    config.faults = Some(spec);
    let mut report = hil(&config, &policy(&scenario.policy)).unwrap();
    assert!(
        report.bit_exact,
        "{}: {:?}",
        scenario.name, report.first_mismatch
    );
    assert_eq!(report.over_budget, [], "{}", scenario.name);
    let faults = report.faults.as_mut().unwrap();
    faults
        .verdict()
        .unwrap_or_else(|e| panic!("{}: {e}", scenario.name));
    // The table does not know where the other policy lies.
    let events = faults.events.iter_mut();
    let texts = events.flat_map(|event| [&mut event.rule, &mut event.what]);
    for text in texts.chain(&mut faults.installations) {
        for (name, path) in &paths {
            *text = named(text, (path, name));
        }
    }
    report
}

fn line(event: &FaultEvent) -> String {
    let named = match event.faults.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    let back = event
        .recovered_after
        .map_or("never".to_owned(), |periods| periods.to_string());
    format!(
        "| {}/{} | `{}` | {} x {} | {named} | {} | {} | {back} |",
        event.episode,
        event.step,
        event.rule,
        event.injected,
        event.what,
        event.fallback_periods,
        event.lost_periods
    )
}

fn outcome(scenario: &Scenario, report: &HilReport, faults: &FaultReport) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "## {}\n\n`{}` on {}, policy {}, {} episodes of 20 steps: {} faults injected, {} survived; {} periods without an \
         action, {} by the fallback law or the safe constant; {} replies, of them {} frame errors; {} stray and {} damaged \
         ones on the host; {} resets; mean cost {:.4}.\n",
        scenario.name,
        scenario.faults,
        scenario.board,
        scenario.policy,
        scenario.episodes,
        report.faults_injected,
        report.faults_survived,
        faults.lost_periods,
        faults.fallback_periods,
        faults.replies,
        faults.frame_errors,
        faults.stray_replies,
        faults.bad_replies,
        faults.resets,
        report.mean_cost.unwrap()
    );
    let _ = writeln!(
        text,
        "| episode/step | fault | what | named by the device | fallback | lost | back after |\n|---|---|---|---|---|---|---|"
    );
    for event in faults.events.iter().take(EVENTS) {
        let _ = writeln!(text, "{}", line(event));
    }
    if faults.events.len() > EVENTS {
        let _ = writeln!(text, "\nand {} more.", faults.events.len() - EVENTS);
    }
    if faults.deviating_actions > 0 {
        let _ = writeln!(
            text,
            "\n{} admissible actions were not those of the policy as it was.",
            faults.deviating_actions
        );
    }
    if !faults.installations.is_empty() {
        let _ = writeln!(text, "\nInstallation: {}.", faults.installations.join("; "));
    }
    text
}

#[test]
fn every_scenario_has_its_stored_outcome() {
    let scenarios = scenarios();
    let mut text = String::from(
        "# Outcomes of the scenarios\n\nWritten by `HPO_WRITE_OUTCOMES=1 cargo test --release -p tests --test scenarios`, compared by the same \
         test without the variable. What the words mean: docs/faults.md.\n",
    );
    let mut kinds = BTreeSet::new();
    let mut boards = BTreeSet::new();
    for scenario in &scenarios {
        let report = run(scenario);
        let faults = report.faults.as_ref().unwrap();
        assert!(report.faults_injected > 0, "{}", scenario.name);
        assert_eq!(report.faults_injected, report.faults_survived);
        assert_eq!((report.mismatches, faults.wrong_actions), (0, 0));
        kinds.extend(faults.injected.keys().cloned());
        boards.insert(scenario.board.clone());
        text += "\n";
        text += &outcome(scenario, &report, faults);
    }
    let all = [
        "corrupt", "delay", "drop", "dup", "flip", "freeze", "install", "nan", "pause", "reset",
        "rot", "set", "stale", "swap", "tear",
    ];
    assert_eq!(kinds.iter().collect::<Vec<_>>(), all);
    assert!(boards.len() >= 3, "{boards:?}");
    let path = folder().join("outcomes.md");
    if std::env::var_os("HPO_WRITE_OUTCOMES").is_some() {
        std::fs::write(&path, &text).unwrap();
        return;
    }
    let stored = std::fs::read_to_string(&path).unwrap();
    for (stored, found) in stored.lines().zip(text.lines()) {
        assert_eq!(stored, found);
    }
    assert_eq!(stored, text);
}

/// A device that does not do what its model says has survived nothing.
#[test]
fn a_device_that_answers_wrongly_has_not_survived() {
    let board = hil_support::the_board();
    let folder = tempfile::tempdir().unwrap();
    let elf = hil_support::with_broken_step(
        hil_support::the_firmware(),
        folder.path(),
        hil_support::UNDEFINED,
    );
    let mut config = config_of(board, hil_support::the_firmware(), LinkKind::Semihosting);
    config.elf = Some(elf);
    config.faults = Some("nan@0".parse().unwrap());
    let report = hil(&config, &good_policy(class())).unwrap();
    assert_eq!((report.faults_injected, report.faults_survived), (1, 0));
    assert!(!report.bit_exact);
    let error = report.verdict().unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains("0 of 1"), "{error}");
}

/// The same faults twice are the same run.
#[test]
fn a_seed_gives_the_same_faults() {
    let scenario = |seed: u64| Scenario {
        name: "twice".into(),
        board: "mps2-an386".into(),
        policy: "supervised".into(),
        episodes: 3,
        faults: format!("drop=0.1,corrupt=0.003,nan=0.05,seed={seed}"),
    };
    let once = run(&scenario(5));
    let twice = run(&scenario(5));
    assert_eq!(once.faults, twice.faults);
    assert_eq!(once.mean_cost, twice.mean_cost);
    assert_ne!(once.faults, run(&scenario(6)).faults);
}

#[test]
fn faults_that_need_the_debug_stub_are_refused_over_semihosting() {
    let mut config = hil_support::config(LinkKind::Semihosting);
    config.faults = Some("reset@3".parse().unwrap());
    let error = hil(&config, &good_policy(class())).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("--link uart"), "{error}");
    config.link = LinkKind::Uart;
    config.faults = Some("flip:999999@3".parse().unwrap());
    let error = hil(&config, &good_policy(class())).unwrap_err();
    assert!(error.to_string().contains("a bit from 0 to"), "{error}");
}
