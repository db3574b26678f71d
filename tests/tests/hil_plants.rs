//! The textbook pair and the four nonlinear control plants on the device, in closed loop, with their rate limits, dwell times and masks.

mod hil_support;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use trainer::cli::train::read_policy;
use trainer::device::build::build_firmware;
use trainer::device::hil::{HilConfig, run_hil};
use trainer::device::plant_loop::PlantLoop;
use trainer::device::qemu::LinkKind;
use trainer::plant::load_plant;
use trainer::train::run::{TrainConfig, plant_traits, train};
use trainer::train::settings::Settings;

/// Trains `name` for two epochs, builds its firmware and runs `episodes` whole episodes on the emulated board.
fn runs_bit_exact(name: &str, episodes: u64) {
    let plant = load_plant(name, &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let sets = [("epochs".to_owned(), "2".to_owned())];
    let config = TrainConfig {
        plant: plant.clone(),
        settings: Settings::resolve(&sets, plant_traits(&plant)).unwrap(),
        seed: 1,
        out: out.clone(),
        resume: false,
        threads: 0,
    };
    train(&config, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let board = hil_support::the_board();
    let class = plant.target_class();
    let firmware = build_firmware(board, class, &|line| eprintln!("{line}")).unwrap();
    let steps = plant.horizon() as u64;
    let config = HilConfig {
        hostile: 0,
        board,
        link: LinkKind::Semihosting,
        episodes,
        steps,
        target_class: class,
        timeout: Duration::from_secs(60),
        elf: Some(firmware.elf),
        faults: None,
    };
    let policy = read_policy(&out).unwrap();
    let mut plant_loop = PlantLoop::new(&plant, 3);
    let report = run_hil(
        &config,
        policy.bytes(),
        &mut plant_loop,
        &mut |_| {},
        &|_| {},
    )
    .unwrap();
    report.verdict().unwrap();
    assert!(report.bit_exact, "{name}");
    assert_eq!(
        (report.steps, report.mismatches),
        (episodes * steps, 0),
        "{name}"
    );
    assert_eq!(
        (report.fallback_steps, &report.boot_fault),
        (0, &None),
        "{name}"
    );
}

#[test]
fn the_geared_car_drives_bit_exact() {
    let plant = load_plant("geared-car", &[]).unwrap();
    let rules = plant.constraints().modes.as_ref().unwrap();
    assert!(rules.dwell[0] > 1 && !rules.follow.is_empty() && plant.constraints().rate.is_some());
    runs_bit_exact("geared-car", 8);
}

#[test]
fn the_textbook_pair_runs_bit_exact() {
    runs_bit_exact("textbook-pair", 8);
}

#[test]
fn the_other_control_plants_run_bit_exact() {
    for name in ["satellite-axis", "buck-boost", "three-tank"] {
        runs_bit_exact(name, 4);
    }
}
