//! A policy on the device in QEMU, in closed loop with the plant on the host.

mod hil_support;

use hil_support::policies::common::{Aligned, Structure};
use hil_support::policies::{bad_policies, file, good_policy, policy_of, structure};
use hil_support::{BOTH_LINKS, class, config, hil, plant};
use policy_format::{Capacity, RawPolicy};
use trainer::Error;
use trainer::cli::hil::HilArgs;
use trainer::device::build::check_no_std;
use trainer::device::hil::{StepRecord, run_hil};
use trainer::device::plant_loop::PlantLoop;
use trainer::device::qemu::LinkKind;

#[test]
fn every_action_is_the_hosts_bit_for_bit_on_both_links() {
    let policy = good_policy(class());
    let reports = BOTH_LINKS.map(|link| hil(&config(link), &policy).unwrap());
    for report in &reports {
        report.verdict().unwrap();
        assert!(report.bit_exact);
        assert_eq!(
            (report.episodes, report.steps, report.mismatches),
            (4, 80, 0)
        );
        assert_eq!((report.fallback_steps, &report.boot_fault), (0, &None));
        assert!(report.stack_bytes > 0);
    }
    // The same closed loop, whatever carries the frames.
    assert_eq!(reports[0].mean_cost, reports[1].mean_cost);
    assert!(reports[0].instructions.is_some());
    assert_eq!(reports[1].instructions, None);
}

#[test]
fn networks_and_every_other_part_are_bit_exact_too() {
    let everything = Structure {
        factors: vec![4, 3],
        unit_norm: true,
        selector: Some(vec![24, 17]),
        control: Some(vec![32, 9]),
        head_per_choice: true,
        seed: 23,
        ..structure()
    };
    let report = hil(
        &config(LinkKind::Semihosting),
        &file(&policy_of(&everything, class())),
    )
    .unwrap();
    report.verdict().unwrap();
    assert_eq!(report.steps, 80);
}

#[test]
fn two_runs_count_the_same_instructions() {
    let policy = good_policy(class());
    let run = || {
        let model = plant();
        let mut plant = PlantLoop::new(&model, 3);
        let mut counts = Vec::new();
        let mut observe = |record: &StepRecord<'_>| counts.push(record.instructions.unwrap());
        run_hil(
            &config(LinkKind::Semihosting),
            &policy,
            &mut plant,
            &mut observe,
            &|_| {},
        )
        .unwrap();
        counts
    };
    let counts = run();
    assert_eq!(counts, run());
    // 16 scores of 36 monomials and 8 rows of 8 gains are 640 products, each with a load and a sum.
    assert_eq!(counts.len(), 80);
    assert!(
        counts.iter().all(|count| (1_500..50_000).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn the_device_names_the_fault_of_every_bad_policy() {
    for (kind, bytes, name) in bad_policies(class()) {
        let report = hil(&config(LinkKind::Semihosting), &bytes).unwrap();
        let fault = report.boot_fault.as_deref().unwrap_or("none");
        assert!(fault.ends_with(&format!(" {name}")), "{kind}: {fault}");
        assert_eq!(report.host_boot_fault, report.boot_fault, "{kind}");
        assert_eq!((report.episodes, report.bit_exact), (0, false), "{kind}");
        let error = report.verdict().unwrap_err();
        assert_eq!(error.exit_code(), 1, "{kind}");
        assert!(error.to_string().contains(name), "{kind}: {error}");
    }
}

#[test]
fn a_policy_for_another_plant_is_refused_by_size() {
    let smaller = Structure {
        n: 7,
        ..structure()
    };
    let error = hil(
        &config(LinkKind::Semihosting),
        &file(&policy_of(&smaller, class())),
    )
    .unwrap_err();
    assert!(matches!(error, Error::Usage(_)), "{error}");
    assert!(
        error.to_string().contains("length of the state is 7"),
        "{error}"
    );
}

#[test]
fn a_policy_longer_than_the_slot_is_refused() {
    let error = hil(&config(LinkKind::Uart), &vec![1; 0x10_0001]).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains("1048577"), "{error}");
}

#[test]
fn the_device_libraries_do_without_the_standard_library() {
    check_no_std(&|line| eprintln!("{line}")).unwrap();
}

#[test]
fn the_command_judges_and_logs() {
    let folder = tempfile::tempdir().unwrap();
    let [policy, log, stamped] =
        ["policy.hpo", "log.csv", "stamped.hpo"].map(|name| folder.path().join(name));
    std::fs::write(&policy, good_policy(class())).unwrap();
    let mut arguments = HilArgs {
        policy: policy.clone(),
        plant: "switched-lqr-8-4".into(),
        board: "mps2-an386".into(),
        link: None,
        port: None,
        baud: trainer::device::port::BAUD,
        faults: None,
        episodes: 2,
        hostile: 40,
        stamp: Some(stamped.clone()),
        steps: Some(5),
        seed: 1,
        timeout: 60.0,
        log: Some(log.clone()),
        json: true,
    };
    // A few states do not show the longest step.
    let error = trainer::cli::hil::run(&arguments).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("--stamp"), "{error}");
    arguments.hostile = 1000;
    trainer::cli::hil::run(&arguments).unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1 + 2 * 5);
    assert!(lines[0].starts_with("episode,step,mode,choice,fault,instructions,cost,x0,"));
    let columns = lines[0].split(',').count();
    assert_eq!(columns, 7 + 8 + 8);
    assert!(lines.iter().all(|line| line.split(',').count() == columns));

    // The stamped policy says what it needs, and the board it was measured on runs it.
    let bytes = std::fs::read(&stamped).unwrap();
    let aligned = Aligned::from(&bytes);
    let needs: Vec<_> = RawPolicy::parse(aligned.bytes())
        .and_then(|raw| raw.validate(&Capacity::FORMAT))
        .unwrap()
        .budget()
        .unwrap()
        .needs()
        .collect();
    assert_eq!(needs.len(), 1);
    assert!(
        (1_500..50_000).contains(&needs[0].instructions),
        "{needs:?}"
    );
    assert!((500..8_192).contains(&needs[0].stack_bytes), "{needs:?}");
    arguments.policy = stamped;
    arguments.stamp = None;
    trainer::cli::hil::run(&arguments).unwrap();
    arguments.policy = policy.clone();

    std::fs::write(&policy, b"nonsense, but enough bytes to fill a header").unwrap();
    let error = trainer::cli::hil::run(&arguments).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains("Magic"), "{error}");

    arguments.board = "mps9".into();
    let error = trainer::cli::hil::run(&arguments).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("mps2-an386"), "{error}");

    arguments.board = "mps2-an386".into();
    arguments.timeout = -1.0;
    let error = trainer::cli::hil::run(&arguments).unwrap_err();
    assert_eq!(error.exit_code(), 2);
}
