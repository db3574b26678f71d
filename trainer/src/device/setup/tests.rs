use super::*;

fn bare() -> Facts {
    Facts {
        targets_installed: false,
        source_toolchain: false,
        rustup: true,
        rustup_allowed: true,
        rustup_failed: false,
        apt_as_root: true,
        apt_failed: false,
        qemu: false,
        may_install: true,
    }
}

#[test]
fn rustup_comes_before_debian_and_is_tried_once() {
    assert_eq!(plan(&bare()), Plan::RustupTargets);
    let failed = Facts {
        rustup_failed: true,
        ..bare()
    };
    assert_eq!(
        plan(&failed),
        Plan::Apt {
            rust: true,
            qemu: true
        }
    );
}

#[test]
fn auto_install_zero_never_reaches_rustup() {
    for bits in 0..64_u8 {
        let on = |bit: u8| bits & (1 << bit) != 0;
        let facts = Facts {
            targets_installed: on(0),
            source_toolchain: on(1),
            rustup_allowed: false,
            apt_as_root: on(2),
            apt_failed: on(3),
            qemu: on(4),
            may_install: on(5),
            ..bare()
        };
        assert_ne!(plan(&facts), Plan::RustupTargets, "{facts:?}");
        if !facts.may_install {
            assert!(!matches!(plan(&facts), Plan::Apt { .. }), "{facts:?}");
        }
    }
}

#[test]
fn every_path_ends() {
    let mut facts = bare();
    let mut steps = Vec::new();
    loop {
        steps.push(plan(&facts));
        match plan(&facts) {
            Plan::RustupTargets => facts.rustup_failed = true,
            Plan::Apt { .. } => facts.apt_failed = true,
            _ => break,
        }
    }
    assert_eq!(
        steps,
        [
            Plan::RustupTargets,
            Plan::Apt {
                rust: true,
                qemu: true
            },
            Plan::GiveUp {
                rust: true,
                qemu: true
            }
        ]
    );
}

#[test]
fn only_what_is_missing_is_installed() {
    let facts = Facts {
        targets_installed: true,
        ..bare()
    };
    assert_eq!(
        plan(&facts),
        Plan::Apt {
            rust: false,
            qemu: true
        }
    );
    let facts = Facts {
        source_toolchain: true,
        qemu: true,
        rustup: false,
        ..bare()
    };
    assert_eq!(plan(&facts), Plan::UseSource);
    let facts = Facts {
        targets_installed: true,
        qemu: true,
        ..bare()
    };
    assert_eq!(plan(&facts), Plan::UseInstalledTargets);
}

#[test]
fn forbidden_installing_gives_advice() {
    let facts = Facts {
        may_install: false,
        ..bare()
    };
    assert_eq!(
        plan(&facts),
        Plan::GiveUp {
            rust: true,
            qemu: true
        }
    );
    let text = advice(true, true, &["`x`: failed".into()]);
    for part in [
        "rustup target add",
        "rust-web-src",
        "qemu-system-arm",
        "`x`: failed",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn versions_compare_as_numbers() {
    assert_eq!(version_of("rustc 1.96.0 (abc 2026-01-01)"), Some((1, 96)));
    assert_eq!(version_of("1.95"), Some((1, 95)));
    assert!(version_of("rustc 1.100.0-nightly") > version_of("rustc 1.95.0"));
    assert_eq!(version_of("gcc"), None);
}

#[test]
fn this_machine_can_be_set_up() {
    let report = set_up(&|line| eprintln!("set-up: {line}")).unwrap();
    assert!(report.qemu.is_file());
    assert!(report.toolchain.version.starts_with("rustc "), "{report:?}");
    // A second call finds everything and does nothing.
    let again = set_up(&|line| panic!("nothing to do, yet: {line}")).unwrap();
    assert!(again.actions.is_empty());
    assert_eq!(again.toolchain, report.toolchain);
}
