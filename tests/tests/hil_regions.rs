//! Recast plants in the loop: policies whose control keeps to regions, on every board in QEMU.

mod hil_support;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use hil_support::{
    assert_no_panic_machinery, class, config_of, firmware_of, firmware_with_regions, the_board,
};
use policy_format::{FormatError, Policy, RawPolicy};
use trainer::device::board::emulated;
use trainer::device::budget::Budget;
use trainer::device::build::Variant;
use trainer::device::hil::run_hil;
use trainer::device::plant_loop::PlantLoop;
use trainer::device::qemu::LinkKind;
use trainer::export::PolicyBuffer;
use trainer::plant::{PlantModel, load_plant};
use trainer::train::run::{self, TrainConfig};
use trainer::train::settings::Settings;

/// Two controls, each with a jump of its own, so that the selector has two factors; for the class that all of these tests build for.
fn plant(folder: &Path) -> PlantModel {
    let path = folder.join("jumps.toml");
    let text = format!(
        r#"
name = "jumps"
horizon = 20
noise = 0.02
target_class = {}
[dynamics]
A = [[1.0, 0.1], [0.0, 1.0]]
B = [[0.0, 0.1], [0.1, -0.05]]
Q = [[1.0, 0.0], [0.0, 0.1]]
R = [[0.05, 0.0], [0.0, 0.05]]
[bounds]
lower = [-3.0, 0.0]
upper = [3.0, 4.0]
[[jump]]
kind = "dead-zone"
controls = [0]
threshold = 1.0
[[jump]]
kind = "minimum"
controls = [1]
minimum = 0.5
cost = 0.1
[initial]
half_width = [2.0, 1.0]
"#,
        class()
    );
    std::fs::write(&path, text).unwrap();
    load_plant(path.to_str().unwrap(), &[]).unwrap()
}

/// A policy for it, trained for a moment.
fn policy(plant: &PlantModel, folder: &Path) -> PolicyBuffer {
    let sets = [
        ("train.epochs", "2"),
        ("train.batch", "32"),
        ("train.batches_per_epoch", "4"),
    ];
    let sets = sets.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = TrainConfig {
        plant: plant.clone(),
        settings: Settings::resolve(&sets, run::plant_traits(plant)).unwrap(),
        seed: 3,
        out: folder.join("run"),
        resume: false,
        threads: 1,
    };
    let report = run::train(&config, &AtomicBool::new(false), &mut |_| {}).unwrap();
    PolicyBuffer::read(&report.policy).unwrap()
}

fn validate(policy: &PolicyBuffer) -> Policy<'_> {
    RawPolicy::parse(policy.bytes())
        .and_then(|raw| raw.validate(&policy_format::Capacity::FORMAT))
        .unwrap()
}

/// The same bits as on the host, every control in the closed region of its choice, sizes within the budget, no code for a panic.
#[test]
fn every_board_keeps_to_the_regions_of_a_recast_plant() {
    let folder = tempfile::tempdir().unwrap();
    let plant = plant(folder.path());
    let buffer = policy(&plant, folder.path());
    let checked = validate(&buffer);
    assert_eq!((checked.factors(), checked.choices()), (&[3_u16, 2][..], 6));
    let regions = checked.regions().unwrap();
    assert!(Variant::for_policy(buffer.bytes()).regions);
    for board in emulated() {
        let firmware = firmware_with_regions(board);
        assert_no_panic_machinery(&firmware.elf);
        let budget = Budget::of_variant(
            board,
            &Variant {
                regions: true,
                ..Variant::default()
            },
        )
        .unwrap();
        assert_eq!(budget.over_memory(&firmware.sizes), [], "{}", board.name);
        println!("{}: {:?}", board.name, firmware.sizes);

        let mut config = config_of(board, &firmware, LinkKind::Semihosting);
        config.hostile = if board.core.has_fpu() { 5_000 } else { 500 };
        let mut choices = [0_u32; 6];
        let mut loop_ = PlantLoop::new(&plant, 7);
        let observe = &mut |record: &trainer::device::hil::StepRecord<'_>| {
            let choice = usize::from(record.action.choice);
            choices[choice] += 1;
            for (i, &u) in record.action.control.iter().enumerate() {
                let region = regions.get(2 * choice + i).unwrap();
                assert!(region.lower <= u && u <= region.upper, "{region:?}: {u}");
            }
        };
        let report = run_hil(&config, buffer.bytes(), &mut loop_, observe, &|_| {}).unwrap();
        report
            .verdict()
            .unwrap_or_else(|e| panic!("{}: {e}", board.name));
        assert_eq!((report.steps, report.mismatches), (80, 0), "{}", board.name);
        let hostile = report.hostile.unwrap();
        assert!(hostile.reached_network > config.hostile / 4, "{hostile:?}");
        println!("{}: {choices:?} {:?}", board.name, report.instructions);
        // Else the run would say little about regions.
        assert!(
            choices.iter().filter(|&&n| n > 0).count() >= 2,
            "{choices:?}"
        );
    }
}

/// The firmware that is built without them must not run such a policy as if it had none.
#[test]
fn firmware_without_regions_refuses_such_a_policy() {
    let folder = tempfile::tempdir().unwrap();
    let plant = plant(folder.path());
    let buffer = policy(&plant, folder.path());
    let board = the_board();
    let config = config_of(board, &firmware_of(board), LinkKind::Semihosting);
    let mut loop_ = PlantLoop::new(&plant, 7);
    let report = run_hil(&config, buffer.bytes(), &mut loop_, &mut |_| {}, &|_| {}).unwrap();
    let fault = report.boot_fault.clone().unwrap();
    let name = FormatError::RegionsNotBuilt.name();
    assert!(fault.contains("0x016a") && fault.contains(name), "{fault}");
    assert!(report.verdict().unwrap_err().to_string().contains(name));
    assert_eq!(report.steps, 0);
}
